# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flush costs: as the user says, as ``l1dflush measure --json`` wrote it, or measured here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from l1dflush.errors import InputError, UndecidedError
from l1dflush.json_keys import check_keys
from l1dflush.renamed import renamed
from l1dflush.silicon.measure.model import MeasureResult
from l1dflush.user_files import read_file
from l1dflush.vmentry.cost.model import FlushInfo

ROUNDS = 40
MOST_FLUSHES = 6
_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ns|us|ms)?")
_UNITS = {None: 1.0, "ns": 1.0, "us": 1e3, "ms": 1e6}
_LARGEST_FILE = 16 << 20
_LINUX_2018_BYTES = 64 << 10
# A guest that ran in between has pushed the flush's buffer out of the L1D, so it comes from the L2.
_BEFORE = "clean"
_HOW = "like linux-2018=4200ns,planned=490ns,msr=0.6us"


def given_costs(texts: Iterable[str]) -> dict[str, FlushInfo]:
    """``NAME=DURATION``, several with commas between, by name. Raises InputError."""
    out: dict[str, FlushInfo] = {}
    for text in ",".join(texts).split(","):
        name, _, duration = text.strip().partition("=")
        found = _DURATION.fullmatch(duration.strip())
        if not _NAME.fullmatch(name) or found is None or not float(found[1]):
            raise InputError(f"{text[:80]!r} is not a flush and its time", where="--flush-cost", hint=_HOW)
        if (now := renamed(name)) is not None:
            raise InputError(now, where="--flush-cost")
        if name in out:
            raise InputError(f"'{name}' is given twice", where="--flush-cost")
        out[name] = FlushInfo(name=name, nanoseconds=float(found[1]) * _UNITS[found[2]], source="given", in_guest=False)
    if len(out) > MOST_FLUSHES:
        raise InputError(f"{len(out)} flushes are too many for one table", where="--flush-cost", hint="at most 6")
    return out


def costs_from_file(path: Path) -> dict[str, FlushInfo]:
    """The costs that ``l1dflush measure --json`` wrote into a file. Raises InputError if there are none in it."""
    where = str(path)
    data = read_file(path, _LARGEST_FILE)
    try:
        result = MeasureResult.model_validate_json(data)
    except ValidationError:
        hint = "l1dflush measure --what costs --json writes one"
        raise InputError("this is not a result of 'l1dflush measure --json'", where=where, hint=hint) from None
    check_keys(data, where)
    if not result.costs:
        raise InputError("no costs were measured in it", where=where, hint="l1dflush measure --what costs --json")
    for one in result.costs:
        if (now := renamed(one.loop)) is not None:
            raise InputError(f"an earlier version wrote it: {now}", where=where, hint="measure once more")
    guest = result.environment.hypervisor
    # Both are the loop "planned" there, with Linux's buffer and with the plan's.
    sizes = {"linux-2018": ("linux-2018", _LINUX_2018_BYTES), "planned": ("planned", result.planned)}
    out: dict[str, FlushInfo] = {}
    for name, (loop, size) in sizes.items():
        for one in result.costs:
            if (one.loop, one.size, one.before) == (loop, size, _BEFORE) and one.nanoseconds > 0:
                out[name] = _measured(name, one.nanoseconds, guest, f", from {path.name}")
    if not out:
        raise InputError("neither Linux's 2018 flush nor a planned one was measured in it", where=where)
    return out


def measured_costs(
    on_cpu: int | None, policy: str | None = None, done: Callable[[int], None] = lambda _: None
) -> dict[str, FlushInfo]:
    """The costs on this machine, by name; ``policy`` is what the planned flush is for (None: the catalogue's), and
    ``done`` hears how many of :data:`ROUNDS` are done. Without a policy there is no ``planned``.

    Raises UndecidedError where that cannot be measured, InputError for a policy that is none.
    """
    from l1dflush.host.this_cpu import this_cpu
    from l1dflush.silicon.measure.costs import Costs, Variant
    from l1dflush.silicon.measure.planned import planned_bytes
    from l1dflush.silicon.measure.session import silicon

    known = this_cpu()
    asked = known.policy if policy is None else _policy(policy, known.geometry.ways)
    planned = None if asked is None else planned_bytes(asked, known.geometry)
    chosen = {"linux-2018": Variant("Linux's 2018 routine", "linux-2018", _LINUX_2018_BYTES)}
    if planned is not None:
        chosen["planned"] = Variant("planned routine", "planned", planned)
    with silicon(on_cpu) as there:
        costs = Costs(there.region, there.geometry.size, list(chosen.values()))
        costs.play(ROUNDS, done)
        found = {cost.variant: cost for cost in costs.costs() if cost.before == _BEFORE}
        out: dict[str, FlushInfo] = {}
        for name, variant in chosen.items():
            time = found[variant].ticks / there.environment.clock.ticks_per_ns
            if time <= 0:
                raise UndecidedError("unsteady", f"the {name} flush was timed at {time:.0f} ns, which cannot be")
            out[name] = _measured(name, time, there.environment.hypervisor, ", here")
        return out


def _measured(name: str, nanoseconds: float, guest: bool, where: str) -> FlushInfo:
    source = f"measured after clean lines{where}{', in a virtual machine' if guest else ''}"
    return FlushInfo(name=name, nanoseconds=nanoseconds, source=source, in_guest=guest)


def _policy(text: str, ways: int) -> str:
    from l1dflush.cache.policies import get_policy

    try:
        return get_policy(text, ways).name
    except InputError as error:
        raise InputError(error.what, where="--policy", hint=error.hint) from None
