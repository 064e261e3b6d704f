# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine code to operations, for one machine: what the machine asks for, and what it must know of registers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from l1dflush import _core
from l1dflush.assumption import Assumption
from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.routine.model import Image, JumpSite
from l1dflush.tracing.bases import Bases
from l1dflush.tracing.bindings import CALLER_SAVED
from l1dflush.tracing.decode import Decoder, Instruction, decoder_of, general_registers
from l1dflush.tracing.instruction import OneInstruction
from l1dflush.tracing.kernel_sites import KernelSites
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KIND, register_name
from l1dflush.tracing.operations import packed
from l1dflush.tracing.slots import WORD, Part, Slots, Spans
from l1dflush.tracing.system_rows import APART, BASES_OF_SEGMENTS, CHANGED_BY_CALLS, STATE, WILD
from l1dflush.tracing.translation import translator
from l1dflush.tracing.undefined import ALL_FLAGS

_LONGEST = 15
# Where P-code keeps vector registers.
_VECTORS = range(0x1200, 1 << 32)


@lru_cache(maxsize=2)
def registers(bits: Literal[32, 64]) -> tuple[dict[str, tuple[int, int]], Spans]:
    """The registers of a mode by P-code's names, each with its offset and size in bytes, and the spans they make up."""
    found = translator(bits).registers
    # Each has many names, and the 64-bit ones are the widest of the first eight bytes each.
    return found, Spans.of(set(found.values()))


@lru_cache(maxsize=2)
def _names_at(bits: Literal[32, 64]) -> dict[int, str]:
    """The widest register of at most 8 bytes at each offset."""
    found, _ = registers(bits)
    return {
        at: name for size, name, at in sorted((size, name, at) for name, (at, size) in found.items() if size <= WORD)
    }


