# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample that was driven on silicon, for a person.

Nothing here says "proved" or "safe": the words are what was seen, in how many trials, and how sure that is.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from l1dflush.cache.policy.model import Policy
from l1dflush.cache.policy.play import situation
from l1dflush.in_words import in_words
from l1dflush.report.layout import Column, header, paragraph, row, safe
from l1dflush.report.terminal.measured_on import environment_lines
from l1dflush.report.terminal.policy_run import legend, situation_lines
from l1dflush.silicon.measure.agreement import LEAST_SAME, Agreement
from l1dflush.silicon.measure.silicon_model import SeenInfo, SiliconResult, SurvivorInfo
from l1dflush.verdict.counterexample_result import INVALID

# Of more rows in a row that say the same only the first and the last are shown.
_MOST_ROWS = 40
_MOST_STEPS = 20
_LEGEND = (
    "silicon: in how many trials most sets had the line; sets: how many had it in the middle trial; otherwise: upper"
    " bound (95%) on the share of trials that are not as the model says"
)
_INVALID_WAYS = "the start has invalid ways: a CPU may not fill them first, as the models do; --start any has none"
_STYLE = {Agreement.SAME: "", Agreement.DIFFERS: "bold red", Agreement.UNCLEAR: "bold yellow"}


def silicon_lines(result: SiliconResult, policy: Policy, width: int) -> list[Text]:
    """The whole report."""
    known = "" if result.policy_certainty == "given" else f" ({in_words(result.policy_certainty)})"
    lines = [Text(f"{safe(result.policy)}{known}", "bold").append(f", {result.ways} ways, on silicon", "")]
    if result.needs is not None:
        what = f"{result.needs} accesses are enough from {result.start}, as the prover says; from this start one fewer"
        lines += paragraph(f"{what} leaves old line {_watched(result)}", width, indent="  ")
    lines += [Text(), *_start(result, policy, width), Text()]
    lines += _survivors(result)
    lines += paragraph(_LEGEND, width, indent="  ", style="dim")
    lines += [Text(), *_steps(result, width), Text()]
    lines += paragraph(_end(result), width, style=_STYLE[result.agreement] or "bold")
    if result.agreement is Agreement.DIFFERS and INVALID in result.content:
        lines += paragraph(_INVALID_WAYS, width, indent="  ")
    lines += _how(result, width)
    return lines


def _is_old(line: str) -> bool:
    """Whether a line belongs to whoever ran before: these are a, b, c, ..."""
    return line.isascii() and line.isalpha() and line.islower() and len(line) <= 2


def _watched(result: SiliconResult) -> str:
    return result.survivors[0].line


