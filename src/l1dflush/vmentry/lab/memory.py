# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory of the model machine: who owns which page, and what is secret."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import InputError

PAGE = 4096
LINE = 64
LINES_PER_PAGE = PAGE // LINE
PAGES = 1 << 16
"""256 MiB."""
_LARGEST_BLOCK = PAGES // 4
_SHIFT = (LINES_PER_PAGE - 1).bit_length()
"""From the number of a line to that of its page."""

NOBODY, HOST, SECRET, BUFFER, OWN = range(5)
"""Owners of a page. OWN is memory of the flush routine other than its buffer: its stack, its variables."""


@dataclass(slots=True)
class Block:
    """Memory that somebody has. ``frames``: the physical page behind each of its pages; a hypervisor below may put the
    same one behind several (:meth:`Memory.merge`). ``content``: what each page holds, None for what nobody wrote."""

    name: str
    owner: int
    frames: NDArray[np.int64]
    content: list[int | None]

    @property
    def pages(self) -> int:
        """How many there are."""
        return len(self.frames)

    @property
    def lines(self) -> int:
        """How many lines."""
        return self.pages * LINES_PER_PAGE

    def addresses(self, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Physical addresses of byte offsets."""
        return (self.frames[offsets // PAGE] * PAGE + offsets % PAGE).astype(np.uint64)

    def line_addresses(self, lines: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Physical addresses of lines by number."""
        found: NDArray[np.int64] = self.frames[lines >> _SHIFT] * PAGE + lines % LINES_PER_PAGE * LINE
        return found.astype(np.uint64)


@dataclass(slots=True)
class Memory:
    """Pages are handed out in random order, so that what is next to each other for a program is not so physically.

    ``owner``: of each page, and behind the last one NOBODY, which is where -1 looks.
    """

    seed: int = 1
    owner: NDArray[np.int8] = field(default_factory=lambda: np.full(PAGES + 1, NOBODY, dtype=np.int8))
    _free: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Frame 0 is never given away: a line number of 0 would be as good as any, but a null address should not be.
        self._free = np.random.default_rng(self.seed).permutation(np.arange(1, PAGES)).tolist()

    def allocate(self, name: str, pages: int, owner: int) -> Block:
        """Raises InputError if there is not so much left."""
        if not 0 < pages <= min(_LARGEST_BLOCK, len(self._free)):
            raise InputError(
                f"{pages} pages for {name}", hint=f"1 to {min(_LARGEST_BLOCK, len(self._free))} can be had"
            )
        frames = np.array([self._free.pop() for _ in range(pages)], dtype=np.int64)
        self.owner[frames] = owner
        return Block(name, owner, frames, [None] * pages)

    def free(self, block: Block) -> None:
        """Gives it back; its pages are nobody's."""
        frames = sorted({int(frame) for frame in block.frames})
        self.owner[frames] = NOBODY
        self._free.extend(frames)
        block.frames = np.empty(0, dtype=np.int64)

    def merge(self, block: Block) -> int:
        """What a hypervisor below does that looks for equal pages (KSM): one page for all that hold the same. Returns
        how many different ones are left."""
        first: dict[int | None, int] = {}
        for page, content in enumerate(block.content):
            frame = int(block.frames[page])
            kept = first.setdefault(content, frame)
            if kept != frame:
                self.owner[frame] = NOBODY
                self._free.append(frame)
                block.frames[page] = kept
        return len(first)

    def owners(self, line_numbers: NDArray[np.int64]) -> NDArray[np.int8]:
        """Who owns these lines; NOBODY for -1, which is not a line."""
        found: NDArray[np.int8] = self.owner[line_numbers >> _SHIFT]
        return found
