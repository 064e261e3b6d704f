# SPDX-License-Identifier: GPL-2.0-or-later
"""Small programs for the tests of the trace, and what they really do: the emulator with plain hooks.

Nothing here is shared with the package but the description of a routine.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import unicorn
from unicorn import x86_const as ux

from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.routine.model import Image, Origin, OriginKind, Routine, Section
from l1dflush.tracing import model
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import Trace
from l1dflush.tracing.options import TraceOptions

CODE = 0x40_0000
STACK = 0x6000_0000_0000
RETURN = 0x5000_0000_0000


class Access(NamedTuple):
    """One access: the instruction's address, where, how many bytes, whether it is a write."""

    pc: int
    address: int
    size: int
    write: bool


def elf(text: str, bits: Literal[32, 64] = 64) -> bytes:
    """The object file that the assembler makes of ``text``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "program.s"), Path(folder, "program.o")
        source.write_text(text + "\n")
        subprocess.run(["as", f"--{bits}", "-o", target, source], check=True, capture_output=True)
        return target.read_bytes()


def function(text: str, bits: Literal[32, 64] = 64) -> Routine:
    """The routine whose body is ``text``, loaded like any object file."""
    head = "        .text\n        .globl program\n        .type program, @function\nprogram:\n"
    data = elf(f"{head}{text}\n        .text\n        .size program, .-program", bits)
    return load_bytes(data, "program.o", LoadOptions(function="program"))[0]


def code_only(code: bytes, bits: Literal[32, 64] = 64) -> Routine:
    """The routine that consists of these bytes and nothing else."""
    text = Section(".text", CODE, code, len(code), 16, writable=False, executable=True)
    return Routine("program", Origin(OriginKind.OBJECT, "program"), Image(bits, (text,)), CODE, CODE + len(code))


def traced(text: str, bits: Literal[32, 64] = 64, **options: Any) -> Trace:
    """The trace of the routine whose body is ``text``."""
    return trace(function(text, bits), TraceOptions(**options))


def only(text: str, bits: Literal[32, 64] = 64) -> model.Path:
    """The only path of such a routine."""
    (path,) = traced(text, bits).paths
    return path


def number_of_paths(text: str, bits: Literal[32, 64] = 64) -> int:
    """How many paths such a routine has."""
    return len(traced(text, bits).paths)


def run(routine: Routine, registers: Mapping[str, int], memory: Mapping[int, bytes]) -> list[Access]:
    """What a 64-bit routine does with these registers and this memory, access by access."""
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    accesses: list[Access] = []
    pc = [0]

    def on_code(_uc: Any, address: int, _size: int, _user: Any) -> None:
        pc[0] = address

    def on_access(_uc: Any, access: int, address: int, size: int, _value: int, _user: Any) -> None:
        accesses.append(Access(pc[0], address, size, access == unicorn.UC_MEM_WRITE))

    uc.hook_add(unicorn.UC_HOOK_CODE, on_code)
    uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access)
    pages: set[int] = set()

    def provide(address: int, data: bytes) -> None:
        for page in range(address & ~0xFFF, address + len(data), 0x1000):
            if page not in pages:
                uc.mem_map(page, 0x1000)
                pages.add(page)
        uc.mem_write(address, data)

    for section in routine.image.sections:
        provide(section.address, section.data.ljust(section.size, b"\0"))
    for address, data in memory.items():
        provide(address, data)
    provide(STACK - 0x4000, bytes(0x8000))
    uc.mem_write(STACK, RETURN.to_bytes(8, "little"))
    provide(RETURN, b"\xf4")
    for name, value in registers.items():
        uc.reg_write(getattr(ux, f"UC_X86_REG_{name.upper()}"), value)
    uc.reg_write(ux.UC_X86_REG_RSP, STACK)
    uc.emu_start(routine.entry, RETURN, count=200_000)
    assert uc.reg_read(ux.UC_X86_REG_RIP) == RETURN
    return accesses
