# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush verify``: does this routine empty the L1D?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush.cli import options, proof_options
from l1dflush.cli.against import STANDARD_INPUT, against, checked, compared
from l1dflush.cli.command import verb
from l1dflush.cli.files import check_writable
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working
from l1dflush.cli.values import CPU, FILE, POLICY, OneOf, words
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.requests.routine import about_caches
from l1dflush.severity import Severity

if TYPE_CHECKING:
    from l1dflush.verdict.compare.result import ComparisonResult
    from l1dflush.verdict.options import VerifyOptions
    from l1dflush.verdict.verify_result import NothingResult, VerifyResult

_EXAMPLES = """\b
Examples:
  l1dflush verify linux-4.9.120                    Linux's flush, built in
  l1dflush verify two-passes --cpu "Ice Lake"      another flush, one CPU
  l1dflush verify flush.c -D SIZE=65536            C with a name to supply
  l1dflush verify entry.o --function vmx_l1d_flush
  l1dflush verify entry.S setup.c                  both, as a linker would
  l1dflush verify one-pass --policy FIFO --geometry 32K,8,64
  l1dflush verify openbsd --touches 1 --start cold others, and the start
  l1dflush verify one-pass --start steady --then two-passes
                                                   again and again, in turn
  l1dflush verify broken.S --expect refuted        a regression test
  l1dflush verify new.patch --against old.c        what a change changes
  l1dflush verify entry.o --certificate entry.l1d  a proof for others
  git diff main | l1dflush verify --if-any -       in CI: if it has a flush

Exit status: 0 proved, 1 error, 2 refuted, 3 undecided, 130 interrupted.
"""


