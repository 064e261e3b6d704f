# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a source is left out of the code, and what is supposed: each front end says so."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace

import pytest

from l1dflush.errors import InputError
from l1dflush.routine.assembly.source import load_assembly
from l1dflush.routine.c.source import load_c
from l1dflush.routine.combine import load_together
from l1dflush.routine.given import given
from l1dflush.routine.mail.patch import load_patch
from l1dflush.routine.model import LeftOut, LeftOutKind, Routine
from l1dflush.routine.options import LoadOptions, as_configured
from l1dflush.verdict.left_out import ways_to_give

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="gcc and GNU as are needed"
)

WALK = "for (long i = 0; i < 65536; i += 64) (void)((volatile char *)area)[i];"
FLUSH = f"extern char *area;\nvoid l1d_flush(void) {{ {WALK} }}\n"


def in_c(text: str, **options: object) -> tuple[LeftOut, ...]:
    return load_c("f.c", text, LoadOptions(**options))[0].left_out  # type: ignore[arg-type]


def in_assembly(text: str, **options: object) -> tuple[LeftOut, ...]:
    return load_assembly("f.S", text, LoadOptions(**options))[0].left_out  # type: ignore[arg-type]


def in_patch(body: str, path: str = "x/f.c", **options: object) -> list[Routine]:
    lines = body.splitlines()
    counts = [sum(line[:1] in signs for line in lines) for signs in (" -", " +")]
    text = f"--- a/{path}\n+++ b/{path}\n@@ -10,{counts[0]} +10,{counts[1]} @@\n{body}"
    return load_patch("a.patch", text.encode(), LoadOptions(**options))  # type: ignore[arg-type]


def brief(left_out: tuple[LeftOut, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind.value, one.name, one.names) for one in left_out]


def test_nothing_is_left_out_of_what_is_whole() -> None:
    assert in_c(FLUSH) == ()
    assert in_assembly("l1d_flush: ret\n") == ()
    assert in_patch("".join(f"+{line}\n" for line in FLUSH.splitlines()))[0].left_out == ()


@pytest.mark.parametrize(
    ("condition", "lines", "names"),
    [
        ("#ifdef CONFIG_A\nint more;\n#endif", "line 5 is left out", ("CONFIG_A",)),
        ("#ifndef CONFIG_A\nint more;\n#endif", "what is behind it is taken", ("CONFIG_A",)),
        ("#ifndef CONFIG_A\nint a;\n#else\nint b;\nint c;\n#endif", "lines 7 to 8 are left out", ("CONFIG_A",)),
        ("#if defined(CONFIG_A) && N > 3\nint more;\n#endif", "line 5 is left out", ("CONFIG_A", "N")),
        ("#if 0\n#elif defined CONFIG_A\nint more;\n#endif", "line 6 is left out", ("CONFIG_A",)),
        ("#if \\\n  defined(CONFIG_A) /* a comment WITH */\nint more;\n#endif", "line 6 is left out", ("CONFIG_A",)),
    ],
)  # fmt: skip
def test_branches_are_told_with_their_lines(condition: str, lines: str, names: tuple[str, ...]) -> None:
    text = f"extern char *area;\nvoid l1d_flush(void)\n{{\n{condition}\n{WALK} }}\n"
    (one,) = in_c(text)
    assert (one.kind, one.reason, one.names) == (LeftOutKind.BRANCH, lines, names)
    assert str(one.where) == (
        "f.c:5" if (names[0] == "CONFIG_A" and "elif" in one.name) or "\\" in condition else "f.c:4"
    )
    assert in_c(text, defines=dict.fromkeys(names, "1")) == ()
    assert in_c(text, undefines=frozenset(names)) == ()


@pytest.mark.parametrize(
    "condition",
    ["#ifdef __x86_64__", "#ifndef __aarch64__", "#ifdef CONFIG_X86_64", "#ifndef __cplusplus", "#if __GNUC__ > 3",
     "#if 1", "#if defined(__x86_64__) || defined(CONFIG_A)"],
)  # fmt: skip
def test_what_is_certain_is_not_told(condition: str) -> None:
    left_out = in_c(f"extern char *area;\nvoid l1d_flush(void)\n{{\n{condition}\n{WALK}\n#endif\n}}\n")
    # A preprocessor would not look at the second name either, but to see that takes evaluating conditions.
    assert [one.names for one in left_out] in ([], [("CONFIG_A",)])
    assert bool(left_out) == ("CONFIG_A" in condition)


def test_a_helper_that_does_not_compile_is_told() -> None:
    text = f"static void log(int x)\n{{ x.y = 1; }}\nextern char *area;\nvoid l1d_flush(void) {{ {WALK} log(1); }}\n"
    (one,) = in_c(text)
    assert (one.kind, one.name, str(one.where)) == (LeftOutKind.FUNCTION, "log", "f.c:1")
    assert "not a structure" in one.reason


