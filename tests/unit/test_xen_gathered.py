# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen says, gathered into an archive and read on the spot."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

import pytest
from sysroots import CopiedHost
from xen_hosts import (
    CAPABILITIES,
    OTHER,
    UUID,
    ZERO,
    a_guest,
    status,
    threads,
    written,
    xen_log,
)

from l1dflush.host.reading import files as reading_files
from l1dflush.host.reading.collect import from_archive, from_sysroot
from l1dflush.host.reading.files import LiveFiles, Sysroot, UnreadableError
from l1dflush.host.reading.gather import gather
from l1dflush.host.reading.registers import GatheredRegisters
from l1dflush.host.status.grounds import L1tfVerdict

UNKNOWN, PARTIAL, MITIGATED, VULNERABLE, NOT_AFFECTED = (
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.VULNERABLE,
    L1tfVerdict.NOT_AFFECTED,
)


@pytest.fixture
def host(tmp_path: Path) -> CopiedHost:
    return a_guest(tmp_path)


def control(host: CopiedHost) -> bool | None:
    return from_sysroot(host.folder).xen.control.value


def test_an_archive_has_what_xl_said_and_is_judged_the_same(host: CopiedHost, tmp_path: Path) -> None:
    host.write(CAPABILITIES, "control_d")
    host.write("/l1dflush/xl-dmesg.txt", written(xen_log(flush=False)))
    host.write("/l1dflush/xl-info.txt", threads(2))
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    there = from_archive(archive)
    assert (there.xen.log.value, there.xen.info.value) == (here.xen.log.value, here.xen.info.value)
    assert "L1D_FLUSH" in (there.xen.log.value or "")
    assert status(there).verdict is status(here).verdict is VULNERABLE


@pytest.mark.parametrize(("uuid", "control"), [(ZERO, True), (OTHER, False), ("junk", None)])
def test_an_archive_names_no_guest(host: CopiedHost, tmp_path: Path, uuid: str, control: bool | None) -> None:
    host.write(UUID, uuid)
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    assert here.xen.control.value is from_archive(archive).xen.control.value is control
    assert OTHER.encode() not in gzip.decompress(content)


def test_what_root_alone_may_read_says_so_elsewhere_too(host: CopiedHost, tmp_path: Path) -> None:
    host.write(CAPABILITIES, "control_d")
    host.deny("/l1dflush/xl-dmesg.txt", "it takes root")
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    assert here.xen.log.why == from_archive(archive).xen.log.why == "it takes root"
    assert from_archive(archive).xen.info.why == "not gathered"


def _xl(folder: Path, script: str) -> str:
    program = folder / "xl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('echo "$1 $#"', b"dmesg 1\n"),
        ("exit 3", "ended with status 3"),
        ("sleep 20", "did not answer in 1 seconds"),
        ("head -c 5000000 /dev/zero", "more than 4 MiB"),
    ],
)
def test_xl_is_run_by_root_alone_and_never_for_long(
    script: str, expected: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_files, "_XL", (str(tmp_path / "none"), _xl(tmp_path, script)))
    monkeypatch.setattr(reading_files, "_SECONDS", 1)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UnreadableError, match="it takes root"):
        LiveFiles().xl("dmesg")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if isinstance(expected, bytes):
        assert LiveFiles().xl("dmesg") == expected
    else:
        with pytest.raises(UnreadableError, match=expected):
            LiveFiles().xl("dmesg")


def test_without_xl_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_files, "_XL", ("/nowhere/xl",))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UnreadableError, match="there is no xl"):
        LiveFiles().xl("dmesg")
