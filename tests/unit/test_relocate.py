# SPDX-License-Identifier: GPL-2.0-or-later
"""Relocations in bulk against one at a time, and addresses that look like those of outside symbols."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1dflush.routine.elf.relocate import I386, X86_64, Relocator, Rule, StorageUnit, Target, apply
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.judge import trace_of
from l1dflush.verdict.options import VerifyOptions

ADDRESSES = st.one_of(st.integers(0, 1 << 32), st.integers(0, (1 << 64) - 1))
RULES = st.sampled_from([*X86_64.values(), *I386.values()])
ADDENDS = st.one_of(st.integers(-(1 << 33), 1 << 33), st.integers(-(1 << 63), (1 << 63) - 1))


@given(
    targets=st.lists(st.one_of(st.builds(Target, RULES, ADDRESSES, ADDRESSES), st.just(Target(None, reason="no")))),
    rows=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), ADDENDS)),
    explicit=st.booleans(),
    data=st.binary(min_size=32, max_size=32),
    base=ADDRESSES,
)
def test_in_bulk_is_as_one_by_one(
    targets: list[Target], rows: list[tuple[int, int, int]], explicit: bool, data: bytes, base: int
) -> None:
    one, many, failed = bytearray(data), bytearray(data), []
    for offset, number, addend in rows:
        if number >= len(targets):
            continue
        rule, symbol, slot, reason = targets[number]
        added = addend if explicit else None
        wrong: str | None = reason
        if rule is not None:
            wrong = apply(rule, StorageUnit(one, base, offset), symbol=symbol, addend=added, got=base, slot=slot)
        if wrong is not None:
            failed.append((offset, number, wrong))
    relocator = Relocator(dict(enumerate(targets)), got=base)
    kept = rows if explicit else [row[:2] for row in rows]
    assert list(relocator.apply(kept, many, base)) == failed
    assert many == one


def test_every_rule_has_a_size_that_bulk_knows() -> None:
    rules: list[Rule] = [*X86_64.values(), *I386.values()]
    assert {rule.size for rule in rules} == {4, 8}


@pytest.mark.skipif(not (shutil.which("as") and shutil.which("ld")), reason="needs GNU as and ld")
@pytest.mark.parametrize("address", ["0x10000000", "0x12340000", "0x30000000"])
def test_a_linked_file_may_lie_where_outside_symbols_would(address: str, tmp_path: Path) -> None:
    text = """
    .text
    .globl l1d_flush
    .type l1d_flush, @function
l1d_flush:
    call inner
    ret
    .size l1d_flush, .-l1d_flush
inner:
    movq $table, %rdi
    xorl %eax, %eax
1:  movb (%rdi,%rax), %cl
    addl $64, %eax
    cmpl $65536, %eax
    jne 1b
    ret
    .data
    .balign 4096
    .type table, @object
table: .fill 65536, 1, 7
    .size table, .-table
"""
    (tmp_path / "x.s").write_text(text)
    subprocess.run(["as", "-o", tmp_path / "x.o", tmp_path / "x.s"], check=True)
    linking = ["ld", f"-Ttext={address}", "-e", "l1d_flush", "-o", tmp_path / "x", tmp_path / "x.o"]
    subprocess.run(linking, check=True, capture_output=True)
    result = trace_of(str(tmp_path / "x"), VerifyOptions(function="l1d_flush"))
    assert result.buffer is not None and str(result.buffer.region) == "table"
    assert sum(event.kind == "load" and event.region == BUFFER for event in result.paths[0].events) == 1024
    assert not any(event.kind == "call" for event in result.paths[0].events)
