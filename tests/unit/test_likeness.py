"""What is the same but for places and names, which decisions exclude each other, and what goes with what."""

from __future__ import annotations

import pytest

from l1dflush.verdict.likeness import exclude_each_other, pairs, without_names, without_places


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


@pytest.mark.parametrize(
    ("one", "other", "exclude"),
    [
        (("`a` is zero",), ("`a` is not zero",), True),
        (("`a` is 0x10",), ("`a` is not 0x10", "`b` is zero"), True),
        (("bit 3 of `a` is set",), ("bit 3 of `a` is clear",), True),
        (("`a`: `jl …` taken",), ("`a`: `jl …` not taken",), True),
        (("`a` is zero",), ("`b` is zero",), False),
        (("`a` is zero",), ("`a` is zero",), False),
        ((), ("`a` is zero",), False),
        (("`a`: `jl …` taken", "`a`: `jl …` not taken"), ("`a`: `jl …` taken",), False),
    ],
)
def test_decisions_that_exclude_each_other(one: tuple[str, ...], other: tuple[str, ...], exclude: bool) -> None:
    assert exclude_each_other(one, other) is exclude
    assert exclude_each_other(other, one) is exclude


def test_pairs_take_the_strictest_key_first() -> None:
    def first(text: str) -> str:
        return text[0]

    assert pairs(["ax", "ay"], ["ay", "az", "b"], [(str, str), (first, first)]) == [(0, 1), (1, 0), (None, 2)]
