"""``l1dflush what-if``: what would follow if something about a host were different."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import host_options, options
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.host.reading.host_facts import HostFacts
    from l1dflush.status.changes import Change
    from l1dflush.status.model import MatrixResult, WhatIfHostResult

_EXAMPLES = """\b
Examples:
  l1dflush what-if --cmdline l1tf=full,force
  l1dflush what-if --write vmentry_l1d_flush=always --smt off
  l1dflush what-if --from facts.tar.gz --microcode no --kernel 4.9.120
  l1dflush what-if --matrix                    the whole table for this host
  l1dflush what-if --facts questions.jsonl     without any host
  l1dflush what-if --facts - --json < questions.jsonl > answers.jsonl
"""


class YesNo(StrEnum):
    """Of ``--microcode``."""

    YES = "yes"
    NO = "no"


class OnOff(StrEnum):
    """Of ``--ept``."""

    ON = "on"
    OFF = "off"


class Smt(StrEnum):
    """Of ``--smt``."""

    ON = "on"
    OFF = "off"
    FORCE_OFF = "forceoff"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("what-if", epilog=_EXAMPLES, short_help="Tell what would change a host's protection from L1TF.")(
        what_if
    )


def what_if(
    *,
    archive: host_options.FromArchive = None,
    sysroot: host_options.SysrootFolder = None,
    cmdline: Annotated[
        list[str] | None,
        typer.Option("--cmdline", metavar="TEXT", help="Put this at the end of the boot line. Repeatable."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="Take this option out of the boot line first. Repeatable."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            metavar="NAME=VALUE",
            help="Write at run time: vmentry_l1d_flush=never. Repeatable.",
        ),
    ] = None,
    smt: Annotated[Smt | None, typer.Option("--smt", help="Write this to SMT's control.")] = None,
    microcode: Annotated[
        YesNo | None, typer.Option("--microcode", help="Whether microcode brings the flush command.")
    ] = None,
    kernel: Annotated[str | None, typer.Option("--kernel", metavar="RELEASE", help="Another kernel: 4.9.120.")] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="NAME", help="Another CPU (see 'l1dflush cpus').")] = None,
    cpu_folder: options.CpuFolder = None,
    ept: Annotated[OnOff | None, typer.Option("--ept", help="Load kvm_intel with EPT on or off.")] = None,
    load: Annotated[
        str | None,
        typer.Option("--load", metavar="PARAMETERS", help='Load kvm_intel, with these parameters ("" for none).'),
    ] = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Show every boot option, parameter and SMT state for this host.")
    ] = False,
    facts: Annotated[
        str | None,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Answer questions in JSON, one a line, without a host (see 'l1dflush help mitigation'). - for standard"
            " input.",
        ),
    ] = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Tell what Linux would decide about L1TF on a host if something were different: before, after, the rule that
    decides, and whether that takes a reboot. Nothing on the host is changed."""
    if facts is not None:
        others = (archive, sysroot, cmdline, without, write, smt, microcode, kernel, cpu, cpu_folder, ept, load)
        if matrix or any(other is not None and other != [] for other in others):
            raise InputError("--facts goes with --json alone", hint="a question says everything itself")
        from l1dflush.cli.what_if_questions import answers_to  # noqa: PLC0415

        return answers_to(facts, json=json, no_color=no_color)
    from l1dflush.mitigation.facts import Control  # noqa: PLC0415
    from l1dflush.status.changes import Change, written_as  # noqa: PLC0415

    folders = tuple(cpu_folder or ())
    other_cpu = None
    if cpu is not None:
        from l1dflush.data.catalogue import load_catalogue  # noqa: PLC0415

        other_cpu = load_catalogue(folders).get(cpu)
    change = Change(
        line=" ".join(cmdline or ()),
        without=tuple(without or ()),
        kernel=kernel,
        cpu=other_cpu,
        microcode=None if microcode is None else microcode is YesNo.YES,
        ept=None if ept is None else ept is OnOff.ON,
        load=load,
        smt=None if smt is None else Control(smt.value),
        writes=tuple(map(written_as, write or ())),
    )
    if change.nothing and not matrix:
        hint = "--cmdline, --without, --write, --smt, --microcode, --kernel, --cpu, --ept, --load; or --matrix"
        raise InputError("what should be different?", hint=hint)
    result = _result(host_options.host_facts(archive, sysroot), change, folders, matrix=matrix)
    return Outcome(result.exit_status, _text(result, json=json, no_color=no_color))


def _result(
    host: HostFacts, change: Change, folders: tuple[Path, ...], *, matrix: bool
) -> WhatIfHostResult | MatrixResult:
    from l1dflush.data.l1tf_cpus import lists  # noqa: PLC0415
    from l1dflush.status.flush_worth import Flush  # noqa: PLC0415
    from l1dflush.status.what_if import explained_host, matrix_result, what_if_result  # noqa: PLC0415

    known = lists()
    explained = explained_host(host, known)
    # Only its verdict counts here, and Linux's walk is the same in every module.
    flush = Flush(folders=folders, waiting=lambda what: while_working(what, None))
    then = (flush.worth(host) if change.cpu is None else flush.worth_on((change.cpu,))).verdict
    if matrix:
        return matrix_result(host, explained, change, then, known)
    now = then if change.cpu is None else flush.worth(host).verdict
    return what_if_result(host, explained, change, (now, then), known)


def _text(result: WhatIfHostResult | MatrixResult, *, json: bool, no_color: bool) -> str | Page:
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return json_text(result)
    from l1dflush.status.model import MatrixResult  # noqa: PLC0415

    if isinstance(result, MatrixResult):
        from l1dflush.report.matrix import matrix_lines  # noqa: PLC0415

        return Page(lambda width: matrix_lines(result, width), no_color)
    from l1dflush.report.what_if_host import what_if_host_lines  # noqa: PLC0415

    return Page(lambda width: what_if_host_lines(result, width), no_color)
