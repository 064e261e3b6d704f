# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe on this machine's L1D. What cannot be measured here is skipped with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.errors import InputError, UndecidedError
from l1dflush.silicon.measure.calibrate import levels
from l1dflush.silicon.measure.region import (
    LINE,
    PAGE,
    REGION_PAGES,
    Rounds,
    Trial,
    flush_step,
    link,
    page_step,
)
from l1dflush.silicon.measure.session import CONTROL_SET, Silicon, silicon

pytestmark = pytest.mark.skipif(not _core.NATIVE, reason="no native code to time loads with")
OWN = (REGION_PAGES - _core.CONTROL_PAGES) * PAGE


@pytest.fixture
def there() -> Iterator[Silicon]:
    try:
        with silicon() as found:
            yield found
    except UndecidedError as error:
        pytest.skip(f"cannot be measured here: {error}")


@pytest.fixture(scope="module")
def region() -> _core.Region:
    return _core.Region(REGION_PAGES)


def numbers(*values: int) -> NDArray[np.uint32]:
    return np.array(values, dtype=np.uint32)


def run(region: _core.Region, steps: list[int], prepare: int, timed: int, flush: int = 0, **more: int) -> None:
    more = {"control_set": CONTROL_SET} | more
    region.run(numbers(*steps), numbers(prepare), numbers(timed), numbers(flush), **more)


# --- what does not fit is refused, and nothing is read or written elsewhere


@pytest.mark.parametrize("pages", [0, 1, _core.CONTROL_PAGES, (1 << 18) + 1])
def test_so_many_pages_make_no_region(pages: int) -> None:
    with pytest.raises(ValueError, match="make no region"):
        _core.Region(pages)


@pytest.mark.parametrize("node", [4, LINE - 8, OWN, OWN + 8, REGION_PAGES * PAGE, 0x7FFFFFF8, 0xFFFFFFF8])
def test_a_node_elsewhere(node: int, region: _core.Region) -> None:
    with pytest.raises(ValueError, match="a node is not in the region"):
        region.chain(numbers(0, node))
    for prepare, timed in ((1, 0), (0, 1)):
        with pytest.raises(ValueError, match="a node is not in the region"):
            run(region, [node], prepare, timed)


def test_too_many_steps(region: _core.Region) -> None:
    run(region, [0] * _core.MOST_STEPS, _core.MOST_STEPS, 0)
    run(region, [0] * _core.MOST_TIMED, 0, _core.MOST_TIMED)
    for prepare, timed in (
        (_core.MOST_STEPS + 1, 0), (0, _core.MOST_TIMED + 1), (_core.MOST_STEPS, 1), (0xFFFFFFFF, 0), (0xFFFFFFFF, 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="too many steps"):
            run(region, [0] * 10, prepare, timed)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (([0], 0, 2), "other steps in all"),
        (([0, 0], 1, 0), "other steps in all"),
        (([0], 1, 0, 100), "whole pages"),
        (([0], 1, 0, (REGION_PAGES + 1) * PAGE), "whole pages"),
    ],
)
def test_trials_that_do_not_fit(arguments: tuple[list[int], int, int], what: str, region: _core.Region) -> None:
    with pytest.raises(ValueError, match=what):
        run(region, *arguments)


def test_buffers_and_control_sets_that_do_not_fit(region: _core.Region) -> None:
    for start in (REGION_PAGES * PAGE, 2**63, 64):
        with pytest.raises(ValueError, match="not in the region"):
            run(region, [0], 1, 0, PAGE, flush_from=start)
    for control in (57, 64, 2**64 - 8):
        with pytest.raises(ValueError, match="control sets"):
            run(region, [0], 1, 0, control_set=control)
    with pytest.raises(ValueError, match="one entry in each list"):
        region.run(numbers(0), numbers(1, 1), numbers(0), numbers(0), control_set=CONTROL_SET)


@pytest.mark.parametrize(
    "change",
    [
        {"loop": "none such"}, {"before": "none such"}, {"start": 64}, {"size": 0}, {"size": 100},
        {"start": OWN, "size": PAGE}, {"start": 2**63}, {"size": 2**63}, {"victims": 2**63, "victims_from": 2**63},
        {"victims_from": OWN, "victims": LINE}, {"victims": 8}, {"victims_from": 0, "before": "dirty"},
    ],
)  # fmt: skip
def test_costs_that_do_not_fit(change: dict[str, object], region: _core.Region) -> None:
    asked = {"loop": "fill", "start": 0, "size": PAGE, "before": "clean", "victims_from": PAGE, "victims": PAGE}
    asked |= change
    loop, start, size = (asked.pop(name) for name in ("loop", "start", "size"))
    with pytest.raises(ValueError, match=r"."):
        region.costs(loop, start, size, trials=1, **asked)  # type: ignore[call-overload]


def test_one_thread_at_a_time(region: _core.Region) -> None:
    entered = threading.Event()

    def long() -> None:
        entered.set()
        region.costs("linux-2018", 0, 64 << 10, before="clean", victims_from=1 << 20, victims=64 << 10, trials=20_000)

    other = threading.Thread(target=long)
    other.start()
    try:
        entered.wait(timeout=10)
        refused = 0
        while other.is_alive():
            try:
                region.chain(numbers(0))
            except RuntimeError as error:
                assert "in use by another thread" in str(error)
                refused += 1
        assert refused
    finally:
        other.join()


# --- what it measures


