# SPDX-License-Identifier: GPL-2.0-or-later
"""What an object file leaves to the linker or the loader: places, alignments and functions that nobody here knows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from flush_programs import WALK, function, judged
from trace_programs import elf, number_of_paths

from l1dflush.ending import Verdict
from l1dflush.routine.elf.object_file import load_image
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.routine.toolchain import assemble
from l1dflush.tracing.abstract import trace
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

needs_cc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_ld = pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")
SHORT = WALK.replace("9", "8").replace("65536", "8192")


def either(before: str, jump: str) -> str:
    """The whole walk, or a short one where ``jump`` jumps."""
    return function(before, f"{jump} 5f", WALK, "lfence; ret", "5:", SHORT)


PAIRS = "xor %eax,%eax; 9: {0}; add $128,%rax; cmp $65536,%rax; jne 9b"


@pytest.mark.parametrize(
    "reads",
    [
        "movzbl 48(%rdi,%rax),%ecx; movzbl 80(%rdi,%rax),%ecx",
        "movzbl 8(%rdi,%rax),%ecx; movzbl 120(%rdi,%rax),%ecx",
    ],
)
@pytest.mark.parametrize("get", ["lea foo(%rip),%rdi", "mov $foo,%rdi"])
def test_where_an_outside_variable_lies_in_a_line_is_not_known(reads: str, get: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(get, PAIRS.format(reads)))
    assert result.verdict is Verdict.REFUTED
    whole = judged(tmp_path, function(get, WALK))
    assert whole.verdict is Verdict.PROVED
    assert any("`foo` is 8-byte aligned" in one.text for one in whole.scope.taken_for_granted)
    # What is handed in is page-aligned, which is granted.
    assert judged(tmp_path, function(PAIRS.format(reads))).verdict is Verdict.PROVED


@pytest.mark.parametrize("far", [0x80000000, 0x7FFF0000, -0x40000000])
def test_what_fits_into_32_bits_far_from_a_symbol_says_nothing_of_it(far: int, tmp_path: Path) -> None:
    """The symbol itself may lie beyond 4 GiB, or not."""
    other = f"mov $foo{far:+#x},%eax; movabs $foo,%rcx; shr $32,%rcx; test %rcx,%rcx"
    assert judged(tmp_path, either(other, "jnz")).verdict is not Verdict.PROVED
    near = "mov $foo+0x40,%eax; movabs $foo,%rcx; shr $32,%rcx; test %rcx,%rcx"
    assert judged(tmp_path, either(near, "jnz")).verdict is Verdict.PROVED


@pytest.mark.parametrize("call", ["call chosen", "call chosen@PLT", "call *chosen@GOTPCREL(%rip)"])
@pytest.mark.parametrize("binding", [".globl chosen", ".weak chosen", ""])
def test_a_function_that_a_resolver_chooses_is_an_outside_one(call: str, binding: str, tmp_path: Path) -> None:
    """What the file has under its name is the resolver, which walks here and is not what is called."""
    chosen = f"{binding}\n.type chosen, @gnu_indirect_function\nchosen: {WALK}; ret\n"
    result = judged(tmp_path, function(call) + chosen, function="flush_it")
    assert result.verdict is not Verdict.PROVED
    plain = chosen.replace("gnu_indirect_function", "function")
    assert judged(tmp_path, function(call) + plain, function="flush_it").verdict is Verdict.PROVED


@pytest.mark.parametrize(
    "store",
    [
        "lea flush_it(%rip),%rcx; movb $0xc3,(%rcx,%rsi)",
        "lea 1f(%rip),%rcx; lea (%rcx,%rsi,8),%rcx; mov %eax,16(%rcx); 1:",
        "lea flush_it(%rip),%rcx; lea data(%rip),%rdx; test %esi,%esi; cmovz %rdx,%rcx; movb $0xc3,(%rcx,%rsi)",
    ],
)
def test_code_that_is_written_through_an_index(store: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(store, WALK) + ".data\ndata: .zero 64\n")
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "writes-code")
    data = store.replace("flush_it(", "data(").replace("1f(", "data(")
    assert judged(tmp_path, function(data, WALK) + ".data\ndata: .zero 64\n").verdict is Verdict.PROVED


@needs_ld
@pytest.mark.parametrize("kind", [["-pie", "--no-dynamic-linker"], ["-shared"], []])
def test_linked_code_that_is_written_through_an_index(kind: list[str], tmp_path: Path) -> None:
    for name, cause in (("flush_it", "writes-code"), ("data", None)):
        text = function(f"lea {name}(%rip),%rcx; movb $0xc3,(%rcx,%rsi)", WALK)
        text = text.replace(".globl flush_it", ".globl flush_it\n.hidden flush_it") + ".data\ndata: .zero 64\n"
        result = verify(str(linked(text, tmp_path, *kind)), VerifyOptions(cpus=("skylake",), function="flush_it"))
        assert result.cause == cause, result.reason


def linked(text: str, folder: Path, *options: str) -> Path:
    """The linked file of assembly."""
    (folder / "x.o").write_bytes(assemble(text.encode(), where="x.s"))
    command = ["ld", "-e", "0", *options, "-o", folder / "x", folder / "x.o"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "x"


@needs_ld
@pytest.mark.parametrize("words", [1, 3, 70, 200])
def test_packed_relocations_are_those_that_are_not_packed(words: int, tmp_path: Path) -> None:
    pointers = "".join(f".quad data+{64 * n}\n{'.quad 5' if n % 7 == 3 else ''}\n" for n in range(words))
    walk = WALK.replace("xor %eax", "mov last(%rip),%rdi; xor %eax")
    data = f".data\n.balign 4096\ndata: .zero 65536\n{pointers}last: .quad data\n"
    text = function(walk).replace(".globl flush_it", ".globl flush_it\n.hidden flush_it") + data
    seen = []
    for packed in ("nopack-relative-relocs", "pack-relative-relocs"):
        file = linked(text, tmp_path, "-shared", "-z", packed)
        (routine,) = load_bytes(file.read_bytes(), "x", LoadOptions(function="flush_it"))
        section = next(one for one in routine.image.sections if one.writable)
        there = routine.image.relocations.within(section.address, section.address + section.size)
        data_at = routine.image.symbols["data"].address
        pointed = [(one.address - data_at, one.of.type, one.of.target, one.addend) for one in there]
        bases = [(at, kind, target + addend - data_at) for at, kind, target, addend in pointed]  # type: ignore[operator]
        assert len(bases) == words + 1
        reads = [(e.arena and e.arena.kind, e.offset) for e in list(trace(routine).paths[0].events)[1:]]
        seen.append((bases, [(kind, at - reads[0][1]) for kind, at in reads]))
    assert seen[0] == seen[1]


# Section, two entries, how far they are apart, and what the second begins with.
MERGED = {
    "strings": ('.section .rodata.str1.1,"aMS",@progbits,1', '.string "abc"', '.string "abc"', 4, 0x61),
    "the end of another": ('.section .rodata.str1.1,"aMS",@progbits,1', '.string "xabc"', '.string "abc"', 5, 0x61),
    "wide strings": (
        '.section .rodata.str4.4,"aMS",@progbits,4\n.balign 4',
        ".long 97,98,0",
        ".long 97,98,0",
        12,
        0x61,
    ),
    "numbers": ('.section .rodata.cst8,"aM",@progbits,8\n.balign 8', ".quad 7", ".quad 7", 8, 7),
    "others": ('.section .rodata.cst16,"aM",@progbits,16\n.balign 16', ".octa 7", ".octa 8", 16, 8),
    "writable": ('.section .data.cst8,"awM",@progbits,8\n.balign 8', ".quad 7", ".quad 7", 8, 7),
}
GET = {"relative": "lea {0}(%rip),{1}", "whole": "movabs ${0},{1}", "low": "mov ${0},{1}"}


def paths_of(text: str, bits: Literal[32, 64] = 64) -> int:
    """How many ways there are through ``f``."""
    data = elf(f".globl f\n.type f,@function\nf: {text}", bits)
    (routine,) = load_bytes(data, "x.o", LoadOptions(function="f"))
    return len(trace(routine).paths)


BRANCH = "{0}; {1} 1f; mov (%rdi),%al; 1: ret\n"


@pytest.mark.parametrize("get", GET.values(), ids=GET)
@pytest.mark.parametrize(("section", "one", "other", "size", "first"), MERGED.values(), ids=MERGED)
def test_what_a_linker_may_merge_is_not_beside_what_it_was_beside(
    section: str, one: str, other: str, size: int, first: int, get: str
) -> None:
    named = "s1" if size % 8 else ".Ls1"  # which the assembler makes so far behind the section
    second = named.replace("1", "2")
    data = f"{section}\n{named}: {one}\n{second}: {other}\n"
    kept = re.sub(r'M?S?",@progbits,\d+', '",@progbits', data)
    both = f"{get.format(named, '%rcx')}; {get.format(second, '%rdx')}"
    for asked, jump in (
        (f"{both}; cmp %rcx,%rdx", "je"),
        (f"{both}; sub %rcx,%rdx; cmp ${size},%rdx", "jne"),
        (f"{get.format(named, '%rcx')}; cmpb ${first},{size}(%rcx)", "jne"),
    ):
        assert paths_of(BRANCH.format(asked, jump) + data) == 2, asked
        assert paths_of(BRANCH.format(asked, jump) + kept) == 1, asked
    # What it holds itself is known.
    assert paths_of(BRANCH.format(f"{get.format(second, '%rcx')}; cmpb ${first},(%rcx)", "je") + data) == 1


def test_the_end_of_a_section_that_is_merged_is_no_entrys() -> None:
    data = '.section .rodata.str1.1,"aMS",@progbits,1\ns1: .string "ab"\ns2: .string "ab"\ne:\n'
    ask = "lea s2(%rip),%rcx; lea e(%rip),%rdx; sub %rcx,%rdx; cmp $3,%rdx"
    assert paths_of(BRANCH.format(ask, "je") + data) == 2
    assert paths_of(BRANCH.format(ask.replace("s2(", "e("), "je") + data) == 1


@pytest.mark.parametrize("store", ["movl $5,(%rcx)", "movb $5,(%rcx,%rsi)"])
def test_entries_that_may_be_one_may_be_written_by_each_others_name(store: str) -> None:
    data = '.section .data.cst8,"aw{0}",@progbits{1}\n.balign 8\ns1: .quad 7\ns2: .quad 7\n'
    text = BRANCH.format(f"lea s1(%rip),%rcx; movl $7,s2(%rip); {store}; cmpl $7,s2(%rip)", "je")
    assert paths_of(text + data.format("M", ",8")) == 2
    assert paths_of(text + data.format("", "")) == (1 if "rsi" not in store else 2)


@needs_ld
@pytest.mark.parametrize("linker", [one for one in ("ld", "ld.gold", "ld.lld") if shutil.which(one)])
@pytest.mark.parametrize(("section", "one", "other", "size", "first"), MERGED.values(), ids=MERGED)
def test_a_linker_does_merge_them(
    section: str, one: str, other: str, size: int, first: int, linker: str, tmp_path: Path
) -> None:
    """At least one of the entries is not where it was; each holds what it held, and is aligned as we say."""
    text = f".globl _start\n_start: ret\n{section}\ns1: {one}\ns2: {other}\n"
    data = assemble(text.encode(), where="x.s")
    (tmp_path / "x.o").write_bytes(data)
    done = subprocess.run([linker, "-O2", "-o", "x", "x.o"], cwd=tmp_path, check=False, capture_output=True)
    if done.returncode:
        assert linker == "ld.lld" and "writable" in section, done.stderr  # it refuses those
        return
    symbols = {name: load_image((tmp_path / "x").read_bytes(), where="x").symbols[name] for name in ("s1", "s2")}
    image = load_image((tmp_path / "x").read_bytes(), where="x")
    before = load_image(data, where="x.o")
    for name, symbol in symbols.items():
        shipped = next(s for s in before.sections if s.entry)
        entry = shipped.entry_at(before.symbols[name].address)
        there = image.section_at(symbol.address)
        assert there is not None
        start = symbol.address - there.address
        assert there.data[start : start + entry.size] == entry.data
        assert symbol.address % entry.alignment == 0
    apart = symbols["s2"].address - symbols["s1"].address
    assert (apart != size) == (other != ".octa 8")


# --- numbers that a linker chooses

DATA = ".data\n.globl var\n.type var,@object\nvar: .quad 1\n.size var,8\n"
THREAD = '.section .tbss,"awT",@nobits\n.globl x\n.type x,@object\nx: .zero 8\n.size x,8\n'


@pytest.mark.parametrize(
    ("asked", "jump", "data", "paths"),
    [
        # An absolute symbol is the same number everywhere, whatever lies there in our own layout.
        ("mov $five,%ecx; cmp $5,%ecx", "je", ".globl five\n.set five,5\n", 1),
        ("lea five(%rip),%rcx; cmp $0x400010,%rcx", "je", ".globl five\n.set five,0x400010\n", 1),
        ("movl $7,five; mov $five,%ecx; cmpl $7,(%rcx)", "je", ".globl five\n.set five,0x401000\n", 1),
        ("mov five@GOTPCREL(%rip),%rcx; cmp $5,%rcx", "je", ".globl five\n.set five,5\n", 1),
        ("mov p(%rip),%rcx; cmp $5,%rcx", "je", ".weak five\n.set five,5\n.section .rodata\np: .quad five\n", 1),
        # Of a weak one that is not there the address is 0.
        ("mov p(%rip),%rcx; test %rcx,%rcx", "je", ".weak w\n.data\np: .quad w\n", 2),
        ("mov p(%rip),%rcx; test %rcx,%rcx", "je", ".weak w\n.section .rodata\n.quad 0\np: .quad w\n", 2),
        ("mov p(%rip),%rcx; test %rcx,%rcx", "je", ".data\np: .quad w\n", 1),
        # Offsets of thread-local variables, and sizes.
        ("mov $x@tpoff,%rcx; cmp $-8,%rcx", "je", THREAD, 2),
        ("mov x@gottpoff(%rip),%rcx; cmp $-16,%rcx", "je", THREAD, 2),
        ("mov x@gottpoff(%rip),%rcx; test %rcx,%rcx", "js", THREAD, 1),
        ("mov p(%rip),%rcx; cmp $16,%rcx", "je", f"{THREAD}.data\np: .quad x@dtpoff\n", 2),
        ("mov $var@SIZE,%ecx; cmp $8,%ecx", "je", DATA, 2),
        ("mov p(%rip),%rcx; cmp $8,%rcx", "je", f"{DATA}p: .quad var@SIZE\n", 2),
        # How far two sections are apart.
        ("mov p(%rip),%ecx; test %ecx,%ecx", "js", f"{DATA}.section .rodata\np: .long var-.\n", 2),
        ("mov p(%rip),%rcx; test %rcx,%rcx", "js", f"{DATA}.section .rodata\np: .quad var-.\n", 2),
    ],
)
def test_numbers_that_a_linker_chooses(asked: str, jump: str, data: str, paths: int) -> None:
    assert paths_of(BRANCH.format(asked, jump) + data) == paths


def test_thread_local_variables_in_32_bits() -> None:
    for asked in ("mov $x@ntpoff,%ecx; cmp $-8,%ecx", "mov x@indntpoff,%ecx; cmp $-8,%ecx",
                  "mov x@gotntpoff(%ebx),%ecx; cmp $-8,%ecx"):  # fmt: skip
        assert paths_of(BRANCH.format(asked, "je").replace("(%rdi)", "(%edi)") + THREAD, bits=32) == 2


@needs_cc
def test_what_linkers_chose(tmp_path: Path) -> None:
    """Linked with another file, or with none, the same object gives other numbers: the absolute one stays."""
    (tmp_path / "x.s").write_text(
        f".globl ask\nask: mov $x@tpoff,%rax; mov w_at(%rip),%rdx; mov %rdx,(%rdi); movl $five,8(%rdi); ret\n{THREAD}"
        ".weak w\n.data\nw_at: .quad w\n.globl five\n.set five,5\n"
    )
    main = (
        "#include <stdio.h>\nextern long ask(long *); MORE\n"
        'int main(void) { long l[2] = {0}; long t = ask(l); printf("%ld %d %ld", t, l[0] != 0, l[1]); }'
    )
    seen = []
    for number, more in enumerate(("", "__thread long before[9] = {1}; int w; long *use(void) { return before; }")):
        (tmp_path / "main.c").write_text(main.replace("MORE", more))
        command = ["gcc", "-no-pie", "-o", f"main{number}", "main.c", "x.s"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        told = subprocess.run([tmp_path / f"main{number}"], check=True, capture_output=True, text=True).stdout
        seen.append(told.split())
    assert seen[0][0] != seen[1][0] or seen[0][0] == "-8"
    assert [one[1:] for one in seen] == [["0", "5"], ["1", "5"]]


# --- memory that is reached by a segment and by its address


THEMSELVES = [
    ("%fs:-64", "mov %fs:0,%rcx; lea -64(%rcx),%rcx", ""),
    ("%fs:-8(%rsi)", "mov %fs:0x10,%rcx; lea -8(%rcx,%rsi),%rcx", ""),
    ("%gs:var(%rip)", "mov %gs:this_cpu_off(%rip),%rcx; lea var(%rip),%rdx; add %rdx,%rcx", "PERCPU"),
    ("%gs:0x28", "mov %gs:this_cpu_off(%rip),%rcx; add $0x28,%rcx", "PERCPU"),
    ("%gs:var(%rip)", "mov offsets(,%rsi,8),%rcx; lea var(%rcx),%rcx", "PERCPU"),
]


@needs_ld
@pytest.mark.parametrize(
    ("segment", "pointer", "data", "linker"),
    [(*one, linker) for one in THEMSELVES for linker in (None, [], ["-shared"]) if not linker or "(," not in one[1]],
)
def test_what_a_segment_reaches_its_address_does_too(
    segment: str, pointer: str, data: str, linker: list[str] | None, tmp_path: Path
) -> None:
    more = '.section .data..percpu,"aw"\nthis_cpu_off: .quad 0\nvar: .long 0\n.data\noffsets: .zero 64\n'
    for one, other in ((segment, "(%rcx)"), ("(%rcx)", segment)):
        text = BRANCH.format(f"{pointer}; movl $0,{one}; movl $1,{other}; cmpl $0,{one}", "jne")
        text = f".globl f\n.type f,@function\nf: {text}{more if data else ''}"
        file = elf(text) if linker is None else linked(text, tmp_path, *linker).read_bytes()
        (routine,) = load_bytes(file, "x", LoadOptions(function="f"))
        assert len(trace(routine).paths) == 2, (one, other)
    # What nothing was written to is what it was.
    text = BRANCH.format(f"{pointer}; movl $1,{segment}; cmpl $1,{segment}", "je")
    assert paths_of(text + (more if data else "")) == 1


@needs_cc
def test_a_thread_s_own_address_is_in_its_memory(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(
        "__thread long x; int main(void) { long self, again; x = 3;"
        '__asm__("mov %%fs:0,%0; mov %%fs:0x10,%1" : "=r"(self), "=r"(again));'
        '__asm__ volatile("movq $7,%%fs:x@tpoff" ::: "memory"); long far = (long)&x - self;'
        "return !(self == again && *(long *)(self + far) == 7 && x == 7 && far < 0); }"
    )
    subprocess.run(["gcc", "-no-pie", "-o", "x", "x.c"], cwd=tmp_path, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "x"], check=False).returncode == 0


@pytest.mark.parametrize("bits", [32, 64])
def test_any_part_of_an_address_in_data_is_unknown(bits: Literal[32, 64]) -> None:
    """Also of one that lies beside another: two parts of them are not a number of ours."""
    word = ".long" if bits == 32 else ".quad"
    size = bits // 8
    at = "table+{}(%rip)" if bits == 64 else "table+{}"
    tail = f".section .rodata\n.balign 8\ntable: {word} data, data, data\n.data\n.balign 8\ndata: .long 1\n.text"
    for offset in range(3 * size - 3):
        if size > 4 or offset % size:
            text = f"cmpl $0,{at.format(offset)}; je 1f; nop; 1: ret\n{tail}"
            assert number_of_paths(text, bits) == 2, offset
