# SPDX-License-Identifier: GPL-2.0-or-later
"""Code as kernels have it: per-CPU memory, flags on the stack, VM entries, traps, functions that do not return."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest
import trace_programs as programs
from trace_programs import number_of_paths, only, traced

from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import NO_RETURN, UNTIL, ArenaKind, Kind, Path, Trace
from l1dflush.verdict.left_behind import own_lines

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


def places(path: Path) -> list[tuple[str, int]]:
    return [(event.arena.key, event.offset) for event in path.events if event.arena is not None]


# --- per-CPU memory


@pytest.mark.parametrize(
    ("text", "bits", "expected"),
    [
        ("mov %gs:counter+2(%rip),%al; ret", 64, ("gs:external:counter", 2)),
        ("mov %fs:counter,%al; ret", 32, ("fs:external:counter", 0)),
        ("mov %gs:counter+4,%eax; ret", 32, ("gs:external:counter", 4)),
        ("mov %gs:0x28,%rax; ret", 64, ("gs:", 0x28)),
        ("mov %fs:-8,%rax; ret", 64, ("fs:", -8)),
        ("mov %gs:0x14,%eax; ret", 32, ("gs:", 0x14)),
        ("mov $counter+1,%eax; mov %fs:(%eax),%dl; ret", 32, ("fs:external:counter", 1)),
    ],
)
def test_per_cpu_memory_is_memory_of_its_own(text: str, bits: Literal[32, 64], expected: tuple[str, int]) -> None:
    path = only(text, bits)
    assert places(path)[0] == expected
    assert path.events[0].arena is not None and path.events[0].arena.kind is ArenaKind.SEGMENT


@pytest.mark.parametrize(("segment", "bits"), [("gs", 64), ("fs", 64), ("fs", 32), ("gs", 32)])
def test_a_per_cpu_variable_is_not_the_variable_of_that_name(segment: str, bits: Literal[32, 64]) -> None:
    """What is stored to the one is not what is loaded from the other; what is stored to the same one is."""
    at = "counter(%rip)" if bits == 64 else "counter"
    other = traced(f"movb $1,{at}; cmpb $1,%{segment}:{at}; je 1f; nop; 1: ret", bits)
    assert len(other.paths) == 2
    same = traced(f"movb $1,%{segment}:{at}; cmpb $1,%{segment}:{at}; je 1f; nop; 1: ret", bits)
    assert len(same.paths) == 1
    between = "gs" if segment == "fs" else "fs"
    crossed = traced(f"movb $1,%{between}:{at}; cmpb $1,%{segment}:{at}; je 1f; nop; 1: ret", bits)
    assert len(crossed.paths) == 2


@pytest.mark.parametrize("bits", [32, 64])
def test_the_stack_works_beside_segments(bits: Literal[32, 64]) -> None:
    """In 32-bit mode segments come from descriptors, and those of the stack and of data with them."""
    register = "%rbx" if bits == 64 else "%ebx"
    path = only(
        f"push {register}; mov %fs:8,%al; mov (%{'rdi' if bits == 64 else 'edx'}),%cl; pop {register}; ret", bits
    )
    assert [event.kind for event in path.events] == [Kind.STORE, Kind.LOAD, Kind.LOAD, Kind.LOAD, Kind.LOAD]


def test_a_decision_names_the_per_cpu_variable_and_not_the_rest_of_the_register() -> None:
    paths = traced("mov %gs:flag(%rip),%al; test %al,%al; jne 1f; nop; 1: ret").paths
    assert {str(path.decisions[0].fact) for path in paths} == {"`gs:flag` is zero", "`gs:flag` is not zero"}


def test_a_part_of_a_register_is_forgotten_when_the_register_changes() -> None:
    """`al` is loaded, then `eax` is: a branch on `al` is about what `eax` holds now."""
    paths = traced("mov %gs:flag(%rip),%al; mov (%rdi),%eax; test %al,%al; jne 1f; nop; 1: ret").paths
    assert all("gs:flag" not in source for path in paths for source in path.decisions[0].sources)


@pytest.mark.parametrize("change", ["swapgs", "mov %eax,%gs", "wrgsbase %rdi", "mov $0xc0000101,%ecx; wrmsr", "wrmsr"])
def test_per_cpu_memory_after_its_segment_moved(change: str) -> None:
    """It is elsewhere, or nobody knows where: never what it was."""
    try:
        path = only(f"movb $1,%gs:8; {change}; cmpb $1,%gs:8; ret")
    except UndecidedError as error:
        assert error.cause in ("segment-moved", "unclassified-instruction")
        return
    before, after = (e.arena for e in path.events if e.arena is not None and e.arena.kind is not ArenaKind.STACK)
    assert before.key == "gs:" and after.key != "gs:"


@pytest.mark.parametrize("segment", ["gs", "fs"])
def test_two_unknown_parts_of_an_address(segment: str) -> None:
    """It is somewhere, and not at either of them."""
    path = only(f"mov %{segment}:(%rdi),%al; mov %{segment}:8,%al; mov (%rdi),%al; ret")
    first, *others = (event.arena for event in path.events if event.arena is not None and event.detail == "mov")
    assert first.sources == tuple(sorted((segment, "rdi"))) and first not in others


@pytest.mark.parametrize(
    ("guard", "bits"), [("%gs:0x28", 64), ("%gs:0x14", 32), ("%gs:__ref_stack_chk_guard(%rip)", 64)]
)
def test_the_stack_protector_finds_its_guard_unchanged(guard: str, bits: Literal[32, 64]) -> None:
    wide = "rax" if bits == 64 else "eax"
    text = f"mov {guard},%{wide}; push %{wide}; call outside; pop %{wide}; sub {guard},%{wide}; jne 1f; ret; 1: ret"
    assert len(traced(text, bits).paths) == 1


# --- ends


@pytest.mark.parametrize("end", ["vmlaunch", "vmresume", "vmrun", "iretq", "sysretq"])
def test_whoever_enters_a_guest_is_done(end: str) -> None:
    path = only(f"mov (%rdi),%al; {end}; mov (%rsi),%al; ret")
    assert path.end == end
    # A return from an interrupt reads its frame.
    assert [event.detail for event in path.events] == ["mov", "iretq"][: 1 + (end == "iretq")]


def test_a_trap_ends_a_path_and_a_warning_does_not() -> None:
    assert only("ud2; mov (%rsi),%al; ret").end == "ud2"
    table = '.pushsection __bug_table,"aw"; 2: .long 1b - 2b, 0; .word 7, {flags}; .popsection'
    text = "1: ud2; mov (%rsi),%al; ret; " + table
    assert only(text.format(flags=0x901)).end == ""
    assert only(text.format(flags=0x900)).end == "ud2"


def test_a_function_that_does_not_return() -> None:
    """Behind the last call of a function there is no code of its own: who is called there never comes back."""
    text = "test %rdi,%rdi; je 1f; ret; 1: call panic; .size program, .-program; nop; nop; other: mov (%rsi),%al; ret"
    head = ".text\n.globl program\n.type program, @function\nprogram:\n"
    routine = load_bytes(programs.elf(f"{head}{text}"), "program.o", LoadOptions(function="program"))[0]
    found = trace(routine)
    assert sorted(path.end for path in found.paths) == ["", NO_RETURN]
    assert Assumption(Assumes.NO_RETURN, ("panic",)) in found.assumptions


def test_a_call_in_the_middle_returns_whatever_the_size_says() -> None:
    text = "call outside; .size program, .-program; mov (%rsi),%al; ret"
    head = ".text\n.globl program\n.type program, @function\nprogram:\n"
    routine = load_bytes(programs.elf(f"{head}{text}"), "program.o", LoadOptions(function="program"))[0]
    (path,) = trace(routine).paths
    assert path.end == "" and any("rsi" in str(event.arena.region) for event in path.events if event.arena)


# --- instructions around a VM entry


def test_flags_go_to_the_stack_and_come_back_unknown() -> None:
    found = traced("pushfq; cli; mov $1,%eax; test %eax,%eax; popfq; je 1f; nop; 1: ret")
    assert len(found.paths) == 2
    assert [event.detail for event in found.paths[0].events] == ["pushfq", "popfq", "ret"]


@pytest.mark.parametrize("bits", [32, 64])
def test_saved_flags_leave_the_direction_alone(bits: Literal[32, 64]) -> None:
    source = "rsi" if bits == 64 else "esi"
    path = only("pushf; popf; mov $4,%ecx; rep lodsb; ret".replace("rsi", source), bits)
    loads = [event.offset for event in path.events if event.detail == "lodsb"]
    assert loads == [0, 1, 2, 3]


def test_vmx_instructions_succeed_and_the_report_says_so() -> None:
    found = traced("mov $0x4402,%eax; vmread %rax,%rcx; jbe 1f; vmwrite (%rdi),%rcx; ja 2f; 1: ud2; 2: ret")
    (path,) = found.paths
    assert path.end == "" and [event.kind for event in path.events] == [Kind.LOAD, Kind.LOAD]
    assert Assumption(Assumes.VMX) in found.assumptions


def test_vmread_into_memory_is_a_store_of_something_unknown() -> None:
    paths = traced("movq $0,(%rdi); vmread %rax,(%rdi); cmpq $0,(%rdi); je 1f; nop; 1: ret").paths
    assert len(paths) == 2
    assert [event.kind for event in paths[0].events][:3] == [Kind.STORE, Kind.STORE, Kind.LOAD]


def test_verw_reads_its_operand() -> None:
    path = only("verw 6(%rdi); ret")
    first = path.events[0]
    assert (first.kind, first.offset, first.size) == (Kind.LOAD, 6, 2)


def test_what_vmload_touches_is_not_known() -> None:
    path = only("mov (%rdi),%cl; vmload; ret")
    assert [event.kind for event in path.events] == [Kind.LOAD, Kind.CALL, Kind.LOAD]


@pytest.mark.parametrize("text", ["xsave (%rdi)", "xrstors64 (%rdi)"])
def test_how_much_is_saved_is_not_known(text: str) -> None:
    path = only(f"mov (%rdi),%cl; {text}; ret")
    assert [event.kind for event in path.events[1:3]] == [Kind.CALL, Kind.LOAD if "rstor" in text else Kind.STORE]


@pytest.mark.parametrize("text", ["mov %rax,%cr3", "mov %rax,%cr0"])
def test_what_changes_what_memory_is_is_told(text: str) -> None:
    assert Kind.SYSTEM_WRITE in [event.kind for event in only(f"{text}; ret").events]


@pytest.mark.parametrize("text", ["pop %fs", "lss (%rdi),%eax"])
def test_what_changes_memory_behind_the_back_is_refused(text: str) -> None:
    with pytest.raises(UndecidedError) as caught:
        traced(f"{text}; ret")
    assert caught.value.cause == "unclassified-instruction"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("inc %ecx", [f"MSR {0x48 + n:#x} = 0x0" for n in range(6)]),
        ("inc %eax", [f"MSR 0x48 = {n:#x}" for n in range(6)]),
    ],
)
def test_a_loop_of_writes_is_not_one_write_again_and_again(step: str, said: list[str]) -> None:
    loop = f"mov $0x48,%ecx; xor %eax,%eax; mov $6,%ebx; 1: wrmsr; {step}; dec %ebx; jne 1b; ret"
    assert [e.detail for e in only(loop).events if e.kind is Kind.MSR_WRITE] == said


def test_a_loop_of_calls_calls_what_it_calls() -> None:
    loop = "mov $6,%ebx; lea one(%rip),%r12; lea two(%rip),%r13; 1: call *%r12; xchg %r12,%r13; dec %ebx; jne 1b; ret"
    assert [e.detail for e in only(loop).events if e.kind is Kind.CALL] == ["one", "two"] * 3


# --- a part of a routine

PARTS = """
        .text
        .globl f
        .type f, @function
