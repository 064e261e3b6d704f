# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between the paths of two routines.

A path is known by what decides it and what becomes of it. What does not pair up that way is paired by what
decides it alone (then the outcome differs), by what it does alone (then the decisions differ), and where a single
path of one outcome is left on either side, these two. Paths that skip the flush are not: what counts is when.
Worse is a path that skips the flush where OLD may flush, whatever is decided on the way there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from difflib import SequenceMatcher

from l1dflush.errors import some_of
from l1dflush.tracing.facts import Fact
from l1dflush.tracing.region import STACK
from l1dflush.verdict.compare.likeness import decided, decisions, exclude_each_other, own_names, pairs, run_keys
from l1dflush.verdict.compare.result import Change, DiffLine, Effect, PathChange
from l1dflush.verdict.verify_result import BufferInfo, PathInfo, Run, VerifyResult

CONTEXT = 3
SKIPPED = "skipped"
# Kinds that touch memory; all others are told by what was executed.
MEMORY = {
    "load": "loads",
    "store": "stores",
    "string-store": "rep stores",
    "non-temporal-store": "non-temporal stores",
    "prefetch": "prefetches",
    "line-flush": "line flushes",
}
# Lists in a change are for reading; --json has the runs.
_LONGEST_LIST = 8
# Finding the shortest difference takes the product of the lengths; beyond this it is told as a whole.
_MOST_RUNS = 1500


def compare_paths(old: VerifyResult, new: VerifyResult) -> tuple[PathChange, ...]:
    """The paths that are new, gone, or do something else, in the order of OLD, then NEW."""
    before, after = _Side(old), _Side(new)
    keys = [(before.all_of, after.all_of), (before.end_of, after.end_of), (before.decisions_of, after.decisions_of)]
    keys.append((before.deeds_of, after.deeds_of))
    matched = pairs(range(len(old.paths)), range(len(new.paths)), keys)
    changes = []
    for a, b in _alone(matched, old, new):
        if a is None or b is None:
            changes.append(_one_sided(before, after, a, b))
        elif before.all_of(a) != after.all_of(b):
            changes.append(_changed(before, after, a, b))
    return tuple(changes)


class _Side:
    """The keys of one routine's paths, by index."""

    def __init__(self, result: VerifyResult) -> None:
        self.paths = result.paths
        self.buffer = result.buffer
        names = own_names(result)
        self.runs = [run_keys(path.runs, names) for path in result.paths]

    def decisions_of(self, index: int) -> Hashable:
        return decisions(self.paths[index])

    def end_of(self, index: int) -> Hashable:
        return self.decisions_of(index), self.paths[index].outcome

    def deeds_of(self, index: int) -> Hashable:
        when = self.decisions_of(index) if self.paths[index].outcome == SKIPPED else ()
        return self.paths[index].outcome, when, tuple(self.runs[index])

    def flushes_instead(self, when: Sequence[Fact]) -> bool:
        """Whether a run that takes a path with these decisions in the other routine may flush in this one."""
        return any(path.outcome != SKIPPED and not exclude_each_other(decided(path), when) for path in self.paths)

    def all_of(self, index: int) -> Hashable:
        return self.decisions_of(index), self.deeds_of(index)


def _alone(
    matched: Sequence[tuple[int | None, int | None]], old: VerifyResult, new: VerifyResult
) -> Iterable[tuple[int | None, int | None]]:
    """The pairs, with those single paths of one outcome joined that are left over on both sides."""
    gone: dict[str, list[int]] = {}
    come: dict[str, list[int]] = {}
    for a, b in matched:
        if a is not None and b is None:
            gone.setdefault(old.paths[a].outcome, []).append(a)
        elif a is None and b is not None:
            come.setdefault(new.paths[b].outcome, []).append(b)
    gone.pop(SKIPPED, None)
    joined = {
        gone[outcome][0]: come[outcome][0] for outcome in gone if len(gone[outcome]) == len(come.get(outcome, [])) == 1
    }
    taken = set(joined.values())
    for a, b in matched:
        if a is not None and b is None:
            yield a, joined.get(a)
        elif a is not None or b not in taken:
            yield a, b


def _one_sided(before: _Side, after: _Side, a: int | None, b: int | None) -> PathChange:
    effect = Effect.DIFFERENT
    if b is not None:
        path = after.paths[b]
        if path.outcome == SKIPPED and before.flushes_instead(decided(path)):
            effect = Effect.WORSE
    else:
        assert a is not None
        path = before.paths[a]
        if path.outcome == SKIPPED and after.flushes_instead(decided(path)):
            effect = Effect.BETTER
    return PathChange(old=a, new=b, decisions=decided(path), changes=(), diff=(), effect=effect)


