# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields of many lines at once: numbers and short words out of a block of bytes, as NumPy arrays.

A trace of ten million exits is gigabytes of text; a line at a time in Python would take minutes. What is done here
gives up on anything unusual (it is then not ``ok``), and whoever calls it reads such lines one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Truths = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

PAD = 64
"""So many bytes in front of a block and behind it may be looked at."""
MARGIN = b"\n" * PAD
LONGEST_WORD = 32
MOST_DIGITS = 18

_SPACE, _TAB = 32, 9
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_CONTROL = np.uint64(0x21) * _ONES
_ONE = np.uint64(1)
_FACTORS = tuple(np.uint64(f) for f in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93))
# More different words than any trace has; the rest is read one by one.
_MOST_KNOWN = 4096


class Block:
    """A block of lines, with margins: as bytes, and as the eight bytes that begin at each place."""

    def __init__(self, data: bytes) -> None:
        self.data = b"".join((MARGIN, data, MARGIN))
        self.bytes: Bytes = np.frombuffer(self.data, np.uint8)
        self.eights: Words = np.ndarray((len(self.data) - 7,), np.dtype("<u8"), self.data, 0, (1,))
        ends = np.flatnonzero(self.bytes == 10)
        # The last of the margin in front ends the line before the first.
        self.starts: Places = ends[PAD - 1 : len(ends) - PAD] + 1
        self.ends: Places = ends[PAD : len(ends) - PAD + 1]
        if data.endswith(b"\n"):
            self.starts, self.ends = self.starts[: len(self.ends) - 1], self.ends[:-1]

    def line(self, index: int) -> bytes:
        """A line without its end."""
        return self.data[self.starts[index] : self.ends[index]]


def over_blanks(text: Bytes, places: Places, step: int, most: int = 48) -> Places:
    """The places moved by ``step`` (1 or -1) as long as a blank is there, ``most`` times at most."""
    places = places.copy()
    for _ in range(most):
        here = text[places]
        blank = (here == _SPACE) | (here == _TAB)
        if not blank.any():
            break
        places += step * blank
    return places


def back_over_digits(text: Bytes, last: Places, most: int) -> tuple[Numbers, Places]:
    """The number whose last digit is at ``last``, and the place before its first; no more than ``most`` digits.

    Where there is no digit, the number is 0 and the place is ``last``.
    """
    value = np.zeros(len(last), np.int64)
    place = last.copy()
    more = np.ones(len(last), np.bool_)
    for power in range(most):
        digit = text[place] - np.uint8(48)
        more &= digit <= 9
        if not more.any():
            break
        value += np.where(more, digit, 0).astype(np.int64) * 10**power
        place -= more
    return value, place


def numbers(text: Bytes, starts: Places, ends: Places) -> tuple[Numbers, Truths]:
    """The unsigned decimal numbers from ``starts`` up to ``ends``, and where there is one (1 to 18 digits)."""
    length = ends - starts
    ok = (length > 0) & (length <= MOST_DIGITS)
    value = np.zeros(len(starts), np.int64)
    for power in range(int(length[ok].max(initial=0))):
        inside = ok & (power < length)
        digit = text[np.where(inside, ends - 1 - power, 0)] - np.uint8(48)
        ok &= ~inside | (digit <= 9)
        value += np.where(inside & ok, digit, 0).astype(np.int64) * 10**power
    return value, ok


class WordCodes:
    """Numbers for words, the same word always the same: ``intern`` gives the number of a word that was not met yet."""

    def __init__(self, intern: Callable[[bytes], int]) -> None:
        self._intern = intern
        self._hashes: Words = np.empty(0, np.uint64)
        self._words: Words = np.empty((0, 4), np.uint64)
        self._codes: Numbers = np.empty(0, np.int64)
        self._lengths: Numbers = np.empty(0, np.int64)

    def codes(self, eights: Words, starts: Places) -> tuple[Numbers, Numbers, Truths]:
        """The numbers and the lengths of the words at ``starts``, each up to a blank or control character, and where
        there is one (1 to 31 bytes). What ``intern`` raises comes through."""
        if not len(starts):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_)
        words, ended = _words(eights, starts)
        hashes = words[0] * _FACTORS[0]
        for word, factor in zip(words[1:], _FACTORS[1:], strict=False):
            hashes = hashes ^ (word * factor)
        self._learn(hashes, words, ended)
        if not len(self._hashes):
            return np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64), np.zeros(len(starts), np.bool_)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        ok = ended
        for index in range(4):
            known = self._words[at, index]
            ok &= known == (words[index] if index < len(words) else 0)
        return self._codes[at], self._lengths[at], ok

    def _learn(self, hashes: Words, words: list[Words], ended: Truths) -> None:
        if len(self._hashes):
            at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            new = np.flatnonzero(ended & (self._hashes[at] != hashes))
        else:
            new = np.flatnonzero(ended)
        if not len(new):
            return
        found, first = np.unique(hashes[new], return_index=True)
        for value, index in list(zip(found, new[first], strict=True))[: _MOST_KNOWN - len(self._hashes)]:
            own = np.zeros(4, np.uint64)
            own[: len(words)] = [word[index] for word in words]
            text = own.astype("<u8").tobytes().rstrip(b"\0")
            if not text:
                continue
            code = self._intern(text)
            place = int(np.searchsorted(self._hashes, value))
            self._hashes = np.insert(self._hashes, place, value)
            self._words = np.insert(self._words, place, own, axis=0)
            self._codes = np.insert(self._codes, place, code)
            self._lengths = np.insert(self._lengths, place, len(text))


def _words(eights: Words, starts: Places) -> tuple[list[Words], Truths]:
    """The bytes of each word, eight by eight, with zeros behind it; and whether it ended."""
    words: list[Words] = []
    ended = np.zeros(len(starts), np.bool_)
    for index in range(LONGEST_WORD // 8):
        eight = eights[starts + 8 * index]
        # The top bit of every byte below 0x21; above the first of them there may be others, which does not matter.
        low = (eight - _CONTROL) & ~eight & _TOPS
        eight &= ((low & (~low + _ONE)) >> np.uint64(7)) - _ONE
        if index:
            eight[ended] = 0
        words.append(eight)
        ended |= low != 0
        if ended.all():
            break
    return words, ended
