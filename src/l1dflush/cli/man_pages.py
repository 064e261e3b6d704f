# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages for man(1), made from the commands themselves: one for the program and one for each verb.

What they are written in is groff's man(7). Only macros that mandoc knows as well are used.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

import click

from l1dflush import __version__
from l1dflush.cli.app import NAME, verb_context, whole_context
from l1dflush.cli.command import Argument
from l1dflush.cli.verbs import VERBS

_SUMMARY = "prove that an L1 data cache flush leaves nothing behind"
# What groff would make typographic signs of, or take for its own.
_SIGNS = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
# Marks a paragraph whose lines stay as they are, as in the help text.
_VERBATIM = "\b"


def man_pages() -> dict[str, str]:
    """The texts by the names of their files."""
    with whole_context() as context:
        listed = [(f"{NAME}-{name}(1)", verb.summary) for name, verb in VERBS.items()]
        pages = {f"{NAME}.1": _page(context, NAME, _SUMMARY, _section("VERBS", _list(listed)), VERBS)}
    for name, verb in VERBS.items():
        with verb_context(name) as context:
            summary = verb.summary[:1].lower() + verb.summary[1:].rstrip(".")
            pages[f"{NAME}-{name}.1"] = _page(context, f"{NAME}-{name}", summary, (), ())
    return pages


def _page(context: click.Context, title: str, summary: str, verbs: Iterable[str], others: Iterable[str]) -> str:
    command = context.command
    arguments = [(one.metavar or "", one.told) for one in command.params if isinstance(one, Argument)]
    records = (one.get_help_record(context) for one in command.get_params(context) if isinstance(one, click.Option))
    options = [record for record in records if record is not None]
    usage = command.collect_usage_pieces(context)
    lines = [
        f'.TH {_escaped(title.upper())} 1 "" "{NAME} {__version__}" "{NAME}"',
        *_section("NAME", [f"{_escaped(title)} \\- {_escaped(summary)}"]),
        *_section("SYNOPSIS", [rf"\fB{_escaped(context.command_path)}\fR {_escaped(' '.join(usage))}"]),
        *_section("DESCRIPTION", _paragraphs(_blocks(command.help))),
        *_section("ARGUMENTS", _list(arguments)),
        *_section("OPTIONS", _list(options)),
        *verbs,
        *_epilog(command.epilog),
        *_section("SEE ALSO", [_escaped(", ".join(f"{one}(1)" for one in _seen_from(title, others)) + ".")]),
    ]
    return "".join(f"{line}\n" for line in lines)


def _seen_from(title: str, others: Iterable[str]) -> list[str]:
    return [f"{NAME}-{name}" for name in others] if title == NAME else [NAME]


def _epilog(epilog: str | None) -> Iterator[str]:
    """Sections of what stands below the options: a paragraph that begins with a title is one."""
    for block in _blocks(epilog):
        title, _, rest = block.removeprefix(f"{_VERBATIM}\n").partition(":")
        if block.startswith(_VERBATIM):
            yield from _section(title.upper(), [".nf", *map(_line, rest.strip("\n").split("\n")), ".fi"])
        elif rest and len(title.split()) <= 4:
            yield from _section(title.upper(), _paragraphs([rest]))
        else:
            yield from _section("NOTES", _paragraphs([block]))


def _blocks(text: str | None) -> list[str]:
    return [block for block in inspect.cleandoc(text or "").split("\n\n") if block.strip()]


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    there = list(lines)
    if there:
        yield from (f".SH {_escaped(title)}", *there)


def _paragraphs(blocks: Iterable[str]) -> Iterator[str]:
    for number, block in enumerate(blocks):
        if number:
            yield ".PP"
        yield _line(" ".join(block.split()))


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for what, told in rows:
        yield from (".TP", rf"\fB{_escaped(what)}\fR", _line(" ".join(told.split())))


def _line(text: str) -> str:
    """A line of text that is not a request, whatever it begins with."""
    escaped = _escaped(text)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


def _escaped(text: str) -> str:
    return text.translate(_SIGNS)
