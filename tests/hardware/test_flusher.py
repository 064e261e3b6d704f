# SPDX-License-Identifier: GPL-2.0-or-later
"""A flusher on this machine: its memory, what is left when something fails, forks, threads and exceptions."""

from __future__ import annotations

import os
import pickle
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l1dflush import Flusher, _core
from l1dflush.errors import FlusherClosedError
from l1dflush.silicon.flusher import Leaving, Mechanism, Variant

pytestmark = pytest.mark.skipif(
    not _core.NATIVE, reason=f"no native flush for {platform.system()} {platform.machine()}"
)

PAGE = 4096
# Runs first in a child: counts what is locked and mapped, and makes flushers that may fail.
PRELUDE = """
import resource, os, sys, ctypes, struct
from pathlib import Path
from l1dflush import Flusher
from l1dflush.errors import *

def said(what):
    (line,) = [l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(what + ":")]
    return int(line.split()[1])

def fails(times=100, **arguments):
    error = None
    for turn in range(times + 1):
        try:
            Flusher("planned", policy="tree-PLRU", geometry="32K,8,64", **arguments)
        except FlusherError as caught:
            error = caught
        else:
            sys.exit("it worked")
        if turn == 0:
            before = said("VmSize")
    # One buffer that was left each time would be 5200 KiB.
    print(type(error).__name__, said("VmLck"), said("VmSize") - before < 1024, error)

def refuse(number, argument, value, code):
    # A seccomp filter: this call with this argument fails, everything else is allowed. 99: any argument.
    rules = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16 + 8 * argument), (0x15, 0, 1, value)]
    if argument == 99:
        rules = [(0x20, 0, 0, 0), (0x15, 0, 1, number)]
    rules += [(0x06, 0, 0, 0x00050000 | code), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *rule) for rule in rules))
    program = struct.pack("<H6xQ", len(rules), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        sys.exit(77)
"""


FORKS = """
flusher = Flusher("linux-2018")
child = os.fork()
if child == 0:
    try:
        flusher()
    except FlusherForkedError as error:
        print(error, flush=True)
    flusher.close()
    with Flusher("linux-2018") as mine:
        mine()
    os._exit(0)
if os.waitpid(child, 0)[1] == 0:
    flusher()
    print("the parent goes on")
"""


def in_child(program: str, *arguments: str) -> str:
    """What the program prints, in a process of its own; skips where it exits with 77."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", PRELUDE + program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 77:
        pytest.skip(f"this machine does not let a test do that: {done.stdout.strip() or 'no seccomp filter'}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def mapping(address: int) -> dict[str, str]:
    """What the kernel says about the mapping at this address; empty if there is none."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if not head.endswith(":"):
            found = {"mode": line.split()[1]} if head.startswith(f"{address:x}-") else {}
        elif found:
            found[head] = line.split(":", 1)[1].strip()
            if head == "VmFlags:":
                return found
    return {}


@pytest.fixture
def flusher() -> Flusher:
    return Flusher("planned", policy="tree-PLRU", geometry="32K,8,64")


# --- the buffer


def test_the_buffer_is_as_it_should_be(flusher: Flusher) -> None:
    said = mapping(flusher.address)
    assert said["mode"] == "r--p"
    flags = said["VmFlags:"].split()
    # Locked, not copied by fork; not merged.
    assert {"lo", "dc"} <= set(flags) and "mg" not in flags
    locked = int(said["Locked:"].split()[0])
    assert locked == (2048 if flusher.huge_page else 52)
    assert (int(said["AnonHugePages:"].split()[0]) == 2048) is flusher.huge_page
    address = flusher.address
    flusher.close()
    assert mapping(address) == {}


def test_pages_and_buffers_differ() -> None:
    with Flusher("linux-2018", buffer_size=256 * PAGE) as one, Flusher("linux-2018", buffer_size=256 * PAGE) as other:
        pages = [f.content()[at : at + PAGE] for f in (one, other) for at in range(0, 256 * PAGE, PAGE)]
    assert len(set(pages)) == 512
    # And within a page nothing else is told apart: a page is one number.
    assert all(len({page[at : at + 8] for at in range(0, PAGE, 8)}) == 1 for page in pages)


