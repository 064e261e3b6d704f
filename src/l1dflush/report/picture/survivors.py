# SPDX-License-Identifier: GPL-2.0-or-later
"""The survivors curves as a picture, and the style of all pictures. Needs matplotlib, the extra ``plots``."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from l1dflush.errors import InputError
from l1dflush.report.layout import safe
from l1dflush.verdict.size.result import SizeCell, SizeResult

MOST_CURVES = 12
# Okabe and Ito's colours, which are told apart whatever colours one sees; then the same again, dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GREY = "#444444"
_STYLE: Any = {
    "svg.hashsalt": "l1dflush", "font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY, "xtick.color": _GREY, "ytick.color": _GREY, "text.color": _GREY,
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def curves_picture(result: SizeResult, form: str) -> bytes:
    """All curves in one picture, ``form`` being svg or png. The same result gives the same bytes.

    Raises InputError if there is none, or if there are too many to tell apart.
    """
    cells = [cell for cell in result.cells if cell.curve is not None]
    if not cells:
        raise InputError("there is nothing to draw", where="--plot", hint="nothing was decided")
    if len(cells) > MOST_CURVES:
        hint = f"at most {MOST_CURVES}: --policy and --ways say which"
        raise InputError(f"{len(cells)} curves in one picture cannot be told apart", where="--plot", hint=hint)

    def draw(figure: Any) -> None:
        _draw(figure.subplots(), cells)
        # Above, where it hides nothing: a curve may be anywhere.
        figure.legend(loc="outside upper left", ncols=2 if len(cells) > 1 else 1, frameon=False)

    return drawn(draw, form, (7.5, 4.4))


def drawn(draw: Callable[[Any], None], form: str, inches: tuple[float, float]) -> bytes:
    """What ``draw`` draws on a figure, in this package's style; the same each time."""
    # Not pyplot, which looks for a display.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        file = BytesIO()
        metadata = {"Date": None, "Creator": "l1dflush"} if form == "svg" else {"Software": "l1dflush"}
        figure.savefig(file, format=form, dpi=160, metadata=metadata)
    return file.getvalue()


def _draw(axes: Any, cells: list[SizeCell]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    longest = max(len(cell.curve or ()) for cell in cells)
    for index, cell in enumerate(cells):
        curve = list(cell.curve or ())
        colour, again = COLOURS[index % len(COLOURS)], index // len(COLOURS)
        # Where curves are the same, those that were drawn first show at the sides of the others.
        width = 2 + 2 * (len(cells) - 1 - index) / max(len(cells) - 1, 3)
        never = curve[-1] > 0
        if never:
            # It stays where it is, as long as the others go on.
            curve += [curve[-1]] * (longest - len(curve))
        axes.plot(
            range(len(curve)), curve, color=colour, linewidth=width, linestyle=("-", "--")[again % 2], marker="o",
            markersize=3.5 if longest <= 60 else 0, label=_label(cell), zorder=3, clip_on=False,
        )  # fmt: skip
        if not never:
            axes.plot([len(curve) - 1], [0], "o", color=colour, markersize=8, zorder=4, clip_on=False)
    axes.set_xlabel("accesses to pairwise different lines")
    axes.set_ylabel("most old lines left in the set")
    axes.set_xlim(0, max(longest - 1, 1))
    axes.set_ylim(0, max(max(cell.curve or (1,)) for cell in cells))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.8)


def _label(cell: SizeCell) -> str:
    needs = "never empty" if cell.needs is None else f"{cell.needs} accesses"
    # A dollar sign begins a formula.
    return safe(f"{cell.policy}, {cell.ways} ways: {needs}").replace("$", r"\$")
