# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates to check, and all ways to change one of their fields."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.cache.policy.model import Policy
from l1dflush.checking.checker import CheckedClaim, check
from l1dflush.checking.model import Certificate, Item, Kind, digest_of
from l1dflush.checking.read import certificate_text, parse_certificate
from l1dflush.proof.certificate import certificate, claim, distinct_claim
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.proof.prover import ItemKind, Word

MACHINE = """
ways 2
start a
a hit 0 -> b
a hit 1 -> a
a miss -> 0 b
a fill 0 -> b
a fill 1 -> a
b hit 0 -> b
b hit 1 -> a
b miss -> 1 a
b fill 0 -> b
b fill 1 -> a
"""
KIND_OF: dict[str, Kind] = {"": "access", "p": "prefetch", "f": "flush"}
Path = tuple[str | int, ...]


def items(text: str) -> tuple[Item, ...]:
    """``0 1 p1 f0``: accesses to lines 0 and 1, a prefetch of 1, a flush of 0."""
    return tuple((int(one.lstrip("pf")), KIND_OF[one.rstrip("0123456789")]) for one in text.split())


def word(text: str) -> Word:
    """The same for the prover."""
    kinds = {"access": ItemKind.ACCESS, "prefetch": ItemKind.OPTIONAL, "flush": ItemKind.FLUSH}
    return tuple((line, kinds[kind]) for line, kind in items(text))


def conditions(start: str, touches: int = 0) -> Conditions:
    return Conditions(Start.parse(start), touches)


def of_routine(
    policy: str | Policy, ways: int, words: list[str], asked: Conditions, cold: tuple[int, ...] = ()
) -> Certificate:
    """A certificate about a cache that has as many sets as there are words (1 or 2)."""
    listed = [(items(text), cold, 1) for text in words]
    made = claim(policy, Geometry(len(words) * ways * 64, ways, 64), listed, asked, cpus=("some-cpu",))
    return certificate(("flush", "ab" * 32), [made])


def samples() -> dict[str, Certificate]:
    """Small ones that have everything between them that a certificate can have."""
    machine = parse_machine(MACHINE, "two.table")
    invalid = conditions("any+invalid")
    return {
        "positions": of_routine("tree-PLRU", 4, ["0 1 2 3 4 5 6 7", "0 1 2 3 4 5 0 1 2 3 4 5"], invalid),
        "touches": of_routine("LRU", 2, ["0 p1 0 p1 2 1 3 4 5"], conditions("any+invalid", 1)),
        "flush": of_routine("LRU", 2, ["0 1 f0 0 1 2"], invalid),
        "cold": of_routine("tree-PLRU", 4, ["0 1 2 0 1 3 4 5"], conditions("cold"), (1, 2, 3, 4, 5)),
        "ways": of_routine("FIFO", 2, ["0 p1 2 0 1 3"], invalid),
        "invalidations": of_routine("bit-PLRU", 2, ["0 1 0 2"], conditions("any+invalidations")),
        "residue": of_routine("CLOCK", 2, ["0 1 2 3 4 5"], conditions("any")),
        "same": of_routine("LRU", 2, ["0 0 0 1 1 0 0 2"], invalid),
        "machine": of_routine(machine, 2, ["0 1 0 2"], invalid),
        "distinct": certificate(None, [distinct_claim("LRU", 2, conditions("any", 1))]),
    }


def tree(made: Certificate) -> dict[str, Any]:
    """A certificate as JSON has it."""
    content: dict[str, Any] = json.loads(certificate_text(made))
    return content


def checked(content: dict[str, Any], *, digest: bool = True) -> tuple[CheckedClaim, ...]:
    """What the checker says of changed JSON, with the digest that belongs to it."""
    if digest and "digest" in content:
        content = content | {"digest": digest_of(content)}
    return check(parse_certificate(json.dumps(content).encode(), "test"))


def at(content: Any, path: Path) -> Any:
    for key in path:
        content = content[key]
    return content


def mutants(content: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every field changed, in many ways; every key left out or added; every element dropped or doubled; in
    layers each changing places with the one before it."""
    for path, value in list(_walk(content)):
        if path[:1] == ("digest",):
            continue
        if isinstance(value, dict):
            for key in value:
                mutant = copy.deepcopy(content)
                del at(mutant, path)[key]
                yield (*path, key), mutant
            mutant = copy.deepcopy(content)
            at(mutant, path)["more"] = 1
            yield (*path, "more"), mutant
        elif isinstance(value, list):
            for index in range(len(value)):
                mutant = copy.deepcopy(content)
                del at(mutant, path)[index]
                yield (*path, index), mutant
                mutant = copy.deepcopy(content)
                at(mutant, path).insert(index, copy.deepcopy(value[index]))
                yield (*path, index), mutant
            # The order of claims and words says nothing.
            for index in range(1, len(value) if "layers" in path else 0):
                mutant = copy.deepcopy(content)
                swapped = at(mutant, path)
                swapped[index - 1], swapped[index] = swapped[index], swapped[index - 1]
                if swapped != value:
                    yield (*path, index), mutant
        if path:
            for other in _others(value):
                if type(other) is not type(value) or other != value:
                    mutant = copy.deepcopy(content)
                    at(mutant, path[:-1])[path[-1]] = other
                    yield path, mutant


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index))


_TEXTS = (
    ("access", "prefetch", "flush"),
    ("ways", "positions"),
    ("any", "cold", "any+invalid", "any+invalidations", "cold+invalidations", "steady"),
    ("LRU", "tree-PLRU", "FIFO", "NRU", "bit-PLRU", "lru", "CLOCK", "LIP", "random"),
)


def _others(value: Any) -> Iterator[Any]:
    yield None
    if isinstance(value, int):
        yield from (value + 1, value - 1, 0, 1, -1, 1 << 40, str(value), float(value), True)
    elif isinstance(value, str):
        yield from (value + "x", value[:-1], "", 0)
        for texts in _TEXTS:
            if value in texts:
                yield from texts
        # A state: every symbol at every place.
        symbols = value.split(" ")
        for place in range(len(symbols) if len(symbols) > 1 or value in "?!-.+" else 0):
            for symbol in ("?", "!", "-", ".", "+", "0", "1", "2", "9", "00"):
                yield " ".join((*symbols[:place], symbol, *symbols[place + 1 :]))
    elif value is None:
        yield from (0, "", [])
    else:
        yield from (0, "", [], {})
