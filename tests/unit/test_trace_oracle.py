# SPDX-License-Identifier: GPL-2.0-or-later
"""With every input known a trace is what the emulator reports, event by event."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import Literal

import pytest
import test_trace_forks as forks
import trace_programs as programs
from capstone import CS_ARCH_X86, CS_MODE_32, CS_MODE_64, Cs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.tracing.abstract import trace
from l1dflush.tracing.effects import EFFECTS
from l1dflush.tracing.model import ArenaKind, Event, Kind
from l1dflush.tracing.options import TraceOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
bounded = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
REGISTERS = {"r9": 0x2000_0000_0000, "r12": 0x1234_5678_9ABC, "r13": 77, "r14": 3, "rdx": 5, "r11": 9}
START = """
        mov %r12, %rax
        mov %r13, %rbx
        mov %r14, %rcx
        mov %r12, %rsi
        lea data(%rip), %r8
        cmp %rax, %rbx
        movq %rdx, -8(%rsp)
        movq %rbx, -16(%rsp)
        movq %rax, -24(%rsp)
        movups data(%rip), %xmm0
"""
END = "        ret\n        .data\ndata:   .fill 64, 1, 0x5a\n"


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Blocks of instructions, some of them in a loop, each followed by a load that one of them may skip."""
    lines = []
    for number in range(draw(st.integers(1, 3))):
        body = draw(st.lists(forks.instructions(), min_size=1, max_size=6))
        skip = [f"j{draw(forks.conditions)} 2f", f"movzwl {64 * number}(%r9), %r10d", "2:"]
        if draw(st.booleans()):
            index = "and $0xff8, %esi\n        mov (%r9,%rsi), %r10"
            lines += [f"mov ${draw(st.integers(1, 6))}, %r15d", "1:", *body, index, *skip, "dec %r15d", "jne 1b"]
        else:
            lines += [*body, *skip]
    return START + "\n".join(lines) + "\n" + END


def flat(event: Event) -> tuple[int, int, int, bool]:
    """An event as the oracle sees it."""
    assert event.arena is not None
    base = {
        ArenaKind.STACK: programs.STACK + 8,
        ArenaKind.INPUT: REGISTERS["r9"],
        ArenaKind.SECTION: int(event.arena.key.partition(":")[2], 16) if event.arena.kind is ArenaKind.SECTION else 0,
    }[event.arena.kind]
    return event.pc, base + event.offset, event.size, event.kind is Kind.STORE


@bounded
@given(texts())
def test_events_are_what_the_emulator_reports(text: str) -> None:
    routine = programs.function(text)
    bind = {name: str(value) for name, value in REGISTERS.items() if name != "r9"}
    paths = trace(routine, TraceOptions(bind=bind)).paths
    # Of flags that the manual leaves undefined both outcomes are there.
    sources = {source for path in paths for decision in path.decisions for source in decision.sources}
    assert all(source.partition(" ")[0] in UNDEFINED and source.endswith(" result") for source in sources)
    seen = [tuple(access) for access in programs.run(routine, REGISTERS, {REGISTERS["r9"]: bytes(0x2000)})]
    # The emulator reports a load of 16 bytes in two halves.
    assert seen in [[half for event in path.events for half in halves(flat(event))] for path in paths]
    assert len(paths) == 1 or sources


def halves(access: tuple[int, int, int, bool]) -> list[tuple[int, int, int, bool]]:
    pc, at, size, write = access
    return [(pc, at + half, min(size, 8), write) for half in range(0, max(size, 8), 8)]


# Instructions behind which flags are undefined (SDM volume 2).
UNDEFINED = {
    "shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd", "bt", "bts", "btr", "btc", "mul", "imul", "lzcnt",
    "tzcnt", "andn", "bextr",
}  # fmt: skip
SPELLED = {
    "movsxd": "movslq %eax,%rbx", "movabs": "movabs $0x1122334455667788,%rax", "cdq": "cltd",
    "pushfd": "pushf", "popfd": "popf", "iretd": "iret", "cqo": "cqto", "cwd": "cwtd",
    "pushf": "pushfw", "popf": "popfw",
    # What AT&T's assemblers always had the other way round.
    "fsubp": "fsubrp", "fsubrp": "fsubp", "fdivp": "fdivrp", "fdivrp": "fdivp",
    "cdqe": "cltq", "cwde": "cwtl", "cbw": "cbtw", "movsd": "movsl", "lodsd": "lodsl", "stosd": "stosl",
    "scasd": "scasl", "bound": "bound %eax,(%esi)", "jcxz": "jcxz 1f", "out": "out %al,(%dx)", "in": "in (%dx),%al",
    "arpl": "arpl %ax,%cx",
}  # fmt: skip


