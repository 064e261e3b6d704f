# SPDX-License-Identifier: GPL-2.0-or-later
"""A walk as C for any processor: volatile loads, and a barrier that its user gives.

What orders loads has no name in C, so it is a macro. What loops count with is in ``register`` variables: without
optimisation GCC would keep them in memory else, and touch that between two lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from l1dflush.cache.cpus import Isa
from l1dflush.planning.emit import PAGE, c_comment, warm_up_of
from l1dflush.planning.walk import Stretch, Walk

BARRIER = "L1D_FLUSH_BARRIER"
STAND_IN = f'#define {BARRIER} __asm__ __volatile__("lfence" ::: "memory")\n'
"""A barrier of the processor that code is proved on."""

# What completes the loads before it, and then lets nothing begin before that: DSB and ISB in the Arm ARM (DDI 0487),
# sync and isync in Power ISA 3.1 book II, FENCE in the RISC-V unprivileged ISA.
_BARRIERS: dict[Isa, tuple[str, ...]] = {
    "arm": ("dsb sy", "isb"),
    "power": ("sync", "isync"),
    "riscv": ("fence iorw, iorw",),
    "x86": ("lfence",),
}
_CAST = "(const volatile unsigned char *)"


def portable_c(walk: Walk, name: str, head: Sequence[str], isa: Isa) -> str:
    """The function, with the buffer's address as its argument; ``head`` are paragraphs for its comment, ``isa`` is of
    the CPU that it is for."""
    example = "\\n\\t".join(_BARRIERS[isa])
    use = f"{BARRIER} is a statement behind which nothing begins before all loads ahead of it are done."
    check = (
        "Proved as x86 code of one compiler, with a fence of x86 as the barrier. Whichever compiler makes code of it,"
        " its loops must load nothing but the lines: no counter that is kept in memory."
    )
    body = "".join(f"\t{line}\n" if line else "\n" for line in _body(walk))
    return (
        f"{c_comment((*head, use, check))}"
        f'/* #define {BARRIER} __asm__ __volatile__("{example}" ::: "memory") */\n'
        f'#ifndef {BARRIER}\n#error "{BARRIER} is not defined"\n#endif\n\n'
        f"void {name}(const void *buffer)\n{{\n{body}}}\n"
    )


def _body(walk: Walk) -> Iterator[str]:
    yield f"register const volatile unsigned char *const start = {_CAST}buffer;"
    yield "register const volatile unsigned char *line, *end;"
    yield ""
    yield "/* a load from every page, so that no page walk comes in between later */"
    yield from _loop(warm_up_of(walk), PAGE)
    yield f"{BARRIER};"
    for stretch in walk.stretches:
        yield f"/* every line from byte {stretch.begin:#x} up to {stretch.end:#x} */"
        yield from _loop(stretch, walk.step)
    yield f"{BARRIER};"


def _loop(stretch: Stretch, step: int) -> Iterator[str]:
    yield f"end = start + {stretch.end:#x};"
    yield f"for (line = start + {stretch.begin:#x}; line != end; line += {step:#x})"
    yield "\t(void)*line;"
