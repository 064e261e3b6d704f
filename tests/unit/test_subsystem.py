# SPDX-License-Identifier: GPL-2.0-or-later
"""The subsystem: when it is set up, what its modes do, what sets and clears flags, and that nothing is half done."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from l1dflush.vmentry.subsystem import (
    FLAG_OF,
    Boot,
    CpuFacts,
    Event,
    Flag,
    Mechanism,
    Mode,
    ModeError,
    NoBufferError,
    PhysicalCpu,
    Settled,
    Step,
    Subsystem,
    Vcpu,
    parsed,
    set_up,
)

PAGES = 16


@dataclass
class Memory:
    """A host that counts. ``left``: how many more allocations it can do; ``broken_page``: filling this one fails."""

    left: int = 1000
    broken_page: int = -1
    held: list[dict[int, int]] = field(default_factory=list)
    allocations: int = 0
    reads: int = 0
    commands: int = 0
    broken_flush: bool = False

    def allocate(self, order: int) -> dict[int, int] | None:
        if not self.left:
            return None
        self.left -= 1
        self.allocations += 1
        buffer = dict.fromkeys(range(1 << order), 0)
        self.held.append(buffer)
        return buffer

    def fill(self, buffer: dict[int, int], page: int, content: int) -> None:
        if page == self.broken_page:
            raise OSError("the page is broken")
        buffer[page] = content

    def free(self, buffer: dict[int, int]) -> None:
        (index,) = [number for number, one in enumerate(self.held) if one is buffer]
        del self.held[index]

    def read(self, buffer: dict[int, int]) -> None:
        assert any(one is buffer for one in self.held)
        self._flush()
        self.reads += 1

    def command(self) -> None:
        self._flush()
        self.commands += 1

    def _flush(self) -> None:
        if self.broken_flush:
            raise OSError("no flush")


def made(mode: Mode = Mode.AUTO, *, boot: Boot = Boot.FLUSH, **facts: bool) -> tuple[Subsystem[dict[int, int]], Memory]:
    """A subsystem that is loaded."""
    memory = Memory()
    subsystem = Subsystem(memory, CpuFacts(**facts), boot)
    subsystem.load(mode)
    return subsystem, memory


def entries(subsystem: Subsystem[dict[int, int]], *events: Event | None) -> tuple[list[bool], Vcpu]:
    """One entry after each event."""
    vcpu, cpu = Vcpu(), PhysicalCpu()
    flushed = []
    for event in events:
        if event is not None:
            subsystem.happened(event, vcpu, cpu)
        flushed.append(subsystem.enter(vcpu, cpu))
    return flushed, vcpu


# --- modes


def test_never_and_always() -> None:
    subsystem, memory = made(Mode.NEVER)
    assert entries(subsystem, *[Event.RUN] * 200)[0] == [False] * 200
    assert memory.allocations == memory.reads == 0
    subsystem, memory = made(Mode.ALWAYS)
    flushed, vcpu = entries(subsystem, *[None] * 200)
    assert flushed == [True] * 200 and (vcpu.entries, vcpu.flushes, memory.reads) == (200, 200, 200)


def test_cond_flushes_once_after_what_is_sensitive() -> None:
    subsystem, memory = made(Mode.COND)
    flushed, vcpu = entries(subsystem, Event.RUN, None, Event.HYPERCALL, Event.INTERRUPT, None, Event.NMI)
    assert flushed == [True, False, False, True, False, False]
    assert (vcpu.entries, vcpu.flushes, memory.reads) == (6, 2, 2)


@pytest.mark.parametrize("event", list(Event))
def test_the_flag_of_each_event(event: Event) -> None:
    subsystem, _ = made(Mode.COND)
    vcpu, cpu = Vcpu(), PhysicalCpu()
    subsystem.happened(event, vcpu, cpu)
    assert (vcpu.sensitive, cpu.sensitive) == (FLAG_OF[event] is Flag.VCPU, FLAG_OF[event] is Flag.CPU)
    assert subsystem.enter(vcpu, cpu) is (FLAG_OF[event] is not None)
    assert not vcpu.sensitive and not cpu.sensitive


def test_flags_of_another_vcpu_and_another_cpu_stay() -> None:
    subsystem, _ = made(Mode.COND)
    one, other, here, there = Vcpu(), Vcpu(), PhysicalCpu(), PhysicalCpu()
    subsystem.happened(Event.EMULATION, other, here)
    subsystem.happened(Event.INTERRUPT, other, there)
    assert not subsystem.enter(one, here)
    assert other.sensitive and there.sensitive
    assert subsystem.enter(one, there)
    assert other.sensitive and not there.sensitive


def test_only_cond_clears_flags() -> None:
    for mode in (Mode.NEVER, Mode.ALWAYS):
        subsystem, _ = made(mode)
        vcpu, cpu = Vcpu(sensitive=True), PhysicalCpu(sensitive=True)
        subsystem.enter(vcpu, cpu)
        assert vcpu.sensitive and cpu.sensitive


def test_the_command_needs_no_buffer() -> None:
    subsystem, memory = made(Mode.ALWAYS, command=True)
    assert subsystem.mechanism is Mechanism.COMMAND and subsystem.buffer is None
    entries(subsystem, *[None] * 3)
    assert (memory.commands, memory.reads, memory.allocations) == (3, 0, 0)


@pytest.mark.parametrize("command", [True, False])
def test_a_flush_that_fails_is_not_counted_and_comes_again(command: bool) -> None:
    subsystem, memory = made(Mode.COND, command=command)
    vcpu, cpu = Vcpu(), PhysicalCpu(sensitive=True)
    memory.broken_flush = True
    with pytest.raises(OSError, match="no flush"):
        subsystem.enter(vcpu, cpu)
    assert (vcpu.entries, vcpu.flushes) == (0, 0)
    memory.broken_flush = False
    assert subsystem.enter(vcpu, cpu) and (vcpu.entries, vcpu.flushes) == (1, 1)


# --- set-up


@pytest.mark.parametrize(
    ("boot", "parameter", "mode"),
    [
        (Boot.OFF, Mode.AUTO, Mode.NEVER),
        (Boot.FLUSH, Mode.AUTO, Mode.COND),
        (Boot.FLUSH_NOWARN, Mode.AUTO, Mode.COND),
        (Boot.FLUSH_NOSMT, Mode.AUTO, Mode.COND),
        (Boot.FULL, Mode.AUTO, Mode.ALWAYS),
        (Boot.FULL_FORCE, Mode.AUTO, Mode.ALWAYS),
        (Boot.FULL_FORCE, Mode.NEVER, Mode.ALWAYS),
        (Boot.FULL, Mode.NEVER, Mode.NEVER),
        (Boot.OFF, Mode.ALWAYS, Mode.ALWAYS),
        (Boot.OFF, Mode.COND, Mode.COND),
    ],
)
def test_what_the_boot_line_and_the_parameter_make(boot: Boot, parameter: Mode, mode: Mode) -> None:
    subsystem, memory = made(parameter, boot=boot)
    assert subsystem.mode is mode
    assert (subsystem.should_flush, subsystem.conditional) == (mode is not Mode.NEVER, mode is Mode.COND)
    assert memory.allocations == (mode is not Mode.NEVER)


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        ({"bug": False}, Mode.NOT_REQUIRED),
        ({"ept": False}, Mode.EPT_DISABLED),
        ({"flush_not_required": True}, Mode.NOT_REQUIRED),
        ({"bug": False, "ept": False}, Mode.NOT_REQUIRED),
        ({"ept": False, "flush_not_required": True}, Mode.EPT_DISABLED),
    ],
)
@pytest.mark.parametrize("boot", [Boot.FLUSH, Boot.FULL_FORCE])
def test_what_settles_it_before_any_mode(facts: dict[str, bool], mode: Mode, boot: Boot) -> None:
    subsystem, memory = made(Mode.ALWAYS, boot=boot, **facts)
    assert subsystem.mode is mode and not subsystem.should_flush and memory.allocations == 0
    subsystem.write("always")
    assert subsystem.mode is mode and memory.allocations == 0
    assert entries(subsystem, *[Event.RUN] * 3)[0] == [False] * 3


def test_the_buffer_comes_once_and_no_two_pages_are_alike() -> None:
    subsystem, memory = made(Mode.NEVER)
    for text in ("cond", "always", "never", "always", "auto"):
        subsystem.write(text)
    assert memory.allocations == 1
    (buffer,) = memory.held
    assert len(buffer) == PAGES and sorted(buffer.values()) == list(range(1, PAGES + 1))
    subsystem.write("never")
    assert memory.held, "it stays until the hypervisor is unloaded"
    subsystem.unload()
    subsystem.unload()
    assert memory.held == [] and subsystem.mode is Mode.AUTO and not subsystem.should_flush


def test_a_write_before_load_is_only_stored() -> None:
    memory = Memory()
    subsystem = Subsystem(memory)
    subsystem.write("always")
    assert subsystem.mode is Mode.AUTO and not subsystem.should_flush and memory.allocations == 0
    subsystem.load()
    assert subsystem.mode is Mode.ALWAYS and memory.allocations == 1
    subsystem.unload()
    subsystem.load()
    assert subsystem.mode is Boot.FLUSH.mode, "it is forgotten with the module"


def test_another_order() -> None:
    memory = Memory()
    subsystem = Subsystem(memory, order=5)
    subsystem.load()
    assert [len(buffer) for buffer in memory.held] == [32]


# --- failures


def test_a_load_without_memory_leaves_nothing() -> None:
    memory = Memory(left=0)
    subsystem = Subsystem(memory)
    with pytest.raises(NoBufferError, match=r"^there is no memory for a buffer of 16 pages; nothing has changed$"):
        subsystem.load(Mode.ALWAYS)
    assert (subsystem.mode, subsystem.should_flush, subsystem.buffer) == (Mode.AUTO, False, None)


def test_a_write_without_memory_leaves_all_as_it_was() -> None:
    subsystem, memory = made(Mode.NEVER)
    memory.left = 0
    for text in ("always", "cond", "auto"):
        with pytest.raises(NoBufferError):
            subsystem.write(text)
        assert (subsystem.mode, subsystem.should_flush, subsystem.conditional) == (Mode.NEVER, False, False)
    memory.left = 1
    subsystem.write("cond")
    assert subsystem.mode is Mode.COND


@pytest.mark.parametrize("page", range(PAGES))
def test_a_page_that_cannot_be_filled_frees_all(page: int) -> None:
    memory = Memory(broken_page=page)
    subsystem = Subsystem(memory)
    with pytest.raises(OSError, match="broken"):
        subsystem.load()
    assert memory.held == [] and subsystem.buffer is None and subsystem.mode is Mode.AUTO


def test_what_fails_after_load_frees_it() -> None:
    """As the hypervisor's initialisation does: later steps fail, unload undoes."""
    subsystem, memory = made(Mode.ALWAYS)
    subsystem.unload()
    assert memory.held == []
    subsystem.load(Mode.ALWAYS)
    assert memory.allocations == 2 and len(memory.held) == 1


