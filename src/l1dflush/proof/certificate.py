# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates: what the prover found, written down so that somebody else can check it.

A certificate is made of the layers of the prover's search, and no more is believed of it than its reader checks: see
:mod:`l1dflush.checking`. Here it is made, and checked once before anybody gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from l1dflush import __version__
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.model import Policy
from l1dflush.checking.checker import RejectedError, check
from l1dflush.checking.model import (
    FORMAT_VERSION,
    CacheInfo,
    Certificate,
    Claim,
    Item,
    Machine,
    RoutineInfo,
    StateRow,
    Word,
    digest_of,
)
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.proof.limits import BYTES_PER_STATE, Limits
from l1dflush.proof.prover import PlainState, layers, needs
from l1dflush.proof.question import ItemKind, resolved

_T = TypeVar("_T")

MAX_STATES = 1_000_000
"""More states than this are not written: about 50 MB."""

_SYMBOLS = {-1: "?", -2: "!", -3: "-", -4: ".", -5: "+"}
_KINDS = {"access": ItemKind.ACCESS, "prefetch": ItemKind.OPTIONAL, "flush": ItemKind.FLUSH}


def claim(
    policy: str | Policy,
    geometry: Geometry,
    words: Iterable[tuple[Sequence[Item], Sequence[int], int]],
    conditions: Conditions = DEFAULT,
    *,
    cpus: Sequence[str] = (),
    limits: Limits | None = None,
) -> Claim:
    """The claim that none of ``words`` leaves an old line. A word is its items, its cold lines, and how many sets
    have it; lines are numbered as they first occur.

    Raises UndecidedError as :func:`l1dflush.proof.prover.decide` and where the certificate would be too large, and
    ``ValueError`` for a word that leaves something.
    """
    twin = resolved(policy, geometry.ways)
    return Claim(
        cpus=tuple(cpus),
        cache=CacheInfo(size=geometry.size, sets=geometry.sets, line=geometry.line),
        ways=geometry.ways,
        policy=_table(twin) if isinstance(twin, MachinePolicy) else twin.name,
        start=str(conditions.start),
        touches=conditions.touches,
        words=_words(twin, words, conditions, limits),
    )


def distinct_claim(
    policy: str | Policy, ways: int, conditions: Conditions = DEFAULT, *, limits: Limits | None = None
) -> Claim:
    """The claim that as many pairwise different accesses as :func:`l1dflush.proof.prover.needs` says leave no old
    line.

    Raises as :func:`claim`; ``ValueError`` if no number of accesses is enough.
    """
    twin = resolved(policy, ways)
    fewest = needs(twin, ways, conditions, limits=limits or Limits())
    if fewest is None:
        raise ValueError(f"no number of accesses empties a set of {ways} ways with {twin.name}")
    items: tuple[Item, ...] = tuple((line, "access") for line in range(fewest))
    cold = range(fewest) if conditions.start.cold else ()
    return Claim(
        cpus=(),
        cache=None,
        ways=ways,
        policy=_table(twin) if isinstance(twin, MachinePolicy) else twin.name,
        start=str(conditions.start),
        touches=conditions.touches,
        words=_words(twin, [(items, tuple(cold), 1)], conditions, limits),
    )


def certificate(routine: tuple[str, str] | None, claims: Iterable[Claim]) -> Certificate:
    """The certificate of these claims about a routine (its name and SHA-256), which the checker has accepted.

    Raises UndecidedError where the checker cannot do its work.
    """
    name_and_hash = None if routine is None else RoutineInfo(name=routine[0], sha256=routine[1])
    made = Certificate(
        format_version=FORMAT_VERSION,
        tool_version=__version__,
        routine=name_and_hash,
        claims=tuple(claims),
        digest="",
    )
    made = made.model_copy(update={"digest": digest_of(made.model_dump(mode="json"))})
    try:
        check(made)
    except RejectedError as error:
        raise AssertionError(f"the prover's argument does not convince the checker: {error}") from error
    return made


def _words(
    policy: Policy,
    words: Iterable[tuple[Sequence[Item], Sequence[int], int]],
    conditions: Conditions,
    limits: Limits | None,
) -> tuple[Word, ...]:
    limits = limits or Limits()
    most = min(limits.memory, MAX_STATES * BYTES_PER_STATE)
    left = replace(limits, memory=most)
    out, total = [], 0
    for items, cold, sets in words:
        word = tuple((line, _KINDS[kind]) for line, kind in items)
        own = {line for line, _ in word} - set(cold) if conditions.start.cold else ()
        try:
            positions, found = layers(policy, policy.ways, word, conditions, own=own, limits=left)
        except UndecidedError as error:
            if error.cause == "state-space-too-large" and most < limits.memory:
                raise _too_large() from None
            raise
        total += sum(map(len, filter(None, found)))
        if total > MAX_STATES:
            raise _too_large()
        out.append(
            Word(
                items=tuple(items),
                cold=tuple(cold),
                sets=sets,
                view="positions" if positions else "ways",
                layers=_rows(found),
            )
        )
    return tuple(out)


def _too_large() -> UndecidedError:
    return UndecidedError("certificate-too-large", f"the certificate would have more than {MAX_STATES} states")


def _rows(layers: Sequence[Sequence[PlainState] | None]) -> tuple[tuple[StateRow, ...] | Literal["same"], ...]:
    """The layers as they are written, in an order that depends on nothing but their states."""
    out: list[tuple[StateRow, ...] | Literal["same"]] = []
    before: tuple[StateRow, ...] | None = None
    for layer in layers:
        rows = before if layer is None else tuple(sorted(map(_row, layer)))
        if rows is None or rows == before:
            out.append("same")
        else:
            out.append(rows)
            before = rows
    return tuple(out)


def _row(state: PlainState) -> StateRow:
    policy, holds, touches, gone = state
    return tuple(policy), " ".join(_SYMBOLS.get(what) or str(what) for what in holds), touches, tuple(gone)


def _once(outcomes: Iterable[_T]) -> tuple[_T, ...]:
    """Each of them once: without their chances several may be the same."""
    return tuple(dict.fromkeys(outcomes))


def _table(machine: MachinePolicy) -> Machine:
    """The machine's table, without chances: what may happen at all is what counts."""
    states, ways = range(len(machine.states)), range(machine.ways)
    return Machine(
        name=machine.name,
        start=machine.empty()[0],
        hits=tuple(tuple(_once(to for (to,) in machine.hits((s,), way)) for way in ways) for s in states),
        misses=tuple(_once((choice.way, choice.state[0]) for choice in machine.misses((s,))) for s in states),
        fills=tuple(
            tuple(_once((choice.way, choice.state[0]) for choice in machine.fills((s,), way)) for way in ways)
            for s in states
        )
        if machine.has_fills
        else None,
    )
