# SPDX-License-Identifier: GPL-2.0-or-later
"""Expressions made at random: as terms of the abstract machine, and on plain numbers at the same time."""

from __future__ import annotations

import random
from collections.abc import Callable

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