def test_a_large_buffer() -> None:
    with Flusher("linux-2018", buffer_size=5 << 20) as flusher:
        flusher()
        assert len(flusher.content()) == 5 << 20


def test_flushing_reads_and_does_not_write(flusher: Flusher) -> None:
    before = flusher.content()
    for _ in range(10):
        flusher()
    assert flusher.content() == before


def test_a_steady_flusher_begins_anew_on_every_cpu() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("there is one CPU only")
    try:
        os.sched_setaffinity(0, cpus[:1])
        with Flusher("steady", policy="tree-PLRU", geometry="32K,8,64") as flusher:
            assert flusher.started_on == cpus[:1]
            os.sched_setaffinity(0, cpus[1:2])
            assert flusher.started_on == cpus[:1]
            flusher()
            flusher()
            assert flusher.started_on == cpus[:2]
        with Flusher("steady", start="steady-from-any", policy="tree-PLRU", geometry="32K,8,64") as flusher:
            assert flusher.started_on == []
    finally:
        os.sched_setaffinity(0, cpus)


# --- its life


def test_closing(flusher: Flusher) -> None:
    flusher()
    flusher.close()
    flusher.close()
    assert flusher.closed and "closed" in repr(flusher)
    for use in (flusher, flusher.content, lambda: flusher.address, lambda: flusher.repeat(1), lambda: flusher.size):
        with pytest.raises(FlusherClosedError, match="the flusher is closed"):
            use()


def test_a_with_block_closes_also_on_exceptions() -> None:
    with pytest.raises(ZeroDivisionError), Flusher("linux-2018") as flusher:
        assert (flusher.mechanism, flusher.variant) == (Mechanism.SOFTWARE, Variant.LINUX_2018)
        raise ZeroDivisionError
    assert flusher.closed


def test_a_flusher_that_nobody_holds_is_gone() -> None:
    flusher = Flusher("linux-2018")
    address = flusher.address
    assert mapping(address)
    del flusher
    assert mapping(address) == {}


