# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates of verdicts, and what they are worth: what has to be run for it is run in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from l1dflush import __version__
from l1dflush.arguments import Argument
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.checking.checker import RejectedError
from l1dflush.checking.checker import check as checked
from l1dflush.checking.model import Certificate, Claim
from l1dflush.checking.read import certificate_text
from l1dflush.checking.result import CheckResult, accepted, rejected
from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.certificate import certificate, claim
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.sandbox.judged import Working, words_of
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

OF = Argument("routine", "--routine")


def certificate_text_of(result: VerifyResult, sources: Sequence[str], options: VerifyOptions) -> str:
    """The certificate of a verdict, as the text of a file.

    Raises InputError where the verdict is not PROVED or the routine was changed meanwhile, UndecidedError where the
    certificate cannot be made, for its size for example.
    """
    # Nothing but PROVED has one, on every cache that decides.
    if result.verdict is not Verdict.PROVED:
        raise InputError(f"the verdict is {result.verdict}")
    caches: dict[tuple[Geometry, str | Policy], list[str]] = {}
    for row in result.rows:
        if row.decides:
            shape = row.geometry
            # A row has a machine's name only.
            key = Geometry(shape.size, shape.ways, shape.line), options.policy or row.policy
            caches.setdefault(key, []).extend(row.cpus)
    words = words_of(sources, options, [geometry for geometry, _ in caches])
    if words.sha256 != result.routine.sha256:
        raise InputError("the routine was changed meanwhile")
    limits = Limits(options.memory, options.max_seconds)
    claims: list[Claim] = []
    for ((geometry, policy), cpus), mine in zip(caches.items(), words.caches, strict=True):
        listed = [(one.items, one.cold, one.sets) for one in mine]
        try:
            claims.append(claim(policy, geometry, listed, options.conditions, cpus=cpus, limits=limits))
        except ValueError as error:
            # Never seen: repeats that the verdict left out make a difference after all.
            raise UndecidedError("certificate-refuted", str(error)) from None
    return certificate_text(certificate((words.routine, words.sha256), claims))


def check(
    certificate: Certificate,
    routine: Sequence[str] = (),
    asked: VerifyOptions | None = None,
    working: Working = lambda _: nullcontext(),
    what: str = "the certificate",
) -> CheckResult:
    """Whether a certificate is true, and about the words of ``routine``, if there is one, which is run as ``asked``.

    ``working`` is entered with a line of text while something takes long; in it the certificate is called ``what``.
    Raises InputError where the routine cannot be read, or the certificate is about none.
    """
    try:
        with working(f"checking {what} ..."):
            claims = checked(certificate)
        if routine:
            _compare(certificate, routine, asked or VerifyOptions(), working)
        return accepted(certificate, claims, __version__, compared=bool(routine))
    except RejectedError as error:
        return rejected(certificate, error, __version__)


def _compare(certificate: Certificate, routine: Sequence[str], asked: VerifyOptions, working: Working) -> None:
    """Raises RejectedError unless the certificate is about the words of this routine, all of them."""
    if certificate.routine is None:
        raise OF.refused("this certificate is not about a routine", f"leave out {OF}")
    # Which lines are cold depends on the start; all claims of a certificate have the same, as a rule.
    of_start: dict[str, list[tuple[int, Claim, Geometry]]] = {}
    for number, one in enumerate(certificate.claims):
        if one.cache is not None:
            geometry = Geometry(one.cache.size, one.ways, one.cache.line)
            of_start.setdefault(one.start, []).append((number, one, geometry))
    for start, claims in of_start.items():
        options_there = replace(asked, conditions=Conditions(Start.parse(start)))
        waiting = working(f"running {' + '.join(routine)} ...")
        found = words_of(routine, options_there, [geometry for _, _, geometry in claims], waiting=waiting)
        if (found.routine, found.sha256) != (certificate.routine.name, certificate.routine.sha256):
            raise RejectedError("it certifies another routine than the one given")
        for (number, one, _), words in zip(claims, found.caches, strict=True):
            mine = {(word.items, word.cold, word.sets) for word in one.words}
            if mine != {(word.items, word.cold, word.sets) for word in words}:
                error = RejectedError("the words are not those of the routine given")
                error.claim = number
                raise error
