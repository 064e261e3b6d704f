# SPDX-License-Identifier: GPL-2.0-or-later
"""The language of scenarios: what the host does between VM entries, a line each.

::

    touch vault                 every line of it, in order
    touch heap 300 random       300 random lines
    touch heap 0-15             lines 0 to 15
    replay work                 the recorded accesses of this memory (``trace`` in the file), in order
    event emulation             something that may set a flag: run, page-fault, hypercall, ...
    invalidate buffer 0-63      others take these lines away
    worst                       the prover's counterexample: the accesses that lead to a start in which a line survives
    nmi vault 4 random          comes after the flush and before the guest (accesses as for touch)
    sibling vault 8 random      what the other thread touches while the guest runs, if there is one
    write never                 a write to the parameter, at run time
    enter                       VM entry
    repeat 20                   ... up to the matching end
    end

A ``#`` begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l1dflush.errors import InputError
from l1dflush.vmentry.subsystem import WRITABLE, Event

_MOST_REPEATS = 1_000_000
_MOST_DEPTH = 8
_MOST_LINES = 100_000
_MOST_PLAYED = 1_000_000
_MOST_RANDOM = 1_000_000
_SPAN = re.compile(r"(\d{1,9})-(\d{1,9})")
BUFFER_NAME = "buffer"
"""What a script calls the flush's buffer."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """Lines of a memory: ``count`` random ones, or ``first`` to ``last``; all of them if neither is said."""

    memory: str
    count: int | None = None
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """``verb`` and what it is about: accesses, a word, or steps to repeat so many times. ``line``: of the script."""

    verb: str
    line: int
    accesses: Accesses | None = None
    word: str = ""
    times: int = 0
    steps: tuple[Step, ...] = ()


def parsed(text: str, where: str = "script") -> tuple[Step, ...]:
    """The steps. Raises InputError with the number of the line that is wrong."""
    # Not splitlines(), for which there are more line breaks than an editor knows.
    rows = [(number, line.split("#", 1)[0].split()) for number, line in enumerate(text.split("\n"), 1)]
    rows = [(number, words) for number, words in rows if words]
    if len(rows) > _MOST_LINES:
        raise InputError(f"a script of {len(rows)} lines", where=where, hint=f"at most {_MOST_LINES}")
    rows.reverse()
    steps = _block(rows, where, 0)
    if rows:
        raise InputError("end of what?", where=f"{where}:{rows[-1][0]}", hint="every end belongs to a repeat")
    if (played := _played(steps)) > _MOST_PLAYED:
        raise InputError(f"{played} steps with all repeats", where=where, hint=f"at most {_MOST_PLAYED}")
    return steps


def memories(steps: Sequence[Step]) -> Iterator[tuple[Step, Accesses]]:
    """Every step that is about a memory."""
    for step in steps:
        if step.accesses is not None:
            yield step, step.accesses
        yield from memories(step.steps)


def _played(steps: Sequence[Step]) -> int:
    """How many steps there are if everything is repeated as often as it says; an empty repeat counts as well."""
    return sum(step.times * max(_played(step.steps), 1) if step.verb == "repeat" else 1 for step in steps)


_Rows = list[tuple[int, list[str]]]


def _block(rows: _Rows, where: str, depth: int) -> tuple[Step, ...]:
    """The steps up to an ``end``, which stays; ``rows`` has the next one last, and is used up."""
    steps: list[Step] = []
    while rows and rows[-1][1] != ["end"]:
        number, words = rows.pop()
        at = f"{where}:{number}"
        if words[0] != "repeat":
            steps.append(_step(number, words, at))
            continue
        if depth == _MOST_DEPTH:
            raise InputError("too many repeats within each other", where=at, hint=f"at most {_MOST_DEPTH}")
        times = _number(words[1:], at)
        inner = _block(rows, where, depth + 1)
        if not rows:
            raise InputError("a repeat without its end", where=at)
        rows.pop()
        steps.append(Step("repeat", number, times=times, steps=inner))
    return tuple(steps)


def _step(number: int, words: list[str], at: str) -> Step:
    verb, *rest = words
    match verb, rest:
        case (("touch" | "nmi" | "sibling" | "invalidate"), [memory, *how]):
            return Step(verb, number, accesses=_accesses(memory, how, at))
        case "event", [name] if name in tuple(Event):
            return Step(verb, number, word=name)
        case "event", _:
            raise InputError("which event?", where=at, hint=", ".join(Event))
        case "replay", [memory]:
            return Step(verb, number, accesses=Accesses(memory))
        case "write", [mode] if mode in WRITABLE:
            return Step(verb, number, word=mode)
        case "write", _:
            raise InputError("which mode?", where=at, hint=", ".join(WRITABLE))
        case (("enter" | "worst"), []):
            return Step(verb, number)
    known = "touch, replay, event, invalidate, worst, nmi, sibling, write, enter, repeat, end"
    raise InputError(f"'{' '.join(words)[:60]}' is not a step", where=at, hint=f"there are {known}")


def _accesses(memory: str, how: list[str], at: str) -> Accesses:
    match how:
        case []:
            return Accesses(memory)
        case [count, "random"] if re.fullmatch(r"\d{1,9}", count) and int(count) <= _MOST_RANDOM:
            return Accesses(memory, count=int(count))
        case [span] if found := _SPAN.fullmatch(span):
            first, last = int(found[1]), int(found[2])
            if first <= last:
                return Accesses(memory, first=first, last=last)
    hint = f"like 300 random (at most {_MOST_RANDOM}), or 0-15, or nothing for all"
    raise InputError(f"'{' '.join(how)[:40]}' are not lines", where=at, hint=hint)


def _number(words: list[str], at: str) -> int:
    if len(words) == 1 and re.fullmatch(r"\d{1,7}", words[0]) and 0 < int(words[0]) <= _MOST_REPEATS:
        return int(words[0])
    raise InputError("how many times?", where=at, hint=f"repeat N, up to {_MOST_REPEATS}")
