# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``vm`` for a person: counts and times by mode and flush, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from l1dflush.in_words import in_words
from l1dflush.report.layout import fitted, header, paragraph, row, safe
from l1dflush.vmentry.kvm.model import VmResult, VmRow
from l1dflush.vmentry.kvm.names import GOOD, Ending

_ENDINGS = {
    Ending.HALTED: "it halted",
    Ending.ENOUGH: "it was stopped after as many entries as were asked for",
    Ending.TIME: "it was stopped at the time limit (--max-seconds)",
    Ending.CRASHED: "it crashed: triple fault",
    Ending.ENTRY_FAILED: "the CPU refused the entry",
    Ending.KVM_ERROR: "KVM gave up on it",
    Ending.UNKNOWN_EXIT: "an exit that is not handled here",
}


def vm_lines(result: VmResult, width: int) -> list[Text]:
    """The whole report."""
    guest, host = result.guest, result.host
    mode = "long mode" if guest.long_mode else "real mode"
    title = f"{guest.name}: {guest.size} bytes, {mode}, {guest.memory >> 10} KiB of memory"
    lines = paragraph(title, width, style="bold")
    parts = [host.cpu or "a CPU without a name", f"kernel {host.kernel}"]
    if host.on_cpu >= 0:
        parts.insert(0, f"CPU {host.on_cpu}")
    if host.l1tf:
        parts.append(f"L1TF: {host.l1tf}")
    if host.kernel_flush:
        parts.append(f"the kernel's own flush: {host.kernel_flush}")
    lines += _named("on", ", ".join(parts), width)
    lines += [Text(), *_counts(result.rows, width)]
    lines += _named("exits", _exits(result), width)
    lines += _named("end", told(result), width, style="bold red" if result.exit_status else "")
    lines += [Text(), *_times(result.rows, width)]
    loop = result.loop
    text = (
        f"the Python loop takes {loop.timed} ns of each entry; with the handling of its exit it takes {loop.whole} ns"
    )
    lines += _named("loop", text, width)
    for flush, scope in {one.flush: one.scope for one in result.rows if one.flush and one.scope}.items():
        lines += _named(flush, scope, width)
    for flush, why in result.not_run.items():
        lines += _named(flush, f"not run: {why}", width, style="dim")
    lines += [Text(), Text("what a flush from user space can and cannot promise", "bold")]
    for text in result.promise:
        lines += paragraph(text, width, first="  - ", indent="    ")
    return lines


def told(result: VmResult) -> str:
    """How the guest ended, in words: the first ending that is not good, if there is one."""
    last = next((one for one in result.rows if one.ending not in GOOD), result.rows[-1])
    return _ENDINGS[last.ending] + (f" ({safe(last.said)})" if last.said else "")


def _named(name: str, text: str, width: int, *, style: str = "") -> list[Text]:
    return paragraph(text, width, first=f"  {name:<8} ", indent=" " * 11, style=style)


def _which(row: VmRow) -> str:
    if row.flush is None:
        return "none"
    return row.flush if row.flush_bytes is None else f"{row.flush}, {row.flush_bytes >> 10} KiB"


def _counts(rows: Sequence[VmRow], width: int) -> list[Text]:
    cells = [(one.mode, _which(one), *map(str, (one.runs, one.entries, one.sensitive, one.flushes))) for one in rows]
    return _table(("mode", "flush", "starts", "entries", "sensitive", "flushes"), cells, width)


def _times(rows: Sequence[VmRow], width: int) -> list[Text]:
    cells = []
    for one in rows:
        taken = one.nanoseconds
        if taken is not None:
            more = "" if one.more is None else f"{one.more:+d}"
            cells.append((one.mode, _which(one), *map(str, (taken.low, taken.median, taken.high, taken.mean)), more))
    titles = ("ns an entry", "flush", "25%", "median", "75%", "mean", "more (median)")
    return _table(titles, cells, width)


def _table(titles: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[Text]:
    """Two columns of names, and numbers."""
    columns = [
        replace(column, right=number > 1) for number, column in enumerate(fitted(titles, cells, width, flexible=(1,)))
    ]
    return [header(columns), *(line for one in cells for line in row(columns, one))]


def _exits(result: VmResult) -> str:
    """Of the first row; they are the guest's, so the same in all but for signals."""
    first = result.rows[0]
    parts = [f"{times} {in_words(reason)}" for reason, times in first.exits.items()]
    text = ", ".join(parts) or "none"
    if first.ports:
        ports = ", ".join(
            f"{port} {times}{' (with a secret)' if int(port, 0) == result.secret_port else ''}"
            for port, times in first.ports.items()
        )
        text += f"; ports: {ports}"
    return text
