# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile C texts and mails: each ends, soon, in routines or in one error of one line."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.errors import InputError
from l1dflush.routine.c import source as c_source
from l1dflush.routine.c.hunk import complete_items
from l1dflush.routine.c.text import cut
from l1dflush.routine.mail import patch
from l1dflush.routine.mail.messages import messages
from l1dflush.routine.model import Routine
from l1dflush.routine.options import LoadOptions

FOLDER = Path(__file__).resolve().parents[1] / "data" / "mails"
MAILS = sorted(path for path in FOLDER.iterdir() if path.suffix != ".md")
# Generous: the point is that nothing takes minutes. The compiler's own limit is 20 s.
PATIENCE = 60.0

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler on this machine"
)
quickly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
slowly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

C_PIECES = st.sampled_from(
    [
        "void flush(char *p)",
        "static inline int g(void)",
        "{",
        "}",
        "(",
        ")",
        ";",
        "for (;;)",
        "asm volatile(",
        '"nop\\n"',
        ': "=r" (x)',
        '"',
        "'",
        "\\",
        "\\\n",
        "/*",
        "*/",
        "//",
        "\n",
        "#if 1\n",
        "#else\n",
        "#endif\n",
        "#define A A A\n",
        "#include <x>\n",
        '# 1 "f"\n',
        "x",
        "= 1",
        "struct s",
        "PAGE_SIZE",
        "\t",
        "\f",
        "\u2028",
        "é",
        "\x01",
        "%",
        "__attribute__((x))",
    ]
)
MAIL_PIECES = st.sampled_from(
    [
        b"From a@b Wed Mar  6 08:00:00 2024\n",
        b"From: a\n",
        b"Subject: =?utf-8?q?=FF?= x\n",
        b"Content-Type: multipart/mixed; boundary=x\n",
        b"Content-Type: text/plain; charset=utf-7\n",
        b"Content-Transfer-Encoding: base64\n",
        b"--x\n",
        b"\n",
        b"--- a/f.c\n+++ b/f.c\n",
        b"--- a/f.S\n+++ b/f.S\n",
        b"@@ -1,3 +1,4 @@ flush(\n",
        b"@@ -0,0 +1 @@\n",
        b"+void flush(void) {}\n",
        b"+flush:\n",
        b" a\n",
        b"-b\n",
        b"+c\n",
        b"\\ No newline at end of file\n",
        b"-- \n",
        b"<pre>",
        b"&lt;",
        b"\r\n",
        b"\xff\xfe",
        b"=",
    ]
)


def one_way_out(load: Callable[[], list[Routine]]) -> str:
    """Runs ``load``; it may raise InputError and nothing else. The error's text, empty if there was none."""
    started = time.monotonic()
    try:
        assert load()
        return ""
    except InputError as error:
        assert "\n" not in str(error)
        return str(error)
    finally:
        assert time.monotonic() - started < PATIENCE


def load_c(text: str) -> str:
    c_source.looks_like_c(text)
    return one_way_out(lambda: c_source.load_c("x.c", text, LoadOptions()))


def load_patch(data: bytes) -> str:
    patch.looks_like_patch(data)
    return one_way_out(lambda: patch.load_patch("x.mail", data, LoadOptions()))


