# SPDX-License-Identifier: GPL-2.0-or-later
"""What the fuzzer damages: whole inputs of every kind, most of them proved as they are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import kernel_modules
from kernel_modules import Module, Packing

from l1dflush.routine.toolchain import assemble, compile_c

FOLDER = Path(__file__).resolve().parents[1] / "data"
HAS_AS = shutil.which("as") is not None
HAS_CC = shutil.which("cc") is not None or shutil.which("gcc") is not None


@dataclass(frozen=True)
class Seed:
    """One input. ``name`` ends like the file's name, ``bind`` and ``function`` are the options it is judged with;
    ``packing`` is how it is compressed before (or after) it is damaged."""

    name: str
    data: bytes
    function: str | None = None
    bind: Mapping[str, str] = field(default_factory=dict)
    packing: Packing | None = None

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.packing is None else '.' + self.packing}>"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """As hypothesis prints it: without the bytes."""
        printer.text(repr(self))


WALK = """
        .text
        .globl  l1d_flush
        .type   l1d_flush, @function
l1d_flush:
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $4096, %eax
        cmp     $65536, %eax
        jne     1b
        push    %rbx
        xor     %eax, %eax
        cpuid
        pop     %rbx
        xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %eax
        cmp     $65536, %eax
        jne     2b
        lfence
        ret
        .size   l1d_flush, .-l1d_flush
"""
INTEL = """
        .intel_syntax noprefix
        .text
        .globl  flush_l1d
flush_l1d:
        mov     rdx, qword ptr [rip + pages]
        lea     rcx, [rdx + 65536]
again:  mov     rax, qword ptr [rdx]
        add     rdx, 64
        cmp     rdx, rcx
        jb      again
        mfence
        ret
        .comm   pages, 8, 8
"""
NARROW = """
        .code32
        .text
        .globl  l1d_flush
        .type   l1d_flush, @function
l1d_flush:
        movl    4(%esp), %edx
        movl    $1024, %ecx
1:      movb    (%edx), %al
        addl    $64, %edx
        decl    %ecx
        jnz     1b
        lfence
        ret
"""
SECTIONED = """
        .text
        .globl  do_l1d_flush
        .type   do_l1d_flush, @function
do_l1d_flush:
        lea     buffer(%rip), %rsi
        mov     limit(%rip), %ecx
        call    touch
        lfence
        ret
        .size   do_l1d_flush, .-do_l1d_flush
        .section .text.other, "ax"
        .type   touch, @function
touch:  lodsq
        add     $56, %rsi
        sub     $64, %ecx
        jg      touch
        ret
        .data
        .balign 64
limit:  .long   65536
        .section .bss.buffer, "aw", @nobits
        .balign 4096
buffer: .skip   65536
"""
C_LOOP = """
#define LINES 1024
static char *pages;

/* Reads one byte of every line; in registers, so that it is quick without optimisation too. */
void l1d_flush(void)
{
	register volatile char *line = pages;
	register int left = LINES;

	for (; left > 0; left--) {
		*line;
		line += 64;
	}
	asm volatile("lfence" ::: "memory");
}
"""
C_ASM = r"""
#define PAGE_SIZE 4096
#define ORDER 4
static void *flush_pages;

static __always_inline void empty_l1d(void)
{
	int size = PAGE_SIZE << ORDER;

	asm volatile(
		"xorl	%%eax, %%eax\n"
		"1:	movzbl	(%0, %%rax), %%ecx\n"
		"addl	$4096, %%eax\n"
		"cmpl	%1, %%eax\n"
		"jne	1b\n"
		"xorl	%%eax, %%eax\n"
		"cpuid\n"
		"xorl	%%eax, %%eax\n"
		"2:	movzbl	(%0, %%rax), %%ecx\n"
		"addl	$64, %%eax\n"
		"cmpl	%1, %%eax\n"
		"jne	2b\n"
		"lfence\n"
		:: "r" (flush_pages), "r" (size)
		: "eax", "ebx", "ecx", "edx", "memory");
}

void before_entry(int wanted)
{
	if (wanted)
		empty_l1d();
}
"""
C_MANY = """
extern char table[16][4096];
struct state { int wanted; unsigned char seen; };

