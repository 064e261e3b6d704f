# SPDX-License-Identifier: GPL-2.0-or-later
"""From what is read to facts: texts, and several places where the same may be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import HostFiles, UnreadableError, decoded

T = TypeVar("T")


def text(files: HostFiles, path: str) -> str:
    """A file's text without the white space at its ends; a file of nothing but line breaks is an empty text.

    Raises UnreadableError, also for a file of no bytes and for what is not text in UTF-8.
    """
    return decoded(files.read(path)).strip()


def text_fact(files: HostFiles, path: str) -> Fact[str]:
    """The same as a fact, with the path as its origin."""
    return read_fact(path, lambda: text(files, path))


def read_fact(origin: str, read: Callable[[], T]) -> Fact[T]:
    """What ``read`` returns; unknown where it raises UnreadableError."""
    try:
        return Fact(read(), origin)
    except UnreadableError as error:
        return Fact.unknown(origin, error.why)


def first_known(*places: Callable[[], Fact[T]]) -> Fact[T]:
    """The first that is known, and no later one is looked at; else unknown for all their reasons."""
    reasons: dict[str, list[str]] = {}
    for place in places:
        fact = place()
        if fact.known:
            return fact
        reasons.setdefault(fact.why, []).append(fact.origin)
    origins = ", ".join(dict.fromkeys(origin for some in reasons.values() for origin in some))
    if len(reasons) == 1:
        return Fact.unknown(origins, next(iter(reasons)))
    return Fact.unknown(origins, "; ".join(f"{', '.join(some)}: {why}" for why, some in reasons.items()))


def understood(fact: Fact[str], parse: Callable[[str], T | None], expected: str) -> Fact[T]:
    """What a text means; unknown, with the text, where ``parse`` returns None. ``expected``: what it should be."""
    if fact.value is None:
        return Fact.unknown(fact.origin, fact.why)
    value = parse(fact.value)
    if value is None:
        said = fact.value if len(fact.value) <= 40 else f"{fact.value[:40]}…"
        return Fact.unknown(fact.origin, f"'{said}' is no {expected}")
    return Fact(value, fact.origin)
