# SPDX-License-Identifier: GPL-2.0-or-later
"""What an input is taken for, and the one door through which every input comes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from l1dflush.errors import InputError
from l1dflush.routine import given
from l1dflush.routine import load as door
from l1dflush.routine.detect import Format, detect, looks_like_assembly
from l1dflush.routine.load import load
from l1dflush.routine.model import OriginKind
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import assemble
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")

ASSEMBLY = """\
# Empties the cache.
	.text
	.globl	flush
flush:	xorl	%eax, %eax
1:	movzbl	(%rdi,%rax), %ecx
	addq	$64, %rax
	cmpq	$65536, %rax
	jne	1b
	ret
"""
INTEL = "flush:\n  xor eax, eax\nfill: mov rcx, [rdi+rax]\n  add rax, 64\n  cmp rax, 65536\n  jne fill\n  ret\n"
C = """\
#include <linux/mm.h>
/* Empties the cache. */
static void *pages;
void flush(void)
{
	asm volatile("1: movzbl (%0, %%rax), %%ecx\\n\\t"
		"addl $64, %%eax\\n\\t"
		"jne 1b\\n\\t" :: "r" (pages) : "eax", "ecx");
}
"""
PATCH = """\
From: Somebody <somebody@example.org>
Subject: [PATCH] flush the cache

--- a/flush.c
+++ b/flush.c
@@ -1,1 +1,5 @@
 int a;
+void flush(char *p)
+{
+	asm volatile("movb (%0), %%al" :: "r" (p) : "eax");
+}
"""


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (ASSEMBLY, "x", Format.ASSEMBLY),
        (ASSEMBLY, "x.c", Format.ASSEMBLY),
        (INTEL, "x", Format.ASSEMBLY),
        ("#define SIZE 64\n" + ASSEMBLY, "x.S", Format.ASSEMBLY),
        ("ret\n", "-", Format.ASSEMBLY),
        (C, "x", Format.C),
        ("void *flush_pages;\n", "setup.c", Format.C),
        ("volatile int *state, flags[2];\n", "setup.c", Format.C),
        (C, "x.s", Format.C),
        (C.replace("\n", "\r\n"), "x", Format.C),
        (PATCH, "x", Format.PATCH),
        (PATCH, "x.c", Format.PATCH),
        ("", "x.c", Format.EMPTY),
        (" \n\t\n", "x", Format.EMPTY),
        ("Dear all,\n\nplease flush the cache.\n", "x", Format.UNKNOWN),
        ("something that nobody knows\n", "x.s", Format.ASSEMBLY),
        ("\x7fELF", "x.c", Format.ELF),
    ],
)
def test_content_decides(text: str, name: str, expected: Format) -> None:
    assert detect(text.encode(), name) is expected


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        bytes(range(256)),
        gzip.compress(b"x" * 100, mtime=0),
        lzma.compress(b"x" * 100),
        "int x;".encode("utf-16"),
    ],
)
def test_binary_data(data: bytes) -> None:
    assert detect(data, "x.c") is Format.BINARY


@pytest.mark.parametrize("text", ["", "\n\n", "/*" * 100_000, "int f(void);\n", "movies are not moves\n", ";;;;"])
def test_what_is_no_assembly(text: str) -> None:
    assert not looks_like_assembly(text)


def fails(source: str, what: str) -> InputError:
    with pytest.raises(InputError, match=what) as error:
        load(source, LoadOptions())
    assert "\n" not in str(error.value)
    return error.value


def test_a_built_in_goes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("52k").write_text("nothing that can be loaded")
    assert load("52k", LoadOptions())[0].origin.kind is OriginKind.BUILT_IN
    fails("./52k", "text of no known kind")
    with pytest.raises(InputError, match="--function: the built-in routine '52k' is a single function"):
        load("52k", LoadOptions(function="flush"))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    fails("linux-4.9.121", "no such file and no such built-in routine .did you mean the built-in linux-4.9.120")
    fails(str(tmp_path / "none"), "no such file .*built in are linux-4.9.120, 52k")
    fails("", "the name of the input is empty")
    fails("a\0b", "cannot be read: embedded null")
    fails("x" * 5000, "cannot be read: File name too long")
    fails(str(tmp_path), "this is a directory")
    fails("/dev/null", "it is empty")
    fails("/dev/zero", "this is a device")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    fails(
        str(fifo),
        "nobody writes to this named pipe .give a regular file, or - and the content on standard input",
    )
    (tmp_path / "empty").touch()
    fails(str(tmp_path / "empty"), "it is empty")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    fails(str(loop), "cannot be read: Too many levels of symbolic links")
    (tmp_path / "file" / "x").parent.write_text("x")
    fails(str(tmp_path / "file" / "x"), "cannot be read: Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0)
    fails(str(secret), "cannot be read: Permission denied")


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    fails(str(large), "more than 64 MiB")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bz2.compress(b"x"), "it is compressed with bzip2, which is not read .unpack it first"),
        (random.Random(1).randbytes(4000), "binary data of no known kind .understood are"),
        (b"hello\n", "text of no known kind .understood are"),
        (b"\x7fELF" + b"x" * 8, "damaged ELF file"),
    ],
)
def test_contents_that_are_nothing(data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert fails(str(path), what).where == str(path)


@needs_as
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.s"))
    path.write_text(ASSEMBLY)
    (routine,) = load(str(path), LoadOptions())
    routine.origin.source.encode("utf-8")
    assert routine.origin.source.endswith("/\\xff .s")
    path.write_text("bogus %eax\n")
    str(fails(str(path), "no such instruction")).encode("utf-8")


@needs_as
def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x.s"
    for encoding in ("latin-1", "utf-8-sig", "utf-8"):
        path.write_bytes(("# geleert für alle\n" + ASSEMBLY).encode(encoding))
        assert load(str(path), LoadOptions())[0].name == "flush"


class Standard:
    """A standard input that holds ``data``."""

    closed = False

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@needs_as
def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Standard(ASSEMBLY.encode()))
    (routine,) = load("-", LoadOptions())
    assert (routine.name, routine.origin.source) == ("flush", "-")
    monkeypatch.setattr(sys, "stdin", Standard(assemble(ASSEMBLY.encode(), where="x.s")))
    (routine,) = load("-", LoadOptions(function="flush"))
    assert (routine.origin.kind, routine.origin.detail) == (OriginKind.OBJECT, "64-bit ELF")
    assert not routine.source_available
    monkeypatch.setattr(sys, "stdin", Standard(b"x" * 100))
    monkeypatch.setattr(door, "MAX_BYTES", 99)
    fails("-", "standard input: more than 99 bytes")
    monkeypatch.setattr(sys, "stdin", None)
    fails("-", "standard input is closed")


@needs_as
def test_an_input_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def looks(data: bytes, name: str) -> Format:
        looked.append(Path(name).name)
        return detect(data, name)

    monkeypatch.setattr(given, "detect", looks)
    source = "void l1d_flush(volatile char *p) { for (int i = 0; i < 65536; i += 64) p[i]; }\n"
    (tmp_path / "walk.c").write_text(source)
    (tmp_path / "walk.s").write_text(ASSEMBLY)
    (tmp_path / "walk.s.gz").write_bytes(gzip.compress(ASSEMBLY.encode() + b"\n"))
    for name in ("walk.c", "walk.s", "walk.s.gz"):
        # At two levels of optimisation, and looked through for what could prepare the buffer.
        verify(str(tmp_path / name), VerifyOptions(cpus=("skylake",)))
    assert looked == ["walk.c", "walk.s", "walk.s"]
