# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches in every wrapping they come in."""

from __future__ import annotations

import base64
import html
import os
import shutil
from pathlib import Path

import pytest

from l1dflush.errors import InputError
from l1dflush.routine.identity import digest
from l1dflush.routine.mail.diffs import new_files
from l1dflush.routine.mail.patch import load_patch, looks_like_patch
from l1dflush.routine.model import NoteKind, OriginKind, Routine
from l1dflush.routine.options import LoadOptions

ROOT = Path(__file__).resolve().parents[2]
MAILS = ROOT / "tests" / "data" / "mails"
SHARED = Path(os.environ.get("L1DFLUSH_SHARED", ROOT.parent / "shared"))
SEED = SHARED / "data" / "seed" / "l1d-flush-patch-mail.txt"

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler on this machine"
)


def mail(name: str) -> bytes:
    return (MAILS / name).read_bytes()


def load(data: bytes, **options: object) -> list[Routine]:
    return load_patch("a.mail", data, LoadOptions(**options))  # type: ignore[arg-type]


def refused(data: bytes, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        load(data, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def notes(routine: Routine) -> list[tuple[NoteKind, str]]:
    return [(note.kind, str(note.where and note.where.line)) for note in routine.notes]


def new_file(path: str, text: str) -> bytes:
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{body}".encode()


LOOP = """\
void l1d_flush(const volatile char *p)
{
	int i;

	for (i = 0; i < 4096; i += 64)
		(void)p[i];
}
"""


def check_seed(data: bytes) -> None:
    [routine] = load(data)
    assert routine.name == "vmx_l1d_flush"
    assert routine.origin.kind is OriginKind.PATCH
    assert routine.origin.detail == "x86/KVM/VMX: Add L1D flush algorithm: arch/x86/kvm/vmx.c"
    assert routine.source_available
    assert routine.parameters == ()
    assert sorted(note.kind for note in routine.notes) == [
        NoteKind.BUFFER_NOT_INITIALISED,
        NoteKind.NAMED_LABEL,
        NoteKind.NAMED_LABEL,
        NoteKind.NO_MEMORY_CLOBBER,
    ]
    assert routine.image.symbols["vmx_l1d_flush_pages"].size == 8
    assert {line.file for line in routine.image.lines.values()} == {"arch/x86/kvm/vmx.c"}
    assert {line.line for line in routine.image.lines.values()} <= set(range(8552, 8579))


@needs_compiler
@pytest.mark.skipif(not SEED.is_file(), reason=f"the seed mail is not there: {SEED} (L1DFLUSH_SHARED names its folder)")
@pytest.mark.parametrize("wrapping", ["as it is", "Windows line ends", "HTML", "diff only"])
def test_the_seed_mail(wrapping: str) -> None:
    data = SEED.read_bytes()
    if wrapping == "Windows line ends":
        data = data.replace(b"\n", b"\r\n")
    elif wrapping == "HTML":
        data = b"<html><body><pre>" + html.escape(data.decode()).encode() + b"</pre></body></html>"
    elif wrapping == "diff only":
        [routine] = load(data[data.index(b"--- a/") : data.index(b"  parent reply")])
        assert routine.name == "vmx_l1d_flush"
        assert routine.origin.detail == "arch/x86/kvm/vmx.c"
        return
    assert looks_like_patch(data)
    check_seed(data)


@needs_compiler
@pytest.mark.parametrize("optimize", ["0", "2"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_saved_archive_page(optimize: str, ends: str) -> None:
    data = mail("archive-page.txt").replace(b"\n", ends.encode())
    assert looks_like_patch(data)
    [routine] = load(data, optimize=optimize)
    assert routine.name == "tsr_scrub_l1d"
    assert routine.origin.detail == "tessera: scrub the L1D before entry: core/x86/entry.c"
    assert notes(routine) == [
        (NoteKind.NAMED_LABEL, "31"),
        (NoteKind.REGISTER_NOT_DECLARED, "29"),
        (NoteKind.BUFFER_NOT_INITIALISED, "59"),
    ]
    assert "rdx" in routine.notes[1].text
    assert "zeroed" in routine.notes[2].text


@needs_compiler
def test_a_saved_page_with_the_blanks_of_empty_lines_or_without() -> None:
    stripped = mail("archive-page.txt")
    assert b"\n\n+/*" in stripped
    assert digest(load(stripped.replace(b"\n\n+/*", b"\n \n+/*"))[0]) == digest(load(stripped)[0])


@needs_compiler
def test_a_mailbox_with_a_cover_letter_and_another_patch() -> None:
    data = mail("series.mbox")
    assert looks_like_patch(data)
    routine = load(data)[0]
    assert routine.name == "l1d_scrub_lines"
    assert routine.origin.detail == "tessera: scrub line by line (gründlich): core/scrub.c"
    assert [parameter.name for parameter in routine.parameters] == ["bytes"]
    assert notes(routine) == [(NoteKind.BUFFER_INITIALISED, "21")]


@needs_compiler
def test_format_patch() -> None:
    data = mail("format-patch.patch")
    assert looks_like_patch(data)
    [routine] = load(data)
    assert routine.name == "tsr_l1d_string_scrub"
    assert [kind for kind, _ in notes(routine)] == [
        NoteKind.NO_MEMORY_CLOBBER,
        NoteKind.REGISTER_NOT_DECLARED,
    ]
    assert "rcx" in routine.notes[1].text
    assert "rsi" in routine.notes[1].text
    assert not routine.image.symbols["tsr_scrub_area"].defined


@needs_compiler
def test_a_plain_diff() -> None:
    data = mail("plain.diff")
    assert looks_like_patch(data)
    [routine] = load(data)
    assert routine.name == "flush_first_level"
    assert routine.origin.detail == "src/flush.c"
    assert routine.image.symbols["area"].size == 128 * 1024


@needs_compiler
def test_an_attachment_in_base64() -> None:
    attached = base64.encodebytes(new_file("a.c", LOOP)).decode()
    data = (
        "From: a@example.org\nSubject: [PATCH]\n =?iso-8859-1?q?spült_alles?=\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="xx"\n\n--xx\nContent-Type: text/plain\n\nSee there.\n'
        '--xx\nContent-Type: text/x-patch; charset=no-such-set; name="a.patch"\n'
        f"Content-Transfer-Encoding: base64\n\n{attached}\n--xx--\n"
    ).encode("latin-1")
    assert looks_like_patch(data)
    assert load(data)[0].name == "l1d_flush"


@needs_compiler
def test_assembly_that_is_added() -> None:
    data = new_file("arch/flush.S", "\t.globl l1d_flush\nl1d_flush:\n\tmovb (%rdi), %al\n\tlfence\n\tret\n")
    [routine] = load(data)
    assert (routine.name, routine.origin.kind) == ("l1d_flush", OriginKind.PATCH)


@needs_compiler
def test_the_half_functions_around_a_hunk_are_left_out() -> None:
    before = " \tdo_this();\n \tfor_each_cpu(cpu) {\n \t\tthat(cpu);\n \t}\n #endif\n }\n"
    behind = " static void tail(int x)\n {\n \tif (x) {\n #ifdef CONFIG_Y\n"
    added = "".join(f"+{line}\n" for line in LOOP.splitlines())
    old, new = 10, 10 + LOOP.count("\n")
    data = f"--- a/x.c\n+++ b/x.c\n@@ -100,{old} +200,{new} @@ int head(void)\n{before}{added}{behind}".encode()
    [routine] = load(data)
    assert {line.line for line in routine.image.lines.values()} <= set(range(206, 213))
    error = refused(data, function="head")
    assert error.hint is not None
    assert "head (in part)" in error.hint


@needs_compiler
def test_a_function_that_is_asked_for_may_be_context() -> None:
    body = "".join(f" {line}\n" for line in LOOP.splitlines())
    count = LOOP.count("\n")
    data = f"--- a/x.c\n+++ b/x.c\n@@ -1,{count} +1,{count + 1} @@\n{body}+int x;\n".encode()
    assert "no function with a flush" in refused(data).what
    assert load(data, function="l1d_flush")


def test_a_patch_without_a_flush_lists_what_it_has() -> None:
    error = refused(new_file("a.c", "int one(void)\n{\n\treturn 1;\n}\nint two(void)\n{\n\treturn 2;\n}\n"))
    assert error.what == "no function with a flush among the added lines"
    assert error.hint == "functions seen: one, two"
    error = refused(new_file("README", "flush()\n{\n}\n"))
    assert error.what == "no function with a flush among the added lines"


@needs_compiler
def test_a_flush_that_does_not_compile_says_why() -> None:
    error = refused(new_file("a.c", LOOP.replace("4096", "MY_SIZE")))
    assert "MY_SIZE" in error.what
    assert error.where == "a.c:1"
    assert load(new_file("a.c", LOOP.replace("4096", "MY_SIZE")), defines={"MY_SIZE": "8192"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\x00\x01", "binary"),
        (b"From: a@b\nSubject: [PATCH] x\n\n", "no patch"),
        (b"From: a@b\nSubject: [PATCH] x", "no patch"),
        (b"--- a/x.c\n+++ b/x.c\n", "no patch"),
        (b"--- a/x.c\n+++ b/x.c\n@@ -1,5 +1,6 @@\n a\n+b\n", "cut short"),
        (b"--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,3 @@\n a\n+b\nFrom here on text.\n c\n", "cut short"),
        (b"--- a/x.c\n+++ b/x.c\n@@ -1 +999999999 @@\n-a\n+b\n", "line numbers"),
        (b"--- a/x.c\n+++ b/x.c\n@@ -9 +9 @@\n-a\n+b\n@@ -1 +1 @@\n-a\n+b\n", "out of order"),
    ],
)
def test_what_is_no_patch(data: bytes, says: str) -> None:
    assert says in str(refused(data))


def test_a_damaged_hunk_is_named_by_its_line() -> None:
    error = refused(b"Subject: x\n\n--- a/x.c\n+++ b/x.c\n@@ -1,5 +1,6 @@\n a\n+b\n-- \n2.30\n")
    assert error.where == "a.mail:5"


def test_a_thread_index_is_not_part_of_the_patch() -> None:
    text = mail("archive-page.txt").decode()
    files, damage = new_files(text)
    assert not damage
    assert [file.path for file in files] == ["core/x86/entry.c"]
    assert [len(hunk.lines) for hunk in files[0].hunks] == [29, 17]


@pytest.mark.parametrize(
    ("data", "is_patch"),
    [
        (b"int f(void)\n{\n}\n", False),
        (b"/* From: me */\nint x;\n", False),
        (b"\x7fELF\0\0\0", False),
        (b"", False),
        (b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", True),
        (b"From: x\nSubject: y\n\nhello\n", True),
        (b"+++ a\n--- b\n", False),
    ],
)
def test_what_looks_like_a_patch(data: bytes, is_patch: bool) -> None:
    assert looks_like_patch(data) is is_patch


def test_a_series_whose_later_patch_changes_the_flush_is_refused() -> None:
    """Judging the first version as if it were the last would be a wrong verdict."""
    first = (
        "From 1 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH 1/2] add\n\n---\n"
        "--- a/f.c\n+++ b/f.c\n@@ -0,0 +1,6 @@\n+#define SIZE 65536\n+void l1d_flush(const volatile char *p)\n+{\n"
        "+\tfor (int i = 0; i < SIZE; i += 64)\n+\t\t(void)p[i];\n+}\n-- \n2.40\n\n"
    )
    second = (
        "From 2 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH 2/2] shrink\n\n---\n"
        "--- a/f.c\n+++ b/f.c\n@@ -1,2 +1,2 @@\n-#define SIZE 65536\n+#define SIZE 32768\n"
        " void l1d_flush(const volatile char *p)\n-- \n2.40\n"
    )
    assert len(load_patch("series.mbox", first.encode(), LoadOptions())) == 1
    with pytest.raises(InputError, match=r"a later patch \(.*shrink\) changes what an earlier one adds to f.c"):
        load_patch("series.mbox", (first + second).encode(), LoadOptions())


def test_a_patch_that_only_deletes_has_no_flush() -> None:
    text = "--- a/f.c\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-int x;\n-int y;\n"
    with pytest.raises(InputError, match="no function with a flush"):
        load_patch("del.patch", text.encode(), LoadOptions())
