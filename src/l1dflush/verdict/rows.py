"""One verdict per cache: the words of every set, the prover, and what an unknown policy could be."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, known_policies
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.machine_table import table_text
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.proof.counterexample import TOUCHES, Line, Outcomes
from l1dflush.proof.limits import Limits
from l1dflush.proof.prover import ItemKind, Word
from l1dflush.proof.words import Line as Place
from l1dflush.proof.words import SetWord, set_words
from l1dflush.trace.model import Event, Kind, Path
from l1dflush.verdict.model import INVALID, Candidate, CounterexampleInfo, Step, Verdict
from l1dflush.verdict.walk import Buffer, Placement, Places, walk_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict for one cache. ``leftovers`` is the most old lines left in any set (None if undecided)."""

    verdict: Verdict
    needs: int | None
    has: int | None
    leftovers: int | None
    sets_without_walk: int
    cause: str | None = None
    reason: str = ""
    curve: tuple[int, ...] | None = None
    candidates: tuple[Candidate, ...] = ()
    counterexample: CounterexampleInfo | None = None

    @property
    def margin(self) -> int | None:
        """has - needs, unless the exact words say something else than the two numbers."""
        if self.needs is None or self.has is None:
            return None
        expected = Verdict.PROVED if self.has >= self.needs else Verdict.REFUTED
        return self.has - self.needs if self.verdict is expected else None


