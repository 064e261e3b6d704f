# SPDX-License-Identifier: GPL-2.0-or-later
"""What a routine is: machine code, the memory image it lies in, and what its source tells besides.

Every front end ends in a :class:`Routine`; everything after it starts from one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import gcd
from typing import Literal

from l1dflush.place import Place
from l1dflush.routine.elf.relocations import Relocations

# External symbols (referenced, not defined) each get a region of their own in the low 2 GiB, so that every
# relocation of the small and the kernel code model can reach it: as large as so many symbols leave room for,
# and an image says how large (``external_stride``). No two regions touch.
EXTERNAL_BASE = 0x1000_0000
EXTERNAL_LIMIT = 0x2700_0000
# Relocations of slots in the global offset table (psABI).
_SLOTS = frozenset({"R_X86_64_GLOB_DAT", "R_X86_64_JUMP_SLOT", "R_386_GLOB_DAT", "R_386_JMP_SLOT"})
EXTERNAL_STRIDES = (0x0001_0000, 0x0100_0000)  # the smallest and the largest region, in bytes

# What is written by a loader only.
_READ_ONLY_LATER = ".data.rel.ro"


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the image: ``size`` bytes at ``address``, of which ``data`` is the initialised beginning.

    With ``entry`` (bytes) a linker may merge it, entry by entry, with others that hold the same (generic ABI,
    SHF_MERGE): each lies somewhere of its own. They are ``entry`` bytes long, or ``strings`` of such characters.
    """

    name: str
    address: int
    data: bytes
    size: int
    alignment: int
    writable: bool
    executable: bool
    entry: int = 0
    strings: bool = False

    @property
    def constant(self) -> bool:
        """Whether what it holds when the routine runs is what a linker and a loader put there."""
        return not self.writable or self.name.startswith(_READ_ONLY_LATER)

    def entry_starts(self) -> list[int]:
        """Where each entry begins, in bytes from the section's beginning, and where the last one ends."""
        size = len(self.data)
        if not self.strings:
            return [*range(0, size, max(self.entry, 1)), size]
        ends: Iterable[int] = (match.end() for match in re.finditer(rb"\0", self.data))
        if self.entry > 1:
            nothing = bytes(self.entry)
            behind = range(self.entry, size + 1, self.entry)
            ends = (end for end in behind if self.data[end - self.entry : end] == nothing)
        return [0, *(end for end in ends if end < size), size]

    def entry_at(self, address: int, starts: Sequence[int] = ()) -> Section:
        """The entry that ``address`` lies in as a section of its own, what is behind the last one too; all of a section
        that is not merged. ``starts`` are :meth:`entry_starts` if they are known."""
        if not self.entry:
            return self
        starts = starts or self.entry_starts()
        number = max(bisect_right(starts, address - self.address), 1)
        start, end = starts[number - 1], starts[min(number, len(starts) - 1)]
        # What is aligned so far in its section stays so; numbers lie side by side.
        alignment = gcd(self.alignment, start if self.strings else self.entry)
        data = self.data[start:end]
        return replace(self, address=self.address + start, data=data, size=len(data), alignment=alignment)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name in the image. ``size`` is in bytes, ``None`` when nobody can tell; ``size_told`` says whether it is from
    the file.

    For an undefined symbol ``address`` is the start of its own region (see :data:`EXTERNAL_BASE`). A linker takes
    another definition of the name for a ``weak`` one; ``replaceable`` is why it may take another file's copy.
    """

    name: str
    address: int
    size: int | None
    defined: bool
    function: bool
    size_told: bool = True
    weak: bool = False
    replaceable: str = ""


@dataclass(frozen=True, slots=True)
class BadRelocation:
    """A relocation that could not be applied: it makes the verdict UNDECIDED, but only if it is reached."""

    address: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class JumpSite:
    """A place where a kernel patches in a jump to ``target`` or takes it out, as a static key says.

    It jumps if the key is on and ``inverted`` is not set, or the other way round. ``key`` is the key's name, and
    ``key_address`` tells keys apart.
    """

    target: int
    key: str
    key_address: int
    inverted: bool


@dataclass(frozen=True, slots=True)
class PatchSites:
    """Where a kernel changes the code when it loads it, by the address of the instruction.

    ``jumps`` are jump labels; ``alternatives`` have the CPU features (word * 32 + bit) for which something else
    is put there, over ``replaced`` bytes from the instruction on; ``returns`` and ``tracing`` are jumps to the return
    thunk and calls of the function tracer; ``traps`` tells whether the kernel goes on behind an undefined instruction.
    ``damage`` is what is wrong with the table of jump labels: then nobody knows which jumps a kernel would patch.
    """

    jumps: Mapping[int, JumpSite] = field(default_factory=dict)
    alternatives: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    replaced: Mapping[int, int] = field(default_factory=dict)
    returns: frozenset[int] = frozenset()
    tracing: frozenset[int] = frozenset()
    traps: Mapping[int, bool] = field(default_factory=dict)
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """The memory a routine is found in: sections at their addresses, relocations applied.

    ``external_stride`` is the size in bytes of the region that every undefined symbol has, a power of two.
    ``relocated`` are the places in code where a relocation was applied, address to size in bytes: what stands there
    depends on where things were put, so no instruction may begin there. ``linked`` tells that a linker has given it its
    addresses; a ``movable`` one is loaded as a whole at any page: its addresses are so far behind one of them.
    ``relocations`` are all of them as the file has them.
    """

    bits: Literal[32, 64]
    sections: tuple[Section, ...]
    symbols: Mapping[str, Symbol] = field(default_factory=dict)
    lines: Mapping[int, Place] = field(default_factory=dict)
    bad_relocations: tuple[BadRelocation, ...] = ()
    patch_sites: PatchSites = PatchSites()
    external_stride: int = EXTERNAL_STRIDES[1]
    relocated: Mapping[int, int] = field(default_factory=dict)
    linked: bool = False
    movable: bool = False
    relocations: Relocations = field(default_factory=Relocations, compare=False)

    def section_at(self, address: int) -> Section | None:
        """The section that ``address`` lies in."""
        return next((s for s in self.sections if s.address <= address < s.address + s.size), None)

    def slot_at(self, address: int) -> Symbol | None:
        """The slot of a linked file's global offset table that lies there: ``x@GOT``, if it holds the address of x."""
        found = self.relocations.within(address, address + 1) if self.linked else []
        if not found or found[0].of.type not in _SLOTS or not found[0].of.symbol:
            return None
        of = found[0].of
        return Symbol(f"{of.symbol}@GOT", address, of.size, defined=True, function=False)


