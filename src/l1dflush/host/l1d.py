"""This machine's L1D as the kernel describes it, and the signature by which its CPU is found in the catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from l1dflush.cache.geometry import Geometry, parse_size
from l1dflush.errors import InputError

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
CPUINFO = Path("/proc/cpuinfo")
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
    for folder in sorted(caches.glob("index*")):
        if _said(folder, "level") == "1" and _said(folder, "type") == "Data":
            return _geometry(folder)
    raise InputError("the kernel does not describe an L1 data cache", where=str(caches), hint=_HINT)


def signature(cpuinfo: Path = CPUINFO) -> Signature | None:
    """The first processor's signature; None where there is none, as on other machines than x86."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    said = dict(re.findall(r"^([a-z_ ]+?)\s*:\s*(.*?)\s*$", text.split("\n\n")[0], re.MULTILINE))
    numbers = [said.get(key, "") for key in ("cpu family", "model", "stepping")]
    family, model, stepping = (int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None for text in numbers)
    if family is None or model is None or "vendor_id" not in said:
        return None
    return Signature(said["vendor_id"], family, model, stepping, said.get("model name", ""))


def has_flush_command(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the first CPU says that it has the command that flushes the L1D (IA32_FLUSH_CMD)."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and "flush_l1d" in flags[1].split()


def _geometry(folder: Path) -> Geometry:
    size, ways, line, sets = (
        _number(folder, name) for name in ("size", "ways_of_associativity", "coherency_line_size", "number_of_sets")
    )
    try:
        shape = Geometry(size, ways, line)
    except InputError as error:
        raise InputError(error.what, where=str(folder), hint=_HINT) from None
    if shape.sets != sets:
        raise InputError(
            f"{size} bytes of {ways} ways are {shape.sets} sets, and it says {sets}", where=str(folder), hint=_HINT
        )
    return shape


def _number(folder: Path, name: str) -> int:
    try:
        return parse_size(_said(folder, name))
    except InputError:
        raise InputError("the kernel does not say what it is", where=str(folder / name), hint=_HINT) from None


def _said(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
