# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shipped scenarios have to show. Every figure is played; where one is compared, both are."""

from __future__ import annotations

import contextlib
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from l1dflush.vmentry.lab.machine import Addresses, Leak, Machine
from l1dflush.vmentry.lab.memory import LINES_PER_PAGE, SECRET
from l1dflush.vmentry.lab.model import LabResult, SumInfo
from l1dflush.vmentry.lab.runs import Lab, Over
from l1dflush.vmentry.lab.scenario import FOLDER, read_scenario
from l1dflush.vmentry.subsystem import FLAG_OF, Event


def played(name: str, *routines: str, cpus: tuple[str, ...] = ()) -> LabResult:
    return Lab(read_scenario(name), Over(routines, cpus)).result(lambda _: contextlib.nullcontext())


kept = cache(played)


def one(result: LabResult, mode: str, *, smt: bool = False, ept: bool = True, **more: str) -> SumInfo:
    """The one run with these settings."""
    (found,) = [
        run
        for run in result.sums
        if (run.setting.mode, run.setting.smt, run.setting.ept) == (mode, smt, ept)
        and all(getattr(run.setting, key) == value for key, value in more.items())
    ]
    return found


def story() -> LabResult:
    """The story of 2018, with Linux's 64 KiB and with the 52 KiB that are enough for 8 ways."""
    return kept("linux-2018", "linux-4.18", "52k", cpus=("skylake",))


# Fewer than this many other lines in its set never displace a line from a tree of 8 ways.
TREE_KEEPS = 4