int flush_table(struct state *state)
{
	register volatile char *page = table[0], *line;

	if (!state->wanted && !state->seen)
		return 0;
	state->seen = 0;
	for (; page < table[16]; page += sizeof(table[0]))
		for (line = page; line < page + 4096; line += 64)
			*line;
	return 1;
}
"""


def diff_of(text: str, name: str, *, mail: bool = False) -> bytes:
    """A patch that adds the file ``name``."""
    lines = text.splitlines()
    head = (
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    body = head + "".join(f"+{line}\n" for line in lines)
    if mail:
        start = "From 0000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Mon, 6 Jan 2025 10:00:00 +0000\n"
        body = f"{start}Subject: [PATCH 1/2] Empty the cache\n\nIt is needed.\n---\n{body}-- \n2.40.0\n"
    return body.encode()


@cache
def objects() -> tuple[Seed, ...]:
    """Plain object files, and kernel modules with as little as can be."""
    seeds = [
        Seed("walk.o", assemble(WALK.encode(), where="walk.s")),
        Seed("sectioned.o", assemble(SECTIONED.encode(), where="sectioned.s")),
        Seed("narrow.o", assemble(NARROW.encode(), where="narrow.s", bits=32)),
    ]
    if HAS_CC:
        seeds.append(Seed("many.o", compile_c(C_MANY.encode(), where="many.c", extra_flags=["-fno-pie"])))
    for bits in (64, 32):
        least = Module(bits=bits, site=None, record=None, flags=False, padding=2)
        seeds.append(Seed(f"least{bits}.ko", kernel_modules.build(least)))
    return tuple(seeds)


@cache
def modules() -> tuple[Seed, ...]:
    """Kernel modules with everything that is patched in them."""
    chosen = {
        "full64": Module(padding=3),
        "full32": Module(bits=32, padding=3),
        "absolute": Module(table="absolute", record=13, site="nop5", likely=False, key="undefined"),
        "absolute32": Module(bits=32, table="absolute", record=13, site="jmp5"),
        "entered": Module(entry_call=True, record=14, local_symbols=False, reordered=True, pointer="undefined"),
        "thunkless32": Module(bits=32, thunk=False, sized=False, likely=False, site="nop2", marked=True),
        "flags": Module(site=None, thunk=False),
        "key": Module(record=None, flags=False, warm_up=False),
    }
    return tuple(Seed(f"{name}.ko", kernel_modules.build(m), function=m.name) for name, m in chosen.items())


@cache
def compressed() -> tuple[Seed, ...]:
    """Some of them, to be compressed."""
    packings: tuple[Packing, ...] = ("xz", "gz", "zst")
    plain = (objects()[0], modules()[0], modules()[1])
    return tuple(Seed(seed.name, seed.data, seed.function, packing=how) for seed in plain for how in packings)


@cache
def assembly() -> tuple[Seed, ...]:
    """Assembly, in both syntaxes and both widths."""
    walk = (FOLDER / "examples" / "walk.s").read_bytes()
    return (
        Seed("att.s", WALK.encode()),
        Seed("intel.s", INTEL.encode()),
        Seed("narrow.S", NARROW.encode()),
        Seed("sectioned.S", SECTIONED.encode()),
        Seed("walk.s", walk, bind={"rsi": "65536"}),
        Seed("module.s", kernel_modules.source(Module(site=None)).encode(), function="flush_me"),
    )


@cache
def patches() -> tuple[Seed, ...]:
    """Mails and diffs."""
    # Not format-patch.patch: it reads byte by byte, and each judgement takes seconds.
    names = ("archive-page.txt", "plain.diff", "series.mbox")
    mails = {name: (FOLDER / "mails" / name).read_bytes() for name in names}
    # Two of them have a loop over as many bytes as they are told.
    told = {"bytes": "65536"}
    return (
        Seed("archive-page.txt", mails["archive-page.txt"]),
        Seed("plain.diff", mails["plain.diff"], bind=told),
        Seed("series.mbox", mails["series.mbox"], function="l1d_scrub_lines", bind=told),
        Seed("loop.diff", diff_of(C_LOOP, "arch/flush.c")),
        Seed("asm.eml", diff_of(C_ASM, "flush.c", mail=True)),
        Seed("assembly.patch", diff_of(WALK, "flush.S")),
    )


@cache
def c_texts() -> tuple[Seed, ...]:
    """C files."""
    return (
        Seed("loop.c", C_LOOP.encode()),
        Seed("asm.c", C_ASM.encode()),
        Seed("many.c", C_MANY.encode()),
    )
