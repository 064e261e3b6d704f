"""The model machine against a plain second one: the same leaks, entry by entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_lab import PlainLab

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, get_policy, known_policies
from l1dflush.data.catalogue import load_catalogue
from l1dflush.verdict.options import VerifyOptions
from l1dflush.vmentry.lab import Played, Setting, play
from l1dflush.vmentry.machine import Hardware
from l1dflush.vmentry.routine_accesses import NO_ACCESSES, RoutineAccesses, routine_accesses
from l1dflush.vmentry.scenario import Scenario, read_scenario, shipped
from l1dflush.vmentry.subsystem import Boot, Event, Mode
from l1dflush.vmentry.worst import worst_start


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


NAMES = st.sampled_from(["heap", "vault", "odd", "buffer"])


@st.composite
def lines(draw: st.DrawFn) -> str:
    name = draw(NAMES)
    how = draw(st.sampled_from(["all", "some", "span"]))
    if how == "all" and name != "heap":
        return name
    if how == "span":
        # The smallest has three lines.
        first = draw(st.integers(0, 2))
        return f"{name} {first}-{draw(st.integers(first, 2))}"
    return f"{name} {draw(st.integers(0, 40))} random"


STEP = st.one_of(
    lines().map(lambda of: f"touch {of}"),
    lines().map(lambda of: f"touch {of}"),
    lines().map(lambda of: f"invalidate {of}"),
    lines().map(lambda of: f"nmi {of}"),
    lines().map(lambda of: f"sibling {of}"),
    st.sampled_from(list(Event)).map(lambda event: f"event {event}"),
    st.sampled_from(["auto", "never", "cond", "always"]).map(lambda mode: f"write {mode}"),
    st.just("replay vault"),
    st.just("worst"),
    st.just("enter"),
    st.just("enter"),
)
SCRIPT = st.recursive(
    st.lists(STEP, max_size=8).map("\n".join),
    lambda inner: st.tuples(st.integers(1, 3), inner).map(lambda both: f"repeat {both[0]}\n{both[1]}\nend"),
    max_leaves=6,
)


@st.composite
def routines(draw: st.DrawFn) -> RoutineAccesses:
    own = draw(st.integers(0, 2))
    pages = draw(st.integers(1, 5))
    accesses = draw(st.lists(st.tuples(st.integers(-1, own - 1), st.integers(0, 63)), max_size=60))
    in_order = [(-1, line) for line in range(draw(st.sampled_from([0, 64 * pages])))]
    both = [*accesses, *in_order]
    place = np.array([one for one, _ in both], dtype=np.int64)
    line = np.array([one for _, one in both], dtype=np.int64)
    return RoutineAccesses("made", place, line, ("stack", "variable")[:own], (1,) * own, (0,) * own, pages)


@st.composite
def caches(draw: st.DrawFn) -> tuple[str, Geometry]:
    ways = draw(st.integers(1, 8))
    known = [name for name in known_policies(ways) if isinstance(get_policy(name, ways), Deterministic)]
    sets = draw(st.sampled_from([1, 2, 4, 16, 64]))
    return draw(st.sampled_from(known)), Geometry(64 * ways * sets, ways, 64)


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
MOSTLY = st.sampled_from([True, True, True, False])
SELDOM = MOSTLY.map(lambda value: not value)


@st.composite
def scenarios(draw: st.DrawFn, folder: Path) -> Scenario:
    command = draw(SELDOM)
    values: dict[str, bool] = {
        "bug": draw(MOSTLY),
        "ept": draw(MOSTLY),
        "command": command,
        "load_list": command and draw(st.booleans()),
        "merges": draw(st.booleans()),
        "below": draw(SELDOM),
        "skip": draw(SELDOM),
        "initialised": draw(st.booleans()),
    }
    words = {key: str(value).lower() for key, value in values.items()}
    script = "\n".join([draw(SCRIPT), "touch vault 7 random\nenter", draw(SCRIPT), "enter"])
    boot = draw(st.sampled_from(list(Boot)))
    (folder / "made.toml").write_text(FILE.format(script=script, seed=draw(st.integers(0, 99)), boot=boot, **words))
    trace = draw(st.lists(st.integers(0, 1023), min_size=1, max_size=9))
    (folder / "vault.txt").write_text("\n".join(hex(offset) if offset % 2 else str(offset) for offset in trace))
    return read_scenario(str(folder / "made.toml"))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), cache=caches(), routine=routines(), smt=st.booleans())
def test_made_scenarios(
    data: st.DataObject, cache: tuple[str, Geometry], routine: RoutineAccesses, smt: bool, tmp_path: Path
) -> None:
    scenario = data.draw(scenarios(tmp_path))
    policy, geometry = cache
    machine = scenario.file.machine
    mode = data.draw(st.sampled_from([Mode.AUTO, Mode.NEVER, Mode.COND, Mode.ALWAYS]))
    setting = Setting(mode, "made", "made", smt, machine.ept, machine.command)
    plain = PlainLab(scenario, policy, geometry, routine, mode, smt, machine.ept, machine.command)
    assert told(play(scenario, setting, Hardware(policy, geometry), routine, None)) == plain.run()
