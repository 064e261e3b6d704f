# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts in archives: written by gather, by hand, and by somebody with bad intentions."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sysroots
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import extract, zstd
from sysroots import CPUID, KINDS, MSR, UNREAD, CopiedHost

from l1dflush.errors import InputError
from l1dflush.host.reading.archive import Archive
from l1dflush.host.reading.collect import copied, from_archive, from_sysroot, this_host
from l1dflush.host.reading.files import LiveFiles, Sysroot, Uname, UnreadableError
from l1dflush.host.reading.gather import Recorder, gather
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.registers import GatheredRegisters, LiveRegisters


def gathered(folder: Path) -> tuple[HostFacts, bytes]:
    files = Sysroot(folder)
    return gather(files, GatheredRegisters(files))


def told(facts: HostFacts) -> HostFacts:
    """All that may not differ between a host and what was gathered of it."""
    return replace(facts, where="")


def members(*listed: tuple[str, bytes | str | None], kind: bytes = tarfile.SYMTYPE) -> bytes:
    """A tar archive of files, links (text: where to), and folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in listed:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            elif content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.type, member.linkname = kind, content
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return packed.getvalue()


def archive(tmp_path: Path, data: bytes) -> Archive:
    (tmp_path / "a.tar").write_bytes(data)
    return Archive(tmp_path / "a.tar")


# --- what gather writes


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_is_read_elsewhere(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path / "host")
    facts, data = gathered(tmp_path / "host")
    (tmp_path / "a.tar.gz").write_bytes(data)
    assert told(from_archive(tmp_path / "a.tar.gz")) == told(facts) == told(from_sysroot(tmp_path / "host"))
    assert gathered(tmp_path / "host")[1] == data
    with tarfile.open(fileobj=io.BytesIO(data)) as unpacked:
        extract(unpacked, tmp_path / "unpacked")
        listed = unpacked.getmembers()
    assert told(from_sysroot(tmp_path / "unpacked")) == told(facts)
    assert [member.name for member in listed] == sorted(member.name for member in listed)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in listed} == {
        (0, 0, 0, "", "")
    }
    assert {member.mode for member in listed if member.isfile()} == {0o644}


def test_the_same_is_read_of_this_host(tmp_path: Path) -> None:
    live = LiveFiles()
    facts, data = gather(live, LiveRegisters(live))
    (tmp_path / "a.tar.gz").write_bytes(data)
    assert told(from_archive(tmp_path / "a.tar.gz")) == told(facts)
    # The kernel's counter of flushes may have moved, and nothing else.
    again = this_host()
    assert replace(again, mitigation=replace(again.mitigation, flushes=facts.mitigation.flushes)) == facts


DAMAGE = st.tuples(st.integers(0, 1000), st.sampled_from(["remove", "empty", "junk", "deny", "fifo"]))
ODD_LETTERS = st.sampled_from("ab%: \n\\\u00e4\udcff.-")
ODD_NAMES = st.text(ODD_LETTERS, min_size=1, max_size=12).filter(lambda name: name.strip("."))


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    damage=st.lists(DAMAGE, max_size=4),
    name=ODD_NAMES,
    options=st.text(st.sampled_from("opti ns\\\nkvm_el=#\u2028\udcff"), max_size=20),
    denied=st.booleans(),
)
def test_the_same_is_read_of_a_damaged_host(
    kind: str, damage: list[tuple[int, str]], name: str, options: str, denied: bool, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    host = KINDS[kind](folder / "host")
    said = f"options kvm_intel {options}".encode(errors="surrogateescape")
    host.write(f"/etc/modprobe.d/{name}.conf", said)
    if denied:
        host.at(f"/etc/modprobe.d/{name}.conf").unlink()
        host.at(f"/etc/modprobe.d/{name}.conf").mkdir()
    paths = host.files()
    for number, what in damage:
        path = paths[number % len(paths)]
        if what == "fifo":
            host.remove(path)
            if not host.at(path).exists():
                os.mkfifo(host.at(path))
        else:
            getattr(host, what)(path)
    facts, data = gathered(folder / "host")
    (folder / "a.tar.gz").write_bytes(data)
    assert told(from_archive(folder / "a.tar.gz")) == told(facts)
    assert told(from_sysroot(folder / "host")) == told(facts)


def test_no_more_is_kept_than_is_looked_at(tmp_path: Path) -> None:
    host = sysroots.ept_off(tmp_path / "host")
    host.write("/etc/modprobe.d/wifi.conf", "options wifi key=secret1")
    host.write("/etc/modprobe.d/kvm.conf", "options wifi key=secret1\noptions kvm_intel ept=0")
    config = 'CONFIG_X86_64=y\nCONFIG_DEFAULT_HOSTNAME="secret1"\nCONFIG_KVM_INTEL=m'
    host.write(f"/boot/config-{sysroots.DEBIAN}", config)
    host.write("/proc/cpuinfo", host.at("/proc/cpuinfo").read_text() + "\nSerial\t\t: secret1\n")
    host.write("/proc/iomem", "00100000-bfffffff : System RAM\n  01000000-01ffffff : secret1")
    host.write("/etc/hostname", "secret1")
    data = gzip.decompress(gathered(tmp_path / "host")[1])
    assert b"secret1" not in data and b"ept=0" in data and b"CONFIG_KVM_INTEL=m" in data


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """So that no fact and no member can differ from another, on a host where files change."""
    sysroots.smt_on(tmp_path)
    seen: list[str] = []

    class Counted(Sysroot):
        def read(self, path: str) -> bytes:
            seen.append(path)
            return super().read(path)

    recorder = Recorder(Counted(tmp_path))
    facts = copied(recorder)
    assert len(seen) == len(set(seen)) and facts.kernel.release.known
    assert {path for path in recorder.files() if path not in (UNREAD, sysroots.UNAME)} <= set(seen)


def test_uname_is_there_though_nobody_asked(tmp_path: Path) -> None:
    sysroots.smt_on(tmp_path / "host").write("/proc/sys/kernel/arch", "x86_64")
    files = archive(tmp_path, gathered(tmp_path / "host")[1])
    assert files.uname() == Uname(sysroots.DEBIAN, sysroots.DEBIAN_VERSION, "x86_64")


@pytest.mark.parametrize("text", ["a\nb", "a\n\nc\n", "", "\0\1\2"])
def test_a_uname_that_gather_did_not_write(text: str, tmp_path: Path) -> None:
    host = CopiedHost(tmp_path)
    host.write(sysroots.UNAME, text.encode())
    with pytest.raises(UnreadableError):
        Sysroot(tmp_path).uname()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0000010a: unreadable: it takes root", "it takes root"),
        ("0000010a: 12", "not what gather writes"),
        ("0000010a: 0000000000000009 1", "not what gather writes"),
        ("0000010a: -000000000000009", "not what gather writes"),
        ("0000003a: 0000000000000001", "not gathered"),
        ("\0", "it is not text"),
        ("0000010a: unreadable:", "unreadable"),
    ],
)
def test_lines_of_registers(line: str, why: str, tmp_path: Path) -> None:
    host = CopiedHost(tmp_path)
    host.write(MSR, line)
    with pytest.raises(UnreadableError, match=why):
        GatheredRegisters(Sysroot(tmp_path)).msr(0x10A)
    host.write(CPUID, "00000007 00000000: 00000001 00000002 00000003 ffffffff")
    assert GatheredRegisters(Sysroot(tmp_path)).cpuid(7, 0) == (1, 2, 3, 0xFFFFFFFF)


# --- archives of others


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, zstd.compress])
def test_a_host_that_was_packed_by_hand(pack: Any, tmp_path: Path) -> None:
    """With a dot, with a slash, and with folders that are not members."""
    host = sysroots.smt_on(tmp_path / "host")
    for start in ("./", "/", ""):
        data = members(*((start + path[1:], host.at(path).read_bytes()) for path in host.files()), ("sys/module", None))
        (tmp_path / "a").write_bytes(pack(data))
        assert from_archive(tmp_path / "a").cpu == from_sysroot(tmp_path / "host").cpu


def test_links_stay_inside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    files = archive(
        tmp_path,
        members(
            ("real/file", b"inside"), ("lib", "real"), ("up", "../../../../real/file"), ("loop", "loop"),
            ("out", str(secret)), ("null", "/dev/null"), ("far", "x" * 5000),
        ),
    )  # fmt: skip
    assert files.read("/lib/file") == files.read("/up") == files.read("/lib/../real/./file") == b"inside"
    assert files.read("/null") == b""
    assert files.names("/lib") == ("file",) and files.exists("/lib/file") and not files.exists("/lib/none")
    for path, why in (
        ("/loop", "too many symbolic links"), ("/out", "there is no such file"), ("/far", "says too much"),
        ("/real", "it is a folder"), ("/real/file/x", "there is no such file"),
    ):  # fmt: skip
        with pytest.raises(UnreadableError, match=why):
            files.read(path)


def test_hard_links_and_later_members(tmp_path: Path) -> None:
    files = archive(tmp_path, members(("a", b"1"), ("a", b"2"), ("d/e", b"3"), ("d", None)))
    assert files.read("/a") == b"2" and files.names("/d") == ("e",)
    files = archive(tmp_path, members(("b", "a"), kind=tarfile.LNKTYPE))
    with pytest.raises(UnreadableError, match="there is no such file"):
        files.read("/b")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_not_there(kind: bytes, tmp_path: Path) -> None:
    files = archive(tmp_path, members(("proc/cmdline", ""), kind=kind))
    with pytest.raises(UnreadableError, match="there is no such file"):
        files.read("/proc/cmdline")


def test_names_that_lead_outside_are_not_there(tmp_path: Path) -> None:
    deep = "/".join("x" * 40)
    odd = [("../a", b"1"), ("b/../../c", b"2"), ("/etc/d", b"3"), (deep, b"4"), ("y" * 5000, b"")]
    files = archive(tmp_path, members(*odd))
    assert not files.exists("/a") and not files.exists("/c") and files.read("/etc/d") == b"3"
    assert files.names("/") == ("etc",)


def test_a_large_member_is_not_kept(tmp_path: Path) -> None:
    files = archive(tmp_path, members(("a", bytes(5 << 20))))
    with pytest.raises(UnreadableError, match="more than 4 MiB"):
        files.read("/a")


def test_bombs(tmp_path: Path) -> None:
    (tmp_path / "many").write_bytes(members(*((str(number), None) for number in range(20_001))))
    with pytest.raises(InputError, match="more than 20000 members"):
        Archive(tmp_path / "many")
    for number, pack in enumerate((gzip.compress, lzma.compress, zstd.compress)):
        bomb = tmp_path / str(number)
        bomb.write_bytes(pack(bytes(80 << 20)))
        tracemalloc.start()
        with pytest.raises(InputError, match="more than 64 MiB"):
            Archive(bomb)
        assert tracemalloc.get_traced_memory()[1] < 400 << 20
        tracemalloc.stop()
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="more than 64 MiB"):
        Archive(tmp_path / "sparse")


def test_headers_without_end(tmp_path: Path) -> None:
    """Each long name is about the header that follows it."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1
    (tmp_path / "a").write_bytes((member.tobuf() + b"x".ljust(512, b"\0")) * 5000)
    with pytest.raises(InputError):
        Archive(tmp_path / "a")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content, told in (
        (b"", "not a tar archive"),
        (b"x" * 2000, "not a tar archive"),
        (b"\x1f\x8b\x08", "ends too early"),
    ):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(InputError, match=told):
            from_archive(tmp_path / "a")
    with pytest.raises(InputError, match="this is a directory"):
        from_archive(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        from_archive(tmp_path / "none")
    (tmp_path / "a").write_bytes(members(("folder/proc/cpuinfo", b"x")))
    with pytest.raises(InputError, match="nothing of a host is in it"):
        from_archive(tmp_path / "a")


def test_no_archive_that_was_cut_is_taken_for_whole(tmp_path: Path) -> None:
    host = sysroots.smt_on(tmp_path / "host")
    whole = members(*((path, host.at(path).read_bytes()) for path in host.files()))
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    for size in [*range(0, end, 509), *range(0, end + 1, 512)]:
        (tmp_path / "a").write_bytes(whole[:size])
        with pytest.raises(InputError):
            Archive(tmp_path / "a")
    packed = gathered(tmp_path / "host")[1]
    for size in range(0, len(packed), 97):
        (tmp_path / "a").write_bytes(packed[:size])
        with pytest.raises(InputError):
            Archive(tmp_path / "a")


@settings(max_examples=80, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), cut=st.integers(0, 6))
def test_any_archive(changes: list[tuple[int, int]], cut: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = bytearray(members(("proc/cpuinfo", b"processor: 0\n"), ("proc/cmdline", "cpuinfo"), ("sys", None)))
    for at, value in changes:
        data[at % 2048] = value
    (folder / "a").write_bytes(data[: len(data) - cut * 512])
    try:
        facts = from_archive(folder / "a")
    except InputError:
        return
    assert all(fact.known or fact.why for _, fact in facts.each())
