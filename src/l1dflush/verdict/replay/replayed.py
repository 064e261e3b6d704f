# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample from a file, played again on the plain policy: what happens, or where the file says otherwise.

Nothing in the file is believed. Its start and its choices are taken, as far as there are such; hits, victims, evictions
and states are the policy's own, and each is compared with what the file says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from l1dflush.cache.policies import MAX_WAYS, Policy, State, get_policy
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.cache.policy.play import Situation, situation
from l1dflush.errors import InputError
from l1dflush.proof.counterexample import Line, Move, Outcomes, ReplayMismatchError, replay
from l1dflush.proof.counterexample import Step as Played
from l1dflush.proof.question import ItemKind
from l1dflush.verdict.counterexample_result import INVALID, CounterexampleInfo, LineKind, Step
from l1dflush.verdict.replay.flushes import replayed_flushes
from l1dflush.verdict.replay.result import KINDS, OUTCOMES, OUTCOMES_OF_OTHERS, FileLiesError, Replayed, said

MOST_STEPS = 10_000
# Beyond the numbers that any policy keeps; a machine has at most so many states.
_LARGEST_NUMBER = 1_000_000
_MISMATCH = re.compile(r"expected (.+), got (.+)")


def replayed(example: CounterexampleInfo) -> Replayed:
    """Plays ``example``. Raises InputError if it cannot be played, FileLiesError if it is not true."""
    policy, state = _policy(example), example.policy_state
    if state is None:
        raise InputError("the counterexample does not say all that a replay needs", hint="write the file anew")
    if len(example.steps) > MOST_STEPS:
        raise InputError(f"the counterexample has {len(example.steps)} steps", hint=f"at most {MOST_STEPS}")
    _check_state(policy, state)
    _check_lines(example)
    if example.steady is not None:
        return replayed_flushes(example, example.steady, policy, state)
    names = _Names(example)
    content = [names.of(name) for name in example.start]
    cached = [name for name in example.start if name != INVALID]
    if len(set(cached)) < len(cached):
        raise FileLiesError("at the start a line is in two ways")
    moves, word = _moves(example, names)
    after: list[Situation] = []
    try:
        start = situation(policy, [names.text(line) for line in content], state)
        for step, played in zip(example.steps, replay(policy, word, state, content, moves), strict=True):
            _compare(step, played, names, len(after) + 1)
            after.append(situation(policy, [names.text(line) for line in played.content], played.policy_state))
        _check_end(example, policy, state, after[-1] if after else start)
    except ReplayMismatchError as error:
        raise FileLiesError(f"{_where(after)} is not what {policy.name} does: {_mismatch(error)}") from None
    except (ValueError, LookupError):
        # Numbers that are not a state of this policy: it gets lost in them.
        raise FileLiesError(f"{_where(after)}: {policy.name} cannot be in the state that the file says") from None
    return Replayed(policy, example, start, tuple(after))


def _policy(example: CounterexampleInfo) -> Policy:
    ways = len(example.start)
    if not 1 <= ways <= MAX_WAYS:
        raise InputError(f"the counterexample has {ways} ways", hint=f"1 to {MAX_WAYS}")
    if example.machine is None:
        return get_policy(example.policy, ways)
    machine = parse_machine(example.machine, example.policy)
    if machine.ways != ways:
        raise InputError(f"{example.policy} has {machine.ways} ways, and the set {ways}")
    return machine


def _check_state(policy: Policy, state: tuple[int, ...]) -> None:
    if len(state) != len(policy.empty()) or not all(0 <= number <= _LARGEST_NUMBER for number in state):
        raise FileLiesError(f"at the start {policy.name} cannot be in the state that the file says")


def _check_lines(example: CounterexampleInfo) -> None:
    """Each line is told once, and all that take part are told."""
    names = [line.name for line in example.lines]
    there = {*example.start, *example.end} - {INVALID} | {step.access for step in example.steps}
    there |= {step.evicted for step in example.steps if step.evicted is not None}
    if len(set(names)) < len(names) or INVALID in names or set(names) != there:
        raise FileLiesError("the lines that are told are not those that take part")


