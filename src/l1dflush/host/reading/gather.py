# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts of a host as an archive, from which they can be read elsewhere.

What goes in is what :func:`~l1dflush.host.reading.collect.collect` reads: there is no list of files here. Of some files
only the lines that it looks at are kept, for the rest is nobody's business; ``collect`` sees no more than is kept, so
that it finds the same elsewhere.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from l1dflush.host.reading.collect import collect
from l1dflush.host.reading.cpu import CPUINFO
from l1dflush.host.reading.files import (
    NOT_GATHERED,
    UNAME,
    UNREAD,
    HostFiles,
    Uname,
    UnreadableError,
    decoded,
    unread_line,
    xl_path,
)
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.kernel import CONFIG_FILES, CONFIG_HERE, IOMEM, RAM, SYMBOLS, config_symbols
from l1dflush.host.reading.mitigation import CONFIGURATIONS, JUNK, KVM_INTEL, module_options
from l1dflush.host.reading.registers import CPUID, MSR, Leaf, Registers
from l1dflush.host.reading.xen import UUID, XL_DMESG, XL_INFO, kept_info, kept_log, kept_uuid
from l1dflush.routine.detect import compression

K = TypeVar("K")
T = TypeVar("T")

_GOES_ON, _END = "\\", "\n"
_SERIAL = "Serial"


class Recorder:
    """Files that are remembered as they are read, as far as they are kept; each has one content from then on."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._read: dict[str, bytes | UnreadableError] = {}
        self._listed: dict[str, tuple[str, ...] | UnreadableError] = {}
        self._looked: dict[str, bool | UnreadableError] = {}
        self._uname: dict[str, Uname | UnreadableError] = {}
        self._xl: dict[str, bytes | UnreadableError] = {}

    @property
    def where(self) -> str:
        """See :class:`HostFiles`."""
        return self._files.where

    def read(self, path: str) -> bytes:
        """See :class:`HostFiles`."""
        return _once(self._read, path, lambda: _kept(path, self._files.read(path)))

    def names(self, folder: str) -> tuple[str, ...]:
        """See :class:`HostFiles`."""
        return _once(self._listed, folder, lambda: self._files.names(folder))

    def exists(self, path: str) -> bool:
        """See :class:`HostFiles`."""
        return _once(self._looked, path, lambda: self._files.exists(path))

    def uname(self) -> Uname:
        """See :class:`HostFiles`."""
        return _once(self._uname, UNAME, self._files.uname)

    def xl(self, what: str) -> bytes:
        """See :class:`HostFiles`."""
        kept = {XL_DMESG: kept_log, XL_INFO: kept_info}[what]
        return _once(self._xl, xl_path(what), lambda: kept(self._files.xl(what)))

    def files(self) -> dict[str, bytes]:
        """The content of each file that was read, by its path, and :data:`UNAME` and :data:`UNREAD`."""
        found = {path: said for path, said in {**self._read, **self._xl}.items() if isinstance(said, bytes)}
        asked = {**self._looked, **self._listed, **self._read, **self._uname, **self._xl}
        unread = {path: said.why for path, said in asked.items() if isinstance(said, UnreadableError)}
        for path in {UNAME, *self._xl}:
            if unread.get(path) == NOT_GATHERED:
                del unread[path]
        for said in self._uname.values():
            if isinstance(said, Uname):
                found[UNAME] = "".join(f"{line}\n" for line in said).encode()
        return {**found, UNREAD: "".join(unread_line(path, why) for path, why in sorted(unread.items())).encode()}

    def folders(self) -> set[str]:
        """What was seen to be there and was not read."""
        listed = {path for path, said in self._listed.items() if not isinstance(said, UnreadableError)}
        seen = {path for path, said in self._looked.items() if said is True}
        return (listed | seen) - self._read.keys()


class RegisterRecorder:
    """Registers that are remembered as they are read."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers
        self._leaves: dict[tuple[int, int], Leaf | UnreadableError] = {}
        self._numbers: dict[int, int | UnreadableError] = {}

    def cpuid(self, leaf: int, subleaf: int) -> Leaf:
        """See :class:`Registers`."""
        return _once(self._leaves, (leaf, subleaf), lambda: self._registers.cpuid(leaf, subleaf))

    def msr(self, number: int) -> int:
        """See :class:`Registers`."""
        return _once(self._numbers, number, lambda: self._registers.msr(number))

    def files(self) -> dict[str, bytes]:
        """:data:`CPUID` and :data:`MSR`, as far as there is something to say."""
        leaves = [
            (f"{leaf:08x} {subleaf:08x}", _written(said, lambda four: " ".join(f"{one:08x}" for one in four)))
            for (leaf, subleaf), said in sorted(self._leaves.items())
        ]
        numbers = [
            (f"{number:08x}", _written(said, lambda value: f"{value:016x}"))
            for number, said in sorted(self._numbers.items())
        ]
        texts = {
            path: "".join(f"{name}: {value}\n" for name, value in lines if value)
            for path, lines in ((CPUID, leaves), (MSR, numbers))
        }
        return {path: text.encode() for path, text in texts.items() if text}


