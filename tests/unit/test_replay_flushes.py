# SPDX-License-Identifier: GPL-2.0-or-later
"""Counterexamples of flushes again and again: true ones are played, and every change of a file is found."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_replay import FILL_AND_FLUSH

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.report.layout import plain
from l1dflush.report.terminal.replay import replay_parts
from l1dflush.verdict.counterexample_result import CounterexampleInfo
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.replay.replayed import replayed
from l1dflush.verdict.replay.result import FileLiesError


@cache
def example(start: str, policy: str, geometry: str, routine: str = "one-pass", **more: Any) -> CounterexampleInfo:
    conditions = Conditions(Start.parse(start), more.pop("touches", 0))
    options = VerifyOptions(policy=policy, geometry=Geometry.parse(geometry), conditions=conditions, **more)
    found = verify(routine, options).rows[0].counterexample
    assert found is not None
    return found


KINDS = [
    ("steady+invalidations", "tree-PLRU", "32K,8,64", {}),
    ("steady-from-any", "tree-PLRU", "32K,8,64", {}),
    ("steady-from-any+invalidations", "FIFO", "32K,8,64", {}),
    ("steady", "bit-PLRU", "32K,8,64", {}),
    ("steady", "tree-PLRU", "32K,8,64", {"touches": 1}),
    ("steady", "random", "16K,4,64", {}),
    ("steady", "LRU3PLRU4", "48K,12,64", {"then": ("two-passes", "52k")}),
]


@pytest.mark.parametrize(("start", "policy", "geometry", "more"), KINDS)
def test_what_is_found_can_be_played(start: str, policy: str, geometry: str, more: dict[str, Any]) -> None:
    found = example(start, policy, geometry, **more)
    assert found.steady is not None
    assert (found.steady.again > 0) == start.startswith("steady-from-any")
    assert found.steady.turns == 1 + len(more.get("then", ()))
    again = replayed(CounterexampleInfo.model_validate_json(found.model_dump_json()))
    assert again.after[-1].content == tuple(None if name == "invalid" else name for name in found.end)
    text = "".join(plain(part) for part in replay_parts(again, 80))
    assert max(map(len, text.splitlines())) <= 80
    assert "flush 1" in text and "as the file says" in text


def test_own_lines_prefetches_and_flushed_lines(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.s"
    mixed.write_text(FILL_AND_FLUSH)
    found = example("steady", "LRU", "16K,4,64", str(mixed))
    assert {"dropped", "not-cached"} & {step.result for step in found.steps}
    replayed(found)


def test_every_change_of_the_file_is_found() -> None:
    true = json.loads(example("steady-from-any", "tree-PLRU", "32K,8,64").model_dump_json())
    accepted = []

    def attempt(changed: dict[str, Any], what: str) -> None:
        try:
            replayed(CounterexampleInfo.model_validate(changed, strict=False))
        except (FileLiesError, InputError):
            return
        except ValueError:
            return  # no longer a counterexample at all
        accepted.append(what)

    def changed(value: Any) -> list[Any]:
        if isinstance(value, bool):
            return [not value]
        if isinstance(value, int):
            return [value + 1, value - 1]
        if isinstance(value, str):
            return ["zz", "buffer+0x9000", "invalid", "hit", "miss"]
        if isinstance(value, list):
            return [value[1:], value[::-1], [*value, *value[:1]]]
        return [7, "a"]

    for field, value in true.items():
        # What it says of itself, and where the set lies, is nothing that a replay can see.
        if field in ("smallest", "set_index", "machine", "policy", "steps", "steady"):
            continue
        for other in changed(value):
            if other != value:
                attempt(true | {field: other}, field)
    for field, value in true["steady"].items():
        for other in changed(value):
            attempt(true | {"steady": true["steady"] | {field: other}}, f"steady.{field}")
    for number, step in enumerate(true["steps"]):
        for field, value in step.items():
            for other in changed(value):
                steps = [*true["steps"]]
                steps[number] = step | {field: other}
                if steps != true["steps"]:
                    attempt(true | {"steps": steps}, f"step {number}: {field} = {other}")
    # Which accesses are the routine's, and whether the last one begins another flush, is nothing a replay can know.
    last = f"step {len(true['steps']) - 1}: flush = {true['steps'][-1]['flush'] + 1}"
    assert [what for what in accepted if not what.endswith("by_others = True") and what != last] == []


@pytest.mark.parametrize(
    ("start", "told"), [("steady", "the run does not start with old lines only"), ("any", "which flushes come in turn")]
)
def test_another_start(start: str, told: str) -> None:
    found = example("steady-from-any", "tree-PLRU", "32K,8,64")
    assert found.steady is not None
    changed = found.model_copy(update={"steady": found.steady.model_copy(update={"start": start})})
    with pytest.raises((FileLiesError, InputError), match=told):
        replayed(changed)
