# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a path of the abstract machine is what a run did: the same accesses, in order, by the same instructions, in
the same places, and with decisions that come to what the path says.

The machine's terms are evaluated here once more, by plain Python, with the run's registers, places and memory in place
of the symbols. What cannot be evaluated, because of results that nobody knows or memory that was stored to on the way,
may be anything; but an address that has it in it begins with one and the same number during the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from plain_machine import NotForThisError
from program_runs import Access, Run

from l1dflush import _core
from l1dflush.routine.model import Image, Routine
from l1dflush.tracing import abstract
from l1dflush.tracing.model import STORES, Arena, ArenaKind, Decision, Event, Kind, Path, is_instruction
from l1dflush.tracing.names import RETURN, STACK
from l1dflush.tracing.options import TraceOptions

_HALF = 8
_FLAGS = {"CF": 0, "PF": 2, "AF": 4, "ZF": 6, "SF": 7, "OF": 11}
_GIVEN, _MEMORY = 0, 1


@dataclass(frozen=True)
class _Decided(Decision):
    """A decision together with the term that it is about."""

    condition: _core.Value | None = None
    holds: bool = False


class Traced(abstract._Run):
    """A trace that keeps its machine."""

    def __init__(self, routine: Routine, options: TraceOptions) -> None:
        """Raises UndecidedError, as the trace does."""
        super().__init__(routine, options)
        self.image: Image = routine.image
        self.paths = self.trace().paths

    def _decision(self, base: int, offset: int, condition: _core.Value, holds: bool, *rest: Any) -> Decision:
        made = super()._decision(base, offset, condition, holds, *rest)
        return _Decided(made.pc, made.sources, made.taken, made.fact, made.followed, condition=condition, holds=holds)

    def inputs(self, run: Run) -> Mapping[int, int | None]:
        """What the symbols that are no memory are in the run, by their terms; None for what was not given."""
        machine, bases = self._machine, self._lifter.bases
        known = {machine.base(STACK).term: run.registers["rsp"] + 8, machine.base(RETURN).term: run.back}
        known |= {machine.base(n).term: run.sections[s.name] for n, s in bases.section_of.items()}
        known |= {
            machine.base(n).term: run.outside[name] for n, name in bases.external_of.items() if name in run.outside
        }
        return known

    def register(self, slot: int, run: Run) -> int | None:
        """What the register that a slot is was at entry."""
        try:
            name = self._lifter.register_name(slot)
        except (StopIteration, KeyError):
            return None
        if name in _FLAGS:
            return run.flags >> _FLAGS[name] & 1
        return run.registers.get(name.lower())


class Evaluated:
    """What the terms of a trace come to in one run."""

    def __init__(self, traced: Traced, run: Run) -> None:
        self._traced, self._run = traced, run
        self._machine = traced._machine
        self._known: dict[int, int | None] = dict(traced.inputs(run))

    def value(self, value: _core.Value) -> int | None:
        """What it is, None if that cannot be told."""
        if value.term == 0:
            return int(value.constant)
        if value.term not in self._known:
            self._known[value.term] = self._term(value)
        found = self._known[value.term]
        return None if found is None else (found + value.constant) & ((1 << value.bits) - 1)

    def _symbol(self, number: int) -> int | None:
        kind, region, offset, size, _, _, slot = self._machine.origin(number)
        if kind == _GIVEN:
            return self._traced.register(slot, self._run)
        if kind != _MEMORY:
            return None
        base = self.value(self._machine.terms.value(region)) if region else 0
        return None if base is None else self._run.unchanged((base + offset) & ((1 << 64) - 1), size)

    def _term(self, value: _core.Value) -> int | None:
        what, bits, start, operands, addends, number = self._machine.described(value)
        mask = (1 << bits) - 1
        if what == "symbol":
            return self._symbol(number)
        if what == "sum":
            parts = [(self.value(atom), factor) for atom, factor in addends]
            found = [atom * factor for atom, factor in parts if atom is not None]
            return sum(found) & mask if len(found) == len(parts) else None
        if what == "choose":
            condition = self.value(operands[0])
            return None if condition is None else self.value(operands[1 if condition else 2])
        numbers = [self.value(operand) for operand in operands]
        a, b = (*numbers, 0)[:2]
        if a is None or b is None:
            return None
        return _plain(what, bits, start, a, b, operands[0].bits) & mask


def _signed(x: int, bits: int) -> int:
    return x - (1 << bits) if x >> (bits - 1) else x


def _plain(what: str, bits: int, start: int, a: int, b: int, width: int) -> int:
    signed_a, signed_b = _signed(a, width), _signed(b, bits)
    match what:
        case "group" | "widen":
            return a
        case "slice":
            return a >> start
        case "widen_signed":
            return signed_a
        case "multiply":
            return a * b
        case "multiply_high":
            return a * b >> bits
        case "multiply_high_signed":
            return signed_a * signed_b >> bits
        case "divide":
            return a // b
        case "remainder":
            return a % b
        case "divide_signed":
            return abs(signed_a) // abs(signed_b) * (1 if (a ^ b) >> (bits - 1) == 0 else -1)
        case "remainder_signed":
            return abs(signed_a) % abs(signed_b) * (-1 if signed_a < 0 else 1)
        case "bit_and":
            return a & b
        case "bit_or":
            return a | b
        case "bit_xor":
            return a ^ b
        case "shift_left":
            return a << b if b < bits else 0
        case "shift_right":
            return a >> b
        case "shift_right_signed":
            return signed_a >> b
        case "equal_zero":
            return a == 0
        case "below":
            return a < b
        case "count_ones":
            return a.bit_count()
        case "count_leading_zeros":
            return width - a.bit_length()
        case _:
            raise AssertionError(what)