def gather(files: HostFiles, registers: Registers) -> tuple[HostFacts, bytes]:
    """The facts, and a tar archive compressed with gzip from which the same can be read. The same facts make the same
    bytes. Never raises for what it finds."""
    recorder, register_recorder = Recorder(files), RegisterRecorder(registers)
    facts = collect(recorder, register_recorder)
    with suppress(UnreadableError):
        recorder.uname()  # nobody asks where /proc has it, but people look
    return facts, _archive({**recorder.files(), **register_recorder.files()}, recorder.folders())


def _once(known: dict[K, T | UnreadableError], key: K, read: Callable[[], T]) -> T:
    if key not in known:
        try:
            known[key] = read()
        except UnreadableError as error:
            known[key] = error
    said = known[key]
    if isinstance(said, UnreadableError):
        raise UnreadableError(said.why)
    return said


def _written(said: T | UnreadableError, figures: Callable[[T], str]) -> str:
    if isinstance(said, UnreadableError):
        return "" if said.why == NOT_GATHERED else f"unreadable: {said.why}"
    return figures(said)


def _kept(path: str, content: bytes) -> bytes:
    """What is kept of a file: all that is looked at in it, and where that is enough nothing else."""
    if path == CPUINFO:
        return _lines(content, lambda line: f"{_SERIAL}:" if line.partition(":")[0].strip() == _SERIAL else line)
    if path == UUID:
        return kept_uuid(content)
    if path == IOMEM:
        return _lines(content, lambda line: line if line.rstrip().endswith(RAM) else None)
    if path == CONFIG_HERE or any(path.startswith(start) and path.endswith(end) for start, end in CONFIG_FILES):
        return _configuration(content)
    if path.rpartition("/")[0] in CONFIGURATIONS:
        if JUNK in content:
            return JUNK
        words = " ".join(module_options(content, KVM_INTEL))
        # A line that ends in a backslash goes on in the next.
        return f"options {KVM_INTEL} {words}{'' if words.endswith(_GOES_ON) else _END}".encode() if words else b""
    return content


def _lines(content: bytes, kept: Callable[[str], str | None]) -> bytes:
    """What is empty or no text stays what it is: that has to be seen elsewhere too."""
    try:
        lines = map(kept, decoded(content).split("\n"))
    except UnreadableError:
        return content
    return ("\n".join(line for line in lines if line is not None).rstrip("\n") + "\n").encode()


def _configuration(content: bytes) -> bytes:
    try:
        symbols = config_symbols(content)
    except UnreadableError:
        return content
    # The first as well: one line at least tells that it is a configuration.
    first = next(iter(symbols))
    kept = "".join(f"{name}={value}\n" for name, value in symbols.items() if name in SYMBOLS or name == first).encode()
    return gzip.compress(kept, mtime=0) if compression(content) else kept


def _archive(contents: dict[str, bytes], folders: set[str]) -> bytes:
    """Nothing in it tells who made it, or when."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
        for path in sorted({*contents, *folders}):
            member = tarfile.TarInfo(path.lstrip("/"))
            if path in contents:
                member.size, member.mode = len(contents[path]), 0o644
                archive.addfile(member, io.BytesIO(contents[path]))
            else:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
    return gzip.compress(packed.getvalue(), mtime=0)
