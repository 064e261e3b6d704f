# SPDX-License-Identifier: GPL-2.0-or-later
"""Worst starts in the model machine: the set is where the counterexample begins, and what it says comes true."""

from __future__ import annotations

import numpy as np
import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.sandbox.judged import verify
from l1dflush.verdict.counterexample_result import CounterexampleInfo, LineKind
from l1dflush.verdict.options import VerifyOptions
from l1dflush.vmentry.lab.machine import Addresses, Hardware, Machine
from l1dflush.vmentry.lab.memory import HOST, SECRET, Block
from l1dflush.vmentry.lab.routine_accesses import routine_accesses
from l1dflush.vmentry.lab.scenario import FOLDER
from l1dflush.vmentry.lab.worst import Worst, worst_start
from l1dflush.vmentry.subsystem import Mode

OWN_LINE = str(FOLDER / "own-line.s")
EIGHT, TWELVE = Geometry(32768, 8, 64), Geometry(49152, 12, 64)
CASES = [
    ("one-pass", "tree-PLRU", EIGHT),
    ("one-pass", "bit-PLRU", EIGHT),
    ("one-pass", "FIFO", EIGHT),
    ("two-passes", "tree-PLRU", EIGHT),
    ("linux-4.18", "LRU3PLRU4", TWELVE),
    ("52k", "FIFO", Geometry(65536, 16, 64)),
    (OWN_LINE, "tree-PLRU", EIGHT),
    (OWN_LINE, "LRU3PLRU4", TWELVE),
]


def options(source: str) -> VerifyOptions:
    return VerifyOptions(bind={"rdi": "buffer"} if source == OWN_LINE else {})


def counterexample(source: str, hardware: Hardware) -> CounterexampleInfo | None:
    asked = VerifyOptions(
        policy=hardware.policy,
        geometry=hardware.geometry,
        bind=options(source).bind,
        conditions=ALL_WAYS_VALID,
    )
    result = verify(source, asked)
    assert result.verdict in (Verdict.PROVED, Verdict.REFUTED)
    return result.rows[0].counterexample


def machine_for(source: str, hardware: Hardware) -> tuple[Machine, dict[str, Block]]:
    machine = Machine(hardware, routine_accesses(source, options(source)))
    blocks = {
        "heap": machine.memory.allocate("heap", 64, HOST),
        "vault": machine.memory.allocate("vault", 128, SECRET),
    }
    machine.load(Mode.ALWAYS)
    return machine, blocks


def address(name: str, index: int, machine: Machine, vault: Block, worst: Worst, example: CounterexampleInfo) -> int:
    """Where the line of that name lies for the set of that number; -1 for none."""
    buffer = machine.subsystem.buffer
    assert buffer is not None
    found: Addresses
    line = next(one for one in example.lines if one.name == name)
    if line.kind is LineKind.OLD:
        found = vault.line_addresses(np.array([worst.drive.watched[name] * 64 + index]))
    elif line.kind is LineKind.BUFFER:
        number = (line.offset or 0) // 64 - example.set_index + index
        inside = 0 <= number < buffer.lines
        found = buffer.line_addresses(np.array([number])) if inside else np.array([], dtype=np.uint64)
    else:
        found = machine.own_addresses(str(line.region), line.offset or 0)
    return int(found[0]) if len(found) and int(found[0]) // 64 % 64 == index else -1


@pytest.mark.parametrize(("source", "policy", "geometry"), CASES)
@pytest.mark.parametrize("before", ["nothing", "work"])
def test_the_drive_leads_to_the_counterexample(source: str, policy: str, geometry: Geometry, before: str) -> None:
    hardware = Hardware(policy, geometry)
    example = counterexample(source, hardware)
    worst = worst_start(source, options(source), hardware)
    if example is None:
        assert worst == "proved: there is none"
        return
    assert isinstance(worst, Worst), worst
    machine, blocks = machine_for(source, hardware)
    if before == "work":
        random = np.random.default_rng(7)
        for block in (*blocks.values(), machine.subsystem.buffer, *blocks.values()):
            assert block is not None
            machine.touch(block.line_addresses(random.integers(block.lines, size=3000)))
    worst.act(machine, blocks)
    vault, checked = blocks["vault"], 0
    for index in range(64):
        names = {*example.start, *(step.access for step in example.steps)} - {"invalid"}
        # Which line an old one is, is said of those that stay.
        names -= example.named(LineKind.OLD) - set(worst.drive.watched)
        lines = {name: address(name, index, machine, vault, worst, example) for name in names}
        if -1 in lines.values():
            continue
        checked += 1
        for name, at in lines.items():
            assert machine.l1d.holds(at) == (name in example.start), (index, name)
        for step in example.steps:
            assert machine.l1d.holds(lines[step.access]) == (step.result == "hit"), (index, step)
            machine.touch(np.array([lines[step.access]], dtype=np.uint64))
        left = [name for name in worst.drive.watched if machine.l1d.holds(lines[name])]
        assert len(left) == example.leftovers and set(left) <= set(example.end)
    # An own line is in one set only; otherwise a set is missing only where the buffer ends.
    own = {step.access for step in example.steps if not step.access.startswith("buffer")}
    assert checked == 1 if own else checked >= 60


@pytest.mark.parametrize(("source", "policy", "geometry"), CASES)
def test_what_leaks_is_what_the_counterexample_leaves(source: str, policy: str, geometry: Geometry) -> None:
    hardware = Hardware(policy, geometry)
    example = counterexample(source, hardware)
    worst = worst_start(source, options(source), hardware)
    if example is None or isinstance(worst, str):
        assert (example, worst) == (None, "proved: there is none")
        return
    machine, blocks = machine_for(source, hardware)
    routine = machine.routine
    words = {index: routine.line[(routine.line % 64 == index) & (routine.place < 0)] // 64 for index in range(64)}
    own_sets = set((routine.line[routine.place >= 0] % 64).tolist())
    for _ in range(2):
        worst.act(machine, blocks)
        leak = machine.enter()
        left = (machine.memory.owners(machine.l1d.contents) == SECRET).sum(axis=1)
        assert leak.flushed and leak.secret_lines == left.sum()
        if source == OWN_LINE and policy == "tree-PLRU":
            # The 64 KiB are enough wherever the counter is not.
            assert {index for index in range(64) if left[index]} == own_sets
            assert left.sum() == example.leftovers
            continue
        alike = [
            index
            for index in range(64)
            if index not in own_sets and words[index].tolist() == words[example.set_index].tolist()
        ]
        assert len(alike) >= 60
        assert {int(left[index]) for index in alike} == {example.leftovers}


def test_without_enough_secret_memory() -> None:
    hardware = Hardware("tree-PLRU", EIGHT)
    worst = worst_start("one-pass", VerifyOptions(), hardware)
    assert isinstance(worst, Worst)
    machine, blocks = machine_for("one-pass", hardware)
    with pytest.raises(InputError, match=f"the step worst needs {worst.drive.lines} pages of secret memory"):
        worst.act(machine, {"heap": blocks["heap"]})


def test_what_cannot_be_driven() -> None:
    assert worst_start("one-pass", VerifyOptions(), Hardware("LRU", EIGHT)) == "proved: there is none"
    assert (
        worst_start("one-pass", VerifyOptions(), Hardware("LRU", Geometry(65536, 8, 64))) == "128 sets are not driven"
    )
    assert worst_start("one-pass", VerifyOptions(), Hardware("random", EIGHT)) == (
        "random leaves choices, so that no accesses lead to one certain state"
    )
