# SPDX-License-Identifier: GPL-2.0-or-later
"""No verdict depends on where memory lies: placed elsewhere, linked elsewhere or loaded elsewhere it is the same."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from trace_programs import elf

import l1dflush.tracing
from l1dflush.ending import Verdict
from l1dflush.routine.elf import layout
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.bases import Bases
from l1dflush.tracing.lift import Lifter
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

needs_cc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_ld = pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")

C = """
static char before[12288] __attribute__((aligned(4096)));
char drained[65536] __attribute__((aligned(4096)));
char per_cpu[8][65536] __attribute__((aligned(4096)));
static char initialised[65536] __attribute__((aligned(4096))) = {1};
char *const pointed_to = initialised;
extern char elsewhere[65536], *handed_over;
extern void keep(void *);
static const int steps[4] = {64, 64, 64, 64};
static void walk(const char *from) { for (int i = 0; i < 65536; i += steps[i & 3]) *(volatile const char *)(from + i); }
void own(void) { before[5] = 1; walk(drained); keep(before); }
void outside(void) { walk(elsewhere); }
void loaded(void) { walk(handed_over); }
void constant(void) { walk(pointed_to); }
void of_cpu(long cpu) { walk(per_cpu[cpu]); }
void half(void) { for (int i = 0; i < 32768; i += 64) *(volatile char *)(drained + i); }
void by_address(void) { walk((long)before & 0x4000 ? drained : elsewhere); }
"""
FUNCTIONS = ("own", "outside", "loaded", "constant", "of_cpu", "half", "by_address")
MODES = {
    "64": ["-fno-pic", "-mcmodel=kernel"],
    "64-pic": ["-fPIC"],
    "32": ["-m32", "-fno-pic"],
    "32-pic": ["-m32", "-fPIC"],
}
ASSEMBLY = {
    # What lies between two sections, a common, and an address of the code itself.
    "sections": "lea .bss(%rip), %rax; lea .data(%rip), %rcx; sub %rcx, %rax; test $64, %al\n"
    "jz 1f; mov (%rax), %dl\n1: ret",
    "common": ".comm pages, 65536, 4096\nlea pages(%rip), %rax; xor %ecx, %ecx\n"
    "1: mov (%rax,%rcx), %dl; add $64, %ecx; cmp $65536, %ecx; jb 1b; ret",
    "code": "lea 1f(%rip), %rax; test $32, %al; jz 1f; mov (%rdi), %dl\n1: ret",
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The C above as objects in each mode."""
    folder = tmp_path_factory.mktemp("objects")
    source = folder / "x.c"
    source.write_text(C)
    made = {}
    for name, flags in MODES.items():
        made[name] = folder / f"{name}.o"
        command = ["gcc", "-O2", "-fno-stack-protector", "-fno-strict-overflow", *flags, "-c", "-o", made[name], source]
        subprocess.run(command, check=True, capture_output=True)
    return made


