# SPDX-License-Identifier: GPL-2.0-or-later
"""Measured survivors as a picture, with the curves that policies predict drawn over them. Needs matplotlib."""

from __future__ import annotations

from typing import Any

from l1dflush.errors import InputError
from l1dflush.report.layout import safe
from l1dflush.report.picture.survivors import COLOURS, drawn
from l1dflush.report.terminal.measure import HISTORIES
from l1dflush.silicon.measure.model import MeasureResult, SurvivorsInfo

_OTHERS = ("LRU", "FIFO", "random")


def survivors_picture(result: MeasureResult, form: str) -> bytes:
    """A panel per history, ``form`` being svg or png. Raises InputError if nothing was measured."""
    if not result.survivors:
        raise InputError("there is nothing to draw", where="--plot", hint="no survivors were measured")

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(result.survivors), sharey=True, squeeze=False)[0]
        # A policy looks the same in all panels, and each panel has its own.
        shown = dict.fromkeys(name for one in result.survivors for name in _policies(one, result))
        looks = {name: _look(index) for index, name in enumerate(shown)}
        legend: dict[str, Any] = {}
        for axes, one in zip(panels, result.survivors, strict=True):
            _panel(axes, one, {name: looks[name] for name in _policies(one, result)}, result.geometry.sets)
            handles, labels = axes.get_legend_handles_labels()
            legend |= dict(zip(labels, handles, strict=True))
        panels[0].set_ylabel("old lines left in a set, on average")
        figure.legend(legend.values(), legend.keys(), loc="outside upper left", ncols=3, frameon=False)

    return drawn(draw, form, (9.0, 4.4))


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of the curve with this number; the first colour is that of what was seen."""
    again, colour = divmod(number, len(COLOURS) - 1)
    return {"color": COLOURS[1 + colour], "linestyle": ("-", "--")[again % 2]}


def _panel(axes: Any, one: SurvivorsInfo, looks: dict[str, dict[str, Any]], lines: int) -> None:
    """Draws one history; ``looks`` are its policies with how they look, ``lines`` those of a way."""
    sizes = [point.flushed / 1024 for point in one.points]
    for name, look in looks.items():
        said = [point.predicted[name] for point in one.points]
        label = safe(f"{name} predicts").replace("$", r"\$")
        axes.plot(sizes, said, **look, linewidth=1.6, label=label, zorder=2)
    seen = [point.per_set for point in one.points]
    most = [max(point.at_most / lines, point.per_set) for point in one.points]
    reach = [[0.0] * len(seen), [high - mean for high, mean in zip(most, seen, strict=True)]]
    axes.errorbar(
        sizes, seen, yerr=reach, fmt="o", color=COLOURS[0], markersize=4, capsize=2, label="seen, and at most (95%)",
        zorder=3,
    )  # fmt: skip
    axes.set_title(HISTORIES[one.history], fontsize=10)
    axes.set_xlabel("KiB read by the flush")
    axes.set_xlim(left=-1)
    axes.set_ylim(bottom=min(0.0, *seen))
    axes.grid(color="#dddddd", linewidth=0.8)


def _policies(one: SurvivorsInfo, result: MeasureResult) -> list[str]:
    """The policy in question, the nearest, and the best known others."""
    names = [result.policy or "", one.nearest, *_OTHERS]
    return [name for name in dict.fromkeys(names) if name in one.points[0].predicted]
