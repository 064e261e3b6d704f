"""What a replay comes to, and what it says where a file is not true."""

from __future__ import annotations

import re
from dataclasses import dataclass

from l1dflush.cache.policies import Policy
from l1dflush.cache.policy.play import Situation
from l1dflush.verdict.model import CounterexampleInfo

OLD = re.compile(r"[a-z]{1,2}")
"""Names of old lines."""


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
