# SPDX-License-Identifier: GPL-2.0-or-later
"""``--certificate``: from a verdict to a file that proves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome
from l1dflush.cli.progress import progress
from l1dflush.errors import InputError, UndecidedError
from l1dflush.sandbox.certified import certificate_text_of
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult


def certify(path: Path, result: VerifyResult, sources: Sequence[str], options: VerifyOptions) -> Outcome | None:
    """Writes the certificate of a verdict; or says why there is none, with the exit status that this means."""
    try:
        with progress("writing the certificate ..."):
            write_whole(path, certificate_text_of(result, sources, options).encode())
    except InputError as error:
        return Outcome(1, message=f"no certificate: {error}")
    except UndecidedError as error:
        return Outcome(3, message=f"no certificate ({error.cause}): {error}")
    return None
