# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verb is made of: a command with its examples, and arguments that have a help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from l1dflush.cli.output import Outcome
from l1dflush.cli.verbs import VERBS
from l1dflush.errors import InputError

_F = TypeVar("_F", bound=Callable[..., Any])


class VerbCommand(click.Command):
    """A command whose help lists its arguments before its options, and which shows the defaults of these."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the words of the command line. Raises InputError for an option that is given twice and has one value:
        of two only the last would count."""
        if not ctx.resilient_parsing:
            *_, order = self.make_parser(ctx).parse_args(args=list(args))
            once = [one for one in order if isinstance(one, click.Option) and not (one.multiple or one.is_flag)]
            twice = next((one for at, one in enumerate(once) if one in once[:at]), None)
            if twice is not None:
                raise InputError("it is given twice, and has one value", where=max(twice.opts, key=len))
        return super().parse_args(ctx, args)

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
