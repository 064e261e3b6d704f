# SPDX-License-Identifier: GPL-2.0-or-later
"""The forms in which a plan's code can be had."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """Forms of code."""

    C = "c"
    ASM = "asm"
    KERNEL = "kernel"
    BYTES = "bytes"
