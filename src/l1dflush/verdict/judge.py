# SPDX-License-Identifier: GPL-2.0-or-later
"""From what the user named to the result: load, trace, find the buffer, prove per cache, put together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from l1dflush import __version__
from l1dflush.arguments import MAX_SECONDS, START, THEN
from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import ExitStatus, Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.built_in import written_for
from l1dflush.routine.identity import digest
from l1dflush.routine.load import load
from l1dflush.routine.model import Routine
from l1dflush.tracing.model import Trace
from l1dflush.verdict.caches import Cache, caches_of, overall, rows_of
from l1dflush.verdict.counterexample_result import LineKind
from l1dflush.verdict.described import (
    TAKEN_FOR_GRANTED,
    assumed,
    buffer_info,
    outside,
    path_info,
    routine_info,
    scope,
    scope_of,
    trace_path,
)
from l1dflush.verdict.doubts import NO_WALK, doubt, no_walk, same_memory, unknown_steps
from l1dflush.verdict.findings import find, finding
from l1dflush.verdict.found import About, Spot
from l1dflush.verdict.instructions import granted
from l1dflush.verdict.left_behind import left_behind
from l1dflush.verdict.left_out import (
    MOST_TRIED,
    also_left_out,
    as_options,
    come_up,
    explained,
    left_out,
    made_up,
    not_judged,
    not_reached,
    not_tried,
    replaceable,
    undecided_names,
    ways_further,
    ways_to_give,
    with_branches,
)
from l1dflush.verdict.mechanism import mechanism
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.places import Places
from l1dflush.verdict.prepares import told
from l1dflush.verdict.question import Flush, Question
from l1dflush.verdict.select import NotFollowedError, NoWalkError, select
from l1dflush.verdict.set_words import Written
from l1dflush.verdict.unsettled import certain
from l1dflush.verdict.verify_result import Finding, Row, TraceResult, UndecidedInfo, VerifyResult
from l1dflush.verdict.walk import Buffer, find_buffer, placement, walk_of

# What follows a routine has at least that, so that something short is followed after something long.
_LEAST_SECONDS = 0.1
NO_WALK_ANSWER = "nothing walks"
_OUT_OF_TIME = frozenset({"budget", "out-of-time"})


def verify(source: str | Sequence[str], options: VerifyOptions) -> VerifyResult:
    """Judges the routine that ``source`` names on the CPUs that ``options`` name; several files are taken together.

    Raises InputError for input that cannot be used. What the tool cannot follow becomes UNDECIDED.
    """
    if options.then and not options.conditions.start.steady:
        raise InputError("routines in turn need a steady start", hint=START.given("steady"))
    caches_of(options)  # what is wrong with it comes first
    routines = load(source, options.load_options())
    caches = caches_of(options.on_what_it_is_for(written_for(routines[0])))
    # From here on; what was read and compiled has limits of its own.
    deadline = time.monotonic() + options.max_seconds
    try:
        trace = _selected(routines, options)
        others = [_other(name, options, deadline) for name in options.then]
    except UndecidedError as error:
        routine = error.routine if isinstance(error, NotFollowedError) else routines[0]
        return _undecided(routine, told(error, source, routine, options), options)
    try:
        result = _judge(trace, others, caches, options, deadline)
    except UndecidedError as error:
        return _undecided(trace.routine, error, options)
    if trace.routine.origin.compiled and options.optimize != "0":
        result = _compare_unoptimised(source, others, caches, options, deadline, result)
    return _compare_given(source, (trace, *others), caches, options, deadline, result)


def _selected(routines: Sequence[Routine], options: VerifyOptions) -> Trace:
    """As :func:`select`; that there is no flush is told with what was left out."""
    try:
        return select(routines, options)
    except InputError as error:
        raise explained(error, routines) from None


def _in_time(options: VerifyOptions, deadline: float) -> VerifyOptions:
    """The same for what is followed in the time that is left."""
    return replace(options, max_seconds=max(deadline - time.monotonic(), _LEAST_SECONDS))


def _other(name: str, options: VerifyOptions, deadline: float) -> Trace:
    """A routine that takes its turn with the first one."""
    mine = _in_time(options.for_other((name,)), deadline)
    try:
        return select(load(name, mine.load_options()), mine)
    except InputError as error:
        where = THEN.of(name) if error.where in (None, name) else f"{THEN.of(name)}: {error.where}"
        raise InputError(error.what, where=where, hint=error.hint) from None
    except UndecidedError as error:
        raise UndecidedError(error.cause, f"{name}, which takes its turn, cannot be followed: {error}") from None


def trace_of(source: str | Sequence[str], options: VerifyOptions) -> TraceResult:
    """The trace of the routine that ``source`` names. Raises InputError and UndecidedError."""
    trace = _selected(load(source, options.load_options()), options)
    buffer = find_buffer(trace, options.bind.items())
    places = Places(trace.routine.image, buffer)
    return TraceResult(
        tool_version=__version__,
        routine=routine_info(trace.routine),
        left_out=left_out([trace.routine], [*made_up(trace.routine, trace, places), *replaceable(trace)]),
        buffer=buffer_info(trace, buffer, options),
        paths=tuple(trace_path(path, places) for path in trace.paths),
        exit_status=ExitStatus.FINE,
    )


def _flush(trace: Trace, buffer: Buffer | None) -> Flush | None:
    """What of a trace walks the buffer; None if nothing does."""
    walking = tuple(path for path in trace.paths if buffer is not None and walk_of(path, buffer))
    return Flush(walking, buffer, Places(trace.routine.image, buffer)) if buffer is not None and walking else None


def _check_clock(deadline: float) -> None:
    """What is read in no regular order takes its time before it is asked about."""
    if time.monotonic() > deadline:
        raise UndecidedError(
            "out-of-time", "looking for the walk takes longer than allowed", hint=MAX_SECONDS.form("N")
        )


def _judge(
    trace: Trace, others: Sequence[Trace], caches: Sequence[Cache], options: VerifyOptions, deadline: float
) -> VerifyResult:
    """Raises UndecidedError where the time is up before anything is asked."""
    buffer = find_buffer(trace, options.bind.items())
    _check_clock(deadline)
    size = options.buffer_size
    places = Places(trace.routine.image, buffer)
    flush = _flush(trace, buffer)
    in_turn = [_flush(other, find_buffer(other, options.bind.items())) for other in others]
    line = min((geometry.line for _, geometry, _, decides in caches if decides), default=64)
    named = undecided_names([trace.routine, *(other.routine for other in others)])
    findings = sorted((*find(trace, buffer, size, line), *named), key=lambda f: -f.severity.rank)
    _check_clock(deadline)
    walking = flush.paths if flush is not None else ()
    walks = {id(path) for path in walking}
    paths = tuple(path_info(path, places, mechanism(path, id(path) in walks, buffer)) for path in trace.paths)
    _check_clock(deadline)
    needs = [need for one in (trace, *others) for need in one.needs]
    rows: list[Row] = []
    written = Written()
    verdict, reason = Verdict.UNDECIDED, ""
    because: UndecidedError | None = None
    if flush is None or buffer is None:
        because = no_walk(trace, places)
    elif None in in_turn:
        name = others[in_turn.index(None)].routine.name
        because = UndecidedError(NO_WALK, f"{name}, which takes its turn, reads no buffer")
    else:
        skipped = options.every_path and any(path.outcome == "skipped" for path in paths)
        question = Question(
            flush,
            size,
            skipped,
            options.memory,
            deadline,
            placement=placement(trace, buffer),
            conditions=options.conditions,
            others=tuple(one for one in in_turn if one is not None),
            all_examples=options.all_examples,
            written=written,
        )
        rows = certain(
            rows_of(question, caches, needs), question, (trace, *others), lambda q: rows_of(q, caches, needs)
        )
        verdict, reason = overall(rows)
        if verdict is Verdict.PROVED:
            because = doubt([trace, *others], options.every_path, places)
            for run, one in zip((trace, *others), (flush, *question.others), strict=True):
                because = because or unknown_steps(run, one) or same_memory(one)
    if because is not None:
        verdict, reason = Verdict.UNDECIDED, str(because)
    status = _exit_status(verdict, findings, options)
    return VerifyResult(
        tool_version=__version__,
        routine=routine_info(trace.routine),
        then=tuple(routine_info(other.routine) for other in others),
        buffer=buffer_info(trace, buffer, options),
        paths=paths,
        outside=outside(trace),
        left=left_behind(trace.paths, buffer, places),
        left_out=left_out(
            [trace.routine, *(other.routine for other in others)],
            [*made_up(trace.routine, trace, places), *(each for one in (trace, *others) for each in replaceable(one))],
        ),
        findings=tuple(findings),
        rows=tuple(rows),
        words=tuple(written.words),
        scope=scope(trace, buffer, options, granted((cpu for cpu, *_ in caches), needs)),
        verdict=verdict,
        cause=because.cause if because is not None else None,
        undecided=_why(because) if because is not None else None,
        reason=reason,
        exit_status=status,
    )


def _exit_status(verdict: Verdict, findings: Iterable[Finding], options: VerifyOptions) -> int:
    failing = options.fail_on is not None and any(f.severity.rank >= options.fail_on.rank for f in findings)
    if verdict is Verdict.REFUTED or failing:
        return ExitStatus.REFUTED
    return ExitStatus.UNDECIDED if verdict is Verdict.UNDECIDED else ExitStatus.FINE


def _compare_unoptimised(
    source: str | Sequence[str],
    others: Sequence[Trace],
    caches: Sequence[Cache],
    options: VerifyOptions,
    deadline: float,
    result: VerifyResult,
) -> VerifyResult:
    """Adds a finding where C compiled at -O0 has another verdict."""
    plain = options.unoptimised()
    try:
        routines = load(source, plain.load_options())
        other = _judge(select(routines, _in_time(plain, deadline)), others, caches, plain, deadline)
    except (InputError, UndecidedError) as error:
        out_of_time = isinstance(error, UndecidedError) and error.cause in _OUT_OF_TIME
        return _not_compared(result) if out_of_time else result
    if other.cause in _OUT_OF_TIME or any(row.cause in _OUT_OF_TIME for row in other.rows):
        return _not_compared(result)
    if not _differ(result, other):
        return result
    levels = f"-O{options.optimize}", "-O0"
    verdicts = tuple(f"{_answer(one)} at {level}" for one, level in zip((result, other), levels, strict=True))
    between = [_between(one) for one in (result, other)]
    name = next((level for level, memory in zip(levels, between, strict=True) if memory), "")
    found = finding("optimisation-dependent", About(name, memory=between[0] or between[1], verdicts=verdicts))
    findings = tuple(sorted((*result.findings, found), key=lambda f: -f.severity.rank))
    return result.model_copy(
        update={"findings": findings, "exit_status": int(_exit_status(result.verdict, findings, options))}
    )


def _between(result: VerifyResult) -> tuple[Spot, ...]:
    """What of a refuted routine's own memory is accessed between the lines of its buffer."""
    example = next((row.counterexample for row in result.rows if row.decides and row.counterexample is not None), None)
    if result.verdict is not Verdict.REFUTED or example is None:
        return ()
    touched = {step.access for step in example.steps if not step.by_others}
    own = (line.region for line in example.lines if line.kind is LineKind.OWN and line.name in touched)
    return tuple(Spot(region) for region in dict.fromkeys(own) if region is not None)


