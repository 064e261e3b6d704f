# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in a certificate. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1

_Number = Annotated[int, Field(ge=0, lt=1 << 32)]
_Text = Annotated[str, Field(max_length=4096)]

Kind = Literal["access", "prefetch", "flush"]
Item = tuple[_Number, Kind]
StateRow = tuple[tuple[_Number, ...], _Text, _Number, tuple[_Number, ...]]
Outcome = tuple[_Number, _Number]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class RoutineInfo(_Model):
    """Whose words these are said to be; `l1dflush check FILE --routine ROUTINE` compares."""

    name: _Text = Field(description="name of the function or of the built-in routine")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="hash of the routine, in hexadecimal: its code, its relocations, and what it uses",
    )


class CacheInfo(_Model):
    """The cache that a claim is about."""

    size: _Number = Field(description="bytes")
    sets: _Number
    line: _Number = Field(description="bytes")


class Machine(_Model):
    """A policy from a file, as a table. A state is its number."""

    name: _Text
    start: _Number
    hits: tuple[tuple[tuple[_Number, ...], ...], ...] = Field(
        description="per state and way the states that may follow a hit"
    )
    misses: tuple[tuple[Outcome, ...], ...] = Field(
        description="per state what a miss in a full set may do: the way that it replaces, and the next state"
    )
    fills: tuple[tuple[tuple[Outcome, ...], ...], ...] | None = Field(
        description="per state and way what filling the invalid way may do, or null if nobody knows"
    )


class Word(_Model):
    """What happens in a set, and why no old line is left after it."""

    items: tuple[Item, ...] = Field(
        min_length=1, description="line and kind, in order; lines are numbered 0, 1, 2, ... as they first occur"
    )
    cold: tuple[_Number, ...] = Field(description="lines that are not cached at the start; for starts with 'cold'")
    sets: _Number = Field(description="how many sets have this word, at most")
    view: Literal["ways", "positions"] = Field(description="how a state is written: by way, or by position")
    layers: tuple[tuple[StateRow, ...] | Literal["same"], ...] = Field(
        min_length=2,
        description="the states before each item of a beginning of the word, and after its last; the last layer is "
        "empty; 'same' is the same as the one before. A state is the policy's numbers (by position those of the "
        "residue), what each way or position holds (? unknown, ! unknown but valid, - settled, . invalid, + brought in "
        "by others, or a line), touches used, and lines that only prefetches touched and that were pushed out since",
    )


class Claim(_Model):
    """After each of the words no old line is left in a set with this policy."""

    cpus: tuple[_Text, ...] = Field(description="CPUs that have this cache and policy, by name")
    cache: CacheInfo | None = Field(description="null if the claim is about one set and pairwise different accesses")
    ways: Annotated[int, Field(ge=1, le=16)]
    policy: _Text | Machine = Field(description="the policy's canonical name, or its table")
    start: _Text = Field(description="which states a set may be in at the start: any, any+invalid, cold, ...")
    touches: Annotated[int, Field(ge=0, le=1000)] = Field(description="accesses by others that are allowed for")
    words: tuple[Word, ...] = Field(min_length=1)


class Certificate(_Model):
    """The result of `l1dflush verify --certificate`."""

    # Not Literal[1]: that takes 1.0 for 1.
    format_version: Annotated[int, Field(ge=1, le=1)]
    tool_version: _Text
    routine: RoutineInfo | None
    claims: tuple[Claim, ...] = Field(min_length=1)
    digest: str = Field(description="SHA-256 of all the rest, as JSON without blanks and with sorted keys")


def digest_of(content: dict[str, Any]) -> str:
    """The digest that belongs to the ``content`` of a certificate, whatever digest is in it."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
