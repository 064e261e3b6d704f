# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed input: whole, cut off, damaged, in several streams, packed twice, and out to fill the memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import resource
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import zstd

from l1dflush.cli.main import main
from l1dflush.errors import InputError
from l1dflush.routine.compressed import unpack
from l1dflush.routine.given import MAX_BYTES
from l1dflush.routine.identity import digest
from l1dflush.routine.load import load, load_bytes
from l1dflush.routine.model import OriginKind
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import assemble

Pack = Callable[[bytes], bytes]
HAS_SIZE, HAS_CHECKSUM = zstd.CompressionParameter.content_size_flag, zstd.CompressionParameter.checksum_flag
NAMES = ("gzip", "xz", "zstd")
PACKS: dict[str, Pack] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "zstd": lambda data: zstd.compress(data, options={HAS_SIZE: 0, HAS_CHECKSUM: 1}),
}
SUFFIX = {"gzip": ".gz", "xz": ".xz", "zstd": ".zst"}
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
formats = pytest.mark.parametrize("name", NAMES)

ASSEMBLY = """\
	.text
	.globl	flush
	.type	flush, @function
flush:	xorl	%eax, %eax
1:	movzbl	(%rdi,%rax), %ecx
	addq	$64, %rax
	cmpq	$65536, %rax
	jne	1b
	lfence
	ret
	.size	flush, . - flush
"""
NOISE = random.Random(1).randbytes(300_000)


def unpacked(data: bytes, most: int = 1 << 20) -> bytes:
    return unpack(data, where="x", most=most)


def fails(data: bytes, what: str, most: int = 1 << 20) -> None:
    with pytest.raises(InputError, match=what) as error:
        unpacked(data, most)
    assert error.value.where == "x"
    assert str(error.value).isprintable()


@formats
@pytest.mark.parametrize("content", [b"x", b"x" * 200_000, NOISE, NOISE * 3], ids=len)
def test_what_was_packed_comes_out(name: str, content: bytes) -> None:
    assert unpacked(PACKS[name](content)) == content


@formats
def test_several_streams_are_one_content(name: str) -> None:
    pack = PACKS[name]
    assert unpacked(pack(b"one ") + pack(b"") + pack(b"two ") + pack(NOISE)) == b"one two " + NOISE


def test_the_tools_own_ways_of_packing() -> None:
    assert unpacked(lzma.compress(b"x" * 99, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)) == b"x" * 99
    assert unpacked(lzma.compress(b"a") + bytes(8) + lzma.compress(b"b") + bytes(4)) == b"ab"
    assert unpacked(gzip.compress(b"a") + bytes(511)) == b"a"
    for level in (1, 19, 22):
        assert unpacked(zstd.compress(NOISE, level)) == NOISE
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    fails(PACKS["zstd"](b"a") + skippable, "something else follows the zstd data")


@formats
def test_content_up_to_the_limit(name: str) -> None:
    content = bytes(range(256)) * 4096
    assert unpacked(PACKS[name](content)) == content
    fails(PACKS[name](content + b"x"), "unpacked it is more than 1 MiB")
    fails(PACKS[name](content) + PACKS[name](b"x"), "unpacked it is more than 1 MiB")
    assert unpacked(PACKS[name](content) + PACKS[name](b"")) == content


@formats
def test_data_that_is_cut_off(name: str) -> None:
    packed = PACKS[name](NOISE[:3000])
    for length in [*range(7, 40), *range(40, len(packed), 101), len(packed) - 1]:
        fails(packed[:length], "ends too early")
    fails(PACKS[name](b"a") + packed[:-1], "ends too early")


@formats
def test_data_that_is_damaged(name: str) -> None:
    packed = bytearray(PACKS[name](NOISE[:3000]))
    packed[1500] ^= 1
    fails(bytes(packed), f"damaged {name} data")


@formats
@pytest.mark.parametrize("garbage", [b"x", b"\0x", b"garbage" * 1000, b"\x7fELF" + bytes(100)])
def test_something_else_behind(name: str, garbage: bytes) -> None:
    fails(PACKS[name](b"a") + garbage, f"something else follows the {name} data")


@formats
def test_another_format_behind(name: str) -> None:
    other = PACKS[NAMES[NAMES.index(name) - 1]]
    fails(PACKS[name](b"a") + other(b"b"), f"something else follows the {name} data")


