"""``l1dflush help``: the pages of the manual, which come with the package."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Page
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

_EXAMPLES = """\b
Examples:
  l1dflush help            what there is to read
  l1dflush help cpus       the catalogue, and how to add a CPU to it
  l1dflush verify --help   the options of a verb
"""
_PACKAGE = Path(__file__).parents[1]
# Where the package was installed to, and where it is in a checkout.
_FOLDERS = (_PACKAGE / "docs", _PACKAGE.parents[1] / "docs")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("help", epilog=_EXAMPLES, short_help="Show a page of the manual.")(help_page)


def help_page(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="A page; without one, the list of pages.")
    ] = None,
    no_color: options.NoColor = False,
) -> Outcome:
    """Show a page of the manual, or the list of all pages. What a verb's options are its --help says."""
    pages = _pages()
    if topic is None:
        return Outcome(0, Page(partial(_listed, pages), no_color))
    name = topic.strip().casefold().removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        near = get_close_matches(name, pages, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"there is no page '{topic[:80]}'", hint=f"{meant}'l1dflush help' lists them")
    text = pages[name].read_text(encoding="utf-8")

    def lines(width: int) -> list[Text]:
        from l1dflush.report.manual import manual_lines  # noqa: PLC0415

        return manual_lines(text, width)

    return Outcome(0, Page(lines, no_color))


def _pages() -> dict[str, Path]:
    """The files of the manual by topic."""
    folder = next((one for one in _FOLDERS if one.is_dir()), None)
    if folder is None:
        raise InputError("the manual is not there", where=str(_FOLDERS[0]), hint="install the package again")
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def _listed(pages: dict[str, Path], width: int) -> list[Text]:
    from l1dflush.report.layout import table  # noqa: PLC0415

    rows = []
    for name, path in pages.items():
        with path.open(encoding="utf-8") as file:
            rows.append((name, re.sub(r"[`#]", "", file.readline()).strip()))
    return table(("topic", "what is in it"), rows, width, flexible=(1,))
