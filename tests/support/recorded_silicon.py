# SPDX-License-Identifier: GPL-2.0-or-later
"""Real silicon, recorded: what a region answered, call by call, to be played back where there is no such machine.

``python tests/support/recorded_silicon.py FOLDER NAME`` (with ``src`` on ``PYTHONPATH``) records this machine:
``FOLDER/NAME.identify.npz`` and ``NAME.costs.npz`` with the ticks, and ``NAME.json`` with the environment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1dflush.silicon.measure.region import Region

SEED = 1
SEQUENCES, TIMES = 150, 12
COST_ROUNDS, PLANNED = 4, 13 * 4096


class Recorder:
    """Passes everything on to a region and keeps what it answers."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.kept: list[NDArray[np.uint32]] = []

    def chain(self, nodes: NDArray[np.uint32], /) -> None:
        self._region.chain(nodes)

    def run(self, *arguments: Any, **more: Any) -> Any:
        ticks, moved = self._region.run(*arguments, **more)
        self._keep(ticks, moved)
        return ticks, moved

    def costs(self, *arguments: Any, **more: Any) -> Any:
        ticks, chain, moved = self._region.costs(*arguments, **more)
        self._keep(np.concatenate([ticks, chain]), moved)
        return ticks, chain, moved

    def _keep(self, ticks: NDArray[np.uint32], moved: NDArray[np.bool_]) -> None:
        self.kept += [np.minimum(ticks, 0xFFFF).astype(np.uint16), np.packbits(moved)]

    def save(self, file: Path) -> None:
        lengths = np.array([len(one) for one in self.kept], dtype=np.uint32)
        np.savez_compressed(file, lengths=lengths, ticks=np.concatenate(self.kept).astype(np.uint16))


class Player:
    """Gives the same answers to the same questions; what asks for another shape is not what was recorded."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as kept:
            self._answers = np.split(kept["ticks"].astype(np.uint32), np.cumsum(kept["lengths"])[:-1])
        self._at = 0

    def chain(self, nodes: NDArray[np.uint32], /) -> None:
        """Answers nothing."""

    def run(self, steps: Any, prepare: Any, timed: Any, flush: Any, /, **_: Any) -> Any:
        assert len(steps) == prepare.sum() + timed.sum()
        return self._next(int(timed.sum()), len(prepare))

    def costs(self, *_: Any, trials: int, **__: Any) -> Any:
        both, moved = self._next(2 * trials, trials)
        return both[:trials], both[trials:], moved

    def _next(self, ticks: int, trials: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        answer, bits = self._answers[self._at : self._at + 2]
        self._at += 2
        assert len(answer) == ticks, "another question than the one that was recorded"
        return answer, np.unpackbits(bits.astype(np.uint8))[:trials].astype(np.bool_)

    @property
    def over(self) -> bool:
        """Whether everything that was recorded was asked for."""
        return self._at == len(self._answers)


def record(folder: Path, name: str) -> None:
    """Records this machine. Raises UndecidedError where it cannot be measured."""
    from l1dflush.silicon.measure.costs import Costs, variants  # noqa: PLC0415
    from l1dflush.silicon.measure.identify import identify  # noqa: PLC0415
    from l1dflush.silicon.measure.session import CONTROL_SET, silicon  # noqa: PLC0415

    with silicon() as there:
        region = Recorder(there.region)
        identify(region, there.geometry.ways, CONTROL_SET, SEED, count=SEQUENCES, times=TIMES)
        region.save(folder / f"{name}.identify.npz")
        region = Recorder(there.region)
        Costs(region, there.geometry.size, variants(PLANNED)).play(COST_ROUNDS)
        region.save(folder / f"{name}.costs.npz")
        about = asdict(there.environment) | {"ways": there.geometry.ways, "doubts": there.doubts(1, 0)}
        (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]), sys.argv[2])
