# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of a policy, drawn set by set: the ways with their lines, and the policy's state over and under them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from l1dflush.cache.policy.model import Choice, Node, Policy
from l1dflush.cache.policy.play import Result, Run, Situation, Step
from l1dflush.report.layout import paragraph, safe

_LABEL = 10

# What the rows say, for somebody who sees them for the first time.
_LEGEND = {
    "tree": "tree: each node points to the part in which the victim is",
    "rank": "rank: 1 is the newest",
    "group": "group: 1 is the group touched last",
    "last": "last: the group touched last",
    "bit": "bit: 1 protects the way",
    "age": "age: 3 may be replaced",
    "pointer": "pointer: where the search for a victim begins",
    "next": "next: the way that a miss fills now",
}


def policy_picture(policy: Policy, run: Run, width: int) -> list[Text]:
    """The lines of the drawing; at most ``width`` columns, 76 or more."""
    names = _names(run)
    cell = max(3, min(max(map(len, map(safe, names)), default=1) + 2, (width - _LABEL) // policy.ways))
    short = _short(names, cell - 1)

    def drawn(situation: Situation, *, numbered: bool) -> list[Text]:
        content = tuple(line and short[line] for line in situation.content)
        shown = Situation(content, situation.state, situation.next_ways)
        return situation_lines(policy, shown, cell, numbered=numbered)

    out = [Text(safe(policy.name), "bold").append(f", {policy.ways} way{'s' * (policy.ways > 1)}", "")]
    out += paragraph(policy.rule, width, indent="  ")
    out += paragraph(legend(policy, run.start), width, indent="  ")
    if any(step.choices for step in run.steps):
        what = "Where there is a choice, the likeliest is shown, the first of several."
        out += paragraph(what, width, indent="  ")
    out += [Text(), Text("start" if policy.has_fills else "start: a full set of old lines", "bold")]
    out += drawn(run.start, numbered=True)
    for number, step in enumerate(run.steps, 1):
        out += [Text(), Text(f"{number:<3} {safe(str(step.item))}", "bold").append(f"  {_told(step)}", "")]
        out += _choices(policy, step, width)
        out += drawn(step.after, numbered=False)
    if run.asked:
        out += [Text(), Text(f"{run.hits} of {run.asked} asked for hit", "bold")]
        answers = [f"{safe(str(step.item))} {_answer(step)}" for step in run.steps if step.item.asked]
        out += paragraph(", ".join(answers), width, indent="  ")
    return out


def legend(policy: Policy, situation: Situation) -> str:
    """What the rows of the drawing mean."""
    shown = policy.picture(situation.state)
    labels = ["tree"] * bool(shown.nodes) + [label for label, _ in shown.rows] + ["next"]
    return "; ".join(_LEGEND[label] for label in labels if label in _LEGEND)


def _names(run: Run) -> tuple[str, ...]:
    """The lines that are ever in the set, as they come."""
    situations = (run.start, *(step.after for step in run.steps))
    return tuple(dict.fromkeys(line for situation in situations for line in situation.content if line))


def _short(names: Iterable[str], room: int) -> dict[str, str]:
    """The names cut to what there is room for. Where two become the same, the later one gets a number."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        whole = safe(name)
        cut = whole[:room]
        number = 1
        while cut in taken and len(f"~{number + 1}") <= room:
            number += 1
            cut = f"{whole[: room - len(f'~{number}')]}~{number}"
        out[name] = cut
        taken.add(cut)
    return out


def _told(step: Step) -> str:
    line = safe(step.evicted or "")
    return {
        Result.HIT: f"hit in way {step.way}",
        Result.FILL: f"miss, fills way {step.way}",
        Result.MISS: f"miss, replaces {line} in way {step.way}",
        Result.INVALIDATED: f"way {step.way} becomes invalid",
        Result.NOT_CACHED: "not cached, nothing happens",
    }[step.result]


def _answer(step: Step) -> str:
    return "hit" if step.result is Result.HIT else "miss"


def _choices(policy: Policy, step: Step, width: int) -> Iterator[Text]:
    """Everything that might have happened; what differs only in the way is taken together."""
    together: dict[tuple[object, object], list[int]] = {}
    for number, choice in enumerate(step.choices):
        together.setdefault((choice.chance, choice.state), []).append(number)
    states = len({choice.state for choice in step.choices}) > 1
    for numbers in together.values():
        choice = step.choices[numbers[0]]
        ways = ", ".join(f"{step.choices[n].way}{' (shown)' * (n == step.taken and len(numbers) > 1)}" for n in numbers)
        text = f"{_chance(choice, len(numbers))} way{'s' * (len(numbers) > 1)} {ways}"
        if states:
            text += f", then {policy.render(choice.state)}"
        if numbers == [step.taken]:
            text += " (shown)"
        yield from paragraph(text, width, first="      or: " if numbers[0] else "  either: ", indent=" " * _LABEL)


def _chance(choice: Choice, count: int) -> str:
    if choice.chance is None:
        return "possible:"
    return f"chance {choice.chance}{' each' * (count > 1)}:"


def situation_lines(policy: Policy, situation: Situation, cell: int, *, numbered: bool) -> list[Text]:
    """One set: the tree over its ways, their lines, and the policy's state under them; a way is ``cell`` columns."""
    picture = policy.picture(situation.state)
    out = list(_tree(picture.nodes, cell))
    if numbered:
        out.append(_row("way", [str(way) for way in range(policy.ways)], cell))
    out.append(_row("line", [line or "." for line in situation.content], cell, style="bold"))
    out += [_row(label, cells, cell) for label, cells in picture.rows]
    if not picture.nodes and not picture.rows:
        out += [Text(f"  {'policy':<{_LABEL - 2}}{safe(policy.render(situation.state))}")]
    marks = ["^" if way in situation.next_ways else "" for way in range(policy.ways)]
    out.append(_row("next", marks, cell))
    return out


def _tree(nodes: Sequence[Node], cell: int) -> Iterator[Text]:
    """Each node halfway over its ways, as an arrow to the child that it points to."""
    for level in range(max((node.level for node in nodes), default=-1) + 1):
        line = f"  {'tree' if level == 0 else '':<{_LABEL - 2}}"
        for node in (node for node in nodes if node.level == level):
            column = _LABEL + cell * (node.first + node.last) // 2
            line = f"{line:<{column}}" + ("<>" if node.children == 2 else "<v>")[node.points_to]
        yield Text(line)


def _row(label: str, cells: Sequence[str], cell: int, style: str = "") -> Text:
    line = Text(f"  {label:<{_LABEL - 2}}")
    for text in cells:
        line.append(f"{safe(text)[: cell - 1]:<{cell}}", style)
    line.rstrip()
    return line
