# SPDX-License-Identifier: GPL-2.0-or-later
"""What only a linker decides: where its own names are, what may be in one place, whose definition is taken."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import Verdict
from l1dflush.routine.toolchain import assemble
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

needs_ld = pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")
SHORT = WALK.replace("9", "8").replace("65536", "8192")


def either(before: str, jump: str) -> str:
    """The whole walk, or a short one where ``jump`` jumps."""
    return function(before, f"{jump} 5f", WALK, "lfence; ret", "5:", SHORT)


def linked(text: str, folder: Path, *options: str, script: str = "") -> VerifyResult:
    """What the verdict on the linked file is."""
    (folder / "x.o").write_bytes(assemble(text.encode(), where="x.s"))
    if script:
        (folder / "x.ld").write_text(script)
        options = (*options, "-T", "x.ld")
    subprocess.run(["ld", "-e", "0", *options, "-o", "x", "x.o"], cwd=folder, check=True, capture_output=True)
    return verify(str(folder / "x"), VerifyOptions(cpus=("skylake",), function="flush_it"))


def granted(result: VerifyResult) -> str:
    """All that was taken for granted."""
    return "\n".join(one.text for one in result.scope.taken_for_granted)


TWO_SEGMENTS = """PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); }
SECTIONS { . = 0xffffffff81000000; .text : { *(.text*) } :text
 . = ALIGN(4096); .rodata : { *(.rodata*) } :text  .late : { *(.data.late) } :text
 . = ALIGN(4096); .data : { *(.data) *(.bss) } :data }"""


@needs_ld
@pytest.mark.parametrize("behind", ["", ".zero 8192"])
@pytest.mark.parametrize(("section", "told"), [('.data.late,"aw"', True), ('.rodata,"a"', False)])
def test_a_section_that_is_written_in_a_segment_that_is_not(
    section: str, told: bool, behind: str, tmp_path: Path
) -> None:
    text = f"{either('cmpl $1,mode(%rip)', 'jne')}.section {section}\nmode: .long 1\n{behind}\n.data\n.long 5\n"
    result = linked(text, tmp_path, script=TWO_SEGMENTS)
    assert result.verdict is Verdict.PROVED
    assert ("`mode` still holds its initial value" in granted(result)) is told
    # What is 0 at first is not taken to stay so.
    nothing = linked(text.replace("$1,", "$0,").replace(".long 1", ".long 0"), tmp_path, script=TWO_SEGMENTS)
    assert nothing.verdict is (Verdict.REFUTED if told else Verdict.PROVED)


@needs_ld
@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("__start_mysec", 'mysec,"aw"'),
        ("__stop_mysec-8", 'mysec,"aw"'),
        ("__bss_start", '.bss,"aw",@nobits'),
        ("edata-8", '.data,"aw"'),
    ],
)
def test_a_linkers_own_name_may_lie_in_a_section(name: str, section: str, tmp_path: Path) -> None:
    before = f"movl $5,v(%rip); movl $6,{name}(%rip); cmpl $5,v(%rip)"
    text = f"{either(before, 'jne')}.section {section}\nv: .zero 8\n"
    assert linked(text, tmp_path).verdict is Verdict.REFUTED
    assert judged(tmp_path, text).verdict is not Verdict.PROVED
    other = judged(tmp_path, text.replace(name, "elsewhere"))
    assert other.verdict is Verdict.PROVED and "`elsewhere` and section" in granted(other)


@pytest.mark.parametrize("one", ["jiffies", "v"])
def test_two_names_may_be_one_variable_and_that_they_are_not_is_told(one: str, tmp_path: Path) -> None:
    data = ".data\n.globl v\nv: .long 0\n"
    result = judged(
        tmp_path, either(f"movl $5,{one}(%rip); movl $6,jiffies_64(%rip); cmpl $5,{one}(%rip)", "jne") + data
    )
    assert result.verdict is Verdict.PROVED and "are two places" in granted(result)
    before = judged(
        tmp_path, either(f"movl $6,jiffies_64(%rip); movl $5,{one}(%rip); cmpl $5,{one}(%rip)", "jne") + data
    )
    assert before.verdict is Verdict.PROVED and "are two places" not in granted(before)


@pytest.mark.parametrize("compare", ["test %rax,%rax; jz", "cmp $4096,%rax; jb"])
@pytest.mark.parametrize(("section", "right"), [(".data", True), (".data..percpu", False), (".data..percpu..x", False)])
def test_whether_something_lies_in_the_first_page(section: str, right: bool, compare: str, tmp_path: Path) -> None:
    text = f'{either("lea x(%rip),%rax", compare)}.section {section},"aw"\n.balign 64\nx: .long 1\n'
    result = judged(tmp_path, text)
    assert (result.verdict is Verdict.PROVED) is right
    assert not right or str(Assumption(Assumes.NOT_IN_FIRST_PAGE)) in granted(result)
    # The second page is not the first one.
    assert judged(tmp_path, text.replace(compare, "cmp $4097,%rax; jb")).verdict is not Verdict.PROVED
    if shutil.which("ld") is not None and section == ".data":
        assert linked(text, tmp_path, "-Tdata=0").verdict is Verdict.REFUTED


B = '.section .bss.B,"aw",@nobits\n.balign 64\nB: .zero 64\n'


@pytest.mark.parametrize(
    ("call", "more", "is_linked"),
    [
        ("", '.section .text.unused,"ax"\nmov $B,%eax', False),
        ("", ".text\nmov $B,%eax", True),
        ("call used", '.section .text.used,"ax"\nused: ret; mov $B,%eax', True),
        ("call used", '.section .text.used,"axG",@progbits,g,comdat\n.globl used\nused: ret; mov $B,%eax', False),
        ("call used", '.section .text.used,"ax"\n.weak used\nused: ret; mov $B,%eax', False),
        ("", ".text\nmov $B-64,%eax", False),
    ],
)
def test_what_surely_is_linked_says_that_an_address_has_32_bits(
    call: str, more: str, is_linked: bool, tmp_path: Path
) -> None:
    text = f"{either(f'{call}; lea B(%rip),%rax; shr $32,%rax; test %rax,%rax', 'jnz')}{more}\n{B}"
    result = judged(tmp_path, text, function="flush_it")
    assert result.verdict is (Verdict.PROVED if is_linked else Verdict.REFUTED)


NUMBER = "SIZE: .long 65536\n.size SIZE,4\n.type SIZE,@object\n"


@pytest.mark.parametrize(
    ("get", "definition", "name"),
    [
        ("mov $SIZE,%r8d", ".weak SIZE\nSIZE=65536\n", "SIZE"),
        ("mov $SIZE,%r8d", ".globl SIZE\nSIZE=65536\n", ""),
        ("mov SIZE(%rip),%r8d", f'.section .rodata.x,"aG",@progbits,g,comdat\n.globl SIZE\n{NUMBER}', "SIZE"),
        ("mov SIZE(%rip),%r8d", f'.section .gnu.linkonce.r.x,"a"\n.globl SIZE\n{NUMBER}', "SIZE"),
        ("mov SIZE(%rip),%r8d", f'.section .rodata.x,"a"\n.globl SIZE\n{NUMBER}', ""),
        ("call h", '.section .text.x,"axG",@progbits,g,comdat\n.globl h\nh: mov $65536,%r8d; ret\n', "h"),
        ("call h", '.section .text.x,"ax"\n.globl h\nh: mov $65536,%r8d; ret\n', ""),
    ],
)
def test_what_another_file_may_replace_is_told(get: str, definition: str, name: str, tmp_path: Path) -> None:
    walk = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%rax; cmp %r8,%rax; jb 9b"
    result = judged(tmp_path, function(get, walk) + definition, function="flush_it")
    assert result.verdict is Verdict.PROVED
    assert [one.name for one in result.left_out] == ([name] if name else [])


@pytest.mark.parametrize(
    ("load", "first", "second", "verdict"),
    [
        ("mov a(%rip),%r8; shr $32,%r8", "65536", "0", Verdict.REFUTED),
        ("mov a(%rip),%r8; shr $32,%r8", "0", "0", Verdict.REFUTED),
        ("mov a(%rip),%r8; test %r8d,%r8d", "0", "1", Verdict.REFUTED),
        ("mov a(%rip),%r8d; test %r8d,%r8d", "0", "1", Verdict.REFUTED),
        ("mov a(%rip),%r8; shr $32,%r8; cmp $7,%r8", "65536", "7", Verdict.PROVED),
        ("movups a(%rip),%xmm0; movq %xmm0,%r8; shr $32,%r8; cmp $7,%r8", "65536", "7", Verdict.PROVED),
    ],
)
def test_each_variable_that_a_load_covers_is_told(
    load: str, first: str, second: str, verdict: Verdict, tmp_path: Path
) -> None:
    data = "".join(
        f"{name}: .long {value}\n.type {name},@object\n.size {name},4\n"
        for name, value in (("a", first), ("b", second))
    )
    result = judged(tmp_path, f"{either(load, 'jnz')}.data\n.balign 8\n{data}.zero 64\n")
    assert result.verdict is verdict
    told = granted(result)
    for name, value in (("a", first), ("b", second)):
        if verdict is Verdict.PROVED:
            assert f"`{name}` still holds its initial value" in told
        elif value == "0":
            assert f"`{name}` still" not in told


def test_a_name_inside_a_variable_does_not_part_it(tmp_path: Path) -> None:
    data = ".data\n.balign 8\np: .quad 7\n.type p,@object\n.size p,8\n.set high,p+4\n"
    text = either("mov p(%rip),%r8; cmp $7,%r8", "jne")
    assert judged(tmp_path, text + data).verdict is Verdict.PROVED


@pytest.mark.parametrize(("target", "told"), [("A2", True), ("A1", True), ("A3", False)])
def test_the_middle_of_an_alternative_is_as_shipped_too(target: str, told: bool, tmp_path: Path) -> None:
    walk = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%rax; cmp %r8,%rax; jb 9b"
    text = function("mov $65536,%r8d; jmp " + target, "A1: mov $7,%r9d", "A2: mov $65536,%r8d", "A3:", walk, "lfence")
    text += (
        '.section .altinstr_replacement,"ax"\nR0: mov $64,%r8d; mov $7,%r9d\nE0:\n.section .altinstructions,"a"\n'
        ".long A1-., R0-.\n.long 100\n.byte A3-A1, E0-R0\n"
    )
    result = judged(tmp_path, text, function="flush_it")
    assert result.verdict is Verdict.PROVED
    assert ("code is as shipped" in granted(result)) is told


def two(one: str, other: str) -> str:
    """Two variables of 8 bytes, each in a section of its own with these flags."""
    return f'.section .mine.a,"{one}"\nA: .quad 1\n.section .mine.b,"{other}"\nB: .quad 2\n'


@pytest.mark.parametrize(
    ("compare", "flags", "verdict"),
    [
        ("lea A+4(%rip),%r8; lea B(%rip),%r9; cmp %r8,%r9", ("aw", "aw"), Verdict.PROVED),
        ("lea A(%rip),%r8; lea B(%rip),%r9; sub %r8,%r9", ("aw", "aw"), Verdict.PROVED),
        ("lea A(%rip),%r8; lea B+7(%rip),%r9; sub %r8,%r9", ("aw", "a"), Verdict.PROVED),
        # One may be behind the other, and of two that are not written there may be one copy.
        ("lea A+8(%rip),%r8; lea B(%rip),%r9; cmp %r8,%r9", ("aw", "aw"), Verdict.REFUTED),
        ("lea A(%rip),%r8; lea B(%rip),%r9; sub %r8,%r9", ("a", "a"), Verdict.REFUTED),
    ],
)
def test_no_placement_has_two_pieces_overlap(
    compare: str, flags: tuple[str, str], verdict: Verdict, tmp_path: Path
) -> None:
    assert judged(tmp_path, either(compare, "jz") + two(*flags)).verdict is verdict


@pytest.mark.parametrize(
    ("get", "verdict"),
    [
        ("mov $v,%eax; mov $v,%rcx", Verdict.PROVED),
        ("mov $v,%eax", Verdict.REFUTED),
        ("mov $v,%eax; mov $v-64,%rcx", Verdict.REFUTED),
    ],
)
def test_what_is_extended_both_ways_has_31_bits(get: str, verdict: Verdict, tmp_path: Path) -> None:
    assert judged(tmp_path, f"{either(get + '; test %eax,%eax', 'js')}.data\nv: .long 1\n").verdict is verdict


@pytest.mark.parametrize(("addend", "verdict"), [(0, Verdict.PROVED), (4, Verdict.REFUTED)])
def test_a_distance_in_data_fits(addend: int, verdict: Verdict, tmp_path: Path) -> None:
    get = "lea v(%rip),%rcx; movslq t(%rip),%rax; lea t(%rip),%rdx; add %rdx,%rax; cmp %rax,%rcx"
    data = f".section .rodata\nt: .long v-.+{addend}\n.data\nv: .long 1\n"
    assert judged(tmp_path, either(get, "jne") + data).verdict is verdict


@pytest.mark.parametrize(("at", "mask", "verdict"), [(0, 63, "PROVED"), (0, 64, "REFUTED"), (1, 1, "REFUTED")])
def test_a_part_of_a_pointer_in_data(at: int, mask: int, verdict: str, tmp_path: Path) -> None:
    data = ".data\n.balign 8\np: .quad B\n.bss\n.balign 64\nB: .zero 64\n"
    text = either(f"mov p+{at}(%rip),%al; test ${mask},%al", "jnz") + data
    assert judged(tmp_path, text).verdict is Verdict[verdict]


@pytest.mark.parametrize(("other", "verdict"), [("B", Verdict.REFUTED), ("A", Verdict.PROVED)])
def test_a_label_of_an_empty_section(other: str, verdict: Verdict, tmp_path: Path) -> None:
    jump = "je" if other == "B" else "jne"
    text = either(f"lea A(%rip),%r8; lea {other}(%rip),%r9; cmp %r8,%r9", jump)
    data = '.section .data.a,"aw"\nA:\n.section .data.b,"aw"\nB: .quad 2\n'
    assert judged(tmp_path, text + data).verdict is verdict
