# SPDX-License-Identifier: GPL-2.0-or-later
"""What a :class:`~l1dflush.silicon.flusher.Flusher` reads on this machine, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from l1dflush import _core
from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, get_policy, policy_unknown
from l1dflush.errors import InputError, NoPlanError, UndecidedError
from l1dflush.host.l1d import CACHES, CPUINFO
from l1dflush.host.this_cpu import this_cpu
from l1dflush.in_words import in_words
from l1dflush.planning.find import NeverError, find
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.renamed import renamed

PAGE = 4096
LINUX_2018_BYTES = 64 << 10
_LINE = 64
_SECONDS = 30.0


class Variant(StrEnum):
    """What is read, and how much of it."""

    LINUX_2018 = "linux-2018"
    """64 KiB, in the order of Linux's 2018 patch, with cpuid between the warm-up and the fill."""
    PLANNED = "planned"
    """As many lines as are provably enough for this cache, with lfence in the place of cpuid."""
    STEADY = "steady"
    """The same, as many as are enough if this flush comes again and again."""


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache a flush is for. ``policy`` None: nobody knows it; ``said``: who it is and how that is known."""

    geometry: Geometry | None
    policy: Policy | None
    said: str


@dataclass(frozen=True, slots=True)
class FlushPlan:
    """``routine`` is the core's name for the loops, ``size`` what they read, ``first_size`` what they read before that
    from another buffer, the first time on every CPU (0: nothing); in bytes. ``scope`` is for people."""

    variant: Variant
    routine: str
    size: int
    first_size: int
    cache: Cache
    conditions: Conditions
    scope: str


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of a Flusher as they were given."""

    variant: str | None = None
    policy: str | Policy | None = None
    geometry: Geometry | str | None = None
    start: str | None = None
    touches: int = 0
    buffer_size: int | None = None


def flush_plan(request: Request, caches: Path = CACHES, cpuinfo: Path = CPUINFO) -> FlushPlan:
    """Raises InputError for what makes no sense, and NoPlanError where a plan was asked for and there is none."""
    variant = _variant(request.variant)
    _check(request)
    cache = _cache(request, caches, cpuinfo)
    conditions = _conditions(request, variant, cache)
    given = request.buffer_size
    if variant is None:
        variant = Variant.LINUX_2018 if cache.policy is None and given is None else Variant.PLANNED
    elif variant is not Variant.LINUX_2018 and cache.policy is None and (given is None or variant is Variant.STEADY):
        hint = "policy= names one; variant='linux-2018' reads 64 KiB whatever the policy is"
        raise NoPlanError(f"{policy_unknown(cache.said.rstrip(','))}, so there is no plan", hint=hint)
    enough: int | None
    try:
        enough = _enough(cache, conditions)
    except NoPlanError:
        if variant is not Variant.LINUX_2018 and given is None:
            raise
        enough = None
    first = 0
    if variant is Variant.LINUX_2018:
        size = given or LINUX_2018_BYTES
    else:
        size = given or enough or 0
        if conditions.start.base is Base.STEADY:
            first = _enough(cache, replace(conditions, start=_usual(cache.policy))) or 0
    scope = _scope(variant, size, enough, cache, conditions)
    routine = "linux-2018" if variant is Variant.LINUX_2018 else "planned"
    return FlushPlan(variant, routine, size, first, cache, conditions, scope)


def _variant(text: str | None) -> Variant | None:
    try:
        return None if text is None else Variant(text)
    except ValueError:
        raise InputError(renamed(str(text)) or f"there is no variant '{text}'", hint=", ".join(Variant)) from None


def _check(request: Request) -> None:
    size = request.buffer_size
    if size is not None and (size <= 0 or size % PAGE or size > _core.LARGEST_BUFFER):
        hint = f"a multiple of {PAGE}, at most {_core.LARGEST_BUFFER}"
        raise InputError(f"a buffer of {size} bytes cannot be read", where="buffer_size", hint=hint)
    if request.touches < 0:
        raise InputError(f"{request.touches} touches make no sense", where="touches", hint="0 or more")


