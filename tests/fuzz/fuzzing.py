# SPDX-License-Identifier: GPL-2.0-or-later
"""One test's share of the fuzzing: inputs are drawn, written to a file as a user's would be, and checked."""

from __future__ import annotations

import faulthandler
import sys
from collections import Counter
from pathlib import Path
from typing import Protocol

import soundness
from damage import Damage
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

MUCH_TOO_LONG = 15 * soundness.PATIENCE


class Part(Protocol):
    """What of the inputs a test takes."""

    @property
    def seed(self) -> int: ...
    @property
    def inputs(self) -> int: ...


def fuzz(strategy: st.SearchStrategy[Damage], part: Part, folder: Path, tally: Counter[str]) -> None:
    """Checks the part's inputs. A failing one is made small, and its file stays in ``folder``."""
    known: dict[int, object] = {}

    @seed(part.seed)
    @settings(
        max_examples=part.inputs,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def inputs(damage: Damage) -> None:
        of = damage.seed
        suffix = "" if of.packing is None else f".{of.packing}"
        if id(of) not in known:
            clean = folder / f"undamaged-{of.name}{suffix}"
            clean.write_bytes(Damage(of).apply())
            before = soundness.judged(clean, soundness.options_of(of))
            known[id(of)] = before.reached if before.result is not None else None
        path = folder / f"{of.name}{suffix}"
        path.write_bytes(damage.apply())
        note(f"the input is {path}, seed {part.seed}")
        # Should it never come back: where it was is printed, and the process ends.
        faulthandler.dump_traceback_later(MUCH_TOO_LONG, exit=True, file=sys.__stderr__)
        try:
            tally[soundness.check(path, soundness.options_of(of), known[id(of)])] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()

    inputs()
