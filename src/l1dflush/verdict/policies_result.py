# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``l1dflush policies --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush import __version__
from l1dflush.cache.policies import MAX_WAYS, NAMES, all_policies, get_policy
from l1dflush.cache.policy.model import Choice, Policy
from l1dflush.cache.policy.play import Result, Run, Situation, Step
from l1dflush.document import FORMAT_VERSION, Document


class PolicyEntry(Document):
    """A replacement policy."""

    name: str
    ways: tuple[int, ...] = Field(description="numbers of ways at which it is defined, up to 16")
    rule: str = Field(description="the policy in one line")


class PolicyListResult(Document):
    """The result of `l1dflush policies`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["policies"] = "policies"
    policies: tuple[PolicyEntry, ...]


class SetInfo(Document):
    """The set between two accesses."""

    content: tuple[str | None, ...] = Field(description="the line in each way; null where the way is invalid")
    state: tuple[int, ...] = Field(description="the policy's state")
    state_text: str = Field(description="the same in words")
    next_ways: tuple[int, ...] = Field(description="the ways that a miss may fill now; several if there is a choice")


class ChoiceInfo(Document):
    """One of several things that might have happened."""

    way: int
    state: tuple[int, ...]
    chance: str | None = Field(description="a fraction such as '1/32'; null where nobody knows it")


class PolicyStep(Document):
    """One item of the sequence."""

    item: str = Field(description="as written: 'A', 'A?' or 'A!'")
    result: Result = Field(description="miss: another line was replaced; fill: an invalid way was filled")
    way: int | None
    evicted: str | None = Field(description="the line that was replaced")
    choices: tuple[ChoiceInfo, ...] = Field(description="all that might have happened, if more than one thing")
    taken: int = Field(description="index of the choice that was taken: the likeliest, the first of several")
    after: SetInfo = Field(description="the set after it")


class PolicyRunResult(Document):
    """The result of `l1dflush policies NAME`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["policies"] = "policies"
    policy: str = Field(description="canonical name, or the name of the file with the machine")
    ways: int
    rule: str = Field(description="the policy in one line")
    start: SetInfo
    steps: tuple[PolicyStep, ...]
    asked: int = Field(description="how many accesses had a question mark")
    hits: int = Field(description="how many of those hit")


def policy_list() -> PolicyListResult:
    """All policies that have a name."""
    entries = []
    for name in NAMES:
        ways = tuple(k for k in range(1, MAX_WAYS + 1) if name in all_policies(k))
        entries.append(PolicyEntry(name=name, ways=ways, rule=get_policy(name, ways[-1]).rule))
    return PolicyListResult(tool_version=__version__, policies=tuple(entries))


def policy_run(policy: Policy, run: Run) -> PolicyRunResult:
    """The run as a document."""
    return PolicyRunResult(
        tool_version=__version__,
        policy=policy.name,
        ways=policy.ways,
        rule=policy.rule,
        start=_set(policy, run.start),
        steps=tuple(_step(policy, step) for step in run.steps),
        asked=run.asked,
        hits=run.hits,
    )


def _step(policy: Policy, step: Step) -> PolicyStep:
    return PolicyStep(
        item=str(step.item),
        result=step.result,
        way=step.way,
        evicted=step.evicted,
        choices=tuple(map(_choice, step.choices)),
        taken=step.taken,
        after=_set(policy, step.after),
    )


def _choice(choice: Choice) -> ChoiceInfo:
    return ChoiceInfo(way=choice.way, state=choice.state, chance=None if choice.chance is None else str(choice.chance))


def _set(policy: Policy, situation: Situation) -> SetInfo:
    return SetInfo(
        content=situation.content,
        state=situation.state,
        state_text=policy.render(situation.state),
        next_ways=situation.next_ways,
    )
