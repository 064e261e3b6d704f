# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample of flushes again and again, from a file: played anew, and told anew to be compared with the file."""

from __future__ import annotations

from collections.abc import Iterator

from l1dflush.cache.policies import Policy, State
from l1dflush.cache.policy.play import situation
from l1dflush.errors import InputError
from l1dflush.in_words import in_words
from l1dflush.proof.conditions import Start
from l1dflush.proof.counterexample import Line, Outcomes, ReplayMismatchError
from l1dflush.proof.prover import ItemKind, Word
from l1dflush.proof.steady_run import Between, ClaimedStep, SteadyRun, replay_run
from l1dflush.verdict.counterexample_result import (
    INVALID,
    CounterexampleInfo,
    LineInfo,
    LineKind,
    SteadyInfo,
    Step,
)
from l1dflush.verdict.examples import Lines, of_somebody_else, told
from l1dflush.verdict.replay.result import KINDS, OUTCOMES, OUTCOMES_OF_OTHERS, FileLiesError, Replayed, said

_BETWEEN = {
    "hit": Between.OTHERS_HIT, "miss": Between.OTHERS_MISS, "fill": Between.OTHERS_MISS,
    "invalidated": Between.INVALIDATED,
}  # fmt: skip


def replayed_flushes(example: CounterexampleInfo, steady: SteadyInfo, policy: Policy, state: State) -> Replayed:
    """Plays ``example``. Raises InputError if it cannot be played, FileLiesError if it is not true."""
    start = Start.parse(steady.start)
    if not start.steady or steady.turns < 1:
        raise InputError("the counterexample does not say which flushes come in turn", hint="write the file anew")
    claim = _Claim(example, steady)
    try:
        run = replay_run(
            policy, claim.words, claim.turns, start, claim.own, {line: line for line in claim.names},
            (state, claim.content, claim.legs, claim.again),
        )  # fmt: skip
    except ReplayMismatchError as error:
        raise FileLiesError(f"this is not what {policy.name} does: {error}") from None
    except (ValueError, LookupError):
        # Numbers that are not a state of this policy: it gets lost in them.
        raise FileLiesError(f"{policy.name} cannot be in the states that the file says") from None
    true = told(run, policy, start, steady.turns, example.set_index, Lines(claim.what))
    _compare(example, true)
    first = situation(policy, [claim.text(line) for line in run.content], state)
    after = tuple(
        situation(policy, [claim.text(line) for line in content], policy_state)
        for content, policy_state in _played(run)
    )
    return Replayed(policy, example, first, after)


def _played(run: SteadyRun) -> Iterator[tuple[tuple[Line | None, ...], State]]:
    for flush in run.flushes:
        yield from ((step.content, step.policy_state) for step in flush.before)
        yield from ((step.content, step.policy_state) for step in flush.steps)


class _Claim:
    """What the file says, as a run of numbered lines."""

    def __init__(self, example: CounterexampleInfo, steady: SteadyInfo) -> None:
        self._ids: dict[str, int] = {}
        self._lines = {line.name: line for line in example.lines}
        old, buffer = example.named(LineKind.OLD), example.named(LineKind.BUFFER)
        for step in example.steps:
            if step.flush and not step.by_others:
                if step.access in old:
                    raise FileLiesError("the routine accesses an old line")
                self._ids.setdefault(step.access, len(self._ids))
        for name in example.start:
            if name != INVALID and name not in old:
                self._ids.setdefault(name, len(self._ids))
        self.own = {line for name, line in self._ids.items() if name not in buffer}
        self.content = [-2 if name == INVALID else self._ids.get(name, -1) for name in example.start]
        self.words: list[Word] = []
        self.legs: list[tuple[int, list[ClaimedStep]]] = []
        self.again = 0
        for number, step in enumerate(example.steps):
            if number and number == steady.again:
                self.again = len(self.legs)
            if step.flush:
                self._during(step)
            else:
                self.legs.append((-1, [self._between(step)]))
        # Which words the turns may have is nothing that the file says: those that they have in it.
        self.turns = [range(turn, len(self.words), steady.turns) or range(1) for turn in range(steady.turns)]
        self.names = {line: name for name, line in self._ids.items()}

    def _during(self, step: Step) -> None:
        if step.flush == len(self.words) + 1:
            self.legs.append((len(self.words), []))
            self.words.append(())
        elif step.flush != len(self.words) or self.legs[-1][0] < 0:
            raise FileLiesError(f"flush {step.flush} is out of its turn")
        line = self._ids.get(step.access, -1)
        outcome = (OUTCOMES_OF_OTHERS if step.by_others else OUTCOMES).get(step.result)
        if outcome is None:
            raise FileLiesError(f"flush {step.flush}: nothing is {in_words(step.result)} then")
        # A touch comes before the item that is next.
        item = len(self.words[-1])
        if not step.by_others:
            self.words[-1] += ((line, KINDS.get(step.result, ItemKind.ACCESS)),)
        brought = line if outcome is Outcomes.TOUCH_MISS else -1
        self.legs[-1][1].append((int(outcome), _way(step), item, brought, step.policy_state))

    def _between(self, step: Step) -> ClaimedStep:
        outcome = _BETWEEN.get(step.result)
        if outcome is None:
            raise FileLiesError(f"nothing is {in_words(step.result)} between flushes")
        brought = self._ids.get(step.access, -1) if outcome is Between.OTHERS_MISS else -1
        return int(outcome), _way(step), 0, brought, step.policy_state

    def what(self, line: Line) -> LineInfo:
        return self._lines[self.names[line]] if isinstance(line, int) and line >= 0 else of_somebody_else(line)

    def text(self, line: Line | None) -> str | None:
        return None if line is None else self.what(line).name


def _way(step: Step) -> int:
    return -1 if step.way is None else step.way


def _compare(says: CounterexampleInfo, true: CounterexampleInfo) -> None:
    for number, (theirs, mine) in enumerate(zip(says.steps, true.steps, strict=True), 1):
        for field in type(mine).model_fields:
            if getattr(theirs, field) != getattr(mine, field):
                what = f"{said(getattr(mine, field))}, and the file says {said(getattr(theirs, field))}"
                raise FileLiesError(f"step {number}: {field.replace('_', ' ')} is {what}")
    for field in type(true).model_fields:
        if field not in ("steps", "smallest", "machine", "policy") and getattr(says, field) != getattr(true, field):
            raise FileLiesError(f"{field.replace('_', ' ')} is not what the file says")
