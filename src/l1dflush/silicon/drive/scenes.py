# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be driven: a counterexample from a file, or one for a flush that is one access short."""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.cache.policies import Policy
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import Conditions
from l1dflush.proof.limits import Limits
from l1dflush.silicon.drive.drives import Scene
from l1dflush.verdict.counterexample_result import INVALID, LineKind
from l1dflush.verdict.replay.result import Replayed


@dataclass(frozen=True, slots=True)
class Short:
    """One access fewer than ``needs`` from ``scene.state`` on, and then the last one."""

    needs: int
    scene: Scene


def scene_of(found: Replayed) -> Scene:
    """The scene of a counterexample that was replayed on the plain policy.

    What others do in it is done as well, and so are flushes again and again: to a set an access is an access.
    """
    example = found.example
    assert example.policy_state is not None
    old = example.named(LineKind.OLD)
    return Scene(
        policy=found.policy,
        state=example.policy_state,
        content=tuple(None if name == INVALID else name for name in example.start),
        # A prefetch that does not happen is nothing at all.
        word=tuple(
            (step.access, step.result in ("flushed", "not-cached", "invalidated"))
            for step in example.steps
            if step.result != "dropped"
        ),
        watched=tuple(dict.fromkeys(name for name in example.end if name in old)),
    )


def one_short(policy: Policy, conditions: Conditions, limits: Limits) -> Short:
    """The scene of the fewest pairwise different accesses that are always enough, from a start in which one fewer are
    not.

    Raises UndecidedError where no number is enough, and as :func:`l1dflush.proof.prover.needs`.
    """
    enough = prover.needs(policy, policy.ways, conditions, limits=limits)
    if enough is None:
        raise UndecidedError(
            "never-enough", f"no number of accesses is enough for {policy.name} at {policy.ways} ways",
            hint="'l1dflush replay --silicon FILE' drives a counterexample",
        )  # fmt: skip
    left = prover.counterexample(policy, policy.ways, prover.word_of(range(enough - 1)), conditions, limits=limits)
    names = {line: f"line {line + 1}" for line in range(enough)}
    content = tuple(names[line] if isinstance(line, int) else line for line in left.content)
    word = tuple((names[line], False) for line in range(enough))
    return Short(enough, Scene(policy, left.policy_state, content, word, left.leftovers))
