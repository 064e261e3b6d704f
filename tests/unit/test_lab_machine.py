# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of the model machine: its memory, and the accesses of a routine."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine import built_in
from l1dflush.verdict.claimed import words_of
from l1dflush.verdict.options import VerifyOptions
from l1dflush.vmentry.lab.machine import Below, Hardware, Machine
from l1dflush.vmentry.lab.memory import BUFFER, HOST, NOBODY, OWN, PAGES, SECRET, Block, Memory
from l1dflush.vmentry.lab.routine_accesses import NO_ACCESSES, RoutineAccesses, routine_accesses
from l1dflush.vmentry.lab.scenario import FOLDER
from l1dflush.vmentry.subsystem import CpuFacts, Event, Mode, NoBufferError

L1D = Geometry(32768, 8, 64)

# --- memory


def test_pages_have_one_owner_each() -> None:
    memory = Memory(3)
    blocks = [memory.allocate(name, pages, owner) for name, pages, owner in
              (("a", 5, HOST), ("b", 1, SECRET), ("c", 16, BUFFER))]  # fmt: skip
    frames = np.concatenate([block.frames for block in blocks])
    assert len(set(frames.tolist())) == 22 and 0 not in frames
    for block in blocks:
        lines = (block.line_addresses(np.arange(block.lines)) // 64).astype(np.int64)
        assert set(memory.owners(lines).tolist()) == {block.owner}
        assert block.addresses(np.array([70])).tolist() == [int(block.frames[0]) * 4096 + 70]
    assert memory.owners(np.array([-1, 0])).tolist() == [NOBODY, NOBODY]


@pytest.mark.parametrize("pages", [0, -1, PAGES // 4 + 1, PAGES])
def test_memory_that_cannot_be_had(pages: int) -> None:
    with pytest.raises(InputError, match=f"{pages} pages for a .1 to {PAGES // 4} can be had"):
        Memory().allocate("a", pages, HOST)


def test_memory_comes_to_an_end_and_back() -> None:
    memory = Memory()
    blocks = [memory.allocate("a", PAGES // 4, HOST) for _ in range(3)]
    blocks.append(memory.allocate("a", PAGES // 4 - 1, HOST))
    with pytest.raises(InputError, match="1 pages for b"):
        memory.allocate("b", 1, HOST)
    memory.free(blocks[0])
    assert blocks[0].pages == 0
    assert memory.allocate("b", PAGES // 4, SECRET).pages == PAGES // 4


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_frames_are_never_lost_or_given_twice(seed: int) -> None:
    """Against a plain count of who has what, through allocations, merges and frees."""
    random = Random(seed)
    memory = Memory(seed)
    blocks: list[Block] = []
    for _ in range(30):
        what = random.choice(["allocate", "allocate", "merge", "free"])
        if what == "allocate":
            block = memory.allocate("a", random.randint(1, 40), random.choice([HOST, SECRET, BUFFER, OWN]))
            assert not {*block.frames.tolist()} & {frame for other in blocks for frame in other.frames.tolist()}
            block.content = [random.choice([None, 0, 1, 2]) for _ in range(block.pages)]
            blocks.append(block)
        elif blocks and what == "merge":
            block = random.choice(blocks)
            assert memory.merge(block) == len(set(block.content))
            alike = dict(zip(block.content, block.frames.tolist(), strict=True))
            assert [alike[content] for content in block.content] == block.frames.tolist()
            assert len(set(alike.values())) == len(alike)
        elif blocks:
            memory.free(blocks.pop(random.randrange(len(blocks))))
        owners = {int(frame): block.owner for block in blocks for frame in block.frames}
        assert {int(frame): int(memory.owner[frame]) for frame in np.flatnonzero(memory.owner)} == owners
    for block in blocks:
        memory.free(block)
    assert not memory.owner.any()
    memory.allocate("all", PAGES // 4, HOST)


# --- the accesses of a routine


def canonical(items: list[tuple[int, int]]) -> tuple[int, ...]:
    numbers: dict[tuple[int, int], int] = {}
    return tuple(numbers.setdefault(item, len(numbers)) for item in items)


def words(routine: RoutineAccesses) -> list[tuple[int, ...]]:
    """What each set sees, from the first to the last access of the buffer there, lines numbered as they come."""
    found = []
    accesses = list(zip(routine.place.tolist(), routine.line.tolist(), strict=True))
    for index in range(64):
        here = [(place, line) for place, line in accesses if line % 64 == index]
        buffer = [at for at, (place, _) in enumerate(here) if place < 0]
        found.append(canonical(here[buffer[0] : buffer[-1] + 1] if buffer else []))
    return found


@pytest.mark.parametrize("name", [*built_in.names(), str(FOLDER / "own-line.s")])
def test_each_set_sees_what_the_prover_proves(name: str) -> None:
    options = VerifyOptions(bind={"rdi": "buffer"} if name.endswith(".s") else {})
    routine = routine_accesses(name, options)
    (claimed,) = words_of(name, options, [L1D]).caches
    proved = {canonical([(0, line) for line, _ in word.items]): word.sets for word in claimed}
    assert {kind for word in claimed for _, kind in word.items} <= {"access", "prefetch"}
    ours = words(routine)
    assert set(ours) <= set(proved)
    # Where nothing but the buffer is touched in between, every set is accounted for.
    if not name.endswith(".s"):
        assert {word: ours.count(word) for word in ours} == proved
    pages = int(routine.line[routine.place < 0].max()) // 64 + 1
    assert routine.buffer_pages == pages


def test_an_own_line_keeps_its_name() -> None:
    routine = routine_accesses(str(FOLDER / "own-line.s"), VerifyOptions(bind={"rdi": "buffer"}))
    assert routine.own == ("stack",) and routine.own_lowest == (-4096,)
    machine = Machine(Hardware("tree-PLRU", L1D), routine)
    (address,) = machine.own_addresses("stack", -0x40).tolist()
    assert address // 64 % 64 == 63
    assert set((routine.line[routine.place == 0] % 64).tolist()) == {63}
    # It has a page from its lowest byte on, and there is no other memory.
    for name, at in (("stack", 0), ("stack", -0x1001), ("heap", -0x40), ("", -0x40)):
        assert not len(machine.own_addresses(name, at))


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        ("ret", UndecidedError, "no path reads a buffer"),
        ("clflush (%rdi)\n7: mov (%rdi,%rax), %cl\nadd $64, %rax\ncmp $8192, %rax\njne 7b\nret", InputError,
         "flushes single lines"),
        ("xor %eax, %eax\nmov -64(%rdi), %cl\n7: mov (%rdi,%rax), %cl\nadd $64, %rax\ncmp $8192, %rax\njne 7b\nret",
         InputError, "it reads in front of its buffer"),
    ],
)  # fmt: skip
def test_routines_that_are_not_modelled(body: str, error: type[Exception], told: str, tmp_path: Path) -> None:
    text = "\t.globl flush\n\t.type flush, @function\nflush:\n\txor %eax, %eax\n\t"
    (tmp_path / "flush.s").write_text(text + body + "\n\t.size flush, . - flush\n")
    with pytest.raises(error, match=told):
        routine_accesses(str(tmp_path / "flush.s"), VerifyOptions(bind={} if body == "ret" else {"rdi": "buffer"}))


# --- faults


def test_only_lines_of_64_bytes() -> None:
    with pytest.raises(InputError, match="lines of 32 bytes"):
        Machine(Hardware("LRU", Geometry(16384, 8, 32)), NO_ACCESSES)


def machine_that_fails(after: int | None) -> Machine:
    return Machine(Hardware("tree-PLRU", L1D), routine_accesses("one-pass", VerifyOptions()), fails=after)


def test_no_memory_for_the_buffer_changes_nothing() -> None:
    """The machine allocates once, when a mode other than never is first wanted: at the start, or at a write."""
    machine = machine_that_fails(0)
    for load in (lambda: machine.load(Mode.ALWAYS), lambda: machine.load(Mode.COND), lambda: machine.load(Mode.AUTO)):
        with pytest.raises(NoBufferError, match="there is no memory for a buffer of 8 pages; nothing has changed"):
            load()
    assert machine.subsystem.mode is Mode.AUTO and machine.subsystem.buffer is None
    assert not machine.subsystem.should_flush and not machine.subsystem.conditional
    assert BUFFER not in machine.memory.owner
    assert not machine.enter().flushed
    machine.load(Mode.NEVER)
    with pytest.raises(NoBufferError):
        machine.subsystem.write("always")
    assert machine.subsystem.mode is Mode.NEVER and not machine.enter().flushed
    machine.fails = 1
    machine.subsystem.write("always")
    assert machine.enter().flushed and machine.fails == 0
    # The buffer stays, so there is nothing more that could fail.
    for mode in ("never", "cond", "always"):
        machine.subsystem.write(mode)
    assert machine.enter().flushed


def test_what_is_unloaded_can_be_loaded_again() -> None:
    machine = machine_that_fails(2)
    for _ in range(2):
        machine.load(Mode.ALWAYS)
        assert machine.enter().flushed and (machine.memory.owner == BUFFER).sum() == 8
        machine.subsystem.unload()
        assert BUFFER not in machine.memory.owner and not machine.enter().flushed
    with pytest.raises(NoBufferError):
        machine.load(Mode.ALWAYS)
    assert BUFFER not in machine.memory.owner


@pytest.mark.parametrize("facts", [CpuFacts(bug=False), CpuFacts(ept=False), CpuFacts(command=True),
                                   CpuFacts(flush_not_required=True)], ids=str)  # fmt: skip
def test_where_no_buffer_is_read_none_is_allocated(facts: CpuFacts) -> None:
    hardware = Hardware("tree-PLRU", L1D, facts)
    machine = Machine(hardware, routine_accesses("one-pass", VerifyOptions()), Below(), fails=0)
    machine.load(Mode.ALWAYS)
    machine.happened(Event.EMULATION)
    assert machine.enter().flushed == facts.command
    assert machine.subsystem.buffer is None


def test_merged_pages_come_back_whole_when_they_are_freed() -> None:
    routine = routine_accesses("linux-4.9.120", VerifyOptions())
    machine = Machine(Hardware("tree-PLRU", L1D), routine, Below(merges=True), initialised=False)
    free = (machine.memory.owner == NOBODY).sum()
    machine.load(Mode.ALWAYS)
    machine.enter()
    assert (machine.memory.owner == BUFFER).sum() == 1
    machine.subsystem.unload()
    assert (machine.memory.owner == NOBODY).sum() == free
