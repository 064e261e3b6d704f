# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``check`` for a person: what was proved, in full, so that it can be compared with what was wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from l1dflush.cache.geometry import Geometry
from l1dflush.checking.model import Item, Kind
from l1dflush.checking.result import CheckedClaimInfo, CheckedWordInfo, CheckResult, Place
from l1dflush.report.layout import paragraph, safe

_INDENT = " " * 12
_MARK = {"access": "", "prefetch": "p", "flush": "f"}


def check_lines(result: CheckResult, width: int) -> list[Text]:
    """The lines of the report."""
    lines: list[Text] = []
    if result.accepted:
        lines.append(Text("ACCEPTED", "bold green").append(_told(result), ""))
    else:
        lines += paragraph(result.reason, width, first="REJECTED  ", indent=" " * 10, style="bold red")
        lines += _field("where", _place(result.place), width) if result.place is not None else []
    for number, claim in enumerate(result.claims):
        lines += [Text(), *_claim(number, claim, width)]
    if result.routine is not None:
        name = f"{result.routine.name}, hash {result.routine.sha256}"
        lines += [Text(), *_field("routine", name, width)]
        how = "the words are those of the routine given" if result.compared else (
            "not checked: whether these words are the routine's; --routine ROUTINE does that"
        )  # fmt: skip
        lines += _field("", how, width) if result.accepted else []
    return lines


def _told(result: CheckResult) -> str:
    seconds = sum(claim.seconds for claim in result.claims)
    states = sum(word.states for claim in result.claims for word in claim.words)
    time = f"{seconds:.0f} s" if seconds >= 1 else "less than a second"
    return f"  every step of {states} states was checked again, in {time}"


def _claim(number: int, claim: CheckedClaimInfo, width: int) -> Iterator[Text]:
    what = "any of these words" if claim.cache is not None else "these pairwise different accesses"
    yield from paragraph(
        f"after {what} no old line is left in the set", width, first=f"claim {number:<6}", indent=_INDENT
    )
    if claim.cache is not None:
        yield from _field("cache", str(Geometry(claim.cache.size, claim.ways, claim.cache.line)), width)
        yield from _field("CPUs", ", ".join(claim.cpus) or "(given)", width)
    else:
        yield from _field("ways", str(claim.ways), width)
    yield from _field("policy", f"{claim.policy}: {claim.rule}", width)
    yield from _field("start", claim.start, width)
    yield from _field("touches", f"{claim.touches} accesses by others at any time" if claim.touches else "none", width)
    for word in claim.words:
        yield from _field("word", _word(word), width)
        if word.cold:
            cold: list[Item] = [(line, "access") for line in word.cold]
            yield from _field("", f"not cached at the start: {_items(cold)}", width)
        what = (
            f"after {word.used} of {len(word.items)} items nothing is left: {word.layers} layers, {word.states} states"
        )
        yield from _field("", what, width)


def _word(word: CheckedWordInfo) -> str:
    sets = "a single set" if word.sets == 1 else f"up to {word.sets} sets"
    return f"{sets}: lines {_items(word.items)}"


def _items(items: Sequence[Item]) -> str:
    """The lines in order; ``0-15`` is 0, 1, 2, ..., 15, ``0*3`` three times 0."""
    # First and last line of a run, how often the single line comes, and the kind.
    runs: list[tuple[int, int, int, Kind]] = []
    for line, kind in items:
        first, last, times, before = runs[-1] if runs else (-1, -1, 0, None)
        if before == kind and line == last + 1 and times == 1:
            runs[-1] = (first, line, 1, kind)
        elif before == kind and line == first == last:
            runs[-1] = (line, line, times + 1, kind)
        else:
            runs.append((line, line, 1, kind))
    return " ".join(
        f"{_MARK[kind]}{first}" + f"-{last}" * (last != first) + f"*{times}" * (times > 1)
        for first, last, times, kind in runs
    )


def _place(place: Place) -> str:
    named = {"claim": place.claim, "word": place.word, "layer": place.layer, "state": place.state}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None) or "the certificate"


def _field(label: str, text: str, width: int) -> list[Text]:
    return paragraph(safe(text), width, first=f"  {label:<10}", indent=_INDENT)
