# SPDX-License-Identifier: GPL-2.0-or-later
"""How C is compiled: the flags, which depend on what a text uses."""

from __future__ import annotations

import re

# As a kernel is compiled: no position independence, no red zone, nothing read twice or left out because the
# language allows it. Fragments of other people's code also need what GCC 14 made errors of: calls without a
# declaration, integers that become pointers.
_FLAGS = (
    "-m64",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-fno-strict-aliasing",
    "-fno-common",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-delete-null-pointer-checks",
    "-fwrapv",
    "-w",
    "-Wno-error=implicit-function-declaration",
    "-Wno-error=int-conversion",
    "-Wno-error=incompatible-pointer-types",
    "-Wno-error=implicit-int",
)
_AVX512 = re.compile(r"zmm\d|__m512|\bk[1-7]\b")
_AVX = re.compile(r"ymm\d|__m256")
_VECTORS = re.compile(
    r"[xyz]mm\d|\b(?:float|double|__m128\w*|__m256\w*|__m512\w*|vector_size|fld)\b|\"[=+&%]*[xvYtuf]\""
)
# What keeps the compiler from using vectors of its own accord when the text uses some.
_SCALAR = ("-fno-tree-vectorize", "-fno-tree-slp-vectorize")


def compiler_flags(text: str) -> list[str]:
    """The flags for a unit with this ``text``. The preprocessor needs them too: which macros of its own a compiler
    defines (``__OPTIMIZE__``, ``__SSE2__``, ``__pic__``) depends on them."""
    flags = list(_FLAGS)
    if _VECTORS.search(text):
        flags += _SCALAR
        if _AVX512.search(text):
            flags.append("-mavx512f")
        elif _AVX.search(text):
            flags.append("-mavx2")
    else:
        flags.append("-mgeneral-regs-only")
    return flags
