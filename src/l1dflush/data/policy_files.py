# SPDX-License-Identifier: GPL-2.0-or-later
"""A policy as a person names it: by name, or as the file that describes its machine."""

from __future__ import annotations

import os
from pathlib import Path

from l1dflush.cache.policies import MAX_WAYS, Policy, canonical_name, get_policy
from l1dflush.cache.policy.machine import MAX_BYTES, parse_machine
from l1dflush.errors import InputError
from l1dflush.user_files import read_file

# Of policies that exist at several numbers of ways, the ones people draw are small.
_USUAL_WAYS = 4


def policy_named(text: str, ways: int | None) -> Policy:
    """The policy; without ``ways`` at 4 if it exists there, else at the fewest.

    Raises :class:`~l1dflush.errors.InputError` for a name that is neither a policy nor a file, and for ``ways`` that
    the policy does not have.
    """
    path = Path(text)
    try:
        name = canonical_name(text)
    except InputError:
        try:
            return _machine(path, ways)
        except InputError:
            if os.path.lexists(text):
                raise
            if "/" in text or path.suffix in (".dot", ".gv", ".txt"):
                hint = "'l1dflush policies' lists the names"
                raise InputError("there is no such file", where=text, hint=hint) from None
        raise
    if ways is not None:
        return get_policy(name, ways)
    for candidate in (_USUAL_WAYS, *range(1, MAX_WAYS)):
        try:
            return get_policy(name, candidate)
        except InputError:
            continue
    return get_policy(name, MAX_WAYS)


def _machine(path: Path, ways: int | None) -> Policy:
    content = read_file(path, MAX_BYTES, hint="name a file with a machine", stdin=False)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InputError("this is not text", where=str(path), hint="a machine in Graphviz dot or as a table") from None
    policy = parse_machine(text, path.name)
    if ways is not None and ways != policy.ways:
        raise InputError(
            f"the machine has {policy.ways} ways, not {ways}", where=str(path), hint=f"write {policy.ways}"
        )
    return policy
