"""The emulated CPU: Unicorn behind a few plain calls, one instruction or one loop at a time.

Nothing of the routine's own memory accesses is decided here; the emulator's reports are only compared with
what the effects table predicts.
"""

from __future__ import annotations

import signal
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import unicorn
from unicorn import x86_const as ux

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Image
from l1dflush.trace.budget import Budget
from l1dflush.trace.decode import GENERAL

PAGE = 4096
# Memory is mapped lazily in chunks: one mapping costs as much as forty emulated instructions.
CHUNK = 0x10000
# What the emulator may keep of translated code. It would reserve 1 GiB for each path, far more than a routine
# needs, and no limit on memory could be told from that.
TRANSLATION_BYTES = 8 << 20
# Instructions that are run before somebody looks at the clock.
SLICE = 100_000

# Where memory relative to fs and gs is put: nothing else uses these addresses. Offsets are those of symbols, and
# in 64-bit mode any 32-bit number.
SEGMENT_BASES: dict[int, dict[str, int]] = {
    64: {"fs": 0x6000_0000_0000, "gs": 0x6800_0000_0000},
    32: {"fs": 0x2810_0000, "gs": 0x5010_0000},
}
# How far from its base such an address may be: below and above.
SEGMENT_REACH = {64: (1 << 31, 1 << 32), 32: (0x0010_0000, 0x27F0_0000)}
DESCRIPTORS = 0x7FFE_0000

_NARROW = {
    **{f"r{letter}x": f"e{letter}x" for letter in "abcd"},
    **{f"r{name}": f"e{name}" for name in ("si", "di", "bp", "sp")},
}
_STOPPED = {
    unicorn.UC_ERR_INSN_INVALID: "the emulator does not know the instruction",
    unicorn.UC_ERR_EXCEPTION: "the instruction raises an exception",
    unicorn.UC_ERR_FETCH_UNMAPPED: "the emulator cannot run code at this address",
}


