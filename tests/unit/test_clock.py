# SPDX-License-Identifier: GPL-2.0-or-later
"""Where loads cannot be timed, and what makes a measurement doubtful: it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_silicon import INTEL, ZEN, FakeRegion, fake_silicon

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure import clock
from l1dflush.silicon.measure.clock import Clock, measured_clock, require_clock
from l1dflush.silicon.measure.environment import Counters, doubts, environment
from l1dflush.silicon.measure.session import _locked

NATIVE = pytest.mark.skipif(not _core.NATIVE, reason="no native code to time loads with")
FLAGS = ("tsc", "rdtscp", "constant_tsc", "nonstop_tsc")


def cpuinfo(tmp_path: Path, flags: tuple[str, ...]) -> Path:
    file = tmp_path / "cpuinfo"
    second = "processor\t: 1\nflags\t\t: " + " ".join(FLAGS)
    file.write_text(f"processor\t: 0\nvendor_id\t: AnyVendor\nflags\t\t: fpu {' '.join(flags)} sse\n\n{second}\n")
    return file


@NATIVE
def test_a_clock_that_will_do(tmp_path: Path) -> None:
    require_clock(cpuinfo(tmp_path, FLAGS))


@NATIVE
@pytest.mark.parametrize("missing", FLAGS)
def test_a_counter_that_is_not_stable(missing: str, tmp_path: Path) -> None:
    file = cpuinfo(tmp_path, tuple(flag for flag in FLAGS if flag != missing))
    with pytest.raises(UndecidedError) as error:
        require_clock(file)
    assert error.value.cause == "no-stable-counter"
    assert str(file) in str(error.value)
    assert {"tsc": "time-stamp counter"}.get(missing, missing) in str(error.value)


@NATIVE
def test_no_cpuinfo(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="cannot read what the CPU has: No such file") as error:
        require_clock(tmp_path / "nothing")
    assert error.value.cause == "no-stable-counter"


def test_no_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "NATIVE", False)
    with pytest.raises(UndecidedError) as error:
        require_clock()
    assert error.value.cause == "no-native-code"


@NATIVE
def test_a_process_that_may_not_read_the_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PR_SET_TSC, PR_TSC_SIGSEGV; this process may, and one that really may not seldom gets so far: Python asks for
    the time itself."""
    assert clock._tsc_mode() == 1
    monkeypatch.setattr(clock, "_tsc_mode", lambda: 2)
    with pytest.raises(UndecidedError) as error:
        require_clock(cpuinfo(tmp_path, FLAGS))
    assert error.value.cause == "counter-denied"


@NATIVE
def test_a_counter_that_something_traps() -> None:
    """As a hypervisor may: 17,000 ticks for nothing."""
    with pytest.raises(UndecidedError) as error:
        measured_clock(FakeRegion("LRU", empty=17_000.0))
    assert error.value.cause == "counter-trapped"


@NATIVE
@pytest.mark.parametrize("disturbance", [INTEL, ZEN], ids=["fine", "coarse"])
def test_the_clock_of_the_core_comes_from_the_chain(disturbance: object) -> None:
    found = measured_clock(FakeRegion("LRU", disturbance=disturbance, ticks_per_cycle=0.7))  # type: ignore[arg-type]
    assert found.step == {id(INTEL): 1, id(ZEN): 26}[id(disturbance)]
    assert found.ticks_per_cycle == pytest.approx(0.7, rel=0.01)
    assert found.empty == pytest.approx(30, abs=found.step)
    assert found.ticks_per_ns > 0.1


# --- doubts


def test_nothing_speaks_against_a_quiet_machine() -> None:
    there = fake_silicon(FakeRegion("LRU")).environment
    assert doubts(there, Counters(0, 0.0), Counters(5, 0.0), 1.0, 1000, 0) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hypervisor": True}, "a virtual machine"),
        ({"smt": "on"}, "SMT is on"),
        ({"governor": "powersave"}, "the governor is powersave"),
        ({"load": 99.0}, "load 99.0 on"),
        ({"huge_page": False}, "no huge page"),
        ({"clock": Clock(30.0, 26, 0.7, 2.6)}, "steps of 26 ticks"),
    ],
)
def test_what_may_make_it_unstable(change: dict[str, object], said: str) -> None:
    there = replace(fake_silicon(FakeRegion("LRU")).environment, **change)  # type: ignore[arg-type]
    (line,) = doubts(there, Counters(0, 0.0), Counters(0, 0.0), 1.0, 1000, 0)
    assert said in line


@pytest.mark.parametrize(
    ("after", "moved", "said"),
    [
        (Counters(0, 0.0), 11, "11 of 1000 trials were dropped"),
        (Counters(0, 0.2), 10, "gave 0.20 s of it to others"),
        (Counters(41, 0.0), 0, "interrupted by others 41 times"),
    ],
)
def test_what_happened_meanwhile(after: Counters, moved: int, said: str) -> None:
    there = fake_silicon(FakeRegion("LRU")).environment
    (line,) = doubts(there, Counters(0, 0.0), after, 2.0, 1000, moved)
    assert said in line


def test_the_environment_of_this_machine() -> None:
    cpu = min(os.sched_getaffinity(0))
    there = environment(cpu, Clock(30.0, 1, 0.7, 2.6), 0)
    assert there.kernel == os.uname().release
    assert (there.on_cpu, there.huge_page) == (cpu, False)
    now = Counters.now(cpu)
    assert now.switches >= 0
    assert now.stolen_seconds >= 0


# --- one at a time


HOLDER = """
import sys
from l1dflush.silicon.measure.session import _locked
with _locked(int(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_two_measurements_on_one_cpu() -> None:
    """The second is locked out, on that CPU only, and until the first ends, however it ends."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    # A number that no other test's measurement has.
    cpu = 100_000 + os.getpid()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cpu)], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(UndecidedError) as error, _locked(cpu):
            pass
        assert error.value.cause == "busy"
        with _locked(cpu + 1):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
        with _locked(cpu):
            pass
