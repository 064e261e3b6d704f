# SPDX-License-Identifier: GPL-2.0-or-later
"""The abstract machine against the emulator: whatever a routine does on some input is one of its paths.

Random programs are traced once, and run on several random inputs at several random places; a run that no path covers is
a lie of the trace. UNDECIDED is none, but the more there is of it, the less this shows: so its share is bounded.
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from math import inf, sqrt
from typing import Literal

import program_runs
import pytest
import random_programs
import seeds
import trace_programs as programs
from fuzzing import Part
from path_cover import Evaluated, Traced, why_not, why_uncovered
from plain_machine import NotForThisError
from test_hostile_code import PIECES

from l1dflush.errors import InputError, UndecidedError
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.tracing import lower
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import Event, Kind, Path
from l1dflush.tracing.operations import Do
from l1dflush.tracing.options import TraceOptions
from l1dflush.verdict import judge
from l1dflush.verdict.caches import caches_of
from l1dflush.verdict.options import VerifyOptions

needs_as = pytest.mark.skipif(not seeds.HAS_AS, reason="the GNU assembler is not installed")
RUNS = 6  # of each program
OPTIONS = TraceOptions(max_paths=256)
# Of a hundred runs so many may be of a program that is UNDECIDED, and so many may leave the memory that they were
# given: then they say nothing. Of the first it is less than 1 now, of the second about 14.
MOST_UNDECIDED, MOST_WITHOUT_USE = 3, 25
COVERED, UNDECIDED, WITHOUT_USE = "covered", "undecided", "of no use"


class UncoveredError(Exception):
    """A run that no path is: which, and why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def traced(data: bytes) -> Traced:
    (routine,) = load_bytes(data, "program.o", LoadOptions(function="program"))
    return Traced(routine, OPTIONS)


def check_runs(text: str, numbers: Sequence[int]) -> Counter[str]:
    """Traces the program, runs it, and counts what came out. Raises UncoveredError."""
    counts: Counter[str] = Counter()
    data = programs.elf(text)
    try:
        found = traced(data)
    except UndecidedError:
        return Counter({UNDECIDED: len(numbers)})
    for number in numbers:
        try:
            run = program_runs.run(data, number)
            reasons = why_uncovered(found.paths, found, run)
        except NotForThisError:
            counts[WITHOUT_USE] += 1
            continue
        counts[COVERED] += 1
        if reasons:
            registers = " ".join(f"{name}={value:#x}" for name, value in run.registers.items())
            raise UncoveredError(number, "\n".join((registers, *reasons)))
    return counts


def smaller(text: str, number: int) -> str:
    """The program without lines that have no part in the failure of this run."""
    lines = text.splitlines()
    step = len(lines) // 4
    while step > 0:
        at = 0
        while at < len(lines):
            fewer = lines[:at] + lines[at + step :]
            with suppress(subprocess.CalledProcessError, InputError, UndecidedError, NotForThisError):
                try:
                    check_runs("\n".join(fewer) + "\n", [number])
                except UncoveredError:
                    lines = fewer
                    continue
            at += step
        step //= 2
    return "\n".join(lines)


def at_most(percent: int, tally: Counter[str]) -> float:
    """So many of the runs, and three standard deviations: the runs of a program mostly all end alike, so the dice are
    thrown for each program."""
    share, programs = percent / 100, tally.total() / RUNS
    return RUNS * (share * programs + 3 * sqrt(share * (1 - share) * programs))


@needs_as
def test_runs_of_random_programs(shard: Part, tally: Counter[str]) -> None:
    for seed in range(shard.seed, shard.seed + shard.inputs):
        text = random_programs.program(seed)
        try:
            tally.update(check_runs(text, range(seed * RUNS, (seed + 1) * RUNS)))
        except UncoveredError as error:
            least = smaller(text, error.number)
            pytest.fail(f"program {seed}, run {error.number}\n{error}\nof the program\n{text}\nor less\n{least}")
    assert tally[UNDECIDED] <= at_most(MOST_UNDECIDED, tally)
    assert tally[WITHOUT_USE] <= at_most(MOST_WITHOUT_USE, tally)


def test_random_bytes(shard: Part, tally: Counter[str]) -> None:
    """As code, as far as the report: a verdict."""
    options = TraceOptions(max_seconds=1, max_instructions=20_000, max_paths=16)
    asked = VerifyOptions(cpus=("skylake",))
    caches = caches_of(asked)
    widths: tuple[Literal[32, 64], ...] = (32, 64)
    for seed in range(shard.seed, shard.seed + shard.inputs):
        dice = random.Random(seed)
        if dice.random() < 0.5:
            code = dice.randbytes(dice.randrange(1, 25))
        else:
            pieces = (dice.choice((dice.choice(PIECES), dice.randbytes(1))) for _ in range(dice.randrange(1, 13)))
            code = b"".join(pieces)
        bits = dice.choice(widths)
        try:
            found = trace(programs.code_only(code + b"\xc3", bits), options)
            result = judge._judge(found, (), caches, asked, inf)
            shown = [*verify_lines(result, 80), result.to_json()]
        except UndecidedError as error:
            assert str(error).isprintable(), (seed, code.hex())
            tally[error.cause] += 1
        except BaseException:
            print(f"seed {seed}, {bits} bits: {code.hex()}")  # noqa: T201  # pytest shows it with the failure
            raise
        else:
            assert found.paths and any(map(str, shown)), (seed, code.hex())
            tally[result.verdict] += 1


