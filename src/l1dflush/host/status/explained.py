# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of itself, held against what follows from the facts.

A world in which everything that was read comes about explains the host: as it booted, or after writes to the parameter
and to SMT's control since. Where there is none, the kernel may have rules of later versions, as distributions port them
back; where there is none then either, the two disagree. All explanations count, not the likeliest only: a verdict that
holds in some of them is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from l1dflush.errors import InputError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.stand_ins import release_known
from l1dflush.host.status.worlds import World, module_there, worlds
from l1dflush.mitigation.affected import Lists
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import Control
from l1dflush.mitigation.sysfs_text import Kind, Reading, read
from l1dflush.vmentry.subsystem import WRITABLE, Mode

_MOST_WORLDS = 20_000
_MOST_STAND_INS = 6_000
"""Of a host that says neither what kernel nor what CPU it has, and little else, nothing follows."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """``written``: what must have been written since boot for this to come about. ``decision``: what follows."""

    world: World
    written: tuple[Action, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Difference:
    """``what`` was read, what the facts lead to and what the kernel says."""

    what: str
    follows: str
    said: str


@dataclass(frozen=True, slots=True)
class Explained:
    """``possible``: every explanation, the likeliest first; empty if facts and kernel disagree. ``nearest``: the one
    with the fewest ``differences``, which are none if it explains everything."""

    possible: tuple[Explanation, ...]
    nearest: Explanation
    differences: tuple[Difference, ...]

    @property
    def shown(self) -> Explanation:
        """What a person is shown."""
        return self.possible[0] if self.possible else self.nearest


def explain(host: HostFacts, lists: Lists) -> Explained:
    """What explains an x86 ``host``. Raises InputError where too little is known to ask the decision."""
    tries: list[tuple[Explanation, tuple[Difference, ...]]] = []
    most = _MOST_WORLDS if release_known(host) and host.cpu.signature.known else _MOST_STAND_INS
    for backported in (False, True):
        candidates = tuple(islice(worlds(host, lists, backported=backported), most + 1))
        if len(candidates) > most:
            raise InputError("too little of the host could be read to say what follows")
        booted = tuple(_as_booted(candidates))
        judged = [(one, differences(host, one.decision)) for one in (*booted, *_as_written(booted, host))]
        possible = tuple(one for one, different in judged if not different)
        if possible:
            return Explained(possible, possible[0], ())
        tries += judged
    nearest, different = min(tries, key=lambda one: (len(one[1]), len(one[0].written)))
    return Explained((), nearest, different)


def differences(host: HostFacts, decision: Decision) -> tuple[Difference, ...]:
    """Where ``decision`` is not what was read. What could not be read, or means nothing known, is no difference."""
    says = host.mitigation
    pairs: list[tuple[str, str | None, str | None]] = []
    text = says.text.value
    if text is not None and read(text).kind is not Kind.UNKNOWN:
        same = decision.sysfs is not None and _means(decision.sysfs) == _means(text)
        pairs.append((says.text.origin, text if same else decision.sysfs, text))
    bugs = host.cpu.bugs.value
    # A kernel that does not know the bug has no flag for it.
    if bugs is not None and (pairs or "l1tf" in bugs):
        pairs.append((f"{host.cpu.bugs.origin}: bug l1tf", _yes(decision.bug), _yes("l1tf" in bugs)))
    parameter, loaded = decision.parameter, decision.mode is not None
    there = module_there(host).value
    if not loaded and there and says.built_in.value is not False:
        # Built in, and gave up at boot: its folder is there, and its mode was never set up.
        parameter, loaded = Mode.AUTO.value, True
    pairs += [
        (says.parameter.origin, parameter, says.parameter.value),
        (says.smt_control.origin, _control(decision.smt.value), _control(says.smt_control.value)),
        (says.smt_active.origin, _yes(decision.smt_active), _yes(says.smt_active.value)),
        (says.ept.origin, _yes(decision.ept), _yes(says.ept.value) if decision.mode or not loaded else None),
        (says.loaded.origin, _yes(loaded), _yes(there)),
    ]
    return tuple(
        Difference(what, follows or "no such file", said)
        for what, follows, said in pairs
        if said is not None and follows != said
    )


def _means(text: str) -> Reading:
    """What a text says, whoever wrote it in which layout: beside EPT disabled only the old one names SMT."""
    said = read(text)
    return replace(
        said, raw="", old_layout=False, early=False, smt=None if said.mode is Mode.EPT_DISABLED else said.smt
    )


def _as_booted(possible: Iterable[World]) -> Iterator[Explanation]:
    for world in possible:
        yield Explanation(world, (), decide(world.facts, world.actions))


def _as_written(booted: Iterable[Explanation], host: HostFacts) -> Iterator[Explanation]:
    """With the writes that bring what was read about, where there are such."""
    for one in booted:
        written = tuple(_writes(host, one.decision))
        if written:
            world = one.world
            yield Explanation(world, written, decide(world.facts, (*world.actions, *written)))


def _writes(host: HostFacts, booted: Decision) -> Iterator[Action]:
    """What was read of SMT and of the mode says what must have been written; where the files themselves could not be
    read, the kernel's one line does."""
    says = host.mitigation
    reading = read(says.text.value or "")
    control = says.smt_control.value
    active = says.smt_active.value if says.smt_active.known else reading.smt
    if control is None and active is not None and active is not booted.smt_active:
        control = Control.ON if active else Control.OFF
    if control in (Control.ON, Control.OFF, Control.FORCE_OFF) and control != booted.smt:
        yield Action(Do.WRITE_SMT, control)
    mode = says.parameter.value or reading.mode
    if mode in WRITABLE and mode != booted.parameter:
        yield Action(Do.WRITE, mode)


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _control(value: str | None) -> str | None:
    """Since 6.6 it may read a number of threads, which is neither on nor off; x86 has at most two."""
    return None if value is None or value.isdecimal() else value
