# SPDX-License-Identifier: GPL-2.0-or-later
"""What a replay comes to, and what it says where a file is not true."""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.cache.policies import Policy
from l1dflush.cache.policy.play import Situation
from l1dflush.proof.counterexample import Outcomes
from l1dflush.proof.question import ItemKind
from l1dflush.verdict.counterexample_result import CounterexampleInfo

OUTCOMES = {
    "hit": Outcomes.HIT, "miss": Outcomes.MISS, "fill": Outcomes.MISS, "dropped": Outcomes.DROPPED,
    "flushed": Outcomes.FLUSHED, "not-cached": Outcomes.NOT_CACHED,
}  # fmt: skip
"""What the results of a routine's own steps are for a replay."""
OUTCOMES_OF_OTHERS = {"hit": Outcomes.TOUCH_HIT, "miss": Outcomes.TOUCH_MISS, "fill": Outcomes.TOUCH_MISS}
"""The same of steps by others during a flush."""
KINDS = {"dropped": ItemKind.OPTIONAL, "flushed": ItemKind.FLUSH, "not-cached": ItemKind.FLUSH}
"""What a step with such a result must have been; any other is an access."""


class FileLiesError(Exception):
    """The policy does something else than the file says; the text names the step."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A counterexample that is true: the set at the start, and after each of its steps."""

    policy: Policy
    example: CounterexampleInfo
    start: Situation
    after: tuple[Situation, ...]


def said(value: object) -> str:
    if value is None:
        return "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
