# SPDX-License-Identifier: GPL-2.0-or-later
"""C that is for another processor, in another form, or lacks something: what it is told, and what is still judged."""

from __future__ import annotations

import shutil

import pytest

from l1dflush.errors import InputError
from l1dflush.routine.c.source import load_c
from l1dflush.routine.combine import load_together
from l1dflush.routine.given import given
from l1dflush.routine.load import load_bytes
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="gcc and GNU as are needed"
)

AREA = "extern volatile char *area;\n"
WALK = "for (long i = 0; i < 65536; i += 64)\n\t\t(void)area[i];"


def flush(statement: str, before: str = "") -> str:
    return f"{before}{AREA}void l1d_flush(void)\n{{\n\t{statement}\n\t{WALK}\n}}\n"


def refused(text: str, name: str = "f.c") -> str:
    with pytest.raises(InputError) as caught:
        load_bytes(text.encode(), name, LoadOptions())
    return str(caught.value)


def patch(text: str, path: str) -> str:
    lines = text.splitlines()
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("statement", "processor", "example"),
    [
        ('asm volatile("ldrb w2, [%0]" :: "r"(area) : "w2", "memory");', "AArch64", "cortex-a76"),
        ('asm volatile("dc civac, %0\\n\\tdsb ish\\n\\tisb" :: "r"(area) : "memory");', "AArch64", "cortex-a76"),
        ('unsigned long t; asm volatile("mrs %0, cntvct_el0" : "=r"(t));', "AArch64", "cortex-a76"),
        ('asm volatile("dsb sy" ::: "memory");', "Arm", "cortex-a76"),
        ('asm volatile("mcr p15, 0, %0, c7, c14, 1" :: "r"(area));', "32-bit Arm", "cortex-a76"),
        ('asm volatile("sync" ::: "memory");', "PowerPC", "power9"),
        ('asm volatile("dcbf 0,%0" :: "r"(area) : "memory");', "PowerPC", "power9"),
        ('asm volatile("fence rw, rw" ::: "memory");', "RISC-V", "rocket"),
        ('asm volatile("cbo.flush (%0)" :: "r"(area) : "memory");', "RISC-V", "rocket"),
    ],
)
def test_inline_assembly_for_another_processor(statement: str, processor: str, example: str) -> None:
    for text, name in ((flush(statement), "f.c"), (patch(flush(statement), "x/f.c"), "f.diff")):
        message = refused(text, name)
        assert f"this is C with inline assembly for {processor} (" in message and f"--cpu {example}" in message
        assert "f.c:4: " in message
    with pytest.raises(InputError, match=f"inline assembly for {processor}"):
        load_together([given(flush(statement).encode(), "f.c"), given(b"int other;\n", "g.c")], LoadOptions())


def test_inline_assembly_in_a_macro() -> None:
    message = refused(flush("barrier_all();", '#define barrier_all() \\\n\tasm volatile("dsb sy" ::: "memory")\n'))
    assert "inline assembly for Arm" in message


@pytest.mark.parametrize(
    "statement",
    [
        'asm volatile("lfenc" ::: "memory");', 'asm volatile("mov %%rax, [%0]" :: "r"(area));',
        'asm volatile("movzbq %0" :: "m"(*area));', 'asm volatile("" ::: "rx");', 'asm volatile("add %0, %1, %2");',
        '/* asm("dsb sy") */ asm volatile("lfenc");',
    ],
)  # fmt: skip
def test_what_is_wrong_for_x86_stays_an_error_of_the_assembler(statement: str) -> None:
    assert "another" not in (message := refused(flush(statement))) and "inline assembly for" not in message


CLASS = "class {name} {{\npublic:\n\tvoid flush(volatile char *area) {{\n\t\tfor (auto i = 0ul; i < 65536; i += 64)\n" \
    "\t\t\t(void)area[i];\n\t}}\n}};\n"  # fmt: skip


