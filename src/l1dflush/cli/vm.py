# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush vm``: a guest that runs here, with a flush before each entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush import arguments
from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.cli.values import POLICY, TEXT_FILE, OneOf, Whole, words
from l1dflush.errors import InputError
from l1dflush.vmentry.kvm.names import Flush
from l1dflush.vmentry.subsystem import WRITABLE, Mode

if TYPE_CHECKING:
    from l1dflush.vmentry.kvm.guest_code import GuestCode
    from l1dflush.vmentry.kvm.model import VmResult

_MEMORY = 1 << 20
_PORTS = 1 << 16
_EXAMPLES = """\b
Examples:
  l1dflush vm --demo               never, cond and always, and what each costs
  l1dflush vm GUEST.s --mode cond  a guest of your own, in real mode
  l1dflush vm GUEST.s --long-mode --variant planned --policy tree-PLRU

A guest in assembly is loaded at 0x8000 and starts at _start or its first instruction; hlt ends it.

Exit status: 0 it ran to its end, 1 it did not, or error, 3 there is no KVM here, 130 interrupted.
"""


_ALL = "all"


@verb("vm", epilog=_EXAMPLES)
@argument(
    "source",
    metavar="[GUEST.s]",
    required=False,
    type=TEXT_FILE,
    told="Assembly for GNU as, - for standard input.",
)
@click.option("--demo", is_flag=True, help="A guest with 200 port exits, every 50th handled with a secret, and hlt.")
@click.option(
    "--mode",
    type=OneOf(lambda: words(WRITABLE)),
    help="When to flush.  [default: always; for --demo never, cond and always]",
    show_default=False,
)
@click.option("--times", metavar="N", type=Whole(min=1), default=5, help="Start the guest N times.")
@click.option(
    "--entries",
    metavar="N",
    type=Whole(min=1),
    help="Start it again until there were N entries instead.",
)
@click.option("--long-mode", is_flag=True, help="64-bit mode; else it starts in real mode.")
@click.option("--memory", metavar="SIZE", help="The guest's memory.  [default: 1M]", show_default=False)
@options.max_seconds
@click.option("--variant", type=OneOf(lambda: words(Flush) | {_ALL: None}), default=_ALL, help="Which flush.")
@click.option(
    "--policy",
    metavar="NAME",
    type=POLICY,
    help="What planned and steady are planned for.  [default: the catalogue's]",
    show_default=False,
)
@click.option(
    "--secret-port",
    metavar="N",
    type=Whole(0, _PORTS - 1),
    default=0x10,
    help="Accesses to this port are handled with a secret; others are only counted.  [default: 16 (0x10)]",
    show_default=False,
)
@options.json
@options.no_color
def vm(
    *,
    source: str | None,
    demo: bool,
    mode: Mode | None,
    times: int,
    entries: int | None,
    long_mode: bool,
    memory: str | None,
    max_seconds: float | None,
    variant: Flush | None,
    policy: str | None,
    secret_port: int,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Run a guest through /dev/kvm with the flush before each VM entry, and count exits, flushes and nanoseconds per
    entry, without a flush and with each."""
    if demo is (source is not None):
        raise InputError("give a guest, or --demo", hint="one of the two")
    if demo and long_mode:
        raise InputError("the demonstration is for real mode", where="--long-mode")
    size, limit = arguments.size(arguments.MEMORY, memory) or _MEMORY, arguments.seconds(max_seconds)

    with progress("running ..."):
        from l1dflush.vmentry.kvm.vm import Kvm

        # Before the assembler: without it there is no use for the code.
        Kvm().close()
        from l1dflush.silicon.flush_plan import Request
        from l1dflush.vmentry.kvm import session as kvm_session

        usual = (Mode.COND, Mode.ALWAYS) if demo else (Mode.ALWAYS,)
        asked = kvm_session.Asked(
            _code(source, long_mode),
            usual if mode is None else (mode,),
            tuple(Flush) if variant is None else (variant,),
            every=variant is not None,
            times=times,
            entries=entries,
            memory=size,
            seconds=limit,
            secret_port=secret_port,
            request=Request(policy=policy),
        )
        result = kvm_session.run(asked)
    return _outcome(result, json, no_color)


def _outcome(result: VmResult, json: bool, no_color: bool) -> Outcome:
    from l1dflush.report.terminal.vm import told, vm_lines

    status = result.exit_status
    message = f"the guest did not run to its end: {told(result)}" if status else ""
    if json:
        return Outcome(status, result.to_json(), message)
    return Outcome(status, Page(lambda width: vm_lines(result, width), no_color), message)


def _code(source: str | None, long_mode: bool) -> GuestCode:
    from l1dflush.vmentry.kvm import guest_code

    if source is None:
        return guest_code.demo()
    if source != "-" and not Path(source).exists():
        raise InputError("there is no such file", where=source)
    from l1dflush.routine.detect import as_text
    from l1dflush.routine.load import read_input

    return guest_code.from_assembly(source, as_text(read_input(source)), long_mode=long_mode)
