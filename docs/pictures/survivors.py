# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws survivors.svg: the most old lines left in a set after n pairwise different accesses.

Run it from anywhere: ``python docs/pictures/survivors.py``. The figures come from the prover.
"""

from __future__ import annotations

from pathlib import Path

from l1dflush.proof.prover import survivors

CURVES = (("LRU", 8, "#7a7a7a"), ("tree-PLRU", 8, "#1f6fb2"), ("LRU3PLRU4", 12, "#b2381f"))
WIDTH, HEIGHT, LEFT, TOP, STEP_X, STEP_Y = 720, 340, 52, 24, 27, 22
ACCESSES, LINES = 22, 12


def place(accesses: float, lines: float) -> tuple[float, float]:
    """A point of the diagram in picture coordinates."""
    return LEFT + accesses * STEP_X, TOP + (LINES - lines) * STEP_Y


def text(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = "#333") -> str:
    """A piece of text."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def line(start: tuple[float, float], end: tuple[float, float], colour: str, extra: str = "") -> str:
    """A straight line."""
    return (
        f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" stroke="{colour}"'
        f"{' ' + extra if extra else ''}/>"
    )


def draw() -> str:
    """The whole picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for lines in range(0, LINES + 1, 2):
        parts.append(line(place(0, lines), place(ACCESSES, lines), "#ddd"))
        parts.append(text(LEFT - 10, place(0, lines)[1] + 4, str(lines), anchor="end"))
    for accesses in range(0, ACCESSES + 1, 2):
        parts.append(text(place(accesses, 0)[0], place(0, 0)[1] + 18, str(accesses)))
    parts.append(line(place(16, 0), place(16, LINES), "#333", 'stroke-dasharray="4 4"'))
    parts.append(text(place(16, 0)[0] + 6, TOP + 12, "64 KiB: 16 accesses per set", anchor="start"))
    for row, (policy, ways, colour) in enumerate(CURVES):
        curve = survivors(policy, ways)
        points = " ".join("{:g},{:g}".format(*place(n, left)) for n, left in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        x, y = place(len(curve) - 1, 0)
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{colour}"/>')
        label = f"{policy}, {ways} ways: needs {len(curve) - 1}"
        parts.append(text(place(16, 0)[0] + 6, TOP + 34 + 18 * row, label, anchor="start", colour=colour))
    parts.append(text(LEFT + ACCESSES * STEP_X / 2, HEIGHT - 8, "pairwise different accesses to the set"))
    parts.append(text(LEFT, TOP - 8, "most old lines left in the set, over all states it can start in", anchor="start"))
    parts.append("</svg>\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "survivors.svg").write_text(draw(), encoding="utf-8")
