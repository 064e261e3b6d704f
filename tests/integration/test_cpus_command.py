# SPDX-License-Identifier: GPL-2.0-or-later
"""``cpus NAME``: all that is known of one CPU, with who says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from l1dflush.cli.main import main
from l1dflush.data.catalogue import load_catalogue

Capture = pytest.CaptureFixture[str]
CPUS = {cpu.name: cpu for cpu in load_catalogue()}


def shown(arguments: list[str], capsys: Capture, status: int = 0) -> str:
    assert main(["cpus", *arguments]) == status
    return "".join(capsys.readouterr())


def words(text: str) -> list[str]:
    return re.findall(r"\S+", text)


def test_all_that_is_known_is_there(capsys: Capture) -> None:
    listed = {cpu["name"]: cpu for cpu in json.loads(shown(["--json"], capsys))["cpus"]}
    for name, cpu in CPUS.items():
        text = shown([name], capsys)
        assert all(len(line) <= 80 for line in text.splitlines())
        there = " ".join(words(text))
        sources = [cpu.l1tf_source, cpu.geometry_source, cpu.policy_source, cpu.models_source, cpu.features_source]
        values = [cpu.title, cpu.vendor, str(cpu.year), cpu.policy or "unknown", *cpu.aliases, *cpu.notes]
        for said in filter(None, (*sources, *values, *(cpu.features or ()))):
            assert " ".join(words(said)) in there
        assert f"{cpu.geometry.ways} ways, {cpu.geometry.sets} sets" in there
        assert ("has the bug" in there) is cpu.l1tf_affected
        assert all(f"{number:#x}" in there for entry in cpu.models for number in (entry.family, *entry.models))
        # The same as in the list of all.
        (one,) = json.loads(shown([name, "--json"], capsys))["cpus"]
        assert one == listed[name]


@pytest.mark.parametrize(("name", "meant"), [("Ice Lake", "ice-lake"), ("granite_rapids", "redwood-cove")])
def test_it_is_found_by_its_other_names(name: str, meant: str, capsys: Capture) -> None:
    assert shown([name], capsys).startswith(f"{meant}\n  {CPUS[meant].title}")


def test_one_of_ones_own(tmp_path: Path, capsys: Capture) -> None:
    text = (
        'title = "Mine"\nyear = 2026\nparent = "haswell"\nnotes = ["a note"]\n'
        '[policy]\nname = "FIFO"\nsource = "I say so"\ncertainty = "inferred"\n'
    )
    (tmp_path / "mine.toml").write_text(text)
    told = shown(["mine", "--cpu-folder", str(tmp_path)], capsys)
    assert "policy    FIFO\n          inferred: I say so\n" in told and "          a note\n" in told
    assert "'l1dflush verify --cpu mine ROUTINE' proves for it." in told


def test_one_that_is_not_there(capsys: Capture) -> None:
    assert shown(["hasswell"], capsys, 1).startswith("l1dflush: no CPU is called 'hasswell' (did you mean haswell?")
