# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the source is not in the machine code that was judged: facts for the result, and what they may change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.model import LeftOut, LeftOutKind, Routine
from l1dflush.tracing.model import Kind, Trace
from l1dflush.verdict.findings import finding
from l1dflush.verdict.found import About
from l1dflush.verdict.places import Places
from l1dflush.verdict.verify_result import Finding, LeftOutInfo, VerifyResult
from l1dflush.verdict.walk import all_events, ends_of

MOST_TRIED = 12
"""So many ways of giving the names that decide are tried; each compiles and judges anew."""
_MOST_TOGETHER = 3
_MOST_TOLD = 4
_MOST_MADE_UP = 20


def left_out(routines: Iterable[Routine], more: Iterable[LeftOut] = ()) -> tuple[LeftOutInfo, ...]:
    """What was left out of all ``routines``, and ``more`` of that, each thing once."""
    found = dict.fromkeys([*(one for routine in routines for one in routine.left_out), *more])
    return tuple(
        LeftOutInfo(
            kind=one.kind.value, name=one.name, names=one.names, reason=one.reason, where=one.where, option=_option(one)
        )
        for one in found
    )


def made_up(routine: Routine, trace: Trace | None, places: Places) -> Iterator[LeftOut]:
    """Symbols of which nothing here is known and whose addresses are numbers in the code, or in data that was read; not
    those that ``trace`` uses as addresses: what depends on them depends on where they were put for running the
    code."""
    image = routine.image
    found: dict[str, Place] = {}
    # Also of functions that were run besides, and of data that was read.
    pieces = [(routine.entry, routine.entry + len(routine.code)), *routine.used]
    for one in (one for start, end in pieces for one in image.relocations.within(start, end)):
        symbol = image.symbols.get(one.of.symbol)
        if not one.of.section and not one.of.relative and symbol is not None and not symbol.defined:
            found.setdefault(one.of.symbol, places.where(one.address))
    if found and trace is not None:
        for event in ends_of(all_events(trace.paths)):
            found.pop(event.detail if event.kind is Kind.CALL else str(places.of(event)[0]), None)
    for name, where in list(found.items())[:_MOST_MADE_UP]:
        reason = "nothing here says what it is, and the code has its address as a number"
        yield LeftOut(LeftOutKind.SUPPOSED, name, (name,), reason, where)


def replaceable(trace: Trace) -> Iterator[LeftOut]:
    """The definitions that ``trace`` went through or read, and those that the code it ran refers to, for which a linker
    may take another file's: weak ones, and those of which each file may have a copy. In a linked file it has been done;
    but for what a shared object exports a loader takes another file's definition."""
    image = trace.routine.image
    used = [one for start, end in trace.routine.used for one in image.relocations.within(start, end)]
    exported = {one.of.symbol: image.lines.get(one.of.target or 0) for one in used if one.of.exported}
    for name, line in sorted(exported.items()):
        reason = "it is exported: another file's definition may take its place when this one is loaded"
        yield LeftOut(LeftOutKind.SUPPOSED, name, (), reason, line)
    if image.linked:
        return
    found = {one.of.symbol: (one.of.replaceable, one.of.target) for one in used if one.of.replaceable}
    known = {name: one for name, one in image.symbols.items() if one.replaceable}
    functions = sorted((one.address, one.name) for one in image.symbols.values() if one.function and one.defined)
    starts = [address for address, _ in functions]
    ran = {bisect_right(starts, pc) for pc in {event.pc for event in all_events(trace.paths).shapes()}} if known else ()
    for number in {*ran, bisect_right(starts, trace.routine.entry)} - {0}:
        address, _ = functions[number - 1]
        found |= {name: (one.replaceable, address) for name, one in known.items() if one.address == address}
        end = starts[number] if number < len(starts) else address + len(_rest(trace.routine, address))
        there = image.relocations.within(address, end)
        found |= {one.of.symbol: (one.of.replaceable, one.of.target) for one in there if one.of.replaceable}
    for name, (why, at) in sorted(found.items()):
        line = image.lines.get(at or 0)
        reason = f"{why}: another definition may take its place"
        yield LeftOut(LeftOutKind.SUPPOSED, name, (), reason, line)


def _rest(routine: Routine, address: int) -> bytes:
    section = routine.image.section_at(address)
    return b"" if section is None else section.data[address - section.address :]


def _option(one: LeftOut) -> str:
    """The option that brings it in, or settles it."""
    names = [name for name in one.names if " " not in name]
    if not names:
        return ""
    value = "" if one.kind is LeftOutKind.BRANCH and one.values[:1] == ("1",) else "=VALUE"
    return f"--define {names[0]}{value}"


def undecided_names(routines: Iterable[Routine]) -> Iterator[Finding]:
    """A finding for each name that nobody gave and that decides what is compiled."""
    return names_of(one for routine in routines for one in routine.left_out if one.kind is LeftOutKind.BRANCH)