def test_a_call_takes_nothing(flusher: Flusher) -> None:
    with pytest.raises(TypeError, match="no arguments"):
        flusher(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no arguments"):
        flusher(x=1)  # type: ignore[call-arg]
    assert flusher(*(), **{}) is None  # type: ignore[func-returns-value]


def test_no_copies(flusher: Flusher) -> None:
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        pickle.dumps(flusher)


def test_one_that_was_not_initialised_is_no_crash() -> None:
    with pytest.raises(TypeError, match="not initialised"):
        Flusher.__new__(Flusher)()


def test_bad_sizes_at_the_core() -> None:
    for size in (0, 1, PAGE + 1, _core.LARGEST_BUFFER + PAGE):
        with pytest.raises(ValueError, match="whole pages"):
            _core.NativeFlush("planned", size)


# --- forks and threads


def test_a_child_gets_an_error_and_leaves_the_parents_alone() -> None:
    # In a process of its own: Python warns of forks beside threads, which a test runner may have.
    told, mine = in_child(FORKS).splitlines()
    assert told == "a flusher is not inherited by fork: its buffer is the parent's"
    assert mine == "the parent goes on"


def test_closing_while_others_flush(flusher: Flusher) -> None:
    ended: list[type[BaseException]] = []

    def work() -> None:
        try:
            while True:
                flusher()
        except Exception as error:
            ended.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    flusher.close()
    for thread in threads:
        thread.join()
    assert ended == [FlusherClosedError] * 4


# --- when code is left


class Counter:
    """Stands for a flusher and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_leaving_code_flushes_also_on_exceptions() -> None:
    count = Counter()
    leaving = Leaving(count)
    with leaving:
        assert count.calls == 0
    assert count.calls == 1
    with pytest.raises(ZeroDivisionError), leaving:
        raise ZeroDivisionError
    assert count.calls == 2

    @leaving
    def half(number: int, *, times: int = 1) -> float:
        """Half of it."""
        assert count.calls in (2, 3)
        return times * 1 / number

    assert (half(2), count.calls, half.__doc__) == (0.5, 3, "Half of it.")
    with pytest.raises(ZeroDivisionError):
        half(0, times=2)
    assert count.calls == 4


def test_what_only_begins_is_refused() -> None:
    leaving = Leaving(Counter())

    async def coroutine() -> None: ...

    def generator() -> object:
        yield

    async def both() -> object:  # type: ignore[misc]
        yield

    for function in (coroutine, generator, both):
        with pytest.raises(TypeError, match="before its code has run"):
            leaving(function)


def test_leaving_with_a_flusher(flusher: Flusher) -> None:
    with flusher.leaving:
        pass

    @flusher.leaving
    def closes() -> None:
        flusher.close()

    with pytest.raises(FlusherClosedError):
        closes()


# --- what fails, and what it leaves


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        ("28, 2, 10, 12", "AllocationError", "madvise(MADV_DONTFORK): Cannot allocate memory"),
        ("28, 2, 13, 12", "AllocationError", "madvise(MADV_UNMERGEABLE): Cannot allocate memory"),
        ("149, 99, 0, 11", "AllocationError", "mlock: Resource temporarily unavailable"),
        ("149, 99, 0, 12", "AllocationError", "mlock: Cannot allocate memory"),
        ("149, 99, 0, 1", "LockedMemoryError", "53248 bytes were to be locked in memory"),
        ("10, 2, 1, 13", "AllocationError", "mprotect: Permission denied"),
    ],
)
def test_every_step_may_fail(call: str, error: str, told: str) -> None:
    program = f"Flusher('linux-2018').close(); resource.setrlimit(8, (8 << 20, 8 << 20)); refuse({call}); fails()"
    name, locked, small, text = in_child(program).split(maxsplit=3)
    assert (name, locked, small) == (error, "0", "True")
    assert told in text


def test_no_memory_at_all() -> None:
    # The huge page's mapping is refused first, then the small one.
    program = "Flusher('linux-2018').close(); refuse(9, 1, 4 << 20, 12); refuse(9, 1, 53248, 12); fails()"
    assert in_child(program).split(maxsplit=3)[:3] == ["AllocationError", "0", "True"]


@pytest.mark.parametrize("call", ["9, 1, 4 << 20, 12", "28, 2, 14, 22", "149, 1, 2 << 20, 12"])
def test_without_a_huge_page_small_ones_do(call: str) -> None:
    program = (
        f"refuse({call})\nf = Flusher('planned', policy='tree-PLRU', geometry='32K,8,64'); f()\n"
        "print(f.huge_page, said('VmLck'), len(f.content()))"
    )
    assert in_child(program).split() == ["False", "52", "53248"]


def test_a_kernel_without_page_merging_is_fine() -> None:
    assert in_child("refuse(28, 2, 13, 22); Flusher('linux-2018')(); print('done')") == "done\n"


UNPRIVILEGED = """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[1]), int(sys.argv[1])))
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
effective = [l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("CapEff")][0]
if int(effective.split()[1], 16) >> 14 & 1:
    print("the process keeps CAP_IPC_LOCK")
    sys.exit(77)
"""


@pytest.mark.parametrize("limit", [0, 32 << 10])
def test_the_limit_of_locked_memory(limit: int) -> None:
    made = "import l1dflush.silicon.flusher, l1dflush.planning.find\nFlusher('linux-2018').close()\n"
    name, locked, small, text = in_child(f"{made}{UNPRIVILEGED}fails()", str(limit)).split(maxsplit=3)
    assert (name, locked, small) == ("LockedMemoryError", "0", "True")
    assert "53248 bytes were to be locked" in text and f"(RLIMIT_MEMLOCK, ulimit -l) is {limit}" in text


def test_a_limit_below_a_huge_page_leaves_small_pages() -> None:
    made = "import l1dflush.silicon.flusher\nFlusher('linux-2018').close()\n"
    program = f"{made}{UNPRIVILEGED}f = Flusher('linux-2018'); print(f.huge_page, said('VmLck'))"
    assert in_child(program, str(128 << 10)).split() == ["False", "64"]


# --- what the documentation shows


def test_the_example_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "run.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    assert "KiB are read." in in_child(example)
