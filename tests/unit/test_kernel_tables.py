# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's tables in a routine: jump labels, bugs, the tracer's calls, static calls."""

from __future__ import annotations

import shutil

import pytest
from trace_programs import number_of_paths, only, traced

from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import InputError, UndecidedError
from l1dflush.tracing.model import Kind

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


@pytest.mark.parametrize(
    ("site", "damage"),
    [
        ("jmp 2f; nop", False),
        (".byte 0xe9; .long 2f - . - 4", False),
        ("xchg %ax, %ax", False),
        (".byte 0x0f, 0x1f, 0x44, 0, 0", False),
        ("jmp 3f", True),
        ("mov %al, %cl", True),
    ],
)
def test_a_jump_label_has_to_be_a_nop_or_a_jump_to_where_its_record_says(site: str, damage: bool) -> None:
    table = '.pushsection __jump_table,"aw"; .long 1b - ., 2b - .; .quad key - .; .popsection'
    text = f"1: {site}; 3: mov (%rdi),%al; 2: ret; {table}; .comm key,16,16"
    if damage:
        with pytest.raises(UndecidedError, match="record 0 of __jump_table") as caught:
            traced(text)
        assert caught.value.cause == "damaged-table"
        return
    assert [path.decisions[0].sources for path in traced(text).paths] == [("key",), ("key",)]
    assert [len(path.events) for path in traced(text, static_keys={"key": False}).paths] == [2]
    assert [len(path.events) for path in traced(text, static_keys={"key": True}).paths] == [1]
    with pytest.raises(InputError, match="there is no static key 'other'"):
        traced(text, static_keys={"other": True})


def test_where_there_are_no_jump_labels_it_says_what_to_use() -> None:
    with pytest.raises(InputError, match=r"--bind NAME=1 .*--define NAME=VALUE"):
        traced("cmpl $0,key(%rip); jne 1f; nop; 1: ret; .comm key,16,16", static_keys={"key": True})


def test_a_trap_that_is_in_no_table_of_the_kernel() -> None:
    table = '.pushsection __bug_table,"aw"; 2: .long 1b - 2b, 0; .word 7, 0x901; .popsection'
    with pytest.raises(UndecidedError) as caught:
        traced(f"test %rdi,%rdi; je 3f; 1: ud2; ret; 3: ud2; {table}")
    assert caught.value.cause == "trap-unknown"


def test_only_a_call_where_a_function_begins_is_the_tracers() -> None:
    """A damaged table could make any call nothing."""
    table = '.pushsection __mcount_loc,"a"; .quad {0}; .popsection'
    first = traced("1: call tracer; mov (%rdi),%al; ret; " + table.format("1b"))
    assert dict(first.stubs) and not any(e.kind is Kind.CALL for e in first.paths[0].events)
    later = traced("mov (%rdi),%al; 1: call tracer; ret; " + table.format("1b"))
    assert not dict(later.stubs) and any(e.kind is Kind.CALL for e in later.paths[0].events)


def test_keys_without_a_name_are_told_apart() -> None:
    tables = "".join(
        f'.section .data.k,"aw",@progbits,unique,{n}; .Lk{n}: .quad 0,0; '
        f'.section __jump_table,"aw"; .long .Ls{n} - ., 9f - .; .quad .Lk{n} - .; '
        for n in (1, 2)
    )
    nop = ".byte 0x0f,0x1f,0x44,0,0"
    assert (
        number_of_paths(f".Ls1: {nop}; .Ls2: {nop}; 9: ret; {tables}".replace("9f", ".Lend").replace("9:", ".Lend:"))
        == 3
    )


def test_warnings_in_a_table_of_short_records() -> None:
    table = (
        '.pushsection __bug_table,"aw"; ' + "".join(f".long {n}b - .; .word 0x901, 0; " for n in (1, 2)) + ".popsection"
    )
    (path,) = traced(f"1: ud2; 2: ud2; ret; {table}").paths
    assert path.end == ""


def test_a_bug_at_an_odd_line_is_no_warning() -> None:
    table = '.pushsection __bug_table,"aw"; 2: .long 1b - 2b, 0; .word 101, 0; .popsection'
    assert only(f"1: ud2; ret; {table}").end == "ud2"


def test_a_static_call_is_taken_to_go_where_it_was_shipped_to() -> None:
    text = (
        'jmp __SCT__f; 1: mov (%rdi),%al; ret; .section .static_call.text,"ax"; .globl __SCT__f; '
        ".type __SCT__f,@function; __SCT__f: jmp 1b; .byte 0x0f,0xb9,0xcc"
    )
    assert Assumption(Assumes.STATIC_CALL, ("__SCT__f",)) in traced(text).assumptions
