"""``--certificate``: from a verdict to a file that proves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.check.model import Claim
from l1dflush.check.read import certificate_text
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome
from l1dflush.cli.progress import progress
from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.isolation.judged import words_of
from l1dflush.proof.certificate import certificate, claim
from l1dflush.proof.limits import Limits
from l1dflush.verdict.model import VerifyResult
from l1dflush.verdict.options import VerifyOptions


def certify(path: Path, result: VerifyResult, sources: Sequence[str], options: VerifyOptions) -> Outcome | None:
    """Writes the certificate of a verdict; or says why there is none, with the exit status that this means."""
    try:
        # Nothing but PROVED has one, on every cache that decides.
        if result.verdict is not Verdict.PROVED:
            raise InputError(f"the verdict is {result.verdict}")
        with progress("writing the certificate ..."):
            write_whole(path, _text(result, sources, options).encode())
    except InputError as error:
        return Outcome(1, message=f"no certificate: {error}")
    except UndecidedError as error:
        return Outcome(3, message=f"no certificate ({error.cause}): {error}")
    return None


def _text(result: VerifyResult, sources: Sequence[str], options: VerifyOptions) -> str:
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
