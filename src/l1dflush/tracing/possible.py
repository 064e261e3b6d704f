# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether any input takes a path: what its decisions say, put to an SMT solver.

The machine decides by intervals as far as they go. So a path may have decisions that contradict each other: three
comparisons of two unknown values, a flag that was kept beside the value that it was made of. Nothing takes such a path,
and it must not decide a verdict. The solver is asked only where intervals do not settle a path's decisions; those
that have unknown values in common are one question, and each is asked once. What is not answered in the time
that is given stays open: such a path is kept, and is not enough to refute anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from l1dflush import _core

if TYPE_CHECKING:
    import bitwuzla

# What a question may take, and all of a run together, in seconds; and how many terms it may have.
SECONDS_EACH = 0.2
SHARE_OF_TIME = 0.25
MOST_TERMS = 20_000

# A condition, and whether it holds.
Decided = tuple[_core.Value, bool]


def _unlimited(_: _core.Value) -> Iterable[Decided]:
    return ()


class Possibility:
    """Answers for the paths of one run of ``machine``, which has at most ``max_seconds``. ``limits`` says what holds of
    a symbol besides what the machine knows of it."""

    def __init__(
        self,
        machine: _core.Machine,
        max_seconds: float,
        limits: Callable[[_core.Value], Iterable[Decided]] = _unlimited,
    ) -> None:
        self._machine = machine
        self._limits_of = limits
        self._limits: dict[int, list[Decided]] = {}
        self._left = max_seconds * SHARE_OF_TIME
        self._symbols: dict[int, frozenset[int]] = {}
        self._known: dict[frozenset[tuple[int, bool]], bool | None] = {}
        self._impossible: list[frozenset[tuple[int, bool]]] = []
        self._solver: _Solver | None = None

    def __call__(self, decisions: Sequence[Decided]) -> bool | None:
        """Whether any input decides like this; None if that was not found out."""
        answers = {self._answer(group) for group in self._groups(decisions)}
        if False in answers:
            return False
        return None if None in answers else True

    def is_limited(self, value: _core.Value) -> bool:
        """Whether there is a limit on something in a value, of which the machine does not know."""
        return any(self._limits_on(symbol) for symbol in self.symbols_in(value))

    def _groups(self, decisions: Iterable[Decided]) -> Iterator[frozenset[tuple[int, bool]]]:
        """The decisions, together where they have an unknown value in common."""
        groups: dict[int, set[tuple[int, bool]]] = {}
        members: dict[int, set[int]] = {}
        for condition, holds in decisions:
            one = (condition.term, holds != bool(condition.constant))
            symbols = self.symbols_in(condition)
            together, all_symbols = {one}, set(symbols)
            for symbol in symbols:
                if symbol in groups:
                    together |= groups[symbol]
                    all_symbols |= members[symbol]
            for symbol in all_symbols:
                groups[symbol], members[symbol] = together, all_symbols
        yield from {id(group): frozenset(group) for group in groups.values()}.values()

    def symbols_in(self, value: _core.Value) -> frozenset[int]:
        """The terms of the unknown values in a value."""
        found = self._symbols.get(value.term)
        if found is None:
            nodes = _nodes(self._machine, value.term)
            found = frozenset(term for term in nodes if self._machine.described(self._of(term))[0] == "symbol")
            self._symbols[value.term] = found
            # What a limit compares with goes with it.
            found = found.union(*(self.symbols_in(other) for term in found for other, _ in self._limits_on(term)))
            self._symbols[value.term] = found
        return found

    def _limits_on(self, symbol: int) -> list[Decided]:
        if symbol not in self._limits:
            self._limits[symbol] = [one for one in self._limits_of(self._of(symbol)) if one[0].term]
        return self._limits[symbol]

    def _of(self, term: int) -> _core.Value:
        return self._machine.terms.value(term)

    def _answer(self, group: frozenset[tuple[int, bool]]) -> bool | None:
        if group not in self._known:
            if any(contradiction <= group for contradiction in self._impossible):
                self._known[group] = False
            else:
                self._known[group] = self._asked(group)
                if self._known[group] is False:
                    self._impossible.append(group)
        return self._known[group]

    def _asked(self, group: frozenset[tuple[int, bool]]) -> bool | None:
        symbols = frozenset[int]().union(*(self.symbols_in(self._of(term)) for term, _ in group))
        group |= {(one.term, holds != bool(one.constant)) for at in symbols for one, holds in self._limits_on(at)}
        if len(group) == 1 and self._may_be_either(next(iter(group))[0]):
            return True
        if self._left <= 0:
            return None
        if self._solver is None:
            self._solver = _Solver(self._machine)
        started = time.monotonic()
        try:
            return self._solver.possible(group, min(SECONDS_EACH, self._left))
        finally:
            self._left -= time.monotonic() - started

    def _may_be_either(self, condition: int) -> bool:
        """Whether a condition surely holds for some input and not for another: whether something is 0, or a bit set,
        that may be any number. That is what most ask for, and needs no solver."""
        op, _, _, operands, _, _ = self._machine.described(self._of(condition))
        return self._may_be_any(operands[0] if op == "equal_zero" else self._of(condition))

    def _may_be_any(self, value: _core.Value) -> bool:
        """Whether a term surely may be any number: a symbol of which nothing is known, or a part of one; or a sum that
        has such a symbol in it once, an odd number of times."""
        op, bits, _, operands, addends, _ = self._machine.described(value)
        if op == "symbol":
            return self._machine.terms.known(self._of(value.term)) == (0, 0, 0, (1 << bits) - 1)
        if op == "slice":
            return self._may_be_any(operands[0])
        if op != "sum":
            return False
        others = {atom.term: self.symbols_in(atom) for atom, _ in addends}
        return any(
            factor % 2 == 1
            and self._machine.described(atom)[0] == "symbol"
            and self._may_be_any(atom)
            and not any(atom.term in symbols for other, symbols in others.items() if other != atom.term)
            for atom, factor in addends
        )