f:      push %rbx
        mov (%rdi),%al
begin:  mov (%rsi),%al
end:    mov (%rdx),%al
        pop %rbx
        ret
        .size f, .-f
"""


def part(start: str | None, *until: str, function: str | None = "f") -> Trace:
    options = LoadOptions(function=function, start=start, until=until)
    return trace(load_bytes(programs.elf(PARTS), "parts.o", options)[0])


def read(found: Trace) -> list[str]:
    return [str(e.arena.region) for path in found.paths for e in path.events if e.arena and e.detail == "mov"]


def test_a_routine_from_a_label_to_a_label() -> None:
    assert read(part(None)) == [f"what `{name}` points to" for name in ("rdi", "rsi", "rdx")]
    assert read(part("begin")) == ["what `rsi` points to", "what `rdx` points to"]
    assert read(part("begin", "end")) == ["what `rsi` points to"]
    assert read(part(None, "begin")) == ["what `rdi` points to"]
    assert read(part("f+0x3", "f+0x5")) == ["what `rsi` points to"]
    assert part("begin", "end").paths[0].end == UNTIL
    # Inside a function no register is read before it is written, and it returns to whoever called it.
    inside = part("begin")
    assert inside.reads_before_written == () and inside.paths[0].end == ""
    assert inside.routine.name == "begin" and len(inside.routine.code) == 6
    assert len(part("begin", "end").routine.code) == 2


@pytest.mark.parametrize(
    ("start", "until", "message"),
    [
        ("nowhere", (), "--from: there is no label 'nowhere'"),
        ("f", ("0x1",), "--until: there is no code at '0x1'"),
        ("f+x", (), "--from: there is no label 'f.x'"),
    ],
)
def test_labels_that_are_not_there(start: str, until: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        part(start, *until)


# --- own lines behind the flush


@pytest.mark.parametrize(("register", "told"), [("rdi", True), ("r11", True), ("rax", False), ("rdx", False)])
def test_what_a_call_leaves_in_a_register_is_no_argument(register: str, told: bool) -> None:
    """But for those in which it returns something."""
    found = programs.traced(f"push %rbx; call outside; mov (%{register}),%ecx; pop %rbx; ret")
    assert (f"{register} after outside" in found.reads_before_written) == told


def test_lines_that_are_flushed_after_they_were_touched_are_gone() -> None:
    """Only where the two surely share a line: what a pointer of unknown place points to is 8-aligned."""
    path = only("mov (%rdi),%al; mov 64(%rsi),%al; clflush (%rdi); clflush 65(%rsi); mov (%rdx),%al; clflush (%rdx)"
                "; mov 3(%rdx),%al; ret")  # fmt: skip
    left = [(str(event.arena.region), event.offset) for event in own_lines(path.events) if event.arena]
    assert left == [("what `rdx` points to", 3), ("stack", -8)]
    apart = only("mov 8(%rdi),%al; clflush (%rdi); ret")
    assert len(own_lines(apart.events)) == 2


# --- what was once proved wrongly


def test_two_parts_of_a_register_are_two_values() -> None:
    walks = "mov (%rsi),%r8; 2: mov (%rdx),%r8"
    assert (
        number_of_paths(
            f"mov %edi,%eax; mov %al,%bl; mov %ah,%cl; test %bl,%bl; jne 2f; test %cl,%cl; jne 3f; {walks}; 3: ret"
        )
        == 3
    )
    assert (
        number_of_paths(
            "mov %al,%dl; add %rsi,%rax; mov %al,%cl; test %dl,%dl; jne 1f; test %cl,%cl; jne 1f; nop; 1: ret"
        )
        == 3
    )


def test_flags_that_were_pushed_at_different_times_are_different() -> None:
    asked = "pushfq; pop %rax; test $0x200,%eax; jne 2f"
    assert number_of_paths(f"xor %edx,%edx; {asked}; call outside; xor %edx,%edx; {asked}; nop; 2: ret") == 3


def test_popped_flags_say_which_way_string_instructions_go() -> None:
    def offsets(text: str) -> list[int]:
        return [event.offset for event in only(text).events if event.detail == "lodsb"]

    go = "mov $2,%ecx; rep lodsb; cld; ret"
    assert offsets(f"push $0x402; popfq; {go}") == [0, -1]
    assert offsets(f"pushfq; std; popfq; {go}") == [0, 1]
    # Of a value that nobody knows it is bit 10 that decides.
    for value, name in (("%rdi", "rdi"), ("8(%rsi)", "[rsi+0x8]")):
        paths = traced(f"push {value}; popfq; {go}").paths
        assert {str(p.decisions[0].fact): [e.offset for e in p.events if e.detail == "lodsb"] for p in paths} == {
            f"bit 10 of `{name}` is clear": [0, 1],
            f"bit 10 of `{name}` is set": [0, -1],
        }


def test_only_a_whole_guard_is_the_stack_protectors() -> None:
    text = "cmpl $0,%gs:0x28; je 3f; call outside; cmpl $0,%gs:0x28; je 3f; nop; 3: ret"
    assert number_of_paths(text) == 3


def test_per_cpu_memory_may_be_reached_through_a_pointer_from_it() -> None:
    text = "movl $0,%gs:flag(%rip); {}; movl $1,flag(%rax); cmpl $0,%gs:flag(%rip); jne 3f; nop; 3: ret"
    assert number_of_paths(text.format("mov %gs:this_cpu_off(%rip),%rax")) == 2
    # Here it surely is.
    path = only(text.format("rdgsbase %rax"))
    assert path.instructions == 6
    # No number is where it is.
    for address in (0x6800_0000_0010, 0x10):
        text = f"movabs ${address:#x},%rax; movl $0,(%rax); cmpl $0,%gs:0x10; jne 3f; nop; 3: ret"
        assert number_of_paths(text) == 2


def test_a_variable_whose_address_got_out_may_change_in_every_call() -> None:
    kept = "sub $24,%rsp; lea 8(%rsp),%rdi; call watch; movl $0,8(%rsp); mov $1,%edi; call wait; cmpl $0,8(%rsp)"
    assert number_of_paths(f"{kept}; jne 1f; nop; 1: add $24,%rsp; ret") == 2
    inside = "sub $24,%rsp; movl $0,8(%rsp); lea 8(%rsp),%rax; mov %rax,(%rsp); mov %rsp,%rdi; call submit"
    assert number_of_paths(f"{inside}; cmpl $0,8(%rsp); jne 1f; nop; 1: add $24,%rsp; ret") == 2
    pushed = "sub $20,%esp; movl $0,12(%esp); lea 12(%esp),%eax; push %eax; xor %eax,%eax; call ask; add $4,%esp"
    assert number_of_paths(f"{pushed}; cmpl $0,12(%esp); jne 1f; nop; 1: add $20,%esp; ret", 32) == 2


def test_a_weak_symbol_that_nobody_defines_may_be_absent() -> None:
    with pytest.raises(UndecidedError, match="weak symbol 'pages' may be absent"):
        traced("mov $pages,%eax; test %rax,%rax; je 3f; nop; 3: ret; .weak pages")


def test_a_return_from_an_interrupt_to_its_own_code() -> None:
    text = "mov %ss,%ecx; push %rcx; push %rsp; pushfq; mov %cs,%ecx; push %rcx; push $2f; iretq; 2: ret"
    with pytest.raises(UndecidedError) as caught:
        traced(text)
    assert caught.value.cause in ("returns-to-itself", "unclassified-instruction")


# --- jumps out of the code


def test_a_conditional_jump_to_an_outside_function_comes_back_to_the_caller() -> None:
    found = traced("test %rdi,%rdi; je outside; mov (%rsi),%al; ret").paths
    assert [[event.detail for event in path.events] for path in found] == [["mov", "ret"], ["outside", "je"]]
    thunk = traced("xor %eax,%eax; je __x86_return_thunk; mov (%rsi),%al; ret")
    assert [event.kind for event in thunk.paths[0].events] == [Kind.LOAD]
    assert dict(thunk.stubs) == {"__x86_return_thunk": "a return"}


THUNKS = ("__x86_indirect_thunk", "__x86_indirect_call_thunk", "__llvm_retpoline")


@pytest.mark.parametrize("thunk", THUNKS)
def test_a_thunk_goes_where_its_register_says(thunk: str) -> None:
    """Into the code that is here, if that is known; else to an outside function, which comes back."""
    here = "; inside: mov (%rsi),%al; ret"
    followed = traced(f"lea inside(%rip),%r11; call {thunk}_r11; mov (%rdi),%al; ret {here}")
    assert [str(e.arena.region) for e in followed.paths[0].events if e.arena and e.detail == "mov"] == [
        "what `rsi` points to",
        "what `rdi` points to",
    ]
    assert dict(followed.stubs) == {f"{thunk}_r11": "an indirect call"}
    tail = traced(f"lea inside(%rip),%r11; jmp {thunk}_r11 {here}")
    assert [e.detail for e in tail.paths[0].events] == ["mov", "ret"] and dict(tail.stubs)
    for text in (f"mov 16(%rdi),%r11; call {thunk}_r11; ret", f"mov 16(%rdi),%r11; jmp {thunk}_r11"):
        events = traced(text).paths[0].events
        assert [e.detail for e in events if e.kind is Kind.CALL] == ["[rdi+0x10]"]
    outside = traced(f"lea elsewhere(%rip),%r11; call {thunk}_r11; ret").paths[0].events
    assert [e.detail for e in outside if e.kind is Kind.CALL] == ["elsewhere"]


@pytest.mark.parametrize(
    "load",
    [
        "mov table(,%rdi,8),%rax",
        "lea table(%rip),%rcx; mov (%rcx,%rdi,8),%rax",
        "lea table(%rip),%rcx; movslq (%rcx,%rdi,4),%rax; add %rcx,%rax",
        "lea table(%rip),%rcx; mov (%rcx,%rdi),%rax",
    ],
)
def test_a_jump_by_a_table_through_a_thunk_is_no_call(load: str) -> None:
    """It goes on in the function itself, nobody knows where."""
    table = ".section .rodata; table: .quad 1b, 2b; .text"
    with pytest.raises(UndecidedError) as caught:
        traced(f"{load}; jmp __x86_indirect_thunk_rax; 1: mov (%rsi),%al; 2: ret; {table}")
    assert caught.value.cause == "indirect-jump"


NAMES = {6: "R_X86_64_GLOB_DAT", 7: "R_X86_64_JUMP_SLOT", 8: "R_X86_64_RELATIVE"}


@pytest.mark.parametrize("number", [6, 7, 8])
def test_relocations_of_linked_files_are_none_of_an_object(number: int) -> None:
    with pytest.raises(UndecidedError, match="this type is not supported"):
        traced(f".reloc ., {NAMES[number]}, x; mov %rax,%rcx; mov %rax,%rcx; mov %rax,%rcx; ret")
