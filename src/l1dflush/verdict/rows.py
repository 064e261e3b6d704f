# SPDX-License-Identifier: GPL-2.0-or-later
"""One verdict per cache: the words of every set, the prover, and what an unknown policy could be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, known_policies, policy_unknown
from l1dflush.ending import Verdict
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.beginning import FIRST_EVENTS, beginning, fewest_lines
from l1dflush.proof.chance import by_chance
from l1dflush.proof.prover import ItemKind, Word
from l1dflush.proof.words import SetWord, set_words
from l1dflush.tracing.events import Events
from l1dflush.verdict.chances import chance_of
from l1dflush.verdict.examples import word_example
from l1dflush.verdict.question import Outcome, PathWords, Question, Reach
from l1dflush.verdict.set_words import Judged
from l1dflush.verdict.steady_rows import judge_protocols, protocols_of
from l1dflush.verdict.verify_result import Candidate

# Words of more events take more memory and time than anybody has.
MOST_EVENTS = 2_000_000

_Judge = Callable[[str | Policy, bool], Outcome]


def judge_cache(question: Question, geometry: Geometry, policy: str | Policy | None, *, examples: bool) -> Outcome:
    """The verdict for one geometry and one policy; with None, what all known policies agree on. With ``examples`` a
    refuted one has a counterexample."""
    names: Sequence[str] = known_policies(geometry.ways)
    try:
        judge = _judge_of(question, geometry, names if policy is None else (policy,))
    except UndecidedError as error:
        return Outcome(Verdict.UNDECIDED, None, None, None, 0, error.cause, str(error))
    if policy is not None:
        return judge(policy, examples)
    outcomes = [judge(name, False) for name in names]
    candidates = tuple(
        Candidate(policy=name, verdict=o.verdict, needs=o.needs, leftovers=o.leftovers, at_least=o.at_least)
        for name, o in zip(names, outcomes, strict=True)
    )
    first = outcomes[0]
    # What the sets come to depends on which policy it is.
    words = tuple(one.not_asked() for one in first.words)
    if outcomes and all(o.verdict is Verdict.REFUTED for o in outcomes):
        least = min(o.leftovers or 0 for o in outcomes)
        example = judge(names[0], True).counterexample if examples else None
        return Outcome(
            Verdict.REFUTED, None, first.has, least, first.sets_without_walk,
            reason="under every known policy", candidates=candidates, counterexample=example, words=words,
        )  # fmt: skip
    # Even where all of them agree that nothing is left, the policy may be one that never empties a set (LIP, random).
    return Outcome(
        Verdict.UNDECIDED, None, first.has, None, first.sets_without_walk,
        "unknown-policy", policy_unknown("this cache"), candidates=candidates, words=words,
    )  # fmt: skip


def _judge_of(question: Question, geometry: Geometry, policies: Sequence[str | Policy]) -> _Judge:
    """What judges each of ``policies``, and on demand shows an example. Raises UndecidedError."""
    run = _useful_run(policies, geometry.ways, question.conditions.touches)
    if question.conditions.start.steady:
        found = protocols_of(question, geometry, run)
        return lambda policy, examples: judge_protocols(question, found, geometry, policy, examples=examples)
    first = _words(question, geometry, run, reach=Reach.BEGINNING)
    pieces = [_words(question, geometry, run, reach=reach) for reach in _apart(question)]

    def judge(policy: str | Policy, examples: bool) -> Outcome:
        words = first if all(path.whole for path in first) else None
        # Once nothing is left there never will be; and behind anything the state is one of those that may be at first.
        for part in (*pieces, *([] if words else [first])):
            outcome = _judge(question, part, geometry, policy, examples=False)
            if outcome.verdict is Verdict.PROVED:
                return replace(outcome, has=_has(question, geometry))
        words = words or _words(question, geometry, run)
        outcome = _judge(question, words, geometry, policy, examples=examples)
        outcome = _with_chance(outcome, question, words, geometry, policy)
        return _with_alignment(outcome, question, geometry, policy) if examples else outcome

    return judge


def _apart(question: Question) -> Iterator[Reach]:
    """The pieces on both sides of stores that need not bring their lines in, where they are questions of their own. The
    state behind such a store may be one that no start has."""
    parts, start = question.flush.parts(), question.conditions.start
    if any(part.ahead for part in parts):
        yield Reach.AHEAD
    if any(part.behind for part in parts) and not (start.cold or start.all_ways_valid):
        yield Reach.BEHIND


def _useful_run(policies: Sequence[str | Policy], ways: int, touches: int) -> int | None:
    runs = [prover.useful_run(policy, ways, touches) for policy in policies]
    return None if None in runs else max(run or 0 for run in runs)


def _with_chance(
    outcome: Outcome, question: Question, words: list[PathWords], geometry: Geometry, policy: str | Policy
) -> Outcome:
    """The same with how likely an old line is left, if that is left to chance."""
    if outcome.verdict is Verdict.PROVED or not by_chance(policy, geometry.ways):
        return outcome
    if any(path.unknown is not None for path in words):
        return outcome
    try:
        return replace(outcome, chance=chance_of(question, words, geometry, policy))
    except UndecidedError as error:
        if outcome.verdict is Verdict.UNDECIDED:
            return outcome
        told = outcome.reason or f"up to {outcome.leftovers} old lines may stay in a set"
        return replace(outcome, reason=f"{told}; how likely that is, is not known: {error}")


def _with_alignment(outcome: Outcome, question: Question, geometry: Geometry, policy: str | Policy) -> Outcome:
    """The same, with the reason if it is refuted only because the buffer begins within a line."""
    placed = question.placement
    if outcome.verdict is not Verdict.REFUTED or placed is None or placed.alignment >= geometry.line:
        return outcome
    run = _useful_run((policy,), geometry.ways, question.conditions.touches)
    words = _words(question, geometry, run, placed.offset)
    aligned = _judge(question, words, geometry, policy, examples=False)
    if aligned.verdict is not Verdict.PROVED:
        return outcome
    reason = f"{placed.name} is only {placed.alignment}-byte aligned; with the alignment of a page nothing would stay"
    return replace(outcome, reason=f"{reason}; {outcome.reason}" if outcome.reason else reason)


def _has(question: Question, geometry: Geometry) -> int:
    """The fewest different buffer lines that a path surely reads in any set."""
    buffer = question.flush.buffer
    parts = question.flush.parts()
    return min(fewest_lines(part.events, buffer.arenas, geometry, question.buffer_size) for part in parts)


def _words(
    question: Question,
    geometry: Geometry,
    run: int | None,
    aligned_at: int | None = None,
    *,
    reach: Reach = Reach.WHOLE,
) -> list[PathWords]:
    """The words of the paths, or of parts of them."""
    key = (geometry.sets, geometry.line, aligned_at, run, reach)
    if key not in question.words:
        # Paths that differ only in what they do before or after the walk are one.
        found: dict[tuple[Events, bool, str], PathWords] = {}
        for whole in question.flush.parts():
            part = whole.only({Reach.AHEAD: whole.ahead, Reach.BEHIND: whole.behind}.get(reach))
            ways = [part.events, *part.instead]
            if reach is Reach.BEGINNING:
                ways = [beginning(events, geometry, run, FIRST_EVENTS * geometry.sets) for events in ways]
            elif any(beginning(events, geometry, run, MOST_EVENTS) is not events for events in ways):
                what = f"a walk of {len(part.events)} accesses, of which the first ones prove nothing"
                raise UndecidedError("too-many-accesses", what)
            complete = ways == [whole.events, *whole.instead]
            key_of_path = ways[0], complete, f"{part.doubt} {part.unknown}"
            if key_of_path not in found:
                arenas, size = question.flush.buffer.arenas, question.buffer_size
                until = question.deadline
                per_set, *instead = (
                    set_words(events, arenas, geometry, size, aligned_at=aligned_at, run=run, deadline=until)
                    for events in ways
                )
                found[key_of_path] = PathWords(per_set, part.doubt, part.unknown, tuple(instead), complete)
        question.words[key] = list(found.values())
    return question.words[key]


def _judge(
    question: Question, words: list[PathWords], geometry: Geometry, policy: str | Policy, *, examples: bool = True
) -> Outcome:
    judged: list[Judged] = []
    outcome = _judge_all(question, words, geometry, policy, judged, examples=examples)
    return replace(outcome, words=tuple(judged))


def _judge_all(
    question: Question,
    words: list[PathWords],
    geometry: Geometry,
    policy: str | Policy,
    judged: list[Judged],
    *,
    examples: bool,
) -> Outcome:
    """The verdict; what is known of each word goes to ``judged``."""
    ways = geometry.ways
    needs, curve, bound = _distinct(question, policy, ways)
    leftovers, refuted, undecided = 0, None, None
    has = None
    at_least = False

    def decide(found: SetWord) -> prover.Outcome:
        return prover.decide(policy, ways, found.word, question.conditions, own=found.own, limits=question.limits())

    for path in words:
        undecided = undecided or path.unknown
        for found in path.per_set:
            has = found.has if has is None else min(has, found.has)
            if path.unknown is not None:
                judged.append(Judged(found, path.whole, Verdict.UNDECIDED, cause=path.unknown.cause))
                continue
            # With a cold start the bound is about buffer lines only.
            known = (ways,) if question.conditions.start.cold and found.own else bound
            if (most := _bound(known, found.word)) <= leftovers:
                # This set can be no worse than what is known already.
                proved = Judged(found, path.whole, Verdict.PROVED, 0)
                judged.append(Judged(found, path.whole, None, at_most=most) if most else proved)
                continue
            try:
                answer = decide(found)
            except UndecidedError as error:
                undecided = undecided or error
                judged.append(Judged(found, path.whole, Verdict.UNDECIDED, cause=error.cause))
                continue
            left = answer.leftovers
            if left and path.doubt is not None:
                undecided = undecided or path.doubt
                judged.append(Judged(found, path.whole, Verdict.UNDECIDED, cause=path.doubt.cause))
                continue
            verdict = Verdict.REFUTED if left else Verdict.PROVED
            judged.append(Judged(found, path.whole, verdict, left, answer.at_least))
            if left > leftovers:
                leftovers, refuted = left, refuted or found
                # Then a single run refuted the word; there may be worse ones.
                at_least = at_least or answer.at_least
    for path in words if refuted is None else ():
        surely = _left_in_each(path.instead, decide)
        if surely is not None:
            leftovers, refuted = surely
            at_least = True
            judged.append(Judged(refuted, path.whole, Verdict.REFUTED, leftovers, at_least))
    empty = max(sum(found.sets for found in path.per_set if not found.has) for path in words)
    if question.skipped_path and not refuted:
        return Outcome(Verdict.REFUTED, needs, has, ways, empty, reason="a path skips the flush", curve=curve)
    if refuted is not None:
        reason = f"{empty} sets get no access" if empty else ""
        if at_least:
            lines = "line" if leftovers == 1 else "lines"
            reason = f"at least {leftovers} old {lines} may stay in a set"
        example = None
        if examples:
            try:
                example = word_example(question, policy, ways, refuted)
            except UndecidedError as error:
                reason = f"no counterexample is shown: {error}"
        return Outcome(
            Verdict.REFUTED, needs, has, leftovers, empty, None, reason, curve, (), example, at_least=at_least
        )
    if undecided is not None:
        return Outcome(Verdict.UNDECIDED, needs, has, None, empty, undecided.cause, str(undecided), curve)
    return Outcome(Verdict.PROVED, needs, has, 0, empty, curve=curve)


def _left_in_each(
    instead: Sequence[Sequence[SetWord]], decide: Callable[[SetWord], prover.Outcome]
) -> tuple[int, SetWord] | None:
    """What is left whatever stores do that need not bring lines in, and in which word; None if nothing surely is."""
    worst: list[tuple[int, SetWord]] = []
    for words in instead:
        with suppress(UndecidedError):
            left = [(decide(found).leftovers, found) for found in words]
            worst.append(max(left, key=lambda one: one[0], default=(0, words[0])))
    if not worst or len(worst) < len(instead):
        return None
    least = min(worst, key=lambda one: one[0])
    return least if least[0] else None


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
