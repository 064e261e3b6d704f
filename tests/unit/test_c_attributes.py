# SPDX-License-Identifier: GPL-2.0-or-later
"""Attributes: the kernel's words mean what the kernel's headers say, and written out they stay what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.routine.c.attributes import not_expanded
from l1dflush.routine.c.kernel_attributes import ATTRIBUTE_NAMES
from l1dflush.routine.c.kernel_prelude import prelude
from l1dflush.routine.c.source import load_c
from l1dflush.routine.c.text import word_set
from l1dflush.routine.options import LoadOptions
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


# Linux 6.12: include/linux/compiler_attributes.h, compiler_types.h, init.h, cpu.h; what they come to for the compiler
# that this is about, without sections. FreeBSD has __noinline as well (sys/cdefs.h).
KERNEL = {
    "noinline": "noinline",
    "noinline_for_stack": "noinline",
    "__noinline": "noinline",
    "noinstr": "noinline",
    "__cpuidle": "noinline",
    "__ref": "noinline",
    "__noclone": "noclone",
    "__weak": "weak",
    "__used": "used",
    "__pure": "pure",
    "__attribute_const__": "const",
    "__cold": "cold",
    "__init": "cold",
    "__exit": "cold",
    "__flatten": "flatten",
    "__always_inline": "always_inline",
    "nokprobe_inline": "always_inline",
    "__noreturn": "noreturn",
    "__malloc": "malloc",
}
# About sections, checkers, tracing, sanitizers, the 32-bit ABI or another optimizer: no instruction depends on them.
NOTHING = word_set(
    """
    __maybe_unused __always_unused __initdata __exitdata __initconst __refdata asmlinkage __visible notrace
    __read_mostly __ro_after_init __must_check __kprobes __latent_entropy __user __iomem __percpu __rcu __force
    __kernel __bitwise __randomize_layout __no_sanitize_address __no_kcsan __nocfi __deprecated __private __hidden
    __lockfunc __sched __entry_text __net_init __net_exit fastcall __fastcall __cdecl
    __section(x) __acquires(x) __releases(x) __must_hold(x) __counted_by(x)
    """
)
TEXT = """
extern volatile unsigned char *area;
static long {word} step(long at)
{{
	long n = at;
	for (int i = 0; i < 3; i++)
		n += area[at + i] & 0;
	return n + 64;
}}
void l1d_flush(void)
{{
	for (long at = 0; at < 65536; at = step(at))
		(void)area[at];
	step(7);
	asm volatile("lfence" ::: "memory");
}}
"""


def code(word: str) -> list[tuple[bytes, tuple[int, ...]]]:
    """All sections of the code, with where something is relocated."""
    text = TEXT.format(word=word)
    image = load_c("f.c", text if word.strip("_(") != "weak" else text.replace("static ", ""), LoadOptions())[0].image
    return [(one.data, tuple(image.relocated)) for one in image.sections if one.executable]


@pytest.mark.parametrize(("word", "attribute"), KERNEL.items())
def test_a_word_of_the_kernel_is_its_attribute(word: str, attribute: str) -> None:
    static = "" if attribute == "weak" else "static "
    text = TEXT.replace("static ", static)
    one, other = (
        load_c("f.c", text.format(word=form), LoadOptions())[0].image
        for form in (word, f"__attribute__(({attribute}))")
    )
    assert [(s.name, s.data) for s in one.sections] == [(s.name, s.data) for s in other.sections]


def test_the_attributes_are_not_all_the_same() -> None:
    """Else the test above says nothing."""
    assert len({str(code(word)) for word in ("", "noinline", "__pure", "__noreturn", "__used")}) >= 4


def test_every_word_has_a_meaning_or_changes_nothing() -> None:
    """Whoever adds a word to the prelude says here which it is."""
    empty = {
        words[1]
        for words in (line.split() for line in prelude().always.splitlines())
        if words[:1] == ["#define"] and len(words) == 2
    }
    assert empty - {"__kernel_section"} == NOTHING
    assert ATTRIBUTE_NAMES - NOTHING - KERNEL.keys() == {
        "__inline", "__inline__", "__forceinline", "__hot", "__packed", "__no_stack_protector", "__cacheline_aligned",
        "__cacheline_aligned_in_smp", "____cacheline_aligned", "____cacheline_aligned_in_smp", "__page_aligned_data",
        "__page_aligned_bss", "__devinit", "__meminit", "__cpuinit",
    }  # fmt: skip


@pytest.mark.parametrize(
    "attribute",
    [
        "__attribute__((noinline))", "__attribute__ ( ( cold, noinline ) )", "__attribute__((__noinline__))",
        "[[gnu::noinline]]", "NOT_INSIDE", "__attribute__((noinline, aligned((16))))",
    ],
)  # fmt: skip
def test_an_attribute_written_out_is_kept(attribute: str) -> None:
    text = "#define NOT_INSIDE __attribute__((\\\n noinline))\n" + TEXT
    kept = attribute if attribute.startswith("[[") else ""
    text = text.replace("static long {word}", f"{kept} static long {'' if kept else '{word}'}")
    (one,) = load_c("f.c", text.format(word=attribute), LoadOptions())
    calls = [r for r in one.image.symbols.values() if r.function and r.name.startswith("step")]
    assert calls, "step was compiled into its caller"


def test_what_stands_in_an_attribute_is_not_expanded() -> None:
    assert not_expanded("int f(void) __attribute__((noinline)); noinline", ()) == (
        "int f(void) __attribute__((__noinline__)); noinline"
    )
    assert not_expanded('__attribute__((section("noinline"), __weak))', ()) == (
        '__attribute__((section("noinline"), __weak_))'
    )
    assert not_expanded("#if __has_attribute(fallthrough)", ()) == "#if __has_attribute(__fallthrough__)"
    # What the text makes of the word is its own business.
    assert not_expanded("__attribute__((noinline))", {"noinline"}) == "__attribute__((noinline))"


@pytest.mark.parametrize(
    "body",
    [
        "switch (how) { case 1: asm volatile(\"mfence\"); __attribute__((fallthrough)); default: WALK }",
        "switch (how) { case 1: asm volatile(\"mfence\"); fallthrough; default: WALK }",
        "switch (how) { case 1: asm volatile(\"mfence\"); [[fallthrough]]; default: WALK }",
        "switch (how) {\n#if __has_attribute(fallthrough)\ncase 1: __attribute__((fallthrough));\n#endif\n"
        "default: WALK }",
    ],
)  # fmt: skip
def test_falling_through_is_c(body: str) -> None:
    walk = "for (long i = 0; i < 65536; i += 64) (void)area[i];"
    text = f"extern volatile char *area;\nvoid l1d_flush(int how)\n{{\n{body.replace('WALK', walk)}\n}}\n"
    assert load_c("f.c", text, LoadOptions())[0].left_out == ()


HELPER = """
extern volatile unsigned char *area;
{head} touch(const volatile unsigned char *p) {{ return *p; }}
void l1d_flush(void)
{{
	for (unsigned long i = 0; i < 65536; i += 64)
		touch(area + i);
	asm volatile("lfence" ::: "memory");
}}
"""
STRONG = "unsigned char touch(const volatile unsigned char *p) { return 0; }\n"
WEAK = ("unsigned char __weak", "__attribute__((weak)) unsigned char", "__weak unsigned char")


def judged(*files: Path) -> VerifyResult | InputError:
    try:
        return verify([str(file) for file in files], VerifyOptions(cpus=("skylake",)))
    except InputError as error:
        return error


def diff(name: str, text: str) -> str:
    lines = text.splitlines()
    return f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


@pytest.mark.parametrize("head", ["static noinline unsigned char", "static __attribute__((noinline)) unsigned char"])
def test_a_call_that_stays_is_judged(tmp_path: Path, head: str) -> None:
    """Each call puts a return address on the stack; compiled into the loop, the walk would be PROVED."""
    file = tmp_path / "f.c"
    file.write_text(HELPER.format(head=head))
    result = judged(file)
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.REFUTED
    file.write_text(HELPER.format(head="static inline unsigned char"))
    inlined = judged(file)
    assert isinstance(inlined, VerifyResult) and inlined.verdict is Verdict.PROVED


@pytest.mark.parametrize("head", WEAK)
def test_a_weak_definition_is_told(tmp_path: Path, head: str) -> None:
    file = tmp_path / "f.c"
    file.write_text(HELPER.format(head=head))
    result = judged(file)
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.REFUTED
    (one,) = result.left_out
    assert (one.kind, one.name, one.option) == ("supposed", "touch", "")
    assert "another definition" in one.reason and str(one.where).endswith("f.c:3")


def test_a_weak_definition_in_assembly_is_told(tmp_path: Path) -> None:
    file = tmp_path / "f.s"
    walk = "1:	movzbl (%rdi), %eax\n	add $64, %rdi\n	dec %ecx\n	jnz 1b\n	lfence\n	ret\n"
    kind = "\t.type l1d_flush, @function\n"
    file.write_text(
        f"	.weak lines\n	.globl l1d_flush\n{kind}lines:	mov $1024, %ecx\n	ret\nl1d_flush:\n	call lines\n{walk}"
    )
    result = judged(file)
    assert isinstance(result, VerifyResult) and result.verdict is Verdict.PROVED
    assert [one.name for one in result.left_out] == ["lines"]
    # The flush itself may be replaced as well; what is not used does not matter.
    file.write_text(f"	.weak l1d_flush, other\n{kind}other:	ret\nl1d_flush:\n	mov $1024, %ecx\n{walk}")
    result = judged(file)
    assert isinstance(result, VerifyResult) and [one.name for one in result.left_out] == ["l1d_flush"]


@pytest.mark.parametrize("head", WEAK[:2])
def test_a_strong_definition_takes_the_place_of_a_weak_one(tmp_path: Path, head: str) -> None:
    weak, strong, patch = (tmp_path / name for name in ("weak.c", "strong.c", "both.diff"))
    weak.write_text(HELPER.format(head=head))
    strong.write_text(STRONG)
    patch.write_text(diff("a/weak.c", HELPER.format(head=head)) + diff("a/strong.c", STRONG))
    for files in ((weak, strong), (patch,)):
        result = judged(*files)
        assert isinstance(result, InputError) and "walks a buffer" in str(result), files
    strong.write_text(STRONG.replace("return 0", "return *p"))
    result = judged(weak, strong)
    assert isinstance(result, VerifyResult) and result.left_out == ()


def test_a_weak_variable_is_one(tmp_path: Path) -> None:
    file = tmp_path / "f.c"
    file.write_text(
        "extern volatile unsigned char *area;\nunsigned long bytes __attribute__((weak)) = 65536;\n"
        "void l1d_flush(void)\n"
        '{\n\tfor (unsigned long i = 0; i < bytes; i += 64)\n\t\t(void)area[i];\n\tasm volatile("lfence");\n}\n'
    )
    result = judged(file)
    assert isinstance(result, VerifyResult) and [one.name for one in result.left_out] == ["bytes"]
