# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``measure`` for a person: the survivors, beside what policies say, and what a flush costs."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from l1dflush.cache.policies import policy_unknown
from l1dflush.report.layout import Column, header, paragraph, row, safe
from l1dflush.report.terminal.measured_on import environment_lines, title_line
from l1dflush.silicon.measure.model import CostInfo, MeasureResult, Seen, SurvivorsInfo, SurvivorsPoint

HISTORIES = {
    "full": "every way held an old line",
    "work": "an earlier flush, then random work",
}
_WORDS = {Seen.NONE: "none seen", Seen.NOISE: "as noise", Seen.SOME: "seen"}
_LINUX_2018 = 64 << 10
# What the other columns of the costs take.
_FIGURES_WIDTH = 44
_BEFORE = {"flushed": "warm", "clean": "after clean", "dirty": "after dirty"}


def measure_lines(result: MeasureResult, width: int) -> list[Text]:
    """The whole report."""
    lines = [title_line("measured", result.title, result.geometry)]
    lines += environment_lines(result.environment, width)
    if result.interrupted:
        lines += paragraph("interrupted: this is what was measured until then", width, indent="  ", style="bold yellow")
    for one in result.survivors:
        lines += [Text(), *_survivors(one, result, width)]
    if result.costs:
        lines += [Text(), *_costs(result, width)]
    return lines


def figure_at(one: SurvivorsInfo, flushed: int) -> SurvivorsPoint | None:
    """The point of a flush of so many bytes."""
    return next((point for point in one.points if point.flushed == flushed), None)


def _survivors(one: SurvivorsInfo, result: MeasureResult, width: int) -> list[Text]:
    lines = [Text(f"old lines left after a flush: {HISTORIES[one.history]}", "bold")]
    name = result.policy if result.policy is not None and result.policy in one.points[0].predicted else one.nearest
    shape = [
        Column("flush", 7, right=True),
        Column("a set", 6, right=True),
        Column(safe(name)[:11] or "-", 11, right=True),
        Column("more", 6, right=True),
        Column("worst set", 9, right=True),
        Column("whole cache", 11, right=True),
        Column("at most", 7, right=True),
        Column("", 9),
    ]
    lines.append(header(shape))
    for point in one.points:
        said = point.predicted.get(name)
        cells = [
            f"{point.flushed >> 10} KiB",
            f"{point.per_set:.2f}",
            "" if said is None else f"{said:.2f}",
            "" if said is None else f"{point.per_set - said:+.2f}",
            f"{point.worst_set:.1f}",
            f"{point.whole_cache:.1f}",
            f"{point.at_most:.1f}",
            _WORDS[point.seen],
        ]
        lines += row(shape, cells)
    total = result.geometry.sets * result.geometry.ways
    text = f"of {total} lines; at most: 95%, one-sided; a single set's figure is good to {1.96 * one.set_error:.1f}"
    if result.levels is not None and not result.levels.single:
        text += f"; as noise: not told from none, where {one.blank:.1f} of the whole cache show"
    if name != one.nearest:
        text += f"; nearest to it is {safe(one.nearest)}"
    lines += paragraph(text, width, indent="  ", style="dim")
    at_linux = figure_at(one, _LINUX_2018)
    if at_linux is not None:
        lines += paragraph(_figure(at_linux, total), width, indent="  ")
    return lines


def _figure(point: SurvivorsPoint, total: int) -> str:
    what = {
        Seen.NONE: "not one old line was seen",
        Seen.NOISE: "no more was seen than where nothing can be left",
        Seen.SOME: f"{point.whole_cache:.1f} old lines were seen on average",
    }[point.seen]
    return (
        f"after Linux's 64 KiB: {what}, in {point.visits} visits; at most {point.at_most:.1f} of {total} lines are"
        " left on average (95%)"
    )


def _costs(result: MeasureResult, width: int) -> list[Text]:
    lines = [Text("what a flush costs", "bold")]
    names = list(dict.fromkeys(_variant(one) for one in result.costs))
    shape = [
        Column("", min(max(map(len, names)), width - _FIGURES_WIDTH)),
        Column("", 11),
        Column("cycles", 7, right=True),
        Column("ns", 7, right=True),
        Column("bytes/cycle", 11, right=True),
    ]
    lines.append(header(shape))
    last = ""
    for one in result.costs:
        name = _variant(one)
        cells = [
            "" if name == last else name,
            _BEFORE[one.before],
            f"{one.cycles:.0f}",
            f"{one.nanoseconds:.0f}",
            f"{one.bytes_per_cycle:.1f}",
        ]
        lines += row(shape, cells)
        last = name
    lines.append(Text())
    lines += _ratios(result, width)
    if result.planned is None:
        hint = f"no plan was timed: {policy_unknown('this machine')} ('l1dflush identify'; --policy names one)"
        lines += paragraph(hint, width, indent="  ", style="dim")
    return lines


def _variant(one: CostInfo) -> str:
    return f"{one.variant}, {one.size >> 10} KiB"


def _ratios(result: MeasureResult, width: int) -> Iterable[Text]:
    for what in dict.fromkeys(one.what for one in result.ratios):
        parts = [f"{_BEFORE[one.before]} {one.ratio:.2f}" for one in result.ratios if one.what == what]
        yield from paragraph(f"{what}: {', '.join(parts)}", width, first="  ", indent="    ")
