# SPDX-License-Identifier: GPL-2.0-or-later
"""Is what a certificate says true? Every step of its argument is taken again, by plain code.

The argument for a word: the first layer is all that a set may be in at the start; all that an item, and accesses by
others before it, make of a layer is covered by the next one; and the last layer is empty, so that no old line can be
left after that item, nor later, because nothing brings old lines in.

That alone is a proof. Besides, a layer must have nothing that no step leads to, and nothing that another state covers,
and its states are in order: then the layers of a claim are what they are, and whoever changes one of them has made a
certificate that is rejected.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from l1dflush.cache.policy.model import Policy
from l1dflush.checking.model import Certificate, Claim, Item, StateRow, Word, digest_of
from l1dflush.checking.start import Start, all_after, claimed_policy, set_states
from l1dflush.checking.step import BROUGHT, INVALID, LINE, MAYBE, SETTLED, VALID, Layer, Now, State, Stepper
from l1dflush.checking.views import AsymmetricError, Positions, View, Ways

SYMBOLS = {"?": MAYBE, "!": VALID, "-": SETTLED, ".": INVALID, "+": BROUGHT}


class RejectedError(Exception):
    """The certificate does not prove what it claims. ``reason`` says why; the rest where: claims, words and states
    count from 0, and ``layer`` is the number of items before it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.claim: int | None = None
        self.word: int | None = None
        self.layer: int | None = None
        self.state: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedWord:
    """What was checked of a word: its items, how many of them the argument is about, layers and states."""

    items: int
    used: int
    sets: int
    layers: int
    states: int


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim that is true."""

    claim: Claim
    policy: Policy
    words: tuple[CheckedWord, ...]
    seconds: float


def check(certificate: Certificate) -> tuple[CheckedClaim, ...]:
    """The claims, each of them checked.

    Raises RejectedError if one is not proved by what the certificate says, and UndecidedError where the policy has too
    many states to be enumerated here.
    """
    if certificate.digest != digest_of(certificate.model_dump(mode="json")):
        raise RejectedError("the digest does not belong to the content: it was changed after it was written")
    if (certificate.routine is None) != all(claim.cache is None for claim in certificate.claims):
        raise RejectedError("there is a cache without a routine, or a routine without a cache")
    checked = []
    for number, claim in enumerate(certificate.claims):
        try:
            if claim in certificate.claims[:number]:
                raise RejectedError("the claim is there twice")
            checked.append(_claim(claim, routine=certificate.routine is not None))
        except RejectedError as error:
            error.claim = number
            raise
    return tuple(checked)


def _claim(claim: Claim, *, routine: bool) -> CheckedClaim:
    begun = time.monotonic()
    policy = claimed_policy(claim.policy, claim.ways)
    if isinstance(policy, str):
        raise RejectedError(policy)
    start = Start.parse(claim.start)
    if start is None:
        raise RejectedError("there is no such start, or none that a certificate can be about")
    _shape(claim, routine)
    flushes = any(kind == "flush" for word in claim.words for _, kind in word.items)
    if not policy.has_fills and (start.any_invalid or start.invalidations or flushes):
        raise RejectedError("the machine does not say what filling an invalid way does")
    checkers: dict[str, _Checker] = {}
    words = []
    for number, word in enumerate(claim.words):
        try:
            if word.view not in checkers:
                checkers[word.view] = _Checker(policy, start, word.view, claim.touches)
            words.append(checkers[word.view].check(word))
        except (RejectedError, AsymmetricError) as error:
            rejected = error if isinstance(error, RejectedError) else RejectedError(str(error))
            rejected.word = number
            raise rejected from None
    return CheckedClaim(claim, policy, tuple(words), time.monotonic() - begun)


def _shape(claim: Claim, routine: bool) -> None:
    """Raises RejectedError where fields contradict each other."""
    total = sum(word.sets for word in claim.words)
    if len(set(claim.cpus)) < len(claim.cpus):
        raise RejectedError("a CPU is named twice")
    if (claim.cache is not None) != routine:
        raise RejectedError("there is a cache without a routine, or a routine without a cache")
    if claim.cache is None:
        if len(claim.words) != 1 or total != 1 or claim.cpus:
            raise RejectedError("a claim without a cache is about one word, in one set")
        items = claim.words[0].items
        if items != tuple((line, "access") for line in range(len(items))):
            raise RejectedError("a claim without a cache is about pairwise different accesses")
        if claim.words[0].cold != (tuple(range(len(items))) if claim.start.startswith("cold") else ()):
            raise RejectedError("the lines are cold where the start does not say so, or not where it does")
        if len(claim.words[0].layers) != len(items) + 1:
            raise RejectedError("there are more accesses than are needed")
    elif claim.cache.size != claim.cache.sets * claim.ways * claim.cache.line:
        raise RejectedError("the cache's size is not sets x ways x line")
    elif total < claim.cache.sets or any(not 1 <= word.sets <= claim.cache.sets for word in claim.words):
        raise RejectedError("the words are not those of all sets")
    cold = claim.start.startswith("cold")
    for number, word in enumerate(claim.words):
        lines = list(dict.fromkeys(line for line, _ in word.items))
        problem = None
        if lines != list(range(len(lines))):
            problem = "the lines are not numbered in the order in which they first occur"
        elif list(word.cold) != sorted(set(word.cold)) or any(line >= len(lines) for line in word.cold):
            problem = "the cold lines are not lines of the word, in order"
        elif word.cold and not cold:
            problem = "lines are said to be cold, but the start does not say so"
        elif any(other.items == word.items and other.cold == word.cold for other in claim.words[:number]):
            problem = "the word is there twice"
        if problem is not None:
            error = RejectedError(problem)
            error.word = number
            raise error


class _Layers:
    """The layers of a word, read."""

    def __init__(self, word: Word, ways: int) -> None:
        self.layers: list[list[State]] = []
        if len(word.layers) > len(word.items) + 1:
            raise RejectedError("there are more layers than items")
        for number, rows in enumerate(word.layers):
            if rows == "same":
                if number == 0:
                    raise _at("there is nothing before it that it could be the same as", number)
                self.layers.append(self.layers[-1])
                continue
            if any(row > following for row, following in pairwise(rows)):
                raise _at("the states are not in order", number)
            states = [_state(row, ways, number, at) for at, row in enumerate(rows)]
            if len(set(states)) < len(states):
                raise _at("a state is there twice", number)
            if number and set(states) == set(self.layers[-1]):
                raise _at("it is the same as the one before, but does not say so", number)
            self.layers.append(states)
        for number, states in enumerate(self.layers):
            last = number == len(self.layers) - 1
            if bool(states) == last:
                raise _at("the last layer is not empty" if last else "it is empty, but not the last", number)


def _state(row: StateRow, ways: int, layer: int, at: int) -> State:
    policy, text, touches, gone = row
    holds = []
    for symbol in text.split(" "):
        if symbol in SYMBOLS:
            holds.append(SYMBOLS[symbol])
        # In one spelling only.
        elif symbol.isascii() and symbol.isdigit() and len(symbol) < 10 and str(int(symbol)) == symbol:
            holds.append(LINE + int(symbol))
        else:
            raise _at("there is a symbol that means nothing", layer, at)
    if len(holds) != ways:
        raise _at(f"a set has {ways} ways, not {len(holds)}", layer, at)
    if list(gone) != sorted(set(gone)):
        raise _at("the lines that are gone are not in order", layer, at)
    return State(policy, tuple(holds), touches, frozenset(gone))


class _Checker:
    """Checks words of a claim that are written in one view."""

    def __init__(self, policy: Policy, start: Start, view: str, touches: int) -> None:
        self._ways = policy.ways
        self._touches = touches
        self._view: View
        if view == "ways":
            self._view = Ways(policy)
            invalids = set_states(policy, invalidations=start.invalidations)
            if not start.invalidations:
                invalids = {(state, invalid) for state, invalid in invalids if not invalid}
            first = {self._start(state, MAYBE if start.any_invalid else VALID, invalid) for state, invalid in invalids}
        else:
            # After invalidations by others: at most all states that there are. In positions any way may be invalid.
            states = (
                all_after(policy, [policy.empty()]) if start.invalidations
                else {state for state, invalid in set_states(policy, invalidations=False) if not invalid}
            )  # fmt: skip
            self._view = Positions(policy, all_after(policy, states))
            what = MAYBE if start.any_invalid or start.invalidations else VALID
            first = {self._start(state, what, frozenset()) for state in states}
        self._stepper = Stepper(self._view)
        self._first = {state for state in first if state.may_be_old}

    def _start(self, policy: tuple[int, ...], what: int, invalid: frozenset[int]) -> State:
        """A state that covers every content of a set at the start, but for the ways that are surely ``invalid``."""
        holds = tuple(INVALID if way in invalid else what for way in range(self._ways))
        return State(self._view.seen(policy), holds, 0, frozenset())

    def check(self, word: Word) -> CheckedWord:
        """Raises RejectedError if the layers of ``word`` do not prove it."""
        layers = _Layers(word, self._ways).layers
        _same(layers[0], self._first)
        items = word.items[: len(layers) - 1]
        before = None
        for number, now in enumerate(_places(items, frozenset(word.cold))):
            # What is the same as the step before need not be taken again: a line that is accessed many times in a row.
            step = now, id(layers[number]), id(layers[number + 1])
            if step != before:
                self._step(number, now, layers[number], layers[number + 1])
            before = step
        states = sum(len(layer) for layer in word.layers if layer != "same")
        return CheckedWord(len(word.items), len(items), word.sets, len(layers), states)

    def _step(self, number: int, now: Now, layer: Sequence[State], following: Sequence[State]) -> None:
        leads_to: dict[State, int] = {}
        for at, state in _with_touches(layer, now, self._stepper, self._touches):
            for to in self._stepper.after_item(state, now):
                leads_to.setdefault(to, at)
        kept = Layer()
        exactly = set(following)
        for at, state in enumerate(following):
            # So nothing is taken as a state of the policy before a step has led to it.
            if state not in leads_to:
                raise _at("nothing leads to a state", number + 1, at)
            kept.add(state)
        for at, state in enumerate(following):
            if kept.covering(state) > 1:
                raise _at("a state is covered by another", number + 1, at)
        for state, at in leads_to.items():
            if state not in exactly and not kept.covers(state):
                raise _at(f"item {number} may lead from a state to what is not covered by the next layer", number, at)


def _same(layer: Sequence[State], first: set[State]) -> None:
    """Raises RejectedError unless the layer is what the word starts with."""
    for at, state in enumerate(layer):
        if state not in first:
            raise _at("a state is none of the start", 0, at)
    if len(first) > len(layer):
        raise _at("a start is missing", 0)


def _with_touches(layer: Sequence[State], now: Now, stepper: Stepper, touches: int) -> Iterator[tuple[int, State]]:
    """The states of a layer, and all that accesses by others make of them; with the number of the state in the
    layer that it comes from."""
    known = Layer()
    work = list(enumerate(layer))
    for _, state in work:
        known.add(state)
    while work:
        yield from work
        following = []
        for at, state in work:
            if state.touches < touches:
                for to in stepper.after_touch(state, now):
                    if not known.covers(to):
                        known.add(to)
                        following.append((at, to))
        work = following


def _places(items: Sequence[Item], cold: frozenset[int]) -> Iterator[Now]:
    """The places before each item. What comes after ``items`` does not matter."""
    last = {line: number for number, (line, _) in enumerate(items)}
    certain: frozenset[int] = frozenset()
    seen: dict[int, None] = {}
    for number, (line, kind) in enumerate(items):
        again = frozenset(one for one, end in last.items() if end > number)
        yield Now(line, kind, certain, again, tuple(one for one in seen if last[one] >= number), cold)
        seen[line] = None
        if kind != "prefetch":
            certain |= {line}


def _at(reason: str, layer: int, state: int | None = None) -> RejectedError:
    error = RejectedError(reason)
    error.layer, error.state = layer, state
    return error
