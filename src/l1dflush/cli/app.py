# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs put together. Importing this module takes the time that parsing a command line needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from l1dflush import __version__
from l1dflush.cli.output import Outcome
from l1dflush.cli.verbs import VERBS
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

NAME = "l1dflush"
# What there is of another name, for those who look for it under this one.
_ELSEWHERE = {
    "certificate": f"'{NAME} verify ROUTINE --certificate FILE' writes one, '{NAME} check FILE' checks it; ",
    "compare": f"'{NAME} verify NEW --against OLD' compares; ",
    "needs": f"'{NAME} size' says how many accesses are needed; ",
    "survivors": f"'{NAME} size --policy NAME --ways N' has the curve; ",
}
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


class Verbs(click.Group):
    """All verbs, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help text."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name, None if there is none."""
        return load(cmd_name) if cmd_name in VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that ``args`` begin with. Raises InputError if there is none."""
        if args[0] not in VERBS and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=3, cutoff=0.5)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            meant = _ELSEWHERE.get(args[0].casefold(), meant)
            raise InputError(f"there is no verb {args[0][:80]!r}", hint=f"{meant}'{NAME} --help' lists them")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what each verb does."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs and options that begin so."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=verb.summary) for name, verb in VERBS.items() if name.startswith(incomplete)]
        # As of a command that is not a group: a group would import them all.
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


def load(name: str) -> click.Command:
    """The command of one of the verbs that there are."""
    module = import_module(f"l1dflush.cli.{VERBS[name].module}")
    (found,) = (one for one in vars(module).values() if isinstance(one, click.Command) and one.name == name)
    return found


def command(arguments: Sequence[str] = ()) -> click.Group:
    """The command line as one command; the verb that ``arguments`` begin with is loaded."""
    if arguments and arguments[0] in VERBS:
        load(arguments[0])
    return l1dflush


def verb_context(name: str) -> click.Context:
    """The context of a verb that is not run: for its help."""
    return load(name).make_context(name, [], parent=whole_context(), resilient_parsing=True)


def whole_context() -> click.Context:
    """The same of the program itself."""
    return l1dflush.make_context(NAME, [], resilient_parsing=True)


def outcome(whole: click.Group, arguments: Sequence[str]) -> object:
    """What the verb in ``arguments`` returns, or the status with which ``--help`` and ``--version`` end. Raises what
    the verb raises, and ClickException for a command line that cannot be parsed."""
    try:
        with whole.make_context(NAME, list(arguments)) as context:
            return context.command.invoke(context)
    except click.exceptions.Exit as stopped:
        return stopped.exit_code


@click.group(
    NAME,
    cls=Verbs,
    help=_HELP,
    epilog=_EXAMPLES,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name=NAME, message="%(prog)s %(version)s")
@click.pass_context
def l1dflush(context: click.Context) -> Outcome | None:
    """What is done before any verb."""
    if context.invoked_subcommand is None:
        return Outcome(1, message=f"which verb?\n{context.get_help()}")
    return None
