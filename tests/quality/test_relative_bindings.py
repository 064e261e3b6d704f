# SPDX-License-Identifier: GPL-2.0-or-later
"""`--bind` relative to another input: a range that ends so many bytes behind where it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from flush_programs import function, judged

from l1dflush.ending import Verdict
from l1dflush.errors import InputError

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)

RANGE = (Path(__file__).parents[1] / "data" / "trials" / "compiled" / "start-end.c").read_text()
# The end lies below the start, in a variable, and the walk goes down.
DOWN = function(
    "mov low(%rip),%rdx; mov %rsi,%rax; 1: sub $64,%rax; movzbl (%rax),%ecx; cmp %rdx,%rax; jne 1b", name="down"
) + "        .comm low,8,8\n"  # fmt: skip


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        (RANGE, {"end": "buffer+65536"}), (RANGE, {"end": "start+0x10000"}), (RANGE, {"rsi": "rdi + 65536"}),
        (RANGE, {"start": "buffer", "end": "buffer+65536"}), (RANGE, {"start": "end-65536"}),
        (RANGE, {"start": "0x100000", "end": "start+65536"}), (DOWN, {"low": "rsi-65536"}),
    ],
)  # fmt: skip
def test_a_distance_settles_where_the_walk_ends(text: str, bind: dict[str, str], tmp_path: Path) -> None:
    assert judged(tmp_path, text, bind=bind).verdict is Verdict.PROVED
    less = {"65536": "16384", "0x10000": "0x4000"}
    short = {
        name: next((value.replace(a, b) for a, b in less.items() if a in value), value) for name, value in bind.items()
    }
    short |= {name: value for name, value in bind.items() if value == "0x100000"}
    assert judged(tmp_path, text, bind=short).verdict is Verdict.REFUTED


def test_without_it_the_option_is_named(tmp_path: Path) -> None:
    result = judged(tmp_path, RANGE)
    assert result.verdict is Verdict.UNDECIDED and "--bind end=start+SIZE" in result.reason


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        ({"end": "end+65536"}, "relative to itself"), ({"end": "start+1", "start": "end-1"}, "relative to itself"),
        ({"end": "start*2"}, "is not a number"), ({"end": "nobody+5"}, "neither a number nor relative to an input"),
        ({"end": "start+5x"}, "neither a number nor relative to an input"), ({"end": "+5+5"}, "is not a number"),
        ({"end": ""}, "is not a number"), ({"end": "start+"}, "is not a number"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(bind: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as error:
        judged(tmp_path, RANGE, bind=bind)
    assert "\n" not in str(error.value) and "--bind" in str(error.value)


def test_which_is_the_buffer_has_to_be_clear(tmp_path: Path) -> None:
    three = RANGE.replace("volatile char *end)", "volatile char *end, int more)")
    refused: dict[str, Any] = {"bind": {"end": "buffer+65536"}}
    with pytest.raises(InputError, match="which input is the buffer"):
        judged(tmp_path, three, **refused)
    assert judged(tmp_path, three, bind={"start": "buffer", "end": "buffer+65536"}).verdict is Verdict.PROVED


def test_what_a_variable_holds_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a variable"):
        judged(tmp_path, DOWN, bind={"rsi": "low+65536"})


VARIABLES = (
    function(
        "mov low(%rip),%rdx; mov high(%rip),%rax; 1: sub $64,%rax; movzbl (%rax),%ecx; cmp %rdx,%rax; jne 1b",
        name="down",
    )
    + "        .comm low,8,8\n        .comm high,8,8\n",
    "char *from, *to; void up(void) { for (volatile char *p = from; p < to; p += 64) *p; }",
)


@pytest.mark.parametrize(("text", "names"), [(VARIABLES[0], ("low", "high")), (VARIABLES[1], ("from", "to"))])
def test_no_distance_between_variables_is_suggested(text: str, names: tuple[str, str], tmp_path: Path) -> None:
    """Numbers for both are, and these settle it."""
    found = judged(tmp_path, text)
    assert found.cause == "too-many-paths"
    assert all(f"--bind {name}=VALUE" in found.reason for name in names) and "+SIZE" not in found.reason
    assert judged(tmp_path, text, bind={names[0]: "0x100000", names[1]: "0x110000"}).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("text", "bind", "size"),
    [
        (RANGE, {"end": "0x1ffffffffffffffff"}, 8), (RANGE, {"rsi": "start+0x10000000000000000"}, 8),
        (RANGE, {"esi": "0x100000000"}, 4), (DOWN, {"dil": "-129"}, 1), (DOWN, {"low": "-0x8000000000000001"}, 8),
    ],
)  # fmt: skip
def test_a_value_has_to_fit(text: str, bind: dict[str, str], size: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"does not fit into {8 * size} bits") as error:
        judged(tmp_path, text, bind=bind)
    assert "\n" not in str(error.value) and f"--bind {next(iter(bind))}" in str(error.value)


@pytest.mark.parametrize(
    ("bind", "verdict"),
    [
        ({"end": "start+64K"}, Verdict.PROVED), ({"end": "buffer+64KiB"}, Verdict.PROVED),
        ({"rsi": "rdi+ 16k"}, Verdict.REFUTED),
        ({"start": "1M", "end": "start+64K"}, Verdict.PROVED), ({"start": "end-64K"}, Verdict.PROVED),
        ({"start": "-24K", "end": "-4K"}, Verdict.REFUTED),
    ],
)  # fmt: skip
def test_sizes_have_units(bind: dict[str, str], verdict: Verdict, tmp_path: Path) -> None:
    assert judged(tmp_path, RANGE, bind=bind).verdict is verdict


@pytest.mark.parametrize("value", ["64Q", "K", "64 K B", "rdi+64Q", "0x10K", "1.5K", "--1K"])
def test_what_is_no_size_is_one_line(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a number|neither a number") as error:
        judged(tmp_path, RANGE, bind={"end": value})
    assert "\n" not in str(error.value) and "64K" in str(error.value)