class Machine:
    """Registers and memory of the emulated CPU. Register names are the 64-bit ones in both modes."""

    def __init__(self, image: Image) -> None:
        self.bits: Literal[32, 64] = image.bits
        self.width = image.bits // 8
        wide = image.bits == 64
        self._uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64 if wide else unicorn.UC_MODE_32)
        self._uc.ctl_set_tcg_buffer_size(TRANSLATION_BYTES)  # type: ignore[attr-defined]  # added at run time
        names = GENERAL if wide else tuple(_NARROW)
        self._ids = {name: getattr(ux, f"UC_X86_REG_{(name if wide else _NARROW[name]).upper()}") for name in names}
        self._pc_id = ux.UC_X86_REG_RIP if wide else ux.UC_X86_REG_EIP
        self._mapped: set[int] = set()
        self._refused: UndecidedError | None = None
        self._budget: Budget | None = None
        self._reports: list[tuple[int, int, int]] = []
        # Installed before anything is translated: code translated without the hook would never report.
        self._uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, _reporter(self._reports))
        self._uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._unmapped)
        # All but code is mapped when it is used: zeros may be gigabytes, and of a module's sections a path needs few.
        self._contents = [(s.address, s.address + len(s.data), s.data) for s in image.sections if s.data]
        for section in image.sections:
            if section.executable and section.data:
                self.map(section.address, len(section.data))

    def close(self) -> None:
        """Gives the emulator's memory back. Its hooks refer to this object and this object to it, so that nobody
        else would for a long time, and a file may have hundreds of paths."""
        del self._uc

    @property
    def registers(self) -> Iterable[str]:
        """Names of the general registers of this mode."""
        return self._ids

    def read(self, register: str) -> int:
        """Value of a general register."""
        return int(self._uc.reg_read(self._ids[register]))

    def write(self, register: str, value: int) -> None:
        """Sets a general register."""
        self._uc.reg_write(self._ids[register], value)

    def read_vector(self, register: str) -> int:
        """Value of ``v0``...: the 128 bits that the emulator computes with."""
        return int(self._uc.reg_read(getattr(ux, f"UC_X86_REG_XMM{register[1:]}")))

    def use_segments(self) -> None:
        """Gives fs and gs their bases. The emulator has no registers for these in 32-bit mode, so there they come
        from descriptors; loading one makes it look at all of them."""
        if self.bits == 64:
            self._uc.reg_write(ux.UC_X86_REG_FS_BASE, SEGMENT_BASES[64]["fs"])
            self._uc.reg_write(ux.UC_X86_REG_GS_BASE, SEGMENT_BASES[64]["gs"])
            return
        bases = (0, *SEGMENT_BASES[32].values())
        self.poke(DESCRIPTORS, bytes(8) + b"".join(_flat_segment(base) for base in bases))
        self._uc.reg_write(ux.UC_X86_REG_GDTR, (0, DESCRIPTORS, 8 * len(bases) + 7, 0))
        for register in (ux.UC_X86_REG_DS, ux.UC_X86_REG_ES, ux.UC_X86_REG_SS):
            self._uc.reg_write(register, 8)
        for number, register in enumerate((ux.UC_X86_REG_FS, ux.UC_X86_REG_GS), start=2):
            self._uc.reg_write(register, 8 * number)

    def flags(self) -> int:
        """EFLAGS."""
        return int(self._uc.reg_read(ux.UC_X86_REG_EFLAGS))

    def clear_flags(self) -> None:
        """Clears the arithmetic flags: CF, PF, AF, ZF, SF, OF."""
        self._uc.reg_write(ux.UC_X86_REG_EFLAGS, self.flags() & ~0x8D5)

    def direction(self) -> int:
        """+1 or -1: which way string instructions go."""
        return -1 if self.flags() & 0x400 else 1

    def set_direction(self, direction: int) -> None:
        """The same: +1 or -1."""
        kept = self.flags() & ~0x400
        self._uc.reg_write(ux.UC_X86_REG_EFLAGS, kept | (0x400 if direction < 0 else 0))

    def map(self, address: int, size: int) -> None:
        """Makes ``size`` bytes at ``address`` accessible; fresh memory is zero."""
        chunk = address & ~(CHUNK - 1)
        while chunk < address + size:
            if chunk not in self._mapped:
                try:
                    if chunk + CHUNK > 1 << self.bits:
                        raise unicorn.UcError(unicorn.UC_ERR_ARG)
                    self._uc.mem_map(chunk, CHUNK)
                except unicorn.UcError as error:
                    if error.errno == unicorn.UC_ERR_NOMEM:
                        raise MemoryError from error
                    raise UndecidedError("no-such-address", f"the address {address:#x} cannot be mapped") from error
                self._mapped.add(chunk)
                for start, end, data in self._contents:
                    low, high = max(start, chunk), min(end, chunk + CHUNK)
                    if low < high:
                        self._uc.mem_write(low, data[low - start : high - start])
            chunk += CHUNK

    def peek(self, address: int, size: int) -> bytes:
        """The bytes at ``address``."""
        self.map(address, size)
        return bytes(self._uc.mem_read(address, size))

    def poke(self, address: int, data: bytes) -> None:
        """Writes bytes at ``address``."""
        self.map(address, len(data))
        self._uc.mem_write(address, data)

    def step(self, pc: int) -> tuple[int, list[tuple[int, int, int]]]:
        """Runs the one instruction at ``pc``; returns where it went and the memory accesses reported."""
        self._reports.clear()
        self._emulate(pc, 0, 1)
        return int(self._uc.reg_read(self._pc_id)), list(self._reports)

    def run(self, pc: int, until: int, budget: Budget) -> tuple[int, list[tuple[int, int, int]]]:
        """Runs from ``pc`` until ``until`` is reached or the budget's instructions are spent; returns where it
        stopped and every access as (address, size, 1 for a write)."""
        self._reports.clear()
        # The emulator looks for the end when it translates, not when it runs: code translated for an earlier step
        # would be run past it.
        self._uc.ctl_flush_tb()  # type: ignore[attr-defined]  # the binding adds it at run time
        self._budget = budget
        left = budget.left
        while pc != until and left > 0:
            # In slices, so that a loop without an end cannot outrun the clock.
            self._emulate(pc, until, min(left, SLICE))
            left -= SLICE
            pc = int(self._uc.reg_read(self._pc_id))
            budget.check_clock(pc)
            budget.check_accesses(len(self._reports), pc)
        return pc, list(self._reports)

    def _emulate(self, pc: int, until: int, count: int) -> None:
        try:
            with _interrupts_kept():
                self._uc.emu_start(pc, until, count=count)
        except unicorn.UcError as error:
            if self._refused is not None:
                raise self._refused from error
            reason = _STOPPED.get(error.errno, str(error))
            raise UndecidedError("emulator-stopped", reason, where=f"{pc:#x}") from error

    def _unmapped(self, _uc: Any, access: int, address: int, size: int, _value: int, _user: Any) -> bool:
        if access == unicorn.UC_MEM_FETCH_UNMAPPED:
            return False
        try:
            if self._budget is not None:
                # What a mapping costs grows with their number: a slice can need thousands, and then minutes.
                self._budget.check_clock(int(self._uc.reg_read(self._pc_id)))
            self.map(address, size)
        except UndecidedError as error:
            # Raised inside a hook it would be lost.
            self._refused = error
            return False
        return True


def _flat_segment(base: int) -> bytes:
    """A descriptor of all 4 GiB from ``base``: present, writable data, 32-bit (SDM volume 3, section 3.4.5)."""
    return struct.pack("<HHBBBB", 0xFFFF, base & 0xFFFF, base >> 16 & 0xFF, 0x93, 0xCF, base >> 24)


def _reporter(reports: list[tuple[int, int, int]]) -> Callable[[Any, int, int, int, int, Any], None]:
    """The hook that appends (address, size, 1 for a write) to ``reports``. It runs for every access, so it looks
    nothing up."""
    append, writes = reports.append, unicorn.UC_MEM_WRITE

    def report(_uc: Any, access: int, address: int, size: int, _value: int, _user: Any) -> None:
        append((address, size, access == writes))

    return report


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Keeps Ctrl-C until the emulator has stopped: raised inside one of its hooks it would be lost, and with it
    the report of an access."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    kept: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: kept.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if kept:
            handler(*kept[0])
