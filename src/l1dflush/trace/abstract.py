"""A routine run on the abstract machine: its paths as the rest of the program knows them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Routine
from l1dflush.trace.bindings import bound
from l1dflush.trace.decode import GENERAL
from l1dflush.trace.kernel_sites import KernelSites
from l1dflush.trace.lift import KINDS, Lifter, register_name
from l1dflush.trace.model import Decision, Event, Kind, Path, Trace
from l1dflush.trace.msrs import MsrWrite
from l1dflush.trace.names import RETURN, STACK, Names
from l1dflush.trace.options import TraceOptions
from l1dflush.trace.state import bind_hint

# As the core has them: kind, size, number of the instruction, region, 0, offset.
_EVENT = struct.Struct("<HHIIIq")


def trace(routine: Routine, options: TraceOptions | None = None) -> Trace:
    """Runs ``routine`` on the abstract machine along every path; deterministic.

    Raises UndecidedError for what cannot be followed, as :func:`l1dflush.trace.explore.trace` does.
    """
    return _Run(routine, options or TraceOptions()).trace()


class _Run:
    def __init__(self, routine: Routine, options: TraceOptions) -> None:
        self._routine = routine
        self._options = options
        self._kernel = KernelSites(routine.image, options.static_keys)
        self._lifter = Lifter(routine.image, self._kernel)
        self._machine = self._lifter.machine
        self._width = routine.image.bits // 8
        self._names = Names(routine, self._lifter)

    def trace(self) -> Trace:
        machine, bases, image = self._machine, self._lifter.bases, self._routine.image
        section = image.section_at(self._routine.entry)
        if section is None:
            raise UndecidedError("jump-into-nowhere", "there is no code at the entry")
        base = bases.of_section(section)
        stack = machine.base(STACK)
        top = machine.terms.combine("subtract", stack, machine.terms.number(image.bits, self._width))
        machine.store(top, machine.base(RETURN))
        machine.set_slot(0, top)
        if not self._routine.partial:
            # Compilers rely on it (psABI: the direction flag is clear at entry).
            (direction,) = self._lifter.register("DF")
            machine.set_slot(direction.slot, machine.terms.number(8, 0))
        self._bind()
        try:
            found = machine.run(
                base,
                self._routine.entry - section.address,
                self._lifter.lift,
                max_paths=self._options.max_paths,
                max_instructions=self._options.max_instructions,
                max_seconds=self._options.max_seconds,
            )
        except _core.StoppedError as stopped:
            raise self._undecided(*stopped.args) from None
        places = machine.places
        addresses = [self._address(*place) for place in places]
        mnemonics = [self._lifter.instructions[place].mnemonic for place in places]
        paths = []
        for decisions, events, instructions, end in found:
            made = tuple(self._event(addresses, mnemonics, *event) for event in _EVENT.iter_unpack(events))
            decided = tuple(self._decision(*decision) for decision in decisions)
            paths.append(Path(decided, made, instructions, mnemonics[end - 1] if end else ""))
        assumptions = [f"{name} still holds its initial value" for name in self._names.held()]
        undefined = [] if self._routine.partial else self._names.nobody_gave(_sources(paths))
        return Trace(self._routine, tuple(paths), tuple(undefined), tuple(assumptions), self._kernel.stubs)

    def _bind(self) -> None:
        """Gives registers and variables the values that the user says they have."""
        machine, bits = self._machine, self._routine.image.bits
        registers = {name for name in GENERAL if bits == 64 or not name[1:2].isdigit()}
        for one in bound(self._routine, self._options.bind, registers):
            if one.register is not None:
                (part,) = self._lifter.register(register_name(one.register, bits))
                machine.set_slot(part.slot, machine.terms.number(bits, one.value & ((1 << bits) - 1)))
            elif one.symbol is not None:
                size = min(one.symbol.size or self._width, self._width)
                at = self._lifter.bases.place_of(one.symbol)
                value = machine.terms.number(8 * size, one.value & ((1 << 8 * size) - 1))
                machine.bind(self._lifter.bases.value(at), value)

    def _undecided(self, cause: str, base: int, offset: int, value: _core.Value) -> UndecidedError:
        """What the machine stopped at, in words."""
        options = self._options
        insn = self._lifter.instructions.get((base, offset))
        text = f"`{insn.text}`" if insn is not None else "the routine"
        sources = " and ".join(self._names.sources(value)) if value.term else f"{value.constant:#x}"
        what = {
            "too-many-paths": f"more than {options.max_paths} paths; the last fork depends on {sources}",
            "too-many-instructions": f"the routine has not returned after {options.max_instructions} instructions "
            "(an endless loop, or raise the budget)",
            "out-of-time": f"the routine has not returned after {options.max_seconds:g} seconds "
            "(an endless loop, or raise the budget)",
            "too-many-accesses": "the routine accesses memory more often than can be kept",
            "too-many-unknown-values": "the routine computes more unknown values than can be kept",
            "indirect-jump": f"{text} goes where {sources} says",
            "stack-moved": "the stack is elsewhere when it returns",
            "faults": f"{text} faults: its address is not aligned, as computed from {sources}",
        }.get(cause, f"{text} depends on {sources}")
        hint = bind_hint(self._names.sources(value)) if cause == "too-many-paths" else None
        return UndecidedError(cause, what, where=f"{self._address(base, offset):#x}", hint=hint)

    def _address(self, base: int, offset: int) -> int:
        section = self._lifter.bases.section_of.get(base)
        return offset + (section.address if section is not None else 0)

    def _decision(self, base: int, offset: int, condition: _core.Value, holds: bool, taken: bool) -> Decision:
        insn = self._lifter.instructions[base, offset]
        return Decision(insn.address, insn.mnemonic, self._names.sources(condition), taken)

    def _event(
        self,
        addresses: list[int],
        mnemonics: list[str],
        kind: int,
        size: int,
        number: int,
        region: int,
        _: int,
        at: int,
    ) -> Event:
        what = KINDS[kind]
        if what in (Kind.LOAD, Kind.STORE, Kind.PREFETCH, Kind.LINE_FLUSH):
            arena, offset = self._names.place(region, at)
            return Event(what, addresses[number], mnemonics[number], arena, offset, size)
        detail = mnemonics[number]
        if what is Kind.CALL:
            detail = self._names.called(self._machine.note(at)[0])
        elif what is Kind.MSR_WRITE:
            msr, value = self._machine.note(at)
            known, low = (None if v.term else v.constant for v in (msr, value))
            detail = MsrWrite(known, low, self._names.sources(value)).text
        elif what is Kind.SYSTEM_WRITE:
            detail = self._lifter.instructions[self._machine.places[number]].text
        return Event(what, addresses[number], detail)


def _sources(paths: Iterable[Path]) -> Iterator[str]:
    """What branches and addresses depend on."""
    for path in paths:
        for decision in path.decisions:
            yield from decision.sources
        for arena in {event.arena for event in path.events if event.arena is not None}:
            yield from arena.sources
