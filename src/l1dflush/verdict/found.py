# SPDX-License-Identifier: GPL-2.0-or-later
"""What a finding is about: facts, and the one function that says them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from l1dflush.errors import some_of
from l1dflush.place import STRICT
from l1dflush.tracing.region import Region

_MOST_TOLD = 4


class On(StrEnum):
    """On how many of the paths something happens."""

    EVERY_PATH = "every-path"
    A_PATH = "a-path"
    SOME_PATHS = "some-paths"

    def __str__(self) -> str:
        return self.value.replace("-", " ")

    @classmethod
    def of(cls, number: int, paths: int) -> On:
        """``number`` of ``paths``."""
        return cls.EVERY_PATH if number == paths else cls.A_PATH if number == 1 else cls.SOME_PATHS


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in memory, or several in a row.

    >>> from l1dflush.tracing.region import BUFFER, STACK
    >>> str(Spot(STACK, -16)), str(Spot(STACK)), str(Spot(BUFFER, 0, last=0x80))
    ('stack-0x10', 'stack', 'buffer+0x0 … +0x80')
    """

    __pydantic_config__: ClassVar = STRICT

    region: Region
    offset: int = 0
    """in bytes"""
    last: int | None = None
    """of places in a row: where the last one begins"""
    times: int | None = None
    """how often it is touched, where that is counted"""

    def __str__(self) -> str:
        if self.last is not None:
            first = f"{self.region}{self.offset:+#x}"
            return first if self.last == self.offset else f"{first} … {self.last:+#x}"
        place = f"{self.region}{self.offset:+#x}" if self.offset else str(self.region)
        return place if self.times is None else f"{place} ({self.times} times)"


@dataclass(frozen=True, slots=True)
class About:
    """The facts of a finding. Which of them there are is the rule's: see :func:`said`."""

    __pydantic_config__: ClassVar = STRICT

    name: str = ""
    """a register, variable, section, function, MSR or name of the source; a level of optimisation"""
    code: str = ""
    """what the source asks of that name, as it is written"""
    memory: tuple[Spot, ...] = ()
    count: int | None = None
    """how many bytes, accesses, lines or pages are as they should not be"""
    of: int | None = None
    """of how many"""
    step: int | None = None
    """of a walk that leaves lines out: in bytes"""
    on: On | None = None
    instruction: bool = False
    """whether what is named is an instruction"""
    verdicts: tuple[str, ...] = ()
    """of code that was compiled in several ways: each way's verdict, by the level of optimisation"""
    text: str = ""
    """what the source shows, as a sentence"""


NOTHING_MORE = About()


def said(rule: str, about: About) -> str:
    """The finding of a rule in one line.

    >>> said("no-warm-up", About(count=2, of=16))
    '2 of 16 pages are not touched before the fill'
    """
    name, count, of = about.name, about.count, about.of
    match rule:
        case _ if about.text:
            return about.text
        case "undefined-register":
            return f"{name} is not an argument, and what the routine does depends on it"
        case "zero-buffer":
            what = "which is zero at first, so that its pages may be one and the same"
            return f"nothing here stores into `{name}`, {what}"
        case "null-buffer":
            return f"the walk begins at address {count:#x}"
        case "msr-path" | "msr-value-unknown":
            return f"{name} on {about.on}"
        case "flush-skipped":
            return f"no flush on {about.on}"
        case "own-line-in-walk":
            return f"between two buffer accesses the routine touches {_listed(about.memory)}"
        case "own-lines-left":
            return f"touched after the last buffer access: {_listed(about.memory)}"
        case "outside-call" if about.instruction:
            return f"{name} touches lines that are not known during the walk"
        case "outside-call":
            return f"{name} is called during the walk"
        case "buffer-written":
            return f"{count} stores into the buffer, the first at {about.memory[0]}"
        case "no-fence":
            return "nothing waits for the last load"
        case "no-warm-up":
            what = "no page is" if count is None else f"{count} of {of} pages are not"
            return f"{what} touched before the fill"
        case "no-serialisation":
            return "the fill follows the warm-up at once"
        case "own-storage":
            size = f"has {of} bytes" if of is not None else "has no size in this input"
            return f"`{name}` {size}, and {count} bytes from its address on are read"
        case "outside-buffer" if name:
            return f"{count} bytes beyond the {of} of {name} are read"
        case "outside-buffer":
            return f"{count} accesses outside the buffer's {of} bytes, first {about.memory[0]}"
        case "skipped-line" if about.step is not None:
            return f"the walk goes in steps of {about.step} bytes: {count} of {of} lines are left out"
        case "skipped-line":
            return f"{count} line{'s' * (count != 1)} left out: {_listed(about.memory)}"
        case "undefined-decides":
            more = f", and {count} more" if count else ""
            return f"nobody gave {name}, which decides what is compiled: `{about.code}`{more}"
        case "optimisation-dependent":
            where = f": own accesses come between the buffer's at {name}: {_listed(about.memory)}" if name else ""
            return ", ".join(about.verdicts) + where
    raise ValueError(f"no words for {rule}")


def _listed(memory: Iterable[Spot]) -> str:
    return some_of(list(map(str, memory)), _MOST_TOLD)
