# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample that was played again, step by step: what happens, and the set after it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from l1dflush.cache.policy.play import Situation
from l1dflush.report.layout import paragraph, safe
from l1dflush.report.terminal.counterexample import again_text, flush_heading, is_touch, labels
from l1dflush.report.terminal.policy_run import legend, situation_lines
from l1dflush.verdict.counterexample_result import LineKind, Step
from l1dflush.verdict.replay.result import Replayed

_LABEL = 10
_WIDEST_CELL = 6


def replay_parts(found: Replayed, width: int) -> Iterator[list[Text]]:
    """The start, then a part for each step, then the end."""
    example, policy = found.example, found.policy
    short = labels(example)
    longest = max(map(len, short.values()), default=1)
    cell = max(3, min(longest + 2, _WIDEST_CELL, (width - _LABEL) // policy.ways))

    def drawn(situation: Situation, *, numbered: bool = False) -> list[Text]:
        content = tuple(None if name is None else short[name] for name in situation.content)
        short_named = Situation(content, situation.state, situation.next_ways)
        return situation_lines(policy, short_named, cell, numbered=numbered)

    head = [Text(safe(policy.name), "bold").append(f", {policy.ways} way{'s' * (policy.ways > 1)}", "")]
    head += paragraph(f"set {example.set_index}, counted from the buffer's first line", width, indent="  ")
    head += paragraph("a, b, c, ...: old lines; . an invalid way; the steps name the others", width, indent="  ")
    head += paragraph(legend(policy, found.start), width, indent="  ")
    if example.steady is not None:
        head += paragraph(again_text(example.steady), width, indent="  ")
    if any(is_touch(example, step) for step in example.steps):
        others = "*: an access by others in between; a line that it brings in is not an old line"
        head += paragraph(others, width, indent="  ")
    yield [*head, Text(), Text("start", "bold"), *drawn(found.start, numbered=True)]
    for number, (step, after) in enumerate(zip(example.steps, found.after, strict=True), 1):
        told = paragraph(_told(step, short, is_touch(example, step)), width, first=f"{number:<3} ", indent="    ")
        told[0].stylize("bold", 0, 4 + len(short[step.access]))
        heading = flush_heading(example, number - 1)
        yield [Text(), *([Text(heading, "bold"), Text()] if heading else []), *told, *drawn(after)]
    old = example.named(LineKind.OLD)
    left = [name for name in example.end if name in old]
    what = f"{'old lines' if len(left) > 1 else 'the old line'} {', '.join(left)} survive{'s' * (len(left) == 1)}"
    steps = len(example.steps)
    end = f"{what}; all {steps} steps are as the file says" if steps > 1 else f"{what}, as the file says"
    yield [Text(), *paragraph(end, width, style="bold")]


def _told(step: Step, short: dict[str, str], touch: bool) -> str:
    name = short[step.access]
    star = "*" if touch else ""
    line = f"{name}{star}" if name == step.access else f"{name}{star} = {step.access}"
    gone = "" if step.evicted is None else short.get(step.evicted, step.evicted)
    what = {
        "hit": f"hit in way {step.way}",
        "miss": f"miss, replaces {gone} in way {step.way}",
        "fill": f"miss, fills way {step.way}",
        "dropped": "a prefetch that does not happen",
        "flushed": f"flushed, way {step.way} becomes invalid",
        "invalidated": f"invalidated, way {step.way} becomes invalid",
        "not-cached": "to be flushed and not cached, nothing happens",
    }[step.result]
    return f"{line}: {what}; {step.leftovers} old left"
