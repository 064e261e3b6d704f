# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said wrongly, or not at all, in the asm statements of a C text.

What an asm statement changes is read from its machine code and never from its text: implicit operands count
(``cpuid``, ``loop``, ``rep lodsb``), and macros in the template are expanded. To find the code and the
registers that the compiler chose, the function is compiled a second time with marks in the templates: a
symbol at either end, and a line in a section of its own that spells the operands out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import capstone
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from l1dflush.place import Place
from l1dflush.routine.c.parsing import AsmStatement
from l1dflush.routine.model import NoteKind, SourceNote

_MARK = "l1dflush_asm"
_SECTION = ".l1dflush.operands"
_MAX_CODE = 1 << 16

_LABEL = re.compile(r"(?:^|[\n;])[ \t]*((?:[0-9]+:[ \t]*)*)([A-Za-z_.$][\w.$%=]*)[ \t]*:(?!:)")
_COMMENT = re.compile(r"/\*[\s\S]*?(?:\*/|\Z)|#[^\n]*|//[^\n]*")
_MARK_NAME = re.compile(rf"{_MARK}_([be])_(\d+)_(\d+)\Z")

_FAMILIES = {
    "rax": "rax eax ax al ah a",
    "rbx": "rbx ebx bx bl bh b",
    "rcx": "rcx ecx cx cl ch c",
    "rdx": "rdx edx dx dl dh d",
    "rsi": "rsi esi si sil",
    "rdi": "rdi edi di dil",
    "rbp": "rbp ebp bp bpl",
    "rsp": "rsp esp sp spl",
}
_WHOLE = {part: whole for whole, parts in _FAMILIES.items() for part in parts.split()}
_WHOLE |= {f"r{n}{suffix}": f"r{n}" for n in range(8, 16) for suffix in ("", "d", "w", "b", "l")}
# The flags need no declaration on x86; the stack pointer is restored by every push's pop.
_GENERAL = frozenset(_FAMILIES) - {"rsp"} | {f"r{n}" for n in range(8, 16)}
_VECTOR = re.compile(r"([xyz])mm(\d+)\Z")
# Writes that the decoder does not report.
_SILENT_WRITES = {"cmpxchg": ("rax",), "enter": ("rbp",), "xlatb": ("rax",)}


@dataclass(frozen=True, slots=True)
class Marked:
    """An asm statement, the number it is marked with, and where it stands."""

    number: int
    statement: AsmStatement
    where: Place


def insertions(marked: Iterable[Marked]) -> dict[int, str]:
    """The marks, by the offset where each goes into the source. None has a line break or a brace in it."""
    result: dict[int, str] = {}
    for mark in marked:
        statement = mark.statement
        if statement.end <= statement.start:
            continue
        # "%=" is a number that no other copy of the statement has, but only extended asm knows it.
        unique = "%=" if statement.extended else "0"
        count = len(statement.outputs) + len(statement.inputs)
        operands = "".join(f" %{n}" for n in range(count)) if statement.extended else ""
        record = (
            f'"\\n\\t.pushsection {_SECTION},\\"\\",@progbits\\n\\t'
            f'.ascii \\"{mark.number}_{unique}{operands}\\\\n\\"\\n\\t.popsection\\n" '
        )
        result[statement.start] = f'{record}"{_MARK}_b_{mark.number}_{unique}:\\n\\t" '
        result[statement.end] = f' "\\n{_MARK}_e_{mark.number}_{unique}:\\n\\t"'
    return result


def notes_from_text(marked: Iterable[Marked], where: Callable[[int], Place]) -> Iterator[SourceNote]:
    """The notes that need no machine code. ``where`` gives file:line for an offset of the text."""
    for mark in marked:
        statement = mark.statement
        if "memory" not in statement.clobbers:
            yield SourceNote(
                NoteKind.NO_MEMORY_CLOBBER,
                'an asm statement has no "memory" clobber: the compiler may move loads and stores across it',
                mark.where,
            )
        for offset, label in named_labels(statement):
            yield SourceNote(
                NoteKind.NAMED_LABEL,
                f"the asm statement defines the label '{label}': where the function is inlined or cloned "
                "twice, the label is there twice and does not assemble",
                where(offset),
            )


def named_labels(statement: AsmStatement) -> Iterator[tuple[int, str]]:
    """Labels of the template that are neither numeric nor made unique by ``%=``, each with the offset of the
    string it is in."""
    joined = "".join(text for _, text in statement.template)
    places: list[tuple[int, int]] = []
    length = 0
    for offset, text in statement.template:
        places.append((length, offset))
        length += len(text)
    plain = _COMMENT.sub(lambda match: " " * len(match.group()), joined)
    step = 0
    seen: set[str] = set()
    position = 0
    while match := _LABEL.search(plain, position):
        # The line break that ends one match may begin the next.
        position = match.end()
        label = match.group(2)
        while step + 1 < len(places) and places[step + 1][0] <= match.start(2):
            step += 1
        if "%=" not in label and label not in seen:
            seen.add(label)
            yield places[step][1], label


