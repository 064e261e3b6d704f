"""String instructions: lods, stos, movs, with or without ``rep``.

They are done here and not by the emulator: it would report each element, or none where the count is unknown.
The pointers move on and stay the same values.
"""

from __future__ import annotations

from l1dflush.errors import UndecidedError
from l1dflush.trace.bindings import bind_hint
from l1dflush.trace.budget import CLOCK_EVERY, Budget
from l1dflush.trace.decode import Instruction
from l1dflush.trace.effects import Role
from l1dflush.trace.model import Event, Kind
from l1dflush.trace.state import Access, State, lost_value
from l1dflush.trace.values import Unknown


def element_count(state: State, insn: Instruction) -> int:
    """How often the instruction repeats. Raises UndecidedError if that is unknown, or which way it goes."""
    if state.direction_lost:
        raise UndecidedError("direction-unknown", f"which way `{insn.text}` goes", where=f"{insn.address:#x}")
    if not insn.repeat:
        return 1
    unknown = state.registers["rcx"]
    if unknown is not None:
        raise UndecidedError(
            "loop-count-unknown",
            f"how often `{insn.text}` repeats depends on {' and '.join(unknown.sources)}",
            where=f"{insn.address:#x}",
            hint=bind_hint(unknown.sources),
        )
    return state.machine.read("rcx")


def run_string(state: State, insn: Instruction, count: int, budget: Budget) -> None:
    """Does ``count`` elements: their events, the memory, the accumulator, the pointers and the count."""
    if count:
        _elements(state, insn, state.accesses(insn), count, budget)
    if insn.repeat:
        state.machine.write("rcx", 0)


def _elements(state: State, insn: Instruction, accesses: list[Access], count: int, budget: Budget) -> None:
    step = accesses[0].size * state.machine.direction()
    kinds = {access.operand: Kind.STORE if access.role is Role.WRITE else Kind.LOAD for access in accesses}
    # A load comes before the store of the same element.
    ordered = sorted(accesses, key=lambda access: access.role is Role.WRITE)
    for index in range(count):
        if index % CLOCK_EVERY == 0:
            budget.check_clock(insn.address)
        for access in ordered:
            place = access.offset + index * step
            state.events.append(
                Event(kinds[access.operand], insn.address, insn.mnemonic, access.arena, place, access.size)
            )
    last = (count - 1) * step
    for access in accesses:
        arena, offset = state.memory.resolve(access.address + last, access.origin)
        if arena != access.arena or offset != access.offset + last:
            raise UndecidedError(
                "address-out-of-reach", f"`{insn.text}` runs out of {access.arena.name}", where=f"{insn.address:#x}"
            )
    loads = next((access for access in accesses if access.role is Role.READ), None)
    stores = next((access for access in accesses if access.role is Role.WRITE), None)
    if stores is None and loads is not None:
        at = loads.address + last
        value = state.memory.load(at, loads.size, loads.arena, loads.offset + last, loads.origin)
        content = int.from_bytes(state.machine.peek(at, loads.size), "little")
        _load_accumulator(state, insn, value, content, loads.size)
    if stores is not None:
        _store(state, stores, min(stores.address, stores.address + last), count, copies=loads is not None)
    for register, moves in (("rsi", loads is not None), ("rdi", stores is not None)):
        if moves:
            moved = state.machine.read(register) + count * step
            state.machine.write(register, moved & ((1 << state.bits) - 1))


def _store(state: State, access: Access, low: int, count: int, *, copies: bool) -> None:
    """What stos or movs leaves in memory: known bytes, or bytes that nobody follows."""
    if copies or state.registers["rax"] is not None:
        state.memory.forget(low, count * access.size)
        return
    unit = state.machine.read("rax").to_bytes(8, "little")[: access.size]
    state.machine.poke(low, unit * count)
    state.memory.store(low, count * access.size, None)


def _load_accumulator(state: State, insn: Instruction, value: Unknown | None, content: int, size: int) -> None:
    before = state.registers["rax"]
    if value is not None and value.lost:
        raise lost_value(insn)
    if value is None and (before is None or size >= 4):
        keep = state.machine.read("rax") & ~((1 << 8 * size) - 1) if size < 4 else 0
        state.registers["rax"] = None
        state.machine.write("rax", keep | content)
    elif value is not None and size == state.width:
        state.registers["rax"] = value
        state.machine.write("rax", content)
    else:
        key = ("accumulator", value.uid if value else content, state.content("rax") if size < 4 else None, size)
        state.set_unknown("rax", state.fresh(key, [value, before if size < 4 else None]))
