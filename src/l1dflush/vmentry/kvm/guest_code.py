# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's code: an assembly file, assembled and linked to where guests are loaded, or the demonstration's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from l1dflush.errors import InputError
from l1dflush.vmentry.kvm.vm import CODE, LARGEST_MEMORY

DEMO_EXITS = 200
DEMO_EVERY = 50
SECRET_PORT, DOORBELL_PORT = 0x10, 0x11

_MOST_TEXT = 4 << 20


@dataclass(frozen=True, slots=True)
class GuestCode:
    """``pieces``: address and bytes; ``end``: the first address behind them and what they want zeroed."""

    name: str
    pieces: tuple[tuple[int, bytes], ...]
    entry: int
    end: int
    long_mode: bool = False

    @property
    def size(self) -> int:
        """From where guests are loaded, in bytes."""
        return self.end - CODE


def demo() -> GuestCode:
    """200 times ``out``, every 50th to the port whose emulation reads a secret, the others to a doorbell; then ``hlt``.

    In real mode, and as bytes: it needs no assembler.
    """
    code = bytes((
        0xB9, *DEMO_EXITS.to_bytes(2, "little"),     # mov cx, 200
        0x31, 0xDB,                                  # xor bx, bx
        0x43,                                        # next: inc bx
        0x83, 0xFB, DEMO_EVERY,                      # cmp bx, 50
        0x74, 0x04,                                  # je secret
        0xE6, DOORBELL_PORT,                         # out 0x11, al
        0xEB, 0x04,                                  # jmp done
        0xE6, SECRET_PORT,                           # secret: out 0x10, al
        0x31, 0xDB,                                  # xor bx, bx
        0xE2, 0xF0,                                  # done: loop next
        0xF4,                                        # hlt
    ))  # fmt: skip
    return GuestCode("demo", ((CODE, code),), CODE, CODE + len(code))


def from_assembly(source: str, text: str, *, long_mode: bool) -> GuestCode:
    """What GNU as and ld make of ``text``, for real or long mode; ``source`` names it in messages.

    It begins at ``_start`` if it defines that, else with its first instruction. Raises InputError.
    """
    from l1dflush.routine.assembly.source import assembled
    from l1dflush.routine.elf.object_file import load_image
    from l1dflush.routine.elf.reader import read_elf
    from l1dflush.routine.options import LoadOptions
    from l1dflush.routine.toolchain import link

    bits: Literal[32, 64] = 64 if long_mode else 32
    data, _ = assembled(source, text, LoadOptions(), bits, real_mode=not long_mode)
    linked = link(data, where=source, bits=bits, address=CODE)
    if not read_elf(linked, where=source).segments:
        raise InputError("there is no code in it", where=source)
    image = load_image(linked, where=source)
    pieces = [(section.address, section.data) for section in image.sections if section.size]
    lowest, end = pieces[0][0], max(section.address + section.size for section in image.sections)
    if lowest < CODE or end > LARGEST_MEMORY:
        hint = f"between {CODE:#x} and {LARGEST_MEMORY:#x}"
        raise InputError(f"it has parts at {lowest:#x} … {end:#x}", where=source, hint=hint)
    start = image.symbols.get("_start")
    entry = start.address if start is not None and start.defined else CODE
    if not any(address <= entry < address + len(data) for address, data in pieces):
        raise InputError(f"there is no code at {entry:#x}, where it starts", where=source, hint="put it into .text")
    return GuestCode(source, tuple(pieces), entry, end, long_mode)