def _cache(request: Request, caches: Path, cpuinfo: Path) -> Cache:
    shape = Geometry.parse(request.geometry) if isinstance(request.geometry, str) else request.geometry
    if shape is not None and shape.line < _LINE:
        raise InputError(f"the flush reads every {_LINE} bytes, not every {shape.line}", where="geometry")
    named: str | None = None
    said = "a cache of this geometry"
    if shape is None:
        try:
            host = this_cpu((), caches, cpuinfo)
        except InputError:
            if request.policy is not None:
                raise
            return Cache(None, None, "this machine, whose L1D the kernel does not describe,")
        shape, named = host.geometry, host.policy
        said = f"this CPU ({host.title or 'the kernel does not say which'})"
        cores = {cpu.core for cpu in host.cpus if cpu.core is not None}
        if named is not None:
            said = f"{said}, {named} ({in_words(host.certainty)}),"
        if cores:
            said += f" its {' and '.join(sorted(cores))} cores only,"
    policy = request.policy
    if isinstance(policy, str):
        policy = get_policy(policy, shape.ways)
    elif policy is None and named is not None:
        policy = get_policy(named, shape.ways)
    if policy is not None and policy.ways != shape.ways:
        raise InputError(f"{policy.name} has {policy.ways} ways here, and the cache {shape.ways}", where="policy")
    if request.policy is not None and policy is not None:
        said = f"{said.split(',')[0]}, {policy.name} (given),"
    return Cache(shape, policy, said)


def _usual(policy: Policy | None) -> Start:
    """Where nobody knows what the policy does when an invalid way is filled, all ways are valid."""
    return Start() if policy is None or policy.has_fills else Start(Base.ANY)


def _conditions(request: Request, variant: Variant | None, cache: Cache) -> Conditions:
    if request.start is not None:
        start = Start.parse(request.start)
    else:
        start = Start(Base.STEADY) if variant is Variant.STEADY else _usual(cache.policy)
    if start.steady and variant is not Variant.STEADY:
        raise InputError(f"a start that is {start} needs the variant 'steady'", where="start")
    if variant is Variant.STEADY and not start.steady:
        raise InputError(f"the variant 'steady' needs a steady start, not {start}", where="start")
    return Conditions(start, request.touches)


def _enough(cache: Cache, conditions: Conditions) -> int | None:
    """How many bytes are enough, in whole pages; None if the policy is not known. Raises NoPlanError."""
    if cache.policy is None or cache.geometry is None:
        return None
    shape = cache.geometry
    try:
        lines = find(cache.policy, shape, conditions, limits=Limits(DEFAULT_MEMORY, _SECONDS)).lines
    except NeverError as error:
        raise NoPlanError(str(error), hint="no flush that only reads is certain on this cache") from None
    except UndecidedError as error:
        raise NoPlanError(f"no plan was found: {error}", hint="variant='linux-2018' needs none") from None
    return -(-lines * shape.sets * shape.line // PAGE) * PAGE


def _scope(variant: Variant, size: int, enough: int | None, cache: Cache, conditions: Conditions) -> str:
    read = f"{size >> 10} KiB are read."
    if cache.policy is None:
        return f"{read} Nothing is proved: {policy_unknown(cache.said.rstrip(','))}."
    start = f"from {conditions.start} ({conditions.start.meaning})"
    others = f", with at most {conditions.touches} accesses by others to a set meanwhile"
    if enough is None:
        worth = f"For {cache.said} no number is known to be enough {start}"
    elif size < enough:
        worth = f"For {cache.said} this is NOT enough: it takes {enough >> 10} KiB {start}"
    else:
        least = "" if size == enough else f"; {enough >> 10} KiB would do"
        worth = f"For {cache.said} this is enough {start}{least}"
    text = f"{read} {worth}{others if conditions.touches else ''}."
    if variant is Variant.STEADY:
        text += " Taken for granted: nothing else reads the buffer, and the kernel leaves it where it is in memory"
        if not conditions.start.invalidations:
            text += "; nobody invalidates its lines, as an outer cache that includes the L1D does"
        text += "."
    if cache.geometry is not None and cache.geometry.sets * cache.geometry.line > PAGE:
        text += " The set index exceeds the page offset: unless the buffer is a huge page, nobody knows its sets."
    return text