class Watched(Machine):
    """Looks at every entry which secret lines were touched since the last one, and which are there, one by one."""

    def touch(self, addresses: Addresses) -> None:
        self.since = [*getattr(self, "since", []), *(addresses // 64).tolist()]
        super().touch(addresses)

    def enter(self, late: Addresses | None = None, sibling: Addresses | None = None) -> Leak:
        touched = self.since
        secret_pages = np.flatnonzero(self.memory.owner == SECRET).tolist()
        secret = set(chain.from_iterable(range(page * 64, page * 64 + LINES_PER_PAGE) for page in secret_pages))
        there = {line for line in secret if self.l1d.holds(line * 64)}
        leak = super().enter(late, sibling)
        assert not leak.flushed and leak.secret_lines == len(there)
        fresh = secret & set(touched)
        assert fresh
        for line in fresh:
            after = touched[len(touched) - touched[::-1].index(line) :]
            others = {other for other in after if other % 64 == line % 64}
            assert line in there or len(others) >= TREE_KEEPS
        SEEN.append(len(fresh & there) / len(fresh))
        self.since = []
        return leak


SEEN: list[float] = []


def test_never_leaks_every_secret_line_that_was_touched_since_the_last_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = one(story(), "never", routine="linux-4.18").secret_bytes
    monkeypatch.setattr("l1dflush.vmentry.lab.play.Machine", Watched)
    SEEN.clear()
    text = (FOLDER / "linux-2018.toml").read_text().replace('mode = "always"', 'mode = "never"')
    (tmp_path / "never.toml").write_text(text)
    result = Lab(read_scenario(str(tmp_path / "never.toml")), Over(matrix=False)).result(
        lambda _: contextlib.nullcontext()
    )
    assert result.played.setting.policy == "tree-PLRU" and result.played.setting.geometry.ways == 8
    assert len(SEEN) == result.played.entries == 40
    assert set(SEEN) == {1.0}
    assert result.played.secret_bytes == expected


@pytest.mark.parametrize("routine", ["linux-4.18", "52k"])
def test_always_leaks_nothing(routine: str) -> None:
    result = story()
    assert one(result, "never", routine=routine).secret_bytes > 0
    always = one(result, "always", routine=routine)
    assert (always.secret_bytes, always.flushes) == (0, always.entries)


@pytest.mark.parametrize("routine", ["linux-4.18", "52k"])
def test_always_leaks_to_the_sibling_with_smt(routine: str) -> None:
    result = story()
    with_smt = one(result, "always", smt=True, routine=routine)
    assert with_smt.secret_bytes > 0 and with_smt.flushes == with_smt.entries
    alone = kept("smt-on")
    assert alone.played.setting.smt
    assert all(entry.flushed and not entry.secret_lines and entry.by_sibling for entry in alone.entries)
    assert one(alone, "always").secret_bytes == 0


@pytest.mark.parametrize("name", ["linux-2018", "merged-pages", "nmi", "smt-on"])
def test_without_ept_nothing_is_read(name: str) -> None:
    result = kept(name, "linux-4.18", "52k") if name == "linux-2018" else kept(name)
    without = [run for run in result.sums if not run.setting.ept]
    assert len(without) == sum(run.setting.ept for run in result.sums)
    assert {(run.secret_bytes, run.flushes, run.mode_at_end) for run in without} == {(0, 0, "EPT disabled")}
    assert any(run.secret_bytes for run in result.sums)


@pytest.mark.parametrize(
    ("name", "routine", "cpu", "enough"),
    [("one-pass", "one-pass", "skylake", "linux-4.18"), ("twelve-ways", "linux-4.18", "ice-lake", "planned")],
)
def test_from_the_worst_start_too_little_leaks(name: str, routine: str, cpu: str, enough: str) -> None:
    result = kept(name)
    assert result.played.setting.routine == routine and result.played.setting.cpu == cpu
    assert result.played.worst == "counterexample"
    assert all(entry.flushed and entry.secret_lines for entry in result.entries)
    assert result.played.random_work_bytes is not None
    assert result.played.random_work_bytes < result.played.secret_bytes
    proved = one(result, "always", routine=enough, cpu=cpu)
    assert (proved.worst, proved.secret_bytes, proved.random_work_bytes) == ("proved: there is none", 0, 0)


def test_the_seeds_64_kib_are_enough_for_eight_ways_and_not_for_twelve() -> None:
    result = kept("twelve-ways")
    assert one(result, "always", routine="linux-4.18", cpu="skylake").secret_bytes == 0
    assert one(result, "always", routine="linux-4.18", cpu="ice-lake").secret_bytes > 0


def test_an_own_line_keeps_others_alive() -> None:
    result = kept("own-line")
    assert result.played.worst == "counterexample"
    assert all(entry.flushed and entry.secret_lines for entry in result.entries)
    assert one(result, "always", routine="linux-4.18").secret_bytes == 0


def test_merged_pages_leak_and_different_ones_do_not() -> None:
    merged, different = read_scenario("merged-pages"), read_scenario("different-pages")
    # The two differ in the buffer's content only, and in the release that it belongs to.
    assert (merged.file.script, merged.file.seed) == (different.file.script, different.file.seed)
    assert merged.file.machine == different.file.machine and merged.file.memory == different.file.memory
    assert merged.file.machine.below_merges
    leaked, kept_apart = kept("merged-pages"), kept("different-pages")
    assert leaked.played.flushes == kept_apart.played.flushes == leaked.played.entries
    assert all(entry.secret_lines for entry in leaked.entries)
    assert kept_apart.played.secret_bytes == 0
    assert one(leaked, "never").secret_bytes == one(kept_apart, "never").secret_bytes


def test_an_nmi_after_the_flush_leaks_and_not_with_the_load_list() -> None:
    before, in_list = kept("nmi"), kept("nmi-load-list")
    assert all(entry.flushed and entry.secret_lines for entry in before.entries)
    assert one(before, "always", routine="msr").secret_bytes == before.played.secret_bytes
    assert in_list.played.secret_bytes == 0 and in_list.played.flushes == in_list.played.entries
    # In cond the flush cannot be in the list.
    assert one(in_list, "cond").secret_bytes == one(before, "cond", routine="msr").secret_bytes > 0
    assert one(in_list, "never").secret_bytes == one(before, "never", routine="msr").secret_bytes > 0


def test_nested_it_is_up_to_the_hypervisor_below() -> None:
    flushing, trusting = kept("nested"), kept("nested-trusting")
    assert flushing.played.mode_at_end == trusting.played.mode_at_end == "not required"
    assert flushing.played.flushes == trusting.played.flushes == 0
    assert {run.secret_bytes for run in flushing.sums} == {0}
    assert all(entry.secret_lines for entry in trusting.entries)


def test_cond_leaks_after_events_that_set_no_flag_and_never_else() -> None:
    scenario = read_scenario("cond-no-flag")
    (repeat,) = scenario.steps
    flagged, sensitive = [], False
    for step in repeat.steps * repeat.times:
        if step.verb == "event":
            sensitive |= FLAG_OF[Event(step.word)] is not None
        if step.verb == "enter":
            flagged.append(sensitive)
            sensitive = False
    result = kept("cond-no-flag")
    assert len(set(flagged)) == 2
    assert [entry.flushed for entry in result.entries] == flagged
    assert [entry.secret_lines == 0 for entry in result.entries] == flagged
    assert one(result, "always").secret_bytes == 0


def test_invalidations_break_a_steady_flush(tmp_path: Path) -> None:
    result = kept("invalidated")
    assert result.played.secret_bytes > 0
    assert one(result, "always", routine="planned").secret_bytes == 0
    script = (FOLDER / "invalidated.toml").read_text()
    assert script.count("  invalidate buffer 0-255\n") == 1
    (tmp_path / "left-alone.toml").write_text(script.replace("  invalidate buffer 0-255\n", ""))
    left_alone = played(str(tmp_path / "left-alone.toml"))
    assert left_alone.played.flushes == left_alone.played.entries == result.played.entries
    assert left_alone.played.secret_bytes == 0
    assert one(left_alone, "never", routine="one-pass").secret_bytes > 0


def test_other_starts_leak_other_amounts(tmp_path: Path) -> None:
    """The figures depend on what is played: nothing is written down anywhere."""
    text = (FOLDER / "linux-2018.toml").read_text()
    sums = []
    for number in (1, 2, 3):
        (tmp_path / "made.toml").write_text(text.replace("seed = 1\n", f"seed = {number}\n"))
        sums.append(
            one(played(str(tmp_path / "made.toml"), "52k", cpus=("skylake",)), "never", routine="52k").secret_bytes
        )
    assert len(set(sums)) > 1