class _Names:
    """The names of the file as the lines of a replay, and back."""

    def __init__(self, example: CounterexampleInfo) -> None:
        self._lines: dict[str, Line | None] = {INVALID: None}
        self._texts: dict[Line | None, str | None] = {None: None}
        old = example.named(LineKind.OLD)
        for name in (*example.start, *(step.access for step in example.steps if not step.by_others)):
            self._add(name, name if name in old else len(self._lines))
        # Others may bring in a line of the routine, or one that nobody else has.
        foreign = 0
        for step in example.steps:
            if step.by_others and step.result != "hit" and step.access not in self._lines:
                foreign -= 1
                self._add(step.access, foreign)

    def _add(self, name: str, line: Line) -> None:
        if name not in self._lines:
            self._lines[name] = line
            self._texts[line] = name

    def of(self, name: str) -> Line | None:
        return self._lines[name]

    def text(self, line: Line | None) -> str | None:
        return self._texts.get(line)


def _moves(example: CounterexampleInfo, names: _Names) -> tuple[list[Move], list[tuple[int, int]]]:
    moves: list[Move] = []
    word: list[tuple[int, int]] = []
    for number, step in enumerate(example.steps, 1):
        outcome = (OUTCOMES_OF_OTHERS if step.by_others else OUTCOMES).get(step.result)
        line = None if step.by_others and step.result == "hit" else names.of(step.access)
        way = -1 if step.way is None else step.way
        if outcome is None or (step.way is not None and not 0 <= step.way < len(example.start)):
            raise FileLiesError(f"step {number}: there is no such result, or no such way")
        if not step.by_others:
            if not isinstance(line, int):
                raise FileLiesError(f"step {number}: the routine accesses an old line")
            word.append((line, KINDS.get(step.result, ItemKind.ACCESS)))
        elif isinstance(line, str) or (outcome is Outcomes.TOUCH_HIT and step.way is None):
            raise FileLiesError(f"step {number}: others cannot do that")
        foreign = line is None or (isinstance(line, int) and line < 0)
        # A touch comes before the item that is next.
        item = len(word) - (not step.by_others)
        moves.append(Move(outcome, way, item, None if foreign else line, step.policy_state))
    return moves, word


def _compare(step: Step, played: Played, names: _Names, number: int) -> None:
    result = "fill" if played.outcome in (Outcomes.MISS, Outcomes.TOUCH_MISS) and played.evicted is None else None
    left = sum(isinstance(line, str) for line in played.content)
    told: Iterator[tuple[str, object, object]] = iter(
        (
            ("accesses", step.access, names.text(played.line)),
            ("has the result", step.result, result or step.result),
            ("is in way", step.way, played.way),
            ("evicts", step.evicted, None if played.evicted is None else names.text(played.evicted)),
            ("has so many old lines left:", step.leftovers, left),
            ("ends in state", step.policy_state, played.policy_state),
        )
    )
    for what, says, true in told:
        if says != true:
            raise FileLiesError(f"step {number} {what} {said(true)}, and the file says {said(says)}")
    if (step.result == "fill") != (result == "fill"):
        raise FileLiesError(f"step {number} replaces a line, and the file says fill")


def _check_end(example: CounterexampleInfo, policy: Policy, state: State, end: Situation) -> None:
    old = example.named(LineKind.OLD)
    left = sum(name in old for name in end.content)
    content = tuple(INVALID if name is None else name for name in end.content)
    if (content, left, policy.render(end.state)) != (example.end, example.leftovers, example.end_state):
        raise FileLiesError("after the last step the set is not what the file says")
    if policy.render(state) != example.start_state:
        raise FileLiesError("the state at the start is not what the file calls it")
    if not left:
        raise FileLiesError("after the last step no old line is left")


def _mismatch(error: ReplayMismatchError) -> str:
    # It counts items from 0, and a file its steps from 1; and what is expected there is what the file says.
    text = re.sub(r"^(item|move) [0-9]+: ", "", str(error))
    if (both := _MISMATCH.fullmatch(text)) is None:
        return text
    said, true = (one.lower().replace("touch_", "").replace("_", " ") for one in both.groups())
    return f"{true}, and the file says {said}"


def _where(after: list[Situation]) -> str:
    return f"step {len(after) + 1}"
