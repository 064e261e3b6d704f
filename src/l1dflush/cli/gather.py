# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush gather``: the facts of this host as an archive, for somewhere else."""

from __future__ import annotations

from pathlib import Path

import click

from l1dflush.cli import options
from l1dflush.cli.command import verb
from l1dflush.cli.files import check_writable, write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.values import FOLDER, TEXT_FILE
from l1dflush.errors import one_line

_STANDARD_OUTPUT = "-"
_NAME = "l1dflush-facts.tar.gz"
_EXAMPLES = f"""\b
Examples:
  sudo l1dflush gather                      writes {_NAME} here
  l1dflush gather --output host7.tar.gz     what an ordinary user may read
  ssh host7 l1dflush gather --output - > host7.tar.gz

What goes in: the kernel's release, version and command line; of its configuration and of modprobe's only the
lines that matter here; /proc/cpuinfo, where RAM is, and what sysfs says about vulnerabilities, SMT, kvm_intel
and the L1D; some CPUID leaves and up to three MSRs; in Xen's control domain what Xen says about L1TF; and
what could not be read, with why. No host name, no serial number, no address.
"""


@verb("gather", epilog=_EXAMPLES)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=TEXT_FILE,
    default=_NAME,
    help="The archive. - for standard output.",
)
@click.option(
    "--sysroot",
    metavar="DIR",
    type=FOLDER,
    help="Read a copy of another host's proc, sys and etc.",
)
@options.no_color
def gather(*, output: str, sysroot: Path | None, no_color: bool) -> Outcome:
    """Write what decides about L1TF on this host to an archive (.tar.gz), so that it can be judged on another
    machine. Reads only what the user may, says what it could not read, and changes nothing."""
    from l1dflush.host.reading.collect import sysroot as folder
    from l1dflush.host.reading.files import LiveFiles
    from l1dflush.host.reading.gather import gather as gathered
    from l1dflush.host.reading.registers import GatheredRegisters, LiveRegisters

    if output != _STANDARD_OUTPUT:
        check_writable(Path(output))
    if sysroot is not None:
        copies = folder(sysroot)
        facts, content = gathered(copies, GatheredRegisters(copies))
    else:
        live = LiveFiles()
        facts, content = gathered(live, LiveRegisters(live))
    if output == _STANDARD_OUTPUT:
        known = [fact.known for _, fact in facts.each()]
        return Outcome(0, content, f"{sum(known)} of {len(known)} facts were read of {one_line(facts.where)}")
    write_whole(Path(output), content)
    from l1dflush.report.terminal.gather import gather_lines

    return Outcome(0, Page(lambda width: gather_lines(facts, output, len(content), width), no_color))