def _nodes(machine: _core.Machine, term: int) -> list[int]:
    """The terms in a term, each once, operands first."""
    done: dict[int, None] = {}
    todo = [(term, False)]
    while todo:
        one, operands_done = todo.pop()
        if one == 0 or one in done:
            continue
        if operands_done:
            done[one] = None
            continue
        todo.append((one, True))
        _, _, _, operands, addends, _ = machine.described(machine.terms.value(one))
        todo += [(v.term, False) for v in (*operands, *(atom for atom, _ in addends))]
    return list(done)


class _Solver:
    """Terms as the solver has them. Each question gets a solver of its own: going back to an earlier state of one takes
    it longer than beginning anew."""

    def __init__(self, machine: _core.Machine) -> None:
        # It takes a while, and most runs do without.
        import bitwuzla  # noqa: PLC0415

        self._b = bitwuzla
        self._manager = bitwuzla.TermManager()
        self._machine = machine
        self._made: dict[int, bitwuzla.Term] = {}
        # What the machine knows of a symbol, by its term; and what is made up on the way.
        self._limits: dict[int, list[bitwuzla.Term]] = {}

    def possible(self, decided: Iterable[tuple[int, bool]], seconds: float) -> bool | None:
        """Whether numbers exist for the symbols with which the terms have these truth values; None if that is not found
        in the time."""
        b = self._b
        options = b.Options()
        options.set(b.Option.TIME_LIMIT_PER, max(int(seconds * 1000), 1))
        solver = b.Bitwuzla(self._manager, options)
        for term, holds in sorted(decided):
            nodes = _nodes(self._machine, term)
            if len(nodes) > MOST_TERMS:
                return None
            for node in nodes:
                if node not in self._made:
                    self._made[node] = self._translated(node)
                for limit in self._limits.get(node, ()):
                    solver.assert_formula(limit)
            solver.assert_formula(self._manager.mk_term(b.Kind.EQUAL, [self._made[term], self._number(1, int(holds))]))
        return {b.Result.SAT: True, b.Result.UNSAT: False}.get(solver.check_sat())

    def _number(self, bits: int, value: int) -> bitwuzla.Term:
        return self._manager.mk_bv_value(self._manager.mk_bv_sort(bits), value & ((1 << bits) - 1))

    def _value(self, value: _core.Value) -> bitwuzla.Term:
        """A term, whose operands are there, with its constant."""
        if value.term == 0:
            return self._number(value.bits, value.constant)
        made = self._made[value.term]
        if value.constant == 0:
            return made
        return self._manager.mk_term(self._b.Kind.BV_ADD, [made, self._number(value.bits, value.constant)])

    def _translated(self, term: int) -> bitwuzla.Term:
        value = self._machine.terms.value(term)
        op, bits, start, values, addends, _ = self._machine.described(value)
        kind, make = self._b.Kind, self._manager.mk_term
        if op == "symbol":
            return self._symbol(value)
        if op == "sum":
            parts = [make(kind.BV_MUL, [self._made[atom.term], self._number(bits, by)]) for atom, by in addends]
            return make(kind.BV_ADD, parts) if len(parts) > 1 else parts[0]
        given = [self._value(v) for v in values]
        first = given[0]
        match op:
            case "group":
                return first
            case "slice":
                return make(kind.BV_EXTRACT, [first], [start + bits - 1, start])
            case "widen" | "widen_signed":
                return self._extended(first, bits, op == "widen_signed")
            case "multiply_high" | "multiply_high_signed":
                wide = [self._extended(one, 2 * bits, op == "multiply_high_signed") for one in given]
                return make(kind.BV_EXTRACT, [make(kind.BV_MUL, wide)], [2 * bits - 1, bits])
            case "divide" | "divide_signed" | "remainder" | "remainder_signed":
                return self._quotient(op, given)
            case "shift_left" | "shift_right" | "shift_right_signed":
                return self._shifted(op, *given)
            case "equal_zero":
                return make(kind.BV_COMP, [first, self._number(first.sort().bv_size(), 0)])
            case "below":
                return self._bit(make(kind.BV_ULT, given))
            case "count_ones" | "count_leading_zeros":
                return self._counted(op, first, bits)
            case "choose":
                return make(kind.ITE, [make(kind.EQUAL, [first, self._number(1, 1)]), *given[1:]])
        plain = {"multiply": kind.BV_MUL, "bit_and": kind.BV_AND, "bit_or": kind.BV_OR, "bit_xor": kind.BV_XOR}
        return make(plain[op], given)

    def _symbol(self, value: _core.Value) -> bitwuzla.Term:
        kind, make, bits = self._b.Kind, self._manager.mk_term, value.bits
        made = self._manager.mk_const(self._manager.mk_bv_sort(bits))
        zeros, ones, least, most = self._machine.terms.known(value)
        limits = self._limits[value.term] = []
        if zeros | ones:
            fixed = make(kind.BV_AND, [made, self._number(bits, zeros | ones)])
            limits.append(make(kind.EQUAL, [fixed, self._number(bits, ones)]))
        if least:
            limits.append(make(kind.BV_UGE, [made, self._number(bits, least)]))
        if most != (1 << bits) - 1:
            limits.append(make(kind.BV_ULE, [made, self._number(bits, most)]))
        return made

    def _bit(self, formula: bitwuzla.Term) -> bitwuzla.Term:
        return self._manager.mk_term(self._b.Kind.ITE, [formula, self._number(1, 1), self._number(1, 0)])

    def _extended(self, term: bitwuzla.Term, bits: int, is_signed: bool) -> bitwuzla.Term:
        more = bits - term.sort().bv_size()
        kind = self._b.Kind.BV_SIGN_EXTEND if is_signed else self._b.Kind.BV_ZERO_EXTEND
        return self._manager.mk_term(kind, [term], [more]) if more else term

    def _shifted(self, op: str, shifted: bitwuzla.Term, count: bitwuzla.Term) -> bitwuzla.Term:
        """By the width and more nothing is left, or all the sign; the count may be wider."""
        kind, bits = self._b.Kind, shifted.sort().bv_size()
        wide = max(bits, count.sort().bv_size())
        which = {"shift_left": kind.BV_SHL, "shift_right": kind.BV_SHR, "shift_right_signed": kind.BV_ASHR}[op]
        operands = [self._extended(shifted, wide, op == "shift_right_signed"), self._extended(count, wide, False)]
        made = self._manager.mk_term(which, operands)
        return made if wide == bits else self._manager.mk_term(kind.BV_EXTRACT, [made], [bits - 1, 0])

    def _quotient(self, op: str, given: list[bitwuzla.Term]) -> bitwuzla.Term:
        """By 0 it may be anything."""
        kind, make, bits = self._b.Kind, self._manager.mk_term, given[0].sort().bv_size()
        which = {
            "divide": kind.BV_UDIV,
            "divide_signed": kind.BV_SDIV,
            "remainder": kind.BV_UREM,
            "remainder_signed": kind.BV_SREM,
        }[op]
        anything = self._manager.mk_const(self._manager.mk_bv_sort(bits))
        return make(kind.ITE, [make(kind.EQUAL, [given[1], self._number(bits, 0)]), anything, make(which, given)])

    def _counted(self, op: str, of: bitwuzla.Term, bits: int) -> bitwuzla.Term:
        kind, make, width = self._b.Kind, self._manager.mk_term, of.sort().bv_size()
        ones = [make(kind.BV_EXTRACT, [of], [at, at]) for at in range(width)]
        if op == "count_leading_zeros":
            total = self._number(bits, width)
            for at, one in enumerate(ones):
                is_one = make(kind.EQUAL, [one, self._number(1, 1)])
                total = make(kind.ITE, [is_one, self._number(bits, width - 1 - at), total])
            return total
        total = self._number(bits, 0)
        for one in ones:
            # A width of one bit holds nothing more than whether their number is odd.
            total = make(kind.BV_ADD, [total, self._extended(one, bits, False)])
        return total
