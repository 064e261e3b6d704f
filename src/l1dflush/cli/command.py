"""What a verb is made of: a command with its examples, and arguments that have a help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from l1dflush.cli.output import Outcome
from l1dflush.cli.verbs import VERBS

_F = TypeVar("_F", bound=Callable[..., Any])


class VerbCommand(click.Command):
    """A command whose help lists its arguments before its options, and which shows the defaults of these."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes both lists."""
        told = [(one.metavar or "", one.told) for one in self.params if isinstance(one, Argument)]
        if told:
            with formatter.section("Arguments"):
                formatter.write_dl(told)
        super().format_options(ctx, formatter)


class Argument(click.Argument):
    """An argument that says in the help what it is."""

    # Not `help`: some versions of click list arguments by that, with a title of their own.
    def __init__(self, *names: Any, told: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.told = told

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """How errors call it."""
        return f"'{(self.metavar or self.name or '').strip('[].')}'"


def argument(name: str, *, metavar: str, told: str, **settings: Any) -> Callable[[_F], _F]:
    """An argument of a verb: ``metavar`` stands for it in the usage line."""
    return click.argument(name, cls=Argument, metavar=metavar, told=told, **settings)


def verb(name: str, *, epilog: str = "", **settings: Any) -> Callable[[Callable[..., Outcome]], VerbCommand]:
    """Makes a function the verb ``name`` of :data:`~l1dflush.cli.verbs.VERBS`. Its docstring is the help text."""
    settings["context_settings"] = {"show_default": True} | settings.get("context_settings", {})
    return click.command(name, cls=VerbCommand, short_help=VERBS[name].summary, epilog=epilog or None, **settings)
