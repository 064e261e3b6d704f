# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``verify NEW --against OLD`` for a person who reviews a change: what differs, in 80 columns.

What it comes to is first, and the verdict. Then, in the order of a review: what was compared, the buffer, the paths as
a diff of what they do, the findings, the CPUs with another verdict or margin. What is as before is counted, not told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from l1dflush.in_words import in_words
from l1dflush.report.layout import fitted, header, paragraph, row
from l1dflush.report.terminal.paths import MAX_PATHS
from l1dflush.report.terminal.rows import cache, names
from l1dflush.report.terminal.runs import describe, groups, summary
from l1dflush.report.terminal.verify import routine_lines
from l1dflush.verdict.compare.result import (
    Change,
    ComparisonResult,
    DiffLine,
    Effect,
    FindingChange,
    PathChange,
    RowChange,
)
from l1dflush.verdict.compare.summary import arrow
from l1dflush.verdict.verify_result import BufferInfo, PathInfo, Row, Run, VerifyResult

MAX_DIFF_LINES = 60
_STYLES = {"-": "red", "+": "green", " ": ""}
_EFFECT_STYLES = {
    Effect.WORSE: "bold red",
    Effect.BETTER: "bold green",
    Effect.DIFFERENT: "bold yellow",
    Effect.NONE: "bold",
}


def comparison_lines(result: ComparisonResult, width: int) -> list[Text]:
    """The whole report, its parts separated by empty lines."""
    parts = [
        _conclusion(result, width),
        _named("OLD", result.old, width)
        + _named("NEW", result.new, width)
        + paragraph(_code(result), width, indent=""),
        _buffer_lines(result, width) + _moved_lines(result, width),
        *_path_parts(result, width),
        _finding_lines(result, width),
        _row_lines(result, width),
        _scope_lines(result, width),
        _compared_lines(result, width),
    ]
    lines: list[Text] = []
    for part in parts:
        if part:
            lines += [Text(), *part] if lines else part
    return lines


def _code(result: ComparisonResult) -> str:
    if not result.same_code:
        return "the machine code differs"
    other = result.differences.paths or result.differences.buffer
    return "the machine code is the same" + (", but not what it refers to" if other else "")


def _named(title: str, result: VerifyResult, width: int) -> list[Text]:
    """What was read, behind OLD or NEW."""
    told = routine_lines(result.routine, width - 5)
    return [Text(f"{title}  " if number == 0 else " " * 5) + line for number, line in enumerate(told)]


def _verdict_lines(result: ComparisonResult, width: int) -> list[Text]:
    changes = {change.what: change for change in result.differences.verdict}
    text = arrow(changes["verdict"]) if "verdict" in changes else f"{result.verdict}, as before"
    for side, one in (("OLD", result.old), ("NEW", result.new)):
        why = f"{one.cause}: {one.reason}" if one.cause and one.reason else one.cause or one.reason
        if why and changes.keys() & {"verdict", "cause", "reason"}:
            text += f"; {side}: {why}"
        elif why and side == "NEW":
            text += f": {why}"
    return paragraph(text, width, first="verdict  ", indent=" " * 9)


def _buffer_lines(result: ComparisonResult, width: int) -> list[Text]:
    told = _changes(result.differences.buffer)
    return paragraph(told, width, first="buffer   ", indent=" " * 9) if told else []


def _moved_lines(result: ComparisonResult, width: int) -> list[Text]:
    told = ", ".join(f"{change.old} is now {change.new}" for change in result.differences.moved)
    return paragraph(told, width, first="moved    ", indent=" " * 9) if told else []


def _changes(changes: Iterable[Change]) -> str:
    return "; ".join(
        change.what if change.old == change.new else f"{change.what} {arrow(change)}" for change in changes
    )


# --- paths


def _path_parts(result: ComparisonResult, width: int) -> Iterator[list[Text]]:
    changes = result.differences.paths
    for change in changes[:MAX_PATHS]:
        yield _path_lines(result, change, width)
    parts = [f"{len(changes) - MAX_PATHS} more paths differ (--json has all)"] if len(changes) > MAX_PATHS else []
    same = len(result.new.paths) - sum(change.new is not None for change in changes)
    if changes and same:
        parts.append(f"{_count(same, 'path')} {'does' if same == 1 else 'do'} the same as before")
    yield [Text(part) for part in parts]


