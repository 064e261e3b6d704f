# SPDX-License-Identifier: GPL-2.0-or-later
"""``lab`` as a command: shipped scenarios, files of one's own, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.errors import InputError
from l1dflush.report.schemas import schema
from l1dflush.vmentry.lab.scenario import FOLDER, FlushFile, MachineFile, ScenarioFile, shipped
from l1dflush.vmentry.lab.script import parsed
from l1dflush.vmentry.subsystem import Event

Capture = pytest.CaptureFixture[str]
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
MINE = """
title = "mine"
text = "A host that does little."
script = '''
repeat 3
  event emulation
  touch vault 0-9
  enter
end
'''
[flush]
mode = "never"
[memory]
vault = { size = "1K", secret = true }
"""


def document(capsys: Capture) -> Any:
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema()).validate(found)
    return found


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    return file


def test_the_list_has_every_file(capsys: Capture) -> None:
    assert main(["lab"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in shipped())
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(shipped())
    assert main(["lab", "--json"]) == 0
    found = document(capsys)
    jsonschema.Draft202012Validator(schema("lab-list")).validate(found)
    assert [one["name"] for one in found["scenarios"]] == shipped()


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_as_text_and_json(name: str, capsys: Capture) -> None:
    assert main(["lab", name, "--alone"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["lab", name, "--alone", "--json"]) == 0
    found = document(capsys)
    jsonschema.Draft202012Validator(schema("lab")).validate(found)
    assert found["title"] in " ".join(out.split()) and len(found["sums"]) == 1 and found["sums"][0] == found["played"]
    assert found["played"]["entries"] == len(found["entries"])
    read = sum(entry["secret_lines"] + entry["by_sibling"] for entry in found["entries"]) * 64
    assert found["played"]["secret_bytes"] == read
    assert found["played"]["flushes"] == sum(entry["flushed"] for entry in found["entries"])


def test_a_file_of_ones_own(mine: Path, capsys: Capture) -> None:
    assert main(["lab", mine.name]) == 0
    out = capsys.readouterr().out
    assert "A host that does little." in out
    assert "0 of 3 entries flushed, 1920 bytes of secrets read" in out
    assert main(["lab", str(mine), "--json"]) == 0
    found = document(capsys)
    assert found["scenario"] == "mine" and len(found["sums"]) == 12
    settings = [json.dumps(run["setting"]) for run in found["sums"]]
    assert len(set(settings)) == len(settings)


def test_the_sum_over_routines_and_cpus(mine: Path, capsys: Capture) -> None:
    wanted = ["--routine", "52k", "--routine", "msr", "--routine", "planned", "--routine", "52k"]
    assert main(["lab", mine.name, *wanted, "--cpu", "Ice Lake", "--cpu", "skylake", "--json"]) == 0
    found = document(capsys)
    combinations = {(run["setting"]["cpu"], run["setting"]["routine"]) for run in found["sums"][1:]}
    assert combinations == {(cpu, routine) for cpu in ("ice-lake", "skylake") for routine in ("52k", "msr", "planned")}
    assert len(found["sums"]) == 1 + 2 * 3 * 12
    assert {run["setting"]["policy"] for run in found["sums"] if run["setting"]["cpu"] == "ice-lake"} == {"LRU3PLRU4"}


def test_one_cpu_by_two_names_is_one(mine: Path, capsys: Capture) -> None:
    mine.write_text(MINE + '[machine]\ncpu = "Ice Lake"\n')
    assert main(["lab", mine.name, "--cpu", "ice-lake", "--json"]) == 0
    found = document(capsys)
    assert len(found["sums"]) == 12 and found["played"]["setting"]["cpu"] == "ice-lake"


@needs_as
def test_a_routine_of_ones_own_lies_where_one_is(mine: Path, capsys: Capture) -> None:
    shutil.copy(FOLDER / "own-line.s", mine.parent / "flush.s")
    mine.write_text(MINE.replace("[flush]", '[flush]\nbind = { rdi = "buffer" }'))
    assert main(["lab", mine.name, "--routine", "flush.s"]) == 0
    assert "flush.s" in capsys.readouterr().out
    # The scenario's folder is another one, and so is the file that it names there.
    (mine.parent / "here").mkdir()
    os.chdir(mine.parent / "here")
    shutil.copy(FOLDER / "own-line.s", "elsewhere.s")
    assert main(["lab", "../mine.toml", "--routine", "elsewhere.s"]) == 0
    capsys.readouterr()
    assert main(["lab", "../mine.toml", "--routine", "flush.s"]) == 1
    assert "flush.s: there is no such file" in capsys.readouterr().err
    mine.write_text(MINE.replace("[flush]", '[flush]\nroutine = "flush.s"\nbind = { rdi = "buffer" }'))
    assert main(["lab", "../mine.toml"]) == 0


def test_a_cpu_with_the_command_reads_no_routine(mine: Path, capsys: Capture) -> None:
    mine.write_text(MINE.replace('"never"', '"always"\nroutine = "nowhere.s"') + "[machine]\ncommand = true\n")
    assert main(["lab", mine.name, "--routine", "52k", "--json"]) == 0
    found = document(capsys)
    assert {run["setting"]["routine"] for run in found["sums"]} == {"msr"} and len(found["sums"]) == 12
    assert found["played"]["secret_bytes"] == 0 and found["played"]["flushes"] == 3
    mine.write_text(MINE.replace('"never"', '"always"\nroutine = "msr"'))
    assert main(["lab", mine.name, "--json"]) == 0
    assert document(capsys)["played"]["secret_bytes"] == 0


def test_a_cpu_that_has_no_l1tf_is_named(mine: Path, capsys: Capture) -> None:
    assert main(["lab", mine.name, "--cpu", "skylake", "--cpu", "ice-lake"]) == 0
    assert "\nwithout L1TF: ice-lake; what is read there" in capsys.readouterr().out
    assert main(["lab", mine.name]) == 0
    assert "without L1TF" not in capsys.readouterr().out


def test_a_cpu_of_ones_own(mine: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "cpus").mkdir()
    (tmp_path / "cpus" / "other.toml").write_text('title = "Other"\nyear = 2026\nparent = "haswell"\n')
    assert main(["lab", mine.name, "--cpu", "other", "--cpu-folder", str(tmp_path / "cpus")]) == 0
    assert "\nother " in capsys.readouterr().out


def test_a_recorded_trace(mine: Path, capsys: Capture) -> None:
    (mine.parent / "trace.txt").write_text("0x0\n0x40\n64\n192\n")
    mine.write_text(
        MINE.replace("touch vault 0-9", "replay vault").replace("secret = true", "secret = true, trace = 'trace.txt'")
    )
    assert main(["lab", mine.name, "--alone", "--json"]) == 0
    assert [entry["secret_lines"] for entry in document(capsys)["entries"]] == [3, 3, 3]


def test_the_example_of_the_page_is_a_scenario(mine: Path, capsys: Capture) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    (mine.parent / "heap.txt").write_text("0\n")
    mine.write_text(text)
    assert main(["lab", mine.name, "--json"]) == 0
    assert len(document(capsys)["sums"]) == 2 * 2 * 12
    # It says of everything what it is if it is left out.
    given = tomllib.loads(text)
    assert set(given) == set(ScenarioFile.model_fields)
    for table, model in (("machine", MachineFile), ("flush", FlushFile)):
        assert set(given[table]) == set(model.model_fields)
        left_out = model().model_dump(mode="json")
        assert given[table] | {"bind": {}} == left_out | {"bind": {}}


def test_the_pages_name_every_event_and_step() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert all(f"`{event}`" in (docs / "vmentry.md").read_text() for event in Event)
    page = (docs / "lab.md").read_text()
    with pytest.raises(InputError) as error:
        parsed("nothing")
    assert error.value.hint is not None
    steps = error.value.hint.removeprefix("there are ").split(", ")
    assert len(steps) > 5 and all(f"`{step}" in page for step in steps)


def test_a_report_obeys_nobody(mine: Path, capsys: Capture) -> None:
    hostile = "\\u001b[31mred\\u0007\\nnext"
    mine.write_text(
        MINE.replace('"mine"', f'"{hostile}"').replace('"A host that does little."', f'"{hostile}"')
        .replace("vault = {", f'"{hostile}" = {{ size = "4K" }}\nvault = {{')
    )  # fmt: skip
    assert main(["lab", mine.name]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["nowhere"], 1, "nowhere: cannot be read: No such file or directory (a file, or one of cond-no-flag,"),
        (["mine.toml", "--cpu", "skylark"], 1, "skylark"),
        (["mine.toml", "--cpu", "zen4"], 1, "the replacement policy of Zen 4"),
        (["mine.toml", "--routine", "nothing"], 1, "nothing: there is no such file and no such built-in routine"),
        (["mine.toml", "--routine", "no-walk.s"], 3, "undecided (no-software-walk): no path reads a buffer"),
        (["mine.toml", "--alone", "--routine", "52k"], 1, "--alone: with --alone there is no sum"),
        (["mine.toml", "--alone", "--cpu", "haswell"], 1, "--alone: with --alone there is no sum"),
        (["mine.toml", "again.toml"], 1, "l1dflush lab --help"),
        (["mine.toml", "--smt"], 1, "--smt"),
        (["writes.toml"], 1, "writes.toml: script:2: which mode? (auto, never, cond, always)"),
        (["endless.toml"], 1, "endless.toml: script: 1000000000000 steps with all repeats (at most 1000000)"),
        (["large.toml"], 1, "4096 pages for p"),
        (["worst.toml"], 1, "pages of secret memory (make one block that large)"),
    ],
)
def test_errors_are_one_line(arguments: list[str], status: int, told: str, mine: Path, capsys: Capture) -> None:
    folder = mine.parent
    (folder / "no-walk.s").write_text(
        "\t.globl flush\n\t.type flush, @function\nflush:\tret\n\t.size flush, . - flush\n"
    )
    (folder / "writes.toml").write_text(MINE.replace("event emulation", "write off"))
    endless = MINE.replace("repeat 3\n", "repeat 1000000\nrepeat 1000000\n").replace("end\n", "end\nend\n")
    endless = endless.replace("  event emulation\n  touch vault 0-9\n", "")
    (folder / "endless.toml").write_text(endless)
    blocks = "\n".join(f'{name} = {{ size = "16M" }}' for name in "abcdefghijklmnopq")
    (folder / "large.toml").write_text(MINE + blocks)
    worst = MINE.replace("touch vault 0-9", "worst").replace('"never"', '"always"\nroutine = "one-pass"')
    (folder / "worst.toml").write_text(worst)
    assert main(["lab", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("l1dflush: ") and err.count("\n") == 1 and "internal error" not in err
    assert told in err
    assert main(["lab", *arguments, "--json"]) == status
    failed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("error")).validate(failed)
    assert (failed["exit_status"], failed["command"]) == (status, "lab")


def test_ctrl_c_ends_it(mine: Path) -> None:
    mine.write_text(MINE.replace("repeat 3", "repeat 300000"))
    child = subprocess.Popen(
        [sys.executable, "-m", "l1dflush", "lab", mine.name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=mine.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    time.sleep(2)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, "", "l1dflush: interrupted\n")