# Other names of the same condition, and what this version of the decoder does not know.
_OTHER_CONDITIONS = ("c", "nc", "nae", "nb", "na", "nbe", "z", "nz", "pe", "po")
ALIASES = {f"{kind}{cc}" for kind in ("j", "set", "cmov") for cc in _OTHER_CONDITIONS} | {"serialize", "sal"}


SHAPES = (
    "", "%rax", "%eax", "%al", "(%rdi)", "1f", "%rbx,%rax", "%ebx,%eax", "%bl,%eax",
    "%cl,%eax", "$1,%eax", "(%rdi),%eax", "(%rdi),%rax", "%eax,(%rdi)", "$16,$0",
    "%rcx,%rbx,%rax", "$1,%rbx,%rax", "(%rdi),%xmm0", "%xmm1,%xmm0", "$1,%xmm1,%xmm0", "%xmm0,(%rdi)",
    "%xmm0,%eax", "$1,%xmm0,%eax", "$1,%eax,%xmm0", "$1,%rax,%xmm0",
    "%xmm2,%xmm1,%xmm0", "(%rdi),%ymm0", "%ymm0,(%rdi)", "(%rdi),%zmm0", "%zmm2,%zmm1,%zmm0",
    "$1,%zmm2,%zmm1,%zmm0", "$1,%xmm2,%xmm1,%xmm0", "$1,%ymm2,%ymm1,%ymm0", "$1,%xmm2,%ymm1,%ymm0",
    "%xmm3,%xmm2,%xmm1,%xmm0", "$1,%ymm0,%xmm1", "(%rdi),%xmm1,%xmm0", "%eax,%xmm1,%xmm0", "%eax,%xmm0",
    "$1,%eax,%xmm1,%xmm0", "$1,%rax,%xmm1,%xmm0", "$1,%xmm0,%rax", "$1,%xmm0",
    "%st(3)", "%st(1),%st",
)  # fmt: skip
NAMES = sorted(set(EFFECTS) - ALIASES)
# No instruction has more than 15 bytes, and where it may jump to is behind it.
APART = 32
# The assembler of some versions has an internal error of its own for some operands, and reads no further.
_REFUSED = re.compile(rb"^[^:\n]*:(\d+): (?:Error:|Internal error in)", re.M)


@cache
def decoded(bits: Literal[32, 64]) -> frozenset[tuple[str, str]]:
    """Each name of the table, and what the decoder says of what the assembler makes of it with any operands: all in one
    text, without the lines that the assembler refuses."""
    tried = [(name, text) for name in NAMES for text in spellings(name, bits)]
    while True:
        text = "\n".join(f".org {number * APART}; {one}; 1:" for number, (_, one) in enumerate(tried))
        try:
            code = programs.function(f"{text}\nret", bits).code
            break
        except subprocess.CalledProcessError as error:
            # The first line of the text is the fifth of the program.
            refused = {int(line) - 5 for line in _REFUSED.findall(error.stderr)}
            assert refused
            tried = [one for number, one in enumerate(tried) if number not in refused]
    decoder, found = Cs(CS_ARCH_X86, CS_MODE_64 if bits == 64 else CS_MODE_32), set()
    for number, (name, _) in enumerate(tried):
        instruction = next(decoder.disasm(code[number * APART : (number + 1) * APART], 0), None)
        if instruction is not None:
            found.add((name, instruction.mnemonic))
    return frozenset(found)


def spellings(name: str, bits: Literal[32, 64]) -> list[str]:
    if bits == 32:
        return [SPELLED.get(name, name)]
    return [*([SPELLED[name]] if name in SPELLED else []), *(f"{name} {shape}" for shape in SHAPES)]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_the_table_is_the_decoders(name: str) -> None:
    """A name that the decoder never gives would be a row that is never found."""
    assert (name, name) in decoded(64) | decoded(32)
