# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates as files."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from l1dflush.checking.model import Certificate, digest_of
from l1dflush.errors import InputError, UndecidedError
from l1dflush.json_keys import check_keys
from l1dflush.user_files import read_file

MAX_BYTES = 128 << 20
_HINT = "what 'l1dflush verify --certificate FILE' writes"


def read_certificate(path: Path) -> Certificate:
    """The certificate in a file, ``-`` being standard input. Raises InputError, in one line, if there is none."""
    data = read_file(path, MAX_BYTES)
    return parse_certificate(data, str(path))


def parse_certificate(data: bytes, where: str) -> Certificate:
    """The certificate in the text of a file; ``where`` is its name, for messages. Raises InputError."""
    Certificate.model_rebuild()
    try:
        certificate = Certificate.model_validate_json(data)
    except ValidationError as error:
        # All alternatives and all elements would be told; the first says enough.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        what = f"{first['msg'].lower()} at {place}" if place else first["msg"].lower()
        raise InputError(f"this is not a certificate: {what[:200]}", where=where, hint=_HINT) from None
    check_keys(data, where)
    return certificate


def certificate_text(certificate: Certificate) -> str:
    """The file of a certificate, with the digest that belongs to it.

    Raises UndecidedError where nobody would read it because of its size.
    """
    content = certificate.model_dump(mode="json")
    content["digest"] = digest_of(content)
    text = json.dumps(content, separators=(",", ":")) + "\n"
    if len(text) > MAX_BYTES:
        what = f"the certificate would have {len(text) >> 20} MiB, more than {MAX_BYTES >> 20}"
        raise UndecidedError("certificate-too-large", what)
    return text
