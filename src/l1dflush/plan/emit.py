"""A walk as code: machine code, assembly for GNU as, and C for GCC or Clang.

All three are the same loop with the same registers. The C has it in one asm statement, so that no compiler, however
little it optimises, keeps a counter in memory and touches it between two lines.
"""

from __future__ import annotations

from collections.abc import Iterator

from l1dflush.plan.walk import Stretch, Walk
from l1dflush.routine.encode import Code

PAGE = 4096


def machine_code(walk: Walk) -> bytes:
    """System V x86-64: the buffer's address in rdi, no other input; rax and rcx are overwritten."""
    code = Code()
    warm_up = _warm_up(walk)
    code.upward_loop(warm_up.begin, warm_up.end, PAGE)
    code.lfence()
    for stretch in walk.stretches:
        code.upward_loop(stretch.begin, stretch.end, walk.step)
    code.lfence()
    code.ret()
    return bytes(code)


def _warm_up(walk: Walk) -> Stretch:
    """A load from every page first, so that no page walk brings lines in during the flush."""
    return Stretch(0, -(-walk.buffer_bytes // PAGE) * PAGE)


def _instructions(walk: Walk, pointer: str, r: str) -> Iterator[str]:
    """The same in AT&T syntax, without the return; ``r`` is what registers begin with."""
    yield from _loop_text(_warm_up(walk), PAGE, 1, pointer, r)
    yield "lfence"
    for number, stretch in enumerate(walk.stretches, 2):
        yield from _loop_text(stretch, walk.step, number, pointer, r)
    yield "lfence"


def _loop_text(stretch: Stretch, step: int, label: int, pointer: str, r: str) -> Iterator[str]:
    yield f"movq\t${stretch.begin:#x}, {r}rax" if stretch.begin else f"xorl\t{r}eax, {r}eax"
    yield f"{label}:\tmovzbl\t({pointer},{r}rax), {r}ecx"
    yield f"addq\t${step:#x}, {r}rax"
    yield f"cmpq\t${stretch.end:#x}, {r}rax"
    yield f"jne\t{label}b"


def assembly(walk: Walk, name: str, title: str) -> str:
    """The same as a function for GNU as, in AT&T syntax."""
    head = [f"# {title}", "\t.text", f"\t.globl\t{name}", f"\t.type\t{name}, @function", f"{name}:"]
    body = [line if line[0].isdigit() else f"\t{line}" for line in _instructions(walk, "%rdi", "%")]
    tail = ["\tret", f"\t.size\t{name}, . - {name}", '\t.section\t.note.GNU-stack, "", @progbits']
    return "\n".join([*head, *body, *tail]) + "\n"


def c_function(walk: Walk, name: str, title: str) -> str:
    """The same as a function for GCC and Clang on x86-64, with the buffer's address as its argument."""
    return f"/* {title} */\nvoid {name}(const void *buffer)\n{{\n{asm_statement(walk, 'buffer')}}}\n"


def asm_statement(walk: Walk, pointer: str) -> str:
    """The loops as one statement of inline assembly."""
    body = "\n".join(f"\t\t{_quoted(line)}" for line in _instructions(walk, "%0", "%%"))
    return (
        f"\t__asm__ __volatile__(\n{body}\n"
        f'\t\t: : "r" ({pointer}) : "rax", "rcx", "cc", "memory");\n'
    )  # fmt: skip


def _quoted(line: str) -> str:
    text = line.replace("\t", "\\t")
    return f'"{text}\\n\\t"'


def hexadecimal(code: bytes, title: str) -> str:
    """Machine code as text: 16 bytes a line."""
    rows = (code[at : at + 16].hex(" ") for at in range(0, len(code), 16))
    return "\n".join([f"# {title}", *rows]) + "\n"


def as_data(code: bytes, name: str) -> str:
    """Machine code as a function for GNU as, byte by byte, so that nothing is encoded anew."""
    data = ", ".join(f"{byte:#04x}" for byte in code)
    head = f"\t.text\n\t.globl\t{name}\n\t.type\t{name}, @function\n{name}:\n"
    return f"{head}\t.byte\t{data}\n\t.size\t{name}, . - {name}\n"
