# SPDX-License-Identifier: GPL-2.0-or-later
"""Known-good routines are proved, known-bad ones refuted, and what is wrong besides is found.

Every routine is a changed version of the loop that Linux runs; on tree-PLRU with 8 ways unless said otherwise.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import all_states, get_policy
from l1dflush.ending import Verdict
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

WARM_UP = """
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $4096, %eax
        cmp     $65536, %eax
        jne     1b
        push    %rbx
        xor     %eax, %eax
        cpuid
        pop     %rbx
"""
FILL = """
        xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %eax
        cmp     $65536, %eax
        jne     2b
"""
END = "        lfence\n"


def function(body: str, extra: str = "") -> str:
    return (
        f"        .text\n        .globl l1d_flush\n        .type l1d_flush, @function\nl1d_flush:\n{body}        ret\n"
        f"        .size l1d_flush, .-l1d_flush\n{extra}"
    )


def loop(first: int, end: int, step: int, load: str = "movzbl (%rdi,%rax), %ecx") -> str:
    return f"        mov ${first}, %eax\n7:      {load}; add ${step}, %eax; cmp ${end}, %eax; jne 7b\n"


def unrolled() -> str:
    loads = "".join(f"        movzbl  {64 * i}(%rdi,%rax), %ecx\n" for i in range(8))
    return f"        xor %eax, %eax\n2:\n{loads}        add $512, %eax\n        cmp $65536, %eax\n        jne 2b\n"


def pages(order: list[int]) -> str:
    return "".join(loop(4096 * page, 4096 * page + 4096, 64) for page in order)


@dataclass(frozen=True)
class Case:
    name: str
    body: str
    verdict: Verdict
    findings: tuple[str, ...] = ()
    has: int | None = 16
    leftovers: int | None = None
    policy: str = "tree-PLRU"
    extra: str = ""
    exact: bool = False
    bind: dict[str, str] = field(default_factory=dict)


P, R = Verdict.PROVED, Verdict.REFUTED
CASES = (
    Case("as it is", WARM_UP + FILL + END, P, exact=True),
    Case(
        "read downwards",
        WARM_UP
        + "        mov $65536, %eax\n2:      sub $64, %eax; movzbl (%rdi,%rax), %ecx; test %eax, %eax; jnz 2b\n"
        + END,
        P,
        exact=True,
    ),
    Case("unrolled by 8", WARM_UP + unrolled() + END, P, exact=True),
    Case(
        "nested loops",
        WARM_UP
        + "        mov $16, %edx\n8:      mov $64, %esi\n9:      movzbl (%rdi), %ecx; add $64, %rdi; dec %esi; jnz 9b\n"
        + "        dec %edx; jnz 8b\n"
        + END,
        P,
        exact=True,
    ),
    Case(
        "nested loops with an index",
        WARM_UP
        + "        mov %rdi, %r8; lea 65536(%rdi), %r9\n8:      xor %eax, %eax\n"
        + "9:      movzbl (%r8,%rax), %ecx; add $64, %eax; cmp $4096, %eax; jne 9b\n"
        + "        add $4096, %r8; cmp %r9, %r8; jne 8b\n"
        + END,
        P,
        exact=True,
    ),
    Case("AVX-512 loads", WARM_UP + loop(0, 65536, 64, "vmovdqa64 (%rdi,%rax), %zmm0") + END, P, exact=True),
    Case(
        "rep lodsb",
        WARM_UP + "        mov %rdi, %rsi\n        mov $65536, %ecx\n        rep lodsb\n" + END,
        P,
        exact=True,
    ),
    Case("52 KiB", WARM_UP.replace("65536", "53248") + loop(0, 53248, 64) + END, P, has=13, exact=True),
    Case("13 accesses over 10 pages", pages([0, 1, 2, 3, 4, 5, 6, 7, 0, 8, 9, 1, 2]) + END, P, has=10),
    Case("32 KiB on LRU", loop(0, 32768, 64) + END, P, has=8, policy="LRU"),
    Case(
        "one page skipped",
        WARM_UP + loop(0, 20480, 64) + loop(24576, 65536, 64) + END,
        P,
        ("skipped-line",),
        has=15,
    ),
    Case(
        "first page skipped",
        FILL.replace("xor     %eax, %eax", "mov $4096, %eax") + END,
        P,
        ("skipped-line",),
        has=15,
    ),
    Case("one line early", WARM_UP + loop(0, 65472, 64) + END, P, ("skipped-line",), has=15),
    Case("no fence at the end", WARM_UP + FILL, P, ("no-fence",)),
    Case("no warm-up", FILL + END, P, ("no-warm-up",)),
    Case("no serialisation", WARM_UP.replace("cpuid", "nop") + FILL + END, P, ("no-serialisation",)),
    Case(
        "own storage walked",
        "        lea     flush_pages(%rip), %rdi\n" + WARM_UP + FILL + END,
        P,
        ("own-storage",),
        extra="        .bss\n        .type flush_pages, @object\n        .size flush_pages, 8\nflush_pages: .zero 8\n",
    ),
    Case(
        "own storage of an outside symbol walked",
        "        lea     flush_pages(%rip), %rdi\n" + WARM_UP + FILL + END,
        P,
        ("own-storage",),
    ),
    Case(
        "own storage walked into another section",
        "        lea     flush_pages(%rip), %rdi\n" + WARM_UP + FILL + END,
        P,
        ("own-storage",),
        extra="        .bss; .type flush_pages, @object; .size flush_pages, 8\nflush_pages: .zero 8\n"
        '        .section .data.more, "aw"\n.zero 4096\n',
    ),
    Case(
        "a symbol that is the buffer",
        "        lea     flush_area(%rip), %rdi\n" + WARM_UP + FILL + END,
        P,
        extra="  .bss; .balign 4096; .type flush_area, @object; .size flush_area, 65536\nflush_area: .zero 65536\n",
        exact=True,
    ),
    Case("wrong base register", (WARM_UP + FILL + END).replace("(%rdi", "(%r12"), P, ("undefined-register",)),
    Case("48 KiB", WARM_UP.replace("65536", "49152") + loop(0, 49152, 64) + END, R, has=12, leftovers=1),
    Case("two passes over 32 KiB", loop(0, 32768, 64) * 2 + END, R, has=8),
    Case("two passes over 32 KiB on FIFO", loop(0, 32768, 64) * 2 + END, R, has=8, policy="FIFO"),
    Case("step 128", WARM_UP + loop(0, 65536, 128) + END, R, ("skipped-line",), has=0, leftovers=8),
    Case("prefetcht0", WARM_UP + loop(0, 65536, 64, "prefetcht0 (%rdi,%rax)") + END, R, has=0),
    Case("prefetchnta", WARM_UP + loop(0, 65536, 64, "prefetchnta (%rdi,%rax)") + END, R, has=0),
    Case("clflush only", WARM_UP + loop(0, 65536, 64, "clflush (%rdi,%rax)") + END, R, has=0),
    Case(
        "loop counter in memory",
        WARM_UP
        + "        movq $0, -8(%rsp)\n2:      mov -8(%rsp), %rax; movzbl (%rdi,%rax), %ecx; addq $64, -8(%rsp)\n"
        + "        cmpq $65536, -8(%rsp)\n        jne 2b\n"
        + END,
        R,
        ("own-line-in-walk",),
        leftovers=3,
    ),
)


def judge(path: Path, case: Case) -> VerifyResult:
    path.write_text(function(case.body, case.extra))
    options = VerifyOptions(policy=case.policy, geometry=Geometry(32768, 8, 64), bind=case.bind, max_seconds=60)
    return verify(str(path), options)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_changed_routine(case: Case, tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.s", case)
    (row,) = result.rows
    assert result.verdict is case.verdict, result.reason
    assert row.has == case.has
    ids = {finding.id for finding in result.findings}
    assert set(case.findings) <= ids
    if case.exact:
        assert not {f.id for f in result.findings if f.severity != "note"}
    if case.leftovers is not None:
        assert row.leftovers == case.leftovers
    if case.verdict is P and row.needs is not None and row.has is not None:
        assert row.margin == (row.has - row.needs if row.has >= row.needs else None)
    if case.verdict is R:
        assert row.counterexample is not None
        assert row.counterexample.leftovers >= 1


def test_error_findings_are_errors(tmp_path: Path) -> None:
    for case in CASES:
        if {"own-storage", "undefined-register"} & set(case.findings):
            result = judge(tmp_path / "flush.s", case)
            assert any(f.severity == "error" and f.id in case.findings for f in result.findings), case.name


def replayed(
    row_policy: str, ways: int, start: tuple[str, ...], accesses: list[tuple[str, str]], state: object
) -> list[str | None]:
    """Plays a counterexample by hand on the plain policy; returns the content at the end."""
    policy = get_policy(row_policy, ways)
    content: list[str | None] = [None if line == "invalid" else line for line in start]
    for access, result in accesses:
        if result == "dropped":
            continue
        if access in content:
            assert result == "hit"
            state = policy.hit(state, content.index(access))
        else:
            empty = None in content
            assert result == ("fill" if empty else "miss")
            way = content.index(None) if empty else policy.victim(state)
            content[way] = access
            state = policy.fill(state, way, empty)
    return content


@pytest.mark.parametrize("name", ["48 KiB", "two passes over 32 KiB", "loop counter in memory", "prefetcht0"])
def test_counterexamples_replay_and_are_small(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    (row,) = judge(tmp_path / "flush.s", case).rows
    example = row.counterexample
    assert example is not None and example.smallest
    policy = get_policy(example.policy, 8)
    state = next(s for s in all_states(policy) if policy.render(s) == example.start_state)
    end = replayed(example.policy, 8, example.start, [(s.access, s.result) for s in example.steps], state)
    assert tuple(end) == example.end
    assert sum(len(line or "") == 1 for line in end) == example.leftovers >= 1
    # Small: most of the set holds no buffer line at the start.
    assert sum(len(line) == 1 or line == "invalid" for line in example.start) >= 4


def test_twelve_ways_keep_two_lines() -> None:
    """Linux's 64 KiB on the 48 KiB L1D: the counterexample is replayed step by step in plain Python."""
    result = verify("linux-4.9.120", VerifyOptions(policy="LRU3PLRU4", geometry=Geometry(49152, 12, 64)))
    (row,) = result.rows
    assert (row.needs, row.has, row.margin, row.leftovers, row.verdict) == (21, 16, -5, 2, R)
    example = row.counterexample
    assert example is not None
    policy = get_policy("LRU3PLRU4", 12)
    state = next(s for s in all_states(policy) if policy.render(s) == example.start_state)
    end = replayed("LRU3PLRU4", 12, example.start, [(s.access, s.result) for s in example.steps], state)
    assert tuple(end) == example.end
    assert sum(len(line or "") == 1 for line in end) == example.leftovers >= 1


@pytest.mark.parametrize("policy", ["QLRU_H00_M1_R2_U1", "SRRIP-HP"])
def test_sixty_four_accesses_are_enough_for_sixteen_ways_with_ages(policy: str) -> None:
    """Too many states to search, but more accesses than a sound bound wants, also in sets that are warmed up."""
    options = VerifyOptions(policy=policy, geometry=Geometry(16384, 16, 64), max_seconds=60)
    result = verify("linux-4.9.120", options)
    (row,) = result.rows
    assert (row.has, row.leftovers, row.verdict) == (64, 0, P)
