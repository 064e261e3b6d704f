# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush what-if``: what would follow if something about a host were different."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli import host_options, options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working
from l1dflush.cli.values import CPU, TEXT_FILE, OneOf, words
from l1dflush.errors import InputError
from l1dflush.mitigation.facts import Control

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from l1dflush.host.status.model import MatrixResult, WhatIfHostResult

_EXAMPLES = """\b
Examples:
  l1dflush what-if --cmdline l1tf=full,force
  l1dflush what-if --write vmentry_l1d_flush=always --smt off
  l1dflush what-if --from facts.tar.gz --microcode no --kernel 4.9.120
  l1dflush what-if --matrix                    the whole table for this host
  l1dflush what-if --facts questions.jsonl     without any host
  l1dflush what-if --facts - --json < questions.jsonl > answers.jsonl
"""


@verb("what-if", epilog=_EXAMPLES)
@host_options.archive
@host_options.sysroot
@click.option("--cmdline", metavar="TEXT", multiple=True, help="Put this at the end of the boot line. Repeatable.")
@click.option(
    "--without", metavar="NAME", multiple=True, help="Take this option out of the boot line first. Repeatable."
)
@click.option(
    "--write", metavar="NAME=VALUE", multiple=True, help="Write at run time: vmentry_l1d_flush=never. Repeatable."
)
@click.option(
    "--smt",
    type=OneOf(lambda: words((Control.ON, Control.OFF, Control.FORCE_OFF))),
    help="Write this to SMT's control.",
)
@click.option(
    "--microcode", type=OneOf(lambda: {"yes": True, "no": False}), help="Whether microcode brings the flush command."
)
@click.option("--kernel", metavar="RELEASE", help="Another kernel: 4.9.120.")
@click.option("--cpu", metavar="NAME", type=CPU, help="Another CPU (see 'l1dflush cpus').")
@options.cpu_folder
@click.option("--ept", type=OneOf(lambda: {"on": True, "off": False}), help="Load kvm_intel with EPT on or off.")
@click.option("--load", metavar="PARAMETERS", help='Load kvm_intel, with these parameters ("" for none).')
@click.option("--matrix", is_flag=True, help="Show every boot option, parameter and SMT state for this host.")
@click.option(
    "--facts",
    metavar="FILE",
    type=TEXT_FILE,
    help="Answer questions in JSON, one a line, without a host (see 'l1dflush help mitigation'). - for standard input.",
)
@options.json
@options.no_color
def what_if(
    *,
    archive: Path | None,
    sysroot: Path | None,
    cmdline: Sequence[str],
    without: Sequence[str],
    write: Sequence[str],
    smt: Control | None,
    microcode: bool | None,
    kernel: str | None,
    cpu: str | None,
    cpu_folder: Sequence[Path],
    ept: bool | None,
    load: str | None,
    matrix: bool,
    facts: str | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Tell what Linux would decide about L1TF on a host if something were different: before, after, the rule that
    decides, and whether that takes a reboot. Nothing on the host is changed."""
    if facts is not None:
        others = (archive, sysroot, cmdline, without, write, smt, microcode, kernel, cpu, cpu_folder, ept, load)
        if matrix or any(other not in (None, ()) for other in others):
            raise InputError("--facts goes with --json alone", hint="a question says everything itself")
        from l1dflush.cli.what_if_questions import answers_to

        return answers_to(facts, json=json, no_color=no_color)
    from l1dflush.host.status.what_if import about_host
    from l1dflush.requests.host import change as changed
    from l1dflush.requests.host import host_facts

    change = changed(
        cmdline=cmdline,
        without=without,
        write=write,
        smt=smt,
        microcode=microcode,
        kernel=kernel,
        cpu=cpu,
        cpu_folder=cpu_folder,
        ept=ept,
        load=load,
    )
    if change.nothing and not matrix:
        hint = "--cmdline, --without, --write, --smt, --microcode, --kernel, --cpu, --ept, --load; or --matrix"
        raise InputError("what should be different?", hint=hint)
    result = about_host(
        host_facts(archive, sysroot),
        change,
        folders=tuple(cpu_folder),
        matrix=matrix,
        waiting=lambda what: while_working(what, None),
    )
    return Outcome(result.exit_status, _text(result, json=json, no_color=no_color))


def _text(result: WhatIfHostResult | MatrixResult, *, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.host.status.model import MatrixResult

    if isinstance(result, MatrixResult):
        from l1dflush.report.terminal.matrix import matrix_lines

        return Page(lambda width: matrix_lines(result, width), no_color)
    from l1dflush.report.terminal.what_if_host import what_if_host_lines

    return Page(lambda width: what_if_host_lines(result, width), no_color)
