"""The terms of the abstract machine: whatever the normal form makes of an expression, it means the same.

The oracle is plain arithmetic on Python's numbers, which shares nothing with the rules: each operation is computed on
numbers while the term is built, and the term has to come to the same for the same numbers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush._core import Terms, Value

WIDTHS = (1, 8, 16, 32, 64)
INTERESTING = (0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 0xFF, 0xFFF, 0x1000, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_F000)


def mask(bits: int) -> int:
    return (1 << bits) - 1


def signed(x: int, bits: int) -> int:
    return x - (1 << bits) if x >> (bits - 1) else x


def _quotient(x: int, y: int) -> int:
    """Rounded towards zero, as processors do."""
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


PLAIN: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, n: x + y,
    "subtract": lambda x, y, n: x - y,
    "multiply": lambda x, y, n: x * y,
    "bit_and": lambda x, y, n: x & y,
    "bit_or": lambda x, y, n: x | y,
    "bit_xor": lambda x, y, n: x ^ y,
    "shift_left": lambda x, y, n: x << y if y < n else 0,
    "shift_right": lambda x, y, n: x >> y,
    "shift_right_signed": lambda x, y, n: signed(x, n) >> min(y, n - 1),
    "divide": lambda x, y, n: x // y,
    "remainder": lambda x, y, n: x % y,
    "divide_signed": lambda x, y, n: _quotient(signed(x, n), signed(y, n)),
    "remainder_signed": lambda x, y, n: signed(x, n) - signed(y, n) * _quotient(signed(x, n), signed(y, n)),
    "multiply_high": lambda x, y, n: x * y >> n,
    "multiply_high_signed": lambda x, y, n: signed(x, n) * signed(y, n) >> n,
}
CONDITIONS: dict[str, Callable[[int, int, int], bool]] = {
    "equal": lambda x, y, n: x == y,
    "below": lambda x, y, n: x < y,
    "below_signed": lambda x, y, n: signed(x, n) < signed(y, n),
    "carries": lambda x, y, n: x + y > mask(n),
    "carries_signed": lambda x, y, n: not -(1 << (n - 1)) <= signed(x, n) + signed(y, n) < 1 << (n - 1),
    "borrows_signed": lambda x, y, n: not -(1 << (n - 1)) <= signed(x, n) - signed(y, n) < 1 << (n - 1),
}
DIVIDES = ("divide", "remainder", "divide_signed", "remainder_signed")


class Made:
    """A term, and what it should come to, for several choices of numbers at a time."""

    def __init__(self, value: Value, plain: tuple[int, ...]) -> None:
        self.value = value
        self.plain = plain

    @property
    def bits(self) -> int:
        return self.value.bits


class Maker:
    """Makes expressions at random, by the same random numbers the same ones."""

    RUNS = 6

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.terms = Terms()
        self.numbers: list[dict[int, int]] = [{} for _ in range(self.RUNS)]
        self.pool = [self.symbol() for _ in range(source.randint(1, 4))]

    def any_number(self, bits: int) -> int:
        kind = self.random.randrange(3)
        if kind == 0:
            return self.random.getrandbits(bits)
        number = self.random.choice(INTERESTING)
        return (-number if kind == 1 else number) & mask(bits)

    def symbol(self) -> Made:
        bits = self.random.choice(WIDTHS)
        alignment = 1 << self.random.choice((0, 0, 3, 6, 12)) if bits > 12 else 1
        least, most = 0, mask(bits)
        if alignment == 1 and self.random.random() < 0.3:
            least, most = sorted((self.any_number(bits), self.any_number(bits)))
        value = self.terms.symbol(bits, alignment, least, most)
        # With all its bits known by its limits it is still the symbol's name that is asked for.
        plain = tuple(
            (self.random.choice((least, most, self.random.randint(least, most)))) & -alignment & mask(bits)
            for _ in range(self.RUNS)
        )
        for numbers, number in zip(self.numbers, plain, strict=True):
            numbers[value.term] = number
        return Made(value, plain)

    def of_width(self, bits: int) -> Made:
        found = [one for one in self.pool if one.bits == bits]
        if found and self.random.random() < 0.8:
            return self.random.choice(found)
        if self.random.random() < 0.6 or not self.pool:
            number = self.any_number(bits)
            return Made(self.terms.number(bits, number), (number,) * self.RUNS)
        other = self.random.choice(self.pool)
        return self.widened(other, bits) if other.bits < bits else self.sliced(other, bits)

    def widened(self, one: Made, bits: int) -> Made:
        sign = self.random.random() < 0.4
        plain = tuple((signed(x, one.bits) if sign else x) & mask(bits) for x in one.plain)
        return Made(self.terms.widen(one.value, bits, sign), plain)

    def sliced(self, one: Made, bits: int) -> Made:
        start = self.random.choice((0, one.bits - bits, self.random.randint(0, one.bits - bits)))
        return Made(self.terms.slice(one.value, start, bits), tuple(x >> start & mask(bits) for x in one.plain))

    def grow(self) -> Made:
        kind = self.random.randrange(12)
        x = self.random.choice(self.pool)
        bits = x.bits
        if kind == 0 and bits < 64:
            made = self.widened(x, self.random.choice([n for n in WIDTHS if n >= bits]))
        elif kind == 1:
            made = self.sliced(x, self.random.choice([n for n in (1, 3, 8, 12, 16, 32, 64) if n <= bits]))
        elif kind == 2:
            made = Made(self.terms.complement(x.value), tuple(~n & mask(bits) for n in x.plain))
        elif kind == 3:
            condition, y = self.of_width(1), self.of_width(bits)
            made = Made(
                self.terms.choose(condition.value, x.value, y.value),
                tuple(a if c else b for c, a, b in zip(condition.plain, x.plain, y.plain, strict=True)),
            )
        elif kind == 4:
            if self.random.random() < 0.5:
                made = Made(self.terms.count_ones(x.value, 8), tuple(n.bit_count() for n in x.plain))
            else:
                made = Made(self.terms.count_leading_zeros(x.value, 8), tuple(bits - n.bit_length() for n in x.plain))
        elif kind in (5, 6, 7):
            name, y = self.random.choice(sorted(CONDITIONS)), self.of_width(bits)
            test = CONDITIONS[name]
            made = Made(
                self.terms.combine(name, x.value, y.value),
                tuple(int(test(a, b, bits)) for a, b in zip(x.plain, y.plain, strict=True)),
            )
        else:
            made = self.combined(x, bits)
        self.pool.append(made)
        return made

    def combined(self, x: Made, bits: int) -> Made:
        name = self.random.choice(sorted(PLAIN))
        y = self.of_width(bits)
        if name.startswith("shift") and self.random.random() < 0.8:
            number = self.random.randint(0, bits)
            y = Made(self.terms.number(8, number), (number,) * self.RUNS)
        # A processor faults there; so does the machine, before it asks.
        overflow = any(
            b == 0 or (signed(a, bits) == -(1 << (bits - 1)) and signed(b, bits) == -1)
            for a, b in zip(x.plain, y.plain, strict=True)
        )
        if name in DIVIDES and overflow:
            name = "add"
        plain = PLAIN[name]
        return Made(
            self.terms.combine(name, x.value, y.value),
            tuple(plain(a, b, bits) & mask(bits) for a, b in zip(x.plain, y.plain, strict=True)),
        )

    def check(self, one: Made) -> None:
        zeros, ones, least, most = self.terms.known(one.value)
        for numbers, plain in zip(self.numbers, one.plain, strict=True):
            assert self.terms.evaluated(one.value, numbers) == plain
            assert plain & zeros == 0 and plain & ones == ones
            assert least <= plain <= most


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
