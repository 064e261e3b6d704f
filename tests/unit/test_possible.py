# SPDX-License-Identifier: GPL-2.0-or-later
"""Which paths some input takes: the solver's answers, and those that intervals give without it.

The oracle is brute force: conditions over so few bits that every input can be tried, computed on plain numbers.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_terms import CONDITIONS, DIVIDES, PLAIN, Made, Maker, mask, signed

from l1dflush import _core
from l1dflush.tracing import possible
from l1dflush.tracing.operations import Do, Number, Operation, packed
from l1dflush.tracing.possible import Decided, Possibility
from l1dflush.tracing.slots import Part

BITS = 8


class Everything(Maker):
    """Makes expressions over a few bits, each with what it comes to for every input."""

    RUNS = 1 << BITS

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.machine = _core.Machine(64)
        self.terms = self.machine.terms
        self.pool: list[Made] = []
        self.inputs: list[int] = []
        left = BITS
        while left:
            bits = source.randint(1, min(left, 4))
            self.pool.append(self.some_bits(bits, BITS - left))
            left -= bits
        self.whole = [True] * self.RUNS
        for one, (_, _, least, most) in [(one, self.terms.known(one.value)) for one in self.pool]:
            self.whole = [ok and least <= x <= most for ok, x in zip(self.whole, one.plain, strict=True)]

    def some_bits(self, bits: int, start: int) -> Made:
        least, most = 0, mask(bits)
        if self.random.random() < 0.3:
            least, most = sorted(self.random.getrandbits(bits) for _ in range(2))
        value = self.machine.new_symbol(bits, 1, least, most)
        return Made(value, tuple(x >> start & mask(bits) for x in range(self.RUNS)))

    def condition(self) -> Made:
        """Something undecided of one bit, with its truth for every input."""
        while True:
            x = self.random.choice(self.pool)
            name, y = self.random.choice(sorted(CONDITIONS)), self.of_width(x.bits)
            value = self.terms.combine(name, x.value, y.value)
            if value.term:
                test = CONDITIONS[name]
                plain = tuple(int(test(a, b, x.bits)) for a, b in zip(x.plain, y.plain, strict=True))
                return Made(value, plain)
            self.grow()

    def decide(self, count: int) -> tuple[list[Decided], bool]:
        """Decisions of which each may be either way, and whether any input takes all of them."""
        decided: list[Decided] = []
        left = self.whole
        for _ in range(count):
            one, holds = self.condition(), self.random.random() < 0.5
            decided.append((one.value, holds))
            left = [ok and bool(x) == holds for ok, x in zip(left, one.plain, strict=True)]
        return decided, any(left)


def questions(count: int) -> Iterator[tuple[bool | None, bool]]:
    """The answers to so many questions made at random, each with the right one."""
    for seed in range(count):
        maker = Everything(random.Random(seed))
        for _ in range(maker.random.randint(0, 10)):
            maker.grow()
        decided, truth = maker.decide(maker.random.randint(1, 5))
        yield Possibility(maker.machine, 100)(decided), truth


def results_of(name: str) -> Iterator[tuple[bool | None, bool]]:
    """For each number whether an operation on two unknown values of four bits can come to it."""
    machine = _core.Machine(64)
    terms = machine.terms
    x, y = machine.new_symbol(4), machine.new_symbol(4, 1, 1 if name in DIVIDES else 0, 15)
    numbers = range(16)
    if name in PLAIN:
        value = terms.combine(name, x, y)
        pairs = list(itertools.product(numbers, numbers[1:] if name in DIVIDES else numbers))
        plain = [(a, PLAIN[name](a, b, 4) & 15) for a, b in pairs]
    elif name == "count_ones":
        value, plain = terms.count_ones(x, 4), [(n, n.bit_count()) for n in numbers]
    else:
        value, plain = terms.count_leading_zeros(x, 4), [(n, 4 - n.bit_length()) for n in numbers]
    # Beside the lowest bit of an operand, so that not everything comes up.
    for result, low in itertools.product(numbers, (0, 1)):
        condition = terms.combine("equal", value, terms.number(4, result))
        odd = terms.combine("equal", terms.slice(x, 0, 1), terms.number(1, low))
        if condition.term:
            yield (
                Possibility(machine, 100)([(condition, True), (odd, True)]),
                (low, result) in {(a & 1, n) for a, n in plain},
            )


OPERATIONS = sorted([*PLAIN, "count_ones", "count_leading_zeros"])


def test_every_answer_is_that_of_trying_all_inputs() -> None:
    answers = list(questions(150))
    assert all(answer is truth for answer, truth in answers)
    # Both answers come up often.
    assert 30 < sum(truth for _, truth in answers) < 120


def test_what_may_be_either_is_not_asked() -> None:
    """Without time for the solver: what is answered is right, and that is a good part of it."""
    told = []
    for seed in range(400):
        maker = Everything(random.Random(seed))
        for _ in range(maker.random.randint(0, 3)):
            maker.grow()
        decided, truth = maker.decide(1)
        answer = Possibility(maker.machine, 0)(decided)
        assert answer is None or truth
        told.append(answer)
    assert 20 < told.count(True) < 380


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_by_itself(name: str) -> None:
    answers = list(results_of(name))
    assert answers and all(answer is truth for answer, truth in answers)


SABOTAGED = {
    "signs are not extended": ("_extended", lambda true: lambda self, term, bits, _: true(self, term, bits, False)),
    "everything is signed": ("_extended", lambda true: lambda self, term, bits, _: true(self, term, bits, True)),
    "shifts go the other way": (
        "_shifted",
        lambda true: lambda self, op, *given: true(
            self, {"shift_left": "shift_right", "shift_right": "shift_left"}.get(op, op), *given
        ),
    ),
    "zeros are ones": (
        "_counted",
        lambda true: lambda self, op, of, bits: true(
            self, {"count_ones": "count_leading_zeros"}.get(op, "count_ones"), of, bits
        ),
    ),
    "limits of symbols are forgotten": (
        "_symbol",
        lambda true: lambda self, value: (true(self, value), self._limits.clear())[0],
    ),
    "constants are left out": ("_value", lambda true: lambda self, v: self._made.get(v.term, None) or true(self, v)),
    "quotients are remainders": (
        "_quotient",
        lambda true: lambda self, op, given: true(self, op.replace("divide", "remainder"), given),
    ),
    "a truth value is turned round": ("_bit", lambda true: lambda self, f: self._manager.mk_term(
        self._b.Kind.BV_NOT, [true(self, f)])),
}  # fmt: skip


@pytest.mark.parametrize("fault", SABOTAGED)
def test_a_wrong_translation_is_found_out(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, made = SABOTAGED[fault]
    monkeypatch.setattr(possible._Solver, name, made(getattr(possible._Solver, name)))
    operations = itertools.chain.from_iterable(results_of(name) for name in OPERATIONS)
    assert any(answer is not truth for answer, truth in itertools.chain(operations, questions(300)))


def test_a_quotient_by_zero_may_be_anything() -> None:
    machine = _core.Machine(64)
    terms = machine.terms
    x, y = machine.new_symbol(8), machine.new_symbol(8)
    zero = terms.combine("equal", y, terms.number(8, 0))
    for name in DIVIDES:
        wanted = terms.combine("equal", terms.combine(name, x, y), terms.number(8, 77))
        assert Possibility(machine, 100)([(zero, True), (wanted, True)])


def test_what_takes_too_long_stays_open() -> None:
    """Factors of a product of two large primes."""
    machine = _core.Machine(64)
    terms = machine.terms
    x, y = (machine.new_symbol(64, 1, 2, (1 << 32) - 1) for _ in range(2))
    product = terms.combine("multiply", x, y)
    condition = terms.combine("equal", product, terms.number(64, 2654435761 * 3266489917))
    ordered = terms.combine("below", y, x)
    asked = Possibility(machine, 100)
    assert asked([(condition, True), (ordered, True)]) is None
    # It is not asked again, and what has nothing to do with it is still answered.
    flag = machine.new_symbol(8)
    small = (terms.combine("below", flag, terms.number(8, 4)), True)
    large = (terms.combine("below", flag, terms.number(8, 6)), False)
    assert asked([small, (condition, True), large, (ordered, True)]) is False
    assert asked([small, (condition, True), (ordered, True)]) is None


def test_without_time_nothing_is_asked() -> None:
    machine = _core.Machine(64)
    product = machine.terms.combine("multiply", machine.new_symbol(8), machine.new_symbol(8))
    condition = machine.terms.combine("equal", product, machine.terms.number(8, 3))
    assert Possibility(machine, 0)([(condition, True)]) is None


class Branches:
    """A made-up instruction that branches on conditions over two bytes, of which few bits count, and notes
    where it went."""

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.machine = _core.Machine(64)
        self.base = self.machine.add_base(self.machine.new_symbol(64), 1 << 20, b"")
        self.registers = [self.slot() for _ in range(2)]
        self.operations: list[Operation] = []
        self.plain: list[Any] = []
        first, second = map(self.masked, self.registers)
        self.values = [(first, lambda a, b: a & 15), (second, lambda a, b: b & 7)]

    def slot(self) -> Part:
        return Part(self.machine.add_slot(8), 0, 1)

    def masked(self, register: Part) -> Part:
        out = self.slot()
        self.operations.append(
            Operation(Do.BIT_AND, out, register, Number(15 if register == self.registers[0] else 7, 1))
        )
        return out

    def step(self) -> None:
        """A further value, or a branch."""
        (x, f), (y, g) = (self.random.choice(self.values) for _ in range(2))
        if self.random.random() < 0.5:
            constant = self.random.choice((1, 2, 3, 4, 7, 8, 15, 128, 255))
            y, g = Number(constant, 1), lambda a, b: constant
        out = self.slot()
        if self.random.random() < 0.4:
            do, plain = self.random.choice([
                (Do.ADD, lambda p, q: p + q), (Do.SUBTRACT, lambda p, q: p - q), (Do.BIT_AND, lambda p, q: p & q),
                (Do.BIT_OR, lambda p, q: p | q), (Do.BIT_XOR, lambda p, q: p ^ q), (Do.MULTIPLY, lambda p, q: p * q),
            ])  # fmt: skip
            self.operations.append(Operation(do, out, x, y))
            self.values.append((out, lambda a, b: plain(f(a, b), g(a, b)) & 255))
            return
        do, test = self.random.choice([
            (Do.EQUAL, lambda p, q: p == q), (Do.BELOW, lambda p, q: p < q),
            (Do.BELOW_SIGNED, lambda p, q: signed(p, 8) < signed(q, 8)), (Do.NOT_EQUAL, lambda p, q: p != q),
            (Do.BELOW_OR_EQUAL, lambda p, q: p <= q),
        ])  # fmt: skip
        self.operations.append(Operation(do, out, x, y))
        number = len(self.plain)
        self.operations.append(Operation(Do.SKIP_IF, None, out, detail=len(self.operations) + 2))
        self.operations.append(Operation(Do.NOTE, detail=number))
        self.plain.append(lambda a, b: test(f(a, b), g(a, b)))

    def taken(self) -> set[tuple[int, ...]]:
        """Where all inputs go."""
        return {
            tuple(number for number, test in enumerate(self.plain) if not test(a, b))
            for a, b in itertools.product(range(16), range(8))
        }

    def found(self, asked: Any) -> list[tuple[int, ...]]:
        operations = [*self.operations, Operation(Do.LEAVE)]
        paths = self.machine.run(
            self.base, 0, lambda _base, _offset: (1, packed(operations)), max_paths=4096, possible=asked
        )
        assert all(settled for *_, settled in paths)
        return [tuple(_kinds(path[1], path[2])) for path in paths]


def _kinds(kept: bytes, runs: list[tuple[int, int]]) -> Iterator[int]:
    """The kinds of a path's events."""
    events = struct.iter_unpack("<HHIIIqq", kept)
    for turns, period in runs:
        yield from [kind for kind, *_ in itertools.islice(events, period)] * turns


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_paths_are_those_that_inputs_take(source: random.Random, steps: int) -> None:
    """Neither more nor fewer, with intervals and the solver together."""
    branches = Branches(source)
    for _ in range(steps):
        branches.step()
    assert set(branches.found(Possibility(branches.machine, 100))) == branches.taken()