class Lifter:
    """Lifts the instructions of an image for one machine."""

    def __init__(self, image: Image, kernel: KernelSites | None = None, roots: Iterable[int] = ()) -> None:
        """``roots`` are the addresses at which the run may begin."""
        self.image = image
        self.kernel = kernel or KernelSites(image, {})
        self._registers, spans = registers(image.bits)
        self.decoder: Decoder = decoder_of(image.bits)
        self.machine = _core.Machine(image.bits)
        stack = self._registers["RSP" if image.bits == 64 else "ESP"][0]
        self.slots = Slots(self.machine, spans, stack)
        self.bases = Bases(image, self.machine, roots)
        self.instructions: dict[tuple[int, int], Instruction] = {}
        # Static keys by address: where each is kept, and its name.
        self.keys: dict[int, tuple[Part, str]] = {}
        # The bases of fs and gs.
        self.segments = {name: self.register(f"{name.upper()}_OFFSET")[0] for name in ("fs", "gs")}
        self.machine.set_flags(*(self.register(name)[0].slot for name in ("CF", "ZF")))
        # What was taken for granted about instructions that came up.
        self.assumptions: dict[Assumption, None] = {}
        self._kept: dict[str, Part] = {}
        self._told = 0, 0
        # Slots that an outside function changes, is given, and leaves alone.
        self._changed: list[int] = []
        self._given: list[int] = []
        self._saved: list[int] = []
        self._lasting: set[int] = set()

    def register(self, name: str) -> tuple[Part, ...]:
        """Where a register is, by P-code's name for it (in capitals)."""
        return self.slots.register(*self._registers[name])

    def register_at(self, name: str) -> tuple[int, int]:
        """Offset and size of a register in the register space, by P-code's name."""
        return self._registers[name]

    def register_name(self, slot: int) -> str:
        """P-code's name of the register that a slot is, or begins with."""
        return _names_at(self.image.bits)[self.slots.name_of(slot)]

    def all_vectors(self) -> list[Part]:
        """All vector registers that there are, in words."""
        wide = sorted({one for one in self._registers.values() if one[0] in _VECTORS and one[1] >= WORD})
        parts = {part.slot: part for at, size in wide for part in self.slots.register(at, size) if part.size == WORD}
        return list(parts.values())

    def lift(self, base: int, offset: int) -> tuple[int, bytes]:
        """What the machine asks for: the length of the instruction at a place, and its operations packed. Raises
        UndecidedError."""
        section = self.bases.section_of.get(base)
        where = Place(offset=section.address + offset) if section is not None else None
        if section is None or not section.executable:
            raise UndecidedError("jump-into-nowhere", "the routine goes on where there is no code", where=where)
        code = section.data[offset : offset + _LONGEST] if offset >= 0 else b""
        if not code:
            what = f"the routine runs off the end of {section.name}"
            raise UndecidedError("jump-into-nowhere", what, where=where)
        decoded = self.decoder.decode(code, section.address + offset)
        self.instructions[base, offset] = decoded
        for bad in self.image.bad_relocations:
            if bad.address < decoded.next and decoded.address < bad.address + bad.size:
                raise UndecidedError("relocation", bad.reason, where=where)
        try:
            operations = OneInstruction(self, section, base, offset, decoded).operations()
        except UnliftedError as error:
            raise UndecidedError("unclassified-instruction", f"`{decoded.text}`: {error}", where=where) from None
        self.tell_convention()
        return decoded.size, packed(operations)

    def tell_convention(self) -> None:
        """What an outside function may change, with the registers that have come up by now."""
        if self._told == (len(self.slots), len(self._kept)):
            return
        if not self._lasting:
            bits = self.image.bits
            names = {register_name(name, bits) for name in CALLER_SAVED[bits]} | ALL_FLAGS
            self._changed = [part.slot for name in sorted(names) for part in self.register(name)]
            # Assembly may hand over in any of them, and compilers use no others for arguments.
            self._given = [self.register(register_name(name, bits))[0].slot for name in CALLER_SAVED[bits]]
            saved = [name for name in general_registers(bits) if name not in ("rsp", *CALLER_SAVED[bits])]
            self._saved = [self.register(register_name(name, bits))[0].slot for name in saved]
            self._lasting = {self.register("DF")[0].slot}
        changed = self._changed + self.slots.within(_VECTORS)
        lasting = self._lasting.union(self.slots.within(BASES_OF_SEGMENTS))
        changed += [slot for slot in self.slots.within(STATE) if slot not in (*changed, *lasting)]
        changed += [part.slot for name, part in self._kept.items() if name in CHANGED_BY_CALLS]
        self.machine.set_convention(changed, self._given, self._saved, KIND[Kind.CALL], KIND[Kind.LOAD])
        self._told = len(self.slots), len(self._kept)

    def kept(self, name: str) -> Part:
        """Where something is kept that no register of P-code's is: ``elsewhere`` is the address of memory of the
        processor's own, that no other address leads to; ``kernel_gs`` may lead anywhere."""
        if name not in self._kept:
            width = self.image.bits // 8
            self._kept[name] = Part(self.machine.add_slot(8 * width, wild=name in WILD, apart=name in APART), 0, width)
        return self._kept[name]

    def kept_name(self, slot: int) -> str | None:
        """What is kept in a slot that is not a register, if something is."""
        return next((name for name, part in self._kept.items() if part.slot == slot), None)

    def key(self, site: JumpSite) -> Part:
        """Where the state of a static key is kept: on if it is not 0."""
        if site.key_address not in self.keys:
            self.keys[site.key_address] = Part(self.machine.add_slot(8), 0, 1), site.key
        return self.keys[site.key_address][0]

    def key_while(self, site: JumpSite, number: int, function: str) -> Part:
        """The state that the key has while ``function`` runs, the one with that ``number`` before the routine."""
        part = Part(self.machine.add_slot(8), 0, 1)
        # No key has such an address.
        self.keys[-(site.key_address << 16 | number) - 1] = part, f"{site.key} while {function} runs"
        return part
