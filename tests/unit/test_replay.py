# SPDX-License-Identifier: GPL-2.0-or-later
"""Counterexamples played again: true ones of every kind, and files that lie about any of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.cache.policy.machine import MachinePolicy, parse_machine
from l1dflush.cache.policy.machine_table import table_text
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.report.layout import plain
from l1dflush.report.terminal.replay import replay_parts
from l1dflush.tracing.region import BUFFER, STACK
from l1dflush.verdict.counterexample_result import CounterexampleInfo, LineInfo, LineKind
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.replay.replayed import replayed
from l1dflush.verdict.replay.result import FileLiesError

FOLDER = Path(__file__).parents[1] / "data" / "learned-policies"
MACHINES = sorted(FOLDER.glob("*/*.dot"))
FILL_AND_FLUSH = """
	.globl flush
	.type flush, @function
flush:	xor %eax, %eax
1:	movzbl (%rdi, %rax), %ecx
	add $64, %rax
	cmp $8192, %rax
	jne 1b
	xor %eax, %eax
4:	clflush (%rdi, %rax)
	clflush 0x5000(%rdi, %rax)
	movzbl 0x1000(%rdi, %rax), %ecx
	add $64, %rax
	cmp $4096, %rax
	jne 4b
	xor %eax, %eax
2:	prefetcht0 8192(%rdi, %rax)
	add $64, %rax
	cmp $16384, %rax
	jne 2b
	xor %eax, %eax
3:	movzbl (%rdi, %rax), %ecx
	add $64, %rax
	cmp $4096, %rax
	jne 3b
	lfence
	ret
	.size flush, . - flush
