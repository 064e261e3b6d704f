# SPDX-License-Identifier: GPL-2.0-or-later
"""What a routine does that another one did not: for whoever reviews a backport.

:func:`compare` is pure. What counts is stated once, here:

- **worse**: a verdict that was PROVED and is not; a margin that falls; more old lines left; a new finding of
  severity warning or error; a path that skips the flush where OLD may flush.
- **better**: the same the other way round.
- **different**: a path, fence, MSR write, buffer access, outside call, finding, assumption, number or cause that is
  not what it was; and whatever concerns CPUs that do not decide.
- **no change that matters**: names, files, addresses, offsets of fields, instructions that do the same, the
  routine's own accesses (rows and findings say what these do to the flush), and the wording of a note.

All of them together are the first of these that occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Literal

from l1dflush.ending import Verdict
from l1dflush.severity import Severity
from l1dflush.tracing.facts import Field
from l1dflush.verdict.compare.likeness import assumption_key, finding_key, own_names, pairs
from l1dflush.verdict.compare.moved import moved_fields, renamed
from l1dflush.verdict.compare.paths import compare_paths, overall
from l1dflush.verdict.compare.result import Change, ComparisonResult, Differences, Effect, FindingChange
from l1dflush.verdict.compare.rows import compare_rows
from l1dflush.verdict.compare.summary import summarise
from l1dflush.verdict.verify_result import BufferInfo, Finding, RoutineInfo, VerifyResult

_TWO_VERDICTS = "optimisation-dependent"


def compare(old: VerifyResult, new: VerifyResult) -> ComparisonResult:
    """What differs between two results, and whether NEW is worse or better. Never fails.

    Verdict and exit status are those of ``new``. Of a routine that could not be followed there are only its code
    and its verdict to compare.
    """
    missing: tuple[Literal["old", "new"], ...] = (
        *(("old",) if not old.paths else ()),
        *(("new",) if not new.paths else ()),
    )
    moved = moved_fields(old, new)
    likened = renamed(new, moved)
    same_code = (old.routine.sha256, old.routine.bits) == (new.routine.sha256, new.routine.bits)
    differences = Differences(names=tuple(_names(old.routine, new.routine)), verdict=tuple(_verdict(old, new)))
    if not missing:
        differences = differences.model_copy(
            update={
                "buffer": tuple(_buffer(old.buffer, new.buffer)),
                "moved": tuple(_moved(moved)),
                "paths": compare_paths(old, likened),
                "findings": tuple(_findings(old, likened)),
                "rows": compare_rows(old.rows, new.rows),
                "scope": tuple(_scope(old, new)),
            }
        )
    effect = overall(_effects(differences))
    if missing and not same_code and effect is Effect.NONE:
        # Nobody knows what the one does, so nobody knows that the other does the same.
        effect = Effect.DIFFERENT
    return ComparisonResult(
        tool_version=new.tool_version,
        old=old,
        new=new,
        same_code=same_code,
        not_followed=missing,
        differences=differences,
        effect=effect,
        summary=summarise(old, new, differences, effect, missing),
        verdict=new.verdict,
        exit_status=new.exit_status,
    )


def _moved(fields: Mapping[Field, Field]) -> Iterator[Change]:
    for new, old in fields.items():
        yield Change(what="field", old=old.name, new=new.name, effect=Effect.NONE)


def _effects(differences: Differences) -> Iterator[Effect]:
    for part in (
        differences.names,
        differences.verdict,
        differences.buffer,
        differences.paths,
        differences.findings,
        differences.rows,
        differences.scope,
    ):
        yield from (one.effect for one in part)


def _change(what: str, old: str | int | None, new: str | int | None, effect: Effect) -> Iterator[Change]:
    if old != new:
        yield Change(what=what, old=old, new=new, effect=effect)


def _names(old: RoutineInfo, new: RoutineInfo) -> Iterator[Change]:
    yield from _change("function", old.name, new.name, Effect.NONE)
    yield from _change("input", old.source, new.source, Effect.NONE)
    yield from _change("kind of input", old.kind, new.kind, Effect.NONE)
    yield from _change("bits", old.bits, new.bits, Effect.DIFFERENT)


def _verdict(old: VerifyResult, new: VerifyResult) -> Iterator[Change]:
    effect = Effect.DIFFERENT
    if Verdict.PROVED in (old.verdict, new.verdict):
        effect = Effect.WORSE if old.verdict is Verdict.PROVED else Effect.BETTER
    yield from _change("verdict", old.verdict.value, new.verdict.value, effect)
    yield from _change("cause", old.cause, new.cause, Effect.DIFFERENT)
    # The reason is words about the cause or the rows; where it is moves with every build.
    before, after = (one.undecided.what if one.undecided is not None else None for one in (old, new))
    if before != after:
        yield from _change("reason", old.reason, new.reason, Effect.NONE)
    # So is the exit status about the verdict and the findings.
    yield from _change("exit status", old.exit_status, new.exit_status, Effect.NONE)


def _buffer(old: BufferInfo | None, new: BufferInfo | None) -> Iterator[Change]:
    if old is None or new is None:
        before, after = (None if one is None else str(one.region) for one in (old, new))
        yield from _change("buffer", before, after, Effect.DIFFERENT)
        return
    yield from _change("name", str(old.region), str(new.region), Effect.NONE)
    yield from _change("lowest offset", old.first, new.first, Effect.DIFFERENT)
    yield from _change("highest offset", old.last, new.last, Effect.DIFFERENT)
    yield from _change("bytes spanned", old.bytes_spanned, new.bytes_spanned, Effect.DIFFERENT)
    yield from _change("size", old.size, new.size, Effect.DIFFERENT)


def _findings(old: VerifyResult, new: VerifyResult) -> Iterator[FindingChange]:
    keys = [*_keys(old, new, finding_key), (_rule, _rule)]
    for a, b in pairs(old.findings, new.findings, keys):
        before = None if a is None else old.findings[a]
        after = None if b is None else new.findings[b]
        if before is not None and after is not None:
            if any(of_old(before) == of_new(after) for of_old, of_new in keys[:-1]):
                continue
            notes = before.severity is after.severity is Severity.NOTE
            effect = Effect.NONE if notes else Effect.DIFFERENT
        else:
            one = before or after
            assert one is not None
            effect = Effect.WORSE if before is None else Effect.BETTER
            if one.severity is Severity.NOTE or (one.id == _TWO_VERDICTS and old.verdict is not new.verdict):
                # Whether two verdicts differ, one of which is another now: that is told already.
                effect = Effect.DIFFERENT
        yield FindingChange(old=before, new=after, effect=effect)


def _keys(
    old: VerifyResult, new: VerifyResult, key: Callable[..., Hashable]
) -> list[tuple[Callable[..., Hashable], Callable[..., Hashable]]]:
    """What things of OLD and NEW are paired by: as they are, else but for what each routine calls its own."""
    as_is = partial(key, names=())
    return [(as_is, as_is), (partial(key, names=own_names(old)), partial(key, names=own_names(new)))]


def _rule(one: Finding) -> Hashable:
    return one.id


def _scope(old: VerifyResult, new: VerifyResult) -> Iterator[Change]:
    # What is said about the compiler, or about an allocation that is not seen, comes with the kind of input.
    effect = Effect.DIFFERENT if old.routine.kind == new.routine.kind else Effect.NONE
    for what, before, after in (
        ("taken for granted", old.scope.taken_for_granted, new.scope.taken_for_granted),
        ("not modelled", old.scope.not_modelled, new.scope.not_modelled),
    ):
        for a, b in pairs(before, after, _keys(old, new, assumption_key)):
            if a is None or b is None:
                yield from _change(
                    what, None if a is None else before[a].text, None if b is None else after[b].text, effect
                )
    yield from _change("start", old.scope.start, new.scope.start, Effect.DIFFERENT)
    yield from _change("all ways valid", old.scope.all_ways_valid, new.scope.all_ways_valid, Effect.DIFFERENT)
    yield from _change("touches", old.scope.touches, new.scope.touches, Effect.DIFFERENT)
