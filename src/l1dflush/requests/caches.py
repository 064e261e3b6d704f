# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions about caches without a routine: one for each policy and number of ways."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from l1dflush.arguments import CHANCE, CPU, CPU_FOLDER, GEOMETRY, HOST, POLICY, WAYS, about, flag, folders, text, texts
from l1dflush.cache.cpus import Cpu, Isa
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import NAMES, Policy, all_policies, get_policy, is_defined, known_policies, policy_unknown
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.data.catalogue import load_catalogue
from l1dflush.data.policy_files import policy_named
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Start
from l1dflush.requests.routine import Names, PathLike, conditions, geometry_of
from l1dflush.verdict.size.cells import Asked

USUAL_WAYS = (4, 8, 12, 16)
# Chances are exact fractions, which get longer with every access: smaller ones take longer than any time limit.
_LEAST_CHANCE = Fraction(1, 1 << 256)
_POWER = re.compile(r"2\^-([0-9]{1,4})")
# What Fraction takes, less what would make it compute for ever.
_FRACTION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,99})?(e-[0-9]{1,3})?|[0-9]{1,99}/[0-9]{1,99}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was given."""

    policies: tuple[str | Policy, ...]
    ways: tuple[int, ...]
    cpus: tuple[str, ...]
    geometry: str | Geometry | None
    host: bool
    cpu_folders: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Cache:
    """A cache that was named, and its policy (None: unknown) as far as a catalogue says it.

    ``said`` is the catalogue's name for it, which may be that of a family of policies.
    """

    geometry: Geometry
    title: str = ""
    cpus: tuple[Cpu, ...] = ()

    @property
    def said(self) -> str | None:
        return self.cpus[0].policy if len({cpu.policy for cpu in self.cpus}) == 1 else None

    @property
    def policy(self) -> str | None:
        return self.said if self.said is not None and is_defined(self.said, self.geometry.ways) else None

    @property
    def isa(self) -> Isa:
        return self.cpus[0].isa if self.cpus else "x86"

    @property
    def certainty(self) -> str:
        return ", ".join(dict.fromkeys(cpu.policy_certainty.value for cpu in self.cpus))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(cpu.name for cpu in self.cpus)


def questions(wanted: Wanted, start: str | Start | None, touches: int) -> list[Asked]:
    """At least one question. Raises InputError."""
    named = {CPU: bool(wanted.cpus), GEOMETRY: wanted.geometry is not None, HOST: wanted.host}
    given = [argument for argument, there in named.items() if there]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} exclude each other", hint="each says which cache")
    if wanted.cpu_folders and not (wanted.cpus or wanted.host):
        what = f"{CPU_FOLDER} is about CPUs, and there is none"
        raise InputError(what, hint=f"name one with {CPU}, or leave it out")
    if given and wanted.ways:
        raise InputError(f"{given[0]} and {WAYS} exclude each other", hint="a cache has its ways")
    asked = _of_caches(wanted) if given else _of_ways(wanted)
    # A machine may not know the usual start.
    return [replace(one, conditions=conditions(start, touches, one.policy)) for one in asked]


def one_cache(
    *,
    cpu: str | None = None,
    cpu_folder: Names = None,
    policy: PathLike | Policy | None = None,
    geometry: str | Geometry | None = None,
    host: bool = False,
    start: str | Start | None = None,
    touches: int = 0,
) -> Asked:
    """The question about one cache whose policy is known: a CPU's, this machine's (``host``), or that of a geometry and
    a policy. Raises InputError."""
    host = flag(HOST, host)
    if cpu is None and geometry is None and not host:
        raise InputError("which cache?", hint=f"{CPU.given('NAME')}, {HOST}, or {GEOMETRY} with {POLICY}")
    given = () if policy is None else (text(POLICY, policy) if isinstance(policy, str | os.PathLike) else policy,)
    wanted = Wanted(given, (), texts(CPU, cpu), geometry, host, folders(CPU_FOLDER, cpu_folder))
    with about(POLICY if cpu is None else CPU):
        asked = questions(wanted, start, touches)
    if len(asked) > 1 or asked[0].certainty == "unknown":
        names = ", ".join(one.policy.name for one in asked[:12])
        whose = asked[0].title or "this cache"
        raise InputError(policy_unknown(whose, asked[0].said), hint=f"choose one with {POLICY}: {names}")
    return asked[0]


def allowed_chance(text: str | None) -> Fraction | None:
    """From ``2^-20``, ``1e-6``, ``0.001`` or ``1/1000``. Raises InputError."""
    if text is None:
        return None
    written = text.strip().lower()
    value = Fraction(0)
    if power := _POWER.fullmatch(written):
        value = Fraction(1, 2 ** int(power[1]))
    elif _FRACTION.fullmatch(written):
        with suppress(ZeroDivisionError):
            value = Fraction(written)
    if _LEAST_CHANCE <= value < 1:
        return value
    hint = "like 2^-20, 1e-6 or 1/1000; below 1 and no smaller than 2^-256"
    raise CHANCE.refused(f"'{text[:40]}' is not a chance that can be asked for", hint)


def _policies(wanted: Wanted) -> dict[str, MachinePolicy | None]:
    """The policies that were named, by canonical name, machines with what they are."""
    found: dict[str, MachinePolicy | None] = {}
    for given in wanted.policies:
        policy = policy_named(given, None) if isinstance(given, str) else given
        machine = policy if isinstance(policy, MachinePolicy) else None
        if machine is not None and policy.name in found:
            raise POLICY.refused(f"two policies are called {policy.name}", "rename one of the files")
        found[policy.name] = machine
    return found


def _of_ways(wanted: Wanted) -> list[Asked]:
    policies = _policies(wanted) or dict.fromkeys(NAMES)
    asked: list[Asked] = []
    refused: InputError | None = None
    for name, machine in policies.items():
        mine: list[Asked] = []
        for ways in dict.fromkeys(wanted.ways or USUAL_WAYS):
            try:
                mine.append(Asked(_at(name, machine, ways)))
            except InputError as error:
                refused = error
        if not mine and not wanted.ways and wanted.policies:
            # It has ways of its own: a machine, or a tree of a shape that is not usual.
            mine.append(Asked(machine or policy_named(name, None)))
        asked += mine
    if not asked and refused is not None:
        raise refused
    return asked


def _at(name: str, machine: MachinePolicy | None, ways: int) -> Policy:
    if machine is None:
        return get_policy(name, ways)
    if machine.ways != ways:
        raise InputError(f"the machine has {machine.ways} ways, not {ways}", where=name)
    return machine


def _of_caches(wanted: Wanted) -> list[Asked]:
    policies = _policies(wanted)
    return [
        Asked(
            policy,
            geometry=cache.geometry,
            cpus=cache.names,
            title=cache.title,
            certainty=certainty,
            said=cache.said if cache.policy is None else None,
            isa=cache.isa,
        )
        for cache in _caches(wanted)
        for policy, certainty in _of_cache(cache, policies)
    ]


def _of_cache(cache: _Cache, given: dict[str, MachinePolicy | None]) -> Iterator[tuple[Policy, str]]:
    """The policies to ask about, with their certainty."""
    ways = cache.geometry.ways
    if given:
        yield from ((_at(name, machine, ways), "given") for name, machine in given.items())
    elif cache.policy is not None:
        yield get_policy(cache.policy, ways), cache.certainty
    else:
        # A geometry alone is no CPU that has one of the known policies.
        names, certainty = (known_policies(ways), "unknown") if cache.title else (all_policies(ways), "given")
        yield from ((get_policy(name, ways), certainty) for name in names)


def _caches(wanted: Wanted) -> Sequence[_Cache]:
    if wanted.geometry is not None:
        return (_Cache(geometry_of(wanted.geometry)),)
    if wanted.cpus:
        catalogue = load_catalogue(wanted.cpu_folders)
        cpus = {cpu.name: cpu for cpu in map(catalogue.get, wanted.cpus)}
        return [_Cache(cpu.geometry, cpu.title, (cpu,)) for cpu in cpus.values()]
    from l1dflush.host.this_cpu import this_cpu

    found = this_cpu(wanted.cpu_folders)
    return (_Cache(found.geometry, f"this machine ({found.title})" if found.title else "this machine", found.cpus),)