def _changed(before: _Side, after: _Side, a: int, b: int) -> PathChange:
    one, other = before.paths[a], after.paths[b]
    changes = []
    if one.outcome != other.outcome:
        effect = Effect.DIFFERENT
        if SKIPPED in (one.outcome, other.outcome):
            effect = Effect.WORSE if other.outcome == SKIPPED else Effect.BETTER
        changes.append(Change(what="outcome", old=one.outcome, new=other.outcome, effect=effect))
    if decisions(one) != decisions(other):
        texts = [" and ".join(map(str, decided(path))) or "always" for path in (one, other)]
        changes.append(Change(what="taken if", old=texts[0], new=texts[1], effect=Effect.DIFFERENT))
    keys = before.runs[a], after.runs[b]
    if keys[0] != keys[1]:
        changes += _of_runs(_facts(one, before.buffer), _facts(other, after.buffer))
        matters = [
            [key for key, run in zip(side, path.runs, strict=True) if not _own(run, buffer)]
            for side, path, buffer in ((keys[0], one, before.buffer), (keys[1], other, after.buffer))
        ]
        effects = {change.effect for change in changes}
        # The facts do not say everything: the rest is an order, or a place.
        if not effects or (matters[0] != matters[1] and effects == {Effect.NONE}):
            effect = Effect.NONE if matters[0] == matters[1] else Effect.DIFFERENT
            changes.append(Change(what="sequence of events", old=None, new=None, effect=effect))
    return PathChange(
        old=a,
        new=b,
        decisions=decided(other),
        changes=tuple(changes),
        diff=tuple(_diff(*keys)),
        effect=overall(change.effect for change in changes),
    )


def overall(effects: Iterable[Effect]) -> Effect:
    """The effect of several differences: one that is worse makes all of them worse."""
    found = set(effects)
    return next((effect for effect in Effect if effect in found), Effect.NONE)


def _own(run: Run, buffer: BufferInfo | None) -> bool:
    """Whether a run is the routine's own business: its stack, or a single place that is not the buffer's.

    What these do to the flush is in the rows and in the findings. A run that moves over other memory is not one:
    it may well be a walk.
    """
    return run.kind in MEMORY and not run.is_in(buffer) and (run.region == STACK or run.step == 0)


def _facts(path: PathInfo, buffer: BufferInfo | None) -> dict[str, str | int]:
    """What a reviewer looks at in a path, by name."""
    walk = [run for run in path.runs if run.is_in(buffer)]
    elsewhere = [run for run in path.runs if run.kind in MEMORY and not run.is_in(buffer)]
    counted: Counter[str] = Counter()
    for run in walk:
        counted[run.kind] += run.count
    first = min((min(run.first, run.last) for run in walk), default=0)
    last = max((max(run.first, run.last) for run in walk), default=0)
    moving = [run for run in walk if run.step]
    return {
        "loads from the buffer": path.loads,
        **{f"{MEMORY[kind]} in the buffer": counted[kind] for kind in MEMORY if kind != "load"},
        "offsets": f"{first:+d} … {last:+d}" if walk else "none",
        "step": _listed(str(abs(run.step)) for run in moving),
        "order": _listed("ascending" if run.step > 0 else "descending" for run in moving),
        "bytes per access": _listed(str(run.size) for run in walk),
        "fences": _executed(path.runs, "fence", "serialise"),
        "MSR writes": _executed(path.runs, "msr-write"),
        "cache instructions": _executed(path.runs, "flush-all"),
        "outside calls": _executed(path.runs, "call"),
        "own accesses": sum(run.count for run in elsewhere if _own(run, buffer)),
        "accesses to other memory": sum(run.count for run in elsewhere if not _own(run, buffer)),
    }


def _listed(values: Iterable[str]) -> str:
    """The values in order, neighbours that are equal once."""
    out: list[str] = []
    for value in values:
        if not out or out[-1] != value:
            out.append(value)
    return some_of(out, _LONGEST_LIST) or "none"


def _executed(runs: Iterable[Run], *kinds: str) -> str:
    """What was executed, in order, with the times that it was."""
    names = [(run.instruction or run.kind, run.count) for run in runs if run.kind in kinds]
    return _listed(name if count == 1 else f"{count} x {name}" for name, count in names)


def _of_runs(old: dict[str, str | int], new: dict[str, str | int]) -> list[Change]:
    return [
        Change(
            what=what,
            old=old[what],
            new=new[what],
            effect=Effect.NONE if what == "own accesses" else Effect.DIFFERENT,
        )
        for what in old
        if old[what] != new[what]
    ]


def _diff(old: Sequence[Hashable], new: Sequence[Hashable]) -> Iterable[DiffLine]:
    """The differing runs with context: what is gone before what has come, as in a unified diff."""
    for tag, a, a_end, b, b_end in _blocks(old, new):
        if tag == "equal":
            yield from (DiffLine(old=a + i, new=b + i) for i in range(a_end - a))
        else:
            yield from (DiffLine(old=index, new=None) for index in range(a, a_end))
            yield from (DiffLine(old=None, new=index) for index in range(b, b_end))


def _blocks(old: Sequence[Hashable], new: Sequence[Hashable]) -> Iterable[tuple[str, int, int, int, int]]:
    if max(len(old), len(new)) <= _MOST_RUNS:
        matcher = SequenceMatcher(None, old, new, autojunk=False)
        for group in matcher.get_grouped_opcodes(CONTEXT):
            yield from group
        return
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    shorter = min(len(old), len(new)) - start
    end = next((i for i in range(shorter) if old[-1 - i] != new[-1 - i]), shorter)
    before, after = max(start - CONTEXT, 0), min(end, CONTEXT)
    if start > before:
        yield "equal", before, start, before, start
    yield "replace", start, len(old) - end, start, len(new) - end
    if after:
        yield "equal", len(old) - end, len(old) - end + after, len(new) - end, len(new) - end + after
