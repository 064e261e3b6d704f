# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that lie elsewhere in another build are the same fields."""

from __future__ import annotations

from made_results import decision, result_with

from l1dflush.severity import Severity
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict.compare.moved import moved_fields, renamed
from l1dflush.verdict.found import About, Spot, said
from l1dflush.verdict.verify_result import Finding, PathInfo, VerifyResult


def paths(*texts: str) -> tuple[PathInfo, ...]:
    decisions = tuple(map(decision, texts))
    return (PathInfo(outcome="skipped", decisions=decisions, loads=0, instructions=1, runs=()),)


def test_fields_are_matched_in_the_order_in_which_they_decide() -> None:
    old = result_with().model_copy(
        update={"paths": paths("`[rdi+0x10]` is zero (0x1)", "`gs:irq_stat+0x2` is zero", "`[rdi+0x8]` is zero")}
    )
    new = result_with().model_copy(
        update={"paths": paths("`[rdi+0x20]` is zero (0x9)", "`gs:irq_stat+0x2` is zero", "`[rdi+0x4]` is zero")}
    )
    names = moved_fields(old, new)
    assert {a.name: b.name for a, b in names.items()} == {"[rdi+0x20]": "[rdi+0x10]", "[rdi+0x4]": "[rdi+0x8]"}
    told = [str(one.fact) for one in renamed(new, names).paths[0].decisions]
    assert told == ["`[rdi+0x10]` is zero", "`gs:irq_stat+0x2` is zero", "`[rdi+0x8]` is zero"]


def test_another_number_of_fields_is_another_condition() -> None:
    old = result_with().model_copy(update={"paths": paths("`[rdi+0x10]` is zero")})
    new = result_with().model_copy(update={"paths": paths("`[rdi+0x20]` is zero", "`[rdi+0x30]` is zero")})
    assert not moved_fields(old, new)
    one_stays = result_with().model_copy(update={"paths": paths("`[rdi+0x10]` is zero")})
    assert not moved_fields(old, one_stays)


def test_what_findings_say_of_a_moved_field_is_the_same() -> None:
    rule = "own-lines-left"

    def told(name: str) -> VerifyResult:
        about = About(memory=(Spot(Region(RegionKind.POINTED, (name,)), 8),))
        finding = Finding(id=rule, severity=Severity.NOTE, message=said(rule, about), advice="do", about=about)
        return result_with(findings=(finding,)).model_copy(update={"paths": paths(f"`{name}` is zero")})

    old, new = told("[rdi+0x10]"), told("[rdi+0x20]")
    assert renamed(new, moved_fields(old, new)).findings == old.findings
