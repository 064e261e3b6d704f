# SPDX-License-Identifier: GPL-2.0-or-later
"""A very small x86-64 assembler: just the instructions that the built-in flushes are made of.

It exists so that the built-in routines need no compiler at run time, and are real machine code all the same:
what is traced and proved is bytes. The registers are fixed: the buffer's address in rdi, the offset in rax,
loaded values go to rcx.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable


class Code:
    """Machine code under construction. Each method but :meth:`upward_loop` appends one instruction and is named
    after it."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    @property
    def here(self) -> int:
        """The offset of the next instruction: what a backward jump takes as its target."""
        return len(self._bytes)

    def push_rbx(self) -> None:
        self._bytes += b"\x53"

    def pop_rbx(self) -> None:
        self._bytes += b"\x5b"

    def xor_eax_eax(self) -> None:
        self._bytes += b"\x31\xc0"

    def mov_rax(self, value: int) -> None:
        """``mov rax, value``; the value is a signed 32-bit one, extended."""
        self._bytes += b"\x48\xc7\xc0" + struct.pack("<i", value)

    def movzx_ecx_byte(self, displacement: int) -> None:
        """``movzx ecx, byte ptr [rdi + rax + displacement]``."""
        self._load(b"\x0f\xb6", displacement)

    def mov_rcx_qword(self, displacement: int) -> None:
        """``mov rcx, qword ptr [rdi + rax + displacement]``."""
        self._load(b"\x48\x8b", displacement)

    def load(self, displacement: int, load_bytes: int = 1) -> None:
        """The one of the two that loads ``load_bytes``, 1 or 8."""
        if load_bytes == 1:
            self.movzx_ecx_byte(displacement)
        else:
            self.mov_rcx_qword(displacement)

    def _load(self, opcode: bytes, displacement: int) -> None:
        # ModRM: rcx (1) and memory by SIB; SIB: base rdi (7), index rax (0), scale 1.
        if displacement == 0:
            self._bytes += opcode + b"\x0c\x07"
        else:
            self._bytes += opcode + b"\x8c\x07" + struct.pack("<i", displacement)

    def add_rax(self, value: int) -> None:
        self._bytes += b"\x48\x05" + struct.pack("<i", value)

    def sub_rax(self, value: int) -> None:
        self._bytes += b"\x48\x2d" + struct.pack("<i", value)

    def cmp_rax(self, value: int) -> None:
        self._bytes += b"\x48\x3d" + struct.pack("<i", value)

    def jne(self, target: int) -> None:
        """Jump back to ``target`` (a former :attr:`here`) unless the last result was zero or equal."""
        self._jump(0x75, target)

    def jae(self, target: int) -> None:
        """Jump back to ``target`` unless the last subtraction borrowed."""
        self._jump(0x73, target)

    def _jump(self, opcode: int, target: int) -> None:
        distance = target - (self.here + 2)
        if distance >= -128:
            self._bytes += bytes((opcode, distance & 0xFF))
        else:
            # The long form of a short conditional jump: 0F, opcode + 10h, four bytes of distance.
            self._bytes += bytes((0x0F, opcode + 0x10)) + struct.pack("<i", target - (self.here + 6))

    def cpuid(self) -> None:
        self._bytes += b"\x0f\xa2"

    def lfence(self) -> None:
        self._bytes += b"\x0f\xae\xe8"

    def mfence(self) -> None:
        self._bytes += b"\x0f\xae\xf0"

    def upward_loop(
        self, begin: int, end: int, step: int, displacements: Iterable[int] = (0,), *, load_bytes: int = 1
    ) -> None:
        """:meth:`load` at each of ``displacements`` from rdi + rax, for rax from ``begin`` up to
        ``end`` in steps of ``step`` bytes, ``end`` excluded."""
        if begin:
            self.mov_rax(begin)
        else:
            self.xor_eax_eax()
        loop = self.here
        for displacement in displacements:
            self.load(displacement, load_bytes)
        self.add_rax(step)
        # The addition itself compares with zero.
        if end:
            self.cmp_rax(end)
        self.jne(loop)

    def ret(self) -> None:
        self._bytes += b"\xc3"
