# SPDX-License-Identifier: GPL-2.0-or-later
"""What options and arguments may be: how a text becomes a value, and how a shell completes it.

Names are completed from where they are defined, which is asked then and not before: a verb that is run imports
nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from l1dflush.renamed import renamed

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    # Not every version of the library can be asked for the type of the value when it runs.
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType


def words(members: Iterable[StrEnum]) -> dict[str, StrEnum]:
    """Members of an enumeration by what a person writes for them: lower case, with hyphens."""
    return {one.value.lower().replace(" ", "-"): one for one in members}


class OneOf(_Type):
    """One of a few words. ``known`` gives them with what they mean, when somebody asks: what they are defined in may
    take long to import."""

    name = "word"

    def __init__(self, known: Callable[[], Mapping[str, object]]) -> None:
        self._known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The words, for the help text."""
        return f"<{'|'.join(self._known())}>"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the word means."""
        known = self._known()
        if value not in known:
            self.fail(renamed(value) or f"'{value}' is not one of {', '.join(known)}", param, ctx)
        return known[value]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin so."""
        return _items(self._known(), incomplete)


class Named(_Type):
    """A text that may be one of the names that ``known`` gives, or a path if ``files``. Whoever uses it says whether
    there is something of that name."""

    name = "text"

    def __init__(self, known: Callable[[click.Context], Iterable[str]], *, files: bool = False) -> None:
        self._known = known
        self._files = files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, and files."""
        found = _items(self._known(ctx), incomplete)
        if not self._files:
            return found
        # A shell completes files by itself, folder by folder, but then it shows no names.
        return found + _items(_files(incomplete), incomplete) if found else _completed_by_the_shell("file", incomplete)


class _Path(_Type):
    """A path, of which nothing is asked here. ``kind`` is the shells' word for what they complete it with."""

    name = "path"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """As a path."""
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Left to the shell."""
        return _completed_by_the_shell(self._kind, incomplete)


class Whole(click.IntRange):
    """A whole number in a range."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, if it is in the range."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"'{value}' is not a valid {self.name}", param, ctx)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            reach = f"{self.min} to {self.max}" if self.max is not None else f"{self.min} or more"
            self.fail(f"{number} is out of range ({reach})", param, ctx)
        return number


class _Number(click.types.FloatParamType):
    name = "number"


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _completed_by_the_shell(kind: str, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


def _files(incomplete: str) -> list[str]:
    folder, _, start = incomplete.rpartition("/")
    try:
        there = sorted(one.name for one in Path(folder or ".").iterdir() if one.is_file())
    except OSError:
        return []
    return [f"{folder}/{name}" if folder else name for name in there if start or not name.startswith(".")]


def _routines(_: click.Context) -> list[str]:
    from l1dflush.routine.built_in import names

    return list(names())


def _policies(_: click.Context) -> Iterable[str]:
    from l1dflush.cache.policies import NAMES

    return NAMES


def _cpus(context: click.Context) -> list[str]:
    from l1dflush.data.catalogue import cpu_names

    return cpu_names(context.params.get("cpu_folder") or ())


def _sum_routines(context: click.Context) -> list[str]:
    return ["planned", "msr", *_routines(context)]


def _scenarios(_: click.Context) -> list[str]:
    from l1dflush.vmentry.lab.scenario import shipped

    return shipped()


def _results(_: click.Context) -> Iterable[str]:
    from l1dflush.report.schemas import SCHEMAS

    return SCHEMAS


def _rules(_: click.Context) -> list[str]:
    from l1dflush.verdict.rules import RULES

    return [rule.id for rule in RULES]


def _topics(_: click.Context) -> list[str]:
    from l1dflush.cli.help_pages import topics

    return topics()


ROUTINE = Named(_routines, files=True)
POLICY = Named(_policies, files=True)
CPU = Named(_cpus)
RULE = Named(_rules)
SCENARIO = Named(_scenarios, files=True)
SUM_ROUTINE = Named(_sum_routines, files=True)
RESULT = Named(_results)
TOPIC = Named(_topics)
TEXT_FILE = Named(lambda _: (), files=True)
"""A file, as a text: - may be among them."""
NUMBER = _Number()
FILE = _Path("file")
FOLDER = _Path("dir")
