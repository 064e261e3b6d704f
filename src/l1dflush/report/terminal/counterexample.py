# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample for people: what happens step by step, and the set as boxes before and after.

The lines are named as short as a box allows: old lines are letters as in the result, buffer lines are
numbered in the order in which they are read, what others bring in is ``o`` and a number, and whatever else is
read gets ``x`` and a number. The list of steps says which number is which line.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import count

from rich.cells import cell_len
from rich.text import Text

from l1dflush.in_words import in_words
from l1dflush.report.layout import paragraph, safe
from l1dflush.verdict.counterexample_result import INVALID, CounterexampleInfo, LineKind, SteadyInfo, Step

FIRST_STEPS = 24
LAST_STEPS = 8
MAX_STEPS = 40

# "miss", which is the longest of the results that nearly every step has.
_SHORT = 4
_LETTERS = {LineKind.BUFFER: "", LineKind.OWN: "x", LineKind.OTHERS: "o"}


def labels(counterexample: CounterexampleInfo) -> dict[str, str]:
    """A short name for each line that takes part, by its full name."""
    kinds = {line.name: line.kind for line in counterexample.lines}
    names = dict.fromkeys((*(step.access for step in counterexample.steps), *counterexample.start, *counterexample.end))
    short = {INVALID: ""}
    numbers = {kind: count(1 if kind is LineKind.OTHERS else 0) for kind in _LETTERS}
    for name in names:
        if name != INVALID:
            kind = kinds[name]
            short[name] = safe(name) if kind is LineKind.OLD else f"{_LETTERS[kind]}{next(numbers[kind])}"
    return short


def is_touch(counterexample: CounterexampleInfo, step: Step) -> bool:
    """Whether a step is an access by others in the middle of a flush."""
    return step.by_others and (step.flush > 0 or counterexample.steady is None)


def flush_heading(counterexample: CounterexampleInfo, index: int) -> str:
    """What begins with this step, counted from 0, where flushes come again and again; empty if nothing does."""
    steps = counterexample.steps
    if counterexample.steady is None or (index and steps[index - 1].flush == steps[index].flush):
        return ""
    before = steps[index - 1].flush if index else 0
    return f"flush {steps[index].flush}" if steps[index].flush else f"others, before flush {before + 1}"


def again_text(steady: SteadyInfo) -> str:
    """Why the start is one that there can be."""
    if not steady.again:
        return "no buffer line is cached at the start"
    return f"after step {steady.again} the set is as at the start, but for names: so it may be again and again"


def picture(counterexample: CounterexampleInfo, width: int) -> list[Text]:
    """The set before and after, one box per way; leftovers are marked."""
    short = labels(counterexample)
    old = {short[name] for name in counterexample.named(LineKind.OLD)}
    before = [short[line] for line in counterexample.start]
    after = [short[line] for line in counterexample.end]
    ways = len(before)
    inner = max([3, *(cell_len(label) for label in (*before, *after)), len(str(ways - 1))])
    indent = 9
    per_row = max((width - indent - 1) // (inner + 1), 1)
    lines: list[Text] = []
    for first in range(0, ways, per_row):
        part = slice(first, min(first + per_row, ways))
        numbers = " ".join(str(way).center(inner) for way in range(part.start, part.stop))
        lines.append(Text(f"  {'way':<6}  {numbers.rstrip()}", "dim"))
        lines += _boxes("before", before[part], inner, old)
        lines += _boxes("after", after[part], inner, old)
        marks = " ".join(("^" * len(x) if x in old else "").center(inner) for x in after[part])
        if marks.strip():
            lines.append(Text(f"{'':{indent + 1}}").append(marks.rstrip(), "red").append(" left", "red"))
    if "" in (*before, *after):
        lines.append(Text("  an empty box is an invalid way", "dim"))
    return lines


def _boxes(title: str, contents: list[str], inner: int, old: Container[str]) -> list[Text]:
    def border(left: str, middle: str, right: str) -> Text:
        return Text(f"{'':9}{left}{middle.join('─' * inner for _ in contents)}{right}")

    line = Text(f"  {title:<7}│")
    for label in contents:
        line.append(label.center(inner), "bold red" if label in old else "").append("│")
    return [border("┌", "┬", "┐"), line, border("└", "┴", "┘")]


def steps(counterexample: CounterexampleInfo, width: int) -> list[Text]:
    """One line per step, flush by flush where there are several. Of many only the first and the last are listed."""
    short = labels(counterexample)
    numbered = list(enumerate(counterexample.steps, 1))
    left_out = 0
    if len(numbered) > MAX_STEPS:
        left_out = len(numbered) - FIRST_STEPS - LAST_STEPS
    digits = len(str(len(numbered)))
    access_width = min(max((cell_len(safe(step.access)) for _, step in numbered), default=0), max(width - 48, 16))
    label_width = max((len(short[step.access]) for _, step in numbered), default=0)
    others = any(is_touch(counterexample, step) for step in counterexample.steps)
    lines = []
    for number, step in numbered:
        if left_out and number == FIRST_STEPS + 1:
            lines.append(Text(f"  {'...':>{digits}}  {left_out} steps left out (--json has all)", "dim"))
        if left_out and FIRST_STEPS < number <= len(numbered) - LAST_STEPS:
            continue
        heading = flush_heading(counterexample, number - 1)
        if heading:
            lines.append(Text(f"  {heading}", "dim"))
        name = safe(step.access)
        blank = " " * max(access_width - cell_len(name), 0)
        head = f"  {number:>{digits}}  {short[step.access]:>{label_width}} = {name}{blank}  "
        lines.append(Text(head).append(_event(step, short, _SHORT + others, is_touch(counterexample, step))))
    if others:
        what = "* an access by others in between; a line that it brings in is not an old line"
        lines += paragraph(what, width, indent="  ", style="dim")
    return lines


def _event(step: Step, short: dict[str, str], result_width: int, touch: bool) -> Text:
    place = "" if step.way is None else f"way {step.way}"
    said = in_words(step.result)
    result = f"{said}*" if touch else said
    text = Text(f"{result:<{result_width}}  {place:<6}  ")
    if step.evicted is not None and step.result != "invalidated":
        gone = short.get(step.evicted, safe(step.evicted))
        text.append(f"evicts {gone:<3}  " if gone else "")
    else:
        text.append(" " * 12)
    text.append(f"{step.leftovers} old left")
    return text


def counterexample_lines(counterexample: CounterexampleInfo, width: int) -> list[Text]:
    """Everything about one counterexample: the start, the steps, the set before and after."""
    which = "the smallest start in which" if counterexample.smallest else "a start in which"
    which = which if counterexample.steady is None else "flushes again and again, where"
    head = (
        f"{which} a line survives, with {counterexample.policy}, in set {counterexample.set_index}"
        " counted from the buffer's first line:"
    )
    lines = paragraph(head, width, indent="  ")
    if counterexample.steady is not None:
        lines += paragraph(again_text(counterexample.steady), width, indent="  ")
    if counterexample.start_state:
        lines += paragraph(counterexample.start_state, width, first="  policy state at the start: ", indent="    ")
    lines += steps(counterexample, width)
    lines += picture(counterexample, width)
    return lines
