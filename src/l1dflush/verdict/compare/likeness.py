# SPDX-License-Identifier: GPL-2.0-or-later
"""When two things from different routines are the same: what code moving about changes is left out.

Addresses and line numbers move with every build and are no difference. Names of the function and of its buffer
are set aside where that is all that differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from l1dflush.tracing.facts import Fact, Relation
from l1dflush.tracing.region import BUFFER, Region
from l1dflush.verdict.verify_result import AssumptionInfo, Finding, PathInfo, Run, VerifyResult

T = TypeVar("T")
Pair = tuple[int | None, int | None]

_ANY_CODE = frozenset({"load", "store", "string-store"})


def own_names(result: VerifyResult) -> frozenset[str]:
    """What the routine and its buffer are called: a rename is no difference."""
    buffer = result.buffer.region.names if result.buffer is not None else ()
    return frozenset({result.routine.name, *buffer} - {""})


def nameless(text: str, names: Iterable[str]) -> str:
    """``text``, which is a name or a formula, with each of ``names`` in it replaced by the same mark."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def region_key(region: Region | None, names: Iterable[str]) -> Hashable:
    """Equal for the same memory in two routines, whatever each calls what is in ``names``."""
    return region and (region.kind, *(nameless(name, names) for name in region.names))


def finding_key(finding: Finding, names: Iterable[str] = ()) -> Hashable:
    """Equal for findings of one rule with the same facts, whatever each routine calls what is in ``names``."""
    about = finding.about
    memory = tuple((region_key(spot.region, names), replace(spot, region=BUFFER)) for spot in about.memory)
    bare = replace(about, name=nameless(about.name, names), text=nameless(about.text, names), memory=())
    return finding.id, bare, memory


def assumption_key(assumption: AssumptionInfo, names: Iterable[str] = ()) -> Hashable:
    """Equal for the same assumption about two routines, whatever each calls what is in ``names``."""
    return assumption.kind, tuple(nameless(name, names) for name in assumption.names)


def decided(path: PathInfo) -> tuple[Fact, ...]:
    """What decides a path, in the code's order, each once. That several values are zero is that each of them is:
    compilers ask for them together or one by one."""
    return tuple(dict.fromkeys(fact for one in path.decisions for fact in _single(one.fact)))


def decisions(path: PathInfo) -> frozenset[Fact]:
    """:func:`decided` in no order."""
    return frozenset(decided(path))


def exclude_each_other(one: Iterable[Fact], other: Iterable[Fact]) -> bool:
    """Whether no run can take both of two paths with these :func:`decisions`.

    Paths that decide other things do not exclude each other, for all that is known.
    """
    first, second = set(one), set(other)
    if any(_denied(fact, side) for side in (first, second) for fact in side):
        # One fact for two decisions of one path: it does not say enough.
        return False
    return any(_denied(fact, second) for fact in first) or any(_denied(fact, first) for fact in second)


def _single(fact: Fact) -> tuple[Fact, ...]:
    if fact.relation is not Relation.ANY or fact.holds:
        return (fact,)
    return tuple(Fact(Relation.IS, (subject,), holds=True) for subject in fact.subjects)


def _denied(fact: Fact, facts: set[Fact]) -> bool:
    return bool(facts.issuperset(_opposites(fact)))


def _opposites(fact: Fact) -> tuple[Fact, ...]:
    """What together says that the fact does not hold."""
    return _single(replace(fact, holds=not fact.holds))


def run_keys(runs: Sequence[Run], names: Iterable[str]) -> list[Hashable]:
    """One key per run. Equal keys: the same events, whatever instructions make them and wherever these are."""
    keys: list[Hashable] = []
    for at, run in enumerate(runs):
        alternates = at > 0 and run.together != 0 and run.together == runs[at - 1].together
        # A load is a load, but fences, flushes and prefetches are not all alike.
        instruction = "" if run.kind in _ANY_CODE else run.instruction
        if run.kind == "call":
            # By the name of what is called: where that lies, or the pointer to it, moves with every build.
            instruction = "" if instruction.startswith("0x") else instruction.partition("+0x")[0]
        keys.append(
            (run.kind, instruction, region_key(run.region, names), run.count, run.first, run.step, run.size, alternates)
        )
    return keys


def pairs(
    old: Sequence[T], new: Sequence[T], keys: Sequence[tuple[Callable[[T], Hashable], Callable[[T], Hashable]]]
) -> list[Pair]:
    """Which of ``old`` is which of ``new``, as pairs of indices; None where there is no other.

    ``keys`` has a function for each side, the strictest first: what agrees is paired in order. The pairs come in
    the order of ``old``, then what is only in ``new``.
    """
    match: dict[int, int] = {}
    left_old, left_new = list(range(len(old))), list(range(len(new)))
    for of_old, of_new in keys:
        waiting: dict[Hashable, list[int]] = {}
        for index in left_new:
            waiting.setdefault(of_new(new[index]), []).append(index)
        for index in left_old:
            found = waiting.get(of_old(old[index]))
            if found:
                match[index] = found.pop(0)
        left_old = [index for index in left_old if index not in match]
        taken = set(match.values())
        left_new = [index for index in left_new if index not in taken]
    return [*((index, match.get(index)) for index in range(len(old))), *((None, index) for index in left_new)]
