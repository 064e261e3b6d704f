# SPDX-License-Identifier: GPL-2.0-or-later
"""The same flushes again and again: what is left in one cache set, whatever happens between them?

A protocol is a list of words, one per flush, that are played in turn for ever; where a flush may take several paths,
its turn has several words, and it is any of them each time. Between two flushes others access the
set as they like: they hit old lines and bring old lines in, and lines of the protocol that are not the buffer's
(``own``) are accessed at any time as well. Nobody else touches a buffer line. With ``+invalidations`` others may also
make any way invalid, at any time between two flushes.

- ``steady``: no buffer line is cached before the first flush; asked is about everything that this leads to.
- ``steady-from-any``: the first state is any; asked is about what may still be there after any number of rounds.

Why the search is exact: ``core/prover/steady.hpp`` and ``docs/theory.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from l1dflush import _core
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.policy.model import Policy
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.prover import decide, needs
from l1dflush.proof.question import ItemKind, Word, resolved, told, word_of
from l1dflush.proof.steady_run import SteadyRun, replay_run

# A state takes 20 or 28 bytes, and its places in the table up to 12.
BYTES_PER_STATE = 40


@dataclass(frozen=True, slots=True)
class SteadyOutcome:
    """The answer for one protocol.

    ``leftovers``: the most old lines that can be left at the end of any flush, 0 means proved; ``per_word``: at the
    end of each word. ``exact``: False if the memory allowed, or being asked for the verdict only, ended the search at a
    run that leaves something; there may be more. ``rounds``: how many rounds the search took (0: none were needed);
    ``states``: those held at its end. ``counterexample``: a run to the most that is left.
    """

    leftovers: int
    per_word: tuple[int, ...]
    rounds: int
    states: int
    exact: bool
    counterexample: SteadyRun | None

    @property
    def proved(self) -> bool:
        """Whether no old line can be left."""
        return self.leftovers == 0


def decide_protocol(
    policy: str | Policy,
    ways: int,
    words: Sequence[Word],
    start: Start,
    *,
    turns: Sequence[Sequence[int]] | None = None,
    own: Collection[int] = (),
    touches: int = 0,
    verdict: bool = False,
    limits: Limits = UNLIMITED,
) -> SteadyOutcome:
    """How many old lines can be left at the end of any of ``words``, played in turn again and again.

    Line ids are shared between the words. ``turns``: for each turn the numbers of the words that it may be; by default
    the first word, then the second, and so on. ``own``: those of lines that are not the buffer's. ``touches``: how
    often others may access the set during one flush; what they bring in then is an old line at the next one.
    ``verdict``: anything left is enough, however much.

    Raises ``InputError`` for a policy that does not exist at ``ways`` ways, ``ValueError`` for a start that is not
    steady or an empty protocol, and ``UndecidedError`` with cause ``state-space-too-large``, ``out-of-time`` or
    ``unknown-fill``.
    """
    if not start.steady:
        raise ValueError(f"the start {start} is about one word, not about a protocol")
    if turns is None:
        turns = [[number] for number in range(len(words))]
    if not turns or not all(turns):
        raise ValueError("a protocol has a word")
    twin = resolved(policy, ways)
    left = limits.running()
    enough = _enough(twin, words, start, touches, limits)
    if not any(enough):
        return SteadyOutcome(0, enough, 0, 0, exact=True, counterexample=None)
    names: dict[int, int] = {}
    played = [[(names.setdefault(line, len(names)), int(kind)) for line, kind in word] for word in words]
    with told(twin, limits):
        per_word, exact, rounds, states, run = _core.steady(
            core_policy(twin), ways, played,
            turns=[list(numbers) for numbers in turns],
            # An own line that no word touches is as good as an old one.
            lines=len(names), own=sorted({names[line] for line in own if line in names}),
            from_any=start.base is Base.STEADY_FROM_ANY, invalidations=start.invalidations, touches=touches,
            enough=enough, verdict=verdict, max_states=max(limits.memory // BYTES_PER_STATE, 1),
            max_seconds=left().seconds,
        )  # fmt: skip
    found = (
        None
        if run is None
        else replay_run(twin, words, turns, start, own, {new: line for line, new in names.items()}, run)
    )
    return SteadyOutcome(
        leftovers=max(per_word),
        per_word=tuple(per_word),
        rounds=rounds,
        states=states,
        exact=exact and not (verdict and any(per_word)),
        counterexample=found,
    )


def least_lines(
    policy: str | Policy, ways: int, start: Start, *, touches: int = 0, limits: Limits = UNLIMITED
) -> int | None:
    """The fewest distinct lines that leave nothing when they are accessed in one fixed order, again and again.

    ``None`` if no number does. ``touches`` and errors as for :func:`decide_protocol`; also ``UndecidedError`` with
    cause ``no-bound-on-lines`` for ``steady-from-any`` where no number of distinct lines is enough from any start and
    fewer than twice the ways are not enough here.
    """
    twin = resolved(policy, ways)
    left = limits.running()
    # The first flush of ``steady`` finds none of its lines cached.
    least = 1
    if start.base is Base.STEADY:
        cold = Conditions(Start(Base.COLD, start.invalidations), touches)
        alone = needs(twin, ways, cold, limits=left())
        if alone is None:
            return None
        least = alone
    # So many are enough wherever they start.
    anywhere = Conditions(Start(Base.ANY, start.invalidations), touches)
    most = needs(twin, ways, anywhere, limits=left())
    for lines in range(least, 2 * ways if most is None else most):
        word = word_of(range(lines))
        if decide_protocol(twin, ways, [word], start, touches=touches, verdict=True, limits=left()).proved:
            return lines
    if most is None:
        raise UndecidedError(
            "no-bound-on-lines", f"no number of lines is known after which {twin.name} need not be asked about more"
        )
    return most


def _enough(twin: Policy, words: Sequence[Word], start: Start, touches: int, limits: Limits) -> tuple[int, ...]:
    """What each word leaves at most, wherever it starts: a far simpler question."""
    flushes = any(kind is ItemKind.FLUSH for word in words for _, kind in word)
    anywhere = Start(Base.ANY, start.invalidations or flushes)
    most = []
    for word in words:
        try:
            outcome = decide(twin, twin.ways, word, Conditions(anywhere, touches), limits=limits)
            most.append(twin.ways if outcome.at_least else outcome.leftovers)
        except UndecidedError as error:
            if error.cause != "state-space-too-large":
                raise
            most.append(twin.ways)
    return tuple(most)
