# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``verify`` for a person at a terminal: what was read, what is wrong, the verdicts, and why.

Every function makes lines of one part; nothing here prints. 80 columns without colour are enough to read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from l1dflush.ending import ExitStatus, Verdict
from l1dflush.in_words import in_words
from l1dflush.report.layout import paragraph, safe
from l1dflush.report.terminal.counterexample import counterexample_lines
from l1dflush.report.terminal.left_out import left_out_lines
from l1dflush.report.terminal.paths import path_lines
from l1dflush.report.terminal.rows import VERDICT_STYLES, columns, names, rows_table, why_refuted
from l1dflush.report.terminal.runs import hex_or_decimal
from l1dflush.severity import Severity
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict.counterexample_result import CounterexampleInfo
from l1dflush.verdict.verify_result import BufferInfo, Finding, OutsideInfo, RoutineInfo, Row, VerifyResult

# Where the assumptions are told that every verdict has.
ASSUMPTIONS = "'l1dflush help theory'"
_SEVERITY_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_STATUS_OF = {
    Verdict.PROVED: ExitStatus.FINE,
    Verdict.REFUTED: ExitStatus.REFUTED,
    Verdict.UNDECIDED: ExitStatus.UNDECIDED,
    Verdict.ERROR: ExitStatus.ERROR,
}


def verify_lines(result: VerifyResult, width: int) -> list[Text]:
    """The whole report, its parts separated by empty lines: the verdict and the rows that decide it, what was run,
    what is wrong besides, how an old line survives, and what the verdict takes for granted."""
    decide = [one for one in result.rows if one.decides]
    parts = [
        headline(result, width),
        _verdicts(result.rows, decide, width),
        _code_lines(result.routine, width)
        + [line for other in result.then for line in then_lines(other, width)]
        + buffer_lines(result.buffer, width)
        + path_lines(result.paths, result.buffer, width)
        + outside_lines(result.outside, width),
        left_lines(result, width),
        left_out_lines(result.left_out, width),
        finding_lines(result.findings, width),
        *_counterexamples(decide, width),
        scope_lines(result, width),
    ]
    lines: list[Text] = []
    for part in parts:
        if part:
            lines += [Text(), *part] if lines else part
    return lines


def headline(result: VerifyResult, width: int) -> list[Text]:
    """The verdict, and the routine that it is about."""
    verdict = result.verdict.value
    text = f"{verdict}{_on(result)}"
    if result.verdict is Verdict.PROVED:
        text += ": no old line is left in any set"
    elif result.verdict is Verdict.REFUTED and not result.reason:
        text += ": an old line can survive"
        reasons = [why_refuted(row) for row in result.rows if row.decides and row.verdict is Verdict.REFUTED]
        if reasons and reasons[0]:
            text += f", as {reasons[0]}"
    reason = f"{result.cause}: {result.reason}" if result.cause and result.reason else result.cause or result.reason
    if reason:
        text += f" ({reason})" if result.verdict is Verdict.PROVED else f": {reason}"
    lines = paragraph(text, width, indent="")
    lines[0].stylize(VERDICT_STYLES[result.verdict], 0, len(verdict))
    lines += _named(result.routine, width, "  ")
    return lines + paragraph(f"exit status {_exit_status(result)}", width, indent="  ")


def routine_lines(routine: RoutineInfo, width: int) -> list[Text]:
    """What was read."""
    lines = _named(routine, width, "")
    for text in _code(routine):
        lines += paragraph(text, width, indent="  ", style="dim")
    return lines


def _named(routine: RoutineInfo, width: int, indent: str) -> list[Text]:
    """A routine's name, and where it is from."""
    name = safe(routine.name)
    origin = _origin(routine)
    others = [source for source in routine.sources if source != routine.source]
    if others:
        origin = f"{origin}, with {' and '.join(others)}"
    lines = paragraph(f"{name} ({origin})", width, indent=indent)
    lines[0].stylize("bold", len(indent), len(indent) + len(name))
    return lines