def notes_from_code(marked: Iterable[Marked], elf: bytes) -> Iterator[SourceNote]:
    """Registers that the marked asm statements change and do not declare, found in the object ``elf``.

    Yields nothing for a statement that is not found there.
    """
    numbers = {mark.number: mark for mark in marked}
    reported: set[int] = set()
    for copy in _copies(elf):
        mark = numbers.get(copy.number)
        if mark is None or mark.number in reported:
            continue
        changed = changed_registers(copy.code, bits=copy.bits)
        found = list(_undeclared(mark.statement, copy.operands, changed))
        if found:
            reported.add(mark.number)
            yield SourceNote(
                NoteKind.REGISTER_NOT_DECLARED,
                f"an asm statement changes {_listed(found)} without declaring it",
                mark.where,
            )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _undeclared(statement: AsmStatement, operands: tuple[str, ...], changed: set[str]) -> Iterator[str]:
    registers = [whole_register(operand) for operand in operands]
    declared = {whole_register(name) for name in statement.clobbers}
    declared |= set(registers[: len(statement.outputs)])
    names: dict[str, str] = {}
    for operand, register in zip(statement.inputs, registers[len(statement.outputs) :], strict=False):
        if register is not None:
            names[register] = operand.name or operand.value
    for register in sorted(changed - {name for name in declared if name}):
        inside = names.get(register)
        # "what it holds" helps to find the operand, and says that an output ("+r") is wanted, not a clobber.
        yield f"{register} (the input '{inside}')" if inside else register


def whole_register(name: str) -> str | None:
    """``rax`` for ``%eax``, ``xmm3`` for ``ymm3``; ``None`` for what is not a register (memory, a constant)."""
    name = name.strip().lstrip("%").lower()
    if name in _WHOLE:
        return _WHOLE[name]
    if vector := _VECTOR.match(name):
        return f"xmm{vector.group(2)}"
    return name if re.fullmatch(r"k[0-7]|mm[0-7]", name) else None


def changed_registers(code: bytes, *, bits: int = 64) -> set[str]:
    """The general and vector registers (64-bit names, ``xmmN``) that ``code`` may leave changed.

    What is saved and put back with push and pop, or parked in another register meanwhile, is not changed.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32)
    decoder.detail = True
    first: dict[str, tuple[str, str]] = {}
    last: dict[str, tuple[str, str]] = {}
    for instruction in decoder.disasm(code[:_MAX_CODE], 0):
        _, written = instruction.regs_access()
        names = {whole_register(instruction.reg_name(register) or "") for register in written}
        mnemonic = instruction.mnemonic.split()[-1]
        names |= set(_SILENT_WRITES.get(mnemonic, ()))
        shape = _shape(instruction, mnemonic)
        for name in names:
            if name in _GENERAL or (name and name[0] in "xkm"):
                first.setdefault(name, shape)
                last[name] = shape
        if mnemonic in ("push", "mov", "xchg"):
            # A register that is copied away before anything changes it may be put back later.
            source = shape[1] if mnemonic == "push" else shape[1].partition(",")[2]
            first.setdefault(source, shape)
    return {name for name, end in last.items() if not _restored(name, first[name], end)}


def _shape(instruction: capstone.CsInsn, mnemonic: str) -> tuple[str, str]:
    operands = [whole_register(part) or "" for part in instruction.op_str.split(",")]
    return mnemonic, ",".join(operands)


def _restored(name: str, first: tuple[str, str], last: tuple[str, str]) -> bool:
    if first == ("push", name):
        return last == ("pop", name)
    if first[0] == "mov" and first[1].endswith("," + name):
        park = first[1].partition(",")[0]
        return park != "" and last == ("mov", f"{name},{park}")
    if first[0] == "xchg" and last[0] == "xchg":
        pair = set(first[1].split(","))
        return first is not last and len(pair) == 2 and "" not in pair and pair == set(last[1].split(","))
    return False


@dataclass(frozen=True, slots=True)
class _Copy:
    number: int
    operands: tuple[str, ...]
    code: bytes
    bits: int


def _copies(elf: bytes) -> Iterator[_Copy]:
    """Every copy of a marked statement in the object, in order."""
    try:
        file = ELFFile(io.BytesIO(elf))
        section = file.get_section_by_name(_SECTION)
        lines = section.data().decode("ascii", "replace").splitlines() if section is not None else []
        ends: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
        for table in file.iter_sections():
            if isinstance(table, SymbolTableSection):
                for symbol in table.iter_symbols():
                    if (match := _MARK_NAME.match(symbol.name)) and isinstance(symbol["st_shndx"], int):
                        place = (symbol["st_shndx"], symbol["st_value"])
                        ends.setdefault((int(match.group(2)), int(match.group(3))), {})[match.group(1)] = place
        for line in lines:
            head, *operands = line.split(" ")
            number, _, copy = head.partition("_")
            if not (number.isdigit() and copy.isdigit()):
                continue
            found = ends.get((int(number), int(copy)), {})
            if "b" in found and "e" in found and found["b"][0] == found["e"][0]:
                data = file.get_section(found["b"][0]).data()
                code = data[found["b"][1] : found["e"][1]]
                yield _Copy(int(number), tuple(operands), code, file.elfclass)
    except (ELFError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        # The marks are ours, the file is the compiler's; a template that closes our section early ends here.
        return
