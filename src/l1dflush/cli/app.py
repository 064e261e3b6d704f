"""The verbs put together. Importing this module takes the time that parsing a command line needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from l1dflush import __version__
from l1dflush.cli.failure import VERBS
from l1dflush.cli.output import Outcome

_HELP = "Proves that an L1 data cache flush leaves nothing behind, or shows the state in which a line survives."
_EXAMPLES = """\b
Examples:
  l1dflush verify linux-4.9.120           the flush of Linux, on all CPUs
  l1dflush verify fix.patch               from a patch, a mail, C, assembly
  l1dflush verify entry.o --json          or from an object file
  l1dflush size --cpu skylake             how many accesses are enough
  l1dflush plan --cpu skylake --emit c    the cheapest flush that is enough
  l1dflush trace openbsd                  what a flush does, in order
  l1dflush explain no-fence               what a finding means
  l1dflush help verify                    a page of the manual

Exit status: 0 proved, 1 error, 2 refuted, 3 undecided, 130 interrupted.
"""


# Verbs whose module is not called as they are.
_MODULES = {"help": "help_pages", "what-if": "what_if"}


def command(arguments: Sequence[str] = ()) -> Any:
    """The command line as one command object: that of all verbs, or of the one that ``arguments`` begin with."""
    verbs = arguments[:1] if arguments and arguments[0] in VERBS else VERBS
    app = typer.Typer(
        name="l1dflush",
        help=_HELP,
        epilog=_EXAMPLES,
        add_completion=False,
        # Plain help is quick, can be grepped, and looks the same everywhere.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_no_verb)
    for verb in verbs:
        import_module(f"l1dflush.cli.{_MODULES.get(verb, verb)}").register(app)
    return typer.main.get_command(app)


def exits() -> type[typer.Exit]:
    """What ``--help`` and ``--version`` raise when they have said everything."""
    return typer.Exit


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"l1dflush {__version__}")
        raise typer.Exit


def _no_verb(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> Outcome | None:
    if context.invoked_subcommand is None:
        return Outcome(1, message=f"which verb?\n{context.get_help()}")
    return None