def names_of(branches: Iterable[LeftOut]) -> Iterator[Finding]:
    """A finding for each name that decides one of the ``branches``."""
    told: dict[str, list[LeftOut]] = {}
    for one in branches:
        for name in one.names:
            told.setdefault(name, []).append(one)
    for name, places in told.items():
        first = places[0]
        yield finding("undefined-decides", About(name=name, code=first.name, count=len(places) - 1), first.where)


def ways_to_give(routines: Sequence[Routine]) -> list[dict[str, str]]:
    """What else the deciding names may be, as values of ``--define``: each alone, few of them together in every way,
    and all of them; the simplest first."""
    values: dict[str, dict[str, None]] = {}
    for one in (one for routine in routines for one in routine.left_out if one.kind is LeftOutKind.BRANCH):
        for name in one.names:
            if one.values:
                values.setdefault(name, {}).update(dict.fromkeys(one.values))
    ways = [{name: next(iter(found))} for name, found in values.items()]
    if 1 < len(values) <= _MOST_TOGETHER:
        # The first value each, or none.
        firsts = [[(name, None), (name, next(iter(found)))] for name, found in values.items()]
        every = ({name: value for name, value in way if value is not None} for way in product(*firsts))
        ways += [way for way in every if len(way) > 1]
    elif len(values) > 1:
        ways.append({name: next(iter(found)) for name, found in values.items()})
    ways += [{name: value} for name, found in values.items() for value in list(found)[1:]]
    return ways


def come_up(routines: Sequence[Routine], way: dict[str, str], known: Iterable[str]) -> list[LeftOut]:
    """What names decide that are not ``known`` and that come up in ``routines``, where ``way`` gives other names."""
    seen = frozenset(known)
    found = dict.fromkeys(one for routine in routines for one in routine.left_out if one.kind is LeftOutKind.BRANCH)
    return [
        replace(one, names=new, reason=f"{one.reason}, with {as_options(way)}")
        for one in found
        if (new := tuple(name for name in one.names if name not in seen))
    ]


def ways_further(way: dict[str, str], found: Iterable[LeftOut]) -> list[dict[str, str]]:
    """``way`` and, of the names that come up with it, each alone; the simplest values first."""
    further = [{**way, name: value} for one in found for name in one.names for value in one.values]
    return sorted(further, key=lambda one: [value != "1" for value in one.values()][-1])


def with_branches(result: VerifyResult, found: Sequence[LeftOut]) -> VerifyResult:
    """``result`` with the branches ``found`` behind others, and the names that decide them."""
    if not found:
        return result
    findings = sorted((*result.findings, *names_of(found)), key=lambda f: -f.severity.rank)
    return also_left_out(result.model_copy(update={"findings": tuple(findings)}), found)


def also_left_out(result: VerifyResult, more: Sequence[LeftOut]) -> VerifyResult:
    """``result`` with ``more`` that was left out."""
    return result.model_copy(update={"left_out": (*result.left_out, *left_out((), more))})


def not_tried(names: Iterable[str]) -> LeftOut:
    """That the verdict with these names given otherwise was not asked for, since there are too many ways."""
    told = tuple(dict.fromkeys(names))
    reason = f"not judged the other way: at most {MOST_TRIED} ways are, in the time for one question"
    return LeftOut(LeftOutKind.PART, ", ".join(told), told, reason)


def not_judged(failed: Iterable[tuple[dict[str, str], str]], judged: Sequence[dict[str, str]]) -> list[LeftOut]:
    """Which ways of giving names could not be judged, with why; not where other values of the same names, the ways
    ``judged``, were, nor where the names of a way that is told are among others."""
    done = {frozenset(way) for way in judged}
    told: dict[frozenset[str], LeftOut] = {}
    for way, why in failed:
        names = frozenset(way)
        if names not in done and not any(names >= known for known in told):
            reason = f"not judged the other way; {as_options(way)}: {why}"
            told[names] = LeftOut(LeftOutKind.PART, ", ".join(way), tuple(way), reason)
    return list(told.values())


def not_reached(names: Iterable[str]) -> LeftOut:
    """That no value that was tried of these names leads to other code."""
    told = tuple(dict.fromkeys(names))
    reason = "not judged the other way: none of the values that were tried gives other code"
    return LeftOut(LeftOutKind.PART, ", ".join(told), told, reason)


def as_options(way: dict[str, str]) -> str:
    """``--define A --define B=3``."""
    return " ".join(f"--define {name}" + (f"={value}" if value != "1" else "") for name, value in way.items())


def explained(error: InputError, routines: Sequence[Routine]) -> InputError:
    """``error``, which is that no function is the flush, with what was left out: that may be why."""
    found = dict.fromkeys(
        one for routine in routines for one in routine.left_out if one.kind is not LeftOutKind.SUPPOSED
    )
    if not found:
        return error
    told = [f"{one.name}{f' ({one.where})' if one.where else ''}: {one.reason}" for one in list(found)[:_MOST_TOLD]]
    more = f", and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    options = dict.fromkeys(option for one in found if (option := _option(one)))
    hint = "; ".join(part for part in (error.hint, ", ".join(list(options)[:_MOST_TOLD])) if part)
    return InputError(f"{error.what}; left out: {'; '.join(told)}{more}", where=error.place, hint=hint or None)