def test_a_chain_visits_each_of_its_lines(there: Silicon) -> None:
    """Twice as many lines take about twice as long."""
    region = there.region
    times = []
    for count in (20, 40):
        region.chain(numbers(*(s * LINE for s in np.random.default_rng(1).permutation(56)[:count])))
        first = int(np.random.default_rng(1).permutation(56)[0]) * LINE
        ticks, _ = region.run(
            numbers(*[first] * 3000), numbers(*[0] * 30), numbers(*[100] * 30), numbers(*[0] * 30),
            control_set=CONTROL_SET,
        )  # fmt: skip
        times.append(float(np.quantile(ticks, 0.25)) - there.environment.clock.empty)
    step = there.environment.clock.step
    assert 1.5 * times[0] - 2 * step < times[1] < 2.5 * times[0] + 2 * step


def test_hits_and_misses_differ(there: Silicon) -> None:
    """A line in each set: visited again, and after clflush."""
    pages = [7, 100]
    link(there.region, pages, CONTROL_SET)
    step = page_step(7, CONTROL_SET)
    rounds = Rounds(there.region, [Trial((step, step), (step,)), Trial((step, flush_step(7)), (step,))], CONTROL_SET)
    rounds.play(60)
    try:
        told = levels(rounds.ticks(0), rounds.ticks(1))
    except UndecidedError as error:
        pytest.skip(str(error))
    # All from main memory: 56 lines, 100 cycles each at the very least.
    assert told.miss - told.hit > 56 * 100 * there.environment.clock.ticks_per_cycle / 2


def test_a_cold_translation_is_not_taken_for_a_miss() -> None:
    """In small pages, with its translation displaced by hundreds of other pages, a line that is cached still looks
    cached: the probe warms the page's translation by way of another set."""
    program = (
        "import ctypes; libc = ctypes.CDLL(None); libc.prctl(41, 1, 0, 0, 0)\n"  # PR_SET_THP_DISABLE
        "from l1dflush.silicon.measure.region import *\n"
        "from l1dflush.silicon.measure.session import CONTROL_SET, silicon\n"
        "import json\n"
        "with silicon() as there:\n"
        "    lines = [line_step(5, s) for s in range(0, 50, 2)]\n"
        # Other pages, in sets that are not looked at: the lines stay.
        "    others = [line_step(page, 1 + 2 * (page % 25)) for page in range(20, 420)]\n"
        "    aside = [line_step(page, 55) for page in range(20, 36)]\n"
        "    near = [Trial((*lines, *aside), (one,)) for one in lines]\n"
        "    far = [Trial((*lines, *others), (one,)) for one in lines]\n"
        "    gone = [Trial((*(line_step(p, s) for p in range(20, 36) for s in range(0, 50, 2)),), (one,))"
        " for one in lines]\n"
        "    rounds = Rounds(there.region, near + far + gone, CONTROL_SET)\n"
        "    rounds.play(300)\n"
        "    means = []\n"
        "    for kind in range(3):\n"
        "        ticks = np.concatenate([rounds.ticks(25 * kind + i).ravel() for i in range(25)])\n"
        "        means.append(float(np.sort(ticks)[: int(len(ticks) * 0.97)].mean()))\n"
        "    print(json.dumps([there.environment.huge_page, *means]))\n"
    )
    done = _child("-c", program)
    if done.returncode:
        pytest.skip(f"cannot be measured here: {done.stderr.splitlines()[-1]}")
    huge, near, far, gone = json.loads(done.stdout)
    if huge:
        pytest.skip("huge pages cannot be switched off here")
    if gone - near < 2:
        pytest.skip(f"a hit takes {near:.1f} ticks and a miss {gone:.1f}: too noisy here")
    assert far - near < 0.5 * (gone - near), (near, far, gone)


def _child(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def test_identify_says_something() -> None:
    done = _child("-m", "l1dflush", "identify", "--json")
    assert done.returncode in (0, 3), done.stderr
    document = json.loads(done.stdout)
    assert document["exit_status"] == done.returncode
    if "matches" not in document:
        pytest.skip(f"cannot be measured here: {document['error']['what']}")
    assert document["matches"][0]["decided"] > 0
    assert (document["policy"] is not None) == (done.returncode == 0)


# --- pinned, and noticed when it is not


def test_the_thread_is_pinned_and_let_go() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        with silicon(max(allowed)) as found:
            assert os.sched_getaffinity(0) == {max(allowed)}
            assert found.environment.on_cpu == max(allowed)
    except UndecidedError as error:
        pytest.skip(f"cannot be measured here: {error}")
    assert os.sched_getaffinity(0) == allowed


def test_a_cpu_that_is_not_there() -> None:
    try:
        with pytest.raises(InputError, match="may not run on CPU 99999"), silicon(99999):
            pass
    except UndecidedError as error:
        pytest.skip(f"cannot be measured here: {error}")


def test_a_trial_that_is_moved_is_noticed(there: Silicon) -> None:
    """Another thread pushes this one from CPU to CPU."""
    allowed = sorted(os.sched_getaffinity(os.getppid()) | os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("there is one CPU only")
    region, me, over = there.region, threading.get_native_id(), threading.Event()
    link(region, range(20), CONTROL_SET)

    def push() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            os.sched_setaffinity(me, {allowed[turn % 2]})
            time.sleep(0.0005)

    steps = tuple(page_step(page, CONTROL_SET) for page in range(20)) * 5
    rounds = Rounds(region, [Trial(steps, steps[:20])] * 100, CONTROL_SET)
    pusher = threading.Thread(target=push)
    os.sched_setaffinity(0, set(allowed[:2]))
    pusher.start()
    try:
        end = time.monotonic() + 20
        while rounds.moved < 3 and time.monotonic() < end:
            rounds.play(20)
    finally:
        over.set()
        pusher.join()
    assert rounds.moved >= 3
    assert rounds.moved + sum(len(rounds.ticks(i)) for i in range(100)) == rounds.run_trials