def test_a_helper_that_lacks_a_number_compiles_with_any() -> None:
    flush = f"void l1d_flush(void) {{ if (mode()) return; {WALK} }}\n"
    text = f"static int mode(void) {{ return -EODD; }}\nextern char *area;\n{flush}"
    (one,) = in_c(text)
    assert brief((one,)) == [("supposed", "EODD", ("EODD",))]
    assert in_c(text, defines={"EODD": "3"}) == ()
    # The flush's own numbers cannot be anything.
    with pytest.raises(InputError, match="EODD"):
        in_c(text.replace("65536", "EODD"))


def test_a_helper_with_a_loop_that_lacks_a_number_is_told() -> None:
    warm = WALK.replace("65536", "WARM_BYTES").replace("64", "4096")
    text = f"{FLUSH}static void warm(void) {{ {warm} }}\n"
    text = text.replace("{ for (long i = 0; i < 65536", "{ warm(); for (long i = 0; i < 65536", 1)
    left_out = in_c("static void warm(void);\n" + text, function="l1d_flush")
    assert brief(left_out) == [("function", "warm", ("WARM_BYTES",))]


def test_candidates_that_do_not_compile_are_told() -> None:
    text = f"{FLUSH}void l1d_flush_all(void) {{ for (long i = 0; i < EVERY; i++) {WALK} }}\n"
    assert brief(in_c(text)) == [("function", "l1d_flush_all", ("EVERY",))]


def test_undeclared_variables_are_told() -> None:
    text = FLUSH.replace("extern char *area;\n", "").replace("((volatile char *)area)[i]", "area[i]")
    (one,) = in_c(text)
    assert one.kind is LeftOutKind.SUPPOSED and "unsigned char *area" in one.reason


def test_defaults_are_told_and_guards_are_not() -> None:
    text = FLUSH.replace("65536", "BYTES")
    assert brief(in_c(f"#ifndef BYTES\n#define BYTES 65536\n#endif\n{text}")) == [("default", "BYTES", ("BYTES",))]
    assert in_c(f"#ifndef F_H\n#define F_H\n#define BYTES 65536\n{text}#endif\n") == ()
    assert in_c(f"#define BYTES 65536\n{text}") == ()


def test_the_configuration_as_a_kernel_writes_it() -> None:
    text = f"extern char *area;\nvoid l1d_flush(void) {{ if (IS_ENABLED(CONFIG_A)) {{ {WALK} }} }}\n"
    assert brief(in_c(text)) == [("branch", "IS_ENABLED(CONFIG_A)", ("CONFIG_A",))]
    sizes = {}
    for value in ("1", "y", "m", "n"):
        defines, undefines = as_configured({"CONFIG_A": value}, ())
        (routine,) = load_c("f.c", text, LoadOptions(defines=defines, undefines=undefines))
        assert routine.left_out == ()
        sizes[value] = len(routine.code)
    assert sizes["1"] == sizes["y"] == sizes["m"] > sizes["n"]


def test_conditions_that_a_patch_cuts_off() -> None:
    body = "".join(f"+{line}\n" for line in FLUSH.splitlines())
    (routine,) = in_patch(f" #ifdef CONFIG_B\n{body}")
    assert brief(routine.left_out) == [("branch", "#ifdef CONFIG_B", ("CONFIG_B",))]
    assert [str(one.where) for one in routine.left_out] == ["x/f.c:10"]
    (routine,) = in_patch(f" #ifdef CONFIG_B\n{body}", undefines=frozenset({"CONFIG_B"}))
    assert routine.left_out == ()
    (routine,) = in_patch(f"{body} #else\n+int x;\n")
    assert brief(routine.left_out) == [("branch", "#else", ())]
    assert [str(one.where) for one in routine.left_out] == ["x/f.c:12"]
    # These are about what comes before and after.
    (routine,) = in_patch(f" #endif\n{body}+#ifdef CONFIG_B\n+int x;\n")
    assert routine.left_out == ()


def test_parts_that_a_patch_does_not_show() -> None:
    body = "".join(f"+{line}\n" for line in FLUSH.splitlines())
    part = "@@ -90,2 +92,3 @@ static void other_l1d_flush(void)\n \tint x;\n+\tx = 1;\n }\n"
    second = '+void l1d_flush_g(void) { for (long i = 0; i < EVERY; i++) asm(""); }\n'
    text = f"--- a/f.c\n+++ b/f.c\n@@ -1,0 +1,2 @@\n{body}{part}--- a/g.c\n+++ b/g.c\n@@ -1,0 +1,1 @@\n{second}"
    (routine,) = load_patch("a.patch", text.encode(), LoadOptions())
    assert brief(routine.left_out) == [
        ("part", "g.c", ("EVERY",)),
        ("function", "other_l1d_flush", ()),
    ]


