# SPDX-License-Identifier: GPL-2.0-or-later
"""`--run-first`: a function that prepares lists or buffers is run, and the routine finds in memory what it left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.cli.main import main
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.judge import trace_of, verify
from l1dflush.verdict.options import VerifyOptions

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)

INPUTS = Path(__file__).parents[1] / "data" / "trials" / "inputs"
LIST = (INPUTS / "29-list-made-by-another-function.c").read_text()
SIZED = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%rax; cmp {0},%rax; jb 9b"
VARIABLE = "        .comm bytes,8,8\n        .comm area,8,8\n"
BY_SIZE = function("mov bytes(%rip),%rsi", SIZED.format("%rsi"), name="l1d_flush")


def prepare(*parts: str, name: str = "prepare") -> str:
    return function(*parts, name=name)


SET = prepare("movq $65536,bytes(%rip)")


def test_a_list_that_another_function_makes(tmp_path: Path) -> None:
    made = judged(tmp_path, LIST, run_first=("l1_prepare",))
    assert (made.verdict, made.routine.name, made.routine.run_first) == (Verdict.PROVED, "l1_prime", ("l1_prepare",))
    assert any("l1_prepare leaves in memory" in one.text for one in made.scope.particular)
    without = judged(tmp_path, LIST, function="l1_prime")
    assert without.verdict is Verdict.UNDECIDED and "--run-first l1_prepare" in without.reason


def test_a_size_that_another_function_stores(tmp_path: Path) -> None:
    assert judged(tmp_path, SET + BY_SIZE + VARIABLE, run_first=("prepare",)).verdict is Verdict.PROVED
    less = SET.replace("65536", "16384")
    assert judged(tmp_path, less + BY_SIZE + VARIABLE, run_first=("prepare",)).verdict is Verdict.REFUTED
    without = judged(tmp_path, SET + BY_SIZE + VARIABLE)
    assert without.verdict is Verdict.UNDECIDED and "--run-first prepare, which writes `bytes`" in without.reason


def test_several_run_in_the_order_given(tmp_path: Path) -> None:
    text = SET + prepare("shrq $2,bytes(%rip)", name="shrink") + BY_SIZE + VARIABLE
    assert judged(tmp_path, text, run_first=("shrink", "prepare")).verdict is Verdict.PROVED
    assert judged(tmp_path, text, run_first=("prepare", "shrink")).verdict is Verdict.REFUTED


def test_its_paths_fork_as_any(tmp_path: Path) -> None:
    either = prepare("movq $65536,bytes(%rip); test %edi,%edi; je 1f; movq $16384,bytes(%rip); 1:")
    result = judged(tmp_path, either + BY_SIZE + VARIABLE, run_first=("prepare",))
    assert len(result.paths) == 2 and result.verdict is Verdict.REFUTED
    assert any("what prepare is given" in str(one) for path in result.paths for one in path.decisions)


def test_what_it_reads_and_writes_is_no_part_of_the_flush(tmp_path: Path) -> None:
    """It walks all there is, and the routine a quarter of it."""
    text = prepare("lea area(%rip),%rdi", WALK) + function(
        "lea area(%rip),%rdi", WALK.replace("65536", "16384"), name="l1d_flush"
    )
    result = judged(tmp_path, text + "        .comm area,65536,4096\n", run_first=("prepare",))
    assert result.verdict is Verdict.REFUTED and result.paths[0].loads == 256
    (path,) = trace_of(str(tmp_path / "flush.s"), VerifyOptions(run_first=("prepare",))).paths
    assert sum(run.count for run in path.before if run.kind == "load" and run.region == BUFFER) == 1024


@pytest.mark.parametrize(
    ("first", "limit"),
    [
        ("mov $65536,%esi", "%rsi"),  # a register
        ("push $65536; pop %rax", "-16(%rsp)"),  # what lies below its stack
        ("movq $65536,(%rdi)", "(%rdx)"),  # where what it was given leads
        ("movq $65536,(%rsi)", "(%rsi)"),  # it need not be what the routine is given
    ],
)
def test_nothing_but_memory_that_both_know_is_handed_on(first: str, limit: str, tmp_path: Path) -> None:
    flush = function(f"mov {limit},%r8", SIZED.format("%r8"), name="l1d_flush")
    assert judged(tmp_path, prepare(first) + flush, run_first=("prepare",)).verdict is Verdict.UNDECIDED


def test_the_hash_is_of_both(tmp_path: Path) -> None:
    def digest(text: str, *first: str) -> str:
        return judged(tmp_path, text + BY_SIZE + VARIABLE, run_first=first, function="l1d_flush").routine.sha256

    other = SET.replace("65536", "65600")
    assert len({digest(SET), digest(SET, "prepare"), digest(other, "prepare"), digest(SET, "prepare", "prepare")}) == 4
    assert digest(SET, "prepare") == digest(SET, "prepare")


@pytest.mark.parametrize(
    ("first", "says"),
    [(("nobody",), "no function 'nobody'"), (("bytes",), "'bytes'"), (("l1d_flush",), "nothing is left")],
)
def test_what_cannot_run_first_is_one_line(first: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as error:
        judged(tmp_path, BY_SIZE + VARIABLE, run_first=first)
    assert "--run-first" in str(error.value) and "\n" not in str(error.value)


def test_a_built_in_routine_has_nothing_that_could_run_first() -> None:
    with pytest.raises(InputError, match="single function"):
        verify("linux-4.9.120", VerifyOptions(run_first=("prepare",)))


def test_what_does_not_come_back_is_told(tmp_path: Path) -> None:
    result = judged(tmp_path, prepare("ud2") + BY_SIZE + VARIABLE, run_first=("prepare",))
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "never-reached") and "prepare" in result.reason


def test_a_certificate_is_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, proof = tmp_path / "flush.s", tmp_path / "flush.l1d"
    code.write_text(SET + BY_SIZE + VARIABLE)
    asked = ["--run-first", "prepare", "--cpu", "skylake"]
    assert main(["verify", str(code), *asked, "--certificate", str(proof)]) == 0
    assert main(["check", str(proof), "--routine", str(code), "--run-first", "prepare"]) == 0
    code.write_text(SET.replace("65536", "65600") + BY_SIZE + VARIABLE)
    assert main(["check", str(proof), "--routine", str(code), "--run-first", "prepare"]) != 0
    capsys.readouterr()


def test_the_links_of_a_list_that_nobody_made(tmp_path: Path) -> None:
    result = judged(tmp_path, (INPUTS / "28-list-walk.c").read_text())
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "links-unknown")
    assert "from `at` on" in result.reason and "[[" not in result.reason and len(result.reason) < 200
    other = function("mov head(%rip),%rax; 1: mov 8(%rax),%rax; test %rax,%rax; jne 1b") + "        .comm head,8,8\n"
    again = judged(tmp_path, other)
    assert again.cause == "links-unknown" and "[[" not in again.reason


def test_a_skip_that_depends_on_what_is_read_follows_no_links(tmp_path: Path) -> None:
    """What is read next depends on what was read, but nothing leads anywhere."""
    text = "xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; test $1,%cl; jz 2f; add $64,%eax; 2: add $64,%eax;"
    text += "cmp $65536,%eax; jb 1b"
    result = judged(tmp_path, function(text))
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "too-many-paths")
    assert "links" not in result.reason and "[[" not in result.reason


# What each keeps is where the routine finds it: a place in the stack, a state of the cache, the state of a static key.
KEEP = "lea {0}(%rsp),%rax; mov %rax,kept(%rip)"
KEPT = "        .comm kept,8,8\n        .comm more,8,8\n"
FULL_UNLESS = (
    "mov kept(%rip),%rax; {0}; jne 8f; " + SIZED.format("$65536") + "; jmp 7f; 8: " + SIZED.format("$8192") + "; 7:"
)
KEY = '        .section __jump_table,"aw"\n        .balign 8\n{0}        .data\n        .balign 8\nkey:    .quad 0,0\n'
SITE = "        .long {0}-., {1}-.\n        .quad key-.\n"
NOP = ".byte 0x0f,0x1f,0x44,0,0"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("movb $5,-8(%rsp); " + KEEP.format(-8), "cmpb $5,(%rax)"),  # what is there
        ("movq $5,-64(%rsp); " + KEEP.format(-64), "cmpl $5,(%rax)"),
        (KEEP.format(-8), "movl $5,(%rax); movl $6,-8(%rsp); cmpl $5,(%rax)"),  # who else has it
        (KEEP.format(-24), "push $5; movl $6,(%rax); cmpq $5,(%rsp); lea 8(%rsp),%rsp"),
        (KEEP.format(-8), "lea -8(%rsp),%rdx; sub %rax,%rdx; cmp $0x400000,%rdx"),  # where it is
        ("mov %rsp,kept(%rip); mov %rsp,more(%rip)", "mov more(%rip),%rdx; cmpq %rax,%rsp"),
        (
            "lea -8(%rsp),%rax; wrgsbase %rax",
            "movl $5,%gs:0; movl $6,-8(%rsp); cmpl $5,%gs:0",
        ),  # in a register that stays
        (
            "lea -8(%rsp),%rax; mov %rax,%rdx; shr $32,%rdx; mov $0xc0000102,%ecx; wrmsr",
            "swapgs; movl $5,%gs:0; movl $6,-8(%rsp); cmpl $5,%gs:0",
        ),
        ("lea -8(%rsp),%rax; mov %rax,%dr0", "mov %dr0,%rax; movl $5,(%rax); movl $6,-8(%rsp); cmpl $5,(%rax)"),
    ],
)
def test_what_is_left_on_the_stack_is_not_known(first: str, then: str, tmp_path: Path) -> None:
    text = prepare(first) + function(FULL_UNLESS.format(then), name="l1d_flush") + KEPT
    assert judged(tmp_path, text, run_first=("prepare",), every_path=True).verdict is Verdict.REFUTED


def test_a_segment_that_leads_to_a_variable_is_handed_on(tmp_path: Path) -> None:
    then = function(FULL_UNLESS.format("movl $5,%gs:0; movl $6,-8(%rsp); cmpl $5,%gs:0"), name="l1d_flush")
    text = prepare("lea area(%rip),%rax; wrgsbase %rax") + then + KEPT + "        .comm area,8,8\n"
    assert judged(tmp_path, text, run_first=("prepare",), every_path=True).verdict is Verdict.PROVED


@pytest.mark.parametrize("kept", ["area(%rip)", "more(%rip)"])
def test_pointers_to_variables_are_handed_on(kept: str, tmp_path: Path) -> None:
    first = prepare(f"push %rbx; lea {kept},%rbx; movq $5,(%rbx); mov %rbx,kept(%rip); pop %rbx")
    then = function(FULL_UNLESS.format("movl $6,-8(%rsp); cmpq $5,(%rax)"), name="l1d_flush")
    text = first + then + KEPT + "        .comm area,8,8\n"
    assert judged(tmp_path, text, run_first=("prepare",), every_path=True).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("sets", "cause"),
    [
        ("mov $0x2ff,%ecx; xor %eax,%eax; xor %edx,%edx; wrmsr", "msr-may-change-the-cache"),
        ("mov $0x277,%ecx; xor %eax,%eax; xor %edx,%edx; wrmsr", "msr-may-change-the-cache"),
        ("mov %edi,%ecx; wrmsr", "msr-may-change-the-cache"),
        ("mov %cr0,%rax; or $0x40000000,%eax; mov %rax,%cr0", "system-register-written"),
        ("mov %rdi,%cr3", "system-register-written"),
    ],
)
def test_what_memory_is_may_have_been_set(sets: str, cause: str, tmp_path: Path) -> None:
    text = SET + prepare("push %rbx", sets, "pop %rbx", name="sets") + BY_SIZE + VARIABLE
    result = judged(tmp_path, text, run_first=("prepare", "sets"))
    assert (result.verdict, {row.cause for row in result.rows}) == (Verdict.UNDECIDED, {cause})


def test_a_harmless_msr_may_have_been_written(tmp_path: Path) -> None:
    text = SET + prepare("mov $0x48,%ecx; xor %eax,%eax; xor %edx,%edx; wrmsr", name="sets") + BY_SIZE + VARIABLE
    assert judged(tmp_path, text, run_first=("prepare", "sets")).verdict is Verdict.PROVED


@pytest.mark.parametrize(("off", "on"), [(8192, 65536), (65536, 8192)])
def test_a_static_key_may_be_switched_in_between(off: int, on: int, tmp_path: Path) -> None:
    """Both ways leave the walk whole as long as the key stays."""
    sites = SITE.format("key_1", "key_2") + SITE.format("key_3", "key_4")
    first = prepare(f"key_1: {NOP}; movq ${off},bytes(%rip); jmp 1f; key_2: movq ${on},bytes(%rip); 1:")
    whole, by_size = SIZED.format("$65536"), SIZED.format("%r8")
    ways = (whole, by_size) if off < on else (by_size, whole)
    then = function(f"mov bytes(%rip),%r8; key_3: {NOP}; {ways[0]}; jmp 2f; key_4: {ways[1]}; 2:", name="l1d_flush")
    text = first + then + KEY.format(sites) + VARIABLE
    result = judged(tmp_path, text, run_first=("prepare",), every_path=True)
    assert (result.verdict, len(result.paths)) == (Verdict.REFUTED, 4)
    for state in (False, True):
        settled = judged(tmp_path, text, run_first=("prepare",), every_path=True, static_keys={"key": state})
        assert (settled.verdict, len(settled.paths)) == (Verdict.PROVED, 1)
