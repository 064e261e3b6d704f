# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verdict takes for granted: all of it by name in the result, what is particular to it in the text too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.assumption import Assumes, Assumption
from l1dflush.verdict.described import AT_ENTRY, TAKEN_FOR_GRANTED, assumed
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

THEORY = (Path(__file__).parents[2] / "docs" / "theory.md").read_text()


def test_what_every_verdict_takes_for_granted_is_in_it(tmp_path: Path) -> None:
    scope = judged(tmp_path, function(WALK)).scope
    granted = set(scope.taken_for_granted)
    assert granted >= {*assumed(TAKEN_FOR_GRANTED), *assumed([AT_ENTRY])}
    assert not set(scope.particular) & {*assumed(TAKEN_FOR_GRANTED), *assumed([AT_ENTRY])}


def test_inside_a_function_nothing_is_known_of_its_entry(tmp_path: Path) -> None:
    code = tmp_path / "inside.s"
    code.write_text(function("nop", "middle:", WALK))
    inside = verify(str(code), VerifyOptions(cpus=("skylake",), start="middle"))
    assert AT_ENTRY.kind not in {one.kind for one in inside.scope.taken_for_granted}


PARTICULAR = {
    "an instruction that may fail": ("vmwrite %rsi,%rdx", "VMX instructions"),
    "a division": ("xor %edx,%edx; mov $7,%eax; div %rsi", "divisions"),
    "a store into the buffer": ("movb %cl,(%rdi)", "allocates on writes"),
}


@pytest.mark.parametrize(("code", "says"), PARTICULAR.values(), ids=PARTICULAR)
def test_what_is_granted_for_this_routine_is_named(code: str, says: str, tmp_path: Path) -> None:
    with_it, without = judged(tmp_path, function(code, WALK)).scope, judged(tmp_path, function(WALK)).scope
    assert any(says in one.text for one in with_it.particular)
    assert not any(says in one.text for one in without.taken_for_granted)


@pytest.mark.parametrize(
    "words", ["aligned to 8 bytes", "write-back", "between two reads", "fs and gs", "direction flag"]
)
def test_the_manual_has_each_of_them(words: str) -> None:
    listed = THEORY.partition("## What every verdict takes for granted")[2].partition("\n## ")[0]
    assert words in listed and any(words in str(one) for one in (*TAKEN_FOR_GRANTED, AT_ENTRY))


def test_the_manual_has_each_kind_with_its_words() -> None:
    table = THEORY.partition("| kind | words |")[2].partition("\n\n")[0]
    words = {kind: Assumption(kind, () if kind is Assumes.OTHERS else ("…", "…")) for kind in Assumes}
    assert table.splitlines()[2:] == [f"| `{kind}` | {one} |" for kind, one in words.items()]
    touched = str(Assumption(Assumes.OTHERS, ("2",)))
    assert touched == str(Assumption(Assumes.OTHERS)).replace(":", ", beyond 2 to one set:")
