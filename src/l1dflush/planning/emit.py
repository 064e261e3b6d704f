# SPDX-License-Identifier: GPL-2.0-or-later
"""A walk as code: machine code, assembly for GNU as, and C for GCC or Clang.

All three are the same loop with the same registers. The C has it in one asm statement, so that no compiler, however
little it optimises, keeps a counter in memory and touches it between two lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from l1dflush.planning.walk import Stretch, Walk
from l1dflush.routine.encode import Code

PAGE = 4096


def machine_code(walk: Walk) -> bytes:
    """System V x86-64: the buffer's address in rdi, no other input; rax and rcx are overwritten."""
    code = Code()
    warm_up = warm_up_of(walk)
    code.upward_loop(warm_up.begin, warm_up.end, PAGE)
    code.lfence()
    for stretch in walk.stretches:
        code.upward_loop(stretch.begin, stretch.end, walk.step)
    code.lfence()
    code.ret()
    return bytes(code)


def warm_up_of(walk: Walk) -> Stretch:
    """A load from every page first, so that no page walk brings lines in during the flush."""
    return Stretch(0, -(-walk.buffer_bytes // PAGE) * PAGE)


def parts(walk: Walk, pointer: str, r: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same in AT&T syntax, without the return: what comes next, and its instructions. ``r`` is what registers begin
    with."""
    warm_up = (*_loop_text(warm_up_of(walk), PAGE, 1, pointer, r), "lfence")
    yield "a load from every page, so that no page walk comes in between later", warm_up
    for number, stretch in enumerate(walk.stretches, 2):
        loop = tuple(_loop_text(stretch, walk.step, number, pointer, r))
        yield f"every line from byte {stretch.begin:#x} up to {stretch.end:#x}", loop
    yield "no load is still in flight behind this", ("lfence",)


def _instructions(walk: Walk, pointer: str, r: str) -> Iterator[str]:
    for _, lines in parts(walk, pointer, r):
        yield from lines


def _loop_text(stretch: Stretch, step: int, label: int, pointer: str, r: str) -> Iterator[str]:
    yield f"movq\t${stretch.begin:#x}, {r}rax" if stretch.begin else f"xorl\t{r}eax, {r}eax"
    yield f"{label}:\tmovzbl\t({pointer},{r}rax), {r}ecx"
    yield f"addq\t${step:#x}, {r}rax"
    yield f"cmpq\t${stretch.end:#x}, {r}rax"
    yield f"jne\t{label}b"


def assembly(walk: Walk, name: str, head: Sequence[str]) -> str:
    """The same as a function for GNU as, in AT&T syntax; ``head`` are paragraphs for a comment."""
    start = ["\t.text", f"\t.globl\t{name}", f"\t.type\t{name}, @function", f"{name}:"]
    body = [line if line[0].isdigit() else f"\t{line}" for line in _instructions(walk, "%rdi", "%")]
    tail = ["\tret", f"\t.size\t{name}, . - {name}", '\t.section\t.note.GNU-stack, "", @progbits']
    return "\n".join([*_hash_comment(head), *start, *body, *tail]) + "\n"


def c_function(walk: Walk, name: str, head: Sequence[str]) -> str:
    """The same as a function for GCC and Clang on x86-64, with the buffer's address as its argument."""
    return f"{c_comment(head)}void {name}(const void *buffer)\n{{\n{asm_statement(walk, 'buffer')}}}\n"


def asm_statement(walk: Walk, pointer: str) -> str:
    """The loops as one statement of inline assembly."""
    body = "\n".join(f"\t\t{quoted(line)}" for line in _instructions(walk, "%0", "%%"))
    return f"\t__asm__ __volatile__(\n{body}\n\t\t{operands(pointer)});\n"


def operands(pointer: str) -> str:
    """What follows the instructions in a statement of inline assembly."""
    return f': : "r" ({pointer}) : "rax", "rcx", "cc", "memory"'


def quoted(line: str) -> str:
    """An instruction as a C string."""
    text = line.replace("\t", "\\t")
    return f'"{text}\\n\\t"'


def c_comment(head: Sequence[str]) -> str:
    """Paragraphs as a C comment: one line if that is all there is to say, else a block as kernels have it."""
    if len(head) == 1:
        return f"/* {head[0]} */\n"
    lines = [f" * {line}".rstrip() for line in _wrapped(head)]
    return "\n".join(["/*", *lines, " */"]) + "\n"


def _hash_comment(head: Sequence[str]) -> list[str]:
    lines = [head[0]] if len(head) == 1 else _wrapped(head)
    return [f"# {line}".rstrip() for line in lines]


def _wrapped(head: Sequence[str]) -> list[str]:
    """Paragraphs in lines, with an empty one between two."""
    lines: list[str] = []
    for paragraph in head:
        lines += ["", *textwrap.wrap(paragraph, 77, break_long_words=False, break_on_hyphens=False)]
    return lines[1:]


def hexadecimal(code: bytes, head: Sequence[str]) -> str:
    """Machine code as text: 16 bytes a line."""
    rows = (code[at : at + 16].hex(" ") for at in range(0, len(code), 16))
    return "\n".join([*_hash_comment(head), *rows]) + "\n"


def as_data(code: bytes, name: str) -> str:
    """Machine code as a function for GNU as, byte by byte, so that nothing is encoded anew."""
    data = ", ".join(f"{byte:#04x}" for byte in code)
    head = f"\t.text\n\t.globl\t{name}\n\t.type\t{name}, @function\n{name}:\n"
    return f"{head}\t.byte\t{data}\n\t.size\t{name}, . - {name}\n"
