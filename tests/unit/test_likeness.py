# SPDX-License-Identifier: GPL-2.0-or-later
"""What is the same but for places and names, which decisions exclude each other, and what goes with what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l1dflush.assumption import Assumes, Assumption
from l1dflush.place import Place
from l1dflush.severity import Severity
from l1dflush.tracing.facts import Fact, Relation, Subject
from l1dflush.tracing.region import STACK, Region, RegionKind
from l1dflush.verdict.compare.likeness import (
    assumption_key,
    decisions,
    exclude_each_other,
    finding_key,
    nameless,
    pairs,
)
from l1dflush.verdict.described import assumed
from l1dflush.verdict.found import About, Spot, said
from l1dflush.verdict.verify_result import DecisionInfo, Finding, PathInfo


def test_names_are_taken_out_whole() -> None:
    assert nameless("flush+8*l1d_flush", {"flush"}) == "…+8*l1d_flush"


STACK_AND_OWN = (Spot(STACK, -16, times=3), Spot(Region(RegionKind.SYMBOL, ("old_count",)), 8, times=2))


def finding(about: About, rule: str = "own-line-in-walk") -> Finding:
    return Finding(id=rule, severity=Severity.WARNING, message=said(rule, about), advice="do", about=about)


def test_findings_are_the_same_by_their_facts() -> None:
    one = finding(About(memory=STACK_AND_OWN))
    stack, own = STACK_AND_OWN
    renamed = finding(About(memory=(stack, replace(own, region=Region(RegionKind.SYMBOL, ("new_count",))))))
    assert finding_key(one) != finding_key(renamed)
    assert finding_key(one, {"old_count"}) == finding_key(renamed, {"new_count"})
    for other in (
        About(memory=(stack,)),
        About(memory=(replace(stack, times=4), own)),
        About(memory=(replace(stack, offset=-8), own)),
    ):
        assert finding_key(finding(other)) != finding_key(one)
    assert finding_key(finding(About(memory=STACK_AND_OWN), "own-lines-left")) != finding_key(one)


def test_assumptions_are_the_same_by_their_facts() -> None:
    one, other = assumed([Assumption(Assumes.ALIGNED, (name, "32")) for name in ("`old`", "`new`")])
    assert assumption_key(one) != assumption_key(other)
    assert assumption_key(one, {"old"}) == assumption_key(other, {"new"})
    (looser,) = assumed([Assumption(Assumes.ALIGNED, ("`old`", "16"))])
    assert assumption_key(looser) != assumption_key(one)


def zero(*names: str, holds: bool = True) -> Fact:
    relation = Relation.IS if len(names) == 1 else Relation.ANY
    return Fact(relation, tuple(map(Subject, names)), holds)


A, NOT_A, B, NOT_B = zero("a"), zero("a", holds=False), zero("b"), zero("b", holds=False)
ONE_OF_BOTH = zero("a", "b")
SIXTEEN = Fact(Relation.IS, (Subject("a"),), holds=True, number=16)
BIT = Fact(Relation.BIT, (Subject("a"),), holds=True, number=3)
TAKEN = Fact(Relation.BRANCH, (Subject("a"),), holds=True, instruction="cmp rax, 0x5; jl")


def other(fact: Fact) -> Fact:
    return replace(fact, holds=not fact.holds)


@pytest.mark.parametrize(
    ("one", "two", "exclude"),
    [
        ((A,), (NOT_A,), True),
        ((SIXTEEN,), (other(SIXTEEN), B), True),
        ((BIT,), (other(BIT),), True),
        ((BIT,), (replace(other(BIT), number=2),), False),
        ((TAKEN,), (other(TAKEN),), True),
        ((A,), (B,), False),
        ((A,), (A,), False),
        ((), (A,), False),
        ((TAKEN, other(TAKEN)), (TAKEN,), False),
        # Asked for together, or one by one.
        ((ONE_OF_BOTH,), (A, B), True),
        ((ONE_OF_BOTH,), (A,), False),
        ((ONE_OF_BOTH,), (A, NOT_B), False),
    ],
)
def test_decisions_that_exclude_each_other(one: tuple[Fact, ...], two: tuple[Fact, ...], exclude: bool) -> None:
    assert exclude_each_other(one, two) is exclude
    assert exclude_each_other(two, one) is exclude


def test_that_several_are_zero_is_that_each_is() -> None:
    def path(*facts: Fact) -> PathInfo:
        asked = tuple(DecisionInfo(fact=fact, where=Place("a.c", 3)) for fact in facts)
        return PathInfo(outcome="skipped", decisions=asked, loads=0, instructions=1, runs=())

    assert decisions(path(other(ONE_OF_BOTH))) == decisions(path(B, A)) != decisions(path(ONE_OF_BOTH))


def test_pairs_take_the_strictest_key_first() -> None:
    def first(text: str) -> str:
        return text[0]

    assert pairs(["ax", "ay"], ["ay", "az", "b"], [(str, str), (first, first)]) == [(0, 1), (1, 0), (None, 2)]
