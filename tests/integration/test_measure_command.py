# SPDX-License-Identifier: GPL-2.0-or-later
"""``measure`` and ``identify`` as commands: on simulated silicon, and as processes on this machine where it can."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from fake_silicon import INTEL, ZEN, Disturbance, FakeRegion, fake_silicon

from l1dflush import _core
from l1dflush.cli.main import main
from l1dflush.errors import InputError, UndecidedError
from l1dflush.host.this_cpu import ThisCpu
from l1dflush.report.schemas import schema
from l1dflush.silicon.measure import costs as costing
from l1dflush.silicon.measure import identify as identifying
from l1dflush.silicon.measure import session
from l1dflush.silicon.measure import survivors as surviving
from l1dflush.silicon.measure.sequences import sequences
from l1dflush.silicon.measure.session import Silicon

Capture = pytest.CaptureFixture[str]
# They do not depend on the silicon, and take longer than all else.
ONCE = functools.cache(sequences)
NATIVE = pytest.mark.skipif(not _core.NATIVE, reason="no native code to time loads with")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(surviving, "HISTORIES", 1)
    for verb in (surviving.played, costing.Costs.play):
        monkeypatch.setattr(verb, "__defaults__", (2, *verb.__defaults__[1:]))
    monkeypatch.setattr(identifying, "sequences", ONCE)
    asked = {**(identifying.identify.__kwdefaults__ or {}), "times": 5}
    monkeypatch.setattr(identifying.identify, "__kwdefaults__", asked)


def on(monkeypatch: pytest.MonkeyPatch, region: FakeRegion) -> FakeRegion:
    """This machine's L1D is ``region``."""

    @contextmanager
    def pretended(on_cpu: int | None = None) -> Iterator[Silicon]:
        yield fake_silicon(region)

    there = fake_silicon(region)
    monkeypatch.setattr(session, "silicon", pretended)
    monkeypatch.setattr("l1dflush.host.this_cpu.this_cpu", lambda *_: ThisCpu(there.geometry, "Test Lake"))
    return region


def document_of(capsys: Capture, kind: str) -> dict[str, object]:
    text = capsys.readouterr().out
    document: dict[str, object] = json.loads(text)
    jsonschema.Draft202012Validator(schema(kind)).validate(document)
    jsonschema.Draft202012Validator(schema()).validate(document)
    return document