def _not_compared(result: VerifyResult) -> VerifyResult:
    """Says that there was no time left to ask about the code at -O0."""
    unchecked = assumed([Assumption(Assumes.UNOPTIMISED)])
    told = {name: (*getattr(result.scope, name), *unchecked) for name in ("not_modelled", "particular")}
    return result.model_copy(update={"scope": result.scope.model_copy(update=told)})


def _differ(one: VerifyResult, other: VerifyResult) -> bool:
    """Whether two verdicts are different answers, and not one answer and a question that was not answered."""
    first, second = _answer(one), _answer(other)
    return first is not None and second is not None and first != second


def _answer(result: VerifyResult) -> str | None:
    if result.verdict is Verdict.UNDECIDED:
        # That nothing walks is an answer, too.
        return NO_WALK_ANSWER if result.cause == NO_WALK else None
    return result.verdict.value


def _compare_given(
    source: str | Sequence[str],
    traces: Sequence[Trace],
    caches: Sequence[Cache],
    options: VerifyOptions,
    deadline: float,
    result: VerifyResult,
) -> VerifyResult:
    """UNDECIDED where an undefined name decides what is compiled, and the verdict with it."""
    routines = [trace.routine for trace in traces]
    ways = ways_to_give(routines)
    if not ways:
        # Of what leads to much code the hash takes longer than all the rest.
        return result
    known = {tuple(digest(routine) for routine in routines)}
    # Of a name that is compared no value may lead to another branch.
    unreached = dict.fromkeys(name for way in ways for name, value in way.items() if value != "1")
    judged: list[dict[str, str]] = []
    failed: list[tuple[dict[str, str], str]] = []
    for number, way in enumerate(ways):
        if number == MOST_TRIED or time.monotonic() > deadline:
            tried = {name for way in ways[:number] for name in way}
            names = [name for way in ways[number:] for name in way if name not in tried]
            return also_left_out(result, [*not_judged(failed, judged), *([not_tried(names)] if names else [])])
        mine = options.defining(way)
        try:
            others = [_other(name, mine, deadline) for name in mine.then]
            again = [select(load(source, mine.load_options()), _in_time(mine, deadline)), *others]
            new = come_up([trace.routine for trace in again], way, (name for one in ways for name in one))
            further = ways_further(way, new)
            ways += further
            unreached |= dict.fromkeys(name for one in further for name, value in one.items() if value != "1")
            result = with_branches(result, new)
            digests = tuple(digest(trace.routine) for trace in again)
            if digests in known:
                judged.append(way)
                continue
            known.add(digests)
            for name in way:
                unreached.pop(name, None)
            other = _judge(again[0], again[1:], caches, mine, deadline)
            answer, why = _answer(other), f"UNDECIDED: {other.reason}"
        except (InputError, UndecidedError) as error:
            # Of several functions the one that was judged may be among those that were followed to their ends.
            followed = error.followed if isinstance(error, NoWalkError) else ()
            answer, why = (NO_WALK_ANSWER if routines[0].name in followed else None), str(error)
        if answer is None and _answer(result) is not None:
            failed.append((way, why))
            continue
        judged.append(way)
        if None not in (answer, _answer(result)) and answer != _answer(result):
            without = " ".join(f"--undefine {name}" for name in way)
            what = f"{_answer(result)} with {without}, {answer} with {as_options(way)}: say which it is"
            depends = UndecidedError("undefined-decides", what)
            return result.model_copy(
                update={
                    "verdict": Verdict.UNDECIDED,
                    "cause": depends.cause,
                    "undecided": _why(depends),
                    "reason": str(depends),
                    "exit_status": int(_exit_status(Verdict.UNDECIDED, result.findings, options)),
                }
            )
    more = not_judged(failed, judged)
    told = {name for one in more for name in one.names}
    silent = [name for name in unreached if name not in told]
    return also_left_out(result, [*more, *([not_reached(silent)] if silent else [])])


def _why(error: UndecidedError) -> UndecidedInfo:
    return UndecidedInfo(what=error.what, where=error.place, hint=error.hint)


def _undecided(routine: Routine, error: UndecidedError, options: VerifyOptions) -> VerifyResult:
    # Of an object every symbol of another file would be one.
    supposed = made_up(routine, None, Places(routine.image, None)) if routine.source_available else ()
    return VerifyResult(
        tool_version=__version__,
        routine=routine_info(routine),
        buffer=None,
        paths=(),
        left_out=left_out([routine], supposed),
        findings=tuple(undecided_names([routine])),
        rows=(),
        scope=scope_of(options.conditions, TAKEN_FOR_GRANTED),
        verdict=Verdict.UNDECIDED,
        cause=error.cause,
        undecided=_why(error),
        reason=str(error),
        exit_status=_exit_status(Verdict.UNDECIDED, (), options),
    )
