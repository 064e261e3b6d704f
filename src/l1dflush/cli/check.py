"""``l1dflush check``: does a certificate prove what it claims?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from l1dflush import __version__
from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress, while_working
from l1dflush.cli.values import FILE, ROUTINE
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from l1dflush.cache.geometry import Geometry
    from l1dflush.check.model import Certificate, Claim
    from l1dflush.verdict.options import VerifyOptions

_EXAMPLES = """\b
Examples:
  l1dflush verify linux-4.9.120 --certificate linux.l1d
                                                   write one
  l1dflush check linux.l1d                         check it
  l1dflush check linux.l1d --routine linux-4.9.120
                                                   is it about this one?

Exit status: 0 accepted, 1 error, 2 rejected, 3 too large to be checked, 130 interrupted.
"""


@verb("check", epilog=_EXAMPLES)
@argument("file", metavar="FILE", type=FILE, told="What 'verify --certificate' wrote; - for standard input.")
@click.option(
    "--routine",
    metavar="ROUTINE",
    multiple=True,
    type=ROUTINE,
    help="Compare with this routine's hash and words. Repeatable.",
)
@options.about_a_routine
@options.json
@options.no_color
def check(*, file: Path, routine: Sequence[str], asked: VerifyOptions, json: bool, no_color: bool) -> Outcome:
    """Check a certificate step by step, in plain Python that shares no code with the prover, and say what it
    proves. The options that concern the routine go with --routine."""
    from l1dflush.verdict.options import VerifyOptions

    if not routine and asked != VerifyOptions():
        what = "--function, --define and the like are about a routine, and there is none"
        raise InputError(what, hint="name it with --routine, or leave them out")

    from l1dflush.check.checker import RejectedError
    from l1dflush.check.checker import check as checked
    from l1dflush.check.read import read_certificate
    from l1dflush.check.result import accepted, rejected

    certificate = read_certificate(file)
    try:
        with progress(f"checking {file} ..."):
            claims = checked(certificate)
        if routine:
            _compare(certificate, routine, asked)
        result = accepted(certificate, claims, __version__, compared=bool(routine))
    except RejectedError as error:
        result = rejected(certificate, error, __version__)
    if json:
        from l1dflush.report.json_report import json_text

        return Outcome(result.exit_status, json_text(result))
    from l1dflush.report.check_text import check_lines

    return Outcome(result.exit_status, Page(lambda width: check_lines(result, width), no_color))


def _compare(certificate: Certificate, routine: Sequence[str], asked: VerifyOptions) -> None:
    """Raises RejectedError unless the certificate is about the words of this routine, all of them."""
    from dataclasses import replace

    from l1dflush.cache.geometry import Geometry
    from l1dflush.check.checker import RejectedError
    from l1dflush.isolation.judged import words_of
    from l1dflush.proof.conditions import Conditions, Start

    if certificate.routine is None:
        raise InputError("this certificate is not about a routine", where="--routine", hint="leave out --routine")
    # Which lines are cold depends on the start; all claims of a certificate have the same, as a rule.
    of_start: dict[str, list[tuple[int, Claim, Geometry]]] = {}
    for number, claim in enumerate(certificate.claims):
        if claim.cache is not None:
            geometry = Geometry(claim.cache.size, claim.ways, claim.cache.line)
            of_start.setdefault(claim.start, []).append((number, claim, geometry))
    for start, claims in of_start.items():
        options_there = replace(asked, conditions=Conditions(Start.parse(start)))
        waiting = while_working(f"running {' + '.join(routine)} ...", None)
        found = words_of(routine, options_there, [geometry for _, _, geometry in claims], waiting=waiting)
        if (found.routine, found.sha256) != (certificate.routine.name, certificate.routine.sha256):
            raise RejectedError("it is about another routine than the one given")
        for (number, claim, _), words in zip(claims, found.caches, strict=True):
            mine = {(word.items, word.cold, word.sets) for word in claim.words}
            if mine != {(word.items, word.cold, word.sets) for word in words}:
                error = RejectedError("the words are not those of the routine given")
                error.claim = number
                raise error
