# SPDX-License-Identifier: GPL-2.0-or-later
"""The terms of the abstract machine: whatever the normal form makes of an expression, it means the same.

The oracle is plain arithmetic on Python's numbers, which shares nothing with the rules: each operation is computed on
numbers while the term is built, and the term has to come to the same for the same numbers.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_terms import Made, Maker, mask

from l1dflush._core import Terms


@settings(max_examples=1500, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_a_term_means_what_it_was_made_of(source: random.Random, steps: int) -> None:
    maker = Maker(source)
    for _ in range(steps):
        maker.check(maker.grow())


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 20))
def test_what_is_replaced_by_its_number_comes_to_the_same(source: random.Random, steps: int) -> None:
    maker = Maker(source)
    for _ in range(steps):
        maker.grow()
    made = maker.pool[-1]
    for term, number in maker.numbers[0].items():
        symbol = next(one for one in maker.pool if one.value.term == term and one.value.constant == 0)
        by = maker.terms.number(symbol.bits, number)
        made = Made(maker.terms.replaced(made.value, symbol.value, by), made.plain)
    assert (made.value.term, made.value.constant) == (0, made.plain[0])


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 8))
def test_a_sum_is_the_same_in_every_order(source: random.Random, size: int) -> None:
    maker = Maker(source)
    for _ in range(6):
        maker.grow()
    parts = [maker.of_width(64).value for _ in range(size)]
    sums = []
    for _ in range(2):
        source.shuffle(parts)
        total = maker.terms.number(64, 0)
        for part in parts:
            total = maker.terms.combine("add", total, part)
        sums.append(total)
    assert sums[0] == sums[1]


@pytest.fixture
def t() -> Terms:
    return Terms()


def test_both_flags_of_a_subtraction_are_a_signed_comparison(t: Terms) -> None:
    x, y = t.symbol(32), t.symbol(32)
    sign = t.slice(t.combine("subtract", x, y), 31, 1)
    overflow = t.combine("borrows_signed", x, y)
    assert t.combine("bit_xor", sign, overflow) == t.combine("below_signed", x, y)


def test_less_or_equal_is_one_comparison(t: Terms) -> None:
    x, y = t.symbol(64), t.symbol(64)
    for less in ("below", "below_signed"):
        either = t.combine("bit_or", t.combine(less, x, y), t.combine("equal", x, y))
        assert either == t.complement(t.combine(less, y, x))
    one = t.number(64, 1)
    assert t.combine("bit_or", t.combine("below", x, one), t.combine("equal", x, one)) == t.combine(
        "below", x, t.number(64, 2)
    )


def test_what_was_stored_in_pieces_is_loaded_whole(t: Terms) -> None:
    x = t.symbol(64)
    for cuts in ((0, 8, 64), (0, 32, 64), (0, 8, 16, 24, 32, 64)):
        total = t.number(64, 0)
        for low, high in itertools.pairwise(cuts):
            piece = t.widen(t.slice(x, low, high - low), 64)
            total = t.combine("add", total, t.combine("shift_left", piece, t.number(8, low)))
        assert total == x


def test_rounding_down_and_up_is_aligned_and_shifts_back(t: Terms) -> None:
    x = t.symbol(64)
    down = t.combine("bit_and", x, t.number(64, -4096 & mask(64)))
    up = t.combine("bit_and", t.combine("add", x, t.number(64, 4095)), t.number(64, -4096 & mask(64)))
    for rounded in (down, up):
        assert t.known(rounded)[0] & 4095 == 4095
    shifted = t.combine("shift_right", down, t.number(8, 12))
    assert shifted == t.combine("shift_right", x, t.number(8, 12))
    assert t.combine("shift_left", shifted, t.number(8, 12)) == down


def test_a_pointer_that_is_compared_with_its_end_depends_on_whether_it_wraps(t: Terms) -> None:
    base = t.symbol(64)
    at = [t.combine("add", base, t.number(64, i)) for i in (0, 64, 128)]
    # One question for all iterations: what is asked of one is a limit on the same term.
    questions = {t.combine("below", p, at[2]) for p in at[:2]}
    assert len({q.term for q in questions}) == 2
    # With limits that leave room there is none.
    bounded = t.symbol(64, 64, 4096, (1 << 47) - 1)
    assert t.combine("below", bounded, t.combine("add", bounded, t.number(64, 64))) == t.number(1, 1)


def test_long_sums_and_long_chains_stay_small(t: Terms) -> None:
    total, mixed = t.number(64, 0), t.symbol(64)
    for _ in range(1000):
        byte = t.symbol(8)
        total = t.combine("add", total, t.widen(byte, 64))
        left = t.combine("shift_left", mixed, t.number(8, 3))
        rotated = t.combine("bit_or", left, t.combine("shift_right", mixed, t.number(8, 61)))
        mixed = t.combine("bit_xor", rotated, t.widen(byte, 64))
    assert len(t) < 40_000


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_a_multiplication_that_divides(t: Terms, bits: int) -> None:
    """Whatever is made of the upper part of a product, by the right multipliers of a division and by others: it is the
    upper part of the product, and with what is subtracted as a remainder it is what is left."""
    dice = random.Random(bits)
    found = set()
    for divisor in (3, 5, 6, 7, 10, 12, 100, 127, *(dice.randrange(3, 1 << bits) for _ in range(30))):
        for more in (0, 1, 2, 3, divisor.bit_length() - 1, divisor.bit_length()):
            inverse = -(-(1 << bits + more) // divisor) + dice.choice((0, 0, 1, -1))
            if inverse >> bits or more >= bits:
                continue
            x = t.symbol(bits)
            if bits < 64:
                product = t.combine("multiply", t.widen(x, 2 * bits), t.number(2 * bits, inverse))
                upper = t.slice(product, bits + more, bits - more)
            else:
                upper = t.slice(t.combine("multiply_high", x, t.number(bits, inverse)), more, bits - more)
            quotient = t.widen(upper, bits)
            rest = t.combine("subtract", x, t.combine("multiply", quotient, t.number(bits, divisor)))
            found.add((t.known(rest)[3] < divisor, t.known(quotient)[3] <= mask(bits) // divisor))
            near = (divisor * dice.randrange(1 << bits) + dice.choice((0, -1)) for _ in range(6))
            every = range(256) if bits == 8 else (0, mask(bits), mask(bits) - mask(bits) % divisor - 1, *near)
            for number in (one & mask(bits) for one in every):
                by = t.number(bits, number)
                wanted = number * inverse >> bits + more
                assert t.replaced(quotient, x, by).constant == wanted, (divisor, more, inverse, number)
                assert t.replaced(rest, x, by).constant == (number - wanted * divisor) & mask(bits)
    # Some were taken for a division, and some not.
    assert {(True, True), (False, False)} <= found


def test_upper_bits_that_are_0(t: Terms) -> None:
    x = t.symbol(64)
    masked = t.combine("bit_and", x, t.number(64, mask(64) & ~15))
    assert t.combine("equal", masked, t.number(64, 0)) == t.combine("equal", t.slice(x, 4, 60), t.number(60, 0))


def test_what_is_chosen_by_the_same_condition_twice(t: Terms) -> None:
    condition = t.combine("below", t.symbol(32), t.number(32, 7))
    x, y, z = (t.symbol(32) for _ in range(3))
    assert t.choose(condition, x, t.choose(condition, y, z)) == t.choose(condition, x, z)
    by = t.combine("add", t.widen(condition, 32), t.number(32, 5))
    assert t.choose(condition, t.number(32, 6), by) == by
    assert t.choose(condition, t.number(32, 7), by) != by
    assert t.choose(t.complement(condition), t.number(32, 5), by) == by


def test_wrong_widths_are_refused(t: Terms) -> None:
    x, y = t.symbol(64), t.symbol(32)
    with pytest.raises(ValueError, match="width"):
        t.combine("add", x, y)
    with pytest.raises(ValueError, match="operation"):
        t.combine("power", x, x)
    with pytest.raises(ValueError, match="in the value"):
        t.slice(y, 8, 32)
    with pytest.raises(ValueError, match="64 bits"):
        t.widen(x, 65)