@needs_compiler
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("void flush(void) {" + "(" * 100_000, id="open brackets"),
        pytest.param("void flush(void) {" + "(" * 100_000 + ")" * 100_000 + ";}", id="nested brackets"),
        pytest.param("void flush(void)" + "{" * 50_000 + "}" * 50_000, id="nested blocks"),
        pytest.param("void flush(void) { x = " + "-" * 50_000 + "1; }", id="nested signs"),
        pytest.param("void flush(int " + "*" * 50_000 + "p) { for (;;); }", id="nested pointers"),
        pytest.param("void flush(void) { " + "if (x) " * 20_000 + "; }", id="nested ifs"),
        pytest.param("void flush(void) { " + "a:" * 20_000 + "; }", id="labels"),
        pytest.param("{}" * 500_000, id="blocks without heads"),
        pytest.param("x{}" * 300_000, id="blocks with heads"),
        pytest.param("f()\n" * 300_000, id="macro calls"),
        pytest.param("a f()" * 300_000, id="heads without end"),
        pytest.param("int x" + "\n#a" * 300_000, id="directives in an item"),
        pytest.param("#if 1\n" * 300_000, id="open conditionals"),
        pytest.param("int x;\n" * 500_000, id="declarations"),
        pytest.param("int x;\n" * 1_000_000, id="a million lines"),
        pytest.param("\n" * 1_000_000 + "void flush(void) { for (;;) mb(); }", id="a million empty lines"),
        pytest.param("/*" * 500_000, id="open comments"),
        pytest.param("/* */" * 500_000, id="comments"),
        pytest.param('"' * 500_001, id="quotes"),
        pytest.param('"\\' * 500_001, id="escapes"),
        pytest.param("void flush(void)\n{\0}", id="NUL"),
        pytest.param("\ud800 void flush(void) { for (;;) mb(); }", id="lone surrogate"),
        pytest.param("__aligned(" * 200_000, id="open attributes"),
        pytest.param("p = malloc(" * 100_000 + "void flush(void) {", id="allocations"),
        pytest.param(
            "void flush(char *p) { for (;;) p[0]; }\nvoid g(char *p) { p = malloc(4);" + "p[0] = 1;" * 20_000 + "}",
            id="stores",
        ),
        pytest.param("int x;\n" * 30_000 + "void flush(void) { for (;;) x; }", id="one name declared often"),
        pytest.param(
            "".join(f"int f{n}(void) {{ return f{n + 1}(); }}\n" for n in range(3000))
            + "void flush(void) { for (;;) f0(); }",
            id="long chain of calls",
        ),
        pytest.param(
            "#define A0 x x\n"
            + "".join(f"#define A{n} A{n - 1} A{n - 1} A{n - 1} A{n - 1}\n" for n in range(1, 30))
            + "void flush(int x) { for (;;) A29; }",
            id="macro bomb",
        ),
        pytest.param(
            "#define A A\nvoid flush(void) { asm volatile(" + '"nop\\n" ' * 20_000 + "); }",
            id="long template",
        ),
        pytest.param('void flush(void) { asm volatile(".rept 1000000000\\n nop\\n .endr"); }', id="assembler bomb"),
        pytest.param('void flush(void) { asm volatile(".incbin \\"/etc/hostname\\""); }', id="other file"),
        pytest.param("char a[1UL << 60]; void flush(void) { for (;;) a[0]; }", id="huge array"),
        pytest.param("static char a[1UL << 40] = {1}; void flush(void) { for (;;) a[0]++; }", id="huge data"),
        pytest.param("int " + "a" * 1_000_000 + "; void flush(void) {}", id="long name"),
        pytest.param("void " + "flush" * 20_000 + "(void) { for (;;); }", id="long name of a function"),
    ],
)
def test_hostile_c(text: str) -> None:
    load_c(text)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"From: a\nSubject: b\n\n" + b"x\n" * 1_000_000, id="a million lines"),
        pytest.param(b"From a@b Wed Mar  6 08:00:00 2024\nA: b\n\n" * 30_000, id="many messages"),
        pytest.param(b"From a@b Wed Mar  6 08:00:00 2024\nA: b\n\n" * 15_000, id="as many as allowed"),
        pytest.param(
            b"From: a\nMIME-Version: 1.0\n"
            + b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(3000)),
            id="nested parts",
        ),
        pytest.param(
            b'From: a\nContent-Type: multipart/mixed; boundary="x"\n\n' + b"--x\n\na\n" * 50_000,
            id="many parts",
        ),
        pytest.param(b"Subject: " + b"=?utf-8?q?a?= " * 50_000 + b"\nFrom: x\n\n", id="long subject"),
        pytest.param(b"Subject: a\n" + b" b\n" * 300_000 + b"From: x\n\n", id="folded subject"),
        pytest.param(b"--- a/x.c\n+++ b/x.c\n" + b"@@ -1,9 +1,9 @@\n" * 100_000, id="hunks without lines"),
        pytest.param(b"--- a/x.c\n+++ b/x.c\n@@ -1 +999999999,999999999 @@\n" * 10_000, id="huge counts"),
        pytest.param(
            b"".join(b"--- a/%d.c\n+++ b/%d.c\n@@ -0,0 +1 @@\n+int x;\n" % (n, n) for n in range(6000)),
            id="many files",
        ),
        pytest.param(b"--- a/x.c\n+++ b/x.c\n@@ -0,0 +1,300000 @@\n" + b"+(\n" * 300_000, id="open brackets"),
        pytest.param(b"<html><pre>" + b"<a " * 500_000, id="open tags"),
        pytest.param(b"<html><pre>" + b"&lt;" * 500_000, id="entities"),
        pytest.param(b"From: a\nContent-Transfer-Encoding: base64\n\n" + b"A" * 1_000_001, id="base64"),
        pytest.param(b"From: a\nContent-Type: text/plain; charset=\xff\n\n\xff", id="character set"),
        pytest.param(b"From: a\nContent-Type: \n\nx", id="empty type"),
        pytest.param(b"--- a/\x00.c\n+++ b/x.c\n", id="NUL"),
        pytest.param(b"--- a/x.c\n+++ b/\xff\x0b\xe2\x80\xa8.c\n@@ -0,0 +1 @@\n+\xff\x0b\n", id="odd names"),
    ],
)
def test_hostile_mail(data: bytes) -> None:
    assert load_patch(data)


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
def test_every_beginning_of_a_good_mail(path: Path) -> None:
    data = path.read_bytes()
    # Without a compiler each beginning still has to be taken apart.
    for end in range(0, len(data), 97):
        for message in _messages(data[:end]):
            assert "\r\n" not in message


