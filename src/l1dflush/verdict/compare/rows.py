# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between the verdicts of two routines on the same CPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from l1dflush.ending import Verdict
from l1dflush.verdict.compare.paths import overall
from l1dflush.verdict.compare.result import Change, Effect, RowChange
from l1dflush.verdict.verify_result import GeometryInfo, Row


def compare_rows(old: Sequence[Row], new: Sequence[Row]) -> tuple[RowChange, ...]:
    """The rows that differ, CPU by CPU, CPUs with the same two rows together; those that decide first.

    A row that only one of two has is another question, not another answer: different. Only where one of the
    routines has no rows at all, because it walks no buffer, is a proof lost or won.
    """
    before, after = _by_cpu(old), _by_cpu(new)
    together: dict[tuple[int | None, int | None], list[tuple[str, str]]] = {}
    for cpu in [*before, *(cpu for cpu in after if cpu not in before)]:
        a, b = before.get(cpu), after.get(cpu)
        members = together.setdefault((a and a[0], b and b[0]), [])
        named = (a or b or (0, None))[1]
        if named is not None:
            members.append(named)
    found = []
    for (a_index, b_index), cpus in together.items():
        one = None if a_index is None else old[a_index]
        other = None if b_index is None else new[b_index]
        row = _change_of(one, other, alone=not old or not new)
        if row is not None:
            decides, changes, effect = row
            found.append(
                RowChange(
                    cpus=tuple(name for name, _ in cpus),
                    titles=tuple(title for _, title in cpus),
                    old=a_index,
                    new=b_index,
                    decides=decides,
                    changes=changes,
                    effect=effect,
                )
            )
    return tuple(sorted(found, key=lambda change: not change.decides))


def _by_cpu(rows: Sequence[Row]) -> dict[Hashable, tuple[int, tuple[str, str] | None]]:
    """Where the row of each CPU is, with the CPU's name and title; a given cache is known by what it is.

    A CPU with several rows has its first, its second, and so on.
    """
    found: dict[Hashable, tuple[int, tuple[str, str] | None]] = {}
    times: Counter[Hashable] = Counter()

    def add(key: Hashable, index: int, named: tuple[str, str] | None) -> None:
        found[key, times[key]] = index, named
        times[key] += 1

    for index, row in enumerate(rows):
        for name, title in zip(row.cpus, row.titles, strict=True):
            add(name, index, (name, title))
        if not row.cpus:
            add((row.geometry, row.policy), index, None)
    return found


def _change_of(old: Row | None, new: Row | None, *, alone: bool) -> tuple[bool, tuple[Change, ...], Effect] | None:
    if old is not None and new is not None:
        decides = old.decides or new.decides
        changes = tuple(_changes(old, new, decides))
        return (decides, changes, overall(change.effect for change in changes)) if changes else None
    one = old or new
    assert one is not None
    effect = Effect.DIFFERENT
    if alone and one.decides and one.verdict is Verdict.PROVED:
        effect = Effect.BETTER if old is None else Effect.WORSE
    return one.decides, (), effect


def _changes(old: Row, new: Row, decides: bool) -> Iterator[Change]:
    """What differs. Of CPUs that do not decide nothing is worse or better: they are there for information."""

    def change(what: str, before: str | int | None, after: str | int | None, effect: Effect) -> Iterator[Change]:
        if before != after:
            yield Change(what=what, old=before, new=after, effect=effect if decides else Effect.DIFFERENT)

    yield from change("L1D", _cache(old.geometry), _cache(new.geometry), Effect.DIFFERENT)
    yield from change("policy", old.policy, new.policy, Effect.DIFFERENT)
    yield from change("verdict", old.verdict.value, new.verdict.value, _of_verdicts(old.verdict, new.verdict))
    yield from change("cause", old.cause, new.cause, Effect.DIFFERENT)
    yield from change("needs", old.needs, new.needs, Effect.DIFFERENT)
    yield from change("has", old.has, new.has, Effect.DIFFERENT)
    yield from change("margin", old.margin, new.margin, _more_is_better(old.margin, new.margin))
    yield from change("old lines left", old.leftovers, new.leftovers, _more_is_better(new.leftovers, old.leftovers))
    yield from change("sets without walk", old.sets_without_walk, new.sets_without_walk, Effect.DIFFERENT)
    policies = {one.policy: one for one in old.candidates}
    for after in new.candidates:
        before = policies.get(after.policy)
        if before is None:
            continue
        effect = _of_verdicts(before.verdict, after.verdict)
        yield from change(f"if it is {after.policy}", before.verdict.value, after.verdict.value, effect)
        if before.at_least or after.at_least:
            continue  # what was found in the time says nothing about the worst
        left = _more_is_better(after.leftovers, before.leftovers)
        yield from change(f"old lines left if it is {after.policy}", before.leftovers, after.leftovers, left)


def _cache(shape: GeometryInfo) -> str:
    return f"{shape.size} bytes, {shape.ways} ways, {shape.sets} sets, lines of {shape.line}"


def _of_verdicts(old: Verdict, new: Verdict) -> Effect:
    """Only PROVED is good. Between REFUTED and UNDECIDED nobody knows which is better."""
    if Verdict.PROVED not in (old, new):
        return Effect.DIFFERENT
    return Effect.WORSE if old is Verdict.PROVED else Effect.BETTER


def _more_is_better(old: int | None, new: int | None) -> Effect:
    if old is None or new is None:
        return Effect.DIFFERENT
    return Effect.WORSE if new < old else Effect.BETTER
