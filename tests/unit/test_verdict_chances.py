# SPDX-License-Identifier: GPL-2.0-or-later
"""Chances in a verdict: against formulas for random replacement, and where they are bounds only."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.ending import Verdict
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.report.terminal.rows import chances
from l1dflush.verdict.chances import fraction_text
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import ChanceInfo, Row

COLD = Conditions(Start.parse("cold"))


def row(source: str, policy: Any, geometry: str, conditions: Conditions = COLD, **more: Any) -> Row:
    options = VerifyOptions(
        policy=policy, geometry=Geometry.parse(geometry), conditions=conditions, max_seconds=60, **more
    )
    return verify(source, options).rows[0]


def chance(one: Row) -> ChanceInfo:
    assert one.chance is not None
    return one.chance


def left(ways: int, misses: int) -> Fraction:
    """How likely some way was never the victim, by inclusion and exclusion."""
    terms = ((-1) ** (i + 1) * comb(ways, i) * Fraction(ways - i, ways) ** misses for i in range(1, ways + 1))
    return sum(terms, Fraction())


@pytest.mark.parametrize(("geometry", "ways"), [("32K,8,64", 8), ("16K,4,64", 4), ("48K,12,64", 12)])
def test_random_replacement_from_a_cold_start(geometry: str, ways: int) -> None:
    found = chance(row("one-pass", "random", geometry))
    one = left(ways, 8)
    assert found.exact
    assert found.in_a_set is not None and Fraction(found.in_a_set) == one
    assert found.anywhere is not None and Fraction(found.anywhere) == 1 - (1 - one) ** 64
    assert found.in_a_set_float == float(one)
    assert found.anywhere_float == pytest.approx(float(1 - (1 - one) ** 64))


def test_a_set_that_is_read_twice_is_better_than_the_others() -> None:
    found = chance(row("linux-4.18", "random", "32K,8,64"))
    one = left(8, 16)
    assert found.exact
    assert found.in_a_set is not None and Fraction(found.in_a_set) == one
    # Its warm-up reads the lines of set 0, which the fill reads again.
    assert found.anywhere is not None
    assert 1 - (1 - one) ** 63 < Fraction(found.anywhere) < 1 - (1 - one) ** 64


def test_sets_that_are_not_read_keep_what_they_hold() -> None:
    found = chance(row("power9", "random", "32K,8,64"))
    assert (found.in_a_set, found.anywhere) == ("1/1", "1/1")


def test_policies_without_chance_have_none() -> None:
    assert row("one-pass", "FIFO", "32K,8,64", Conditions()).chance is None
    assert row("one-pass", "LIP", "16K,4,64").chance is None


def test_a_chance_of_1_is_none() -> None:
    text = "ways 1\nstart a\na hit 0 -> a\na miss -> 0 a 1\na fill 0 -> a\n"
    machine = parse_machine(text, "certain")
    found = row("one-pass", machine, "4K,1,64")
    assert found.verdict is Verdict.PROVED and found.chance is None


def test_own_lines_make_it_a_bound(tmp_path: Path) -> None:
    source = tmp_path / "counted.s"
    source.write_text(
        "\t.globl flush\n\t.type flush, @function\nflush:\tmov $0, %eax\n7:\tmovzbl (%rdi,%rax), %ecx\n"
        "\tincl -8(%rsp)\n\tadd $64, %eax\n\tcmp $8192, %eax\n\tjne 7b\n\tlfence\n\tret\n\t.size flush, . - flush\n"
    )
    found = chance(row(str(source), "random", "4K,2,64"))
    assert not found.exact
    assert found.in_a_set is not None and found.anywhere is not None
    # The counter may take part in any one of the 32 sets, each of which has 4 buffer lines; it keeps one way busy.
    assert Fraction(found.in_a_set) >= left(2, 4)
    assert Fraction(found.anywhere) >= 1 - (1 - left(2, 4)) ** 32
    assert "no more than" in chances(found)


def test_long_fractions_are_left_out() -> None:
    assert fraction_text(Fraction(1, 3)) == "1/3"
    # Longer than Python's own limit for writing whole numbers.
    assert fraction_text(Fraction(1, 10**5000)) == "1/1" + "0" * 5000
    assert fraction_text(Fraction(1, 2**100_000)) is None


@pytest.mark.parametrize(
    ("exact", "rounded", "said"),
    [
        ("1/1", 1.0, "at worst: 1 in a set"),
        ("1/4", 0.25, "0.25 (1/4) in a set"),
        ("9" * 30 + "/" + "9" * 31, 0.1, "0.1 in a set"),
        ("x", 1 - 2**-60, "nearly 1 (x) in a set"),
        ("x", 1 - 1e-9, "0.999999999 (x) in a set"),
        (None, 1e-20, "1e-20 in a set"),
    ],
)
def test_how_chances_are_told(exact: str | None, rounded: float, said: str) -> None:
    found = ChanceInfo(exact=True, in_a_set=exact, in_a_set_float=rounded, anywhere="0/1", anywhere_float=0.0)
    assert said in chances(found)