"""


@cache
def example(policy: Any, geometry: str, routine: str = "one-pass", **conditions: Any) -> CounterexampleInfo:
    start = Start.parse(conditions.pop("start", "any+invalid"))
    options = VerifyOptions(
        policy=policy, geometry=Geometry.parse(geometry), conditions=Conditions(start, **conditions)
    )
    found = verify(routine, options).rows[0].counterexample
    assert found is not None
    return found


def test_examples_of_every_kind_are_true(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.s"
    mixed.write_text(FILL_AND_FLUSH)
    made = [
        example("FIFO", "32K,8,64"),
        example("tree-PLRU", "32K,8,64", touches=2, start="any"),
        example("random", "16K,4,64"),
        example("QLRU_H00_M1_R2_U1", "16K,4,64", touches=1),
        example("LRU", "16K,4,64", str(mixed)),
    ]
    results = {step.result for one in made for step in one.steps}
    assert results == {"hit", "miss", "fill", "flushed", "not-cached", "dropped"}
    for one in made:
        again = replayed(CounterexampleInfo.model_validate_json(one.model_dump_json()))
        assert again.after[-1].content == tuple(None if name == "invalid" else name for name in one.end)
        text = "".join(plain(part) for part in replay_parts(again, 80))
        assert max(map(len, text.splitlines())) <= 80
        assert "as the file says" in text


@pytest.mark.parametrize("file", MACHINES, ids=lambda file: file.stem)
def test_a_machine_survives_as_a_table(file: Path) -> None:
    machine = parse_machine(file.read_text(), file.name)
    again = parse_machine(table_text(machine), file.name)
    assert again.states == machine.states and again.empty() == machine.empty()
    for number in range(len(machine.states)):
        state = (number,)
        assert again.misses(state) == machine.misses(state)
        assert [again.hits(state, way) for way in range(machine.ways)] == [
            machine.hits(state, way) for way in range(machine.ways)
        ]


def test_a_machine_with_fills_chances_and_odd_names() -> None:
    text = (
        "ways 1\nstart a\na hit 0 -> a\na miss -> 0 a 1/3\na miss -> 0 b 2/3\na fill 0 -> b\n"
        "b hit 0 -> b\nb hit 0 -> a\nb miss -> 0 a\nb fill 0 -> b\n"
    )
    assert table_text(parse_machine(text, "x")) == text
    odd = MachinePolicy("x", ["# b", "ways"], 0, [[(0,)], [(1,)]], [((0, 1, None),)] * 2, None)
    assert parse_machine(table_text(odd), "x").states == ("s0", "s1")


def test_an_example_of_a_machine_has_the_machine() -> None:
    machine = parse_machine((FOLDER / "hw" / "haswell_l1.dot").read_text(), "haswell_l1.dot")
    found = example(machine, "32K,8,64", start="any")
    assert found.machine is not None and found.machine.startswith("ways 8\n")
    assert replayed(found).policy.name == "haswell_l1.dot"
    with pytest.raises(InputError, match=r"unknown replacement policy 'haswell_l1\.dot'"):
        replayed(found.model_copy(update={"machine": None}))
    with pytest.raises(InputError, match=r"haswell_l1\.dot:1: "):
        replayed(found.model_copy(update={"machine": "digraph"}))


def test_a_loop_counter_called_i_is_no_old_line(tmp_path: Path) -> None:
    source = tmp_path / "counter.s"
    source.write_text(
        "\t.globl flush\n\t.type flush, @function\nflush:\txor %eax, %eax\n1:\tincl i(%rip)\n"
        "\tmovzbl (%rdi, %rax), %ecx\n\tadd $64, %rax\n\tcmp $65536, %rax\n\tjne 1b\n\tlfence\n\tret\n"
        "\t.size flush, . - flush\n\t.local i\n\t.comm i, 4, 4\n"
    )
    found = example("tree-PLRU", "32K,8,64", str(source))
    names = {step.access for step in found.steps}
    assert "`i`" in names and "i" not in names
    replayed(found)


def test_what_lines_are_is_told_as_facts(tmp_path: Path) -> None:
    source = tmp_path / "counter.s"
    source.write_text(
        "\t.globl flush\n\t.type flush, @function\nflush:\txor %eax, %eax\n1:\tincl -16(%rsp)\n"
        "\tmovzbl (%rdi, %rax), %ecx\n\tadd $64, %rax\n\tcmp $65536, %rax\n\tjne 1b\n\tlfence\n\tret\n"
        "\t.size flush, . - flush\n"
    )
    found = example("tree-PLRU", "32K,8,64", str(source))
    told = {line.name: (line.kind, line.region, line.offset) for line in found.lines}
    buffer = [where for where in told.values() if where[0] is LineKind.BUFFER]
    assert all(region == BUFFER and offset == 4096 * number + 64 * found.set_index
               for number, (_, region, offset) in enumerate(sorted(buffer, key=lambda one: one[2] or 0)))  # fmt: skip
    assert len(buffer) == len({step.access for step in found.steps if step.access.startswith("buffer")}) > 8
    # The line of the counter may begin anywhere in the 64 bytes before it.
    ((kind, _, offset),) = (where for where in told.values() if where[1] == STACK)
    assert kind is LineKind.OWN and offset is not None and -16 - 60 <= offset <= -16
    assert {told[line] for line in found.start if len(line) == 1} == {(LineKind.OLD, None, None)}
    found = example("tree-PLRU", "32K,8,64", touches=1, start="any")
    touched = {step.access for step in found.steps if step.by_others}
    assert touched and not touched & found.named(LineKind.OWN)


def step(number: int, **changes: Any) -> Callable[[CounterexampleInfo], CounterexampleInfo]:
    def change(one: CounterexampleInfo) -> CounterexampleInfo:
        steps = list(one.steps)
        steps[number - 1] = steps[number - 1].model_copy(update=changes)
        return one.model_copy(update={"steps": tuple(steps)})

    return change


def whole(**changes: Any) -> Callable[[CounterexampleInfo], CounterexampleInfo]:
    return lambda one: one.model_copy(update=changes)


def twice(one: CounterexampleInfo) -> CounterexampleInfo:
    return one.model_copy(update={"lines": (*one.lines, one.lines[0])})


def brought_in(one: CounterexampleInfo) -> CounterexampleInfo:
    other = LineInfo(name="other1", kind=LineKind.OTHERS)
    told = one.model_copy(update={"lines": (*one.lines, other)})
    return step(4, result="miss", access="other1")(told)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (step(1, result="hit"), "step 1 is not what tree-PLRU does: miss in way 0, and the file says hit in way 0"),
        (step(1, result="fill"), "step 1 replaces a line, and the file says fill"),
        (step(2, way=7), "step 2 is not what tree-PLRU does"),
        (step(2, way=8), "step 2: there is no such result, or no such way"),
        (step(2, way=-1), "step 2: there is no such result, or no such way"),
        (step(2, way=None), "step 2 is not what tree-PLRU does"),
        (step(3, evicted="h"), "step 3 evicts"),
        (step(3, evicted=None), "step 3 evicts"),
        (step(3, leftovers=0), "step 3 has so many old lines left: 5, and the file says 0"),
        (step(3, policy_state=(0,) * 7), "step 3"),
        (step(3, access="a"), "step 3: the routine accesses an old line"),
        (step(3, access="buffer"), "step 3 is not what tree-PLRU does"),
        (step(4, access="b"), "step 4"),
        (step(4, way=None), "step 4: others cannot do that"),
        (step(4, result="dropped"), "step 4: there is no such result"),
        (brought_in, "step 4 is not what tree-PLRU does"),
        (step(9, result="flushed"), "step 9 is not what tree-PLRU does"),
        (whole(start=("a", *"abcdefg")), "at the start a line is in two ways"),
        (whole(lines=()), "the lines that are told are not those that take part"),
        (twice, "the lines that are told are not those that take part"),
        (whole(policy_state=(9, 9)), "at the start tree-PLRU cannot be in the state"),
        (whole(policy_state=(10**30,) * 7), "at the start tree-PLRU cannot be in the state"),
        (whole(policy_state=(5,) * 7), "step 1 is not what tree-PLRU does: miss in way 7"),
        (whole(start_state="tree bits 1 11 1111"), "the state at the start is not what the file calls it"),
        (whole(end=("a",) * 8), "after the last step the set is not what the file says"),
        (whole(end_state=""), "after the last step the set is not what the file says"),
        (whole(leftovers=1), "after the last step the set is not what the file says"),
    ],
)
def test_lies_are_found(lie: Callable[[CounterexampleInfo], CounterexampleInfo], told: str) -> None:
    true = example("tree-PLRU", "32K,8,64", touches=1, start="any")
    replayed(true)
    with pytest.raises(FileLiesError) as caught:
        replayed(lie(true))
    assert str(caught.value).startswith(told)


def test_a_run_that_leaves_nothing_is_no_counterexample() -> None:
    true = example("tree-PLRU", "32K,8,64", start="any")

    own = {"kind": LineKind.OWN, "region": STACK, "offset": 0}
    lines = tuple(one.model_copy(update=own) if one.kind is LineKind.OLD else one for one in true.lines)
    steps = tuple(one.model_copy(update={"leftovers": 0}) for one in true.steps)
    nothing = true.model_copy(update={"lines": lines, "steps": steps, "leftovers": 0})
    with pytest.raises(FileLiesError, match="after the last step no old line is left"):
        replayed(nothing)


@pytest.mark.parametrize("policy", ["LRU", "FIFO", "CLOCK", "LRU2PLRU4", "bit-PLRU", "QLRU_H11_M1_R1_U2", "BRRIP"])
def test_impossible_states_are_a_lie_or_harmless(policy: str) -> None:
    length = len(get_policy(policy, 8).empty())
    for number in (0, 1, 3, 7, 8, 99, 1_000_000, -1):
        true = example("tree-PLRU", "32K,8,64", touches=1, start="any")
        with pytest.raises(FileLiesError):
            replayed(true.model_copy(update={"policy": policy, "policy_state": (number,) * length}))


@pytest.mark.parametrize(
    "change",
    [whole(start=()), whole(start=("a",) * 99), whole(policy_state=None), whole(policy="nope"), whole(machine="x")],
)
def test_what_cannot_be_played(change: Callable[[CounterexampleInfo], CounterexampleInfo]) -> None:
    with pytest.raises(InputError):
        replayed(change(example("tree-PLRU", "32K,8,64")))