def why_uncovered(paths: Sequence[Path], found: Traced, run: Run) -> list[str]:
    """Why each of the paths is not the run; nothing if one is."""
    evaluated = Evaluated(found, run)
    reasons = [why_not(path, found, run, evaluated) for path in paths]
    if None in reasons:
        return []
    return [f"path {number}: {reason}" for number, reason in enumerate(reasons)] or ["there is no path"]


def why_not(path: Path, traced: Traced, run: Run, evaluated: Evaluated) -> str | None:
    """What about ``path`` is not as in ``run``; None if it covers it.

    Raises NotForThisError if a processor would not have gone on.
    """
    for decision in path.decisions:
        assert isinstance(decision, _Decided)
        assert decision.condition is not None
        outcome = evaluated.value(decision.condition)
        if outcome is not None and bool(outcome) != decision.holds:
            return f"the decision at {decision.pc:#x} on {', '.join(decision.sources)} is not what it comes to"
    places: dict[str, int] = {}
    events, accesses = _side_by_side(path, run, traced)
    for number, (event, access) in enumerate(zip(events, accesses, strict=False)):
        arena = event.arena
        section = traced.image.section_at(event.pc)
        if arena is None or section is None:
            return f"access {number} is nowhere"
        told = (section.name, event.pc - section.address, event.size, event.kind in STORES)
        if told != (access.section, access.offset, access.size, access.write):
            return f"access {number} is {_shown(access)}, not {told}"
        base = _base(arena, traced, run, evaluated)
        if base is None:
            base = places.setdefault(arena.key, (access.address - event.offset) & ((1 << 64) - 1))
        # That what was handed in or loaded points to a page is granted.
        if "leads to" in str(arena.region) and base % arena.alignment:
            return f"access {number} is {_shown(access)}, where {arena.region!s} is not aligned to {arena.alignment}"
        at = (base + event.offset) & ((1 << 64) - 1)
        if at != access.address:
            if at >> 47 not in (0, (1 << 17) - 1) and at % (1 << 48) == access.address:
                raise NotForThisError("the emulator does not see that an address is not canonical")
            return f"access {number} is {_shown(access)}, not at {base:#x}{event.offset:+#x}, {arena.region!s}"
    if len(events) != len(accesses):
        return f"there are {len(accesses)} accesses, not {len(events)}"
    return None


def _side_by_side(path: Path, run: Run, traced: Traced) -> tuple[list[Event], list[Access]]:
    """The events of the path, and the accesses of the run. Of an instruction of which some may be done or not, or are
    somewhere, both are left out where the run has as many as there can be: in a loop nobody can tell which is which."""
    events: list[Event] = []
    accesses: list[Access] = []
    left = run.accesses[::-1]
    told = _halves(e for e in path.events if e.kind is Kind.LOAD or e.kind in STORES or _is_vague(e))
    vague = {event.pc for event in path.events if _is_vague(event)}
    for pc, those in groupby(told, key=lambda event: event.pc):
        if pc not in vague:
            for event in those:
                events.append(event)
                accesses += [left.pop()] if left else []
            continue
        section, here = traced.image.section_at(pc), list(those)
        assert section is not None
        done: list[Access] = []
        while left and (left[-1].section, left[-1].offset) == (section.name, pc - section.address):
            done.append(left.pop())
        surely = [event for event in here if not _is_vague(event)]
        most = len(here) if not any(map(is_instruction, here)) else len(done)
        if not len(surely) <= len(done) <= most:
            events, accesses = events + surely, accesses + done
    return events, accesses + left[::-1]


def _is_vague(event: Event) -> bool:
    """Whether it may be done or not, or is somewhere."""
    return event.kind is Kind.PREFETCH or is_instruction(event)


def _shown(access: Access) -> str:
    kind = "store" if access.write else "load"
    return f"({access.section}+{access.offset:#x}: {access.address:#x}, {access.size}, {kind})"


def _halves(events: Iterable[Event]) -> Iterable[Event]:
    """The emulator reports 16 bytes in two halves."""
    for event in events:
        for at in range(0, max(event.size, 1), _HALF):
            yield event._replace(offset=event.offset + at, size=min(event.size, _HALF))


def _base(arena: Arena, traced: Traced, run: Run, evaluated: Evaluated) -> int | None:
    """Where it is, if that is known."""
    kind, _, name = arena.key.partition(":")
    if kind == "section":
        section = traced.image.section_at(int(name, 16))
        assert section is not None
        return run.sections[section.name]
    if kind == "external":
        return run.outside[name]
    if arena.kind is ArenaKind.STACK:
        return run.registers["rsp"] + 8
    if arena.kind is ArenaKind.ABSOLUTE:
        return 0
    term = evaluated.value(traced._machine.terms.value(int(name)))
    # An arena begins where what is known of the term's lowest bits says that it is aligned.
    return None if term is None else (term - traced._arenas.place(int(name), 0)[1]) & ((1 << 64) - 1)
