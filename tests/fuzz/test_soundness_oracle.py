# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzzer's judges are judged: a PROVED that is a lie does not get past them, and a true one does."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import adversary
import kernel_modules
import plain_machine
import pytest
import seeds
import soundness
from damage import Change, change_bytes, fields
from kernel_modules import Module
from plain_machine import Placed
from seeds import Seed
from soundness import Judged, UnsoundError

from l1dflush.ending import Verdict
from l1dflush.verdict import rows

pytestmark = pytest.mark.skipif(not seeds.HAS_AS, reason="the GNU assembler is not installed")
FULL = Module()
FLAGS = Module(site=None)


def judged(data: bytes, folder: Path, name: str = "module.ko", function: str | None = "flush_me") -> Judged:
    path = folder / name
    path.write_bytes(data)
    return soundness.judged(path, soundness.options_of(Seed(name, data, function)))


def claimed(found: Judged, *, without: str = "") -> Judged:
    """The same, as if it were proved, and without the paths of one outcome."""
    assert found.result is not None
    paths = tuple(path for path in found.result.paths if path.outcome != without)
    return replace(found, result=found.result.model_copy(update={"verdict": Verdict.PROVED, "paths": paths}))


@pytest.mark.parametrize(
    ("policy", "ways", "needs"),
    [("LRU", 4, 4), ("tree-PLRU", 4, 5), ("FIFO", 4, 7), ("bit-PLRU", 4, 6), ("tree-PLRU", 8, 13), ("FIFO", 8, 15)],
)
def test_the_adversary_knows_the_published_figures(policy: str, ways: int, needs: int) -> None:
    assert adversary.leftovers(policy, ways, tuple(range(needs))) == 0
    assert adversary.leftovers(policy, ways, tuple(range(needs - 1))) > 0


def test_the_adversary_uses_what_is_read_again() -> None:
    between = [line for page in range(32) for line in (page, 99)]
    assert adversary.leftovers("tree-PLRU", 8, adversary.canonical(between)) == 3
    doubled = [*range(16), *range(16)]
    assert adversary.leftovers("tree-PLRU", 8, adversary.canonical(doubled)) == 0


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("likely", [True, False], ids=["bit 0 set", "bit 0 clear"])
@pytest.mark.parametrize("table", ["relative", "absolute"])
def test_the_plain_machine_goes_every_way(bits: int, likely: bool, table: str) -> None:
    """Seven ways with the key thrown; with it off, there is no skipping."""
    data = kernel_modules.build(Module(bits=bits, likely=likely, table=table, padding=2))
    seen: Counter[tuple[bool, bool]] = Counter()
    for number in range(40):
        dice = random.Random(number)
        placed = Placed(plain_machine.read_object(data), dice)
        (_, _, key) = placed.sites()[0]
        assert key & 3 == likely
        placed.throw(dice, shipped=False)
        run = plain_machine.run(placed, placed.entry("flush_me"), dice)
        walks = run.lines >= 1024
        assert walks == (soundness.survivors(run.stretches[0]) == 0)
        seen[walks, run.flush_command] += 1
    assert set(seen) == {(True, False), (False, True), (False, False)}


@pytest.mark.parametrize("module", [FULL, FLAGS, Module(bits=32), Module(bits=32, site=None, flags=False)])
def test_what_is_true_gets_past(module: Module, tmp_path: Path) -> None:
    found = judged(kernel_modules.build(module), tmp_path)
    assert found.proved
    soundness.confirm(found, {}, runs=20)


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("size", [4096 * 12, 32768, 8192])
def test_a_walk_that_is_too_short(bits: int, size: int, tmp_path: Path) -> None:
    found = judged(kernel_modules.build(Module(bits=bits, site=None, flags=False, record=None, size=size)), tmp_path)
    assert found.result is not None and found.result.verdict is Verdict.REFUTED
    with pytest.raises(UnsoundError, match="leave"):
        soundness.confirm(claimed(found), {}, runs=5)


def test_every_other_line(tmp_path: Path) -> None:
    text = seeds.WALK.replace("add     $64", "add     $128")
    found = judged(text.encode(), tmp_path, "walk.s", None)
    assert found.result is not None and found.result.verdict is Verdict.REFUTED
    with pytest.raises(UnsoundError):
        soundness.confirm(claimed(found), {}, runs=3)


@pytest.mark.parametrize("outcome", ["skipped", "msr-write"])
def test_a_path_that_nobody_owns_up_to(outcome: str, tmp_path: Path) -> None:
    found = judged(kernel_modules.build(FLAGS), tmp_path)
    with pytest.raises(UnsoundError, match=f"a run ends in '{outcome}'"):
        # Which run skips it is a matter of luck.
        soundness.confirm(claimed(found, without=outcome), {}, runs=100)


def test_an_outcome_of_a_key_that_is_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "FOLLOWS_KEYS", True)
    found = judged(kernel_modules.build(FULL), tmp_path)
    with pytest.raises(UnsoundError, match="a run ends in 'skipped'"):
        soundness.confirm(claimed(found, without="skipped"), {}, runs=20)


@pytest.mark.parametrize("module", [FLAGS, Module(bits=32, site=None, flags=False)])
def test_a_verdict_on_other_code_than_there_is(module: Module, tmp_path: Path) -> None:
    """As if the loader had not seen that the code is damaged."""
    found = judged(kernel_modules.build(module), tmp_path)
    short = kernel_modules.build(replace(module, size=32768))
    with pytest.raises(UnsoundError, match="leaves"):
        soundness.confirm(replace(found, code=short), {}, runs=10)


def test_a_prover_that_says_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From end to end: the bug is in the package, and the check that every input goes through finds it."""
    monkeypatch.setattr(rows, "_bound", lambda curve, word: 0)
    path = tmp_path / "short.ko"
    path.write_bytes(kernel_modules.build(Module(site=None, size=32768)))
    with pytest.raises(UnsoundError):
        soundness.check(path, soundness.options_of(Seed("short.ko", b"", "flush_me")))


def test_untouched_means_that_the_code_is(tmp_path: Path) -> None:
    data = kernel_modules.build(Module(site=None, padding=3))
    before = judged(data, tmp_path)
    assert judged(data, tmp_path).reached == before.reached
    # A name that is not reached, and a place that is.
    name = fields(data)["name"][0]
    elsewhere = judged(change_bytes(data, Change("set", name.offset, 1, ord("x"))), tmp_path)
    assert elsewhere.reached == before.reached
    at = data.index(bytes.fromhex("b90b010000"))
    msr = judged(change_bytes(data, Change("set", at + 1, 1, 0x49)), tmp_path)
    assert msr.result is not None and msr.reached != before.reached
    walk = data.index(bytes.fromhex("0faee8"))
    fence = judged(change_bytes(data, Change("set", walk + 2, 1, 0xF0)), tmp_path)
    assert fence.proved and fence.reached != before.reached
