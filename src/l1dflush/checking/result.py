# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``l1dflush check``. Field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.checking.checker import CheckedClaim, RejectedError
from l1dflush.checking.model import CacheInfo, Certificate, Item, RoutineInfo
from l1dflush.document import FORMAT_VERSION, Document


class CheckedWordInfo(Document):
    """A word after which no old line is left."""

    items: tuple[Item, ...] = Field(description="line and kind, in order")
    cold: tuple[int, ...] = Field(description="lines that are taken not to be cached at the start")
    sets: int = Field(description="how many sets are said to have it, at most")
    used: int = Field(description="after so many items nothing is left already")
    layers: int
    states: int = Field(description="over all layers")


class CheckedClaimInfo(Document):
    """A claim that was checked, in full."""

    cpus: tuple[str, ...] = Field(description="CPUs that are said to have this cache and policy")
    cache: CacheInfo | None = Field(description="null if it is about one set and pairwise different accesses")
    ways: int
    policy: str = Field(description="the policy's name")
    rule: str = Field(description="what the policy does, in one line")
    start: str
    touches: int
    words: tuple[CheckedWordInfo, ...]
    seconds: float


class Place(Document):
    """Where the argument fails; all counted from 0, null where it is not about one."""

    claim: int | None
    word: int | None
    layer: int | None = Field(description="the number of items before it")
    state: int | None


class CheckResult(Document):
    """The result of `l1dflush check`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["check"] = "check"
    accepted: bool
    reason: str = Field(description="why it was rejected; empty if it was not")
    place: Place | None = Field(description="where, if it was rejected")
    routine: RoutineInfo | None = Field(description="the routine that the certificate names")
    compared: bool = Field(description="whether the words were compared with those of a routine (--routine)")
    claims: tuple[CheckedClaimInfo, ...] = Field(description="what is proved; empty if it was rejected")
    exit_status: int


def accepted(certificate: Certificate, claims: tuple[CheckedClaim, ...], tool: str, *, compared: bool) -> CheckResult:
    """The result for a certificate of which all ``claims`` were checked."""
    return CheckResult(
        tool_version=tool,
        accepted=True,
        reason="",
        place=None,
        routine=certificate.routine,
        compared=compared,
        claims=tuple(map(_claim, claims)),
        exit_status=0,
    )


def rejected(certificate: Certificate, error: RejectedError, tool: str, *, compared: bool = False) -> CheckResult:
    """The result for a certificate that does not prove what it claims."""
    return CheckResult(
        tool_version=tool,
        accepted=False,
        reason=error.reason,
        place=Place(claim=error.claim, word=error.word, layer=error.layer, state=error.state),
        routine=certificate.routine,
        compared=compared,
        claims=(),
        exit_status=2,
    )


def _claim(checked: CheckedClaim) -> CheckedClaimInfo:
    claim = checked.claim
    words = [
        CheckedWordInfo(
            items=word.items, cold=word.cold, sets=word.sets, used=done.used, layers=done.layers, states=done.states
        )
        for word, done in zip(claim.words, checked.words, strict=True)
    ]
    return CheckedClaimInfo(
        cpus=claim.cpus,
        cache=claim.cache,
        ways=claim.ways,
        policy=checked.policy.name,
        rule=checked.policy.rule,
        start=claim.start,
        touches=claim.touches,
        words=tuple(words),
        seconds=round(checked.seconds, 3),
    )