@pytest.mark.parametrize(
    "text",
    ["", " always", "Always", "always\n\n", "always ", "ept disabled", "EPT disabled", "not required", "x\x1b[1m"],
)
def test_texts_that_are_no_mode(text: str) -> None:
    subsystem, _ = made(Mode.COND)
    with pytest.raises(ModeError) as caught:
        subsystem.write(text)
    assert str(caught.value).isprintable() and subsystem.mode is Mode.COND


def test_a_text_that_is_no_mode_comes_before_every_other_check() -> None:
    subsystem, _ = made(bug=False)
    with pytest.raises(ModeError):
        subsystem.write("sometimes")
    assert parsed("cond\n") is Mode.COND


# --- two at a time


def test_modes_written_by_two_threads_at_once() -> None:
    subsystem, memory = made(Mode.NEVER)
    stop = threading.Event()
    wrong: list[str] = []

    def writes(*texts: str) -> None:
        for _ in range(2000):
            for text in texts:
                subsystem.write(text)

    def enters() -> None:
        vcpu, cpu = Vcpu(), PhysicalCpu()
        while not stop.is_set():
            if subsystem.enter(vcpu, cpu) and subsystem.buffer is None:
                wrong.append("a flush without a buffer")

    threads = [threading.Thread(target=writes, args=texts) for texts in (("always", "never"), ("cond", "auto"))]
    runner = threading.Thread(target=enters)
    runner.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    runner.join()
    assert not wrong and memory.allocations == 1
    # One of the last two writes came last, and all three belong together.
    assert (subsystem.mode, subsystem.should_flush, subsystem.conditional) in (
        (Mode.NEVER, False, False),
        (Mode.COND, True, True),
    )


