# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of measured survivors: each curve has the name and the look of its policy, in every panel."""

from __future__ import annotations

from typing import Any

import pytest

from l1dflush.report.picture import measured as measure_plot
from l1dflush.silicon.measure.model import MeasureResult, SurvivorsInfo, SurvivorsPoint

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
HISTORIES = tuple(measure_plot.HISTORIES)


def history(number: int, nearest: str, predictions: dict[str, float]) -> SurvivorsInfo:
    """One whose policies predict lines of their own, so that a curve tells whose it is."""
    points = tuple(
        SurvivorsPoint.model_construct(
            flushed=n * 4096,
            per_set=8.0 - n,
            at_most=64.0,
            predicted={name: top - n for name, top in predictions.items()},
        )
        for n in range(3)
    )
    return SurvivorsInfo.model_construct(history=HISTORIES[number], nearest=nearest, points=points, distances={})


@pytest.mark.parametrize("policy", [None, "tree-PLRU"])
def test_each_curve_is_called_what_it_is(policy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = {"tree-PLRU": 10.0, "LRU": 20.0, "FIFO": 30.0, "random": 40.0, "bit-PLRU": 50.0, "SRRIP-HP": 60.0}
    survivors = (history(0, "bit-PLRU", predictions), history(1, "SRRIP-HP", predictions))
    geometry = type("Shape", (), {"sets": 64})
    result = MeasureResult.model_construct(survivors=survivors, policy=policy, geometry=geometry)
    kept: list[Any] = []

    def drawn(draw: Any, _form: str, inches: tuple[float, float]) -> bytes:
        from matplotlib.figure import Figure  # noqa: PLC0415

        figure = Figure(figsize=inches)
        draw(figure)
        kept.append(figure)
        return b""

    monkeypatch.setattr(measure_plot, "drawn", drawn)
    measure_plot.survivors_picture(result, "svg")
    (figure,) = kept
    look: dict[str, tuple[Any, ...]] = {}
    for axes, one in zip(figure.axes, survivors, strict=True):
        lines = [line for line in axes.lines if str(line.get_label()).endswith(" predicts")]
        assert {line.get_label().removesuffix(" predicts") for line in lines} >= {one.nearest, "LRU"}
        for line in lines:
            name = line.get_label().removesuffix(" predicts")
            assert line.get_ydata()[0] == predictions[name]
            assert look.setdefault(name, (line.get_color(), line.get_linestyle())) == (
                line.get_color(),
                line.get_linestyle(),
            )
    assert len(set(look.values())) == len(look)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert {f"{name} predicts" for name in look} <= set(texts)
    told = dict(zip(texts, legend.legend_handles, strict=True))
    for name, (colour, dashes) in look.items():
        handle = told[f"{name} predicts"]
        assert (handle.get_color(), handle.get_linestyle()) == (colour, dashes)
