# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about the state of a processor: control, debug and segment registers, flags that are not results, VMX.

What nobody changes is the same each time that it is asked for: two branches on one bit of CR4 are one decision. A call
of outside code may have changed all of it. (SDM volume 3, chapters 2 and 31; volume 2, the instructions' pages.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from l1dflush.assumption import Assumes
from l1dflush.tracing.decode import SEGMENTS, Instruction, Memory, Register
from l1dflush.tracing.effects import MOV_FROM_SYSTEM, MOV_TO_CONTROL, MOV_TO_SEGMENT, MOV_TO_SYSTEM, Effect, Form
from l1dflush.tracing.msrs import CONFIGURING, FS_BASE, GS_BASE, KERNEL_GS_BASE, SHOWN_BY_CPUID, TSC_AUX
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import Part
from l1dflush.tracing.undefined import ALL_FLAGS, Origin

Addresses = Mapping[int, Operand]
STATE = range(0x100, 0x600)
"""Where P-code keeps it: segments, flags, control and debug registers."""
BASES_OF_SEGMENTS = range(0x110, 0x120)
"""What of it is not a processor's but a thread's or a CPU's own, and stays over calls."""
_KEPT = frozenset({"cr0", "cr2", "cr3", "cr4", "cr8", *(f"dr{n}" for n in (0, 1, 2, 3, 6, 7)), *SEGMENTS})
# Of the others some bits are fixed, so that what is read is not what was written.
_KEPT_AS_WRITTEN = frozenset({"cr2", "dr0", "dr1", "dr2", "dr3", "ds", "es", "ss"})
_TASK_SWITCHED = 1 << 3
_PRIVILEGE = 3
# Of kernels; elsewhere the first two fault, or change another flag.
_SET_FLAGS = {"cli": ("IF", 0), "sti": ("IF", 1), "clac": ("AC", 0), "stac": ("AC", 1)}
KERNEL_GS = "kernel_gs"
# No processor has it, neither as an MSR nor as a leaf of cpuid.
_NO_MSR = 0xFFFF_FFFF
# By what a decision on it is made of: what is granted of state that changes by itself or for other reasons.
STAYS = {
    "cpuid result": Assumes.CPUID_STAYS,
    "cr2": Assumes.CR2_STAYS,
    "dr6": Assumes.DR6_STAYS,
    "rdmsr result": Assumes.MSRS_STAY,
    "tsc_aux": Assumes.TSC_AUX_STAYS,
}
# They fault unless the current privilege level is 0 (SDM volume 3, section 5.9; volume 2, their pages), but for those
# whose operands say so.
_PRIVILEGED = frozenset({
    "clts", "invd", "invlpg", "invpcid", "lgdt", "lidt", "lldt", "lmsw", "ltr", "rdmsr", "stac", "clac", "swapgs",
    "wbinvd", "wbnoinvd", "wrmsr", "xsetbv", "xsaves", "xsaves64", "xrstors", "xrstors64", "vmread", "vmwrite",
    "vmptrld", "vmptrst", "vmclear", "vmxon", "invept", "invvpid", "vmload", "vmsave", "clgi", "stgi",
})  # fmt: skip
IDENTITY = "identity"
_MSRS, _TSC_AUX = "msrs", "tsc_aux"
RAISED, X87, X87_REGISTERS = "raised exceptions", "x87 status", "x87 registers"
_HALF = 0xFFFF_FFFF
_EFER = 0xC000_0080
ADDRESS_BITS = 57
"""A linear address has at most so many, and above them the highest one's copies (SDM volume 3, section 4.5)."""
# MSRs of addresses, which fault unless these are canonical (SDM volume 2, WRMSR; APM volume 3, SYSCALL, of the third).
# Those of fs and gs are registers here.
_OF_ADDRESSES = ((0x175, 0x176), (0x600, 0x600), (0xC000_0082, 0xC000_0083))
# Bits that are 1 where this code runs, and those that may be, by mode: protected mode, and in 64-bit mode paging with
# long entries; what is reserved (SDM volume 3, sections 2.5, 4.1.1, 4.5, 17.2.3 and 17.2.4). Bit 4 of CR0 is hardwired;
# in CR3 are 52 bits of an address at most, and two of linear-address masking.
_FIXED: dict[tuple[str, int], tuple[int, int]] = {
    ("cr0", 32): (1 << 4 | 1, _HALF),
    ("cr0", 64): (1 << 31 | 1 << 4 | 1, _HALF),
    ("cr3", 64): (0, (1 << 52) - 1 | 3 << 61),
    ("cr4", 64): (1 << 5, -1),
    ("cr8", 64): (0, 0xF),
    **{("dr6", bits): (0, _HALF & ~(1 << 12)) for bits in (32, 64)},
    **{("dr7", bits): (1 << 10, _HALF & ~(1 << 12 | 3 << 14)) for bits in (32, 64)},
}
# What loads and stores the registers that lead to tables of the system.
TABLES = {"sgdt": "gdtr", "sidt": "idtr", "sldt": "ldtr", "str": "tr"}


def is_privileged(insn: Instruction) -> bool:
    """Whether it faults unless the current privilege level is 0."""
    registers = [one.full for one in insn.operands if isinstance(one, Register)]
    return insn.mnemonic in _PRIVILEGED or any(name.startswith(("cr", "dr")) for name in registers)


def be_privileged(o: Operands) -> None:
    """The current privilege level, which CS has, is 0."""
    o.emit(Do.BIT_AND, o.whole("CS"), o.whole("CS"), Number(~_PRIVILEGE, 2))


def _read_system(o: Operands, addresses: Addresses) -> None:
    """mov from a control, a debug or a segment register"""
    to, register = o.insn.operands
    assert isinstance(register, Register) and isinstance(to, Register | Memory)
    if register.full not in _KEPT:
        o.forget_operand(0, addresses.get(0), Origin.COMPUTED)
        return
    value: Operand = _system(o, register.full)
    assert value is not None
    if value.size < to.size:
        # A selector: what is above it is cleared (since the Pentium Pro).
        value = o.made(Do.WIDEN, to.size, value)
    o.write(0, value._replace(size=to.size) if not isinstance(value, Number) else value, addresses.get(0))


def _write_system(o: Operands, _: Addresses) -> None:
    """mov to one of them, but for fs and gs"""
    register, source = o.insn.operands
    assert isinstance(register, Register)
    part = o.whole(register.full.upper())
    if register.full in _KEPT_AS_WRITTEN and isinstance(source, Register):
        o.emit(Do.COPY, part, o.part(source)._replace(size=part.size))
    else:
        o.forget(part, Origin.COMPUTED)


def _system(o: Operands, name: str) -> Part:
    """What a register of the system holds, with the bits that are fixed."""
    register = o.whole(name.upper())
    if (name, o.bits) not in _FIXED:
        return register
    ones, all_of_it = _FIXED[name, o.bits]
    if all_of_it != -1:
        register = o.made(Do.BIT_AND, register.size, register, Number(all_of_it, register.size))
    return o.made(Do.BIT_OR, register.size, register, Number(ones, register.size)) if ones else register


def _machine_status(o: Operands, addresses: Addresses) -> None:
    """smsw: the lowest half of CR0, and in a register nobody knows what above it."""
    to = o.insn.operands[0]
    assert isinstance(to, Register | Memory)
    value = _system(o, "cr0")._replace(size=2)
    if to.size > 2:
        above = o.unknown(to.size - 2, Origin.NO_POINTER)
        value = o.made(Do.JOIN, to.size, above, value)
    o.write(0, value, addresses.get(0))


def _clear_task_switched(o: Operands, _: Addresses) -> None:
    """clts"""
    register = o.whole("CR0")
    o.emit(Do.BIT_AND, register, register, Number(~_TASK_SWITCHED, register.size))


def _set_flag(o: Operands, _: Addresses) -> None:
    """cli, sti, clac, stac"""
    name, value = _SET_FLAGS[o.insn.mnemonic]
    o.set_flag(name, Number(value, 1))


def within(o: Operands, number: Operand, ranges: Iterable[tuple[int, int]]) -> Part:
    """Whether a number is known to be in one of these ranges."""
    known = o.made(Do.IF_KNOWN, 4, number, Number(_NO_MSR, 4))
    found = o.made(Do.COPY, 1, Number(0, 1))
    for first, last in ranges:
        distance = o.made(Do.SUBTRACT, 4, known, Number(first, 4))
        found = o.made(Do.BIT_OR, 1, found, o.made(Do.BELOW_OR_EQUAL, 1, distance, Number(last - first, 4)))
    return found


def _checksum(o: Operands, addresses: Addresses) -> None:
    """crc32: 32 bits that nobody knows."""
    destination = o.insn.operands[0]
    assert isinstance(destination, Register)
    before = o.register(destination.full)._replace(size=4)
    o.set_register(destination.full, o.result("crc32", 4, before, o.read(1, addresses.get(1)), origin=Origin.COMPUTED))


# --- what a name of ours stands for


def kept_as(o: Operands, name: str, size: int, origin: Origin = Origin.NO_POINTER) -> Part:
    """Something of at most 8 bytes that stays until what is kept by this name is another."""
    return o.result("kept", size, o.stands_for(name, [o.kept(name)]), origin=origin)


def goes_on(o: Operands, name: str) -> None:
    """What is kept by this name may be another from now on. It is counted up, which needs no further unknown value."""
    part = o.kept(name)
    o.emit(Do.ADD, part, part, Number(1, part.size))


def _read_extended(o: Operands, _: Addresses) -> None:
    """xgetbv: of the others than XCR0 there is one that changes by itself."""
    asked = o.made(Do.IF_KNOWN, 4, o.register("rcx")._replace(size=4), Number(1, 4))
    first = o.made(Do.EQUAL, 1, asked, Number(0, 4))
    for name in ("rax", "rdx"):
        stays = o.result("kept", 4, o.stands_for(f"xgetbv {name}", [o.kept("xcr0")]), origin=Origin.NO_POINTER)
        if name == "rax":
            # The lowest bit of XCR0 is 1 (SDM volume 1, section 13.3).
            stays = o.made(Do.BIT_OR, 4, stays, Number(1, 4))
        o.set_register(name, o.made(Do.CHOOSE, 4, first, stays, o.unknown(4, Origin.NO_POINTER)))


def _write_extended(o: Operands, _: Addresses) -> None:
    """xsetbv"""
    o.forget(o.kept("xcr0"), Origin.NO_POINTER)


def _read_keys(o: Operands, _: Addresses) -> None:
    """rdpkru"""
    o.set_register("rax", o.kept("pkru")._replace(size=4))
    o.set_register("rdx", Number(0, 4))


def _write_keys(o: Operands, _: Addresses) -> None:
    """wrpkru"""
    o.emit(Do.COPY, o.kept("pkru")._replace(size=4), o.register("rax")._replace(size=4))


def _number_of_cpu(o: Operands, addresses: Addresses) -> None:
    """rdtscp, rdpid: what IA32_TSC_AUX holds; its upper half is reserved."""
    number = o.kept(_TSC_AUX)._replace(size=4)
    if o.insn.mnemonic == "rdpid":
        to = o.insn.operands[0]
        assert isinstance(to, Register)
        o.write(0, o.made(Do.WIDEN, to.size, number) if to.size > 4 else number)
        return
    for name in ("rax", "rdx"):
        o.set_register(name, o.unknown(4, Origin.NO_POINTER))
    o.set_register("rcx", number)


def _count(o: Operands, _: Addresses) -> None:
    """rdtsc, rdpmc: two halves, and nothing above them (SDM volume 2, their pages)."""
    for name in ("rax", "rdx"):
        o.set_register(name, o.unknown(4, Origin.NO_POINTER))


def _random(o: Operands, _: Addresses) -> None:
    """rdrand, rdseed: the carry flag says whether there is a number; else it is 0, as the other flags are always."""
    to = o.insn.operands[0]
    assert isinstance(to, Register)
    there = o.made(Do.BIT_AND, 1, o.unknown(1, Origin.NO_POINTER), Number(1, 1))
    number = o.unknown(to.size, Origin.NO_POINTER)
    o.write(0, o.made(Do.CHOOSE, to.size, there, number, Number(0, to.size)))
    o.set_flag("CF", there)
    for name in sorted(ALL_FLAGS - {"CF"}):
        o.set_flag(name, Number(0, 1))


# --- fs and gs


def _base_of_segment(o: Operands, addresses: Addresses) -> None:
    """rdfsbase, rdgsbase, wrfsbase, wrgsbase; of 32 bits the upper half is cleared."""
    base = o.whole(f"{o.insn.mnemonic[2:4].upper()}_OFFSET")
    operand = o.insn.operands[0]
    assert isinstance(operand, Register)
    if o.insn.mnemonic.startswith("rd"):
        o.write(0, base._replace(size=operand.size))
    else:
        o.emit(Do.COPY, base, o.extended(o.part(operand)))


def _swap_bases(o: Operands, _: Addresses) -> None:
    """swapgs"""
    base, other = o.whole("GS_OFFSET"), o.kept(KERNEL_GS)
    before = o.made(Do.COPY, base.size, base)
    o.emit(Do.COPY, base, other)
    o.emit(Do.COPY, other, before)


def _load_selector(o: Operands, _: Addresses) -> None:
    """mov to fs and gs: memory relative to them is elsewhere from now on."""
    register = o.insn.operands[0]
    assert isinstance(register, Register)
    o.forget(o.whole(f"{register.full.upper()}_OFFSET"), Origin.POINTER)
    o.forget(o.whole(register.full.upper()), Origin.NO_POINTER)


def canonical(o: Operands, value: Operand, bits: int = ADDRESS_BITS) -> Part:
    """A value that has nothing but copies of the highest one above its lowest ``bits`` bits."""
    assert value is not None
    above = Number(8 * value.size - bits, 1)
    shifted = o.made(Do.SHIFT_LEFT, value.size, value, above)
    return o.made(Do.SHIFT_RIGHT_SIGNED, value.size, shifted, above)


def _read_msr(o: Operands, _: Addresses) -> None:
    """rdmsr: one that configures something is the same until it is written."""
    number = o.made(Do.IF_KNOWN, 4, o.register("rcx")._replace(size=4), Number(_NO_MSR, 4))
    stays = within(o, number, CONFIGURING)
    version = o.load(o.made(Do.ADD, o.width, o.kept(_MSRS), o.extended(number)), 1)
    for name in ("rax", "rdx"):
        value = o.result(f"rdmsr {name}", 4, number, version, origin=Origin.POINTER)
        value = o.made(Do.CHOOSE, 4, stays, value, o.unknown(4, Origin.POINTER))
        if o.bits == 64:
            is_efer = o.made(Do.EQUAL, 1, number, Number(_EFER, 4))
            value = o.made(Do.CHOOSE, 4, is_efer, _in_efer(o, name, value), value)
            if name == "rdx":
                upper = canonical(o, value, ADDRESS_BITS - 32)
                value = o.made(Do.CHOOSE, 4, within(o, number, _OF_ADDRESSES), upper, value)
        for msr, base in _followed(o):
            half = base._replace(start=4 if name == "rdx" else 0, size=4)
            value = o.made(Do.CHOOSE, 4, o.made(Do.EQUAL, 1, number, Number(msr, 4)), half, value)
        if name == "rax":
            followed = o.made(Do.EQUAL, 1, number, Number(TSC_AUX, 4))
            value = o.made(Do.CHOOSE, 4, followed, o.kept(_TSC_AUX)._replace(size=4), value)
        o.set_register(name, value)


def _in_efer(o: Operands, name: str, value: Part) -> Operand:
    """IA32_EFER in 64-bit mode: long mode is enabled and active; most other bits are reserved (SDM volume 4, table 2-2;
    AMD volume 2, section 3.1.7)."""
    if name == "rdx":
        return Number(0, 4)
    return o.made(Do.BIT_OR, 4, o.made(Do.BIT_AND, 4, value, Number(0x37_FD01, 4)), Number(0x500, 4))


def _followed(o: Operands) -> tuple[tuple[int, Part], ...]:
    """The MSRs that are registers here, too: the bases of segments in 64-bit mode."""
    if o.bits != 64:
        return ()
    return (FS_BASE, o.whole("FS_OFFSET")), (GS_BASE, o.whole("GS_OFFSET")), (KERNEL_GS_BASE, o.kept(KERNEL_GS))


def _write_msr(o: Operands, _: Addresses) -> None:
    """wrmsr may change what cpuid answers, and move fs and gs in 64-bit mode (SDM volume 4)."""
    number, low, high = (o.register(name)._replace(size=4) for name in ("rcx", "rax", "rdx"))
    # Some bits are fixed, or read as 0: what is read is not what was written.
    o.store(o.made(Do.ADD, o.width, o.kept(_MSRS), o.extended(number)), o.unknown(1, Origin.NO_POINTER))
    aux = o.kept(_TSC_AUX)._replace(size=4)
    o.emit(Do.CHOOSE, aux, o.made(Do.EQUAL, 1, number, Number(TSC_AUX, 4)), low, aux)
    identity = o.kept(IDENTITY)
    for msr in SHOWN_BY_CPUID:
        other = o.unknown(identity.size, Origin.NO_POINTER)
        o.emit(Do.CHOOSE, identity, o.made(Do.EQUAL, 1, number, Number(msr, 4)), other, identity)
    if o.bits != 64:
        return
    value = o.made(Do.JOIN, 8, high, low)
    for msr, base in _followed(o):
        o.emit(Do.CHOOSE, base, o.made(Do.EQUAL, 1, number, Number(msr, 4)), value, base)


# --- VMX and SVM


def _succeed(o: Operands, addresses: Addresses) -> None:
    """VMX instructions: VMsucceed clears the flags (SDM volume 3, section 31.2)."""
    controls = o.kept("vmcs")
    if o.insn.mnemonic == "vmread":
        to = o.insn.operands[0]
        assert isinstance(to, Memory | Register)
        o.write(0, o.result("vmread", to.size, o.read(1), controls, origin=Origin.POINTER), addresses.get(0))
    elif not o.insn.mnemonic.startswith("inv"):
        # Another VMCS is the current one, or another field may be another, too.
        o.forget(controls, Origin.NO_POINTER)
    if o.insn.mnemonic == "vmwrite":
        # It comes to lie in memory of the CPU's own, from where vmread may have it.
        o.store(o.kept("elsewhere"), o.read(1, addresses.get(1)))
    elif o.insn.mnemonic == "vmptrst":
        o.forget_operand(0, addresses.get(0), Origin.POINTER)
    for name in sorted(ALL_FLAGS):
        o.set_flag(name, Number(0, 1))


def _opaque(o: Operands, _: Addresses) -> None:
    """vmload, vmsave: a page that nobody can name is read or written; vmload sets fs and gs (APM volume 2, 15.5.2)."""
    if o.insn.mnemonic == "vmload":
        for base in (o.whole("FS_OFFSET"), o.whole("GS_OFFSET"), o.kept(KERNEL_GS)):
            o.forget(base, Origin.POINTER)
    o.store(o.unknown(o.width, Origin.POINTER), o.unknown(o.width, Origin.POINTER))


BY_MNEMONIC: dict[str, Callable[[Operands, Addresses], None]] = {
    "crc32": _checksum,
    "smsw": _machine_status,
    "clts": _clear_task_switched,
    "swapgs": _swap_bases,
    "wrmsr": _write_msr,
    "rdmsr": _read_msr,
    "xgetbv": _read_extended,
    "xsetbv": _write_extended,
    "rdpkru": _read_keys,
    "wrpkru": _write_keys,
    **dict.fromkeys(("rdtsc", "rdpmc"), _count),
    **dict.fromkeys(("rdrand", "rdseed"), _random),
    **dict.fromkeys(("rdtscp", "rdpid"), _number_of_cpu),
    **dict.fromkeys(("rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase"), _base_of_segment),
    **dict.fromkeys(_SET_FLAGS, _set_flag),
}
BY_FORM: dict[Form, Callable[[Operands, Addresses], None]] = {Form.SUCCEEDS: _succeed, Form.OPAQUE: _opaque}
MOVES: dict[Effect, Callable[[Operands, Addresses], None]] = {
    MOV_FROM_SYSTEM: _read_system,
    MOV_TO_SYSTEM: _write_system,
    MOV_TO_CONTROL: _write_system,
    MOV_TO_SEGMENT: _load_selector,
}
WILD = frozenset({KERNEL_GS})
APART = frozenset({_MSRS})
"""What is kept by a name of ours and may be a pointer to anything; and to where nothing else leads."""
CHANGED_BY_CALLS = frozenset(
    {
        "vmcs",
        "xcr0",
        "pkru",
        _TSC_AUX,
        RAISED,
        X87,
        X87_REGISTERS,
        *TABLES.values(),
        "gdtr address",
        "idtr address",
        "ldtr address",
    }
)
"""What is kept by a name of ours that outside code may change."""
