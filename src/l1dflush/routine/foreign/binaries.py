# SPDX-License-Identifier: GPL-2.0-or-later
"""Binary files that are known and are not ELF: by what they begin with."""

from __future__ import annotations

import struct

from l1dflush.routine.foreign.signature import Foreign

_ELF = "build it as an ELF object and give that: gcc -c, or clang --target=x86_64-linux-gnu -c"
_BITCODE = Foreign("LLVM bitcode", "compile it and give the object: llc -filetype=obj -relocation-model=pic FILE.bc")
_MAGIC: dict[bytes, Foreign] = {
    b"BC\xc0\xde": _BITCODE,
    # With a wrapper: 0x0B17C0DE, little-endian.
    b"\xde\xc0\x17\x0b": _BITCODE,
    b"!<arch>\n": Foreign("an archive of object files", "unpack it with 'ar x' and give the object with the flush"),
    b"!<thin>\n": Foreign("a list of object files (a thin archive)", "give the object with the flush"),
    b"\0asm": Foreign("WebAssembly", "give the ELF object that its code becomes on the processor"),
}

# Machine numbers of PE and COFF (Microsoft's PE format, "Machine types").
_COFF_MACHINES = {
    0x014C: "32-bit x86",
    0x8664: "x86-64",
    0x01C0: "32-bit Arm",
    0x01C2: "32-bit Arm",
    0x01C4: "32-bit Arm",
    0xAA64: "AArch64",
    0xA641: "AArch64",
    0x01F0: "PowerPC",
    0x01F1: "PowerPC",
    0x5032: "RISC-V",
    0x5064: "RISC-V",
    0x0200: "Itanium",
    0x0EBC: "EFI byte code",
}
_COFF_HEADER, _COFF_SECTION, _COFF_SYMBOL = 20, 40, 18
# Processors of Mach-O (Apple's mach/machine.h); 0x0100_0000 is the 64-bit kind.
_MACH_O_PROCESSORS = {
    7: "32-bit x86",
    0x0100_0007: "x86-64",
    12: "32-bit Arm",
    0x0100_000C: "AArch64",
    0x0200_000C: "AArch64",
    18: "PowerPC",
    0x0100_0012: "PowerPC",
}
# A fat file with more would be a Java class, which begins alike and goes on with its version, at least 45.
_MOST_PARTS = 44


def recognise(data: bytes) -> Foreign | None:
    """What ``data`` is, ``None`` if that is not known."""
    for magic, found in _MAGIC.items():
        if data.startswith(magic):
            return found
    return _program(data) or _coff(data) or _mach_o(data)


def _program(data: bytes) -> Foreign | None:
    """A program for Windows, DOS or EFI."""
    if not data.startswith(b"MZ") or len(data) < 0x40:
        return None
    if data[0x202:0x206] == b"HdrS":
        hint = "unpack it with scripts/extract-vmlinux of Linux and give what comes out"
        return Foreign("a packed Linux kernel (bzImage)", hint)
    (start,) = struct.unpack_from("<I", data, 0x3C)
    if data[start : start + 4] != b"PE\0\0" or len(data) < start + 6:
        return Foreign("a program for DOS or Windows", _ELF)
    (machine,) = struct.unpack_from("<H", data, start + 4)
    return Foreign(f"a PE image for {_coff_machine(machine)} (Windows or EFI)", _ELF)


def _coff(data: bytes) -> Foreign | None:
    """An object file for Windows."""
    if len(data) < _COFF_HEADER:
        return None
    if data.startswith(b"\0\0\xff\xff"):
        # Version 0 is a member of an import library, 1 what a compiler made to be optimised at link time, 2 "big".
        version, machine = struct.unpack_from("<HH", data, 4)
        known = machine in _COFF_MACHINES and version <= 2
        return Foreign(f"a COFF object for {_coff_machine(machine)} (Windows)", _ELF) if known else None
    machine, sections, _, symbols, count, optional, _ = struct.unpack_from("<HHIIIHH", data)
    if machine not in _COFF_MACHINES or optional or not sections:
        return None
    tables = max(_COFF_HEADER + sections * _COFF_SECTION, symbols + count * _COFF_SYMBOL)
    if tables > len(data):
        return None
    return Foreign(f"a COFF object for {_coff_machine(machine)} (Windows)", _ELF)


def _coff_machine(number: int) -> str:
    return _COFF_MACHINES.get(number, f"machine {number:#x}")


def _mach_o(data: bytes) -> Foreign | None:
    """An object or program for macOS, for one processor or several."""
    for order in "<>":
        if len(data) >= 28 and struct.unpack_from(f"{order}I", data)[0] in (0xFEED_FACE, 0xFEED_FACF):
            (processor,) = struct.unpack_from(f"{order}I", data, 4)
            return Foreign(f"a Mach-O file for {_mach_o_processor(processor)} (macOS)", _ELF)
    if data[:4] in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        row = 20 if data[3] == 0xBE else 32
        (parts,) = struct.unpack_from(">I", data.ljust(8, b"\0"), 4)
        if 0 < parts <= _MOST_PARTS and len(data) >= 8 + parts * row:
            numbers = (struct.unpack_from(">I", data, 8 + part * row)[0] for part in range(parts))
            names = ", ".join(dict.fromkeys(map(_mach_o_processor, numbers)))
            return Foreign(f"a Mach-O file for several processors: {names} (macOS)", _ELF)
    return None


def _mach_o_processor(number: int) -> str:
    return _MACH_O_PROCESSORS.get(number, f"processor {number:#x}")
