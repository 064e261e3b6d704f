# SPDX-License-Identifier: GPL-2.0-or-later
"""The same states on the emulator: for what a program may not run, and for 32-bit mode."""

from __future__ import annotations

from typing import Literal

import unicorn
from row_machine import CODE, FLAGS, MEMORY, NAMES, SIZE, Form, State
from unicorn import x86_const as ux

_PAGE = 4096


def on_emulator(code: bytes, form: Form, state: State, bits: Literal[32, 64]) -> State | None:
    """What the emulator comes to; None if it stops before the end of the form."""
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64 if bits == 64 else unicorn.UC_MODE_32)
    uc.mem_map(CODE, (len(code) + _PAGE) // _PAGE * _PAGE)
    uc.mem_map(MEMORY, _PAGE)
    uc.mem_write(CODE, code)
    uc.mem_write(MEMORY, state.memory)
    names = NAMES if bits == 64 else tuple(f"e{name[1:]}" for name in NAMES[:8])
    mask = (1 << bits) - 1
    numbers = [getattr(ux, f"UC_X86_REG_{name.upper()}") for name in names]
    for number, value in zip(numbers, state.registers, strict=False):
        uc.reg_write(number, value & mask)
    uc.reg_write(ux.UC_X86_REG_EFLAGS, state.flags)
    end = CODE + form.offset + form.size
    try:
        uc.emu_start(CODE + form.offset, end, count=100)
    except unicorn.UcError:
        return None
    program_counter = ux.UC_X86_REG_RIP if bits == 64 else ux.UC_X86_REG_EIP
    if uc.reg_read(program_counter) != end:
        return None
    values = [uc.reg_read(number) for number in numbers]
    registers = (*values, *state.registers[len(values) :])
    flags = uc.reg_read(ux.UC_X86_REG_EFLAGS) & (sum(1 << bit for bit in FLAGS.values()) | 2)
    return State(registers, flags, state.vectors, bytes(uc.mem_read(MEMORY, SIZE)))
