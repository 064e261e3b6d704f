# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file is, judged by its content; its name only breaks ties."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePath

SAMPLE = 256 << 10

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}
_BY_SUFFIX = {
    ".c": "c",
    ".h": "c",
    ".s": "assembly",
    ".asm": "assembly",
    ".patch": "patch",
    ".diff": "patch",
    ".mbox": "patch",
    ".eml": "patch",
    ".mail": "patch",
}
_DIRECTIVE = re.compile(
    r"^\s*\.(?:text|data|bss|section|globl|global|type|size|align|p2align|balign|code(?:16|32|64)|intel_syntax"
    r"|att_syntax|macro|rept|byte|long|quad|comm|lcomm|file|ident|set|cfi_\w+)\b",
    re.M,
)
_INSTRUCTION = re.compile(
    r"^\s*(?:[\w.$]+:\s*)?(?:rep\w*\s+)?(?:mov\w*|add[bwlq]?|sub[bwlq]?|cmp[bwlq]?|xor[bwlq]?|lea[lq]?|push\w*|pop\w*"
    r"|inc[bwlq]?|dec[bwlq]?|j[a-z]{1,3}|loop|call\w*|ret[q]?|clflush\w*|prefetch\w*|[lms]fence|cpuid|wrmsr|wbinvd"
    r"|v(?!oid\b|olatile\b)\w+|test[bwlq]?|and[bwlq]?|or[bwlq]?|nop|lods\w*)\b(?:\s+(?:[\w.$%*@+-]+|[^;{}=]*[%$\[(,\d][^;{}=]*)|\s*)$",
    re.M | re.I,
)
_LABEL = re.compile(r"^\s*[A-Za-z_.$][\w.$]*:", re.M)
# An unfinished comment goes to the end: were it no match, many of them would take quadratic time.
_C_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_LINE_COMMENT = re.compile(r"(?://|#|;).*$", re.M)


class Format(StrEnum):
    """What an input is. ``FOREIGN`` is what is known to be not a routine (:mod:`l1dflush.routine.foreign`), ``UNKNOWN``
    text of no known kind, ``BINARY`` anything else that is not text."""

    ELF = "elf"
    PATCH = "patch"
    C = "c"
    ASSEMBLY = "assembly"
    EMPTY = "empty"
    FOREIGN = "foreign"
    BINARY = "binary"
    UNKNOWN = "unknown"


def compression(data: bytes) -> str | None:
    """The name of the compressor that wrote ``data``, ``None`` when it is not compressed."""
    return next((name for magic, name in _COMPRESSED.items() if data.startswith(magic)), None)


def detect(data: bytes, name: str) -> Format:
    """What ``data`` is. ``name`` is only asked when the content could be several things, or none."""
    if data.startswith(b"\x7fELF"):
        return Format.ELF
    if not data.strip():
        return Format.EMPTY
    # Here, and not above: an ELF file or a built-in routine needs neither parser nor table, a packed one no parser.
    from l1dflush.routine.foreign import foreign_binary, foreign_text

    if foreign_binary(data) is not None:
        return Format.FOREIGN
    if is_binary(data[:SAMPLE]):
        return Format.BINARY
    from l1dflush.routine.c.source import looks_like_c
    from l1dflush.routine.mail.patch import looks_like_patch

    if looks_like_patch(data):
        return Format.PATCH
    text = data[:SAMPLE].decode("utf-8", "replace")
    if foreign_text(text) is not None:
        return Format.FOREIGN
    is_c, is_assembly = looks_like_c(text), looks_like_assembly(text)
    if is_c != is_assembly:
        return Format.C if is_c else Format.ASSEMBLY
    suffix = PurePath(name).suffix.lower()
    if suffix in _BY_SUFFIX:
        return Format(_BY_SUFFIX[suffix])
    # C with much inline assembly may look like both; assembly never looks like C.
    return Format.C if is_c else Format.UNKNOWN


def as_text(data: bytes) -> str:
    """``data`` as text: UTF-8, or else Latin-1, in which every byte means something."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def looks_like_assembly(text: str) -> bool:
    """Whether most lines of ``text`` are directives, labels or x86 instructions."""
    text = _LINE_COMMENT.sub("", _C_COMMENT.sub("", text))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return False
    known = sum(1 for line in lines if _DIRECTIVE.match(line) or _INSTRUCTION.match(line) or _LABEL.match(line))
    solid = sum(1 for line in lines if _DIRECTIVE.match(line) or _INSTRUCTION.match(line))
    return solid > 0 and known * 2 >= len(lines)


def is_binary(sample: bytes) -> bool:
    if b"\0" in sample:
        return True
    control = sum(sample.count(c) for c in range(32) if c not in b"\t\n\r\f\v\b\x1b")
    return control * 50 > len(sample)
