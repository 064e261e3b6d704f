# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes, indices and flags that are one of a few numbers: branches on them go the ways that they go for some number,
and no others. The oracle is plain Python, which tries all numbers of the bytes that they are made of.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence

import pytest
from thorough import examples
from trace_programs import traced

from l1dflush.errors import UndecidedError
from l1dflush.tracing.model import ArenaKind

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
M32 = 0xFFFFFFFF
REST_BY_5 = "imul $205,%eax,%edx; shr $10,%edx; lea (%rdx,%rdx,4),%edx; sub %edx,%eax"
Step = tuple[str, Callable[[int, int], int]]


def signed(x: int, bits: int = 32) -> int:
    return (x & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)


def begin(dice: random.Random) -> Step:
    """``eax`` from the byte x in ``dil``, and ``ecx`` from y in ``sil``: few bits of it."""
    low, bits = dice.randrange(6), dice.choice((1, 2, 3, 5, 6))
    return dice.choice([
        (f"movzbl %dil,%eax; shr ${low},%eax; and ${bits},%eax", lambda x, _: x >> low & bits),
        (f"movsbl %dil,%eax; sar ${low},%eax; and ${bits},%eax", lambda x, _: signed(x, 8) >> low & bits),
        (f"movzbl %dil,%eax; and ${bits << low},%eax", lambda x, _: x & bits << low & 255),
        ("movsbl %dil,%eax", lambda x, _: signed(x, 8) & M32),
        (f"movzbl %dil,%eax; {REST_BY_5}", lambda x, _: x % 5),
    ])  # fmt: skip


def step(dice: random.Random) -> Step:
    n, by = dice.randrange(1, 200), dice.randrange(1, 15)
    return dice.choice([
        (f"add ${n},%eax", lambda a, _: a + n & M32),
        (f"sub ${n},%eax", lambda a, _: a - n & M32),
        (f"neg %eax; add ${n},%eax", lambda a, _: n - a & M32),
        (f"shl ${by},%eax", lambda a, _: a << by & M32),
        (f"shr ${by},%eax", lambda a, _: a >> by),
        (f"xor ${n},%eax", lambda a, _: a ^ n),
        (f"or ${n},%eax", lambda a, _: a | n),
        (f"imul ${n},%eax,%eax", lambda a, _: a * n & M32),
        ("movzbl %sil,%ecx; and $3,%ecx; shl %cl,%eax", lambda a, y: a << (y & 3) & M32),
        ("movzbl %sil,%ecx; and $1,%ecx; add %ecx,%eax", lambda a, y: a + (y & 1) & M32),
        ("push %rax; movl $77,%eax; pop %rax", lambda a, _: a),
        ("mov %eax,-8(%rsp); movzwl -8(%rsp),%eax", lambda a, _: a & 0xFFFF),
        ("movsbl %al,%eax", lambda a, _: signed(a, 8) & M32),
    ])  # fmt: skip


JUMPS: dict[str, Callable[[int, int], bool]] = {
    "jb": lambda a, n: a < n,
    "ja": lambda a, n: a > n,
    "jl": lambda a, n: signed(a) < signed(n),
    "jg": lambda a, n: signed(a) > signed(n),
    "je": lambda a, n: a == n,
    "js": lambda a, n: signed(a - n) < 0,
}


def program(dice: random.Random) -> tuple[str, Callable[[int, int], tuple[int, ...]], int]:
    """Some steps, and comparisons with what comes out for some numbers or near it, or between; where one does not jump
    a line is read. Which lines are, by x and y; and how many numbers come out."""
    steps: Sequence[Step] = [begin(dice), *(step(dice) for _ in range(dice.randrange(1, 5)))]

    def value(x: int, y: int) -> int:
        a = x
        for _, does in steps:
            a = does(a, y)
        return a

    asks = []
    for _ in range(dice.randrange(2, 6)):
        number = value(dice.randrange(256), dice.randrange(256)) + dice.choice((0, 0, 1, -1)) & M32
        asks.append((dice.choice(list(JUMPS)), number))
    found = {value(x, y) for x in range(256) for y in range(4)}
    if dice.random() < 0.5:
        # As a loop asks again and again.
        asks += [("jb", min(found) + turn * (max(found) - min(found)) // 100) for turn in range(100)]
    text = "\n".join(text for text, _ in steps)
    for at, (jump, number) in enumerate(asks):
        text += f"\ncmp ${signed(number)},%eax; {jump} 1f; movzbl {64 * at}(%r8),%ecx; 1:"

    def reads(x: int, y: int) -> tuple[int, ...]:
        return tuple(64 * at for at, (jump, number) in enumerate(asks) if not JUMPS[jump](value(x, y), number))

    return f"{text}\nret", reads, len(found)


@pytest.mark.parametrize("seed", range(examples(80, 800)))
def test_branches_go_the_ways_that_some_number_goes(seed: int) -> None:
    text, reads, numbers = program(random.Random(seed))
    wanted = {reads(x, y) for x in range(256) for y in range(4)}
    # Of more numbers than are kept apart it may be said that there are too many paths, and no more.
    try:
        trace = traced(text, 64)
    except UndecidedError as error:
        assert error.cause == "too-many-paths" and numbers > 8, text
        return
    found = {
        tuple(e.offset for e in path.events if e.arena is not None and e.arena.kind is ArenaKind.INPUT)
        for path in trace.paths
    }
    assert found == wanted, text
