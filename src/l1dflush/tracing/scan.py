# SPDX-License-Identifier: GPL-2.0-or-later
"""A look at code without running it: which functions of a large file could be a flush at all.

Tracing every function of a kernel module takes minutes. This is for choosing what to trace, never for judging it:
a function that is wrongly left out is not found unless it is named, and one that is wrongly taken costs time.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import capstone

from l1dflush.routine.model import Image, Section
from l1dflush.tracing.bindings import CALLER_SAVED
from l1dflush.tracing.decode import REGISTERS

# Instructions in which a flush may do without a loop.
_MECHANISMS = frozenset({"wbinvd", "invd"})
_FLUSH_MSR = re.compile(r"ecx, 0x10b$")
_STRING = re.compile(r"rep \w*(lods|movs)")
# A step of the size of a line, up to a page or two, and a loop that is not longer than an unrolled walk of a page.
_STEP = re.compile(
    r"^(?:add|sub) \w+(?: ptr \[.*\])?, (0x[0-9a-f]+|[1-9]\d*)$|^lea (\w+), \[\2 [+-] (0x[0-9a-f]+|[1-9]\d*)\]$"
)
SMALLEST_STEP, LARGEST_STEP = 16, 8192
SMALLEST_LINE = 32
LONGEST_LOOP_BYTES = 256
# So many reads in a row are a walk that was unrolled.
UNROLLED = 64
# Memory that is not the stack's and not at a fixed place, and what only writes to it or does nothing with it.
_ELSEWHERE = re.compile(r"\[(?!e?[sb]p\b|r[sb]p\b|rip\b|0x)\w*[a-z]")
_NO_READ = re.compile(r"(?:v?mov\w* \w+ ptr \[|lea |nop|rep stos)")
_READ = re.compile(r", (?:byte|word|dword|qword|xmmword|ymmword|zmmword) ptr .*\[")

_NAME, _NUMBER = re.compile(r"[a-z]\w*"), re.compile(r"-?(?:0x[0-9a-f]+|\d+)")
# A loop in a loop may only go through a part of the buffer.
LEAST_REACH = 1024
# So many instructions in front of a loop its counter is set in.
_LOOK_BACK = 8
# Address, mnemonic, operands.
_Insn = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class CodeMap:
    """What :func:`scan` found: ``looping`` are entries whose own code may read in a loop, ``promising`` those that may
    be a flush, ``likely`` those of them that step by a line or a page, ``reading`` those that read other memory than
    the stack's in a loop, or as much in a row as a page has lines, ``calls`` whom each calls directly,
    ``unlabelled`` the targets of direct calls that are no entry."""

    looping: frozenset[int]
    promising: frozenset[int]
    likely: frozenset[int]
    reading: frozenset[int]
    calls: Mapping[int, frozenset[int]]
    unlabelled: frozenset[int]

    def may_flush(self, entry: int) -> bool:
        """Whether the code from ``entry`` on, or some that it calls, could be a flush at all."""
        seen = {entry}
        pending = [entry]
        while pending:
            at = pending.pop()
            if at in self.looping or at in self.promising:
                return True
            new = self.calls.get(at, frozenset()) - seen
            seen |= new
            pending += new
        return False


def scan(image: Image, entries: Iterable[int], only: Container[int] | None = None) -> CodeMap:
    """Disassembles every executable section of ``image``, from each of ``entries`` to the next; with ``only`` nothing
    but what begins there."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if image.bits == 64 else capstone.CS_MODE_32)
    known = sorted(set(entries))
    looping: set[int] = set()
    promising: set[int] = set()
    likely: set[int] = set()
    reading: set[int] = set()
    graph: dict[int, frozenset[int]] = {}
    for section in image.sections:
        if not section.executable or not section.data:
            continue
        end = section.address + len(section.data)
        inside = known[bisect_right(known, section.address - 1) : bisect_right(known, end - 1)]
        starts = sorted({section.address, *inside})
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            if only is not None and start not in only:
                continue
            loops, promises, by_lines, reads, calls = _look(decoder, section, start, stop)
            if loops:
                looping.add(start)
            if promises:
                promising.add(start)
            if by_lines:
                likely.add(start)
            if reads:
                reading.add(start)
            graph[start] = frozenset(calls)
    code = [(s.address, s.address + len(s.data)) for s in image.sections if s.executable]
    called = {at for calls in graph.values() for at in calls}
    inside_code = {at for at in called if any(low <= at < high for low, high in code)}
    return CodeMap(
        frozenset(looping),
        frozenset(promising),
        frozenset(likely),
        frozenset(reading),
        graph,
        frozenset(inside_code - set(known)),
    )


