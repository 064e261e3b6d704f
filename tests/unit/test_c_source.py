# SPDX-License-Identifier: GPL-2.0-or-later
"""C files: what becomes of them, what is missing in them, and what their text says."""

from __future__ import annotations

import shutil

import pytest

from l1dflush.errors import InputError
from l1dflush.routine.c.source import load_c, looks_like_c
from l1dflush.routine.model import LeftOutKind, NoteKind, OriginKind, Parameter, Routine
from l1dflush.routine.options import LoadOptions

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler on this machine"
)

WALK = "for (unsigned long i = 0; i < BYTES; i += L1_CACHE_BYTES) (void)READ_ONCE(lines[i]);"


def load(text: str, **options: object) -> list[Routine]:
    return load_c("some/flush.c", text, LoadOptions(**options))  # type: ignore[arg-type]


def refused(text: str, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        load(text, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def kinds(routine: Routine) -> list[NoteKind]:
    return [note.kind for note in routine.notes]


def test_c_is_told_from_other_text() -> None:
    assert looks_like_c("static void __maybe_unused f(void)\n{\n}\n")
    assert looks_like_c("#include <x.h>\nint main() { return 0; }")
    assert not looks_like_c("")
    assert not looks_like_c("f:\n\tmovzbl (%rdi,%rax), %ecx\n\tvmovaps (%rax){%k1}, %zmm0\n\tret\n")
    assert not looks_like_c("A letter (with brackets) and {braces}.")
    assert not looks_like_c("int x[] = { 1 };")
    assert not looks_like_c("void f(void)\n{\0}")


@needs_compiler
@pytest.mark.parametrize("optimize", ["0", "1", "2", "s"])
def test_a_program_with_headers(optimize: str) -> None:
    text = (
        "#include <stdint.h>\n#include <string.h>\n"
        "static char buf[65536];\n"
        "void flush(void){ for (int i=0;i<65536;i+=64) *(volatile char*)&buf[i]; }\n"
        "void flush_at(const volatile char *p, unsigned long n)"
        " { for (size_t i = 0; i < n; i += 64) (void)p[i]; }\n"
    )
    first, second = load(text, optimize=optimize)
    assert (first.name, second.name) == ("flush", "flush_at")
    assert first.origin.kind is OriginKind.C
    assert first.source_available
    assert first.image.symbols["buf"].size == 65536
    assert second.parameters == (Parameter("rdi", "p"), Parameter("rsi", "n"))
    assert {(line.file, line.line) for line in second.image.lines.values()} == {("some/flush.c", 5)}


@needs_compiler
@pytest.mark.parametrize("optimize", ["0", "2"])
def test_a_pointer_that_is_never_written_is_still_read(optimize: str) -> None:
    head = "#define BYTES SZ_64K\nstatic char *lines __read_mostly;\nstatic void noinstr l1d_flush(void)\n"
    text = f"{head}{{\n{WALK}\n}}\n"
    routine = load(text, optimize=optimize)[0]
    symbol = routine.image.symbols["lines"]
    assert (symbol.defined, symbol.size) == (True, 8)
    assert routine.name == "l1d_flush"
    assert len(routine.code) > 16


@needs_compiler
def test_all_that_is_missing_is_said_at_once() -> None:
    error = refused(f"my_type flush(struct cpu *c)\n{{ char *lines = c->area; {WALK} return LAST + other; }}")
    assert "4 names" not in error.what
    for name in ("BYTES", "LAST", "my_type", "other", "struct cpu"):
        assert name in error.what
    assert "i," not in error.what
    assert "L1_CACHE_BYTES" not in error.what
    assert error.hint is not None
    assert "--define" in error.hint
    assert error.where == "some/flush.c:1"


@needs_compiler
def test_what_is_missing_can_be_defined() -> None:
    text = f"char *lines; my_type flush(void) {{ {WALK} return 0; }}"
    assert load(text, defines={"BYTES": "PAGE_SIZE << 4", "my_type": "u32"})
    assert "BYTES" in refused(text, defines={"my_type": "u32"}).what


@needs_compiler
def test_functions_from_elsewhere_are_declared() -> None:
    text = "void flush(void) { int i; char *p = get_area(4); for (i = 0; i < 9; i++) (void)READ_ONCE(p[i]); }"
    symbol = load(text)[0].image.symbols["get_area"]
    assert not symbol.defined


@needs_compiler
def test_a_pointer_from_elsewhere_is_declared() -> None:
    text = 'void flush(void) { asm volatile("movb (%0), %%al" :: "r" (some_area) : "al", "memory"); }'
    assert not load(text)[0].image.symbols["some_area"].defined


@needs_compiler
def test_the_first_error_of_the_compiler_is_at_its_line() -> None:
    error = refused("/* a\n comment */\nvoid flush(char *p)\n{\n\twhile (*p++)\n\t\tp[0] = 1\n}\n")
    assert error.where == "some/flush.c:6"
    assert "expected" in error.what


@needs_compiler
def test_called_functions_come_along_if_they_compile() -> None:
    text = (
        "static int helper(int x) { return MISSING(x) + x.y; }\n"
        "static inline void one(const char *p) { (void)*(const volatile char *)p; }\n"
        "static struct unknown_thing broken;\n"
        "void flush(const char *p) { int i; for (i = 0; i < 4096; i += 64) one(p + i); helper(2); }\n"
        "void unrelated(void) { broken.x = 1 }\n"
    )
    routine = load(text, function="flush")[0]
    assert not routine.image.symbols["helper"].defined
    assert "one" not in routine.image.symbols
    assert [(one.kind, one.name, str(one.where)) for one in routine.left_out] == [
        (LeftOutKind.FUNCTION, "helper", "some/flush.c:1")
    ]


@needs_compiler
def test_own_definitions_win_over_the_prelude() -> None:
    text = (
        "typedef unsigned short u8;\n#define L1_CACHE_BYTES 128\n"
        "static inline void clflush(volatile void *p)\n"
        '{ asm volatile("clflush (%0)" :: "r" (p) : "memory"); }\n'
        "void flush(u8 *p) { for (int i = 0; i < sizeof(u8) * 64; i += L1_CACHE_BYTES) clflush(p + i); }\n"
    )
    assert [routine.name for routine in load(text)] == ["clflush", "flush"]


@needs_compiler
def test_conditionals_are_the_compilers_business() -> None:
    text = (
        "#define WAYS 8\n"
        "void flush(volatile char *p)\n{\n"
        "#if defined(CONFIG_LONG) && LINUX_VERSION_CODE >= KERNEL_VERSION(4, 9, 0)\n"
        "\tfor (int i = 0; i < UNKNOWN_LIMIT; i += 64) {\n"
        "#else\n"
        "\tfor (int i = 0; i < 4096 * WAYS; i += 64) {\n"
        "#endif\n"
        "\t\t(void)p[i];\n\t}\n}\n"
        "#ifdef CONFIG_X\n#error not here\n#endif\n"
    )
    assert load(text)
    defines = {"CONFIG_LONG": "1", "LINUX_VERSION_CODE": "0x060000"}
    assert "UNKNOWN_LIMIT" in refused(text, defines=defines).what


@needs_compiler
def test_attributes_do_not_hide_a_function() -> None:
    text = (
        "static __always_inline void __maybe_unused __aligned(64) do_flush(char *lines)\n"
        "{ for (int i = 0; i < 4096; i += 64) (void)READ_ONCE(lines[i]); }\n"
        "module_param(x, int, 0444)\n"
        'static noinline __section(".text.x") void __cold l1tf_walk(char *p)\n'
        "{ do_flush(p); }\n"
    )
    assert [routine.name for routine in load(text)] == ["do_flush", "l1tf_walk"]


@needs_compiler
def test_candidates_by_name_then_by_what_they_do() -> None:
    loop = "{ for (int i = 0; i < 4; i++) ((volatile char *)p)[i]; }"
    assert [r.name for r in load(f"void a(char *p) {loop}\nvoid L1D_b(char *p) {loop}\n")] == ["L1D_b"]
    assert [r.name for r in load(f"void a(char *p) {loop}\nint b(int x) {{ return x; }}\n")] == ["a"]
    assert [r.name for r in load("int b(int x) { return x; }\n")] == ["b"]
    assert load(f"void a(char *p) {loop}\nvoid flush(char *p) {loop}\n", function="a")[0].name == "a"


def test_a_function_that_is_not_there() -> None:
    error = refused("void a(void) {}\nvoid b(void) {}", function="c")
    assert "'c'" in error.what
    assert error.hint is not None
    assert "a, b" in error.hint


@pytest.mark.parametrize("text", ["", "int x;", "/* void f(void) {} */", '"void f(void) {}"', "}}}}", "((((", "#if 1"])
def test_text_without_a_function(text: str) -> None:
    assert "no C function" in refused(text).what


@needs_compiler
def test_parameters_follow_the_calling_convention() -> None:
    text = (
        "void flush(float f, double d, const char *a, int (*call)(int), u8 b[4], struct s *c, long, int e,"
        " int g) { for (;;) mb(); }"
    )
    found = [(parameter.register, parameter.name) for parameter in load(text)[0].parameters]
    assert found == [
        ("rdi", "a"),
        ("rsi", "call"),
        ("rdx", "b"),
        ("rcx", "c"),
        ("r8", "argument 7"),
        ("r9", "e"),
        ("stack_arg1", "g"),
    ]


@needs_compiler
def test_no_other_file_is_read() -> None:
    head = '#include "/etc/hostname"\n#  include_next <x>\n'
    text = head + "void flush(char *p) {\nfor (;;) mb(); }\n"
    assert [one.name for one in load(text)[0].left_out] == ['#include "/etc/hostname", <x>']


FLUSH = (
    "static void *area;\nvoid flush(void)\n"
    "{ char *lines = area; for (int i = 0; i < 65536; i += 64) (void)READ_ONCE(lines[i]); }\n"
)


@needs_compiler
@pytest.mark.parametrize(
    ("setup", "kind", "says"),
    [
        ("area = kmalloc(65536, GFP_KERNEL);", NoteKind.BUFFER_NOT_INITIALISED, "nothing is stored"),
        (
            "area = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 4);",
            NoteKind.BUFFER_NOT_INITIALISED,
            "zeroed",
        ),
        ("if (!(area = calloc(16, 4096))) return;", NoteKind.BUFFER_NOT_INITIALISED, "zeroed"),
        ("posix_memalign(&area, 4096, 65536);", NoteKind.BUFFER_NOT_INITIALISED, "posix_memalign"),
        ("area = vmalloc(65536); memset(area, 0, 65536);", NoteKind.BUFFER_NOT_INITIALISED, "same content"),
        (
            "struct page *page = alloc_pages(GFP_KERNEL, 4); area = page_address(page);",
            NoteKind.BUFFER_NOT_INITIALISED,
            "alloc_pages",
        ),
        (
            "area = vmalloc(65536); for (i = 0; i < 16; i++) memset(area + i * PAGE_SIZE, i + 1, PAGE_SIZE);",
            NoteKind.BUFFER_INITIALISED,
            "differ",
        ),
        (
            "char *p = malloc(65536); area = p; for (i = 0; i < 65536; i++) p[i] = i / 4096;",
            NoteKind.BUFFER_INITIALISED,
            "differ",
        ),
        ("area = malloc(65536); get_random_bytes(area, 65536);", NoteKind.BUFFER_INITIALISED, "differ"),
        # p[i] = i repeats every 256 bytes: every page is the same. Nothing is claimed either way.
        ("char *p = malloc(65536); area = p; for (i = 0; i < 65536; i++) p[i] = i;", None, ""),
        ("area = malloc(65536); fill(area);", None, ""),
        ("area = malloc(65536); *((char *)area + i) = i;", None, ""),
        ("other = malloc(65536);", None, ""),
        ("state->area = malloc(65536);", None, ""),
        ("area = somewhere();", None, ""),
        ("/* area = malloc(65536); */", None, ""),
    ],
)
def test_what_the_source_says_about_the_buffer(setup: str, kind: NoteKind | None, says: str) -> None:
    routine = load(f"{FLUSH}void setup(int i)\n{{ {setup} }}\n", function="flush")[0]
    assert kinds(routine) == ([kind] if kind else [])
    if kind:
        assert says in routine.notes[0].text
        assert str(routine.notes[0].where) == "some/flush.c:5"


@needs_compiler
def test_memory_clobber_and_labels_are_noted_where_they_are() -> None:
    text = (
        "void l1d_flush(const char *p)\n{\n"
        '\tasm volatile(\n\t\t"xor %%eax, %%eax\\n"\n\t\t"again:\\n"\n'
        '\t\t"movb (%0, %%rax), %%cl\\n\\tadd $64, %%eax\\n\\tjne again"\n'
        '\t\t:: "r" (p) : "eax", "ecx");\n}\n'
    )
    routine = load(text)[0]
    found = [(note.kind, str(note.where)) for note in routine.notes]
    assert found == [
        (NoteKind.NO_MEMORY_CLOBBER, "some/flush.c:3"),
        (NoteKind.NAMED_LABEL, "some/flush.c:5"),
    ]


@needs_compiler
def test_windows_line_ends_and_other_alphabets() -> None:
    text = "/* Größe */\r\nvoid flush(volatile char *p)\r\n{\r\n"
    text += "\tfor (int i = 0; i < 9; i++) /* ü */ (void)p[i]; \\\r\n}\r\n"
    routine = load(text)[0]
    assert 4 in {line.line for line in routine.image.lines.values()}


def test_no_compiler_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler-here")
    assert "CC" in str(refused("void flush(void) { for (;;); }"))
