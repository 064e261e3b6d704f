# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to damage an input: small changes that are drawn by hypothesis, and applied to the bytes.

An ELF file is also damaged where it means something: in the fields of its headers, symbols, relocations and of the
kernel's tables. Text is damaged by the line, the number, the quote.
"""

from __future__ import annotations

import gzip
import random
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeVar

import kernel_modules
import plain_machine
from hypothesis import strategies as st
from seeds import Seed

_T = TypeVar("_T")

INTERESTING = (
    0, 1, 2, 3, 4, 8, 15, 16, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65535, 65536, 0xFFF1, 0xFFF2,
    (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
# The routine's own code and what is tied to it are hit more often than the rest of the file.
_OFTEN = {"code": 3, "relocation": 3, "jump table": 3, "alternative": 2, "symbol": 2}


class Field(NamedTuple):
    offset: int
    size: int


class Change(NamedTuple):
    """One change: what is done, where, and up to two numbers more. Numbers that are too large wrap around."""

    what: str
    at: int
    size: int = 0
    value: int = 0


def _change(what: str, at: int, size: int = 0, value: int = 0) -> Change:
    return Change(what, at, size, value)


@cache
def fields(data: bytes) -> Mapping[str, tuple[Field, ...]]:
    """The fields of an undamaged ELF file by what they belong to."""
    wide = data[4] == 2
    word = 8 if wide else 4
    found: dict[str, list[Field]] = {"header": [Field(4, 1), Field(5, 1)]}
    sizes = (2, 2, 4, word, word, word, 4, 2, 2, 2, 2, 2, 2)
    found["header"] += _row(16, sizes)
    (table,) = struct.unpack_from("<Q" if wide else "<I", data, 40 if wide else 32)
    (count,) = struct.unpack_from("<H", data, 60 if wide else 48)
    file = plain_machine.read_object(data)
    rows = []
    for number in range(count):
        at = table + number * (64 if wide else 40)
        rows.append(struct.unpack_from("<IIQQQQIIQQ" if wide else "<10I", data, at))
        of_row = _row(at, (4, 4, word, word, word, word, 4, 4, word, word))
        found.setdefault("section", []).extend(of_row)
    names = file.section_names
    for name, row in zip(names, rows, strict=True):
        start, size, kind, flags = row[4], row[5], row[1], row[2]
        if kind == 2:
            form = (4, 1, 1, 2, 8, 8) if wide else (4, 4, 4, 1, 1, 2)
            found.setdefault("symbol", []).extend(_table(start, size, form))
        elif kind in (4, 9) and row[7] in file.parts:
            # The symbol's number and the type lie side by side.
            form = (8, 4, 4, 8)[: 4 if kind == 4 else 3] if wide else (4, 1, 3, 4)[: 4 if kind == 4 else 3]
            found.setdefault("relocation", []).extend(_table(start, size, form))
        elif kind == 3:
            found.setdefault("name", []).extend(Field(at, 1) for at in range(start, start + size))
        elif name == "__jump_table":
            found.setdefault("jump table", []).extend(_table(start, size, (4, 4, word)))
        elif name == ".altinstructions":
            found.setdefault("alternative", []).extend(_table(start, size, (4, 4, 2, 1, 1)))
        elif kind == 1 and flags & plain_machine.EXEC:
            found.setdefault("code", []).extend(Field(at, 1) for at in range(start, start + size))
    return {kind: tuple(of_kind) for kind, of_kind in found.items() if of_kind}


def _row(at: int, sizes: tuple[int, ...]) -> list[Field]:
    row = []
    for size in sizes:
        row.append(Field(at, size))
        at += size
    return row


def _table(start: int, size: int, form: tuple[int, ...]) -> list[Field]:
    length = sum(form)
    return [field for at in range(start, start + size // length * length, length) for field in _row(at, form)]


values = st.sampled_from(INTERESTING) | st.integers(0, 255) | st.integers(0, (1 << 64) - 1)
_LENGTHS = st.integers(1, 8) | st.sampled_from((16, 24, 64, 512, 4096))


def byte_changes(size: int) -> st.SearchStrategy[Change]:
    """Changes that know nothing of the format."""
    places = st.integers(0, max(size - 1, 0))
    return st.one_of(
        st.builds(_change, st.just("flip"), places, st.integers(0, 7)),
        st.builds(_change, st.just("byte"), places, st.just(1), values),
        st.builds(_change, st.just("word"), places, st.sampled_from((2, 4, 8)), values),
        st.builds(_change, st.just("cut off"), places),
        st.builds(_change, st.just("remove"), places, _LENGTHS),
        st.builds(_change, st.just("double"), places, _LENGTHS),
        st.builds(_change, st.just("swap"), places, _LENGTHS, places),
    )


def field_changes(data: bytes) -> st.SearchStrategy[Change]:
    """Changes of one field: another value, a near one, or that of another field of its kind."""
    known = fields(data)
    kinds = [kind for kind in known for _ in range(_OFTEN.get(kind, 1))]
    return st.sampled_from(kinds).flatmap(lambda kind: _field_change(known[kind]))


def _field_change(of_kind: tuple[Field, ...]) -> st.SearchStrategy[Change]:
    def change(field: Field, how: tuple[str, int]) -> Change:
        return Change(how[0], field.offset, field.size, how[1])

    near = st.tuples(st.just("add"), st.integers(-16, 16).filter(bool))
    other = st.tuples(st.just("copy"), st.sampled_from(of_kind).map(lambda field: field.offset))
    bits = st.tuples(st.just("flip in"), st.integers(0, 63))
    return st.builds(change, st.sampled_from(of_kind), st.tuples(st.just("set"), values) | near | other | bits)


_LINE_CHANGES = ("drop line", "double line", "swap lines", "shuffle lines", "join lines", "move line")
# Characters that end lines, hide, turn the direction or are no text at all; and pieces of C, assembly and diffs.
_INSERTED = st.sampled_from(
    ("\0", "\x01", "\x0b", "\x0c", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud800", "é",
     "\U0001f600", *"\\\"'(){};#,:%$*/<>=-+@& \r\n\t", "/*", "*/", "//", "\\\n", "##", "??/", "--- ", "+++ ", "@@ ",
     "\n+", "\n-", "\n ", "0x", "asm(", "goto"),
)  # fmt: skip


def text_changes(size: int) -> st.SearchStrategy[tuple[Change, str]]:
    """Changes of a text of about so many characters, each with a piece of text that it may need."""
    places = st.integers(0, max(size - 1, 0))
    lines = st.builds(_change, st.sampled_from(_LINE_CHANGES), places, st.integers(1, 6), places)
    numbers = st.builds(_change, st.just("number"), places, st.integers(0, 3), values)
    pieces = st.builds(_change, st.sampled_from(("quote", "insert", "delete", "swap words", "cut text")), places,
                       st.integers(1, 30), places)  # fmt: skip
    return st.tuples(st.one_of(lines, numbers, numbers, pieces), _INSERTED)


@dataclass(frozen=True)
class Damage:
    """A damaged seed: what was drawn. ``apply`` gives the bytes."""

    seed: Seed
    changes: tuple[Change, ...] = ()
    texts: tuple[tuple[Change, str], ...] = ()
    # For a compressed one: what is changed after compressing.
    outer: tuple[Change, ...] = ()

    def apply(self) -> bytes:
        """The bytes of the damaged input."""
        data = self.seed.data
        if self.texts:
            text = data.decode("utf-8", "surrogateescape")
            for change, piece in self.texts:
                text = _change_text(text, change, piece)
            data = text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")
        for change in self.changes:
            data = change_bytes(data, change)
        if self.seed.packing is not None:
            data = kernel_modules.packed(data, self.seed.packing) if data else gzip.compress(data, mtime=0)
        for change in self.outer:
            data = change_bytes(data, change)
        return data


def _few(strategy: st.SearchStrategy[_T]) -> st.SearchStrategy[tuple[_T, ...]]:
    """One, mostly: two changes are an error more often than anything that is worth a look."""
    return strategy.map(lambda one: (one,)) | st.lists(strategy, min_size=1, max_size=3).map(tuple)


def damaged_objects(seeds: tuple[Seed, ...]) -> st.SearchStrategy[Damage]:
    """ELF files with a few changes: of fields mostly."""

    def of(seed: Seed) -> st.SearchStrategy[Damage]:
        fielded, raw = field_changes(seed.data), byte_changes(len(seed.data))
        changes = _few(fielded) | _few(fielded) | _few(fielded | raw) | _few(raw)
        return changes.map(lambda changed: Damage(seed, changes=changed))

    return st.sampled_from(seeds).flatmap(of)


def damaged_compressed(seeds: tuple[Seed, ...]) -> st.SearchStrategy[Damage]:
    """Compressed files: damaged inside, or outside."""

    def of(seed: Seed) -> st.SearchStrategy[Damage]:
        inner, outer = _few(field_changes(seed.data)), _few(byte_changes(len(Damage(seed).apply())))
        return st.one_of(
            inner.map(lambda changed: Damage(seed, changes=changed)),
            outer.map(lambda changed: Damage(seed, outer=changed)),
        )

    return st.sampled_from(seeds).flatmap(of)


def damaged_texts(seeds: tuple[Seed, ...]) -> st.SearchStrategy[Damage]:
    """Texts with a few changes: of lines and numbers mostly."""

    def of(seed: Seed) -> st.SearchStrategy[Damage]:
        by_line = _few(text_changes(len(seed.data))).map(lambda changed: Damage(seed, texts=changed))
        raw = _few(byte_changes(len(seed.data))).map(lambda changed: Damage(seed, changes=changed))
        return by_line | by_line | by_line | raw

    return st.sampled_from(seeds).flatmap(of)


def change_bytes(data: bytes, change: Change) -> bytes:
    """``data`` after one change."""
    if not data:
        return data
    what, at, size, value = change
    at %= len(data)
    piece = data[at : at + size]
    match what:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << size % 8]) + data[at + 1 :]
        case "byte" | "word" | "set":
            new = value
        case "add":
            new = int.from_bytes(piece, "little") + value
        case "copy":
            new = int.from_bytes(data[value % len(data) :][: len(piece)], "little")
        case "flip in":
            new = int.from_bytes(piece, "little") ^ 1 << value % (8 * max(len(piece), 1))
        case "cut off":
            return data[:at]
        case "remove":
            return data[:at] + data[at + size :]
        case "double":
            return data[: at + size] + data[at:]
        case "swap":
            other = value % len(data)
            low, high = min(at, other), max(at, other)
            size = min(size, high - low, len(data) - high)
            first, second = data[low : low + size], data[high : high + size]
            return data[:low] + second + data[low + size : high] + first + data[high + size :]
        case _:
            raise AssertionError(what)
    return data[:at] + (new % (1 << 8 * len(piece))).to_bytes(len(piece), "little") + data[at + len(piece) :]


_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|\d+")
_WORD = re.compile(r"[\w%$.]+")


def _change_text(text: str, change: Change, piece: str) -> str:
    what, at, size, value = change
    if what in _LINE_CHANGES:
        lines = text.splitlines(keepends=True)
        if not lines:
            return text
        here, there = at % len(lines), value % len(lines)
        changes: dict[str, Callable[[], object]] = {
            "drop line": lambda: lines.__delitem__(slice(here, here + size)),
            "double line": lambda: lines.__setitem__(slice(here, here), lines[here : here + size]),
            "swap lines": lambda: _swap(lines, here, there),
            "shuffle lines": lambda: _shuffle(lines, here, size + 1, value),
            "join lines": lambda: lines.__setitem__(here, lines[here].rstrip("\n")),
            "move line": lambda: lines.insert(there, lines.pop(here)),
        }
        changes[what]()
        return "".join(lines)
    at %= max(len(text), 1)
    match what:
        case "number":
            return _replace(text, _NUMBER, at, lambda old: _other_number(old, size, value))
        case "quote":
            return _replace(text, re.compile("[\"'()]"), at, lambda _: "")
        case "swap words":
            words = _WORD.findall(text)
            return _replace(text, _WORD, at, lambda _: words[value % len(words)])
        case "insert":
            return text[:at] + piece + text[at:]
        case "delete":
            return text[:at] + text[at + size :]
        case "cut text":
            return text[:at]
        case _:
            raise AssertionError(what)


def _replace(text: str, pattern: re.Pattern[str], at: int, new: Callable[[str], str]) -> str:
    """The first match from ``at`` on replaced, or else the first of all."""
    found = pattern.search(text, at) or pattern.search(text)
    return text if found is None else text[: found.start()] + new(found[0]) + text[found.end() :]


def _other_number(old: str, how: int, value: int) -> str:
    number = int(old, 16 if old[:2] in ("0x", "0X") else 10)
    return str((value, number + 1, number * 2, max(number - 1, 0))[how])


def _swap(lines: list[str], here: int, there: int) -> None:
    lines[here], lines[there] = lines[there], lines[here]


def _shuffle(lines: list[str], here: int, size: int, seed: int) -> None:
    piece = lines[here : here + size]
    random.Random(seed).shuffle(piece)
    lines[here : here + size] = piece