def _code(routine: RoutineInfo) -> list[str]:
    """Its machine code, and what the front end adds."""
    code = f"{routine.code_bytes} bytes of {routine.bits}-bit code, sha256 {routine.sha256[:12]}"
    return [code, routine.detail] if routine.detail else [code]


def _code_lines(routine: RoutineInfo, width: int) -> list[Text]:
    lines = first_lines(routine, width)
    for number, text in enumerate(_code(routine)):
        lines += paragraph(text, width, first="" if number else "code    = ", indent=" " * 10)
    return lines


def first_lines(routine: RoutineInfo, width: int) -> list[Text]:
    """What is run before it."""
    if not routine.run_first:
        return []
    return paragraph(", ".join(routine.run_first), width, first="first   = ", indent=" " * 10)


def then_lines(routine: RoutineInfo, width: int) -> list[Text]:
    """A routine that takes its turn with the first one."""
    origin = _origin(routine)
    code = f"{routine.code_bytes} bytes, sha256 {routine.sha256[:12]}"
    return paragraph(f"{routine.name} ({origin}), {code}", width, first="then    = ", indent=" " * 10)


def _origin(routine: RoutineInfo) -> str:
    kind = in_words(routine.kind)
    return kind if routine.source == routine.name else f"{kind}, {routine.source}"


def buffer_text(region: Region) -> str:
    """What the buffer is: a variable's own storage is not what it points to."""
    match region.kind:
        case RegionKind.SYMBOL:
            return f"the storage of `{region}`"
        case RegionKind.ABSOLUTE:
            return f"memory at {region}"
        case RegionKind.SEGMENT:
            return f"`{region}`"
    return str(region)


def buffer_lines(buffer: BufferInfo | None, width: int) -> list[Text]:
    """Which input is the buffer, and how much of it is read."""
    if buffer is None:
        return []
    size = f" of {buffer.size}" if buffer.size is not None and buffer.size != buffer.bytes_spanned else ""
    read = f"{hex_or_decimal(buffer.first)} … {hex_or_decimal(buffer.last)}, {buffer.bytes_spanned}{size} bytes"
    return paragraph(f"{buffer_text(buffer.region)}; read: {read}", width, first="buffer  = ", indent=" " * 10)


def outside_lines(outside: Sequence[OutsideInfo], width: int) -> list[Text]:
    """What is referred to but not there, and what it was taken to do."""
    if not outside:
        return []
    named = ", ".join(safe(f"{one.name} ({one.stands_for})") for one in outside)
    return paragraph(named, width, first="outside = ", indent=" " * 10)


def left_lines(result: VerifyResult, width: int) -> list[Text]:
    """What is touched between the flush and the entry, where there is one."""
    ends = dict.fromkeys(path.end for path in result.paths if path.end and path.outcome not in ("skipped", "trap"))
    if not result.left or not ends:
        return []
    what = f"touched from the fill on until {' or '.join(ends)}, so a guest may see it with the rest of its line:"
    lines = paragraph(what, width, indent="")
    for one in result.left:
        extent = f"{one.first:+#x} … {one.last:+#x}" if one.first != one.last else f"{one.first:+#x}"
        known = one.region.kind is not RegionKind.CALLEE
        region = safe(str(one.region))
        text = f"{region} {extent}{', written' if one.written else ''}" if known else region
        lines += paragraph(text, width, first="  ", indent="    ")
    return lines


def finding_lines(findings: Sequence[Finding], width: int) -> list[Text]:
    """The findings, the worst first, each with what to do."""
    lines: list[Text] = []
    for finding in sorted(findings, key=lambda one: -one.severity.rank):
        severity, rule = f"{finding.severity:<7}", safe(finding.id)
        where = f" ({finding.where})" if finding.where else ""
        told = paragraph(f"{rule}: {finding.message}{where}", width, first=f"{severity}  ", indent=" " * 9)
        told[0].stylize(_SEVERITY_STYLES[finding.severity], 0, len(severity))
        told[0].stylize("bold", 9, 9 + len(rule))
        lines += told
        if finding.advice:
            lines += paragraph(finding.advice, width, first=" " * 9 + "-> ", indent=" " * 12)
    return lines