@dataclass(frozen=True, slots=True)
class PathWords:
    """The words of one walking path. ``doubt`` is set where they are not all that the path does: then they can
    prove that nothing is left, but not that something is."""

    per_set: list[SetWord]
    doubt: UndecidedError | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every cache: the walking paths of a trace, and what its buffer is."""

    paths: tuple[Path, ...]
    buffer: Buffer
    buffer_size: int | None
    places: Places
    skipped_path: bool
    memory: int
    # A time.monotonic() value: after it the prover is asked nothing more.
    deadline: float
    # Words by what they depend on: caches that differ in their ways only have the same.
    words: dict[tuple[int, int, int | None, int | None], list[PathWords]] = field(default_factory=dict)
    # Where the buffer lies, if it is a variable's own storage.
    placement: Placement | None = None
    conditions: Conditions = DEFAULT

    def limits(self) -> Limits:
        """What the prover may still take; a little time remains always, so that small questions are answered after
        large ones."""
        return Limits(self.memory, max(self.deadline - time.monotonic(), 0.1))


def refuse_steady(conditions: Conditions) -> None:
    """Raises InputError for a steady start: what :mod:`l1dflush.proof.steady` decides becomes rows here one day."""
    if conditions.start.steady:
        hint = "any, any+invalid or cold, each also with +invalidations"
        raise InputError(f"the start {conditions.start} cannot be proved yet", where="--start", hint=hint)


def judge_cache(question: Question, geometry: Geometry, policy: str | Policy | None) -> Outcome:
    """The verdict for one geometry and one policy; with None, what all known policies agree on."""
    names: Sequence[str] = known_policies(geometry.ways)
    try:
        words = _words(question, geometry, names if policy is None else (policy,))
    except UndecidedError as error:
        return Outcome(Verdict.UNDECIDED, None, None, None, 0, error.cause, str(error))
    if policy is not None:
        outcome = _judge(question, words, geometry, policy)
        return _with_alignment(outcome, question, geometry, policy)
    outcomes = [_judge(question, words, geometry, name, examples=False) for name in names]
    candidates = tuple(
        Candidate(policy=name, verdict=o.verdict, needs=o.needs, leftovers=o.leftovers)
        for name, o in zip(names, outcomes, strict=True)
    )
    first = outcomes[0]
    if outcomes and all(o.verdict is Verdict.REFUTED for o in outcomes):
        least = min(o.leftovers or 0 for o in outcomes)
        example = _judge(question, words, geometry, names[0]).counterexample
        return Outcome(
            Verdict.REFUTED, None, first.has, least, first.sets_without_walk,
            reason="under every known policy", candidates=candidates, counterexample=example,
        )  # fmt: skip
    # Even where all of them agree that nothing is left, the policy may be one that never empties a set (LIP, random).
    return Outcome(
        Verdict.UNDECIDED, None, first.has, None, first.sets_without_walk,
        "unknown-policy", "the replacement policy of this cache is not known", candidates=candidates,
    )  # fmt: skip


def _with_alignment(outcome: Outcome, question: Question, geometry: Geometry, policy: str | Policy) -> Outcome:
    """The same, with the reason if it is refuted only because the buffer begins within a line."""
    placed = question.placement
    if outcome.verdict is not Verdict.REFUTED or placed is None or placed.alignment >= geometry.line:
        return outcome
    aligned = _judge(question, _words(question, geometry, (policy,), placed.offset), geometry, policy, examples=False)
    if aligned.verdict is not Verdict.PROVED:
        return outcome
    reason = f"{placed.name} is only {placed.alignment}-byte aligned; with the alignment of a page nothing would stay"
    return replace(outcome, reason=f"{reason}; {outcome.reason}" if outcome.reason else reason)


def _words(
    question: Question, geometry: Geometry, policies: Sequence[str | Policy], aligned_at: int | None = None
) -> list[PathWords]:
    runs = [prover.useful_run(policy, geometry.ways, question.conditions.touches) for policy in policies]
    run = None if None in runs else max(run or 0 for run in runs)
    key = (geometry.sets, geometry.line, aligned_at, run)
    if key not in question.words:
        # Paths that differ only in what they do before or after the walk are one.
        found: dict[tuple[tuple[Event, ...], str], PathWords] = {}
        for path in question.paths:
            events, doubt = judged_part(path, question.buffer)
            what = tuple(events), str(doubt)
            if what not in found:
                arenas, size = question.buffer.arenas, question.buffer_size
                per_set = set_words(events, arenas, geometry, size, aligned_at=aligned_at, run=run)
                found[what] = PathWords(per_set, doubt)
        question.words[key] = list(found.values())
    return question.words[key]


def judged_part(path: Path, buffer: Buffer) -> tuple[Sequence[Event], UndecidedError | None]:
    """The events that the words are made of, and what else the path does that may empty the cache.

    Nobody knows what an outside function does, so the proof starts anew behind the last call before the walk's
    end: any state again. And what wbinvd and invd do cannot be proved.
    """
    walk = walk_of(path, buffer)
    first, last = walk[0][0], walk[-1][0]
    calls = [at for at, event in enumerate(path.events[:last]) if event.kind is Kind.CALL]
    doubt = None
    if any(event.kind is Kind.FLUSH_ALL for event in path.events):
        doubt = UndecidedError("cache-instruction", "the walk is not enough, but wbinvd or invd may be")
    if calls and first < calls[-1]:
        first = calls[-1] + 1
        name = path.events[calls[-1]].detail
        doubt = doubt or UndecidedError("outside-call", f"what {name} does, called during the walk, is not known")
    return path.events[first : last + 1], doubt


def _judge(
    question: Question, words: list[PathWords], geometry: Geometry, policy: str | Policy, *, examples: bool = True
) -> Outcome:
    ways = geometry.ways
    needs, curve, bound = _distinct(question, policy, ways)
    leftovers, refuted, undecided = 0, None, None
    has = None
    at_least = False
    for path in words:
        for found in path.per_set:
            has = found.has if has is None else min(has, found.has)
            # With a cold start the bound is about buffer lines only.
            known = (ways,) if question.conditions.start.cold and found.own else bound
            if _bound(known, found.word) <= leftovers:
                continue  # this set can be no worse than what is known already
            try:
                answer = prover.decide(
                    policy, ways, found.word, question.conditions, own=found.own,
                    limits=question.limits(),
                )  # fmt: skip
            except UndecidedError as error:
                undecided = undecided or error
                continue
            left = answer.leftovers
            if left and path.doubt is not None:
                undecided = undecided or path.doubt
            elif left > leftovers:
                leftovers, refuted = left, refuted or found
                # Then a single run refuted the word; there may be worse ones.
                at_least = at_least or answer.curve is None
    empty = max(sum(found.sets for found in path.per_set if not found.has) for path in words)
    if question.skipped_path and not refuted:
        return Outcome(Verdict.REFUTED, needs, has, ways, empty, reason="a path skips the flush", curve=curve)
    if refuted is not None:
        reason = f"{empty} sets get no access" if empty else ""
        if at_least:
            reason = f"at least {leftovers} old lines may stay in a set"
        example = None
        if examples:
            try:
                example = _counterexample(question, policy, ways, refuted)
            except UndecidedError as error:
                reason = f"no counterexample is shown: {error}"
        return Outcome(Verdict.REFUTED, needs, has, leftovers, empty, None, reason, curve, (), example)
    if undecided is not None:
        return Outcome(Verdict.UNDECIDED, needs, has, None, empty, undecided.cause, str(undecided), curve)
    return Outcome(Verdict.PROVED, needs, has, 0, empty, curve=curve)


def _distinct(
    question: Question, policy: str | Policy, ways: int
) -> tuple[int | None, tuple[int, ...] | None, tuple[int, ...]]:
    """What pairwise different accesses need and leave, each None where it is not known, and what they leave at most."""
    limits = question.limits()
    needs: int | None = None
    curve: tuple[int, ...] | None = None
    bound: tuple[int, ...] = (ways,)
    # None of them is known unless the one before it is.
    with suppress(UndecidedError):
        bound = prover.at_most(policy, ways, question.conditions, limits=limits)
        needs = prover.needs(policy, ways, question.conditions, limits=limits)
        curve = prover.survivors(policy, ways, question.conditions, limits=limits)
    return needs, curve, bound


def _bound(curve: Sequence[int], word: Word) -> int:
    """An upper bound of what a word leaves: what its beginning leaves, up to the first line that occurs again."""
    seen: set[int] = set()
    for line, kind in word:
        if kind is not ItemKind.ACCESS or line in seen:
            break
        seen.add(line)
    return curve[min(len(seen), len(curve) - 1)]


def _counterexample(question: Question, policy: str | Policy, ways: int, found: SetWord) -> CounterexampleInfo:
    example = prover.counterexample(
        policy, ways, found.word, question.conditions, own=found.own,
        limits=question.limits(),
    )  # fmt: skip
    twin = prover.resolved(policy, ways)
    mine: dict[int, str] = {}

    def name(line: Line | None) -> str:
        if isinstance(line, int) and line < 0:
            return f"other{-line}"
        if isinstance(line, int):
            return mine.setdefault(line, _name_of(found.lines[line], question.places, mine.values()))
        return INVALID if line is None else line

    steps, left = [], sum(isinstance(line, str) for line in example.content)
    for step in example.steps:
        left = sum(isinstance(line, str) for line in step.content)
        evicted = None if step.evicted is None else name(step.evicted)
        result = _RESULTS[step.outcome]
        if step.outcome in (Outcomes.MISS, Outcomes.TOUCH_MISS) and evicted is None:
            result = "fill"
        steps.append(
            Step(
                access=name(step.line), result=result, way=step.way, evicted=evicted, leftovers=left,
                by_others=step.outcome in TOUCHES, policy_state=step.policy_state,
            )
        )  # fmt: skip
    last = example.steps[-1] if example.steps else None
    return CounterexampleInfo(
        policy=example.policy,
        set_index=found.set_index,
        start_state=example.start_text,
        policy_state=example.policy_state,
        machine=_machine_text(twin),
        start=tuple(name(line) for line in example.content),
        steps=tuple(steps),
        end=tuple(name(line) for line in (last.content if last else example.content)),
        end_state=twin.render(last.policy_state) if last else example.start_text,
        leftovers=left,
        smallest=example.smallest,
    )


def _name_of(place: Place, places: Places, taken: Collection[str]) -> str:
    """The name of a line of the routine: never that of a line of somebody else, or of another line."""
    name = places.line(place.arena, place.offset)
    if _OF_OTHERS.fullmatch(name):
        name = f"`{name}`"
    return next(told for n in count(1) if (told := name if n == 1 else f"{name} ({n})") not in taken)


def _machine_text(policy: Policy) -> str | None:
    text = table_text(policy) if isinstance(policy, MachinePolicy) else None
    return None if text is None or len(text) > _LONGEST_MACHINE else text


# Old lines, what others bring in, and no line at all. A loop counter may be called i.
_OF_OTHERS = re.compile(r"[a-z]{1,2}|other[0-9]+|invalid")
_LONGEST_MACHINE = 4 << 20
_RESULTS: dict[Outcomes, Literal["hit", "miss", "fill", "dropped", "flushed", "not cached"]] = {
    Outcomes.MISS: "miss",
    Outcomes.HIT: "hit",
    Outcomes.DROPPED: "dropped",
    Outcomes.FLUSHED: "flushed",
    Outcomes.NOT_CACHED: "not cached",
    Outcomes.TOUCH_HIT: "hit",
    Outcomes.TOUCH_MISS: "miss",
}
