"""Machine code to operations: an instruction's values from P-code, what it does to the cache from our table."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from functools import lru_cache

import pypcode

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Image, JumpSite, Section
from l1dflush.trace.bases import Bases
from l1dflush.trace.bindings import ARGUMENTS, CALLER_SAVED
from l1dflush.trace.decode import Decoder, Instruction, Memory, Register, decoder_of
from l1dflush.trace.effects import Event as Does
from l1dflush.trace.effects import Form, Role
from l1dflush.trace.kernel_sites import KernelSites
from l1dflush.trace.lower import Lowering, UnliftedError
from l1dflush.trace.model import Kind
from l1dflush.trace.msrs import FS_BASE, GS_BASE
from l1dflush.trace.operations import Do, Number, Operand, Operation, Place, packed
from l1dflush.trace.slots import WORD, Part, Slots
from l1dflush.trace.undefined import ALL_FLAGS, alignment_of, check_values, half_unknown, half_written, undefined_flags
from l1dflush.trace.variants import Variants

LANGUAGES = {64: "x86:LE:64:default", 32: "x86:LE:32:default"}
KINDS = tuple(Kind)
_KIND = {kind: number for number, kind in enumerate(KINDS)}
_LONGEST = 15
# Where P-code keeps vector registers.
_VECTORS = 0x1200

_FROM_PCODE = {
    Form.PLAIN, Form.MOVE, Form.LEA, Form.ADD, Form.SUB, Form.STEP, Form.SHIFT, Form.ROTATE, Form.AND, Form.OR,
    Form.XOR, Form.COMPARE, Form.TEST, Form.EXCHANGE, Form.CONDITIONAL_MOVE, Form.PUSH, Form.POP, Form.CALL,
    Form.RETURN, Form.LEAVE, Form.JUMP, Form.BRANCH, Form.STRING, Form.VECTOR, Form.VECTOR_SKIP,
}  # fmt: skip
_STEPPED_OVER = {Form.SKIP, Form.RESULTS_UNKNOWN, Form.END, Form.TRAP}
_EVENTS = {
    Does.FENCE: Kind.FENCE,
    Does.SERIALISE: Kind.SERIALISE,
    Does.FLUSH_ALL: Kind.FLUSH_ALL,
    Does.MSR_WRITE: Kind.MSR_WRITE,
    Does.SYSTEM_WRITE: Kind.SYSTEM_WRITE,
}
_ROLES = {
    Role.READ: (Kind.LOAD,),
    Role.WRITE: (Kind.STORE,),
    Role.UPDATE: (Kind.LOAD, Kind.STORE),
    Role.PREFETCH: (Kind.PREFETCH,),
    Role.LINE_FLUSH: (Kind.LINE_FLUSH,),
    Role.ADDRESS: (),
    Role.NON_TEMPORAL: (Kind.NON_TEMPORAL_STORE,),
}


@lru_cache(maxsize=2)
def context(bits: int) -> pypcode.Context:
    """The translator of a mode: making one takes 60 to 100 ms."""
    return pypcode.Context(LANGUAGES[bits])


# Its binding complains on standard error about what is still there at the end.
atexit.register(context.cache_clear)


class Lifter:
    """Lifts the instructions of an image for one machine."""

    def __init__(self, image: Image, kernel: KernelSites | None = None) -> None:
        self.image = image
        self.kernel = kernel or KernelSites(image, {})
        self.context = context(image.bits)
        self._decoder: Decoder = decoder_of(image.bits)
        self.machine = _core.Machine(image.bits)
        registers = self.context.registers
        self._registers = {name: (node.offset, node.size) for name, node in registers.items()}
        stack = self._registers["RSP" if image.bits == 64 else "ESP"][0]
        # Each register has many names, and the 64-bit ones are the widest of the first eight bytes each.
        self.slots = Slots(self.machine, set(self._registers.values()), stack)
        self.bases = Bases(image, self.machine)
        self.instructions: dict[tuple[int, int], Instruction] = {}
        # Static keys by address: where each is kept, and its name.
        self.keys: dict[int, tuple[Part, str]] = {}
        # The bases of fs and gs.
        self.segments = {name: self.register(f"{name.upper()}_OFFSET")[0] for name in ("fs", "gs")}
        self.machine.set_flags(*(self.register(name)[0].slot for name in ("CF", "ZF")))
        self._told = 0

    def register(self, name: str) -> list[Part]:
        """Where a register is, by P-code's name for it (in capitals)."""
        return self.slots.register(*self._registers[name])

    def register_name(self, slot: int) -> str:
        """P-code's name of the register that a slot is, or begins with."""
        offset = self.slots.name_of(slot)
        return max((size, name) for name, (at, size) in self._registers.items() if at == offset and size <= WORD)[1]

    def lift(self, base: int, offset: int) -> tuple[int, bytes]:
        """What the machine asks for: the length of the instruction at a place, and its operations packed. Raises
        UndecidedError."""
        section = self.bases.section_of.get(base)
        where = f"{section.address + offset:#x}" if section is not None else None
        if section is None or not section.executable:
            raise UndecidedError("jump-into-nowhere", "the routine goes on where there is no code", where=where)
        code = section.data[offset : offset + _LONGEST] if offset >= 0 else b""
        if not code:
            what = f"the routine runs off the end of {section.name}"
            raise UndecidedError("jump-into-nowhere", what, where=where)
        decoded = self._decoder.decode(code, section.address + offset)
        self.instructions[base, offset] = decoded
        for bad in self.image.bad_relocations:
            if bad.address < decoded.next and decoded.address < bad.address + bad.size:
                raise UndecidedError("relocation", bad.reason, where=where)
        try:
            operations = _Lift(self, section, base, offset, decoded).operations()
        except UnliftedError as error:
            raise UndecidedError("unclassified-instruction", f"`{decoded.text}`: {error}", where=where) from None
        self._tell_convention()
        return decoded.size, packed(operations)

    def _tell_convention(self) -> None:
        """What an outside function may change, with the registers that have come up by now."""
        if len(self.slots) == self._told:
            return
        bits = self.image.bits
        names = {register_name(name, bits) for name in CALLER_SAVED[bits]} | ALL_FLAGS
        changed = [part.slot for name in sorted(names) for part in self.register(name)] + self.slots.behind(_VECTORS)
        given = [self.register(register_name(name, bits))[0].slot for name in ARGUMENTS[bits]]
        self.machine.set_convention(changed, given, _KIND[Kind.CALL], _KIND[Kind.LOAD])
        self._told = len(self.slots)

    def key(self, site: JumpSite) -> Part:
        """Where the state of a static key is kept: on if it is not 0."""
        if site.key_address not in self.keys:
            self.keys[site.key_address] = Part(self.machine.add_slot(8), 0, 1), site.key
        return self.keys[site.key_address][0]


