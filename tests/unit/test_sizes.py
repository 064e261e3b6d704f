# SPDX-License-Identifier: GPL-2.0-or-later
"""How many accesses empty a set: cells, what is undecided, chances, and the curves as text and as pictures."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from math import comb

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.report.layout import plain
from l1dflush.report.picture import survivors as plot
from l1dflush.report.terminal.curve import curve_lines
from l1dflush.report.terminal.size import size_lines
from l1dflush.requests.caches import allowed_chance
from l1dflush.verdict.size.cells import Asked, sizes
from l1dflush.verdict.size.result import OneSizeResult, SizeResult

L1D = Geometry(32768, 8, 64)


def answer(*asked: Asked, one: bool = False, memory: int = 1 << 30, chance: Fraction | None = None) -> SizeResult:
    return sizes(asked, Limits(memory), chance, one=one, working=lambda _: nullcontext())


def asked(name: str, ways: int, geometry: Geometry | None = None) -> Asked:
    return Asked(get_policy(name, ways), geometry=geometry)


def test_never_and_undecided_are_different() -> None:
    result = answer(asked("LIP", 4), asked("tree-PLRU", 8, L1D))
    never, enough = result.cells
    assert (never.needs, never.decided, never.verdict) == (None, True, Verdict.REFUTED)
    assert (enough.needs, enough.lines, enough.size, enough.verdict) == (13, 832, 53248, Verdict.PROVED)
    (unknown,) = answer(asked("SRRIP-HP", 8), memory=4096).cells
    assert (unknown.needs, unknown.decided, unknown.verdict) == (None, False, Verdict.UNDECIDED)
    assert unknown.cause == "state-space-too-large" and unknown.curve is None


def test_a_single_undecided_cell_is_the_exit_status() -> None:
    result = answer(asked("SRRIP-HP", 8), one=True, memory=4096)
    assert isinstance(result, OneSizeResult)
    assert (result.exit_status, result.needs, result.decided, result.cause) == (3, None, False, "state-space-too-large")
    assert answer(asked("SRRIP-HP", 8), memory=4096).exit_status == 0
    assert answer(asked("random", 4), one=True).exit_status == 0


def test_what_ran_out_of_time_is_not_tried_with_more_ways() -> None:
    quick = Limits(seconds=0.01)
    result = sizes([asked("BRRIP", 12), asked("BRRIP", 16)], quick, working=lambda _: nullcontext())
    assert [cell.cause for cell in result.cells] == ["out-of-time", "out-of-time"]
    assert result.cells[1].reason.startswith("not tried, because 12 ways")


def test_what_is_enough_may_be_known_when_the_way_there_is_not() -> None:
    result = answer(asked("SRRIP-HP", 12, Geometry(49152, 12, 64)), one=True)
    assert isinstance(result, OneSizeResult)
    (cell,) = result.cells
    assert (cell.needs, cell.lines, cell.verdict, cell.curve) == (45, 45 * 64, Verdict.PROVED, None)
    assert "SRRIP-HP, 12 ways: 45 accesses" in plain(size_lines(result, 80))


def emptied(ways: int, misses: int) -> Fraction:
    """How likely random replacement has hit every way, by inclusion and exclusion."""
    terms = ((-1) ** i * comb(ways, i) * Fraction(ways - i, ways) ** misses for i in range(ways + 1))
    return sum(terms, Fraction())


def test_chances_are_for_policies_that_have_them() -> None:
    allowed = Fraction(1, 1000)
    cells = answer(*(asked(name, 8, L1D) for name in ("random", "LIP", "LRU")), chance=allowed).cells
    enough = next(n for n in range(500) if 1 - emptied(8, n) ** 64 < allowed)
    assert [(cell.needs, cell.by_chance) for cell in cells] == [(enough, True), (None, False), (8, False)]
    assert cells[0].verdict is Verdict.PROVED and cells[0].lines == enough * 64
    told = plain(size_lines(answer(asked("random", 8, L1D), one=True, chance=allowed), 80))
    assert "an old line with a chance below 1/1000 in the whole cache" in " ".join(told.split())


@pytest.mark.parametrize(("start", "needs"), [("steady", 8), ("steady-from-any", 9), ("steady+invalidations", 13)])
def test_one_order_again_and_again(start: str, needs: int) -> None:
    cell = answer(Asked(get_policy("tree-PLRU", 8), Conditions(Start.parse(start))), one=True).cells[0]
    assert (cell.needs, cell.curve, cell.start) == (needs, None, start)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2^-20", Fraction(1, 1 << 20)),
        ("1e-6", Fraction(1, 10**6)),
        ("1/9", Fraction(1, 9)),
        ("0.5", Fraction(1, 2)),
        ("2^-256", Fraction(1, 1 << 256)),
    ],
)
def test_chances_as_they_are_written(text: str, value: Fraction) -> None:
    assert allowed_chance(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1",
        "2",
        "-0.5",
        "1/0",
        "0/1",
        "2^20",
        "2^-0",
        "2^-257",
        "2^-99999",
        "1e-99",
        "1e-9999",
        "nan",
        "9" * 999,
    ],
)
def test_what_is_no_chance(text: str) -> None:
    with pytest.raises(InputError, match="--chance: "):
        allowed_chance(text)


@pytest.mark.parametrize("length", [1, 2, 14, 70, 75, 76, 77, 500, 100_000])
def test_a_curve_of_any_length_fits(length: int) -> None:
    curve = [max(16 - n, 1) for n in range(length)] + [0]
    lines = curve_lines(curve, 80)
    drawn = [line.plain for line in lines[: max(curve) + 3]]
    assert max(map(len, drawn)) <= 80
    assert drawn[1].count("█") >= 1


def test_the_picture_is_always_the_same() -> None:
    pytest.importorskip("matplotlib")
    result = answer(asked("LRU", 4), asked("LIP", 4))
    first = plot.curves_picture(result, "svg")
    assert first == plot.curves_picture(result, "svg")
    assert b"<dc:date>" not in first
    assert plot.curves_picture(result, "png").startswith(b"\x89PNG")


def test_pictures_of_nothing_and_of_too_much() -> None:
    with pytest.raises(InputError, match="there is nothing to draw"):
        plot.curves_picture(answer(asked("SRRIP-HP", 8), memory=4096), "svg")
    with pytest.raises(InputError, match="cannot be told apart"):
        plot.curves_picture(answer(*(asked("LRU", ways) for ways in range(1, 16))), "svg")