def test_a_diff_may_take_the_end_of_an_old_function_for_that_of_a_new_one() -> None:
    body = "+\t.globl l1d_flush\n+l1d_flush:\n+\tmov area(%rip), %rdi\n+\tmov (%rdi), %al\n \tret\n \tnop\n"
    (routine,) = in_patch(body, "x/f.S")
    assert routine.code.endswith(b"\xc3\x90")
    # What does not assemble behind it is left.
    (routine,) = in_patch(body + " \tbogus\n", "x/f.S")
    assert not routine.code.endswith(b"\x90")


def test_assembly_lines_of_a_patch_keep_their_numbers() -> None:
    (routine,) = in_patch("+\t.globl l1d_flush\n+l1d_flush:\n+\tmov area(%rip), %rdi\n+\tret\n", "x/f.S")
    assert str(routine.image.lines[routine.entry]) == "x/f.S:12"


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (".ifdef SMALL\nnop\n.endif\n", "branch", ".ifdef SMALL"),
        (".ifndef SMALL\nnop\n.else\nret\n.endif\n", "branch", ".ifndef SMALL"),
        (".ifnotdef SMALL; nop; .endif\n", "branch", ".ifnotdef SMALL"),
        (".ifndef SMALL\n.set SMALL, 3\n.endif\n", "default", "SMALL"),
        (".ifndef SMALL\nSMALL = 3\n.endif\n", "default", "SMALL"),
        ("#ifdef SMALL\nnop\n#endif\n", "branch", "#ifdef SMALL"),
        ("#if IS_ENABLED(SMALL)\nnop\n#endif\n", "branch", "#if IS_ENABLED(SMALL)"),
        ("#ifndef SMALL\n#define SMALL 3\n#endif\n", "default", "SMALL"),
    ],
)
def test_conditions_of_assembly(text: str, kind: str, name: str) -> None:
    whole = f"l1d_flush:\n{text}ret\n"
    assert brief(in_assembly(whole)) == [(kind, name, ("SMALL",))]
    assert in_assembly(whole, defines={"SMALL": "1"}) == ()
    assert in_assembly(whole, undefines=frozenset({"SMALL"})) == ()
    assert in_assembly(f"SMALL = 1\n{whole}" if text.startswith(".") else f"#define SMALL 1\n{whole}") == ()


def test_comments_of_assembly_are_no_conditions() -> None:
    assert in_assembly("l1d_flush:\n# if SMALL is what it seems\nret # else not\n") == ()


def test_what_another_input_has_is_not_told() -> None:
    caller = "extern char *area;\nvoid l1d_flush(void) { fill(&table); }\n"
    filler = "char table;\nextern char *area;\nvoid fill(void *x) { " + WALK + " }\n"
    inputs = [given(caller.encode(), "a.c"), given(filler.encode(), "b.c")]
    routines = load_together(inputs, LoadOptions(function="l1d_flush"))
    assert [routine.left_out for routine in routines] == [()]
    broken = [inputs[0], given(filler.encode() + b"void odd(void) { x.y = 1; }\n", "b.c")]
    (routine,) = load_together(broken, LoadOptions(function="l1d_flush"))
    assert [(one.kind.value, one.name) for one in routine.left_out] == [("function", "odd")]


def test_all_ways_of_few_names_are_tried() -> None:
    left_out = tuple(LeftOut(LeftOutKind.BRANCH, f"#ifdef {n}", (n,), values=("1",)) for n in "AB")
    (routine,) = load_assembly("f.s", "l1d_flush: ret\n", LoadOptions())
    ways = ways_to_give([replace(routine, left_out=left_out)])
    assert [sorted(way) for way in ways] == [["A"], ["B"], ["A", "B"]]


def test_every_error_has_its_number() -> None:
    """Held against the C library's numbers, as Python has them; of the kernel's own some, from its errno.h."""
    numbers = {name: getattr(errno, name) for name in dir(errno) if name[:1] == "E" and name.isupper()}
    numbers |= {"ERESTARTSYS": 512, "ENOIOCTLCMD": 515, "EPROBE_DEFER": 517, "ENOTSUPP": 524, "EIOCBQUEUED": 529}
    checks = "".join(f'_Static_assert({name} == {value}, "{name}");\n' for name, value in sorted(numbers.items()))
    text = f"extern char *area;\nvoid l1d_flush(void) {{ {checks}{WALK} }}\n"
    assert in_c(text) == ()
    with pytest.raises(InputError, match="static assertion failed"):
        in_c(text.replace("EINVAL == 22", "EINVAL == 23"))