class _Lift:
    """Lifts one instruction."""

    def __init__(self, lifter: Lifter, section: Section, base: int, offset: int, decoded: Instruction) -> None:
        self._lifter = lifter
        self._bits = lifter.image.bits
        self._width = self._bits // 8
        self._insn = decoded
        self._variants = Variants(lifter.image, lifter.bases, lifter.context, section, Place(base, offset, 0), decoded)
        behind = Place(base, offset + decoded.size, self._width)
        self._lowering = Lowering(lifter.slots, self._bits, behind, self._variants.address)

    def operations(self) -> list[Operation]:
        """All operations of the instruction. Raises UnliftedError."""
        insn, effect = self._insn, self._insn.effect
        special = self._patched()
        if special is not None:
            return special
        check_values(insn)
        before = list(self._accesses())
        note = self._note()
        if effect.form in _STEPPED_OVER:
            return [*before, *note, *self._results_unknown(), *self._ending()]
        if effect.form is Form.JUMP and insn.operands[0] == insn.address:
            raise UndecidedError("endless-loop", f"`{insn.text}` jumps to itself", where=f"{insn.address:#x}")
        if effect.form not in _FROM_PCODE:
            raise UnliftedError("nobody classified it for the abstract machine")
        ops = self._variants.operations
        if effect.form is Form.CALL:
            ops = [op._replace(name="CALL") if op.name == "BRANCH" else op for op in ops]
        if insn.mnemonic == "lahf":
            before += self._unknown_flags({"AF"})
        made, starts = self._lowering.lower(ops)
        if effect.form in (Form.PUSH, Form.CALL):
            # An outside function that has a pointer into the stack leaves alone what is saved there.
            made = [o._replace(detail=1) if o.what is Do.STORE else o for o in made]
        if effect.form is Form.CALL and not self._lifter.kernel.comes_back(insn, self._outside_name()):
            made = [o._replace(detail=1) if o.what in (Do.CALL, Do.CALL_TO) else o for o in made]
        if effect.form is Form.BRANCH:
            made = self._out_of_the_image(made)
        if effect.form is Form.STRING and insn.repeat:
            # The count comes first: of none there is no access.
            if [op.name for op in ops[:2]] != ["INT_EQUAL", "CBRANCH"]:
                raise UnliftedError("its P-code has an unusual form")
            at = starts[2]
            made = [_later(o, len(before)) for o in made]
            before, made = [], made[:at] + before + made[at:]
        undefined = list(self._unknown_flags(undefined_flags(insn)))
        if undefined and any(o.what in (Do.SKIP, Do.SKIP_IF, Do.JUMP, Do.JUMP_IF) for o in made):
            raise UnliftedError("flags that are undefined behind a jump in it")
        whole = list(self._upper_halves())
        return [*before, *(_later(o, len(before)) for o in made), *whole, *note, *undefined]

    def _upper_halves(self) -> Iterator[Operation]:
        """Clears what a 32-bit result leaves above itself where P-code does not; what nobody can tell is unknown."""
        for register in half_written(self._insn) if self._bits == 64 else ():
            (part,) = self._lifter.register(self._name(register.full))
            yield Operation(Do.WIDEN, part, part._replace(size=4))
        for name in half_unknown(self._insn) if self._bits == 64 else ():
            (part,) = self._lifter.register(self._name(name))
            yield Operation(Do.UNKNOWN, part._replace(start=4, size=4))

    def _accesses(self) -> Iterator[Operation]:
        insn, effect = self._insn, self._insn.effect
        named = [(effect.role(index), index, o) for index, o in enumerate(insn.operands) if isinstance(o, Memory)]
        if effect.form is Form.POP:
            # Its operand's address is computed when the stack pointer has moved on.
            if any(one.base == "rsp" for _, _, one in named):
                raise UnliftedError("its address depends on the stack pointer that it changes")
            yield from self._stack_access()
        # A string instruction names what it writes first, and reads before it writes.
        for role, index, operand in sorted(named, key=lambda one: effect.form is Form.STRING and one[0] is Role.WRITE):
            yield from self._access(role, index, operand)
        if effect.form is not Form.POP:
            yield from self._stack_access()

    def _stack_access(self) -> Iterator[Operation]:
        """The access to the stack that an instruction does not name."""
        form = self._insn.effect.form
        below = form in (Form.PUSH, Form.CALL)
        if not below and form not in (Form.POP, Form.RETURN, Form.LEAVE):
            return
        # Two bytes with 66h; what P-code stores or loads first is what it pushes or pops.
        wanted = "STORE" if below else "LOAD"
        moved = (op.inputs[1] if below else op.out for op in self._variants.operations if op.name == wanted)
        sizes = [node.size for node in moved if node is not None]
        if not sizes:
            raise UnliftedError("its P-code has an unusual form")
        size = sizes[0]
        (pointer,) = self._lifter.register(self._name("rbp" if form is Form.LEAVE else "rsp"))
        at: Operand = pointer
        if below:
            at = self._lowering.fresh(self._width)
            yield Operation(Do.ADD, at, pointer, Number(-size, self._width))
        yield Operation(Do.ACCESS, None, at, size=size, detail=_KIND[Kind.STORE if below else Kind.LOAD])

    def _access(self, role: Role, index: int, memory: Memory) -> Iterator[Operation]:
        if role is Role.ADDRESS:
            return
        if memory.narrow:
            raise UnliftedError("an address that is computed in fewer bits")
        total = self._variants.displacement(index)
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register is None:
                continue
            (part,) = self._lifter.register(self._name(register))
            operand: Operand = part
            if scale != 1:
                operand = self._lowering.fresh(self._width)
                yield Operation(Do.MULTIPLY, operand, part, Number(scale, self._width))
            if total == Number(0, self._width):
                total = operand
                continue
            moved = self._lowering.fresh(self._width)
            yield Operation(Do.ADD, moved, total, operand)
            total = moved
        if memory.segment is not None:
            (segment,) = self._lifter.register(f"{memory.segment.upper()}_OFFSET")
            moved = self._lowering.fresh(self._width)
            yield Operation(Do.ADD, moved, total, segment)
            total = moved
        alignment = alignment_of(self._insn, memory.size)
        kinds = _ROLES[role]
        if role is Role.WRITE and self._insn.effect.form is Form.STRING and self._insn.repeat:
            kinds = (Kind.STRING_STORE,)
        for kind in kinds:
            yield Operation(Do.ACCESS, None, total, size=memory.size, detail=_KIND[kind], alignment=alignment)

    def _patched(self) -> list[Operation] | None:
        """The operations of what a kernel patches when it loads the code; None if it is nothing of that kind."""
        kernel, insn = self._lifter.kernel, self._insn
        site = kernel.sites.jumps.get(insn.address)
        if site is not None:
            return self._jump_label(site)
        target = insn.operands[0] if insn.operands else None
        if insn.effect.form not in (Form.CALL, Form.JUMP) or not isinstance(target, int):
            return None
        symbol = self._lifter.bases.outside_at(target)
        if symbol is None:
            return None
        if insn.effect.form is Form.CALL:
            return [] if kernel.is_tracing(insn.address, symbol) else None
        return self._comes_back() if kernel.is_return(insn.address, symbol) else None

    def _comes_back(self) -> list[Operation]:
        """What a return does."""
        (stack,) = self._lifter.register(self._name("rsp"))
        back = self._lowering.fresh(self._width)
        return [
            Operation(Do.ACCESS, None, stack, size=self._width, detail=_KIND[Kind.LOAD]),
            Operation(Do.LOAD, back, stack),
            Operation(Do.ADD, stack, stack, Number(self._width, self._width)),
            Operation(Do.COME_BACK, None, back),
        ]

    def _jump_label(self, site: JumpSite) -> list[Operation]:
        """A jump that is there if a static key is on, or off."""
        section = self._lifter.bases.section_at(site.target)
        if section is None:
            raise UnliftedError("a jump label that leads nowhere")
        there = Place(self._lifter.bases.of_section(section), site.target - section.address, self._width)
        on = self._lifter.kernel.static_keys.get(site.key)
        if on is not None:
            return [Operation(Do.JUMP, None, there)] if on != site.inverted else []
        key: Operand = self._lifter.key(site)
        if site.inverted:
            off = self._lowering.fresh(1)
            return [Operation(Do.TRUTH_NOT, off, key), Operation(Do.JUMP_IF, None, off, there)]
        return [Operation(Do.JUMP_IF, None, key, there)]

    def _name(self, register: str) -> str:
        return register_name(register, self._bits)

    def _note(self) -> list[Operation]:
        kind = _EVENTS.get(self._insn.effect.event)
        if kind is None:
            return []
        if kind is not Kind.MSR_WRITE:
            return [Operation(Do.NOTE, detail=_KIND[kind])]
        number, value = (self._lifter.register(name)[0] for name in ("ECX", "EAX"))
        return [Operation(Do.NOTE, None, number, value, detail=_KIND[kind]), *self._segment_bases()]

    def _segment_bases(self) -> Iterator[Operation]:
        """Where fs and gs lead after a wrmsr to their bases (SDM volume 4)."""
        if self._bits != 64:
            return
        number, low, high = (self._lifter.register(name)[0] for name in ("ECX", "EAX", "EDX"))
        value = self._lowering.fresh(8)
        yield Operation(Do.JOIN, value, high, low)
        for msr, name in ((FS_BASE, "FS_OFFSET"), (GS_BASE, "GS_OFFSET")):
            (base,) = self._lifter.register(name)
            is_it = self._lowering.fresh(1)
            yield Operation(Do.EQUAL, is_it, number, Number(msr, 4))
            yield Operation(Do.CHOOSE, base, is_it, value, base)

    def _results_unknown(self) -> Iterator[Operation]:
        insn, effect = self._insn, self._insn.effect
        names = [self._name(register) for register in sorted(effect.writes)]
        if effect.form is Form.SKIP:
            names = []
        parts = [part for name in names for part in self._lifter.register(name)]
        for index, operand in enumerate(insn.operands):
            if effect.role(index) not in (Role.WRITE, Role.UPDATE) or effect.form is Form.SKIP:
                continue
            if not isinstance(operand, Register) or not operand.general:
                raise UnliftedError("nobody classified its results for the abstract machine")
            parts += self._lifter.register(self._name(operand.full))
        for part in parts:
            yield Operation(Do.UNKNOWN, part)
        if effect.flags_written:
            yield from self._unknown_flags(ALL_FLAGS)

    def _ending(self) -> list[Operation]:
        insn = self._insn
        if insn.effect.form is Form.TRAP:
            return [] if self._lifter.kernel.goes_on(insn) else [Operation(Do.LEAVE)]
        if insn.effect.form is not Form.END:
            return []
        if not insn.mnemonic.startswith("iret"):
            return [Operation(Do.LEAVE)]
        # The address, the segment and the flags; in 64-bit mode always the stack and its segment, too.
        size = {"iretq": 8, "iretd": 4}.get(insn.mnemonic, 2)
        (stack,) = self._lifter.register(self._name("rsp"))
        frame = size * (5 if self._bits == 64 else 3)
        to, whole = self._lowering.fresh(size), self._lowering.fresh(self._width)
        return [
            Operation(Do.ACCESS, None, stack, size=frame, detail=_KIND[Kind.LOAD]),
            Operation(Do.LOAD, to, stack),
            Operation(Do.WIDEN, whole, to),
            Operation(Do.LEAVE, None, whole),
        ]

    def _outside_name(self) -> str:
        """The name of what a call or jump goes to, if that is not here."""
        target = self._insn.operands[0] if self._insn.operands else None
        symbol = self._lifter.bases.outside_at(target) if isinstance(target, int) else None
        return symbol.name if symbol is not None else ""

    def _out_of_the_image(self, made: list[Operation]) -> list[Operation]:
        """A conditional jump to an outside function, or to the return thunk: past the jump where it is not taken."""
        target = self._insn.operands[0]
        symbol = self._lifter.bases.outside_at(target) if isinstance(target, int) else None
        if symbol is None:
            return made
        *before, jump = made
        if jump.what is not Do.JUMP_IF or not isinstance(jump.b, Place):
            raise UnliftedError("its P-code has an unusual form")
        goes = [Operation(Do.JUMP, None, jump.b)]
        if self._lifter.kernel.is_return(self._insn.address, symbol):
            goes = self._comes_back()
        at = len(before)
        end = at + 2 + len(goes)
        return [
            *before,
            Operation(Do.SKIP_IF, None, jump.a, detail=at + 2),
            Operation(Do.SKIP, detail=end),
            *goes,
        ]

    def _unknown_flags(self, names: set[str]) -> Iterator[Operation]:
        for name in sorted(names):
            (flag,) = self._lifter.register(name)
            bit = self._lowering.fresh(1)
            yield Operation(Do.UNKNOWN, bit)
            yield Operation(Do.BIT_AND, flag, bit, Number(1, 1))


def register_name(register: str, bits: int) -> str:
    """P-code's name of a general register, of which ``register`` is the 64-bit name."""
    return register.upper() if bits == 64 else f"E{register[1:].upper()}"


def _later(operation: Operation, by: int) -> Operation:
    """The operation with ``by`` others put before all: those that go on elsewhere go there."""
    return operation._replace(detail=operation.detail + by) if operation.what in (Do.SKIP, Do.SKIP_IF) else operation