def _path_lines(result: ComparisonResult, change: PathChange, width: int) -> list[Text]:
    old = None if change.old is None else result.old.paths[change.old]
    new = None if change.new is None else result.new.paths[change.new]
    when = f"if {' and '.join(map(str, change.decisions))}" if change.decisions else "always"
    if old is None or new is None:
        sign, path, buffer = ("+", new, result.new.buffer) if old is None else ("-", old, result.old.buffer)
        assert path is not None
        word = "new" if sign == "+" else "gone"
        lines = paragraph(f"path {word}: {in_words(path.outcome)}, {when}", width, style="bold")
        return lines + _signed(sign, summary(path.runs, buffer), width)
    lines = paragraph(f"path changed: {in_words(new.outcome)}, {when}", width, style="bold")
    lines += paragraph(_changes(change.changes), width, first="  ", indent="    ")
    return lines + _diff_lines(change.diff, (old, result.old.buffer), (new, result.new.buffer), width)


def _signed(sign: str, text: str, width: int) -> list[Text]:
    return paragraph(text, width, first=f"{sign} ", indent="    ", style=_STYLES[sign])


def _diff_lines(
    diff: Sequence[DiffLine],
    old: tuple[PathInfo, BufferInfo | None],
    new: tuple[PathInfo, BufferInfo | None],
    width: int,
) -> list[Text]:
    """The runs that are gone and new, with equal ones around them."""
    lines: list[Text] = []
    marks = _marks(old[0].runs), _marks(new[0].runs)
    last = -1
    for number, line in enumerate(diff):
        if number == MAX_DIFF_LINES:
            lines.append(Text(f"  {len(diff) - number} more lines (--json has all)", "dim"))
            break
        if line.new is not None:
            run, buffer, mark = new[0].runs[line.new], new[1], marks[1][line.new]
        else:
            assert line.old is not None
            run, buffer, mark = old[0].runs[line.old], old[1], marks[0][line.old]
        if line.old is not None:
            if last >= 0 and line.old > last + 1:
                lines.append(Text("  ..."))
            last = line.old
        sign = " " if line.old is not None and line.new is not None else "-" if line.new is None else "+"
        lines += _signed(sign, f"{mark}{describe(run, buffer)}", width)
    return lines


def _marks(runs: Sequence[Run]) -> list[str]:
    """A bracket around runs that alternate."""
    marks: list[str] = []
    for group in groups(runs):
        last = len(group) - 1
        marks += [""] if not last else ["┌ ", *["│ "] * (last - 1), "└ "]
    return marks


# --- findings


def _finding_lines(result: ComparisonResult, width: int) -> list[Text]:
    changes = result.differences.findings
    lines: list[Text] = []
    for change in sorted(changes, key=_severity, reverse=True):
        for sign, finding in (("-", change.old), ("+", change.new)):
            if finding is None:
                continue
            where = f" ({finding.where})" if finding.where else ""
            first = f"{sign} {finding.severity:<7}  "
            told = paragraph(f"{finding.id}: {finding.message}{where}", width, first=first, indent=" " * len(first))
            for line in told:
                line.stylize(_STYLES[sign])
            lines += told
            if change.old is None and finding.advice:
                lines += paragraph(
                    finding.advice, width, first=" " * len(first) + "-> ", indent=" " * len(first) + "   "
                )
    same = len(result.new.findings) - sum(change.new is not None for change in changes)
    if lines and same:
        lines.append(Text(f"{_count(same, 'finding')} {'is' if same == 1 else 'are'} the same as before"))
    return lines


def _severity(change: FindingChange) -> int:
    return max(one.severity.rank for one in (change.old, change.new) if one is not None)


# --- CPUs


def _row_lines(result: ComparisonResult, width: int) -> list[Text]:
    changes = result.differences.rows
    decide = [change for change in changes if change.decides]
    others = [change for change in changes if not change.decides]
    affected = bool(decide) and all(_row_of(result, change).l1tf_affected for change in decide)
    title = "CPUs with L1TF" if affected and any(not row.decides for row in result.new.rows) else "verdicts"
    lines = [Text(title, "bold"), *_row_table(result, decide, width)] if decide else []
    if others:
        count = Counter(_before_after(*_verdicts(result, change)) for change in others for _ in change.cpus)
        without = "" if any(_row_of(result, change).l1tf_affected for change in others) else " without L1TF"
        told = ", ".join(f"{number} {verdict}" for verdict, number in count.items())
        also = "also " if decide else ""
        text = f"it {also}differs on {_count(count.total(), 'CPU')}{without}: {told}; --every-cpu shows them"
        lines += paragraph(text, width)
    if changes:
        total = _cpus(result.new.rows) or _cpus(result.old.rows)
        same = total - sum(max(len(change.cpus), 1) for change in changes)
        lines += [Text(f"{_count(same, 'other CPU')} {'is' if same == 1 else 'are'} as before")] if same > 0 else []
    return lines