def test_measure(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("tree-PLRU", disturbance=INTEL))
    assert main(["measure", "--policy", "tree-PLRU"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("measured: the L1D of this machine (Test Lake), 32K 8x64\n")
    assert "after Linux's 64 KiB: not one old line was seen, in " in out
    assert "planned fill / Linux's fill, time: warm 0.82" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "proved" not in out.lower() and "safe" not in out.lower()


def test_measure_as_json(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("tree-PLRU", disturbance=INTEL))
    assert main(["measure", "--policy", "tree-PLRU", "--json"]) == 0
    document = document_of(capsys, "measure")
    assert (document["policy"], document["planned"], document["interrupted"]) == ("tree-PLRU", 53248, False)
    full, work = document["survivors"]  # type: ignore[misc]
    assert (full["history"], work["history"], full["nearest"]) == ("full", "work", "tree-PLRU")
    assert [point["flushed"] for point in full["points"]] == list(range(0, 21 * 4096, 4096))
    assert full["points"][0]["seen"] == "seen" and full["points"][-1]["seen"] == "none-seen"
    assert len(document["costs"]) == 21  # type: ignore[arg-type]


@pytest.mark.parametrize(("what", "missing"), [("costs", "survivors"), ("survivors", "costs")])
def test_half_of_it(what: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("LRU"))
    assert main(["measure", "--what", what, "--json"]) == 0
    document = document_of(capsys, "measure")
    assert not document[missing]
    assert document[what]
    assert document["planned"] is None


@pytest.mark.parametrize("form", ["svg", "png"])
def test_a_picture(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    on(monkeypatch, FakeRegion("tree-PLRU"))
    file = tmp_path / f"survivors.{form}"
    assert main(["measure", "--what", "survivors", "--policy", "tree-PLRU", "--plot", str(file)]) == 0
    content = file.read_bytes()
    if form == "svg":
        assert ElementTree.fromstring(content).tag.endswith("svg")
        assert b"tree-PLRU predicts" in content or b"<path" in content
    else:
        assert content.startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [file]
    assert "old lines left" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """What was measured is shown all the same, and nothing is left of the picture."""
    pytest.importorskip("matplotlib")
    on(monkeypatch, FakeRegion("tree-PLRU"))
    file = tmp_path / "a.svg"

    def full(*_: object) -> None:
        raise InputError("cannot be written: No space left on device", where=str(file))

    monkeypatch.setattr("l1dflush.cli.measure.write_whole", full)
    assert main(["measure", "--what", "survivors", "--plot", str(file)]) == 1
    out, err = capsys.readouterr()
    assert "old lines left" in out
    assert err.startswith("l1dflush: no picture: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_identify(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("LRU3PLRU4", 12, ZEN))
    assert main(["identify"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\n  LRU3PLRU4: foretells 150 of 150 random sequences (6000 of 6000 accesses);" in out
    assert "'l1dflush plan --host --policy LRU3PLRU4' plans a flush for it" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_identify_as_json(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("tree-PLRU", disturbance=ZEN))
    assert main(["identify", "--json"]) == 0
    document = document_of(capsys, "identify")
    assert (document["policy"], document["fitting"], document["exit_status"]) == ("tree-PLRU", ["tree-PLRU"], 0)


def test_none_explains_it(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("QLRU_H10_M2_R0_U0_UMO"))
    assert main(["identify"]) == 3
    assert "\n  none: the best of them, " in capsys.readouterr().out


def test_several_explain_it(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("BIP"))
    assert main(["identify"]) == 3
    assert "\n  none alone: " in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["measure", "identify"])
@pytest.mark.parametrize(
    ("disturbance", "cause"),
    [(Disturbance(moved=1.0), "moved-about"), (Disturbance(dice=0.5, noise=30.0), "hits-like-misses")],
)
def test_it_cannot_be_measured(
    verb: str, disturbance: Disturbance, cause: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    on(monkeypatch, FakeRegion("LRU", disturbance=disturbance, hit=7.0, miss=7.0))
    assert main([verb, *(["--what", "survivors"] if verb == "measure" else [])]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"l1dflush: undecided ({cause}): ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "nope"], "--policy: unknown replacement policy 'nope'"),
        (["--what", "nothing"], "nothing"),
        (["--what", "costs", "--plot", "a.svg"], "--plot: there are no survivors to draw (leave out --what costs)"),
        (["--plot", "a.txt"], "'a.txt' is not a picture that can be drawn"),
        (["--plot", "no-such-folder/a.svg"], "there is no such folder"),
        (["--on-cpu", "-1"], "on-cpu"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    on(monkeypatch, FakeRegion("LRU"))
    assert main(["measure", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err and err.count("\n") == 1


# --- Ctrl-C


def test_ctrl_c_before_anything(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for verb in ("measure", "identify"):
        on(monkeypatch, FakeRegion("LRU", most_trials=5))
        assert main([verb]) == 130
        assert capsys.readouterr() == ("", "l1dflush: interrupted\n")


def test_ctrl_c_keeps_the_costs(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    on(monkeypatch, FakeRegion("tree-PLRU", most_trials=1000))
    assert main(["measure", "--policy", "tree-PLRU", "--json"]) == 130
    document = document_of(capsys, "measure")
    assert document["interrupted"] is True
    assert document["costs"] and not document["survivors"]


def test_ctrl_c_keeps_whole_rounds_of_survivors(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    region = on(monkeypatch, FakeRegion("tree-PLRU"))
    assert main(["measure", "--policy", "tree-PLRU", "--what", "survivors", "--json"]) == 0
    whole = document_of(capsys, "measure")
    on(monkeypatch, FakeRegion("tree-PLRU", most_trials=region.trials - 10))
    assert main(["measure", "--policy", "tree-PLRU", "--what", "survivors"]) == 130
    out, err = capsys.readouterr()
    assert "interrupted: this is what was measured until then" in out
    assert err == "l1dflush: interrupted\n"
    assert whole["interrupted"] is False


def process(*arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "l1dflush", *arguments]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@NATIVE
def test_ctrl_c_to_the_real_thing() -> None:
    run = process("measure", "--policy", "tree-PLRU", "--json")
    time.sleep(3)
    if run.poll() is not None:
        pytest.skip(f"it was over before it could be interrupted: {run.communicate()[1]}")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (130, "l1dflush: interrupted\n")
    if out:
        document = json.loads(out)
        jsonschema.Draft202012Validator(schema("measure")).validate(document)
        assert document["interrupted"] is True


# --- on this machine


def cannot(error: UndecidedError) -> None:
    pytest.skip(f"cannot be measured here: {error}")


@NATIVE
def test_a_cpu_that_is_not_there(capsys: Capture) -> None:
    for verb in ("measure", "identify"):
        status = main([verb, "--on-cpu", "99999"])
        out, err = capsys.readouterr()
        if status == 3:
            pytest.skip(err)
        assert (status, out) == (1, "")
        assert err.startswith("l1dflush: --on-cpu: this process may not run on CPU 99999 (it may run on ")
        assert err.count("\n") == 1


@NATIVE
def test_two_at_once_on_one_cpu(capsys: Capture) -> None:
    cpu = min(os.sched_getaffinity(0))
    try:
        with session.silicon(cpu):
            run = process("identify", "--on-cpu", str(cpu))
            out, err = run.communicate(timeout=60)
    except UndecidedError as error:
        cannot(error)
    assert (run.returncode, out) == (3, "")
    assert err.startswith(f"l1dflush: undecided (busy): another measurement is under way on CPU {cpu}")
