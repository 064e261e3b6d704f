# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios as files: a machine, a flush, memory, and what the host does between VM entries.

The files are TOML; docs/lab.md describes them, and those that are shipped lie in ``data/scenarios``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l1dflush.arguments import parse_size
from l1dflush.errors import InputError
from l1dflush.renamed import renamed
from l1dflush.user_files import read_file
from l1dflush.vmentry.lab.memory import LINE
from l1dflush.vmentry.lab.script import BUFFER_NAME, Step, memories, parsed
from l1dflush.vmentry.subsystem import WRITABLE, Boot, Mode

FOLDER = Path(__file__).resolve().parents[2] / "data" / "scenarios"
SUFFIX = ".toml"
_MOST_BYTES = 4 << 20
_MOST_MEMORY = 16 << 20
_MOST_TRACE = 1_000_000
_MOST_TRACE_BYTES = 32 << 20


_OFFSET = re.compile(rb"0|[1-9][0-9]{0,8}|0[xX][0-9a-fA-F]{1,8}")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MachineFile(_Model):
    """The core and what is around it."""

    cpu: str = "skylake"
    bug: bool = True
    ept: bool = True
    smt: bool = False
    command: bool = False
    load_list: bool = False
    below_merges: bool = False
    below_flushes: bool = False
    flush_not_required: bool = False


class FlushFile(_Model):
    """The subsystem: mode, boot line, and the routine, as ``verify`` takes it, or ``planned``."""

    mode: Mode = Mode.ALWAYS
    boot: Boot = Boot.FLUSH
    routine: str = "linux-4.18"
    bind: dict[str, str] = Field(default_factory=dict)
    initialised: bool = True


class BlockFile(_Model):
    """Memory of the host."""

    size: str
    secret: bool = False
    trace: str | None = None


class MatrixFile(_Model):
    """What the sum is made over besides modes, SMT and EPT."""

    routines: tuple[str, ...] = ()
    cpus: tuple[str, ...] = ()


class ScenarioFile(_Model):
    """A whole file."""

    title: str
    text: str = ""
    machine: MachineFile = MachineFile()
    flush: FlushFile = FlushFile()
    memory: dict[str, BlockFile]
    matrix: MatrixFile = MatrixFile()
    seed: int = Field(default=1, ge=0, lt=1 << 32)
    script: str


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A file that was read: its script parsed, sizes in bytes, and traces as byte offsets."""

    name: str
    folder: Path
    file: ScenarioFile
    steps: tuple[Step, ...]
    sizes: dict[str, int]
    traces: dict[str, NDArray[np.int64]]


def lines_of(size: int) -> int:
    """How many lines memory of so many bytes has, the last one perhaps in part."""
    return -(-size // LINE)


def shipped() -> list[str]:
    """Names of the scenarios that come with the program."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def read_scenario(name: str) -> Scenario:
    """A shipped scenario by name, or a file. Raises InputError."""
    path = FOLDER / f"{name}{SUFFIX}" if name in shipped() else Path(name)
    where = name[:200]
    if (now := renamed(name)) is not None and not path.exists():
        raise InputError(now, where=where)
    content = read_file(path, _MOST_BYTES, where=where, hint=f"a file, or one of {', '.join(shipped())}", stdin=False)
    try:
        file = ScenarioFile.model_validate(tomllib.loads(content.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"this is not TOML: {str(error)[:120]}", where=where) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise InputError(
            f"{place}: {first['msg'][:120]}", where=where, hint="'l1dflush help lab' describes the file"
        ) from None
    return _checked(where, path.parent, file)


def _checked(where: str, folder: Path, file: ScenarioFile) -> Scenario:
    if file.flush.mode not in WRITABLE:
        raise InputError(f"'{file.flush.mode}' can only be read", where=f"{where}: flush.mode")
    if file.machine.load_list and not file.machine.command:
        hint = "command = true is a CPU that has it"
        raise InputError(
            "only the command can be in the entry's load list", where=f"{where}: machine.load_list", hint=hint
        )
    if BUFFER_NAME in file.memory:
        raise InputError(f"no memory is called {BUFFER_NAME}: that is the flush's", where=f"{where}: memory")
    sizes: dict[str, int] = {}
    traces: dict[str, NDArray[np.int64]] = {}
    for name, block in file.memory.items():
        at = f"{where}: memory.{name[:40]}"
        try:
            sizes[name] = parse_size(block.size)
        except InputError as error:
            raise InputError(error.what, where=at, hint=error.hint) from None
        if not 0 < sizes[name] <= _MOST_MEMORY:
            raise InputError(f"'{block.size}' of memory", where=at, hint=f"up to {_MOST_MEMORY >> 20} MiB")
        if block.trace is not None:
            traces[name] = _trace(folder / block.trace, sizes[name], at)
    steps = parsed(file.script, f"{where}: script")
    for step, accesses in memories(steps):
        at = f"{where}: script:{step.line}"
        if accesses.memory not in file.memory and accesses.memory != BUFFER_NAME:
            known = ", ".join([*file.memory, BUFFER_NAME])
            raise InputError(f"no memory is called {accesses.memory[:40]!r}", where=at, hint=f"there are {known}")
        if step.verb == "replay" and accesses.memory not in traces:
            raise InputError(f"{accesses.memory[:40]} has no trace", where=at, hint="name one in its memory: trace=")
        # How many lines the buffer has depends on the routine; those that it has not are left out.
        lines = lines_of(sizes.get(accesses.memory, _MOST_MEMORY))
        if accesses.last is not None and accesses.last >= lines:
            raise InputError(f"{accesses.memory[:40]} has {lines} lines", where=at, hint="they are numbered from 0")
    return Scenario(Path(where).stem, folder, file, steps, sizes, traces)


def _trace(path: Path, size: int, at: str) -> NDArray[np.int64]:
    """Byte offsets, one a line, decimal or hexadecimal."""
    try:
        content = read_file(path, _MOST_TRACE_BYTES, stdin=False)
    except InputError as error:
        raise InputError(f"its trace: {error.what}", where=at, hint=error.hint) from None
    found = []
    for number, line in enumerate(content.split(b"\n"), 1):
        word = line.split(b"#", 1)[0].strip()
        if not word:
            continue
        if not _OFFSET.fullmatch(word) or (offset := int(word, 0)) >= size:
            told = word[:20].decode("ascii", errors="replace")
            hint = f"from 0 to {size - 1}, decimal or 0x..., one a line"
            raise InputError(f"its trace, line {number}: '{told}' is not an offset in it", where=at, hint=hint)
        found.append(offset)
    if not 0 < len(found) <= _MOST_TRACE:
        raise InputError(f"its trace has {len(found)} accesses", where=at, hint=f"1 to {_MOST_TRACE} can be replayed")
    return np.array(found, dtype=np.int64)