class OriginKind(StrEnum):
    """Which front end a routine came through."""

    BUILT_IN = "built-in"
    PATCH = "patch"
    C = "c"
    ASSEMBLY = "assembly"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a routine was found. ``source`` is a path, ``-`` for standard input, or a built-in's name.

    ``combined`` are the origins of all inputs, this one's too, when several were taken together.
    """

    kind: OriginKind
    source: str
    detail: str = ""
    combined: tuple[Origin, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of all inputs, in the order given."""
        return tuple(dict.fromkeys(one.source for one in self.combined or (self,)))

    @property
    def compiled(self) -> bool:
        """Whether some of it was C."""
        kinds = {one.kind for one in self.combined or (self,)}
        return not kinds.isdisjoint({OriginKind.C, OriginKind.PATCH})


STACK_ARGUMENT = "stack_arg"
"""With a number behind it: the argument of that number among those that are passed on the stack, from 1 on. In which
registers others are passed before them is the convention's."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of the function: the register (64-bit name, or 32-bit one on i386) or its place on the stack
    (:data:`STACK_ARGUMENT`), and its C name."""

    register: str
    name: str


class NoteKind(StrEnum):
    """Facts that only the source shows; :mod:`l1dflush.verdict.rules` makes findings of them."""

    REGISTER_NOT_DECLARED = "register-not-declared"
    NO_MEMORY_CLOBBER = "no-memory-clobber"
    NAMED_LABEL = "named-label"
    BUFFER_NOT_INITIALISED = "buffer-not-initialised"
    BUFFER_INITIALISED = "buffer-initialised"
    # The text is the name of a variable that other code of the source uses than what was compiled.
    USED_ELSEWHERE = "used-elsewhere"
    # Not of the source alone: something else that was given may be the flush, and could not be looked at.
    ANOTHER_WALK_UNDECIDED = "another-walk-undecided"


@dataclass(frozen=True, slots=True)
class SourceNote:
    """One such fact: ``text`` completes the rule's sentence, ``where`` is the line if known."""

    kind: NoteKind
    text: str
    where: Place | None = None


class LeftOutKind(StrEnum):
    """What of the input is not in the machine code, or is there only as it was supposed to be."""

    FUNCTION = "function"  # it has no code here; where it is called, the call leads outside
    PART = "part"  # of the input that was not looked at: a damaged hunk, a file that does not compile
    BRANCH = "branch"  # of an #if or the like, which names that nobody gave decide
    DEFAULT = "default"  # the text itself says what a name is unless it was given
    SUPPOSED = "supposed"  # a name that nothing here defines, with what it was taken for


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was left out of the machine code, or supposed.

    ``name`` is the function, the condition as it is written, or the supposed name; ``names`` are those that are lacking
    or that decide; ``reason`` completes "NAME: ..."; ``where`` is the line. ``values`` are what else the deciding name
    could be, each a value of ``--define`` that may bring the other branch in.
    """

    kind: LeftOutKind
    name: str
    names: tuple[str, ...] = ()
    reason: str = ""
    where: Place | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A function that is run before a routine: its name, the address of its first instruction, and that behind its last
    (``None`` when unknown)."""

    name: str
    entry: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Routine:
    """The machine code of one flush, with where it came from and what its inputs are.

    ``entry`` is the address of its first instruction, ``end`` the address behind its last byte (``None``
    when unknown: it then ends where it returns); a path also ends where it comes to one of ``until``.
    A ``partial`` one begins inside a function. ``parameters`` are in the order of the ABI.
    ``used`` are the pieces of the image, address to end, that were run and read when it was run, in the order in which
    they were come to; empty as long as it was not.
    ``notes`` are facts of the source; ``source_available`` says whether there was source to look at; ``left_out`` is
    what of the source is not in the code. ``first`` are run before it, in this order.
    """

    name: str
    origin: Origin
    image: Image
    entry: int
    end: int | None
    until: frozenset[int] = frozenset()
    partial: bool = False
    parameters: tuple[Parameter, ...] = ()
    used: tuple[tuple[int, int], ...] = ()
    notes: tuple[SourceNote, ...] = ()
    source_available: bool = False
    left_out: tuple[LeftOut, ...] = ()
    first: tuple[FirstRun, ...] = ()

    @property
    def code(self) -> bytes:
        """The routine's bytes as they lie in the image, relocations applied; to its section's end if
        ``end`` is unknown."""
        section = self.image.section_at(self.entry)
        if section is None:
            return b""
        end = self.end if self.end is not None else section.address + section.size
        return section.data[self.entry - section.address : end - section.address]
