# SPDX-License-Identifier: GPL-2.0-or-later
"""Other files that a C text has read in, and that are not read here.

What the headers of a kernel or of a system define is known to the prelude, or the code that uses it says what is
lacking. Any other file may define a name that the text has a default or a condition for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l1dflush.place import Place
from l1dflush.routine.c.directives import INCLUDES, inner_includes
from l1dflush.routine.c.text import CText, directive_name, word_set
from l1dflush.routine.model import LeftOut, LeftOutKind

_FOLDERS = word_set(
    """
    linux asm asm-generic uapi vdso kvm xen trace crypto net acpi soc generated kunit sys machine vm amd64 i386 x86
    uvm dev bits netinet arpa
    """
)
# C, POSIX, and the compiler's own.
_HEADERS = word_set(
    """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    dirent dlfcn err fcntl getopt libgen malloc poll pthread pwd sched semaphore spawn strings syscall syslog termios
    unistd ucontext cpuid immintrin emmintrin xmmintrin pmmintrin smmintrin nmmintrin tmmintrin x86intrin mm_malloc
    endian byteswap elf features alloca error
    """
)
_WELL_KNOWN = re.compile(r"<\s*(?:([\w-]+)/[^>]*|(\w+)\.h)\s*>")


@dataclass(frozen=True, slots=True)
class Include:
    """A directive at ``start`` to ``end`` that reads another file, as it names it: ``"x.h"``."""

    start: int
    end: int
    name: str


def unknown_includes(text: CText, before: int) -> list[Include]:
    """The directives of ``text`` that begin before the offset ``before`` and read a file of which nothing is known.
    Inside a function or a declaration, what they read is code, not names: those are errors."""
    found = []
    inner = inner_includes(text)
    for start, end in text.directives:
        piece = text.text[start:end].replace("\\\n", " ")
        keyword = directive_name(piece)
        if start < before and keyword in INCLUDES and start not in inner:
            name = " ".join(re.sub(r"/\*.*?\*/|//.*", " ", piece.partition(keyword)[2]).split())
            known = _WELL_KNOWN.match(name)
            if known is None or (known.group(1) not in _FOLDERS and known.group(2) not in _HEADERS):
                found.append(Include(start, end, name))
    return found


def not_read(text: CText, includes: Sequence[Include], where: str) -> Iterator[tuple[int, LeftOut]]:
    """That none of the ``includes`` of ``text`` is read, with where the first one is."""
    if includes:
        names = ", ".join(dict.fromkeys(one.name for one in includes))
        reason = "not read; a name that it defines may decide what is compiled"
        first = includes[0].start
        line = text.line(first + len(text.text[first:]) - len(text.text[first:].lstrip()))
        yield first, LeftOut(LeftOutKind.PART, f"#include {names}", (), reason, Place(where, line))
