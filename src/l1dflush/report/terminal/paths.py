# SPDX-License-Identifier: GPL-2.0-or-later
"""The paths of a routine for a person: what each does, and what decides which one is taken."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.in_words import in_words
from l1dflush.report.layout import paragraph
from l1dflush.report.terminal.runs import own_accesses, own_text, walk_text
from l1dflush.verdict.cases import cases
from l1dflush.verdict.verify_result import BufferInfo, PathInfo

# So many are listed one by one.
MAX_PATHS = 8

# Kinds of events that tell how a path flushes.
_FLUSHING = frozenset({"fence", "serialise", "flush-all"})


def path_lines(paths: Sequence[PathInfo], buffer: BufferInfo | None, width: int) -> list[Text]:
    """What each path does; paths that do the same are told once, each with what decides it. Where they are many,
    decisions that make no difference are left out."""
    if not paths:
        return []
    if len(paths) == 1:
        text = _what(paths, buffer).removeprefix(f"{in_words('software-walk')}: ")
        return paragraph(text, width, first="trace   = ", indent=" " * 10)
    many = len(paths) > MAX_PATHS
    kinds = [_rough_kind(path, buffer) if many else _kind(path, buffer) for path in paths]
    alike: dict[str, list[PathInfo]] = {}
    for path, kind in zip(paths, kinds, strict=True):
        alike.setdefault(kind, []).append(path)
    reasons = cases([(_said(path), kind) for path, kind in zip(paths, kinds, strict=True)]) if many else {}
    lines = [Text(f"{len(paths)} paths:")]
    for kind, members in list(alike.items())[:MAX_PATHS]:
        times = f"{len(members)} x " if len(members) > 1 else ""
        what = kind if many else _what(members, buffer)
        lines += paragraph(f"{times}{what}", width, first="  - ", indent="    ")
        lines += _decision_lines(reasons[kind] if many else [_said(path) for path in members], width)
    if len(alike) > MAX_PATHS:
        lines.append(Text(f"  and {len(alike) - MAX_PATHS} other kinds of paths (l1dflush trace has all)", "dim"))
    return lines


def _decision_lines(decided: Sequence[tuple[str, ...]], width: int) -> list[Text]:
    """The ways to what paths do; what all of them have in common is told once."""
    common = [one for one in decided[0] if all(one in decisions for decisions in decided)]
    rest = [tuple(one for one in decisions if one not in common) for decisions in decided]
    start, first = "if ", " " * 6
    lines: list[Text] = []
    if len(decided) > 1 and common and all(rest):
        lines += paragraph(f"if {' and '.join(common)}, and one of", width, first=first, indent=" " * 8, style="dim")
        start, first, decided = "- ", " " * 8, rest
    for decisions in decided[:MAX_PATHS]:
        if decisions:
            text = f"{start}{' and '.join(decisions)}"
            lines += paragraph(text, width, first=first, indent=f"{first}  ", style="dim")
    if len(decided) > MAX_PATHS:
        lines.append(Text(f"{first}and {len(decided) - MAX_PATHS} other cases", "dim"))
    return lines


def _said(path: PathInfo) -> tuple[str, ...]:
    return tuple(map(str, path.decisions))


def _kind(path: PathInfo, buffer: BufferInfo | None) -> str:
    """What a path does, as far as its flush goes."""
    return f"{in_words(path.outcome)}: {walk_text(path.runs, buffer)}{f'; then {path.end}' if path.end else ''}"


def _rough_kind(path: PathInfo, buffer: BufferInfo | None) -> str:
    """The same without what else it does on the way."""
    runs = [run for run in path.runs if run.is_in(buffer) or run.kind in _FLUSHING]
    outcome = in_words(path.outcome)
    return f"{outcome}: {walk_text(runs, buffer)}" if runs and path.outcome != "skipped" else outcome


def _what(members: Sequence[PathInfo], buffer: BufferInfo | None) -> str:
    first = members[0]
    text = f"{in_words(first.outcome)}: {walk_text(first.runs, buffer)}"
    text += own_text([own_accesses(path.runs, buffer) for path in members])
    return text + (f"; then {first.end}" if first.end else "")
