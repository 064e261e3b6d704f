# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush help``: the pages of the manual, which come with the package."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.values import FOLDER, TOPIC
from l1dflush.cli.verbs import VERBS
from l1dflush.errors import InputError, one_line

if TYPE_CHECKING:
    from rich.text import Text

_EXAMPLES = """\b
Examples:
  l1dflush help            what there is to read
  l1dflush help cpus       the catalogue, and how to add a CPU to it
  l1dflush verify --help   the options of a verb
  l1dflush help --man DIR  pages for man(1)
"""
_PACKAGE = Path(__file__).parents[1]
# Where the package was installed to, and where it is in a checkout.
_FOLDERS = (_PACKAGE / "docs", _PACKAGE.parents[1] / "docs")


@verb("help", epilog=_EXAMPLES)
@argument(
    "topic", metavar="[TOPIC]", required=False, type=TOPIC, told="A page, or a verb; without one, the list of pages."
)
@click.option(
    "--man", metavar="DIR", type=FOLDER, help="Write the pages for man(1), one for each verb, to this folder."
)
@options.no_color
def help_page(*, topic: str | None, man: Path | None, no_color: bool) -> Outcome:
    """Show a page of the manual, or the list of all pages. For a verb's options, see its --help."""
    if man is not None:
        if topic is not None:
            raise InputError("--man writes all pages", hint="leave out the topic")
        return _written(man)
    pages = _pages()
    if topic is None:
        return Outcome(0, Page(partial(_listed, pages), no_color))
    name = topic.strip().casefold().removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        if name in VERBS:
            return Outcome(0, _verb_help(name))
        near = get_close_matches(name, topics(), n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"there is no page {topic[:80]!r}", hint=f"{meant}'l1dflush help' lists them")
    text = pages[name].read_text(encoding="utf-8")

    def lines(width: int) -> list[Text]:
        from l1dflush.report.manual import manual_lines

        return manual_lines(text, width)

    return Outcome(0, Page(lines, no_color))


def topics() -> list[str]:
    """What there is help about."""
    return list(dict.fromkeys([*_pages(), *VERBS]))


def _verb_help(name: str) -> str:
    from l1dflush.cli.app import verb_context

    with verb_context(name) as context:
        return f"{context.get_help()}\n"


def _written(folder: Path) -> Outcome:
    from l1dflush.cli.man_pages import man_pages

    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), hint="make it first")
    pages = man_pages()
    for name, text in pages.items():
        write_whole(folder / name, text.encode("utf-8"))
    return Outcome(0, message=f"{len(pages)} pages were written to {one_line(str(folder))}")


def _pages() -> dict[str, Path]:
    """The files of the manual by topic."""
    folder = next((one for one in _FOLDERS if one.is_dir()), None)
    if folder is None:
        raise InputError("the manual is not there", where=str(_FOLDERS[0]), hint="install the package again")
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def _listed(pages: dict[str, Path], width: int) -> list[Text]:
    from l1dflush.report.layout import table

    rows = []
    for name, path in pages.items():
        with path.open(encoding="utf-8") as file:
            rows.append((name, re.sub(r"[`#]", "", file.readline()).strip()))
    return table(("topic", "what is in it"), rows, width, flexible=(1,))
