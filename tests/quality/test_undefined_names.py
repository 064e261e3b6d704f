# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a user can leave undefined: one name that nobody gave changes the verdict, and is always told.

For each front end there are sources in which one name decides. Three questions each: with the name in one way, with it
in another (the two verdicts differ, or the case tests nothing), and without it. The last may not be PROVED where the
report does not have the name.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from sources_with_names import (
    CPP,
    CPP_DEFAULT,
    FUNCTION,
    GAS,
    GAS_DEFAULT,
    HEAD,
    HELPER,
    IFDEF,
    NUMBER,
    SKIPS,
    TWO_FORMS,
    Case,
    ask,
    assembly,
    c,
    given,
    mail,
    patch,
    told,
    verdict,
    walk,
)

from l1dflush.ending import Verdict
from l1dflush.verdict import judge
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="gcc and GNU as are needed"
)


@pytest.fixture(autouse=True)
def at_one_level_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What C comes to without optimisation takes most of the time, and is not what is asked here."""
    monkeypatch.setattr(judge, "_compare_unoptimised", lambda *asked: asked[-1])


CASES = {
    "#ifdef": Case("f.c", IFDEF, "CONFIG_SMALL", "1", None),
    "#ifdef in a patch": Case("f.patch", patch(IFDEF), "CONFIG_SMALL", "1", None),
    "#ifdef in a mail": Case("f.mail", mail(IFDEF), "CONFIG_SMALL", "1", None),
    "#ifndef around the body": Case("f.c", FUNCTION, "CONFIG_OFF", "1", None),
    "two forms of the function": Case("f.c", TWO_FORMS, "CONFIG_OFF", "1", None),
    "two forms in a patch": Case("f.patch", patch(TWO_FORMS), "CONFIG_OFF", "1", None),
    "IS_ENABLED": Case("f.c", c(SKIPS + walk()), "CONFIG_OFF", "1", None),
    "IS_ENABLED, as the configuration has it": Case("f.c", c(SKIPS + walk()), "CONFIG_OFF", "y", "n"),
    "IS_ENABLED in a macro": Case(
        "f.c", c("if (OFF)\n\t\treturn;\n\t" + walk(), "#define OFF IS_ENABLED(CONFIG_OFF)\n"), "CONFIG_OFF", "1", None
    ),
    "a comparison": Case("f.c", c(f"#if ORDER < 4\n\t{walk()}\n#endif"), "ORDER", "4", None),
    "a comparison with what is far away": Case(
        "f.c", c(f"#if LINUX_VERSION_CODE < KERNEL_VERSION(4, 19, 0)\n\t{walk()}\n#endif"), "LINUX_VERSION_CODE",
        "400000", None,
    ),
    "a value with a default": Case(
        "f.c", c(walk("PAGES * 4096"), "#ifndef PAGES\n#define PAGES 16\n#endif\n"), "PAGES", "8", None
    ),
    "a condition behind another": Case(
        "f.c", c(f"#ifndef BIG\n\t{walk()}\n#endif", "#ifdef CONFIG_A\n#define BIG\n#endif\n"), "CONFIG_A", "1", None
    ),
    "a name of the prelude": Case("f.c", c(walk("L1_CACHE_BYTES * 1024")), "L1_CACHE_BYTES", "32", None),
    "a page's size in a patch": Case("f.patch", patch(c(walk("16 * PAGE_SIZE"))), "PAGE_SIZE", "1024", None),
    "assert": Case(
        "f.c", c("long s = 0;\n\tfor (long i = 0; i < 65536; i += 64)\n\t\ts += plain[i];\n\tassert(s == 0);",
                 "extern unsigned char plain[];\n"), "NDEBUG", "1", None,
    ),
    "a helper's result": Case("f.c", c("if (on())\n\t\treturn;\n\t" + walk(), HEAD + HELPER), "MODE", "1", "0"),
    "#ifdef in assembly": Case("f.S", CPP, "CONFIG_SMALL", "1", None),
    "a default in assembly": Case("f.S", CPP_DEFAULT, "PAGES", "8", None),
    ".ifdef": Case("f.s", GAS, "SMALL", "1", None),
    "a default of the assembler": Case("f.s", GAS_DEFAULT, "PAGES", "8", None),
    "a number that is none": Case("f.s", NUMBER, "WANTED", "4", "100"),
    "C beside assembly": Case("f.c", IFDEF, "CONFIG_SMALL", "1", None, {"other.s": "\t.globl other\nother:\tret\n"}),
    "assembly beside C": Case("f.s", GAS, "SMALL", "1", None, {"other.c": "int unrelated;\n"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_name_is_told(tmp_path: Path, case: Case) -> None:
    one, other = given(tmp_path, case, case.one), given(tmp_path, case, case.other)
    assert verdict(one) != verdict(other), "the name changes nothing, so this case tests nothing"
    without = ask(tmp_path, case, {}, frozenset())
    assert case.name in told(without)
    if isinstance(without, VerifyResult):
        listed = [entry for entry in without.left_out if entry.name == case.name or case.name in entry.names]
        assert listed or case.name in without.reason


UNDECIDED = ("#ifdef", "#ifdef in a mail", "two forms of the function", "IS_ENABLED", "a comparison", ".ifdef",
             "a comparison with what is far away", "a condition behind another", "#ifdef in assembly",
             "C beside assembly")  # fmt: skip


@pytest.mark.parametrize("name", UNDECIDED)
def test_where_both_branches_compile_nobody_is_told_proved(tmp_path: Path, name: str) -> None:
    result = ask(tmp_path, CASES[name], {}, frozenset())
    assert isinstance(result, VerifyResult)
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "undefined-decides")
    assert f"--define {CASES[name].name}" in result.reason and f"--undefine {CASES[name].name}" in result.reason
    # Whoever says which it is gets an answer, and no finding about it.
    settled = given(tmp_path, CASES[name], None)
    assert isinstance(settled, VerifyResult) and settled.verdict is Verdict.PROVED
    assert "undefined-decides" not in [finding.id for finding in settled.findings]
    assert "undefined-decides" in [finding.id for finding in result.findings]


def test_what_changes_nothing_is_told_and_proved(tmp_path: Path) -> None:
    text = c(f"#ifdef CONFIG_NOISY\n\tcount++;\n#endif\n\t{walk()}", "extern long count;\n")
    result = ask(tmp_path, Case("f.c", text, "CONFIG_NOISY", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    assert [f.id for f in result.findings if f.id.startswith("undefined")] == ["undefined-decides"]


def test_conditions_of_other_functions_are_nobodys_business(tmp_path: Path) -> None:
    other = "#ifdef CONFIG_OTHER\nint other(void) { return 1; }\n#else\nint other(void) { return 2; }\n#endif\n"
    guard = "#ifndef FLUSH_H\n#define FLUSH_H\n#ifdef __cplusplus\nextern int x;\n#endif\n"
    text = f"{guard}{other}{c(walk())}#endif\n"
    result = ask(tmp_path, Case("f.c", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    assert result.left_out == ()


def test_an_undefined_symbol_of_an_object(tmp_path: Path) -> None:
    source, target = tmp_path / "f.s", tmp_path / "f.o"
    source.write_text(NUMBER.replace("\tlfence", "\tcall finish\n\tlfence"))
    subprocess.run(["as", "-o", target, source], check=True)
    result = verify(str(target), VerifyOptions(cpus=("skylake",)))
    assert {"WANTED", "finish", "area"} <= {word.strip("`:,(") for word in told(result).split()}
    assert [(entry.kind, entry.name) for entry in result.left_out] == [("supposed", "WANTED")]


COUNT = "\tmov $WANTED, %ecx\n\tcmp $5, %ecx\n\tmov $65536, %ecx\n\tja 2f\n\tmov $4096, %ecx\n2:\tret\n"
SIZED = "\t.type l1d_flush, @function\n\t.size l1d_flush, . - l1d_flush\n\t.type count, @function\ncount:"
ELSEWHERE = {
    "in a function that is called": assembly("\tcall count") + SIZED + COUNT + "\t.size count, . - count\n",
    "in data that is read": (
        NUMBER.replace("mov $WANTED", "mov wanted(%rip)") + "\t.section .rodata\nwanted:\t.quad WANTED\n"
    ),
}


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_number_that_is_none_is_told_wherever_it_is(tmp_path: Path, text: str) -> None:
    result = ask(tmp_path, Case("f.s", text, "", None, None), {}, frozenset())
    assert isinstance(result, VerifyResult)
    assert [(entry.kind, entry.name) for entry in result.left_out] == [("supposed", "WANTED")]


def test_a_name_that_nothing_asks_for_is_told(tmp_path: Path) -> None:
    case = Case("f.c", c(walk("PAGES * 4096"), "#ifndef PAGES\n#define PAGES 16\n#endif\n"), "PAGSE", "8", None)
    result = given(tmp_path, case, "8")
    assert isinstance(result, VerifyResult)
    (entry,) = [entry for entry in result.left_out if entry.name == "PAGSE"]
    assert "never used in" in entry.reason
    assert not [e for e in result.left_out if e.name == "NDEBUG"]


def test_a_definition_that_the_text_overrides_is_told(tmp_path: Path) -> None:
    case = Case("f.c", c(walk("PAGES * 4096"), "#define PAGES 16\n"), "PAGES", "8", None)
    result = given(tmp_path, case, "8")
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    (entry,) = [entry for entry in result.left_out if entry.name == "PAGES"]
    assert "anew" in entry.reason and str(entry.where).endswith("f.c:1")
