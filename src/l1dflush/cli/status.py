# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush status``: whether a host is protected from L1TF, by what, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli import host_options, options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page, plain_text
from l1dflush.cli.progress import while_working
from l1dflush.cli.values import FILE, OneOf, words
from l1dflush.errors import InputError
from l1dflush.host.status.grounds import L1tfVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from l1dflush.host.status.model import StatusResult

_EXAMPLES = """\b
Examples:
  l1dflush status                          this host
  l1dflush status --explain                with every fact and every rule
  l1dflush status --from facts.tar.gz      another: see 'l1dflush gather'
  l1dflush status --prometheus --output /var/lib/node_exporter/l1tf.prom
  l1dflush status --expect partially-mitigated

Exit status: 0 not affected or mitigated, 1 error, 2 partially mitigated or vulnerable, 3 unknown, 130 interrupted.
"""


@verb("status", epilog=_EXAMPLES)
@host_options.archive
@host_options.sysroot
@click.option("--module", metavar="FILE", type=FILE, help="Prove the flush of this kvm-intel.ko.")
@options.cpu_folder
@click.option("--explain", is_flag=True, help="Show every fact, where it is from, and the rules.")
@click.option("--expect", type=OneOf(lambda: words(L1tfVerdict)), help="Exit status 0 if this is the verdict, else 2.")
@click.option("--prometheus", is_flag=True, help="Write metrics for node_exporter's textfile collector.")
@click.option("--output", metavar="FILE", type=FILE, help="Write the result to FILE, whole or not at all.")
@options.json
@options.no_color
def status(
    *,
    archive: Path | None,
    sysroot: Path | None,
    module: Path | None,
    cpu_folder: Sequence[Path],
    explain: bool,
    expect: L1tfVerdict | None,
    prometheus: bool,
    output: Path | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Tell whether a host is protected from L1TF: what its kernel says, what follows from the facts, what the kernel's
    flush is worth on its L1D, and what to do. Reads only; nothing on the host is changed."""
    if json and prometheus:
        raise InputError("--json and --prometheus exclude each other", hint="drop one")
    if explain and (json or prometheus):
        raise InputError("--explain is for people", hint="--json has every fact and every rule")
    if output is not None:
        from l1dflush.cli.files import check_writable

        check_writable(output)
    from l1dflush.data.l1tf_cpus import lists
    from l1dflush.host.status.flush_worth import Flush
    from l1dflush.host.status.result import status_result
    from l1dflush.requests.host import host_facts, shipped_module

    host = host_facts(archive, sysroot)
    shown = None if json or prometheus else "l1dflush.report.terminal.status"
    flush = Flush(
        module,
        shipped_module(host, archive, sysroot),
        tuple(cpu_folder),
        lambda what: while_working(what, shown),
    )
    result = status_result(host, flush.worth(host), lists())
    if expect is not None:
        result = result.model_copy(update={"exit_status": 0 if result.verdict is expect else 2})
    text = _text(result, explain=explain, json=json, prometheus=prometheus, no_color=no_color)
    if output is None:
        return Outcome(result.exit_status, text)
    from l1dflush.cli.files import write_whole

    write_whole(output, (text if isinstance(text, str) else plain_text(text)).encode())
    return Outcome(result.exit_status)


def _text(result: StatusResult, *, explain: bool, json: bool, prometheus: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    if prometheus:
        from l1dflush.report.prometheus import prometheus_text

        return prometheus_text(result)
    from l1dflush.report.terminal.status import status_lines

    return Page(lambda width: status_lines(result, width, explain=explain), no_color)
