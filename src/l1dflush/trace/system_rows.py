"""Rows about the state of a processor: control, debug and segment registers, flags that are no results, CPUID, VMX.

What nobody changes is the same each time that it is asked for: two branches on one bit of CR4 are one decision. A call
of outside code may have changed all of it. (SDM volume 3, chapters 2 and 31; volume 2, the instructions' pages.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.trace.decode import SEGMENTS, Memory, Register
from l1dflush.trace.effects import MOV_FROM_SYSTEM, MOV_TO_CONTROL, MOV_TO_SEGMENT, MOV_TO_SYSTEM, Effect, Form
from l1dflush.trace.msrs import FS_BASE, GS_BASE, KERNEL_GS_BASE, SHOWN_BY_CPUID
from l1dflush.trace.operands import Operands
from l1dflush.trace.operations import Do, Number, Operand
from l1dflush.trace.undefined import ALL_FLAGS, Origin

Addresses = Mapping[int, Operand]
STATE = range(0x100, 0x600)
"""Where P-code keeps it: segments, flags, control and debug registers."""
BASES_OF_SEGMENTS = range(0x110, 0x120)
"""What of it is not a processor's but a thread's or a CPU's own, and stays over calls."""
# The others change by themselves (cr2 and dr6 by exceptions), or are not followed.
_KEPT = frozenset({"cr0", "cr3", "cr4", "cr8", "dr0", "dr1", "dr2", "dr3", "dr7", *SEGMENTS})
# Of the others some bits are fixed, so that what is read is not what was written.
_KEPT_AS_WRITTEN = frozenset({"dr0", "dr1", "dr2", "dr3", "ds", "es", "ss"})
_TASK_SWITCHED = 1 << 3
# Of kernels; elsewhere the first two fault, or change another flag.
_SET_FLAGS = {"cli": ("IF", 0), "sti": ("IF", 1), "clac": ("AC", 0), "stac": ("AC", 1)}
SETS_INTERRUPTS = "cli, sti and popf change the interrupt flag, as they do in a kernel"
KERNEL_GS = "kernel_gs"
CPUID_STAYS = "cpuid answers the same each time"
_IDENTITY = "identity"


def _read_system(o: Operands, addresses: Addresses) -> None:
    """mov from a control, a debug or a segment register"""
    to, register = o.insn.operands
    assert isinstance(register, Register) and isinstance(to, Register | Memory)
    if register.full not in _KEPT:
        o.forget_operand(0, addresses.get(0), Origin.COMPUTED)
        return
    value: Operand = o.whole(register.full.upper())
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


def _machine_status(o: Operands, addresses: Addresses) -> None:
    """smsw: the lowest half of CR0, and in a register nobody knows what above it."""
    to = o.insn.operands[0]
    assert isinstance(to, Register | Memory)
    value = o.whole("CR0")._replace(size=2)
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


def _identify(o: Operands, _: Addresses) -> None:
    """cpuid"""
    asked = [o.register(name)._replace(size=4) for name in ("rax", "rcx")]
    names = ("rax", "rbx", "rcx", "rdx")
    given = o.kept(_IDENTITY)
    found = [o.result(f"cpuid {name}", 4, *asked, given, origin=Origin.NO_POINTER) for name in names]
    for name, value in zip(names, found, strict=True):
        o.set_register(name, value)


def _checksum(o: Operands, addresses: Addresses) -> None:
    """crc32: 32 bits that nobody knows."""
    destination = o.insn.operands[0]
    assert isinstance(destination, Register)
    before = o.register(destination.full)._replace(size=4)
    o.set_register(destination.full, o.result("crc32", 4, before, o.read(1, addresses.get(1)), origin=Origin.COMPUTED))


def _compare(o: Operands, addresses: Addresses) -> None:
    """ucomiss and the like: of the two numbers and of MXCSR, which may have denormal ones taken for 0."""
    size = 4 if o.insn.mnemonic.endswith("ss") else 8
    numbers = [o.lowest(index, addresses.get(index))._replace(size=size) for index in (0, 1)]
    for name in ("CF", "PF", "ZF"):
        bit = o.result(name, 1, *numbers, o.whole("MXCSR"), origin=Origin.NO_POINTER)
        o.emit(Do.BIT_AND, o.flag(name), bit, Number(1, 1))
    for name in ("OF", "SF"):
        o.set_flag(name, Number(0, 1))


def _load_control(o: Operands, addresses: Addresses) -> None:
    """ldmxcsr"""
    o.emit(Do.COPY, o.whole("MXCSR"), o.read(0, addresses.get(0)))


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


def _write_msr(o: Operands, _: Addresses) -> None:
    """wrmsr may change what cpuid answers, and move fs and gs in 64-bit mode (SDM volume 4)."""
    number, low, high = (o.register(name)._replace(size=4) for name in ("rcx", "rax", "rdx"))
    identity = o.kept(_IDENTITY)
    for msr in SHOWN_BY_CPUID:
        other = o.unknown(identity.size, Origin.NO_POINTER)
        o.emit(Do.CHOOSE, identity, o.made(Do.EQUAL, 1, number, Number(msr, 4)), other, identity)
    if o.bits != 64:
        return
    value = o.made(Do.JOIN, 8, high, low)
    bases = ((FS_BASE, o.whole("FS_OFFSET")), (GS_BASE, o.whole("GS_OFFSET")), (KERNEL_GS_BASE, o.kept(KERNEL_GS)))
    for msr, base in bases:
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
    "cpuid": _identify,
    "crc32": _checksum,
    "smsw": _machine_status,
    "clts": _clear_task_switched,
    "ldmxcsr": _load_control,
    **dict.fromkeys((f"{v}{u}comis{kind}" for v in ("", "v") for u in ("", "u") for kind in "sd"), _compare),
    "swapgs": _swap_bases,
    "wrmsr": _write_msr,
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
CHANGED_BY_CALLS = frozenset({"vmcs"})
"""What is kept by a name of ours that outside code may change."""