def answer(path: Path, function: str) -> str:
    """The whole JSON of the verdict on Skylake."""
    options = VerifyOptions(cpus=("skylake",), function=function)
    return verify(str(path), options).to_json()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[random.Random]:
    """Sections, commons and outside symbols lie at other multiples of their alignments, each time others."""
    choice = random.Random(5)
    plain = layout._Layout._place

    def place(self: layout._Layout, size: int, alignment: int, *rest: object) -> int:
        self._cursor += choice.randrange(8) * max(alignment, layout.PAGE)
        return plain(self, size, alignment, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(layout._Layout, "_place", place)
    monkeypatch.setattr(layout, "EXTERNAL_BASE", layout.EXTERNAL_BASE + 0x130_0000)
    yield choice


@needs_cc
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_placed_elsewhere_the_whole_answer_is_the_same(
    objects: dict[str, Path], mode: str, function: str, request: pytest.FixtureRequest
) -> None:
    before = answer(objects[mode], function)
    request.getfixturevalue("elsewhere")
    assert [answer(objects[mode], function) for _ in range(2)] == [before, before]


@pytest.mark.parametrize("name", ASSEMBLY)
def test_placed_elsewhere_the_paths_are_the_same(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    data = elf(
        f"        .text\n        .globl f\n        .type f, @function\n"
        f"f: {ASSEMBLY[name]}\n.data\n.quad 1\n.bss\n.zero 64"
    )

    def seen() -> list[object]:
        (routine,) = load_bytes(data, "x.o", LoadOptions(function="f"))
        return [
            (
                [d.taken for d in path.decisions],
                [(e.kind, e.arena and e.arena.region, e.offset) for e in path.events],
            )
            for path in trace(routine).paths
        ]

    before = seen()
    request.getfixturevalue("elsewhere")
    assert [seen(), seen()] == [before, before]


@needs_cc
@needs_ld
@pytest.mark.parametrize("function", ["own", "half", "of_cpu", "constant"])
def test_wherever_it_is_linked_the_answer_is_the_same(objects: dict[str, Path], function: str, tmp_path: Path) -> None:
    (tmp_path / "rest.c").write_text("void keep(void *p) {} char elsewhere[65536], *handed_over;")
    subprocess.run(["gcc", "-O2", "-fno-pic", "-c", "rest.c"], cwd=tmp_path, check=True, capture_output=True)
    found = []
    for address in ("0x400000", "0x7ff0000", "0xffffffff81000000"):
        command = ["ld", "-e", "0", "-Ttext", address, "-o", "x", objects["64"], "rest.o"]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        text = re.sub(r'"sha256": "[0-9a-f]+"', "", answer(tmp_path / "x", function))
        found.append(re.sub(r"segment 0x[0-9a-f]+", "segment", text))
    assert len(found) == 3 and len(set(found)) == 1
    assert '"+' not in found[0]


@needs_cc
@needs_ld
@pytest.mark.parametrize("mode", ["64-pic", "32-pic"])
@pytest.mark.parametrize(("function", "name"), [("own", "drained"), ("of_cpu", "per_cpu"), ("constant", "initialised")])
def test_a_file_that_may_be_loaded_anywhere(
    objects: dict[str, Path], mode: str, function: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["ld", "-shared", "-m", "elf_x86_64" if mode == "64-pic" else "elf_i386", "-o", "x.so", objects[mode]],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    before = answer(tmp_path / "x.so", function)
    assert '"verdict": "PROVED"' in before
    assert name in before
    monkeypatch.setattr("l1dflush.routine.elf.linked_file.LOAD_BIAS", 0x7654_3000)
    assert answer(tmp_path / "x.so", function) == before


@needs_cc
def test_a_file_that_may_be_loaded_anywhere_has_no_address_bits(tmp_path: Path) -> None:
    """Its pages may be any; what lies in a page is known."""
    (tmp_path / "x.c").write_text(
        "char pages[8192] __attribute__((aligned(4096)));\n"
        "int high(void) { return (unsigned long)pages >> 12 & 1; }\n"
        "int low(void) { return ((unsigned long)pages >> 4 & 255) ? 7 : 9; }\n"
        "int f(int *p) { return high() ? p[3] : p[5]; } int g(int *p) { return low() ? p[3] : p[5]; }\n"
    )
    command = ["gcc", "-O0", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-nostdlib", "-o", "x.so", "x.c"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "x.so").read_bytes()
    paths = {name: trace(load_bytes(data, "x.so", LoadOptions(function=name))[0]).paths for name in ("f", "g")}
    assert {name: len(found) for name, found in paths.items()} == {"f": 2, "g": 1}


@pytest.mark.parametrize("index", ["%rdi", "%rsi"])
@needs_ld
def test_an_index_that_nobody_knows_may_hit_any_variable_of_a_linked_file(index: str, tmp_path: Path) -> None:
    """An element is written whose index is an input; the first element is read before and behind it."""
    text = f"""
        .globl f
        .type f, @function
f:      movl $1, table
        movl $0, table(,{index},4)
        cmpl $1, table
        je 1f
        mov (%rdx), %al
1:      ret
        .data
table:  .zero 4096
"""
    (tmp_path / "x.o").write_bytes(elf(text))
    for address in ("0x400000", "0x7ff0000"):
        subprocess.run(
            ["ld", "-e", "0", "-Ttext", address, "-o", "x", "x.o"], cwd=tmp_path, check=True, capture_output=True
        )
        (routine,) = load_bytes((tmp_path / "x").read_bytes(), "x", LoadOptions(function="f"))
        assert len(trace(routine).paths) == 2


@needs_cc
def test_no_base_of_an_object_is_a_number(objects: dict[str, Path]) -> None:
    for path in objects.values():
        (routine,) = load_bytes(path.read_bytes(), "x.o", LoadOptions(function="own"))
        lifter = Lifter(routine.image)
        for section in routine.image.sections:
            assert lifter.machine.base(lifter.bases.of_section(section)).term != 0
        for symbol in routine.image.symbols.values():
            assert lifter.machine.base(lifter.bases.place_of(symbol).base).term != 0


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("code, read", [
    ("mov table(%rip), %rax; mov (%rax), %rax; mov %rax, (%rdi)", {".data.table", ".data.near"}),
    ("lea table(%rip), %rax; mov %rax, near(%rip)", set()),
    ("mov far+8(%rip), %rax; mov %rax, (%rdi)", {".data.far"}),
])  # fmt: skip
def test_pointers_are_made_of_the_sections_that_something_is_loaded_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, read: set[str], linked: bool
) -> None:
    sections = {"table": ["near"], "near": ["far", "outside"], "far": ["table"] * 3}
    text = f".globl f\nf: {code}\nret\n" + "".join(
        f'.section .data.{name}, "aw"\n.globl {name}\n{name}: .quad {", ".join(to)}\n' for name, to in sections.items()
    )
    (tmp_path / "x.o").write_bytes(elf(text + ".weak outside\n"))
    file = tmp_path / "x.o"
    if linked:
        command = ["ld", "-shared", "--unique", "-Bsymbolic", "-o", tmp_path / "x", file]
        subprocess.run(command, check=True, capture_output=True)
        file = tmp_path / "x"
    (routine,) = load_bytes(file.read_bytes(), file.name, LoadOptions(function="f"))
    asked = []
    add = Bases.add_pointers

    def watched(self: Bases, number: int) -> None:
        asked.append(self.section_of[number].name)
        add(self, number)

    monkeypatch.setattr(Bases, "add_pointers", watched)
    trace(routine)
    # A linked file's sections are what a loader maps as one.
    table = routine.image.symbols["table"].address
    whole = {one.name for one in routine.image.sections if one.address <= table < one.address + one.size}
    assert sorted(asked) == sorted(whole if linked and read else read)


def test_no_address_is_written_down_where_routines_are_run() -> None:
    """Numbers of more than five digits are masks and MSRs, or are named here with what they are for."""
    known = {
        "0x40_0000": "where an instruction is translated, to see what moves with it",
        "0x10_0000": "how far it is moved for that",
        "0x100_0000": "what is put into a relocated place for that",
    }
    folder = Path(next(iter(l1dflush.tracing.__path__)))
    core = ("abstract", "bases", "bindings", "lift", "lower", "names", "operations", "slots", "undefined", "variants")
    for name in core:
        for number in re.findall(r"\b0x[0-9a-fA-F_]{6,}", (folder / f"{name}.py").read_text()):
            value = int(number, 16)
            mask = value & (value + 1) == 0
            assert mask or number in known, f"{name}.py: {number}"


BESIDE = {
    "a counter": "incl beside(%rip)\nxor %eax, %eax\n1: mov buffer(%rax), %cl; add $64, %eax; cmp $65536, %eax; jb 1b\n"
    "incl beside(%rip); lfence; ret",
    "a first pointer": "mov beside(%rip), %rdx\nxor %eax, %eax\n"
    "1: mov buffer(%rax), %cl; add $64, %eax; cmp $65536, %eax; jb 1b\nlfence; ret",
}


@pytest.mark.parametrize("distance", [64, 32, 8])
@pytest.mark.parametrize("name", BESIDE)
def test_a_variable_beside_the_buffer_is_no_part_of_it(name: str, distance: int, tmp_path: Path) -> None:
    """It lies a line before it, as if it was its first element, or in the line in which it begins."""
    (tmp_path / "x.o").write_bytes(
        elf(
            f"        .text\n        .globl f\n        .type f, @function\nf: {BESIDE[name]}\n"
            f"        .bss\n        .balign 64\nbeside: .zero {distance}\nbuffer: .zero 65536\n"
            "        .type beside, @object\n        .size beside, 8\n        .type buffer, @object\n"
            "        .size buffer, 65536\n"
        )
    )
    result = verify(str(tmp_path / "x.o"), VerifyOptions(cpus=("skylake",), function="f"))
    assert result.verdict == "PROVED" and result.buffer is not None
    assert (str(result.buffer.region), result.buffer.first, result.buffer.last) == ("buffer", 0, 65472)
    assert not {"skipped-line", "own-storage", "outside-buffer"} & {one.id for one in result.findings}


@needs_ld
@pytest.mark.parametrize("place", ['.section __jump_table,"aw"', ".data"])
def test_jump_labels_of_a_linked_file(place: str, tmp_path: Path) -> None:
    """A table that a linker script has put into .data lies between two symbols."""
    text = f"""
        .text
        .globl f, key
        .type f, @function
f:
1:      .byte 0x0f, 0x1f, 0x44, 0x00, 0x00
        mov (%rdi), %al
2:      ret
        .data
        .type key, @object
        .size key, 8
key:    .quad 0
        {place}
        .globl __start___jump_table, __stop___jump_table
__start___jump_table:
        .long 1b-., 2b-.
        .quad key-.
__stop___jump_table:
"""
    (tmp_path / "x.o").write_bytes(elf(text))
    for address in ("0x400000", "0xffffffff81000000"):
        command = ["ld", "-e", "0", "-Ttext", address, "-Tdata", f"{int(address, 16) + 0x100000:#x}", "-o", "x", "x.o"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        (routine,) = load_bytes((tmp_path / "x").read_bytes(), "x", LoadOptions(function="f"))
        assert {d.sources for path in trace(routine).paths for d in path.decisions} == {("key",)}
        assert len(trace(routine).paths) == 2


@pytest.mark.parametrize("address", [0xFFFFFFFF82000000, 0x7FFF0000, 0xFFFF888000000000])
def test_fixed_addresses_are_told_as_addresses(address: int, tmp_path: Path) -> None:
    walk = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%eax; cmp $65536,%eax; jne 9b; ret"
    flag = (address + 0x123456789 & ~7) % (1 << 64)
    (tmp_path / "x.s").write_text(
        f".globl f\n.type f,@function\nf: movabs ${flag:#x},%rdx; cmpl $0,(%rdx); je 2f; nop\n"
        f"2: movabs ${address:#x},%rdi; {walk}\n.size f,.-f\n"
    )
    result = verify(str(tmp_path / "x.s"), VerifyOptions(cpus=("skylake",), function="f"))
    assert result.buffer is not None
    assert (str(result.buffer.region), result.buffer.first, result.buffer.last) == (f"{address:#x}", 0, 65472)
    assert result.verdict is Verdict.PROVED
    said = [str(one) for path in result.paths for one in path.decisions]
    assert len(said) == 2 and all(f"`[{flag:#x}]`" in text for text in said)
    assert '"-' not in result.to_json().replace('"-O', "") and f"{flag:#x}" in result.to_json()
