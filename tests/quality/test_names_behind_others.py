# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that decide and do not stand in the condition itself: behind macros, other names, other texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sources_with_names import GAS, Case, ask, assembly, c, given, patch, told, verdict, walk

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.verdict import judge
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="gcc and GNU as are needed"
)


@pytest.fixture(autouse=True)
def at_one_level_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What C comes to without optimisation takes most of the time, and is not what is asked here."""
    monkeypatch.setattr(judge, "_compare_unoptimised", lambda *asked: asked[-1])


SIZES = "#define SIZE 4096\n#else\n#define SIZE 65536\n#endif\n"
PICK = "#define PICK(n) S_##n\n#define S_0 65536\n#ifdef N\n#undef S_0\n#define S_0 4096\n#endif\n"
ASSERT = "long n = 65536;\n\tassert((n = 4096));\n\t"
MACRO = "\t.macro sized o\n\t.ifdef \\o\n\tmov $4096, %ecx\n\t.else\n\tmov $65536, %ecx\n\t.endif\n\t.endm\n"
IRP = "\t.irp o, SMALL\n\t.ifdef \\o\n\tmov $4096, %ecx\n\t.else\n\tmov $65536, %ecx\n\t.endif\n\t.endr"
CAPITALS = GAS.replace(".ifdef", ".IFDEF").replace(".else", ".ELSE").replace(".endif", ".ENDIF")
HAVE = f"#define HAVE(x) defined(CONFIG_##x)\n#if HAVE(N)\n{SIZES}"
TEXT = "#define S_(x) #x\n#define S(x) S_(x)\n"
JOIN = "#define SIZE_(x) size_##x\n#define SIZE(x) SIZE_(x)\n"
HIDDEN = {
    "in a macro that is compared": ("f.c", c(walk("SIZE"), f"#define BIG (ORDER > 3)\n#if BIG\n{SIZES}"), "ORDER", "4"),
    "in a macro that asks": ("f.c", c(walk("SIZE"), f"#define S defined(CONFIG_N)\n#if S\n{SIZES}"), "CONFIG_N", "1"),
    "as the value of a macro": ("f.c", c(walk("SIZE"), f"#define S CONFIG_N\n#if S\n{SIZES}"), "CONFIG_N", "1"),
    "defined later": ("f.c", c(walk("SIZE"), f"#ifdef N\n{SIZES}") + "#define N 1\n", "N", "1"),
    "behind a pasted macro": ("f.c", c(walk("PICK(0)"), PICK), "N", "1"),
    "pasted for a test": (
        "f.c", c(walk("CFG(N) ? 4096 : 65536"), "#define CFG(x) IS_ENABLED(CONFIG_##x)\n"), "CONFIG_N", "1",
    ),
    "around NDEBUG": ("f.c", c(ASSERT + walk("n"), "#ifndef N\n#define NDEBUG\n#endif\n"), "N", "1"),
    "in a string": ("f.c", c(f"if (S(CONFIG_N)[0] == '1')\n\t\treturn;\n\t{walk()}", TEXT), "CONFIG_N", "1"),
    "in a string, by the prelude": (
        "f.c", c(f"if (__stringify(N)[0] == '1')\n\t\treturn;\n\t{walk()}", ""), "N", "1",
    ),
    "as a part of a name": ("f.c", c(walk("SIZE(N)"), f"{JOIN}enum {{ size_N = 65536, size_1 = 4096 }};\n"), "N", "1"),
    "behind what the compiler is without its flags": (
        "f.c", c(f"#ifndef __OPTIMIZE__\n\t;\n#elif defined(N)\n\treturn;\n#endif\n\t{walk()}"), "N", "1",
    ),
    "behind a question for a file": (
        "f.c", c(f"#if __has_include(\"n.h\")\n\t;\n#elif N\n\treturn;\n#endif\n\t{walk()}"), "N", "1",
    ),
    "pasted in assembly": ("f.S", assembly("\tmov $SIZE, %ecx", HAVE), "CONFIG_N", "1"),
    "of an assembler's macro": ("f.s", assembly("\tsized SMALL", MACRO), "SMALL", "1"),
    "repeated": ("f.s", assembly(IRP), "SMALL", "1"),
    "of both preprocessors' text": ("f.S", "#define SHIFT 6\n" + GAS, "SMALL", "1"),
    "behind a macro of the other preprocessor": (
        "f.S", "#define WHEN(x) .ifdef x\n" + GAS.replace(".ifdef SMALL", "WHEN(SMALL)"), "SMALL", "1",
    ),
    "set where nothing is assembled": ("f.s", "\t.if 0\nSMALL = 1\n\t.endif\n" + GAS, "SMALL", "1"),
    "set in a macro that nobody uses": ("f.s", "\t.macro never\n\t.set SMALL, 1\n\t.endm\n" + GAS, "SMALL", "1"),
    "set behind a condition of its own": (
        "f.s", "\t.ifdef OTHER\n\t.if 0\n\t.equ SMALL, 1\n\t.endif\n\t.endif\n" + GAS, "SMALL", "1",
    ),
    "put together": ("f.s", assembly("\tsized SMALL", MACRO.replace("\\o", "OPT_\\o")), "OPT_SMALL", "1"),
    "put together in the middle": (
        "f.S", "#define A 1\n"
        + assembly("\tsized M, A", MACRO.replace("d o", "d o, p").replace("\\o", "S\\o\\()\\p\\()LL")),
        "SM1LL", "1",
    ),
    "of another macro syntax": (
        "f.s", assembly("\tsized SMALL", "\t.altmacro\n" + MACRO.replace("\\o", "o")), "SMALL", "1",
    ),
    "asked with a directive that is an argument": (
        "f.s", assembly("\tsized .ifdef, SMALL", MACRO.replace("d o", "d d, o").replace(".ifdef", "\\d")), "SMALL", "1",
    ),
    "asked with half a directive": (
        "f.s", assembly("\tsized def, SMALL", "\t.nolist\n" + MACRO.replace("d o", "d d, o").replace("fdef", "f\\d")),
        "SMALL", "1",
    ),
    "a default that does more": (
        "f.s", assembly("\tmov $4096, %ecx\n\t.ifndef SMALL\n\t.set SMALL, 0\n\tmov $65536, %ecx\n\t.endif"),
        "SMALL", "1",
    ),
    "in capitals": ("f.s", CAPITALS, "SMALL", "1"),
    "behind a label": ("f.s", GAS.replace("\t.ifdef", "2:\t.ifdef"), "SMALL", "1"),
    "in quotes": ("f.s", GAS.replace(".ifdef SMALL", '.ifdef "SMALL"'), "SMALL", "1"),
    "in several quotes": ("f.s", GAS.replace(".ifdef SMALL", '.ifdef "SM" "ALL"'), "SMALL", "1"),
    "behind a character that is a quote": (
        "f.s", GAS.replace("\t.ifdef SMALL", "\tcmp $'\"', %al\n\t.ifdef SMALL # don't \"") + "\tcmp $'\"', %al\n",
        "SMALL", "1",
    ),
    "set at the end": ("f.s", GAS + "\t.set SMALL, 1\n", "SMALL", "1"),
    "set where it is not": ("f.s", GAS.replace("\t.else", "\t.else\n\t.set SMALL, 0"), "SMALL", "1"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "text", "name", "value"), HIDDEN.values(), ids=HIDDEN)
def test_a_name_that_is_not_in_the_condition_itself(
    tmp_path: Path, file: str, text: str, name: str, value: str
) -> None:
    case = Case(file, text, name, value, None)
    result = ask(tmp_path, case, {}, frozenset())
    assert isinstance(result, VerifyResult), result
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "undefined-decides"), result.reason
    assert name in told(result)
    assert verdict(given(tmp_path, case, value)).startswith(("REFUTED", "UNDECIDED no-software-walk"))


def test_what_becomes_a_string_as_it_is_does_not_decide(tmp_path: Path) -> None:
    text = c(f"asm volatile(S(LFENCE));\n\tasm volatile(T(lfence));\n\tU(N);\n\t{walk()}",
             f"{TEXT}#define LFENCE \"lfence\"\n#define T(x) S(x)\n#define U(x) (void)#x[0]\n")  # fmt: skip
    result = ask(tmp_path, Case("f.c", text.replace("S(LFENCE)", "LFENCE"), "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.left_out == ()


def test_only_names_that_are_asked_for_are_told(tmp_path: Path) -> None:
    """And not what else a macro is used with; nor what is defined there."""
    more = "\t.macro only o, code:vararg\n\t.ifdef \\o\n\t\\code\n\t.endif\n\t.endm\n\t.set KNOWN, 1\n"
    uses = "\t.irp f, FAST, KNOWN\n\tonly \\f, mov $65536, %ecx\n\t.endr\n# .ifdef COMMENT, don't\n/*\n\t.ifdef GONE */"
    result = ask(tmp_path, Case("f.s", assembly(uses, more), "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    (entry,) = result.left_out
    assert (entry.name, entry.names, str(entry.where)) == (".ifdef \\o", ("FAST",), str(tmp_path / "f.s:3"))


def test_lines_of_the_assembler_are_those_of_the_file(tmp_path: Path) -> None:
    text = "#define A(x) x\n#ifdef CONFIG_N\n\tnop\n\tnop\n#endif\n" + GAS
    result = ask(tmp_path, Case("f.S", text, "", None, None), {"SMALL": "1"}, frozenset({"CONFIG_N"}))
    assert isinstance(result, VerifyResult) and result.left_out == () and result.verdict is Verdict.REFUTED
    result = ask(tmp_path, Case("f.S", text, "", None, None), {}, frozenset({"CONFIG_N"}))
    assert isinstance(result, VerifyResult)
    (entry,) = result.left_out
    assert (str(entry.where), entry.reason) == (str(tmp_path / "f.S:9"), "line 10 is left out")


def test_a_name_that_both_preprocessors_ask_for_is_told_as_not_judged(tmp_path: Path) -> None:
    """Given to the first, it is no name for the second any more."""
    text = "#ifdef SMALL\n\tnop\n#endif\n" + GAS
    result = ask(tmp_path, Case("f.S", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult)
    (entry,) = [entry for entry in result.left_out if entry.kind == "part"]
    assert entry.names == ("SMALL",) and "invalid identifier" in entry.reason


def test_a_helper_whose_name_is_pasted_is_no_outside_call(tmp_path: Path) -> None:
    helper = "static unsigned long n = 65536;\nstatic void set_small(void) { n = 4096; }\n#define SET(x) set_##x()\n"
    result = ask(tmp_path, Case("f.c", c("SET(small);\n\t" + walk("n"), helper), "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.REFUTED
    assert result.outside == ()


NESTED = {
    "C": ("f.c", c(
        f"#ifdef CONFIG_A\n\tasm volatile(\"nop\");\n#ifdef CONFIG_B\n\treturn;\n#endif\n#endif\n\t{walk()}"
    )),
    "three deep": ("f.c", c(
        "#if CONFIG_A\n\tasm volatile(\"nop\");\n#if CONFIG_B\n\tasm volatile(\"nop\");\n#ifndef C\n\t;\n#else\n"
        f"\treturn;\n#endif\n#endif\n#endif\n\t{walk()}"
    )),
    "IS_ENABLED": ("f.c", c(f"#ifdef CONFIG_A\n\tif (IS_ENABLED(CONFIG_B))\n\t\treturn;\n#endif\n\t{walk()}")),
    "a comparison": ("f.c", c(f"#ifdef CONFIG_A\n#if CONFIG_B > 40\n\treturn;\n#endif\n#endif\n\t{walk()}")),
    "a patch": ("f.diff", patch(c(f"#ifdef CONFIG_A\n#ifdef CONFIG_B\n\treturn;\n#endif\n#endif\n\t{walk()}"))),
    "assembly": ("f.S", assembly(
        "\tmov $65536, %ecx\n#ifdef CONFIG_A\n\tnop\n#ifdef CONFIG_B\n\tmov $4096, %ecx\n#endif\n#endif"
    )),
}  # fmt: skip


@pytest.mark.parametrize(("file", "text"), NESTED.values(), ids=NESTED)
def test_a_name_that_comes_up_where_another_is_given(tmp_path: Path, file: str, text: str) -> None:
    """It is told, and tried with the other."""
    result = ask(tmp_path, Case(file, text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult)
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "undefined-decides"), result.reason
    assert "--define CONFIG_A --define CONFIG_B" in result.reason
    (inner,) = [entry for entry in result.left_out if entry.names == ("CONFIG_B",)]
    assert inner.reason.endswith("with --define CONFIG_A") and inner.kind == "branch"
    assert any("nobody gave CONFIG_B" in found.message for found in result.findings)


def test_a_name_behind_another_that_changes_nothing_is_told(tmp_path: Path) -> None:
    text = c(f'#ifdef CONFIG_A\n#ifdef CONFIG_B\n\tasm volatile("nop");\n#endif\n#endif\n\t{walk()}')
    result = ask(tmp_path, Case("f.c", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    assert [entry.names for entry in result.left_out] == [("CONFIG_A",), ("CONFIG_B",)]


def test_more_names_than_are_tried_are_told(tmp_path: Path) -> None:
    many = "".join(f"#ifdef CONFIG_{n}\n#define V{n} 1\n#else\n#define V{n} 0\n#endif\n" for n in range(14))
    small = "#ifdef CONFIG_LAST\n#define S 4096\n#else\n#define S 65536\n#endif\n"
    sizes = " + ".join(["S", *(f"V{n} * 64" for n in range(14))])
    result = ask(tmp_path, Case("f.c", c(walk(sizes), many + small), "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult)
    assert next(entry.names for entry in result.left_out if entry.kind == "part")[-1] == "CONFIG_LAST"


@pytest.mark.parametrize("condition", ["ORDER == (1 << 3)", "ORDER * ORDER == 0x31", "(ORDER ^ 0x50) == 0x5a"])
def test_a_branch_that_no_tried_value_reaches_is_told(tmp_path: Path, condition: str) -> None:
    """As far as the verdict goes nobody has looked at it."""
    text = c(f"#if {condition}\n\t{walk('4096')}\n#else\n\t{walk()}\n#endif")
    result = ask(tmp_path, Case("f.c", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    assert [(entry.names, entry.option) for entry in result.left_out if entry.kind == "part"] == [
        (("ORDER",), "--define ORDER=VALUE")
    ]
    reached = ask(tmp_path, Case("f.c", text.replace(condition, "ORDER > 3"), "", None, None), {}, frozenset())
    assert isinstance(reached, VerifyResult) and not [entry for entry in reached.left_out if entry.kind == "part"]


UNBUILT = {
    "C": ("f.c", c(f"#ifdef CONFIG_N\n\tstruct unknown one = {{ 0 }};\n#endif\n\t{walk()}"), "CONFIG_N"),
    "C without a definition": (
        "f.c", c(walk("SIZE"), f"#ifdef BOTH\n{SIZES.replace('4096', 'sizeof(struct gone)')}"), "BOTH",
    ),
    "assembly": ("f.s", GAS.replace("mov $(8*4096)", "bogus $(8*4096)"), "SMALL"),
    "not followed": ("f.s", GAS.replace("mov $(8*4096), %ecx", "vaddps %ymm0, %ymm1, %ymm2\n\tjmp *%rax"), "SMALL"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "text", "name"), UNBUILT.values(), ids=UNBUILT)
def test_a_branch_that_cannot_be_judged_is_told_with_why(tmp_path: Path, file: str, text: str, name: str) -> None:
    result = ask(tmp_path, Case(file, text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    (entry,) = [entry for entry in result.left_out if entry.kind == "part"]
    assert entry.names == (name,) and entry.reason.startswith(f"not judged the other way; --define {name}: ")
    why = ask(tmp_path, Case(file, text, "", None, None), {name: "1"}, frozenset())
    assert (str(why) if isinstance(why, InputError) else why.reason) in entry.reason


@pytest.mark.parametrize("more", ["", "int helper(int a)\n{\n\treturn a + 1;\n}\n"])
def test_a_branch_in_which_nothing_walks_is_another_answer(tmp_path: Path, more: str) -> None:
    """Also beside other functions, where none of them is the flush then."""
    text = c(f"#ifdef CONFIG_N\n\treturn;\n#endif\n\t{walk()}", more)
    result = ask(tmp_path, Case("f.c", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.cause == "undefined-decides"
    assert "nothing walks with --define CONFIG_N" in result.reason


def test_a_condition_in_two_hunks_is_one(tmp_path: Path) -> None:
    body = "".join(f"+{line}\n" for line in c(walk()).splitlines())
    text = f"--- a/f.c\n+++ b/f.c\n@@ -10,1 +10,2 @@\n int a;\n+#ifdef CONFIG_N\n@@ -20,0 +21,7 @@\n{body}+#endif\n"
    case = Case("f.patch", text.replace("+21,7", f"+21,{body.count(chr(10)) + 1}"), "CONFIG_N", "1", None)
    assert isinstance(without := ask(tmp_path, case, {}, frozenset()), InputError) and "CONFIG_N" in str(without)
    assert verdict(given(tmp_path, case, "1")).startswith("PROVED")
    assert isinstance(given(tmp_path, case, None), InputError)
