# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine's L1D as the kernel describes it, and the signature by which its CPU is found in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from l1dflush.arguments import parse_size
from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
CPUINFO = Path("/proc/cpuinfo")
FLUSH_COMMAND = "flush_l1d"
"""The kernel's name of the command that flushes the L1D, among the flags."""
_HINT = "--geometry SIZE,WAYS,LINE says it"


@dataclass(frozen=True, slots=True)
class Signature:
    """What CPUID says: ``vendor`` as in leaf 0; ``model_name`` is for people."""

    vendor: str
    family: int
    model: int
    stepping: int | None
    model_name: str


def l1d_geometry(caches: Path = CACHES) -> Geometry:
    """The first level's data cache. Raises InputError where the kernel does not describe it, or cannot mean it."""

    def said(name: str) -> str:
        try:
            return (caches / name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ""

    return described_l1d(str(caches), [folder.name for folder in caches.glob("index*")], said)


def signature(cpuinfo: Path = CPUINFO) -> Signature | None:
    """The first processor's signature; None where there is none, as on other machines than x86."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return described_signature(first_processor(text))


def has_flush_command(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the first CPU says that it has the command that flushes the L1D (IA32_FLUSH_CMD)."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return FLUSH_COMMAND in first_processor(text).get("flags", "").split()


def first_processor(text: str) -> dict[str, str]:
    """What ``/proc/cpuinfo`` says about the first CPU: each line's value by its name."""
    lines = (line.partition(":") for line in text.strip().split("\n\n")[0].split("\n"))
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def described_signature(said: dict[str, str]) -> Signature | None:
    """The signature in what :func:`first_processor` returns."""
    numbers = [said.get(key, "") for key in ("cpu family", "model", "stepping")]
    family, model, stepping = (int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None for text in numbers)
    if family is None or model is None or "vendor_id" not in said:
        return None
    return Signature(said["vendor_id"], family, model, stepping, said.get("model name", ""))


def described_l1d(where: str, names: Iterable[str], said: Callable[[str], str]) -> Geometry:
    """The first level's data cache. ``names``: what is in the folder ``where``; ``said``: what is in a file below it,
    empty if that cannot be read. Raises InputError where there is no such cache, or none that is possible."""
    for name in sorted(name for name in names if name.startswith("index")):
        if said(f"{name}/level") == "1" and said(f"{name}/type") == "Data":
            return _geometry(where, name, said)
    raise InputError("the kernel does not describe an L1 data cache", where=where, hint=_HINT)


def _geometry(caches: str, index: str, said: Callable[[str], str]) -> Geometry:
    where = f"{caches}/{index}"
    size, ways, line, sets = (
        _number(where, name, said(f"{index}/{name}"))
        for name in ("size", "ways_of_associativity", "coherency_line_size", "number_of_sets")
    )
    try:
        shape = Geometry(size, ways, line)
    except InputError as error:
        raise InputError(error.what, where=where, hint=_HINT) from None
    if shape.sets != sets:
        raise InputError(
            f"{size} bytes of {ways} ways are {shape.sets} sets, and it says {sets}", where=where, hint=_HINT
        )
    return shape


def _number(where: str, name: str, said: str) -> int:
    try:
        return parse_size(said)
    except InputError:
        raise InputError("the kernel does not say what it is", where=f"{where}/{name}", hint=_HINT) from None