def _verdicts(rows: Sequence[Row], decide: Sequence[Row], width: int) -> list[Text]:
    """The rows that decide as a table, the others as one line."""
    others = [one for one in rows if not one.decides]
    lines: list[Text] = []
    if decide:
        affected = all(one.l1tf_affected for one in decide)
        title = "CPUs with L1TF" if affected and others else "verdicts"
        lines += rows_table(title, decide, columns(decide, width), width)
    if others:
        count: Counter[Verdict] = Counter()
        for one in others:
            count[one.verdict] += len(one.cpus)
        without = "" if any(one.l1tf_affected for one in others) else " without L1TF"
        told = ", ".join(f"{count[verdict]} {verdict}" for verdict in Verdict if count[verdict])
        total = f"{count.total()} CPU{'' if count.total() == 1 else 's'}{without}"
        lines += paragraph(f"{total} also judged: {told}; --every-cpu shows them", width)
    return lines


def _counterexamples(rows: Sequence[Row], width: int) -> list[list[Text]]:
    """One for each different counterexample of these rows."""
    told: dict[CounterexampleInfo, list[Row]] = {}
    for one in rows:
        if one.counterexample is not None:
            told.setdefault(one.counterexample, []).append(one)
    parts = []
    for counterexample, members in told.items():
        title = "how an old line survives" + (f" on {_first_of(members)}" if len(rows) > 1 else "")
        head = paragraph(title, width, indent="", style="bold")
        parts.append(head + counterexample_lines(counterexample, width))
    return parts


def _first_of(rows: Sequence[Row]) -> str:
    """``Nehalem and 10 others``."""
    titles = [title for one in rows for title in (one.titles or one.cpus)] or ["the given cache"]
    others = len(titles) - 1
    return titles[0] + (f" and {others} other{'' if others == 1 else 's'}" if others else "")


def scope_lines(result: VerifyResult, width: int) -> list[Text]:
    """What the verdict is about, and what it takes for granted that not every verdict does."""
    scope = result.scope
    if not result.rows:
        # Where nothing was proved there is nothing to qualify.
        return []
    ways = ", all ways valid" if scope.all_ways_valid else ""
    meaning = f": {scope.start_meaning}" if scope.start_meaning else ""
    touches = f"{scope.touches or 'no'} touch{'' if scope.touches == 1 else 'es'} by others"
    granted, not_modelled = (
        "; ".join(one.text for one in assumptions if one in scope.particular)
        for assumptions in (scope.taken_for_granted, scope.not_modelled)
    )
    lines: list[Text] = []
    for name, value in (
        ("start", f"{scope.start}{meaning}{ways}; {touches}"),
        ("assumed", f"what every proof here assumes ({ASSUMPTIONS}){', and' if granted else ''}"),
        ("", granted),
        ("not modelled", not_modelled),
    ):
        if value:
            lines += paragraph(value, width, first=f"{name:<13} ", indent=" " * 14)
    return lines


def _on(result: VerifyResult) -> str:
    """`` on 3 of 19 L1TF-affected CPUs``: how many of those that count have this verdict."""
    decide = [one for one in result.rows if one.decides]
    total = sum(len(one.cpus) for one in decide)
    agree = [one for one in decide if one.verdict is result.verdict]
    count = sum(len(one.cpus) for one in agree)
    if not agree:
        return ""
    if not total:
        policies = dict.fromkeys(one.policy for one in agree)
        return f" for {', '.join(policies)}"
    if total == 1:
        return f" on {names(agree[0])}"
    affected = "L1TF-affected " if all(one.l1tf_affected for one in decide) else ""
    return f" on {f'all {total}' if count == total else f'{count} of {total}'} {affected}CPUs"


def _exit_status(result: VerifyResult) -> str:
    if result.exit_status == _STATUS_OF[result.verdict]:
        return str(result.exit_status)
    if result.exit_status == ExitStatus.FINE:
        return f"{result.exit_status} (as expected)"
    return f"{result.exit_status} (because of --fail-on or --expect)"
