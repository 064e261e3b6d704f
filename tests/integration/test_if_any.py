# SPDX-License-Identifier: GPL-2.0-or-later
"""``--if-any``: exit status 0 where there is certainly no flush, and only there."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.report.schemas import schema

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
Capture = pytest.CaptureFixture[str]
MAILS = Path(__file__).parents[1] / "data" / "mails"


def patch(path: str, *lines: str, section: str = "", old: int | None = None) -> str:
    """A diff of one hunk; the lines as they stand in it."""
    before = sum(not line.startswith("+") for line in lines) if old is None else old
    after = sum(not line.startswith("-") for line in lines)
    head = f"--- a/{path}\n+++ b/{path}\n@@ -10,{before} +10,{after} @@ {section}".rstrip()
    return "\n".join([head, *lines]) + "\n"


WALK = ("for (int i = 0; i < {}; i += 64)", "\t*(volatile const char *)(p + i);")
PLAIN = "int twice(int a)\n{\n\treturn 2 * a;\n}\n"
TABLE = (
    "static const int t[16] = {1, 2};\n"
    "int sum(void)\n{\n\tint s = 0;\n\tfor (int i = 0; i < 16; i++)\n\t\ts += t[i];\n\treturn s;\n}\n"
)
DOCS = patch("Documentation/l1tf.rst", " L1TF", "+The L1D flush is done by reading, with asm volatile.", " ====")
DRIVER = patch(
    "drivers/net/foo.c", " \tfoo->tail = skb;", "+\tfoo->sent++;", " \treturn 0;", section="int foo_send(int a)"
)
WHOLE = patch("lib/half.c", " ", "+int half(int a)", "+{", "+\treturn a / 2;", "+}", " ")
REMOVES = patch("lib/half.c", " ", "-/* halves, for all who flush */", "-int half;", " ")

NOTHING = {
    "c": {"a.c": PLAIN},
    "c with a loop": {"a.c": PLAIN + TABLE},
    "c with a flush in a comment": {"a.c": f"/* flush: asm, for, while */\n{PLAIN}"},
    "c with a flush in a string": {"a.c": 'const char *what = "flush the l1d";\n' + PLAIN},
    "documentation": {"a.patch": DOCS},
    "a driver": {"a.patch": DRIVER},
    "a whole function": {"a.patch": WHOLE},
    "a comment goes": {"a.patch": REMOVES},
    "a mail with several": {"a.mbox": f"From: a@b.c\nSubject: [PATCH] x\n\nPlain.\n\n{DRIVER}{DOCS}"},
    "two patches": {"a.patch": DRIVER, "b.patch": WHOLE},
}


@pytest.mark.parametrize("name", NOTHING)
def test_there_is_nothing_to_judge(name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, text in NOTHING[name].items():
        (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    files = list(NOTHING[name])
    assert main(["verify", *files]) in (1, 3)
    capsys.readouterr()
    assert main(["verify", *files, "--if-any"]) == 0
    assert capsys.readouterr().out.startswith(f"nothing to judge: no flush is in {' + '.join(files)}\n")
    assert main(["verify", *files, "--if-any", "--expect", "proved", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["verify", *files, "--if-any", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for which in ("verify", None):
        jsonschema.Draft202012Validator(schema(which)).validate(document)
    assert (document["verdict"], document["sources"]) == (None, files)
    assert document["looked_at"]


def test_it_says_what_was_looked_at(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.c").write_text(PLAIN + TABLE)
    assert main(["verify", str(tmp_path / "a.c"), "--if-any", "--json"]) == 0
    looked = {one["name"]: one["how"] for one in json.loads(capsys.readouterr().out)["looked_at"]}
    assert looked == {"twice": "read", "sum": "run"}


def test_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DRIVER.encode())))
    assert main(["verify", "-", "--if-any"]) == 0
    assert "drivers/net/foo.c" in capsys.readouterr().out


def c_function(name: str, *body: str, head: str = "") -> str:
    return f"{head}void {name}(const char *p)\n{{\n" + "".join(f"\t{line}\n" for line in body) + "}\n"


# A loop that no patch shows may call them.
SOMETHING = {
    "a helper that reads on purpose": (
        "a.patch",
        patch("a.c", "+char touch(char *p)", "+{", "+\treturn *(volatile char *)p;", "+}"),
    ),
    "no longer on purpose": (
        "a.patch",
        patch("a.c", " int one(int *p)", " {", "-\treturn READ_ONCE(*p);", "+\treturn *p;", " }"),
    ),
    "empty": ("a.c", ""),
    "prose": ("a", "only prose here\n"),
    "damaged": ("a.patch", DRIVER[:-20]),
    "no patch in the mail": ("a.mail", "From: a@b.c\nSubject: x\nDate: today\n\nNothing.\n"),
    "broken": ("a.c", PLAIN.replace(";", "")),
    "does not compile": ("a.c", c_function("scrub", *(line.format("BYTES") for line in WALK))),
    "cannot be followed": ("a.c", c_function("scrub", *(line.format("n") for line in WALK), head="extern int n;\n")),
    "one that is not compiled": (
        "a.c",
        PLAIN + "#ifdef CONFIG_X\n" + c_function("scrub", *(line.format(65536) for line in WALK)) + "#endif\n",
    ),
    "part of one that is not compiled": (
        "a.c",
        c_function("scrub", "#ifdef CONFIG_X", *(line.format(65536) for line in WALK), "#endif"),
    ),
    "a macro": ("a.c", PLAIN + "#define SCRUB(p) for (int i = 0; i < 65536; i += 64) (void)(p)[i]\n"),
    "memset": ("a.c", "#include <string.h>\nchar b[65536];\nvoid scrub(void)\n{\n\tmemset(b, 0, sizeof(b));\n}\n"),
    "another function's": ("a.c", c_function("enter", "extern void do_l1d_flush(void);", "do_l1d_flush();")),
    "an instruction": ("a.c", c_function("enter", 'asm volatile("wbinvd");')),
    "assembly": ("a.s", "\t.globl f\n\t.type f, @function\nf:\tret\n\t.size f, .-f\n"),
    "a patch to a part of one": (
        "a.patch",
        patch(
            "a.c", "-\tfor (i = 0; i < 65536; i += 64)", "+\tfor (i = 0; i < 4096; i += 64)", " \t\tREAD_ONCE(p[i]);"
        ),
    ),
    "a patch that takes one away": (
        "a.patch",
        patch("a.c", " \tint i;", "-\tfor (i = 0; i < 65536; i += 64)", "-\t\tREAD_ONCE(p[i]);", " "),
    ),
    "a patch inside a function named so": ("a.patch", patch("a.c", "+\tx++;", " ", section="void vmx_l1d_flush(void)")),
    "a patch that does not compile": (
        "a.patch",
        patch("a.c", "+void scrub(char *p)", "+{", *(f"+\t{line.format('BYTES')}" for line in WALK), "+}", " "),
    ),
    "a patch with a macro": ("a.patch", patch("a.h", '+#define SCRUB() asm volatile("wbinvd")', " ")),
    "a patch with a block of an unknown macro": (
        "a.patch",
        patch("a.c", " \tint i;", "+\teach_line(p, i) {", "+\t\tREAD_ONCE(p[i]);", "+\t}", " "),
    ),
    "a patch to assembly": ("a.patch", patch("arch/x86/entry.S", "+\tmov (%rdi), %eax", " \tret")),
    "a patch to Rust": ("a.patch", patch("kernel/a.rs", "+fn half(a: u32) -> u32 { a / 2 }", " ")),
    "an answer that quotes one": (
        "a.mail",
        "From: a@b.c\nSubject: Re: x\nDate: today\n\n> --- a/x.c\n> +++ b/x.c\n> @@ -1,1 +1,2 @@\n> +\tscrub();\n\n"
        + DOCS,
    ),
}


@pytest.mark.parametrize("name", SOMETHING)
def test_it_is_not_certain(name: str, tmp_path: Path, capsys: Capture) -> None:
    file, text = SOMETHING[name]
    (tmp_path / file).write_text(text)
    plain = main(["verify", str(tmp_path / file), "--cpu", "skylake"])
    said = capsys.readouterr()
    assert plain in (1, 3)
    assert main(["verify", str(tmp_path / file), "--cpu", "skylake", "--if-any"]) == plain
    assert capsys.readouterr() == said


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", str(tmp_path / "none.patch"), "--if-any"]) == 1
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["linux-4.9.120", str(MAILS / "archive-page.txt")])
def test_a_flush_is_judged_as_without(source: str, capsys: Capture) -> None:
    for expected, cpu in ((0, "skylake"), (2, "ice-lake")):
        assert main(["verify", source, "--cpu", cpu]) == expected
        without = capsys.readouterr()
        assert main(["verify", source, "--cpu", cpu, "--if-any"]) == expected
        assert capsys.readouterr() == without


@pytest.mark.parametrize(
    "more", [("--against", "one-pass"), ("--certificate", "x.l1d"), ("--function", "f"), ("--until", "f")]
)
def test_what_it_excludes(more: tuple[str, str], capsys: Capture) -> None:
    assert main(["verify", "linux-4.9.120", "--if-any", *more]) == 1
    assert more[0] in capsys.readouterr().err