@pytest.mark.parametrize("path", ["drivers/f.cpp", "a/f.cc", "a/f.hpp"])
def test_cpp_in_a_patch_is_told(path: str) -> None:
    assert refused(patch(CLASS.format(name="Flusher"), path), "f.diff").startswith(f"{path}: this is C++ (")
    template = "template <typename T> void flush_l1d(T *area) { for (int i = 0; i < 65536; i += 64) (void)area[i]; }\n"
    assert "this is C++" in refused(patch(template, path), "f.diff")
    # Beside C it is told as left out.
    both = patch(flush(""), "a/flush.c") + patch(CLASS.format(name="Other"), path)
    (routine,) = load_bytes(both.encode(), "f.diff", LoadOptions())
    assert [(one.kind, one.name, one.reason) for one in routine.left_out] == [(LeftOutKind.PART, path, "this is C++")]
    # What is C in spite of its name is judged.
    assert load_bytes(patch(flush(""), path).encode(), "f.diff", LoadOptions())[0].left_out == ()


NEW = flush("").splitlines()
DIFFS = {
    "an ed script": "0a\n" + "\n".join(NEW) + "\n.\n",
    "an ed script ": "12c\n" + "\n".join(NEW) + "\n.\n3,4d\n",
    "a diff without context": "0a1,7\n" + "".join(f"> {line}\n" for line in NEW),
    "a diff without context ": "diff a/f.c b/f.c\n1,2c1,7\n< int a;\n< int b;\n---\n"
    + "".join(f"> {r}\n" for r in NEW),
    "a context diff": "*** a/f.c\n--- b/f.c\n***************\n*** 0 ****\n--- 1,7 ----\n"
    + "".join(f"+ {line}\n" for line in NEW),
}


@pytest.mark.parametrize(("what", "text"), DIFFS.items(), ids=DIFFS)
def test_a_diff_that_is_not_unified_is_told(what: str, text: str) -> None:
    for name in ("f.diff", "f.c"):
        message = refused(text, name)
        assert f"this is {what.strip()} (" in message and "diff -u" in message


def test_c_that_looks_a_little_like_one() -> None:
    text = "/*\n.\n*/\n" + flush("")
    assert load_bytes(text.encode(), "f.c", LoadOptions())[0].left_out == ()


@pytest.mark.parametrize("label", ["out", "no_flush"])
def test_a_label_of_asm_goto_is_no_name_that_is_lacking(label: str) -> None:
    goto = f'asm goto(ALTERNATIVE("", "jmp %l[{label}]", X86_FEATURE_QUICK) :::: {label});'
    text = f"{AREA}void l1d_flush(void)\n{{\n\t{goto}\n\t{WALK}\n{label}:\t;\n}}\n"
    assert "uses a name not defined here: ALTERNATIVE (" in refused(text)
    (routine,) = load_c("f.c", text, LoadOptions(defines={"ALTERNATIVE(a, b, c)": 'a "nop"'}))
    assert routine.name == "l1d_flush"


def helper(definition: str, call: str) -> tuple[LeftOut, ...]:
    text = flush(f"if ({call})\n\t\treturn;", definition)
    return load_c("f.c", text, LoadOptions())[0].left_out


@pytest.mark.parametrize(
    ("definition", "call", "names"),
    [
        ("static int busy(tsr_cpu_t *c)\n{\n\treturn c->flags & 1;\n}\n", "busy(0)", ("tsr_cpu_t",)),
        ("static int busy(void)\n{\n\ttsr_cpu_t *c = mine();\n\treturn c->flags;\n}\n", "busy()", ("tsr_cpu_t",)),
        ("static int busy(struct tsr *c)\n{\n\treturn c->flags & 1;\n}\n", "busy(mine())", ("struct tsr",)),
        ("static int busy(void)\n{\n\tstruct tsr c;\n\tfill(&c);\n\treturn c.flags;\n}\n", "busy()", ("struct tsr",)),
        ("static state_t busy(void)\n{\n\treturn ask();\n}\n", "busy()", ("state_t",)),
    ],
)
def test_a_helper_that_lacks_a_type_is_left_out(definition: str, call: str, names: tuple[str, ...]) -> None:
    (one,) = helper(definition, call)
    assert (one.kind, one.name, one.names) == (LeftOutKind.FUNCTION, "busy", names)
    assert one.reason.startswith("function 'busy' uses a name not defined here: ")


def test_a_type_that_the_flush_itself_lacks_is_an_error() -> None:
    assert "function 'l1d_flush' uses a name not defined here: tsr_cpu_t" in refused(flush("tsr_cpu_t c = 0;"))
