"""What is the same but for places and names, which decisions exclude each other, and what goes with what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l1dflush.place import Place
from l1dflush.tracing.facts import Fact, Relation, Subject
from l1dflush.verdict.likeness import decisions, exclude_each_other, pairs, without_names, without_places
from l1dflush.verdict.model import DecisionInfo, PathInfo


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("`rsi` is zero (a.c:3)", "`rsi` is zero"),
        (
            "no flush when: `a` is 0x10 (0x400012); `b` is zero (my (old) file.c:9)",
            "no flush when: `a` is 0x10; `b` is zero",
        ),
        ("`x`: `cmp rdi, 0x5; jbe` not taken (0x400010)", "`x`: `cmp rdi, 0x5; jbe` not taken"),
        ("bytes that are no instruction at 0x400000", "bytes that are no instruction at …"),
        ("touched: stack-0x10 (3 times)", "touched: stack-0x10 (3 times)"),
        ("MSR 0x10b = 0x1", "MSR 0x10b = 0x1"),
    ],
)
def test_places_are_taken_out(text: str, left: str) -> None:
    assert without_places(text) == left


def test_names_are_taken_out_whole() -> None:
    assert without_names("flush and l1d_flush", {"flush"}) == "… and l1d_flush"


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
