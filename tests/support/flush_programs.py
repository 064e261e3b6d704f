# SPDX-License-Identifier: GPL-2.0-or-later
"""Small flushes in assembly, and what the command says about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

WALK = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%eax; cmp $65536,%eax; jne 9b"
"""Reads 64 KiB from rdi on, which is enough for every tree-PLRU of 32 KiB with 8 ways."""


def function(*parts: str, name: str = "flush_it") -> str:
    """A function of these instructions, which returns behind them."""
    body = "\n".join(f"        {part}" for part in parts)
    head = f"        .globl {name}\n        .type {name}, @function\n{name}:\n"
    return f"{head}{body}\n        ret\n        .size {name}, .-{name}\n"


def judged(folder: Path, text: str, **options: Any) -> VerifyResult:
    """The result for assembly or C, by default on Skylake."""
    code = folder / ("flush.c" if "{" in text else "flush.s")
    code.write_text(text)
    asked: Mapping[str, Any] = {"cpus": ("skylake",), **options}
    if "geometry" in asked:
        asked = {key: value for key, value in asked.items() if key != "cpus"}
    return verify(str(code), VerifyOptions(**asked))
