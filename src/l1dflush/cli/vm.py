"""``l1dflush vm``: a guest that runs here, with a flush before each entry."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.errors import InputError

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


class Writable(StrEnum):
    """Modes that ``--mode`` takes."""

    NEVER = "never"
    COND = "cond"
    ALWAYS = "always"
    AUTO = "auto"


class Which(StrEnum):
    """Flushes that ``--variant`` takes."""

    SEED = "seed"
    PLANNED = "planned"
    STEADY = "steady"
    MSR = "msr"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("vm", epilog=_EXAMPLES, short_help="Run a guest here, with a flush before each VM entry.")(vm)


def vm(
    *,
    source: Annotated[
        str | None, typer.Argument(metavar="GUEST.s", help="Assembly for GNU as, - for standard input.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A guest with 200 port exits, every 50th handled with a secret, and hlt.")
    ] = False,
    mode: Annotated[
        Writable | None,
        typer.Option(
            "--mode", help="When to flush.  [default: always; for --demo never, cond and always]", show_default=False
        ),
    ] = None,
    times: Annotated[int, typer.Option("--times", metavar="N", min=1, help="Start the guest N times.")] = 5,
    entries: Annotated[
        int | None,
        typer.Option("--entries", metavar="N", min=1, help="Start it again until there were N entries instead."),
    ] = None,
    long_mode: Annotated[bool, typer.Option("--long-mode", help="64-bit mode; else it starts in real mode.")] = False,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="The guest's memory.  [default: 1M]", show_default=False),
    ] = None,
    max_seconds: options.MaxSeconds = None,
    variant: Annotated[Which, typer.Option("--variant", help="Which flush.")] = Which.ALL,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="What planned and steady are planned for.  [default: the catalogue's]",
            show_default=False,
        ),
    ] = None,
    secret_port: Annotated[
        int,
        typer.Option(
            "--secret-port",
            metavar="N",
            min=0,
            max=_PORTS - 1,
            help="Accesses to this port are handled with a secret; others are only counted.  [default: 16 (0x10)]",
            show_default=False,
        ),
    ] = 0x10,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Run a guest through /dev/kvm with the flush before each VM entry, and count exits, flushes and nanoseconds per
    entry, without a flush and with each."""
    if demo is (source is not None):
        raise InputError("give a guest, or --demo", hint="one of the two")
    if demo and long_mode:
        raise InputError("the demonstration is for real mode", where="--long-mode")
    size, limit = options.size("--memory", memory) or _MEMORY, options.seconds(max_seconds)

    with progress("running ..."):
        from l1dflush.vmentry.kvm.vm import Kvm  # noqa: PLC0415

        # Before the assembler: without it there is no use for the code.
        Kvm().close()
        from l1dflush.host.flush_plan import Request  # noqa: PLC0415
        from l1dflush.vmentry.kvm import session as kvm_session  # noqa: PLC0415
        from l1dflush.vmentry.kvm.names import Flush  # noqa: PLC0415
        from l1dflush.vmentry.subsystem import Mode  # noqa: PLC0415

        usual = (Mode.COND, Mode.ALWAYS) if demo else (Mode.ALWAYS,)
        asked = kvm_session.Asked(
            _code(source, long_mode),
            usual if mode is None else (Mode(mode),),
            tuple(Flush) if variant is Which.ALL else (Flush(variant),),
            every=variant is not Which.ALL,
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
    from l1dflush.report.vm import told, vm_lines  # noqa: PLC0415

    status = result.exit_status
    message = f"the guest did not run to its end: {told(result)}" if status else ""
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(status, json_text(result), message)
    return Outcome(status, Page(lambda width: vm_lines(result, width), no_color), message)


def _code(source: str | None, long_mode: bool) -> GuestCode:
    from l1dflush.vmentry.kvm import guest_code  # noqa: PLC0415

    if source is None:
        return guest_code.demo()
    if source != "-" and not Path(source).exists():
        raise InputError("there is no such file", where=source)
    from l1dflush.routine.detect import as_text  # noqa: PLC0415
    from l1dflush.routine.load import read_input  # noqa: PLC0415

    return guest_code.from_assembly(source, as_text(read_input(source)), long_mode=long_mode)