# --- against a second, plainer model


class Life(RuleBasedStateMachine):
    """Anything that may be done, in any order, beside a model that remembers no more than what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.subsystem = Subsystem(self.memory)
        self.vcpus = [Vcpu(), Vcpu()]
        self.cpus = [PhysicalCpu(), PhysicalCpu()]
        self.loaded = False
        self.mode = "auto"
        self.has_buffer = False
        self.marked: set[tuple[str, int]] = set()
        self.flushes = 0

    @rule(mode=st.sampled_from(["auto", "never", "cond", "always"]), memory=st.booleans())
    def set_mode(self, mode: str, memory: bool) -> None:
        self.memory.left = 1 if memory else 0
        becomes = "cond" if mode == "auto" else mode
        fails = becomes != "never" and not self.has_buffer and not memory
        try:
            if self.loaded:
                self.subsystem.write(f"{mode}\n")
            else:
                self.subsystem.load(Mode(mode))
        except NoBufferError:
            assert fails
            return
        assert not fails
        self.loaded, self.mode = True, becomes
        self.has_buffer = self.has_buffer or becomes != "never"

    @rule()
    def unload(self) -> None:
        self.subsystem.unload()
        self.loaded, self.mode, self.has_buffer = False, "auto", False

    @rule(event=st.sampled_from(Event), vcpu=st.integers(0, 1), cpu=st.integers(0, 1))
    def happen(self, event: Event, vcpu: int, cpu: int) -> None:
        self.subsystem.happened(event, self.vcpus[vcpu], self.cpus[cpu])
        if event == "interrupt":
            self.marked.add(("cpu", cpu))
        elif event in ("run", "scheduled-in", "page-fault", "emulation", "guest-write", "nested-entry"):
            self.marked.add(("vcpu", vcpu))

    @rule(vcpu=st.integers(0, 1), cpu=st.integers(0, 1))
    def enter(self, vcpu: int, cpu: int) -> None:
        asked = {("vcpu", vcpu), ("cpu", cpu)}
        expected = self.mode == "always" or (self.mode == "cond" and bool(asked & self.marked))
        if self.mode == "cond":
            self.marked -= asked
        self.flushes += expected
        assert self.subsystem.enter(self.vcpus[vcpu], self.cpus[cpu]) is expected

    @invariant()
    def agree(self) -> None:
        assert self.subsystem.mode == self.mode
        assert len(self.memory.held) == self.has_buffer
        assert sum(vcpu.flushes for vcpu in self.vcpus) == self.memory.reads == self.flushes
        flags = [("vcpu", n) for n in (0, 1) if self.vcpus[n].sensitive]
        flags += [("cpu", n) for n in (0, 1) if self.cpus[n].sensitive]
        assert set(flags) == self.marked


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("cpu", "boot", "wanted", "settled"),
    [
        (CpuFacts(False, False, False, True), Boot.FULL_FORCE, Mode.NEVER, Settled(Mode.NOT_REQUIRED, Step.NO_BUG)),
        (CpuFacts(True, False, False, True), Boot.FULL_FORCE, Mode.NEVER, Settled(Mode.EPT_DISABLED, Step.NO_EPT)),
        (CpuFacts(True, False, True, True), Boot.FULL_FORCE, Mode.NEVER, Settled(Mode.NOT_REQUIRED, Step.NOT_REQUIRED)),
        (CpuFacts(), Boot.FULL_FORCE, Mode.NEVER, Settled(Mode.ALWAYS, Step.FORCED, True, True)),
        (CpuFacts(command=True), Boot.FULL_FORCE, Mode.AUTO, Settled(Mode.ALWAYS, Step.FORCED, True, False)),
        (CpuFacts(), Boot.OFF, Mode.AUTO, Settled(Mode.NEVER, Step.AUTO, True, False)),
        (CpuFacts(), Boot.OFF, Mode.COND, Settled(Mode.COND, Step.WRITTEN, True, True)),
    ],
)
def test_the_order_of_the_set_up(cpu: CpuFacts, boot: Boot, wanted: Mode, settled: Settled) -> None:
    assert set_up(cpu, boot, wanted) == settled
