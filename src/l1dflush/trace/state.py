"""The state of one path: the emulated CPU, and beside it which of its values are unknown."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Routine
from l1dflush.trace.bindings import ARGUMENTS, bind_hint, bound
from l1dflush.trace.decode import Instruction, Memory, Register
from l1dflush.trace.effects import CARRY, REST, Role
from l1dflush.trace.machine import SEGMENT_BASES, Machine
from l1dflush.trace.memory import STACK_POINTER, MemoryState
from l1dflush.trace.model import FLAGS_AT_ENTRY, Arena, ArenaKind, Event, Kind
from l1dflush.trace.options import TraceOptions
from l1dflush.trace.values import Unknown, Unknowns, identity

# Where the routine returns to: an address that nothing else uses.
RETURN_ADDRESS = 0x7FFF_0000
# The stack pointer's alignment in bytes at entry. The psABI says 16 before the return address is pushed, but
# kernels are built with -mpreferred-stack-boundary=3.
STACK_ALIGNMENT = {64: 8, 32: 4}


@dataclass(frozen=True, slots=True)
class FlagValue:
    """Flags that depend on unknown values. ``key`` is an identity: the same whenever they are the same. ``zero``
    says what a set zero flag means, and ``nonzero`` what a clear one does, where that can be said in words; ``by`` is
    what computed them."""

    key: str
    sources: tuple[str, ...]
    zero: str = ""
    nonzero: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """One memory operand of an instruction about to run. ``origin`` is the unknown value its address comes from."""

    operand: int
    role: Role
    address: int
    size: int
    arena: Arena
    offset: int
    origin: Unknown | None


class State:
    """Registers, flags, vectors and memory of one path, each value known or unknown."""

    def __init__(self, routine: Routine, options: TraceOptions) -> None:
        self.routine = routine
        self.bits = routine.image.bits
        self.machine = Machine(routine.image)
        self.width = self.machine.width
        self.unknowns = Unknowns(self.bits)
        self.memory = MemoryState(routine.image, self.machine, self.unknowns)
        self.unknowns.in_use = self._held
        self.registers: dict[str, Unknown | None] = {}
        at_entry = FlagValue(identity("flags at entry"), (FLAGS_AT_ENTRY,))
        self.flags: dict[str, FlagValue | None] = {CARRY: at_entry, REST: at_entry}
        self.vectors: dict[str, Unknown | None] = {}
        self.events: list[Event] = []
        self.fresh_made = 0
        # Registers that are no argument and that an address or a branch came to depend on.
        self.undefined_used: dict[str, None] = {}
        # Where calls and pushes put what the callee has to leave alone.
        self.saved: set[int] = set()
        # Which way string instructions went when flags were pushed, by the pushed value; and whether flags were popped
        # that are not known.
        self.pushed_directions: dict[str, int] = {}
        self.direction_lost = False
        # What last moved fs or gs; empty while they are where they were at entry.
        self.segments_moved = ""
        # Unknown values in parts of registers, each with what the whole register held then.
        self._parts: dict[tuple[str, int, int], tuple[Unknown, Hashable]] = {}
        # Names of the values that were used as addresses: a number for them is not what is missing.
        self.pointers: set[str] = set()
        self._names = {p.register: p.name for p in routine.parameters}
        self._not_arguments = self._define_registers()
        self._bind(options.bind)

    def _define_registers(self) -> frozenset[str]:
        not_arguments = {FLAGS_AT_ENTRY}
        # Inside a function any register may hold something.
        arguments = self.machine.registers if self.routine.partial else self._names or ARGUMENTS[self.bits]
        for register in self.machine.registers:
            if register == "rsp":
                continue
            shown = register if self.bits == 64 else f"e{register[1:]}"
            name = self._names.get(register, shown)
            if register not in arguments:
                not_arguments.add(name)
            self._set_entry(register, name)
        slot = self.width
        alignment = STACK_ALIGNMENT[self.bits]
        stack = self.unknowns.get(
            ("stack",), {STACK_POINTER}, name="the stack", kind=ArenaKind.STACK, alignment=alignment
        )
        self.registers["rsp"] = stack
        self.machine.write("rsp", stack.marker - slot)
        if self.routine.partial:
            return frozenset()
        self.memory.store(stack.marker - slot, slot, None)
        self.saved.add(stack.marker - slot)
        self.machine.poke(stack.marker - slot, RETURN_ADDRESS.to_bytes(slot, "little"))
        return frozenset(not_arguments)

    def _set_entry(self, register: str, name: str) -> None:
        value = self.unknowns.get(("register", register), {name}, name=f"what `{name}` points to", exact=self.width)
        self.registers[register] = value
        self.machine.write(register, value.marker)

    def _bind(self, bindings: Mapping[str, str]) -> None:
        for one in bound(self.routine, bindings, self.registers):
            if one.register is not None:
                self.registers[one.register] = None
                self.machine.write(one.register, one.value & ((1 << self.bits) - 1))
            elif one.symbol is not None:
                size = min(one.symbol.size or self.width, self.width)
                self.memory.bind(one.symbol.address, (one.value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def _held(self) -> Iterable[Unknown]:
        yield from (v for v in (*self.registers.values(), *self.vectors.values()) if v is not None)
        yield from self.memory.held()
        yield self.unknowns.get(("stack",), ())

    def fresh(self, key: Hashable, values: Iterable[Unknown | FlagValue | None], *, name: str | None = None,
              alignment: int = 1, exact: int = 0) -> Unknown:  # fmt: skip
        """The unknown value that an operation on ``values`` gives. Where it points to, if it is used as an
        address, nothing is known about the alignment."""
        self.fresh_made += 1
        sources = {source for value in values if value is not None for source in value.sources}
        return self.unknowns.get(key, sources, name=name, alignment=alignment, exact=exact)

    def content(self, register: str) -> Hashable:
        """What a general register holds: its bits if known, else which unknown value, and how far it was
        moved on. Equal contents are equal values, whatever the markers."""
        value, bits = self.registers[register], self.machine.read(register)
        return bits if value is None else (value.uid, bits - value.marker)

    def set_unknown(self, register: str, value: Unknown) -> None:
        """Makes a general register hold ``value``'s marker."""
        self.registers[register] = value
        self.machine.write(register, value.marker)

    def accesses(self, insn: Instruction) -> list[Access]:
        """The memory operands of ``insn`` with their addresses as of now, before it runs."""
        return [
            self.access(insn, index, operand)
            for index, operand in enumerate(insn.operands)
            if isinstance(operand, Memory) and insn.effect.role(index) is not Role.ADDRESS
        ]

    def access(self, insn: Instruction, index: int, memory: Memory) -> Access:
        """One memory operand."""
        address, origin = self.address(insn, memory)
        arena, offset = self.memory.resolve(address, origin, memory.segment or "")
        return Access(index, insn.effect.role(index), address, memory.size, arena, offset, origin)

    def stack_access(self, distance: int, size: int, role: Role) -> Access:
        """An access ``distance`` bytes from the stack pointer, not named by an operand."""
        address = self.machine.read("rsp") + distance
        origin = self.registers["rsp"]
        arena, offset = self.memory.resolve(address, origin)
        return Access(-1, role, address, size, arena, offset, origin)

    def address(self, insn: Instruction, memory: Memory) -> tuple[int, Unknown | None]:
        """The address of a memory operand, and the one unknown value it comes from, if any."""
        address = memory.displacement
        unknown: list[tuple[Unknown, int]] = []
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register is None:
                continue
            if register not in self.registers:
                raise UndecidedError(
                    "unclassified-instruction", f"the instruction `{insn.text}`", where=f"{insn.address:#x}"
                )
            address += self.machine.read(register) * scale
            value = self.registers[register]
            if value is not None:
                unknown.append((value, scale))
        if memory.segment is not None:
            base = self._segment_base(insn, memory.segment)
            if unknown:
                unknown.append((self.unknowns.get(("segment", memory.segment), {memory.segment}), 1))
            address += base
        address &= (1 << self.bits) - 1
        if not unknown:
            return address & 0xFFFF_FFFF if memory.narrow else address, None
        if len(unknown) > 1 or unknown[0][1] != 1 or memory.narrow:
            names = sorted({name for value, _ in unknown for name in value.sources})
            raise UndecidedError(
                "address-unknown",
                f"the address in `{insn.text}` depends on {' and '.join(names)} in a way that gives no base",
                where=f"{insn.address:#x}",
                hint=bind_hint(names),
            )
        self.check_used(unknown[0][0].sources)
        self.pointers.update(unknown[0][0].sources)
        if unknown[0][0].lost:
            raise lost_value(insn)
        return address, unknown[0][0]

    def _segment_base(self, insn: Instruction, segment: str) -> int:
        if self.segments_moved:
            raise UndecidedError(
                "segment-moved", f"where {segment} is after {self.segments_moved}", where=f"{insn.address:#x}"
            )
        self.memory.use_segments()
        return SEGMENT_BASES[self.bits][segment]

    def check_used(self, sources: Iterable[str]) -> None:
        """Notes registers that are no argument: something came to depend on what nobody put there."""
        for name in sources:
            if name in self._not_arguments:
                self.undefined_used.setdefault(name)

    def emit(self, insn: Instruction, access: Access) -> None:
        """Appends the events of a memory operand."""
        if access.origin is not None and access.role in (Role.WRITE, Role.UPDATE):
            self.memory.stored_through(access.origin)
        for kind in EVENTS_OF[access.role]:
            self.events.append(Event(kind, insn.address, insn.mnemonic, access.arena, access.offset, access.size))

    def value(self, insn: Instruction, operand: object, access: Access | None) -> Unknown | None:
        """The value of a source operand: None if known. Raises UndecidedError for a lost value."""
        value: Unknown | None = None
        if isinstance(operand, Register):
            value = self._register(operand) if operand.general else self.vector(operand.full)
        elif access is not None and access.role in (Role.READ, Role.UPDATE):
            value = self.memory.load(access.address, access.size, access.arena, access.offset, access.origin)
        return value

    def _register(self, register: Register) -> Unknown | None:
        part = self.part(register)
        return self.registers[register.full] if part is None else part

    def part(self, register: Register) -> Unknown | None:
        """The unknown value that was written to just this part of a register, if that is still what it holds."""
        value, content = self._parts.get((register.full, register.size, register.offset), (None, None))
        return value if value is not None and content == self.content(register.full) else None

    def set_part(self, register: Register, value: Unknown, whole: Unknown) -> None:
        """Makes a part of a general register hold ``value``, and the register as a whole ``whole``."""
        self.set_unknown(register.full, whole)
        self._parts[register.full, register.size, register.offset] = value, self.content(register.full)

    def vector(self, register: str) -> Unknown | None:
        """The value of a vector register."""
        if register not in self.vectors:
            self.vectors[register] = self.unknowns.get(("vector", register), {f"xmm{register[1:]}"})
        return self.vectors[register]


EVENTS_OF: dict[Role, tuple[Kind, ...]] = {
    Role.READ: (Kind.LOAD,),
    Role.WRITE: (Kind.STORE,),
    Role.UPDATE: (Kind.LOAD, Kind.STORE),
    Role.NON_TEMPORAL: (Kind.NON_TEMPORAL_STORE,),
    Role.ADDRESS: (),
    Role.PREFETCH: (Kind.PREFETCH,),
    Role.LINE_FLUSH: (Kind.LINE_FLUSH,),
}


def lost_value(insn: Instruction) -> UndecidedError:
    """What is said when something depends on a vector register that a skipped instruction would have written."""
    return UndecidedError(
        "depends-on-skipped-value",
        f"`{insn.text}` depends on a vector that the emulator cannot compute",
        where=f"{insn.address:#x}",
    )