def _start(result: SiliconResult, policy: Policy, width: int) -> Iterator[Text]:
    names: dict[str, str | None] = {INVALID: None}
    numbered = 0
    for name in (*(step.access for step in result.steps), *result.content):
        if name not in names:
            names[name] = name if _is_old(name) else str(numbered)
            numbered += not _is_old(name)
    drawn = situation(policy, [names[name] for name in result.content], result.policy_state)
    count = f"{result.reset_and_approach} accesses" if result.reset_and_approach > 1 else "one access"
    yield from paragraph(
        f"{count} to {result.lines} lines lead there, whatever was before, in {result.sets} sets at once, but for the"
        " names of the ways",
        width,
        first="start  ",
        indent=" " * 7,
    )
    what = f"a, b, c, ...: old lines; . an invalid way; {legend(policy, drawn)}"
    yield from paragraph(what, width, indent=" " * 7, style="dim")
    yield from situation_lines(policy, drawn, max(3, min(5, (width - 10) // policy.ways)), numbered=True)


def _survivors(result: SiliconResult) -> Iterator[Text]:
    columns = [
        Column("line", max(4, *(len(one.line) for one in result.survivors))),
        Column("accesses", 8, right=True),
        Column("model", 11),
        Column("silicon", 22),
        Column("sets", 4, right=True),
        Column("otherwise", 9, right=True),
    ]
    yield header(columns)
    shown = result.survivors if len(result.survivors) <= _MOST_ROWS else tuple(_folded(result.survivors))
    for one in shown:
        seen = one.seen
        cells = [
            one.line,
            str(one.after),
            "still there" if seen.cached else "gone",
            ladder(seen),
            f"{seen.sets}",
            f"{100 * seen.bound:.1f}%",
        ]
        style = _STYLE[seen.agreement]
        yield from row(columns, cells, styles=["", "", "", style, "", ""])


def _folded(rows: tuple[SurvivorInfo, ...]) -> Iterator[SurvivorInfo]:
    """Of rows that say the same the first and the last."""

    def says(one: SurvivorInfo) -> tuple[str, bool, str]:
        return one.line, one.seen.cached, _word(one.seen)

    for number, one in enumerate(rows):
        neighbours = rows[max(number - 1, 0) : number + 2]
        if number in (0, len(rows) - 1) or any(says(other) != says(one) for other in neighbours):
            yield one


def ladder(seen: SeenInfo) -> str:
    """In how many trials the line was there."""
    count = "" if seen.hits in (0, seen.trials) else f" {seen.hits}"
    return f"{_word(seen)}{count} of {seen.trials}"


def _word(seen: SeenInfo) -> str:
    if seen.hits == seen.trials:
        return "there in all"
    if not seen.hits:
        return "seen in none"
    if seen.hits >= LEAST_SAME * seen.trials:
        return "there in"
    return "seen in" if seen.hits <= (1 - LEAST_SAME) * seen.trials else "in some,"


def _steps(result: SiliconResult, width: int) -> Iterator[Text]:
    """Which of the steps themselves hit and miss otherwise."""
    timed = [(number, step) for number, step in enumerate(result.steps, 1) if step.seen is not None]
    others = [
        (number, step, step.seen)
        for number, step in timed
        if step.seen is not None and step.seen.agreement is not Agreement.SAME
    ]
    hits = sum(step.seen.cached for _, step in timed if step.seen is not None)
    if not others:
        what = f"of the {len(timed)} accesses {hits} hit and {len(timed) - hits} miss, as the model says"
        yield from paragraph(what, width)
        return
    what = f"{len(others)} of the {len(timed)} accesses hit or miss otherwise than the model says, or not always:"
    yield from paragraph(what, width)
    for number, step, seen in others[:_MOST_STEPS]:
        told = f"access {number}, {step.access}: the model says {'hit' if seen.cached else 'miss'}; it hit in "
        told += f"{seen.hits} of {seen.trials} trials"
        yield from paragraph(told, width, indent="  ", style=_STYLE[seen.agreement])
    if len(others) > _MOST_STEPS:
        yield Text(f"  and {len(others) - _MOST_STEPS} more (--json has all)", "dim")


def _end(result: SiliconResult) -> str:
    match result.agreement:
        case Agreement.SAME:
            looks = [one for one in result.survivors if one.line == _watched(result)]
            last = max((number for number, one in enumerate(looks) if one.seen.cached), default=-1)
            told = [f"is still there {_counted(looks[last])}"] if last >= 0 else []
            told += [f"is seen {_counted(one)}" for one in looks[last + 1 : last + 2]]
            return f"silicon does as the model says: old line {_watched(result)} {', and '.join(told)}"
        case Agreement.DIFFERS:
            return f"silicon does otherwise than the model says: {_where(result, Agreement.DIFFERS)}"
        case Agreement.UNCLEAR:
            what = f"in too many trials otherwise, in too few to call it different: {_where(result, Agreement.UNCLEAR)}"
            return f"unclear: {what}"


def _counted(one: SurvivorInfo) -> str:
    after = f"after {one.after} access{'es' * (one.after != 1)}"
    return f"{after} in {one.seen.hits or 'none'} of {one.seen.trials} trials"


def _where(result: SiliconResult, what: Agreement) -> str:
    """The first place."""
    for number, step in enumerate(result.steps, 1):
        if step.seen is not None and step.seen.agreement is what:
            does = "hit" if step.seen.cached else "miss"
            return f"access {number} should {does}, and hits in {step.seen.hits} of {step.seen.trials} trials"
    one = next(one for one in result.survivors if one.seen.agreement is what)
    should = "still be there" if one.seen.cached else "be gone"
    return f"old line {one.line} should {should}, and is seen {_counted(one)}"


def _how(result: SiliconResult, width: int) -> Iterator[Text]:
    levels = result.levels
    text = (
        f"{result.rounds} rounds, {result.environment.trials} trials; a visit of {result.sets} sets takes"
        f" {levels.hit_ticks:.0f} ticks if it hits and {levels.miss_ticks:.0f} if it misses"
    )
    if result.loud:
        text += f"; {result.loud} rounds were dropped, in which others used this L1D"
    yield from paragraph(text, width, indent="  ", style="dim")
    yield from environment_lines(result.environment, width)
