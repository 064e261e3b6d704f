# SPDX-License-Identifier: GPL-2.0-or-later
"""The analysis of what a real machine answered: ``tests/data/silicon``, recorded by ``recorded_silicon.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_silicon import COST_ROUNDS, PLANNED, SEED, SEQUENCES, TIMES, Player, Recorder

from l1dflush.silicon.measure.costs import Costs, variants
from l1dflush.silicon.measure.identify import identify
from l1dflush.silicon.measure.session import CONTROL_SET

FOLDER = Path(__file__).parents[1] / "data" / "silicon"


def test_a_zen_4_in_a_virtual_machine_has_tree_plru() -> None:
    about = json.loads((FOLDER / "zen4-vm.json").read_text())
    assert (about["ways"], about["clock"]["step"], about["hypervisor"]) == (8, 26, True)
    played = Player(FOLDER / "zen4-vm.identify.npz")
    found = identify(played, 8, CONTROL_SET, SEED, count=SEQUENCES, times=TIMES)
    assert played.over
    best, second = found.matches[:2]
    assert (found.best, best.matched, best.decided, best.wrong) == ("tree-PLRU", 150, 150, 0)
    assert best.twins == ("LRU2PLRU4", "MRU2PLRU4")
    assert second.share < 0.3
    assert (found.levels.hit, found.levels.miss) == (234, 416)


def test_what_a_flush_costs_there() -> None:
    played = Player(FOLDER / "zen4-vm.costs.npz")
    measured = Costs(played, 32 << 10, variants(PLANNED))
    measured.play(COST_ROUNDS)
    assert played.over
    by_name = {(one.variant.what, one.before): one for one in measured.costs()}
    ratio = by_name["planned fill alone", "clean"].cycles / by_name["linux-2018 fill alone", "clean"].cycles
    assert 0.78 < ratio < 0.85
    # A hypervisor traps cpuid.
    assert by_name["Linux's 2018 routine, with cpuid", "clean"].cycles > 10_000
    assert by_name["the same, with lfence", "clean"].cycles < 3_000


def test_another_question_is_no_playback() -> None:
    played = Player(FOLDER / "zen4-vm.identify.npz")
    with pytest.raises(AssertionError, match="another question"):
        identify(played, 12, CONTROL_SET, SEED, count=40, times=1)


def test_what_is_recorded_is_what_is_played(tmp_path: Path) -> None:
    from fake_silicon import ZEN, FakeRegion  # noqa: PLC0415

    recorder = Recorder(FakeRegion("FIFO", disturbance=ZEN))
    first = identify(recorder, 8, CONTROL_SET, 1, count=40, times=2)
    recorder.save(tmp_path / "one.npz")
    assert identify(Player(tmp_path / "one.npz"), 8, CONTROL_SET, 1, count=40, times=2) == first
