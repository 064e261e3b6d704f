# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules for the tests, made with the assembler: a flush routine with all that a kernel patches in it.

Nothing in them is from a kernel but the layout of the tables, which is its interface: where code jumps by a
static key (``__jump_table``), by a CPU feature (``.altinstructions`` and the code in ``.altinstr_aux`` that answers
until the kernel has patched the place), where it returns (``.return_sites``) and where it is entered
(``__mcount_loc``).

The routine has seven ways through it. With the key off it flushes; with the key on it does so if one of two flags
is set, and else is skipped. A flush is an MSR write where the CPU has that, and a walk over 64 KiB where not.
"""

from __future__ import annotations

import gzip
import lzma
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from packing import zstd

from l1dflush.routine.toolchain import assemble

KEY = "cond_key"
POINTER = "walked_pages"
# word * 32 + bit, as the records have it: the first is a CPU that always is one, the second the flush command.
ALWAYS = 3 * 32 + 21
FLUSH_COMMAND = 18 * 32 + 28
VCPU_FLAG = 0x2A5
COUNTER = 0x5E0
FEATURE_BYTE = 0x74

Packing = Literal["xz", "gz", "zst"]


@dataclass(frozen=True, slots=True)
class Module:
    """What a module is like.

    ``site`` is what the jump label's place holds in the file; ``likely`` is bit 0 of its record: the place jumps if
    the key is on exclusive-or this bit. ``marked`` sets bit 1, which means nothing here. ``table`` is how the record
    is written, ``record`` the bytes of a record of alternatives (None: no feature test, the walk is all there is).
    ``key`` and ``pointer`` tell whether these variables are in the module. ``flags``: whether the routine asks its
    two flags. ``padding`` functions stand before the routine, and one of them calls ``outside`` functions that are
    not there. ``size`` is the buffer's, in bytes, ``warm_up`` whether each page is read beforehand.
    """

    bits: Literal[32, 64] = 64
    name: str = "flush_me"
    site: Literal["nop2", "nop5", "jmp2", "jmp5"] | None = "jmp2"
    likely: bool = True
    marked: bool = False
    table: Literal["relative", "absolute"] = "relative"
    record: Literal[12, 13, 14] | None = 12
    key: Literal["bss", "undefined"] = "bss"
    pointer: Literal["bss", "undefined"] = "bss"
    flags: bool = True
    thunk: bool = True
    entry_call: bool = False
    padding: int = 0
    outside: int = 0
    sized: bool = True
    local_symbols: bool = True
    reordered: bool = False
    size: int = 65536
    warm_up: bool = True


def packed(data: bytes, how: Packing) -> bytes:
    """``data`` as a distribution packs its modules."""
    if how == "xz":
        return lzma.compress(data, check=lzma.CHECK_CRC32)
    if how == "gz":
        return gzip.compress(data, mtime=0)
    return zstd.compress(data)


@lru_cache(maxsize=256)
def build(module: Module) -> bytes:
    """The module as a relocatable object file."""
    return assemble(source(module).encode(), where="module.s", bits=module.bits)


def source(module: Module) -> str:
    """The module as assembly."""
    return "\n".join(_Writer(module).lines()) + "\n"


class _Writer:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.wide = module.bits == 64
        self.word = ".quad" if self.wide else ".long"
        # A name that begins like this does not get into the object's table of symbols.
        self.local = "" if module.local_symbols else ".L"
        self.argument = "rdi" if self.wide else "eax"

    def lines(self) -> list[str]:
        module = self.module
        lines: list[str] = []
        if module.reordered:
            lines += [
                '.section .altinstr_aux, "ax"',
                '.section __jump_table, "aw"',
                '.section .altinstructions, "a"',
                '.section .return_sites, "a"',
            ]
        lines += [".text", *self._padding()]
        lines += [f".globl {module.name}", f".type {module.name}, @function", f"{module.name}:"]
        lines += [*self._entry(), *self._flags(), *self._choice(), *self._walk()]
        if module.sized:
            lines.append(f".size {module.name}, . - {module.name}")
        lines += [*self._variables(), *self._jump_table()]
        return lines

    def _at(self, name: str) -> str:
        """The operand for a variable."""
        return f"{name}(%rip)" if self.wide else name

    def _padding(self) -> list[str]:
        lines = []
        for number in range(self.module.padding):
            name = f"{self.local}padding{number}"
            lines += [f".type {name}, @function", f"{name}:"]
            if number == 0:
                lines += [f"call outside{n}" for n in range(self.module.outside)]
            lines += ["nop"] * (number % 5) + [f"incl {self._at(f'counted{number % 3}')}", "ret"]
            lines.append(f".size {name}, . - {name}")
        return lines

    def _entry(self) -> list[str]:
        module = self.module
        lines = []
        if module.entry_call:
            lines += [f"{self.local}entered: call __fentry__", '.section __mcount_loc, "a"']
            lines += [f"{self.word} {self.local}entered", ".text"]
        if module.site is None:
            return lines
        # Where it jumps and where it goes on swap with bit 0, so that the key always means the same.
        target = f"{self.local}{'flush_always' if module.likely else 'ask_flags'}"
        lines.append(f"{self.local}key_site:")
        lines.append({
            "nop2": ".byte 0x66, 0x90",
            "nop5": ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
            "jmp2": f".byte 0xeb, {target} - . - 1",
            "jmp5": f".byte 0xe9\n.long {target} - . - 4",
        }[module.site])  # fmt: skip
        return lines if module.likely else [*lines, f"jmp {self.local}flush_always"]

    def _flags(self) -> list[str]:
        if not self.module.flags:
            return [f"{self.local}ask_flags:", f"{self.local}flush_always:"]
        other = "%gs:irq_stat_like(%rip)" if self.wide else "%fs:irq_stat_like"
        argument = self.argument
        return [
            f"{self.local}ask_flags:",
            f"movb {VCPU_FLAG}(%{argument}), %cl",
            f"movb $0, {VCPU_FLAG}(%{argument})",
            f"movb {other}, %dl",
            f"movb $0, {other}",
            "testb %cl, %cl",
            f"jne {self.local}flush_always",
            "testb %dl, %dl",
            f"jne {self.local}flush_always",
            *self._return("skipped"),
            f"{self.local}flush_always:",
        ]

    def _return(self, name: str) -> list[str]:
        if not self.module.thunk:
            return ["ret"]
        label = f"{self.local}return_{name}"
        # Five bytes even where two would do: the kernel puts a return or a jump there.
        place = [f"{label}: .byte 0xe9", ".long __x86_return_thunk - . - 4"]
        return [*place, '.section .return_sites, "a"', f".long {label} - .", ".text"]

    def _choice(self) -> list[str]:
        """The counter, and the jump that asks for the CPU's feature until the kernel has patched it."""
        module, local = self.module, self.local
        lines = [f"inc{'q' if self.wide else 'l'} {COUNTER}(%{self.argument})"]
        if module.record is None:
            return lines
        lines += [
            f"{local}feature_site: jmp {local}feature_test",
            f"{local}feature_site_end:",
            '.section .altinstr_aux, "ax"',
            f"{local}feature_test: testb $0x10, {self._at(f'boot_cpu_data_like+{FEATURE_BYTE}')}",
            f"jne {local}by_command",
            f"jmp {local}by_walk",
            '.section .altinstr_replacement, "ax"',
            f"{local}replacement: jmp {local}by_walk",
            f"{local}replacement_end:",
            '.section .altinstructions, "a"',
            *self._alternative(ALWAYS, f"{local}replacement", f"{local}replacement_end - {local}replacement"),
            *self._alternative(FLUSH_COMMAND, f"{local}replacement_end", "0"),
            ".text",
            f"{local}by_command:",
            "movl $1, %eax",
            "movl $0x10b, %ecx",
            "xorl %edx, %edx",
            "wrmsr",
            *self._return("command"),
        ]
        return lines

    def _alternative(self, feature: int, replacement: str, length: str) -> list[str]:
        site, record = f"{self.local}feature_site", self.module.record
        lines = [f".long {site} - .", f".long {replacement} - ."]
        lines.append(f"{'.long' if record == 14 else '.word'} {feature}")
        lines += [f".byte {site}_end - {site}", f".byte {length}"]
        return [*lines, ".byte 0"] if record == 13 else lines

    def _walk(self) -> list[str]:
        module, local = self.module, self.local
        page, index, value = ("%r8", "%rcx", "%esi") if self.wide else ("%edi", "%ecx", "%esi")
        count = index.replace("%r", "%e")
        saved = ["%rbx"] if self.wide else ["%ebx", "%esi", "%edi"]
        lines = [f"{local}by_walk:", *(f"push {register}" for register in saved)]
        lines.append(f"mov {self._at(POINTER)}, {page}")
        for name, step in (("pages", 4096), ("lines", 64)):
            if step == 4096 and not module.warm_up:
                continue
            lines += [
                f"movl ${module.size - step}, {count}",
                f"{local}read_{name}: movzbl ({page},{index}), {value}",
                f"subl ${step}, {count}",
                f"jns {local}read_{name}",
            ]
            if step == 4096:
                lines += ["xorl %eax, %eax", "cpuid"]
        lines.append("lfence")
        lines += [f"pop {register}" for register in reversed(saved)]
        return [*lines, *self._return("walk")]

    def _variables(self) -> list[str]:
        module = self.module
        lines = [".bss", ".balign 32", ".skip 48"]
        for name, kind, size in ((KEY, module.key, 16), (POINTER, module.pointer, module.bits // 8)):
            if kind == "bss":
                # Global, because a local one without a symbol has no name that a verdict could use.
                lines += [f".globl {name}"] if not module.local_symbols else []
                lines += [".balign 16", f".type {name}, @object", f"{name}: .skip {size}", f".size {name}, {size}"]
        lines += [".skip 24"]
        for number in range(min(module.padding, 3)):
            lines.append(f"{self.local}counted{number}: .skip 4")
        return lines

    def _jump_table(self) -> list[str]:
        module = self.module
        if module.site is None:
            return []
        site = f"{self.local}key_site"
        target = f"{self.local}{'flush_always' if module.likely else 'ask_flags'}"
        key = f"{KEY} + {module.likely + 2 * module.marked}"
        lines = ['.section __jump_table, "aw"', f".balign {module.bits // 8}"]
        if module.table == "absolute":
            return [*lines, f"{self.word} {site}, {target}, {key}"]
        return [*lines, f".long {site} - .", f".long {target} - .", f"{self.word} {key} - ."]
