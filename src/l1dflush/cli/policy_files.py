"""A policy as a person names it: by name, or as the file that describes its machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.cache.policies import Policy

# Of policies that exist at several numbers of ways, the ones people draw are small.
_USUAL_WAYS = 4


class _There(StrEnum):
    """What a name leads to."""

    FILE = "a file"
    DIRECTORY = "a directory"
    OTHER = "no regular file"
    NOTHING = "nothing"


def policy_named(text: str, ways: int | None) -> Policy:
    """The policy; without ``ways`` at 4 if it exists there, else at the fewest.

    Raises :class:`~l1dflush.errors.InputError` for a name that is neither a policy nor a file, and for ``ways`` that
    the policy does not have.
    """
    from l1dflush.cache.policies import MAX_WAYS, canonical_name, get_policy  # noqa: PLC0415

    path = Path(text)
    try:
        name = canonical_name(text)
    except InputError:
        there = _there(path)
        if there is _There.FILE:
            return _machine(path, ways)
        if there is not _There.NOTHING:
            raise InputError(f"this is {there}", where=text, hint="name a file with a machine") from None
        if "/" in text or path.suffix in (".dot", ".gv", ".txt"):
            raise InputError("there is no such file", where=text, hint="'l1dflush policies' lists the names") from None
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
    from l1dflush.cache.policy.machine import MAX_BYTES, parse_machine  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("this is no text", where=str(path), hint="a machine in Graphviz dot or as a table") from None
    policy = parse_machine(text, path.name)
    if ways is not None and ways != policy.ways:
        raise InputError(
            f"the machine has {policy.ways} ways, not {ways}", where=str(path), hint=f"write {policy.ways}"
        )
    return policy


def _there(path: Path) -> _There:
    try:
        if path.is_file():
            return _There.FILE
        if path.is_dir():
            return _There.DIRECTORY
        return _There.OTHER if path.exists() else _There.NOTHING
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        return _There.NOTHING
