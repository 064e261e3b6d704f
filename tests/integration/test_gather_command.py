# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush gather``: this host and copies of others, to a file and to standard output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import fields, replace
from pathlib import Path

import pytest
import sysroots

from l1dflush.cli.main import main
from l1dflush.host.reading.collect import from_archive, from_sysroot, this_host
from l1dflush.host.reading.host_facts import CpuSays, KernelSays, MitigationSays, XenSays

Capture = pytest.CaptureFixture[str]
FACTS = sum(len(fields(part)) for part in (KernelSays, CpuSays, MitigationSays, XenSays))
"""Of a host that is not POWER."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_this_host_in_the_current_folder(capsys: Capture) -> None:
    assert main(["gather"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("l1dflush-facts.tar.gz: ") and err == ""
    gathered, live = from_archive(Path("l1dflush-facts.tar.gz")), this_host()
    assert gathered.kernel == live.kernel and gathered.cpu == live.cpu
    known = sum(fact.known for _, fact in gathered.each())
    assert f" {known} of {FACTS} facts" in out
    for name, fact in gathered.each():
        assert (f"  {name}: " in out) is not fact.known


def test_nothing_that_names_this_host_is_in_it() -> None:
    name = os.uname().nodename
    assert main(["gather"]) == 0
    with tarfile.open("l1dflush-facts.tar.gz") as archive:
        contents = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.isfile()
        }
    assert {
        name for name in contents if not name.startswith(("proc/", "sys/", "boot/", "etc/", "lib/", "usr/lib/"))
    } <= {f"l1dflush/{name}.txt" for name in ("cpuid", "msr", "uname", "unread")}
    # The command line is taken as it is.
    del contents["proc/cmdline"]
    if len(name) > 3:
        assert not any(name.encode() in content.split() for content in contents.values())


def test_copies_of_another_host(tmp_path: Path, capsys: Capture) -> None:
    sysroots.locked_down(tmp_path / "host")
    assert main(["gather", "--sysroot", "host", "-o", "a.tar.gz"]) == 0
    out = capsys.readouterr().out
    assert f"a.tar.gz: {FACTS - 1} of {FACTS} facts" in out
    assert "cpu.arch_capabilities: /dev/cpu/0/msr: not permitted (the kernel is locked down: integrity)" in " ".join(
        out.split()
    )
    assert replace(from_archive(Path("a.tar.gz")), where="host") == from_sysroot(Path("host"))


def test_standard_output(tmp_path: Path) -> None:
    sysroots.smt_on(tmp_path / "host")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "l1dflush", "gather", "--sysroot", "host", "--output", "-"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stderr == f"l1dflush: {FACTS} of {FACTS} facts were read of host\n".encode()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "proc/cpuinfo" in archive.getnames()
    assert main(["gather", "--sysroot", "host"]) == 0
    assert Path("l1dflush-facts.tar.gz").read_bytes() == done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "l1dflush", "gather", "-o", "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert b"cannot write the result" in done.stderr and b"Traceback" not in done.stderr


def test_where_it_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    Path("old.tar.gz").mkdir()
    for output, told in (("none/a.tar.gz", "no such folder"), ("old.tar.gz", "not a regular file")):
        assert main(["gather", "--output", output]) == 1
        out, err = capsys.readouterr()
        assert out == "" and told in err and err.count("\n") == 1
    assert os.listdir(tmp_path) == ["old.tar.gz"]  # noqa: PTH208 (names alone)


def test_no_host(tmp_path: Path, capsys: Capture) -> None:
    for folder, told in (("none", "there is no such folder"), (".", "nothing of a host is in it")):
        assert main(["gather", "--sysroot", folder]) == 1
        assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