@verb("verify", epilog=_EXAMPLES)
@options.sources
@options.about_a_routine
@click.option("--cpu", metavar="NAME", multiple=True, type=CPU, help="Only this CPU (see 'l1dflush cpus'). Repeatable.")
@options.cpu_folder
@click.option("--policy", metavar="NAME", type=POLICY, help="A policy, or a file with a machine; goes with --geometry.")
@click.option("--geometry", metavar="SIZE,WAYS,LINE", help="A cache, like 32K,8,64; goes with --policy.")
@click.option("--every-cpu", is_flag=True, help="CPUs without L1TF decide the exit status as well.")
@click.option("--every-path", is_flag=True, help="Paths that skip the flush count as well.")
@click.option(
    "--fail-on",
    type=OneOf(lambda: words((Severity.WARNING, Severity.ERROR))),
    help="A finding of this severity or worse gives exit status 2.",
)
@click.option(
    "--expect",
    type=OneOf(lambda: words((Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED))),
    help="Exit status 0 if this is the verdict, else 2.",
)
@proof_options.start
@proof_options.then
@proof_options.touches
@proof_options.memory
@click.option(
    "--if-any", is_flag=True, help="Exit status 0 where there is certainly no flush in ROUTINE: nothing to judge."
)
@against
@click.option("--certificate", metavar="FILE", type=FILE, help="If PROVED, write a proof for 'l1dflush check' to FILE.")
@options.json
@click.option("--quiet", "-q", is_flag=True, help="Write no result; the exit status has it.")
@options.no_color
def verify(
    *,
    routine: Sequence[str],
    asked: VerifyOptions,
    cpu: Sequence[str],
    cpu_folder: Sequence[Path],
    policy: str | None,
    geometry: str | None,
    every_cpu: bool,
    every_path: bool,
    fail_on: Severity | None,
    expect: Verdict | None,
    start: str | None,
    then: Sequence[str],
    touches: int,
    memory: str | None,
    if_any: bool,
    against: Sequence[str],
    certificate: Path | None,
    json: bool,
    quiet: bool,
    no_color: bool,
) -> Outcome:
    """Prove that a flush routine empties the L1D, for every state that the cache can be in, or show how a
    line survives."""
    asked = about_caches(
        asked,
        cpu=cpu,
        cpu_folder=cpu_folder,
        policy=policy,
        geometry=geometry,
        every_cpu=every_cpu,
        every_path=every_path,
        fail_on=fail_on,
        start=start,
        then=then,
        touches=touches,
        memory=memory,
    )
    if json and quiet:
        raise InputError("--json and --quiet exclude each other", hint="drop one")
    old = checked(against, routine)
    if STANDARD_INPUT in then and [*routine, *old, *then].count(STANDARD_INPUT) > 1:
        what = "standard input cannot be several routines"
        raise InputError(what, where="--then", hint="put one of them into a file")
    if certificate is not None:
        if old:
            raise InputError("--certificate and --against exclude each other", hint="a certificate is of one routine")
        if asked.conditions.start.steady:
            raise InputError("there are no certificates for a steady start", where="--certificate", hint="leave it out")
        check_writable(certificate)
    if if_any:
        _check_if_any(asked, old, certificate)
    from l1dflush.sandbox.judged import verify as judge
    from l1dflush.sandbox.judged import verify_if_any

    # The report for people shows the counterexamples of rows that decide.
    asked = replace(asked, all_examples=json or bool(old))
    notes: dict[str, None] = {}

    def working(sources: Sequence[str]) -> AbstractContextManager[None]:
        shown = None if json else "l1dflush.report.terminal.verify"
        return while_working(f"running and proving {' + '.join(sources)} ...", shown)

    def as_expected(found: VerifyResult) -> VerifyResult:
        return found if expect is None else judged_by(found, expect, fail_on)

    def judged(sources: Sequence[str]) -> VerifyResult:
        mine = asked.for_other(sources) if old else asked
        return as_expected(judge(sources, mine, waiting=working(sources), warn=notes.setdefault))

    if if_any:
        found = verify_if_any(routine, asked, waiting=working(routine), warn=notes.setdefault)
        answer = found if found.verdict is None else as_expected(found)
        text = "" if quiet else _text(answer, json, no_color)
        return Outcome(answer.exit_status, text, "".join(notes))
    new = judged(routine)
    result = compared(old, new, judged) if old else new
    text = "" if quiet else _text(result, json, no_color)
    if certificate is None:
        return Outcome(result.exit_status, text, "".join(notes))
    from l1dflush.cli.certify import certify

    refusal = certify(certificate, new, routine, asked)
    status = result.exit_status if refusal is None else result.exit_status or refusal.status
    said = "; ".join([*notes, *([] if refusal is None else [refusal.message])])
    return Outcome(status, text, said)


def _check_if_any(asked: VerifyOptions, old: Sequence[str], certificate: Path | None) -> None:
    """Raises InputError for what does not go with ``--if-any``."""
    others = {
        "--against": bool(old),
        "--certificate": certificate is not None,
        "--function": asked.function is not None,
        "--from and --until": bool(asked.start or asked.until),
    }
    for option, given in others.items():
        if given:
            hint = "it is about inputs that may have no flush" if option.startswith("--f") else "leave one out"
            raise InputError(f"--if-any and {option} exclude each other", hint=hint)


def _text(result: VerifyResult | NothingResult | ComparisonResult, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.verdict.verify_result import NothingResult, VerifyResult

    if isinstance(result, NothingResult):
        from l1dflush.report.terminal.nothing import nothing_lines

        return Page(lambda width: nothing_lines(result, width), no_color)
    if isinstance(result, VerifyResult):
        from l1dflush.report.terminal.verify import verify_lines

        return Page(lambda width: verify_lines(result, width), no_color)
    from l1dflush.report.terminal.comparison import comparison_lines

    return Page(lambda width: comparison_lines(result, width), no_color)


def judged_by(result: VerifyResult, expect: Verdict, fail_on: Severity | None) -> VerifyResult:
    """The same result with the exit status that ``--expect`` asks for: 0 or 2, whatever the verdict is.

    Findings that ``--fail-on`` is about are not expected.
    """
    clean = fail_on is None or all(finding.severity.rank < fail_on.rank for finding in result.findings)
    return result.model_copy(update={"exit_status": 0 if result.verdict is expect and clean else 2})