def _verdicts(result: ComparisonResult, change: RowChange) -> tuple[str, str]:
    """Before and after."""
    old = "no verdict" if change.old is None else result.old.rows[change.old].verdict.value
    new = "no verdict" if change.new is None else result.new.rows[change.new].verdict.value
    return old, new


def _cpus(rows: Sequence[Row]) -> int:
    return sum(max(len(row.cpus), 1) for row in rows)


def _row_of(result: ComparisonResult, change: RowChange) -> Row:
    """The row that tells what CPUs these are."""
    if change.new is not None:
        return result.new.rows[change.new]
    assert change.old is not None
    return result.old.rows[change.old]


def _row_table(result: ComparisonResult, changes: Sequence[RowChange], width: int) -> list[Text]:
    # What a cache needs is the difference of two of these, and no routine changes it.
    titles = ["CPU", "L1D", "policy", "has", "margin", "verdict"]
    cells = []
    for change in changes:
        one = _row_of(result, change)
        old = None if change.old is None else result.old.rows[change.old]
        new = None if change.new is None else result.new.rows[change.new]
        # A row that is not there differs in its outcome only.
        both = [[*_cells(one)[:2], "-", "", "no verdict"] if row is None else _cells(row) for row in (old, new)]
        who = ", ".join(change.titles) or names(one)
        cells.append([who, *(_before_after(a, b) for a, b in zip(*both, strict=True))])
    shape = fitted(titles, cells, width, [0, 2, 5])
    lines = [header(shape)]
    for change, told in zip(changes, cells, strict=True):
        lines += row(shape, told)
        for remark in _remarks(result, change):
            lines += paragraph(remark, width, first="    ", indent="      ")
    return lines


def _remarks(result: ComparisonResult, change: RowChange) -> Iterator[str]:
    """What the columns do not have."""
    known = {one.what: one for one in change.changes}
    for what in ("cause", "old lines left", "sets without walk"):
        # The columns say it if something is known now that was not, or not any more.
        if what in known and None not in (known[what].old, known[what].new):
            yield f"{what} {arrow(known[what])}"
    if change.old is None or change.new is None:
        return
    before = {one.policy: one for one in result.old.rows[change.old].candidates}
    together: dict[str, list[str]] = {}
    for after in result.new.rows[change.new].candidates:
        if after.policy not in before or after == before[after.policy]:
            continue
        was = before[after.policy]
        verdict = after.verdict.value if was.verdict is after.verdict else f"{was.verdict} -> {after.verdict}"
        left = f" ({was.leftovers} -> {after.leftovers} left)" if was.leftovers != after.leftovers else ""
        together.setdefault(verdict, []).append(f"{after.policy}{left}")
    for verdict, policies in together.items():
        yield f"{verdict} if it is {', '.join(policies)}"


def _cells(row: Row) -> list[str]:
    margin = "" if row.margin is None else f"{row.margin:+d}" if row.margin else "0"
    has = "-" if row.has is None else str(row.has)
    return [cache(row), row.policy, has, margin, row.verdict.value]


def _before_after(old: str, new: str) -> str:
    return new if old == new else f"{old or '-'} -> {new or '-'}"


# --- scope and conclusion


def _scope_lines(result: ComparisonResult, width: int) -> list[Text]:
    lines: list[Text] = []
    for change in result.differences.scope:
        for sign, value in (("-", change.old), ("+", change.new)):
            if value is not None:
                lines += _signed(sign, f"{change.what}: {value}", width)
    return lines


def _conclusion(result: ComparisonResult, width: int) -> list[Text]:
    told = paragraph(result.summary, width)
    told[0].stylize(_EFFECT_STYLES[result.effect], 0, len(in_words(result.effect)))
    return [*told, *_verdict_lines(result, width), Text(f"exit status {result.exit_status}")]


def _compared_lines(result: ComparisonResult, width: int) -> list[Text]:
    """What was looked at, where nothing differs."""
    return [] if _differs(result) or result.not_followed else paragraph(_compared(result), width)


def _differs(result: ComparisonResult) -> bool:
    found = result.differences
    return bool(found.verdict or found.buffer or found.paths or found.findings or found.rows or found.scope)


def _compared(result: ComparisonResult) -> str:
    new = result.new
    runs = sum(len(path.runs) for path in new.paths)
    parts = [f"the verdict, {_count(len(new.paths), 'path')} with {_count(runs, 'run')} of events"]
    parts.append("the buffer's extent" if new.buffer is not None else "that no buffer is walked")
    parts.append(_count(len(new.findings), "finding"))
    parts.append(f"verdict, margin and old lines left on {_count(_cpus(new.rows), 'CPU')}")
    return f"compared and the same: {', '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
