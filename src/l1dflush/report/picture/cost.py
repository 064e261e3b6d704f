# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that flushes take by exit reason, as a picture. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l1dflush.report.layout import safe
from l1dflush.report.picture.survivors import COLOURS, drawn
from l1dflush.report.terminal.cost import left_out, shown_reasons
from l1dflush.vmentry.cost.model import CostResult, CountsInfo

_LONGEST = 24


def cost_picture(result: CostResult, form: str) -> bytes:
    """A panel for each flush, a pair of bars for each reason, ``form`` being svg or png."""
    groups: list[tuple[str, Sequence[CountsInfo]]] = [(one.reason, [one]) for one in shown_reasons(result)]
    if left_out(result):
        groups.append((f"{len(left_out(result))} others", left_out(result)))

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(result.flushes), sharex=True, sharey=True, squeeze=False)[0]
        for number, axes in enumerate(panels):
            _panel(axes, result, groups, number)
        names = [safe(name)[:_LONGEST].replace("$", r"\$") for name, _ in groups]
        panels[0].set_yticks(range(len(groups)), names)
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)

    return drawn(draw, form, (3.0 + 3.0 * len(result.flushes), 1.6 + 0.34 * len(groups)))


def _panel(axes: Any, result: CostResult, groups: Sequence[tuple[str, Sequence[CountsInfo]]], number: int) -> None:
    flush, second = result.flushes[number], result.trace.seconds
    scale = 1e3 / (second or 1)
    losses = [[one.losses[number] for one in several] for _, several in groups]
    least = [scale * sum(one.cond_at_least_seconds for one in several) for several in losses]
    most = [scale * sum(one.cond_at_most_seconds for one in several) for several in losses]
    always = [scale * sum(one.always_seconds for one in several) for several in losses]
    places = range(len(groups))
    upper, lower = [place - 0.2 for place in places], [place + 0.2 for place in places]
    axes.barh(upper, most, 0.38, color=COLOURS[5], label="cond, at most")
    axes.barh(upper, least, 0.38, color=COLOURS[0], label="cond, at least")
    axes.barh(lower, always, 0.38, color=COLOURS[1], label="always")
    axes.set_title(f"{flush.name}, {flush.nanoseconds:.4g} ns", fontsize=10)
    axes.set_xlabel("ms lost per second" if second else "ms lost")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
