"""From what is read to facts: texts, and several places where the same may be found."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import HostFiles, UnreadableError

T = TypeVar("T")

# What the kernel's own files and configuration files never have. Escape is there in some logs, so not among them.
_JUNK = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")


def text(files: HostFiles, path: str) -> str:
    """A file's text without the white space at its ends; a file of nothing but line breaks is an empty text.

    Raises UnreadableError, also for a file of no bytes and for what is no text in UTF-8.
    """
    content = files.read(path)
    if not content:
        raise UnreadableError("it is empty")
    try:
        found = content.decode()
    except UnicodeDecodeError:
        raise UnreadableError("it is no text") from None
    if _JUNK.search(found):
        raise UnreadableError("it is no text")
    return found.strip()


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
    tried: list[Fact[T]] = []
    for place in places:
        fact = place()
        if fact.known:
            return fact
        tried.append(fact)
    if len(tried) == 1:
        return tried[0]
    origins = ", ".join(dict.fromkeys(one.origin for one in tried))
    if len({one.why for one in tried}) == 1:
        return Fact.unknown(origins, tried[0].why)
    return Fact.unknown(origins, "; ".join(dict.fromkeys(f"{one.origin}: {one.why}" for one in tried)))


def understood(fact: Fact[str], parse: Callable[[str], T | None], expected: str) -> Fact[T]:
    """What a text means; unknown, with the text, where ``parse`` returns None. ``expected``: what it should be."""
    if fact.value is None:
        return Fact.unknown(fact.origin, fact.why)
    value = parse(fact.value)
    if value is None:
        said = fact.value if len(fact.value) <= 40 else f"{fact.value[:40]}…"
        return Fact.unknown(fact.origin, f"'{said}' is no {expected}")
    return Fact(value, fact.origin)
