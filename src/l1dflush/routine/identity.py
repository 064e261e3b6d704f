# SPDX-License-Identifier: GPL-2.0-or-later
"""The hash of a routine: what a verdict, a certificate and a comparison refer to.

It is over what decides the trace and is in the file: the routine's code, the code that this leads to, what relocations
put into both and into the data they use, that data, and where a kernel patches. It is not over where a linker or we put
things, nor over other functions of the file. Whatever is numbered is numbered in the order in which it is come to from
the routine's first instruction, so the order in the file does not count. ``docs/verify.md`` has the definition.

Code is looked at without running it; then comes what of the file the run has used besides. What is too much is better
than too little here: a function that is called only where a branch is never taken still counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from l1dflush.routine.elf.intervals import Extents, Intervals
from l1dflush.routine.elf.relocations import Relocation
from l1dflush.routine.elf.symbol_table import SectionMap
from l1dflush.routine.model import JumpSite, Routine, Section
from l1dflush.routine.patched_places import Site, sites_of

# What leads to more is hardly a flush, and gets the hash of its whole file.
MAX_CODE, MAX_DATA = 512 << 10, 16 << 20
# So much of code that has no known end, and that is used for something else than going there.
_LEAST_USED = 64
_LONGEST_RELOCATED = 8
_LONGEST_INSTRUCTION = 15
# So many bytes are decoded in one go.
_PART = 512

_NUMBER = re.compile(r"(rip )?([+-] )?\b(0x[0-9a-f]+|\d+)\b")
_PREFIXES = r"(?:bnd |notrack |repn?[ez]? )*"
_GOES = re.compile(rf"{_PREFIXES}(?:call|j\w+|loop\w*|xbegin)\Z")
_CALL = re.compile(rf"{_PREFIXES}l?call\b")
# Behind these no instruction of the same run follows.
_LAST = re.compile(rf"{_PREFIXES}(?:l?jmp|i?retf?[dq]?|ud[012]b?|vmlaunch|vmresume|sys(?:exit|ret)q?)\Z")

NamedPlace = tuple[str | int, ...]


def digest(routine: Routine) -> str:
    """SHA-256, in hexadecimal, of the description that :func:`described` gives: a record a line."""
    made = hashlib.sha256()
    for record in described(routine):
        made.update(record.encode() + b"\n")
    return made.hexdigest()


def described(routine: Routine) -> list[str]:
    """The records that the hash of a routine is over, each a JSON array."""
    try:
        records = list(_Description(routine).records())
    except _TooMuchError:
        records = list(_whole_file(routine))
    return [json.dumps(record, separators=(",", ":")) for record in records]


class _TooMuchError(Exception):
    """The routine leads to more than :data:`MAX_CODE` or :data:`MAX_DATA`."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction, as far as it is looked at here; ``goes`` is where a direct jump or call leads."""

    address: int
    size: int
    mnemonic: str
    operands: str
    goes: int | None

    @property
    def next(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class _Code:
    """A piece of code, from ``start`` up to ``end``; at ``next`` it goes on, if it does."""

    number: int
    start: int
    end: int
    steps: tuple[_Step, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class _Data:
    """A piece of initialised data in a section, from ``start`` up to ``end``."""

    section: Section
    start: int
    end: int


class _Description:
    def __init__(self, routine: Routine) -> None:
        self._routine = routine
        self._image = image = routine.image
        self._mask = (1 << image.bits) - 1
        self._code_bytes = self._data_bytes = 0
        self._sections = SectionMap(list(image.sections))
        symbols = [s for s in image.symbols.values() if s.defined and s.size and s.size_told]
        self._functions = Extents([s for s in symbols if s.function])
        self._objects = Extents([s for s in symbols if not s.function])
        import capstone

        mode = capstone.CS_MODE_64 if image.bits == 64 else capstone.CS_MODE_32
        self._decoder = capstone.Cs(capstone.CS_ARCH_X86, mode)
        self._count_of_code = 0
        self._starts: list[int] = []
        # The piece that an instruction is in, by its address.
        self._at: dict[int, _Code] = {}
        self._data: set[tuple[int, int]] = set()
        # Both, and what else was read.
        self._told = Intervals()
        self._numbers: dict[int, int] = {}
        self._todo: deque[_Code | _Data | tuple[int, Section]] = deque()
        self._sites = sites_of(image)

    def records(self) -> Iterator[Sequence[object]]:
        """All records, in order. Raises _TooMuchError."""
        routine = self._routine
        yield "routine", 1, self._image.bits
        if self._code_section(routine.entry) is None:
            return
        self._code_from(routine.entry, routine.end, 0)
        yield from self._come_to()
        for one in routine.first:
            if one.entry not in self._at and self._code_section(one.entry) is not None:
                self._code_from(one.entry, one.end, 0)
            yield from self._come_to()
            if (code := self._at.get(one.entry)) is not None:
                yield "first", code.number, one.entry - code.start
        for start, end in routine.used:
            self._use_rest(start, end)
            yield from self._come_to()
        ends = ((address, self._at.get(address)) for address in routine.until)
        yield from sorted(("until", code.number, address - code.start) for address, code in ends if code is not None)

    # --- what is come to

    def _come_to(self) -> Iterator[Sequence[object]]:
        """The records of all that was come to and not told yet."""
        while self._todo:
            match self._todo.popleft():
                case _Code() as code:
                    yield from self._of_code(code)
                case _Data() as data:
                    yield from self._of_data(data)
                case number, section:
                    yield "section", number, section.name, section.alignment, section.writable
                    if section.entry:
                        yield "merged", number, section.entry, section.strings

    def _code_section(self, address: int) -> Section | None:
        """The section whose code ``address`` is in."""
        section = self._sections.at(address)
        within = section is not None and section.executable and address < section.address + len(section.data)
        return section if within else None

    def _place(self, address: int, *, going: bool = False) -> NamedPlace:
        """Where ``address`` is, as the hash has it; what lies there is described as well."""
        if self._code_section(address) is not None:
            code = self._code_at(address, going)
            return "code", code.number, address - code.start
        # The end of a variable may be the end of its section.
        section = self._sections.at(address) or self._sections.at(address - 1)
        if section is None:
            return "absolute", address
        if section.executable:
            return "behind", section.name
        self._use_data(section, address)
        return "section", self._number(section), address - section.address

    def _number(self, section: Section) -> int:
        if section.address not in self._numbers:
            self._numbers[section.address] = len(self._numbers)
            self._todo.append((self._numbers[section.address], section))
        return self._numbers[section.address]

    def _use_data(self, section: Section, address: int) -> None:
        """The initialised data at an address: of a variable whose size the file tells, else of the whole section,
        since nobody knows where it begins and ends."""
        symbol = self._objects.at(address)
        start, end = section.address, section.address + len(section.data)
        if symbol is not None:
            start, end = symbol.address, min(symbol.address + (symbol.size or 0), end)
        if start < end and (start, end) not in self._data:
            self._data.add((start, end))
            self._use(section, start, end)

    def _use_rest(self, start: int, end: int) -> None:
        """What from ``start`` up to ``end``, which was run or read, is in no piece yet: beyond the size that the file
        tells, or where only a computed address leads."""
        section = self._sections.at(start)
        end = min(end, section.address + len(section.data)) if section is not None else start
        if section is None or start >= end:
            return
        # Of a relocated place all or nothing: what stands there is not the file's.
        for relocation in self._relocations(max(start - _LONGEST_RELOCATED + 1, section.address), end):
            if relocation.address + relocation.of.size > start:
                start = min(start, relocation.address)
                end = max(end, relocation.address + relocation.of.size)
        for first, last in self._told.gaps(start, end):
            self._use(section, first, last)

    def _use(self, section: Section, start: int, end: int) -> None:
        self._told.add(start, end)
        self._count(data=end - start)
        self._number(section)
        self._todo.append(_Data(section, start, end))

    def _count(self, *, code: int = 0, data: int = 0) -> None:
        self._code_bytes += code
        self._data_bytes += data
        if self._code_bytes > MAX_CODE or self._data_bytes > MAX_DATA:
            raise _TooMuchError

    def _code_at(self, address: int, going: bool) -> _Code:
        known = self._at.get(address)
        function = self._functions.at(address)
        if known is None and function is not None:
            known = self._at.get(function.address)
            if known is None or address >= known.end:
                known = self._code_from(function.address, function.address + (function.size or 0), 0)
            if going and address not in self._at:
                known = None  # into the middle of what was taken for one instruction
        return known or self._code_from(address, None, 0 if going else _LEAST_USED)

    def _code_from(self, start: int, end: int | None, least: int) -> _Code:
        """The piece of code from ``start`` up to ``end``; where that is not known, up to an instruction behind which no
        other follows, or up to what is known already, but of ``least`` bytes."""
        section = self._sections.at(start)
        assert section is not None
        limit = section.address + len(section.data)
        if end is None:
            following = bisect_right(self._starts, start)
            limit = min([limit, *self._starts[following : following + 1]])
        else:
            limit = min(limit, end)
            # Before it is decoded, which takes a while.
            self._count(code=limit - start)
        steps = tuple(self._decoded(section, start, limit, straight=end is None))
        last = steps[-1] if steps else None
        ends = last is None or _LAST.match(last.mnemonic) is not None
        if end is None:
            end = max(last.next if last is not None else start + 1, min(start + least, limit))
            self._count(code=end - start)
            follows = last.next if last is not None and last.next >= limit and not ends else None
        else:
            # A call at the end is of a function that does not come back.
            follows = last.next if last is not None and not ends and not _CALL.match(last.mnemonic) else None
            end = limit
        code = _Code(self._count_of_code, start, end, steps, follows)
        self._told.add(start, end)
        self._count_of_code += 1
        insort(self._starts, start)
        for address in (start, *(step.address for step in steps)):
            self._at.setdefault(address, code)
        self._todo.append(code)
        return code

    def _decoded(self, section: Section, start: int, end: int, *, straight: bool) -> Iterator[_Step]:
        """The instructions from ``start`` on that begin before ``end``; with ``straight`` only to the first behind
        which none follows. Bytes that are not an instruction are stepped over."""
        at = start
        while at < end:
            # In parts: mostly few are wanted.
            part = section.data[at - section.address : at - section.address + _PART]
            whole = section.address + len(section.data) == at + len(part)
            before = at
            for address, size, mnemonic, operands in self._decoder.disasm_lite(part, at):
                if address >= end or (not whole and address + _LONGEST_INSTRUCTION > before + len(part)):
                    break
                goes = None
                if _GOES.match(mnemonic) and operands.startswith("0x"):
                    goes = int(operands, 16) & self._mask
                yield _Step(address, size, mnemonic, operands, goes)
                at = address + size
                if straight and _LAST.match(mnemonic) and not self._image.patch_sites.traps.get(address, False):
                    return
            if at == before:
                if straight:
                    return
                at += 1

    # --- what is told of it

    def _of_code(self, code: _Code) -> Iterator[Sequence[object]]:
        section = self._sections.at(code.start)
        assert section is not None
        content = bytearray(section.data[code.start - section.address : code.end - section.address])
        # What is referred to gets its number when it is told, so in the order of the addresses.
        todo: list[tuple[int, Callable[[], Iterable[Sequence[object]]]]] = []
        starts = [step.address for step in code.steps]
        relocated: set[int] = set()
        for relocation in self._relocations(code.start, code.end):
            _blank(content, relocation.address - code.start, relocation.of.size)
            index = bisect_right(starts, relocation.address) - 1
            step = code.steps[index] if index >= 0 and relocation.address < code.steps[index].next else None
            relocated.update([step.address] if step is not None else [])
            todo.append((relocation.address, partial(self._relocation, relocation, code.start, step)))
        for step in code.steps:
            if step.address not in relocated and (step.goes is not None or _NUMBER.search(step.operands)):
                todo.append((step.address, partial(self._reference, code, step, content)))
        for address, site in self._sites.within(code.start, code.end):
            todo.append((address, partial(self._site, address - code.start, site)))
        told = [record for _, tell in sorted(todo, key=lambda one: one[0]) for record in tell()]
        yield "code", code.number, content.hex()
        yield from told
        if code.next is not None and self._code_section(code.next) is not None:
            yield "goes", code.end - code.start, *self._place(code.next, going=True)

    def _reference(self, code: _Code, step: _Step, content: bytearray) -> Iterator[Sequence[object]]:
        """What an instruction refers to outside its piece that no relocation is about."""
        offset = step.address - code.start
        if step.goes is not None:
            if self._at.get(step.goes) is not code and self._code_section(step.goes) is not None:
                width = 4 if step.size >= 5 else 1
                _blank(content, step.next - width - code.start, width)
                yield "goes", offset, *self._place(step.goes, going=True)
            return
        for relative, sign, digits in _NUMBER.findall(step.operands):
            if relative or self._image.linked:
                number = -int(digits, 0) if sign == "- " else int(digits, 0)
                address = (number + (step.next if relative else 0)) & self._mask
                if not code.start <= address < code.end and self._sections.at(address) is not None:
                    yield "uses", offset, *self._place(address)

    def _of_data(self, data: _Data) -> Iterator[Sequence[object]]:
        base = data.section.address
        content = bytearray(data.section.data[data.start - base : data.end - base])
        told: list[Sequence[object]] = []
        for relocation in self._relocations(data.start, data.end):
            _blank(content, relocation.address - data.start, relocation.of.size)
            told += self._relocation(relocation, data.start, None)
        yield "data", self._number(data.section), data.start - base, content.hex()
        yield from told

    def _relocations(self, start: int, end: int) -> list[Relocation]:
        if self._image.relocations.count(start, end) > end - start:
            raise _TooMuchError  # several at each byte: made to take long
        return self._image.relocations.within(start, end)

    def _relocation(self, relocation: Relocation, start: int, step: _Step | None) -> Iterator[Sequence[object]]:
        """A relocation in what begins at ``start``; ``step`` is the instruction that it is in."""
        of, addend = relocation.of, relocation.addend
        place: NamedPlace = ()
        if of.absolute:
            place = "absolute", of.target or 0
        elif of.target is not None:
            going = step is not None and step.goes is not None
            # What is relative to the place is meant relative to the end of the instruction.
            behind = step.next - relocation.address if step is not None and of.relative else 0
            meant = (of.target + (addend or 0) + behind) & self._mask
            used = self._place(meant, going=going) if self._sections.at(meant) is not None else ()
            if not of.section:
                place = self._place(of.target, going=going)
            elif used[:1] == ("code",):
                # Where in its section a function lies is not its own.
                place, addend = used, None
            elif (section := self._sections.at(of.target)) is not None:
                place = "section", self._number(section), 0
        yield "relocation", relocation.address - start, of.type, of.symbol, addend, *place

    def _site(self, offset: int, site: Site) -> Iterator[Sequence[object]]:
        if isinstance(site, JumpSite):
            yield "jump-label", offset, site.key, site.inverted, *self._place(site.target, going=True)
        else:
            yield site[0], offset, *site[1:]


def _blank(content: bytearray, offset: int, size: int) -> None:
    end = min(offset + size, len(content))
    content[offset:end] = bytes(max(end - offset, 0))


def _whole_file(routine: Routine) -> Iterator[Sequence[object]]:
    """Everything that is loaded, for a routine that leads nearly everywhere."""
    image = routine.image
    yield "file", 1, image.bits, routine.entry, -1 if routine.end is None else routine.end, *sorted(routine.until)
    for section in image.sections:
        yield "section", section.name, section.address, section.alignment, section.writable, section.executable
        if section.entry:
            yield "merged", section.entry, section.strings
        yield "data", section.data.hex()
    for base, rows, meanings in image.relocations.everything():
        yield "relocations", base, hashlib.sha256(repr(rows).encode()).hexdigest()
        yield from (("means", number, of.type, of.symbol) for number, of in meanings.items() if of is not None)
