# SPDX-License-Identifier: GPL-2.0-or-later
"""Two walks that may read the same memory are not the walk of twice as many lines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import function, judged

from l1dflush.ending import Verdict

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
HEAD = """\
#define READ(p) for (int i = 0; i < 32768; i += 64) asm volatile("movb (%0),%%al" :: "r"(p + i) : "eax", "memory")
struct two { char *a, *b; };
struct ring { char *page[4]; unsigned at; };
extern char *now, *next;
extern char *returns(char *page);
extern char *allocate(void);
extern void changes(void);
"""
TAIL = 'asm volatile("lfence" ::: "memory"); }\n'


def source(parameters: str, body: str) -> str:
    return f"{HEAD}void l1d_flush({parameters})\n{{ {body} {TAIL}"


MAY_BE_ONE = {
    "a store at an index": ("struct ring *r, char *p",
                            "r->page[r->at & 3] = p; char *q = r->page[0]; READ(q); READ(p);"),
    "what it was given": ("char *p", "char *q = returns(p); READ(q); READ(p);"),
    "returned twice": ("void", "char *p = allocate(), *q = allocate(); READ(p); READ(q);"),
    "the same element": ("struct ring *r, unsigned a, unsigned b",
                         "char *p = r->page[a & 3], *q = r->page[b & 3]; READ(p); READ(q);"),
    "changed outside": ("void", "char *p = now; changes(); char *q = next; READ(p); READ(q);"),
    "loaded again": ("struct two *s", "char *p = s->a; READ(p); changes(); p = s->a; READ(p);"),
}  # fmt: skip
ARE_TWO = {
    "two inputs": ("char *p, char *q", "READ(p); READ(q);"),
    "two fields": ("struct two *s", "char *p = s->a, *q = s->b; READ(p); READ(q);"),
    "two elements": ("struct ring *r", "char *p = r->page[0], *q = r->page[3]; READ(p); READ(q);"),
    "two variables": ("void", "char *p = now, *q = next; READ(p); READ(q);"),
    "what another input leads to": ("struct two *s, char **t, char *p", "*t = p; char *q = s->a; READ(q); READ(p);"),
    "one, from an allocation": ("void", "char *p = allocate(); READ(p); READ(p + 32768);"),
}


@pytest.mark.parametrize(("parameters", "body"), MAY_BE_ONE.values(), ids=list(MAY_BE_ONE))
@pytest.mark.parametrize("level", ["1", "2"])
def test_what_may_be_one_buffer_proves_nothing(parameters: str, body: str, level: str, tmp_path: Path) -> None:
    result = judged(tmp_path, source(parameters, body), optimize=level)
    assert result.verdict is Verdict.UNDECIDED, result.reason
    assert "may be the same memory" in result.reason or "called during the walk" in result.reason


@pytest.mark.parametrize(("parameters", "body"), ARE_TWO.values(), ids=list(ARE_TWO))
def test_different_inputs_are_different_memory(parameters: str, body: str, tmp_path: Path) -> None:
    assert judged(tmp_path, source(parameters, body)).verdict is Verdict.PROVED


HALVES = ("{}; xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; add $64,%rax; cmp $32768,%rax; jb 1b; xor %eax,%eax; "
          "2: movzbl (%r9,%rax),%ecx; add $64,%rax; cmp $32768,%rax; jb 2b")  # fmt: skip


FLOATING = "mov %rdi,-8(%rsp); fildq -8(%rsp); fistpq -16(%rsp); mov -16(%rsp),%r9"


@pytest.mark.parametrize("made", ["mov $-1,%rdx; pdep %rdx,%rdi,%r9", FLOATING])
def test_what_is_not_followed_may_be_what_it_was_made_of(made: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(HALVES.format(made)))
    assert result.verdict is Verdict.UNDECIDED
    assert judged(tmp_path, function(HALVES.format("mov %rsi,%r9"))).verdict is Verdict.PROVED


@pytest.mark.parametrize("made", ["mov %cr2,%r9", "mov (%rsp),%r9", "pext %rdx,%rsi,%r9"])
def test_only_what_is_handed_over_is_page_aligned(made: str, tmp_path: Path) -> None:
    """From there on 16 lines of each set are read if it is the beginning of a page, else 15 of some."""
    text = HALVES.format(made).replace("xor %eax,%eax; 2:", "mov $2048,%eax; 2:").replace("32768", "26624", 1)
    assert judged(tmp_path, function(text)).verdict is not Verdict.PROVED
