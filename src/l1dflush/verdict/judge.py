"""From what the user named to the result: load, trace, find the buffer, prove per cache, put together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from l1dflush import __version__
from l1dflush.cache.cpus import Catalogue, Cpu
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, get_policy
from l1dflush.data.catalogue import load_catalogue
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import Conditions
from l1dflush.proof.prover import resolved
from l1dflush.routine.load import load
from l1dflush.routine.model import NoteKind, Routine
from l1dflush.trace.model import Kind, Path, Trace
from l1dflush.trace.runs import FoldedRun, fold
from l1dflush.verdict.findings import decision_texts, find, finding
from l1dflush.verdict.left_behind import left_behind
from l1dflush.verdict.model import (
    BufferInfo,
    EventInfo,
    ExitStatus,
    Finding,
    GeometryInfo,
    OutsideInfo,
    PathInfo,
    RoutineInfo,
    Row,
    Run,
    Scope,
    TracePath,
    TraceResult,
    Verdict,
    VerifyResult,
)
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.rows import Outcome, Question, judge_cache, refuse_steady
from l1dflush.verdict.select import NotFollowedError, select
from l1dflush.verdict.walk import (
    PAGE,
    Buffer,
    Mechanism,
    Places,
    find_buffer,
    mechanism,
    placement,
    storage,
    walk_of,
    walk_start,
)

BUFFER_PLACE = "the buffer is page-aligned, and physically contiguous where the set index exceeds the page offset"
TAKEN_FOR_GRANTED = (
    "accesses to one set take effect in program order",
    BUFFER_PLACE,
    "the set index is (address / line size) mod sets",
    "different inputs point to different memory",
)
BY_OTHERS = "accesses by others during the flush: page walks, prefetchers, interrupts, sibling threads"
OTHER_PLACES = "fill buffers, store buffers and other levels of the cache"

# One cache to judge: the CPU or None for --policy, its policy (None: unknown), and whether it decides.
_Cache = tuple[Cpu | None, Geometry, str | Policy | None, bool]


def verify(source: str | Sequence[str], options: VerifyOptions) -> VerifyResult:
    """Judges the routine that ``source`` names on the CPUs that ``options`` name; several files are taken together.

    Raises InputError for input that cannot be used. What the tool cannot follow becomes UNDECIDED.
    """
    refuse_steady(options.conditions)
    caches = _caches(options)
    routines = load(source, options.load_options())
    try:
        trace = select(routines, options)
    except UndecidedError as error:
        return _undecided(error.routine if isinstance(error, NotFollowedError) else routines[0], error, options)
    result = _judge(trace, caches, options)
    if trace.routine.origin.compiled and options.optimize != "0":
        result = _compare_unoptimised(source, caches, options, result)
    return result


def trace_of(source: str | Sequence[str], options: VerifyOptions) -> TraceResult:
    """The trace of the routine that ``source`` names. Raises InputError and UndecidedError."""
    trace = select(load(source, options.load_options()), options)
    buffer = find_buffer(trace, options.bind.items())
    places = Places(trace.routine.image, buffer)
    return TraceResult(
        tool_version=__version__,
        routine=_routine_info(trace.routine),
        buffer=_buffer_info(trace, buffer, options),
        paths=tuple(_trace_path(path, places) for path in trace.paths),
        exit_status=ExitStatus.FINE,
    )


def _caches(options: VerifyOptions) -> list[_Cache]:
    if (options.policy is None) != (options.geometry is None):
        raise InputError(
            "--policy and --geometry go together", hint="for example --policy tree-PLRU --geometry 32K,8,64"
        )
    if options.policy is not None and options.geometry is not None:
        if options.cpus:
            raise InputError("--cpu and --policy exclude each other", hint="a CPU has a policy already")
        policy = resolved(options.policy, options.geometry.ways)
        return [(None, options.geometry, policy, True)]
    catalogue: Catalogue = load_catalogue(options.cpu_folders)
    if options.cpus:
        named = {cpu.name: cpu for cpu in (catalogue.get(name) for name in options.cpus)}
        return [(cpu, cpu.geometry, cpu.policy, True) for cpu in named.values()]
    return [(cpu, cpu.geometry, cpu.policy, options.every_cpu or cpu.l1tf_affected) for cpu in catalogue.x86()]


def _judge(trace: Trace, caches: Sequence[_Cache], options: VerifyOptions) -> VerifyResult:
    buffer = find_buffer(trace, options.bind.items())
    size = options.buffer_size
    places = Places(trace.routine.image, buffer)
    line = min((geometry.line for _, geometry, _, decides in caches if decides), default=64)
    findings = find(trace, buffer, size, line)
    walking = tuple(path for path in trace.paths if buffer is not None and walk_of(path, buffer))
    paths = tuple(_path_info(path, places, mechanism(path, path in walking)) for path in trace.paths)
    rows: list[Row] = []
    verdict, cause, reason = Verdict.UNDECIDED, None, ""
    if buffer is None or not walking:
        cause, reason = "no-software-walk", _no_walk(trace)
    else:
        skipped = options.every_path and any(path.outcome == "skipped" for path in paths)
        deadline = time.monotonic() + options.max_seconds
        placed = placement(trace, buffer)
        question = Question(
            walking,
            buffer,
            size,
            places,
            skipped,
            options.memory,
            deadline,
            placement=placed,
            conditions=options.conditions,
        )
        rows = _rows(question, caches)
        verdict, reason = _overall(rows)
    status = _exit_status(verdict, findings, options)
    return VerifyResult(
        tool_version=__version__,
        routine=_routine_info(trace.routine),
        buffer=_buffer_info(trace, buffer, options),
        paths=paths,
        outside=_outside(trace),
        left=left_behind(trace.paths, buffer, places),
        findings=tuple(findings),
        rows=tuple(rows),
        scope=_scope(trace, buffer, options),
        verdict=verdict,
        cause=cause,
        reason=reason,
        exit_status=status,
    )


def _rows(question: Question, caches: Sequence[_Cache]) -> list[Row]:
    """One row per group of CPUs with the same cache; those that decide first."""
    groups: dict[tuple[bool, bool, Geometry, str | Policy | None], list[Cpu]] = {}
    for cpu, geometry, policy, decides in caches:
        affected = cpu is not None and cpu.l1tf_affected
        groups.setdefault((not decides, not affected, geometry, policy), []).extend([cpu] if cpu is not None else [])
    outcomes: dict[tuple[Geometry, str | Policy | None], Outcome] = {}
    rows = []
    for (informs, unaffected, geometry, policy), cpus in sorted(groups.items(), key=lambda item: item[0][:2]):
        key = (geometry, policy)
        if key not in outcomes:
            outcomes[key] = _outcome(question, geometry, policy)
        outcome = outcomes[key]
        rows.append(
            Row(
                cpus=tuple(cpu.name for cpu in cpus),
                titles=tuple(cpu.title for cpu in cpus),
                l1tf_affected=not unaffected,
                decides=not informs,
                geometry=GeometryInfo(size=geometry.size, ways=geometry.ways, sets=geometry.sets, line=geometry.line),
                policy=policy if isinstance(policy, str) else policy.name if policy else "unknown",
                policy_certainty=", ".join(dict.fromkeys(str(cpu.policy_certainty) for cpu in cpus)) or "given",
                needs=outcome.needs,
                has=outcome.has,
                margin=outcome.margin,
                verdict=outcome.verdict,
                cause=outcome.cause,
                reason=outcome.reason,
                leftovers=outcome.leftovers,
                sets_without_walk=outcome.sets_without_walk,
                curve=outcome.curve,
                candidates=outcome.candidates,
                counterexample=outcome.counterexample,
            )
        )
    return rows


def _outcome(question: Question, geometry: Geometry, policy: str | Policy | None) -> Outcome:
    if isinstance(policy, str) and not _is_defined(policy, geometry.ways):
        reason = f"the policy {policy} is not one that this version proves"
        return Outcome(Verdict.UNDECIDED, None, None, None, 0, "policy-not-supported", reason)
    return judge_cache(question, geometry, policy)


def _is_defined(policy: str, ways: int) -> bool:
    try:
        get_policy(policy, ways)
    except InputError:
        return False
    return True


def _overall(rows: Iterable[Row]) -> tuple[Verdict, str]:
    """The worst verdict of the rows that decide."""
    deciding = [row for row in rows if row.decides]
    for verdict in (Verdict.REFUTED, Verdict.UNDECIDED):
        worst = [row for row in deciding if row.verdict is verdict]
        if worst:
            return verdict, worst[0].reason
    if not deciding:
        return Verdict.UNDECIDED, "no CPU was named that could decide"
    return Verdict.PROVED, ""


def _exit_status(verdict: Verdict, findings: Iterable[Finding], options: VerifyOptions) -> int:
    failing = options.fail_on is not None and any(f.severity.rank >= options.fail_on.rank for f in findings)
    if verdict is Verdict.REFUTED or failing:
        return ExitStatus.REFUTED
    return ExitStatus.UNDECIDED if verdict is Verdict.UNDECIDED else ExitStatus.FINE


def _compare_unoptimised(
    source: str | Sequence[str],
    caches: Sequence[_Cache],
    options: VerifyOptions,
    result: VerifyResult,
) -> VerifyResult:
    """Adds a finding where C compiled at -O0 has another verdict."""
    plain = options.unoptimised()
    try:
        other = _judge(select(load(source, plain.load_options()), plain), caches, plain).verdict
    except UndecidedError:
        other = Verdict.UNDECIDED
    except InputError:
        return result
    if other is result.verdict:
        return result
    found = finding("optimisation-dependent", f"{result.verdict} at -O{options.optimize}, {other} at -O0")
    findings = tuple(sorted((*result.findings, found), key=lambda f: -f.severity.rank))
    return result.model_copy(
        update={"findings": findings, "exit_status": int(_exit_status(result.verdict, findings, options))}
    )


def _no_walk(trace: Trace) -> str:
    used = {mechanism(path, walks=False) for path in trace.paths}
    if "MSR write" in used:
        return "no path reads a buffer; what an MSR write does cannot be proved from outside"
    if "cache instruction" in used:
        return "no path reads a buffer; what wbinvd or invd does cannot be proved from outside"
    return "no path reads as much as a page at a constant stride, or as many different lines as a page has"


def _undecided(routine: Routine, error: UndecidedError, options: VerifyOptions) -> VerifyResult:
    return VerifyResult(
        tool_version=__version__,
        routine=_routine_info(routine),
        buffer=None,
        paths=(),
        findings=(),
        rows=(),
        scope=_scope_of(options.conditions, TAKEN_FOR_GRANTED),
        verdict=Verdict.UNDECIDED,
        cause=error.cause,
        reason=str(error),
        exit_status=_exit_status(Verdict.UNDECIDED, (), options),
    )


def _scope(trace: Trace, buffer: Buffer | None, options: VerifyOptions) -> Scope:
    kinds = {note.kind for note in trace.routine.notes}
    content_seen = kinds & {NoteKind.BUFFER_INITIALISED, NoteKind.BUFFER_NOT_INITIALISED}
    unchecked = () if content_seen else ("whether the buffer's pages differ (not checked: no allocation seen)",)
    granted = (*_granted(trace, buffer), *_of_compiler(trace.routine, options), *trace.assumptions)
    return _scope_of(options.conditions, granted, unchecked)


def _scope_of(conditions: Conditions, granted: tuple[str, ...], unchecked: tuple[str, ...] = ()) -> Scope:
    touches = conditions.touches
    others = BY_OTHERS.replace(":", f", beyond {touches} to one set:") if touches else BY_OTHERS
    return Scope(
        start=str(conditions.start),
        start_meaning=conditions.start.meaning,
        all_ways_valid=conditions.start.all_ways_valid,
        touches=touches,
        taken_for_granted=granted,
        not_modelled=(others, OTHER_PLACES, *unchecked),
    )


def _granted(trace: Trace, buffer: Buffer | None) -> tuple[str, ...]:
    placed = placement(trace, buffer) if buffer is not None else None
    if placed is None or placed.alignment >= PAGE:
        return TAKEN_FOR_GRANTED
    # The proof is for every place that this alignment leaves.
    place = BUFFER_PLACE.replace("the buffer is page-aligned", f"{placed.name} is {placed.alignment}-byte aligned")
    return tuple(place if text is BUFFER_PLACE else text for text in TAKEN_FOR_GRANTED)


def _of_compiler(routine: Routine, options: VerifyOptions) -> tuple[str, ...]:
    if not routine.origin.compiled:
        return ()
    return (f"C becomes the machine code that this machine's compiler makes of it at -O{options.optimize}",)


def _routine_info(routine: Routine) -> RoutineInfo:
    return RoutineInfo(
        name=routine.name,
        kind=routine.origin.kind.value,
        source=routine.origin.source,
        sources=routine.origin.sources,
        detail=routine.origin.detail,
        bits=routine.image.bits,
        sha256=routine.digest,
        code_bytes=len(routine.code),
    )


def _buffer_info(trace: Trace, buffer: Buffer | None, options: VerifyOptions) -> BufferInfo | None:
    if buffer is None:
        return None
    name, size = buffer.primary.name, options.buffer_size
    reads = (event for path in trace.paths for event in path.events)
    start = walk_start(reads, buffer)
    symbol = storage(trace.routine.image, start) if start is not None else None
    if symbol is not None:
        name, size = f"the storage of `{symbol.name}`", size or symbol.size
    return BufferInfo(
        name=name, first=buffer.first, last=buffer.last, bytes_spanned=buffer.end - buffer.first, size=size
    )


def _outside(trace: Trace) -> tuple[OutsideInfo, ...]:
    called = {event.detail: "called" for path in trace.paths for event in path.events if event.kind is Kind.CALL}
    return tuple(OutsideInfo(name=name, stands_for=text) for name, text in {**called, **trace.stubs}.items())


def _path_info(path: Path, places: Places, outcome: Mechanism) -> PathInfo:
    loads = sum(event.kind is Kind.LOAD and places.of(event)[0] == "buffer" for event in path.events)
    return PathInfo(
        outcome=outcome,
        decided_by=tuple(decision_texts(path, places)),
        loads=loads,
        instructions=path.instructions,
        runs=tuple(_run(run, places) for run in fold(path.events)),
        end=path.end,
    )


def _trace_path(path: Path, places: Places) -> TracePath:
    return TracePath(
        decided_by=tuple(decision_texts(path, places)),
        instructions=path.instructions,
        end=path.end,
        runs=tuple(_run(run, places) for run in fold(path.events)),
        events=tuple(
            EventInfo(
                kind=event.kind.value,
                pc=event.pc,
                where=places.where(event.pc),
                instruction=event.detail,
                place=places.of(event)[0],
                offset=places.of(event)[1] if event.arena is not None else None,
                size=event.size,
            )
            for event in path.events
        ),
    )


def _run(run: FoldedRun, places: Places) -> Run:
    name, offset = places.of(run.event)
    return Run(
        kind=run.event.kind.value,
        instruction=run.event.detail,
        place=name,
        count=run.count,
        first=offset,
        last=offset + run.last - run.event.offset,
        step=run.step,
        size=run.event.size,
        where=places.where(run.event.pc),
        together=run.together,
    )
