# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``cost`` for a person: the exits, the flushes under each mode, and the time that they take."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.report.layout import Column, header, paragraph, row, safe
from l1dflush.vmentry.cost.model import CostResult, CountsInfo, LossInfo, ReasonInfo

_MOST_REASONS = 16
_REASON = 19
# So many flushes fit beside the reasons.
_BESIDE = 3


def cost_lines(result: CostResult, width: int) -> list[Text]:
    """The whole report."""
    lines = [Text(safe(f"{result.trace.name}: {result.trace.exits} VM exits"), "bold")]
    lines += _trace_lines(result, width)
    for doubt in result.doubts:
        lines += paragraph(doubt, width, first="  doubt  ", indent=" " * 9, style="yellow")
    lines += [Text(), *_counts(result, width)]
    lines += [Text(), *_totals(result, width)]
    for first in range(0, len(result.flushes), _BESIDE):
        lines += [Text(), *_by_reason(result, first, width)]
    return lines


def shown_reasons(result: CostResult) -> list[ReasonInfo]:
    """Those that have a row of their own."""
    return list(result.reasons[:_MOST_REASONS])


def left_out(result: CostResult) -> Sequence[ReasonInfo]:
    """The others, which have a row together."""
    return result.reasons[_MOST_REASONS:]


def summed(several: Sequence[CountsInfo], loss: int) -> tuple[float, float]:
    """Seconds under cond at most and under always, of the flush number ``loss``."""
    return (
        sum(one.losses[loss].cond_at_most_seconds for one in several),
        sum(one.losses[loss].always_seconds for one in several),
    )


def _trace_lines(result: CostResult, width: int) -> list[Text]:
    there = result.trace
    parts = [f"{there.seconds:.6g} s", f"{there.cpus} CPU{'' if there.cpus == 1 else 's'}", f"{there.lines} lines"]
    if there.entries:
        parts.append(f"{there.entries} entries")
    if there.requests:
        parts.append(f"{there.requests} events that ask for a flush")
    if there.seconds:
        parts.append(f"{there.exits / there.seconds:.4g} exits per second")
    if there.guest_share is not None:
        parts.append(f"{there.guest_share:.1%} of the CPU time in guests")
    return paragraph(", ".join(parts), width, first="  trace  ", indent=" " * 9, style="dim")


def _counts(result: CostResult, width: int) -> list[Text]:
    shape = [
        Column("exit reason", _REASON),
        Column("asks", 5),
        Column("share", 6, right=True),
        Column("cond at least", 13, right=True),
        Column("cond at most", 12, right=True),
        Column("always", 12, right=True),
    ]
    lines = [Text("flushes before the entries that follow", "bold"), header(shape)]
    for one in shown_reasons(result):
        lines += row(shape, _count_cells(one.reason, one.flag.value, one))
    rest = left_out(result)
    if rest:
        sums = [sum(getattr(one, key) for one in rest) for key in ("cond_at_least", "cond_at_most", "always")]
        share = f"{sum(one.share for one in rest):.1%}"
        lines += row(shape, [f"{len(rest)} others", "", share, *map(str, sums)])
    lines += row(shape, _count_cells("all", "", result.total), styles=["bold"] * len(shape))
    text = (
        "asks: set: such an exit always asks for a flush under cond; maybe: it depends on what the guest wanted; none:"
        " only if the host is interrupted in the meantime, which counts where the trace shows it"
    )
    return [*lines, *paragraph(text, width, indent="  ", style="dim")]


def _count_cells(name: str, flag: str, one: CountsInfo) -> list[str]:
    return [safe(name), flag, f"{one.share:.1%}", str(one.cond_at_least), str(one.cond_at_most), str(one.always)]


def _totals(result: CostResult, width: int) -> list[Text]:
    shape = [
        Column("time lost", 12),
        Column("a flush", 11, right=True),
        Column("cond", 23, right=True),
        Column("always", 10, right=True),
        Column("share of CPU", 16, right=True),
    ]
    lines = [header(shape)]
    for flush, loss in zip(result.flushes, result.total.losses, strict=True):
        cells = [
            flush.name,
            f"{flush.nanoseconds:.6g} ns",
            f"{_seconds(loss.cond_at_least_seconds)} to {_seconds(loss.cond_at_most_seconds)}",
            _seconds(loss.always_seconds),
            _shares(loss),
        ]
        lines += row(shape, cells)
    for source in dict.fromkeys(flush.source for flush in result.flushes):
        names = ", ".join(flush.name for flush in result.flushes if flush.source == source)
        lines += paragraph(f"{names}: {source}", width, indent="  ", style="dim")
    text = (
        "share of CPU: of the CPU time traced, under cond at most and under always. Not counted: the misses of guest"
        " and host after a flush, whose lines are gone"
    )
    return [*lines, *paragraph(text, width, indent="  ", style="dim")]


def _shares(loss: LossInfo) -> str:
    if loss.cond_at_most_share is None or loss.always_share is None:
        return "-"
    return f"{_percent(loss.cond_at_most_share)}, {_percent(loss.always_share)}"


def _by_reason(result: CostResult, first: int, width: int) -> list[Text]:
    flushes = result.flushes[first : first + _BESIDE]
    second = result.trace.seconds
    unit = "milliseconds lost per second" if second else "milliseconds lost"
    shape = [Column("exit reason", _REASON)]
    for flush in flushes:
        shape += [
            Column(f"{flush.name} cond", min(max(9, len(flush.name)), 10), right=True),
            Column("always", 7, right=True),
        ]
    lines = [Text(f"{unit}, all CPUs together: cond at most, always", "bold")]
    lines += row(shape, [one.title for one in shape], styles=["bold"] * len(shape))
    groups: list[tuple[str, Sequence[CountsInfo]]] = [(one.reason, [one]) for one in shown_reasons(result)]
    if left_out(result):
        groups.append((f"{len(left_out(result))} others", left_out(result)))
    groups.append(("all", [result.total]))
    for name, several in groups:
        cells = [safe(name)]
        for number in range(first, first + len(flushes)):
            cells += [f"{lost / (second or 1) * 1e3:.3g}" for lost in summed(several, number)]
        lines += row(shape, cells, styles=["bold" if name == "all" else ""] * len(shape))
    return lines


def _seconds(value: float) -> str:
    for scale, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * scale >= 1:
            return f"{value * scale:.4g} {unit}"
    return "0 s" if not value else f"{value * 1e9:.4g} ns"


def _percent(share: float) -> str:
    return f"{share * 100:.2g}%" if share < 0.1 else f"{share:.1%}"
