# SPDX-License-Identifier: GPL-2.0-or-later
"""The model machine against a plain second one: the same leaks, entry by entry."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_lab import PlainLab

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, get_policy, known_policies
from l1dflush.data.catalogue import load_catalogue
from l1dflush.verdict.options import VerifyOptions
from l1dflush.vmentry.lab.machine import Hardware
from l1dflush.vmentry.lab.play import Played, Setting, play
from l1dflush.vmentry.lab.routine_accesses import NO_ACCESSES, RoutineAccesses, routine_accesses
from l1dflush.vmentry.lab.scenario import Scenario, read_scenario, shipped
from l1dflush.vmentry.lab.worst import worst_start
from l1dflush.vmentry.subsystem import Boot, Event, Mode


def told(played: Played) -> list[tuple[bool, int, int]]:
    return [(leak.flushed, leak.secret_lines, leak.by_sibling) for leak in played.leaks]


@pytest.mark.parametrize("mode", [Mode.NEVER, Mode.COND, Mode.ALWAYS])
@pytest.mark.parametrize("name", shipped())
def test_shipped_scenarios(name: str, mode: Mode) -> None:
    scenario = read_scenario(name)
    file = scenario.file
    cpu = load_catalogue().get(file.machine.cpu)
    assert cpu.policy is not None
    source = str(scenario.folder / file.flush.routine) if file.flush.bind else file.flush.routine
    options = VerifyOptions(bind=file.flush.bind)
    routine = NO_ACCESSES if file.machine.command else routine_accesses(source, options)
    hardware = Hardware(cpu.policy, cpu.geometry)
    worst = worst_start(source, options, hardware) if "worst" in file.script else None
    assert not isinstance(worst, str)
    for smt in (file.machine.smt, not file.machine.smt):
        setting = Setting(mode, file.flush.routine, cpu.name, smt, file.machine.ept, file.machine.command)
        plain = PlainLab(
            scenario, cpu.policy, cpu.geometry, routine, mode, smt, file.machine.ept, file.machine.command, worst
        )
        expected = plain.run()
        assert told(play(scenario, setting, hardware, routine, worst)) == expected
        assert expected


STEPS = (
    ["touch"] * 6 + ["event"] * 4 + ["enter"] * 4
    + ["nmi", "nmi", "sibling", "sibling", "invalidate", "invalidate", "write", "replay", "worst", "repeat"]
)  # fmt: skip


def lines(random: Random) -> str:
    name = random.choice(["heap", "vault", "vault", "odd", "buffer"])
    how = random.choice(["all", "some", "some", "span"])
    if how == "all":
        return name
    if how == "span":
        # The smallest has three lines.
        first, last = sorted((random.randrange(3), random.randrange(3)))
        return f"{name} {first}-{last}"
    return f"{name} {random.choice([0, 1, 4, 20, 100])} random"


def script(random: Random, length: int, depth: int = 0) -> str:
    made = []
    for _ in range(length):
        match random.choice(STEPS):
            case "event":
                made.append(f"event {random.choice(list(Event))}")
            case "write":
                made.append(f"write {random.choice(['auto', 'never', 'cond', 'always'])}")
            case "replay":
                made.append("replay vault")
            case "repeat" if depth < 2:
                made.append(f"repeat {random.randint(1, 3)}\n{script(random, length // 2, depth + 1)}\nend")
            case "enter" | "worst" | "repeat" as alone:
                made.append("enter" if alone == "repeat" else alone)
            case verb:
                made.append(f"{verb} {lines(random)}")
    return "\n".join([*made, "enter"])


def made_routine(random: Random) -> RoutineAccesses:
    own, pages = random.randint(0, 2), random.randint(1, 5)
    both = [(random.randint(-1, own - 1), random.randrange(64)) for _ in range(random.randint(0, 40))]
    if random.random() < 0.7:
        both += [(-1, line) for line in range(64 * pages)]
    place = np.array([one for one, _ in both], dtype=np.int64)
    line = np.array([one for _, one in both], dtype=np.int64)
    return RoutineAccesses("made", place, line, ("stack", "variable")[:own], (1,) * own, (0,) * own, pages)


def cache(random: Random) -> tuple[str, Geometry]:
    ways = random.randint(1, 8)
    known = [name for name in known_policies(ways) if isinstance(get_policy(name, ways), Deterministic)]
    return random.choice(known), Geometry(64 * ways * random.choice([1, 2, 4, 16, 64]), ways, 64)


FILE = """
title = "made"
seed = {seed}
script = '''
{script}
'''
[machine]
bug = {bug}
ept = {ept}
command = {command}
load_list = {load_list}
below_merges = {merges}
below_flushes = {below}
flush_not_required = {skip}
[flush]
boot = "{boot}"
initialised = {initialised}
[memory]
heap = {{ size = "6K" }}
vault = {{ size = "1K", secret = true, trace = "vault.txt" }}
odd = {{ size = "190B", secret = true }}
"""


def made_scenario(random: Random, folder: Path) -> Scenario:
    def seldom() -> bool:
        return random.random() < 0.08

    command, merges = random.random() < 0.3, random.random() < 0.5
    values = {
        "bug": not seldom(),
        "ept": not seldom(),
        "command": command,
        "load_list": command and random.random() < 0.6,
        "merges": merges,
        "below": seldom(),
        "skip": seldom(),
        "initialised": random.random() < (0.3 if merges else 0.7),
    }
    words = {key: str(value).lower() for key, value in values.items()}
    text = FILE.format(script=script(random, 12), seed=random.randrange(99), boot=random.choice(list(Boot)), **words)
    (folder / "made.toml").write_text(text)
    offsets = [random.randrange(1024) for _ in range(random.randint(1, 9))]
    (folder / "vault.txt").write_text("\n".join(hex(offset) if offset % 2 else str(offset) for offset in offsets))
    return read_scenario(str(folder / "made.toml"))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**64))
def test_made_scenarios(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    scenario, routine, (policy, geometry) = made_scenario(random, tmp_path), made_routine(random), cache(random)
    machine = scenario.file.machine
    mode, smt = random.choice([Mode.AUTO, Mode.NEVER, Mode.COND, Mode.ALWAYS]), random.random() < 0.5
    setting = Setting(mode, "made", "made", smt, machine.ept, machine.command)
    plain = PlainLab(scenario, policy, geometry, routine, mode, smt, machine.ept, machine.command)
    assert told(play(scenario, setting, Hardware(policy, geometry), routine, None)) == plain.run()