def _look(decoder: capstone.Cs, section: Section, start: int, stop: int) -> tuple[bool, bool, bool, bool, set[int]]:
    """Whether the code from ``start`` to ``stop`` has a loop, may be a flush, steps by lines or pages in a loop that
    reads there, and reads in one; and which addresses it calls."""
    code = section.data[start - section.address : stop - section.address]
    calls: set[int] = set()
    steps: list[tuple[int, int]] = []
    seen: list[_Insn] = []
    loops, promises, by_lines, reads_in_loop, reads = False, False, False, False, 0
    last_read = -1
    for address, _, mnemonic, operands in decoder.disasm_lite(code, start):
        seen.append((address, mnemonic, operands))
        if mnemonic == "call":
            if operands.startswith("0x"):
                calls.add(int(operands, 16))
        elif mnemonic[0] == "j":
            target = int(operands, 16) if operands.startswith("0x") else stop
            # A long jump back without a condition is the way back from a part that was moved out.
            if target <= address and (mnemonic != "jmp" or address - target <= LONGEST_LOOP_BYTES):
                loop = max(target, address - LONGEST_LOOP_BYTES)
                loops = loops or (mnemonic != "jmp" and address - target <= LONGEST_LOOP_BYTES)
                reads_in_loop = reads_in_loop or last_read >= loop
                inside = [size for at, size in steps if loop <= at]
                promises = promises or bool(inside)
                first = bisect_left(seen, loop, key=itemgetter(0))
                by_lines = by_lines or (
                    any(map(_by_lines, inside)) and _walks(seen[max(first - _LOOK_BACK, 0) : first], seen[first:])
                )
        elif mnemonic in ("add", "sub", "lea"):
            size = _step(mnemonic, operands)[1]
            if SMALLEST_STEP <= size <= LARGEST_STEP:
                steps.append((address, size))
        elif mnemonic in _MECHANISMS or mnemonic.startswith("rep ") or _FLUSH_MSR.search(operands):
            text = f"{mnemonic} {operands}"
            promises = promises or mnemonic in _MECHANISMS or bool(_STRING.match(text) or _FLUSH_MSR.search(text))
        if _ELSEWHERE.search(operands) and not _NO_READ.match(f"{mnemonic} {operands}"):
            last_read = address
            reads_in_loop = reads_in_loop or mnemonic.startswith("rep ")
        reads += _READ.search(operands) is not None
    return loops, promises or reads >= UNROLLED, by_lines, reads_in_loop or reads >= UNROLLED, calls


def _step(mnemonic: str, operands: str) -> tuple[str, int]:
    """What an instruction adds a number to, and the number; 0 if it does no such thing."""
    step = _STEP.match(f"{mnemonic} {operands}")
    if step is None or "sp," in operands or mnemonic not in ("add", "sub", "lea"):
        return "", 0
    return operands.partition(",")[0], int(step[1] or step[3], 0)


def _walks(before: Sequence[_Insn], loop: Sequence[_Insn]) -> bool:
    """Whether a loop may be a walk, or of one: it reads memory at an address that is made of what moves on by a line or
    a page in it, and is not changed in it otherwise, nor only counted as far as a small table is long."""
    steps = {_full(to) for _, mnemonic, operands in loop for to, size in [_step(mnemonic, operands)] if _by_lines(size)}
    changed: set[str] = set()
    for _, mnemonic, operands in loop:
        to, _, source = operands.partition(", ")
        # A counter in memory may be loaded, moved on and stored.
        if "[" in to and mnemonic == "mov" and _full(source) in steps:
            steps.add(to)
        elif not _by_lines(_step(mnemonic, operands)[1]) and mnemonic not in ("cmp", "test", "push"):
            changed.add(_full(to))
        if mnemonic == "call":
            changed.update(CALLER_SAVED[64])
    moving = {one for one in steps - changed if _reach(before, loop, one) >= LEAST_REACH}
    count = -1
    while len(moving) != count:
        count = len(moving)
        for _, mnemonic, operands in loop:
            to, _, source = operands.partition(", ")
            of = set(map(_full, _NAME.findall(source))) if mnemonic == "lea" or "[" not in source else {source}
            if "[" not in to and mnemonic not in ("cmp", "test") and moving & of:
                moving.add(_full(to))
    return any(
        _ELSEWHERE.search(operands)
        and not _NO_READ.match(f"{mnemonic} {operands}")
        and moving & set(map(_full, _NAME.findall(operands.partition("[")[2])))
        for _, mnemonic, operands in loop
    )


def _by_lines(size: int) -> bool:
    return SMALLEST_LINE <= size <= LARGEST_STEP and size & (size - 1) == 0


def _reach(before: Sequence[_Insn], loop: Sequence[_Insn], counter: str) -> int:
    """How far a register is counted from the number that it is set to in front of a loop, or far enough if that is not
    to be seen at once."""
    ends = [n for _, m, operands in loop if m == "cmp" for n in _set_to(operands, counter)]
    begins = [n for _, m, operands in before if m == "mov" for n in _set_to(operands, counter)]
    if any(m == "xor" and set(map(_full, operands.split(", "))) == {counter} for _, m, operands in before):
        begins.append(0)
    # To where it began is all the way around.
    return (abs(ends[0] - begins[0]) if len(ends) == len(begins) == 1 else 0) or LEAST_REACH


def _set_to(operands: str, counter: str) -> list[int]:
    """The number that an instruction sets a register to, or compares it with."""
    to, _, number = operands.partition(", ")
    return [int(number, 0)] if _full(to) == counter and _NUMBER.fullmatch(number) else []


def _full(name: str) -> str:
    """The general register that a name is, or is a part of."""
    return REGISTERS[name][0] if name in REGISTERS else name