# --- the judge is judged ---------------------------------------------------------------------------------------------


def _changed(path: Path, number: int, event: Event | None) -> Path:
    """The path with another event in place of one, or without it."""
    events = [*path.events[:number], *([] if event is None else [event]), *path.events[number + 1 :]]
    return Path(path.decisions, tuple(events), path.instructions, path.end)


@needs_as
@pytest.mark.parametrize("seed", range(4))
def test_a_path_that_is_slightly_wrong_does_not_cover(seed: int) -> None:
    dice = random.Random(seed)
    data = programs.elf(random_programs.program(seed))
    found = traced(data)
    for number in range(RUNS):
        with suppress(NotForThisError):
            run = program_runs.run(data, number)
            evaluated = Evaluated(found, run)
            path = next(path for path in found.paths if why_not(path, found, run, evaluated) is None)
            at = dice.choice([i for i, event in enumerate(path.events) if event.kind in (Kind.LOAD, Kind.STORE)])
            event = path.events[at]
            other = Kind.STORE if event.kind is Kind.LOAD else Kind.LOAD
            wrong = (None, event._replace(size=event.size + 1), event._replace(kind=other),
                     event._replace(pc=event.pc + 1))  # fmt: skip
            for one in wrong:
                assert why_uncovered([_changed(path, at, one)], found, run)
            assert why_uncovered([], found, run)


# What a machine would get wrong that takes the one operation for the other.
@needs_as
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("INT_XOR", Do.BIT_OR), ("INT_OR", Do.BIT_XOR), ("INT_SEXT", Do.WIDEN), ("INT_SRIGHT", Do.SHIFT_RIGHT),
        ("INT_LESS", Do.BELOW_SIGNED), ("INT_SLESS", Do.BELOW), ("INT_SBORROW", Do.CARRIES_SIGNED),
        ("INT_CARRY", Do.CARRIES_SIGNED), ("BOOL_OR", Do.TRUTH_XOR), ("INT_EQUAL", Do.NOT_EQUAL),
    ],
)  # fmt: skip
def test_a_machine_that_is_wrong_is_found_out(name: str, wrong: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lower._PLAIN, name, wrong)
    with pytest.raises(UncoveredError):
        for seed in range(150):
            check_runs(random_programs.arithmetic_program(seed), range(seed * RUNS, (seed + 1) * RUNS))


@needs_as
def test_what_arithmetic_comes_to() -> None:
    counts: Counter[str] = Counter()
    for seed in range(60):
        counts += check_runs(random_programs.arithmetic_program(seed), range(seed * RUNS, (seed + 1) * RUNS))
    assert counts[COVERED] > 4 * (counts[UNDECIDED] + counts[WITHOUT_USE])


@needs_as
def test_inputs_go_several_ways() -> None:
    """Of programs with several paths mostly more than one is gone."""
    several, more = 0, 0
    for seed in range(12):
        data = programs.elf(random_programs.program(seed))
        found = traced(data)
        gone = set()
        for number in range(2 * RUNS):
            with suppress(NotForThisError):
                run = program_runs.run(data, number)
                evaluated = Evaluated(found, run)
                gone.add(next(i for i, path in enumerate(found.paths) if why_not(path, found, run, evaluated) is None))
        several += len(found.paths) > 1
        more += len(gone) > 1
    assert several >= 4
    assert more >= several // 2


@needs_as
@pytest.mark.parametrize(
    "body",
    [
        # Loaded twice; what is between may have changed it, or not.
        """
        mov 8(%rdi), %rax
        and $24, %ecx
        mov %rdx, (%rdi,%rcx)
        mov 8(%rdi), %rbx
        movl $1, (%rbx)
        movl $0, (%rax)
        cmpl $1, (%rbx)
        """,
        # Stored to where it may be loaded from.
        """
        and $24, %ecx
        mov %rdi, (%rsi,%rcx)
        mov 8(%rsi), %rbx
        movl $1, (%rdi)
        movl $0, (%rbx)
        cmpl $1, (%rdi)
        """,
    ],
)
def test_pointers_that_may_be_the_same(body: str) -> None:
    head = "        .text\n        .globl program\n        .type program, @function\nprogram:"
    tail = "        jne 1f\n        mov (%rdi), %r10\n1:      ret\n        .size program, .-program\n"
    check_runs(f"{head}{body}\n{tail}", range(40))