@formats
def test_nothing_inside(name: str) -> None:
    fails(PACKS[name](b""), f"nothing is in it but the marks of {name}")


@formats
@pytest.mark.parametrize("inner", [*NAMES, "bzip2"])
def test_packed_twice(name: str, inner: str) -> None:
    pack = PACKS.get(inner, bz2.compress)
    fails(PACKS[name](pack(b"a")), f"compressed twice, with {inner} and then with {name}")


@formats
def test_streams_without_end(name: str) -> None:
    fails(PACKS[name](b"") * 5000, f"more than 4096 {name} streams")


# --- bombs


def zstd_bomb() -> bytes:
    """16 GiB in 512 KiB: blocks of 128 KiB, each a byte and how often."""
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (1 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    # No content size, a window of 128 KiB.
    return b"\x28\xb5\x2f\xfd" + bytes([0, 7 << 3]) + block * (1 << 17) + last


def xz_bomb() -> bytes:
    return lzma.compress(bytes(256 << 20), preset=0)


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()


@pytest.mark.parametrize("bomb", [gzip_bomb, xz_bomb, zstd_bomb])
def test_a_bomb_ends_at_once_and_takes_no_memory(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    assert len(data) < 3 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fails(data, "unpacked it is more than 1 MiB")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_bomb_in_a_bomb() -> None:
    fails(lzma.compress(gzip_bomb()), "compressed twice", most=MAX_BYTES)


def test_a_window_without_bounds() -> None:
    # Window descriptor: 2**(10 + 21), 2 GiB.
    fails(b"\x28\xb5\x2f\xfd" + bytes([0, 21 << 3]) + b"\x03\0\0x", "damaged zstd data: .*memory")


def test_a_dictionary_without_bounds() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}]
    fails(lzma.compress(b"x", filters=filters), "damaged xz data: Memory usage limit exceeded")


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(NAMES), st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_whatever_it_is_it_ends(name: str, content: bytes, position: int, value: int) -> None:
    data = bytearray(PACKS[name](content * 3))
    data[position % len(data)] = value
    try:
        unpacked(bytes(data))
    except InputError as error:
        assert str(error).isprintable()


# --- through the door


@needs_as
@formats
def test_an_object_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"entry.ko{SUFFIX[name]}"
    plain = assemble(ASSEMBLY.encode(), where="x.s")
    file.write_bytes(PACKS[name](plain))
    (routine,) = load(str(file), LoadOptions(function="flush"))
    assert (routine.origin.kind, routine.origin.detail) == (OriginKind.OBJECT, f"64-bit ELF, {name}")
    assert routine.origin.source == str(file)
    (same,) = load_bytes(plain, str(file), LoadOptions(function="flush"))
    assert digest(routine) == digest(same)


@needs_as
@pytest.mark.parametrize("suffix", [".s.gz", ".S.XZ", ".gz", ""])
def test_the_content_says_what_it_is(suffix: str) -> None:
    (routine,) = load_bytes(PACKS["xz"](ASSEMBLY.encode()), f"flush{suffix}", LoadOptions())
    assert routine.origin.kind is OriginKind.ASSEMBLY
    assert routine.origin.detail.endswith(", xz")


def test_the_name_without_its_suffix_breaks_ties() -> None:
    content = PACKS["gzip"](b"something that nobody knows\n")
    with pytest.raises(InputError, match="no such instruction"):
        load_bytes(content, "x.s.gz", LoadOptions())
    with pytest.raises(InputError, match="text of no known kind"):
        load_bytes(content, "x.gz", LoadOptions())


def test_loading_plain_input_imports_no_decompressor() -> None:
    program = (
        "import sys; from l1dflush.routine.load import load; from l1dflush.routine.options import LoadOptions\n"
        "load('one-pass', LoadOptions()); sys.exit(any('zstd' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@needs_as
@formats
def test_on_the_command_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"entry.ko{SUFFIX[name]}"
    file.write_bytes(PACKS[name](assemble(ASSEMBLY.encode(), where="x.s")))
    assert main(["verify", str(file), "--cpu", "haswell"]) == 0
    assert f"64-bit ELF, {name}" in capsys.readouterr().out


@pytest.mark.parametrize("bomb", [gzip_bomb, xz_bomb, zstd_bomb])
def test_a_bomb_on_the_command_line(
    bomb: Callable[[], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bomb"
    file.write_bytes(bomb())
    assert main(["verify", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"l1dflush: {file}: unpacked it is more than 64 MiB\n"
