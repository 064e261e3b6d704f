# SPDX-License-Identifier: GPL-2.0-or-later
"""`--bind` of what is in memory, by the name that reports have for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import function, judged

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.tracing.memory_names import in_memory

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)


def source(fields: str, size: str) -> str:
    return (
        f"struct flush {{ {fields} }};\nstruct vcpu {{ long mode; struct flush *flush; }};\n"
        "void l1d_flush(struct vcpu *v, struct flush *f)\n{\n\tunsigned long i;\n\tchar c;\n"
        f"\tfor (i = 0; i < {size}; i += 64)\n\t\tc = *(volatile char *)(f->buffer + i);\n"
        '\t__asm__ volatile("lfence" ::: "memory");\n}\n'
    )


def walk(load: str, extra: str = "") -> str:
    text = f"{load}; xor %eax,%eax; 1: movzbl (%rdi,%rax),%edx; add $64,%rax; cmp %rcx,%rax; jb 1b"
    return function(text) + extra


FIELD = source("char *buffer; unsigned long size;", "f->size")
HALF = source("char *buffer; int order; int size;", "f->size")
CASES = [
    (FIELD, "[f+0x8]"), (FIELD, "[f + 8]"), (FIELD, "[rsi+8]"), (HALF, "[f+0xc]:4"),
    (source("char *buffer; unsigned char blocks;", "4096UL * f->blocks"), "[f+0x8]:1"),
    (source("char *buffer; unsigned long size;", "v->flush->size"), "[[v+0x8]+0x8]"),
    (walk("mov 8(%rsi),%rcx"), "[rsi+0x8]"), (walk("mov -8(%rsi),%rcx"), "[rsi-8]"), (walk("mov (%rsi),%rcx"), "[rsi]"),
    (walk("mov area+8(%rip),%rcx", "\t.comm area,64,8\n"), "area+8"),
    (walk("mov area(%rip),%rcx; mov 8(%rcx),%rcx", "\t.comm area,8,8\n"), "[area+8]"),
    (walk("mov %gs:0x40,%rcx"), "gs:0x40"), (walk("mov %gs:size(%rip),%rcx"), "gs:size"),
    (walk("movzbl %gs:size+2(%rip),%ecx; shl $12,%ecx"), "gs:size+2:1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), CASES, ids=[f"{i}: {name}" for i, (_, name) in enumerate(CASES)])
def test_what_is_in_memory_is_bound(text: str, name: str, tmp_path: Path) -> None:
    size, less = ("16", "4") if name.endswith(":1") else ("64K", "0x4000")
    assert judged(tmp_path, text, bind={name: size}).verdict is Verdict.PROVED
    assert judged(tmp_path, text, bind={name: less}).verdict is Verdict.REFUTED
    # Without it there are too many lengths, and the hint is what settles it.
    result = judged(tmp_path, text)
    assert result.verdict is Verdict.UNDECIDED and result.undecided is not None
    hinted = (result.undecided.hint or "").removeprefix("--bind ").strip("'").removesuffix("=VALUE")
    if not name.endswith(":1"):
        assert judged(tmp_path, text, bind={hinted: size}).verdict is Verdict.PROVED


def test_what_is_beside_stays_unknown(tmp_path: Path) -> None:
    other = HALF.replace("i < f->size", "i < size").replace(
        "char c;", "char c;\n\tint size = f->order == 7 ? 4096 : f->size;"
    )
    found = judged(tmp_path, other, bind={"[f+0xc]:4": "64K"})
    assert found.verdict is Verdict.REFUTED and len(found.paths) == 2
    # All eight bytes: the order is 0 then.
    found = judged(tmp_path, other, bind={"[f+0x8]": str(65536 << 32)})
    assert found.verdict is Verdict.PROVED and len(found.paths) == 1


def test_what_the_routine_stores_is_there(tmp_path: Path) -> None:
    text = walk("movq $0x4000,8(%rsi); mov 8(%rsi),%rcx")
    assert judged(tmp_path, text, bind={"[rsi+8]": "64K"}).verdict is Verdict.REFUTED


def test_from_and_to_in_a_structure(tmp_path: Path) -> None:
    text = function("mov (%rdi),%rax; mov 8(%rdi),%rcx; 1: movzbl (%rax),%edx; add $64,%rax; cmp %rcx,%rax; jb 1b")
    for value, verdict in (("[rdi]+64K", Verdict.PROVED), ("[rdi]+16K", Verdict.REFUTED)):
        assert judged(tmp_path, text, bind={"[rdi+8]": value}).verdict is verdict
    assert judged(tmp_path, text, bind={"[rdi+8]": "rsi+64K", "[rdi]": "rsi"}).verdict is Verdict.PROVED
    assert judged(tmp_path, text, bind={"[rdi]": "buffer", "[rdi+8]": "buffer+64K"}).verdict is Verdict.PROVED


def test_a_string_s_bytes_settle_nothing_alone(tmp_path: Path) -> None:
    text = function("2: inc %rsi; cmpb $0,(%rsi); jne 2b; xor %eax,%eax; 1: movzbl (%rdi,%rax),%edx; add $64,%eax; "
                    "cmp $65536,%eax; jb 1b")  # fmt: skip
    result = judged(tmp_path, text)
    assert result.undecided is not None and (result.undecided.hint or "").startswith("--max-paths N")


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        ({"[q+8]": "5"}, "'q' is neither"), ({"rdi+8": "5"}, "'rdi\\+8' is not a place in memory"),
        ({"[rdi+8": "5"}, "is neither"), ({"[rdi+8]:3": "5"}, "is neither"),
        ({"[rdi+8]:1": "500"}, "does not fit into 8"),
        ({"[rdi]:4": "rsi"}, "has 4 bytes, and an address has 8"), ({"[rdi]": "[rdi]+4"}, "relative to itself"),
        ({"rdi": "[rdi]"}, "relative to itself"), ({"[[rdi]+8]": "rsi", "[rdi]": "[[rdi]+8]"}, "relative to itself"),
        ({"gs:nobody": "4"}, "'nobody' is neither"), ({"[]": "4"}, "is neither"),
        ({"[rdi]": "[rsi]*2"}, "is not a number"),
        ({"rsi": "4K", "esi": "64K"}, "said already"), ({"[rdi+8]": "4K", "[rdi + 0x8]": "64K"}, "said already"),
        ({"[rdi+8]": "4K", "[rdi+12]:4": "1"}, "said already"), ({"dl": "1", "edx": "2"}, "said already"),
        ({"[rdi+8]": "buffer"}, "no path reads what \\[rdi\\+0x8\\] points to"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(bind: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as error:
        judged(tmp_path, walk("mov $65536,%ecx"), bind=bind)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("[s+8]", "[s+0x8]"), ("[ s + 0x10 ]:4", "[s+0x10]"), ("[[s]-24]", "[[s]-0x18]"), ("gs:40", "gs:0x28"),
        ("fs:var + 1", "fs:var+0x1"), ("area+16", "area+0x10"), ("gs:4", "gs:0x4"), ("gs:0x28:4", "gs:0x28"),
    ],
)  # fmt: skip
def test_names_are_as_reports_have_them(name: str, reported: str) -> None:
    found = in_memory(name)
    assert str(found) == reported and in_memory(reported) == (found._replace(size=0) if found else None)


@pytest.mark.parametrize(
    "name", ["s", "rdi", "stack_arg1", "", "[", "[s", "s]", "[s]]", "[s]:3", "[s]:", "[s+]", "gs:", "[gs:8]"]
)
def test_other_names_are_none(name: str) -> None:
    assert in_memory(name) is None


@pytest.mark.parametrize(
    "bind", [{"sil": "1", "edx": "2"}, {"dl": "1", "dh": "2"}, {"[rdi+8]:4": "1", "[rdi+12]:4": "1"}]
)
def test_bytes_beside_each_other_are_said_one_by_one(bind: dict[str, str], tmp_path: Path) -> None:
    assert judged(tmp_path, walk("mov $65536,%ecx"), bind=bind).verdict is Verdict.PROVED


def test_who_is_called_may_change_what_was_bound(tmp_path: Path) -> None:
    text = walk("push %rdi; push %rsi; call refill; pop %rsi; pop %rdi; mov 8(%rsi),%rcx")
    assert judged(tmp_path, text, bind={"[rsi+8]": "64K"}).verdict is Verdict.UNDECIDED
    assert judged(tmp_path, text.replace("call refill", "nop"), bind={"[rsi+8]": "64K"}).verdict is Verdict.PROVED
