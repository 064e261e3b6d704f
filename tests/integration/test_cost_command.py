# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush cost`` as a command: files, standard input, what is given and what is measured, and what goes wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.errors import UndecidedError
from l1dflush.report.schemas import schema
from l1dflush.vmentry.cost import flushes as cost_flushes
from l1dflush.vmentry.cost.model import FlushInfo

Capture = pytest.CaptureFixture[str]
TRACE = Path(__file__).parents[1] / "golden" / "inputs" / "exits.txt"
GIVEN = ("--flush-cost", "linux-2018=4200ns,planned=490ns")


def test_the_answer_as_json(capsys: Capture) -> None:
    assert main(["cost", str(TRACE), *GIVEN, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("cost")).validate(document)
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert (document["total"]["cond_at_least"], document["total"]["cond_at_most"]) == (2, 5)
    assert (document["total"]["always"], document["trace"]["entries"]) == (7, 7)


def test_standard_input_and_compressed_files_say_the_same(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(source: str) -> dict[str, object]:
        assert main(["cost", source, *GIVEN, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        del document["trace"]["name"]
        return dict(document)

    (tmp_path / "exits.gz").write_bytes(gzip.compress(TRACE.read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TRACE.read_bytes())))
    assert said("-") == said(str(TRACE)) == said(str(tmp_path / "exits.gz"))


def test_a_pipe_with_a_name(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "l1dflush", "cost", str(pipe), *GIVEN, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        pipe.write_bytes(TRACE.read_bytes())
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert json.loads(out)["trace"]["exits"] == 7


def test_pictures(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
    assert main(["cost", str(TRACE), *GIVEN, "--plot", str(tmp_path / "cost.svg")]) == 0
    assert b"<svg" in (tmp_path / "cost.svg").read_bytes()
    assert "VM exits" in capsys.readouterr().out


def flush(name: str, nanoseconds: float) -> FlushInfo:
    return FlushInfo(name=name, nanoseconds=nanoseconds, source="measured", in_guest=False)


def test_what_is_given_stands_in_place_of_what_is_measured(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cost_flushes,
        "measured_costs",
        lambda *_: {"linux-2018": flush("linux-2018", 1), "planned": flush("planned", 2)},
    )
    assert main(["cost", str(TRACE), "--json"]) == 0
    assert [one["nanoseconds"] for one in json.loads(capsys.readouterr().out)["flushes"]] == [1, 2]
    assert main(["cost", str(TRACE), "--measure", "--flush-cost", "linux-2018=9,msr=3", "--json"]) == 0
    assert [one["nanoseconds"] for one in json.loads(capsys.readouterr().out)["flushes"]] == [9, 2, 3]


def test_where_nothing_can_be_measured_it_says_what_helps(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise UndecidedError("no-clock", "the counter is of no use")

    monkeypatch.setattr(cost_flushes, "measured_costs", refused)
    assert main(["cost", str(TRACE)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--flush-cost" in err
    assert "--costs" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "missing argument"),
        (["nowhere.txt"], "nowhere.txt: cannot be read: No such file or directory"),
        (["/"], "/: this is a directory"),
        (["a\0b"], "null byte"),
        (["/dev/null"], "/dev/null: it is empty"),
        ([__file__], "no trace of VM exits"),
        ([sys.executable], "not text"),
        ([str(TRACE), "--sensitive", "HLT", "--harmless", "hlt"], "'hlt' is also --sensitive"),
        ([str(TRACE), "--on-cpu", "0"], "--on-cpu: nothing is measured"),
        ([str(TRACE), "--policy", "LRU"], "--policy: nothing is measured"),
        ([str(TRACE), "--plot", "x.pdf"], "--plot: 'x.pdf' is not a picture"),
        ([str(TRACE), "--costs", "nowhere.json"], "nowhere.json: cannot be read"),
        ([str(TRACE), "--costs", str(TRACE)], "not a result of 'l1dflush measure --json'"),
        ([str(TRACE), "--time-unit", "h"], "--time-unit"),
    ],
)
def test_errors_are_one_line(arguments: list[str], told: str, capsys: Capture) -> None:
    assert main(["cost", *arguments, *([] if "--costs" in arguments else GIVEN)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("l1dflush: ")
    assert err.count("\n") == 1
    assert told in err


def test_ctrl_c_ends_it() -> None:
    command = [sys.executable, "-m", "l1dflush", "cost", "-", *GIVEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None
        run.stdin.write(TRACE.read_bytes())
        run.stdin.flush()
        time.sleep(2)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err) == (130, b"", b"l1dflush: interrupted\n")