def _messages(data: bytes) -> list[str]:
    try:
        return [message.text for message in messages("x", data)]
    except InputError:
        return []


@needs_compiler
@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
def test_damaged_mails(path: Path) -> None:
    source = path.read_bytes()
    dice = random.Random(7)
    for _ in range(25):
        data = bytearray(source)
        for _ in range(dice.randrange(1, 6)):
            place = dice.randrange(len(data))
            kind = dice.randrange(3)
            if kind == 0:
                data[place] = dice.randrange(256)
            elif kind == 1:
                del data[place : place + dice.randrange(1, 40)]
            else:
                data[place:place] = data[: dice.randrange(1, 40)]
        load_patch(bytes(data))


@quickly
@given(st.lists(C_PIECES, max_size=60))
def test_cutting_keeps_every_character_in_its_place(pieces: list[str]) -> None:
    text = " ".join(pieces)
    whole = cut(text, where="x")
    assert len(whole.code) == len(whole.parsable) == len(text)
    assert [n for n, c in enumerate(whole.code) if c == "\n"] == [n for n, c in enumerate(text) if c == "\n"]
    assert all(a.end <= b.start for a, b in zip(whole.items, whole.items[1:], strict=False))
    left = complete_items(text)
    assert len(left) == len(text)
    assert left.count("\n") == text.count("\n")


@needs_compiler
@slowly
@given(st.lists(C_PIECES, max_size=60))
def test_pieces_of_c(pieces: list[str]) -> None:
    load_c("void flush(char *p)\n{ " + " ".join(pieces))


@quickly
@given(st.lists(MAIL_PIECES, max_size=60))
def test_pieces_of_mail(pieces: list[bytes]) -> None:
    load_patch(b"".join(pieces))


@quickly
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    load_patch(data)
    c_source.looks_like_c(data.decode("latin-1"))
