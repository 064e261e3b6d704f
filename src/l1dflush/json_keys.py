# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON in which a key is there twice: readers differ in which of the two they take, so nobody shall have to guess."""

from __future__ import annotations

import json
import re

from l1dflush.errors import InputError

# Strings, with the colon that makes a key of one, and where objects begin and end; numbers are stepped over quickly.
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}]')


def check_keys(data: bytes | str, where: str) -> None:
    """Raises InputError if an object in the JSON document ``data``, at any depth, has a key twice.

    The document has been found to be JSON before; ``where`` names it in the message.
    """
    text = data.encode() if isinstance(data, str) else data
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == b"{":
            objects.append(set())
        elif token[0] == b"}":
            objects.pop()
        elif token[2] is not None:
            key = json.loads(b'"' + token[1] + b'"')
            if key in objects[-1]:
                line = text.count(b"\n", 0, token.start()) + 1
                raise InputError(
                    f"the key {json.dumps(key)[:80]} is there twice in one object, in line {line}",
                    where=where,
                    hint="nobody can tell which of the two is meant: remove one",
                )
            objects[-1].add(key)
