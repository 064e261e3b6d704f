"""``l1dflush status``: whether a host is protected from L1TF, by what, and what to do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import host_options, options
from l1dflush.cli.output import Outcome, Page, plain_text
from l1dflush.cli.progress import while_working
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.status.model import StatusResult

_EXAMPLES = """\b
Examples:
  l1dflush status                          this host
  l1dflush status --explain                with every fact and every rule
  l1dflush status --from facts.tar.gz      another: see 'l1dflush gather'
  l1dflush status --prometheus --output /var/lib/node_exporter/l1tf.prom
  l1dflush status --expect partially-mitigated

Exit status: 0 not affected or mitigated, 1 error, 2 partially mitigated or vulnerable, 3 unknown, 130 interrupted.
"""


class Expect(StrEnum):
    """Verdicts that ``--expect`` takes."""

    NOT_AFFECTED = "not-affected"
    MITIGATED = "mitigated"
    PARTIAL = "partially-mitigated"
    VULNERABLE = "vulnerable"
    UNKNOWN = "unknown"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("status", epilog=_EXAMPLES, short_help="Tell whether a host is protected from L1TF.")(status)


def status(
    *,
    archive: host_options.FromArchive = None,
    sysroot: host_options.SysrootFolder = None,
    module: Annotated[
        Path | None,
        typer.Option("--module", metavar="FILE", help="Prove the flush of this kvm-intel.ko."),
    ] = None,
    cpu_folder: options.CpuFolder = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every fact, where it is from, and the rules.")
    ] = False,
    expect: Annotated[
        Expect | None, typer.Option("--expect", help="Exit status 0 if this is the verdict, else 2.")
    ] = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Write metrics for node_exporter's textfile collector.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the result to FILE, whole or not at all.")
    ] = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Tell whether a host is protected from L1TF: what its kernel says, what follows from the facts, what the kernel's
    flush is worth on its L1D, and what to do. Reads only; nothing on the host is changed."""
    if json and prometheus:
        raise InputError("--json and --prometheus exclude each other", hint="drop one")
    if explain and (json or prometheus):
        raise InputError("--explain is for people", hint="--json has every fact and every rule")
    if output is not None:
        from l1dflush.cli.files import check_writable  # noqa: PLC0415

        check_writable(output)
    from l1dflush.data.l1tf_cpus import lists  # noqa: PLC0415
    from l1dflush.status.flush_worth import Flush  # noqa: PLC0415
    from l1dflush.status.result import status_result  # noqa: PLC0415

    host = host_options.host_facts(archive, sysroot)
    shown = None if json or prometheus else "l1dflush.report.status"
    flush = Flush(
        module,
        host_options.shipped_module(host, archive, sysroot),
        tuple(cpu_folder or ()),
        lambda what: while_working(what, shown),
    )
    result = status_result(host, flush.worth(host), lists())
    if expect is not None:
        expected = result.verdict.value.replace(" ", "-") == expect.value
        result = result.model_copy(update={"exit_status": 0 if expected else 2})
    text = _text(result, explain=explain, json=json, prometheus=prometheus, no_color=no_color)
    if output is None:
        return Outcome(result.exit_status, text)
    from l1dflush.cli.files import write_whole  # noqa: PLC0415

    write_whole(output, (text if isinstance(text, str) else plain_text(text)).encode())
    return Outcome(result.exit_status)


def _text(result: StatusResult, *, explain: bool, json: bool, prometheus: bool, no_color: bool) -> str | Page:
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return json_text(result)
    if prometheus:
        from l1dflush.report.prometheus import prometheus_text  # noqa: PLC0415

        return prometheus_text(result)
    from l1dflush.report.status import status_lines  # noqa: PLC0415

    return Page(lambda width: status_lines(result, width, explain=explain), no_color)
