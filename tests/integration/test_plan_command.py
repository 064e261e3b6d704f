"""``plan`` as a command: what is written is proved again, as whoever gets it would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.plan.walk import walk_of
from l1dflush.report.json_report import schema
from l1dflush.verdict.model import Verdict

Capture = pytest.CaptureFixture[str]
CACHE = ["--policy", "tree-PLRU", "--geometry", "32K,8,64"]
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@needs_cc
@pytest.mark.parametrize(("form", "suffix"), [("c", ".c"), ("asm", ".s")])
@pytest.mark.parametrize("more", [[], ["--start", "steady"], ["--touches", "1", "--start", "any"]], ids=str)
def test_what_is_written_is_proved(form: str, suffix: str, more: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["plan", *CACHE, *more, "--emit", form]) == 0
    (tmp_path / f"plan{suffix}").write_text(capsys.readouterr().out)
    assert main(["verify", str(tmp_path / f"plan{suffix}"), *CACHE, *more, "-q"]) == 0
    assert main(["verify", str(tmp_path / f"plan{suffix}"), "--cpu", "ice-lake", *more, "-q"]) == 2


@needs_as
def test_the_json_is_as_published_and_its_code_is_the_text(capsys: Capture) -> None:
    assert main(["plan", *CACHE, "--emit", "bytes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    assert (document["loads"], document["buffer_bytes"], document["proved"]) == (832, 53248, ["bytes"])
    assert main(["plan", *CACHE, "--emit", "bytes"]) == 0
    assert capsys.readouterr().out == document["code"]


@needs_cc
@pytest.mark.parametrize("form", ["c", "asm", "bytes"])
def test_a_cache_that_is_smaller_than_a_page(form: str, capsys: Capture) -> None:
    assert main(["plan", "--policy", "tree-PLRU", "--geometry", "512,8,64", "--emit", form]) == 0
    assert "13 loads from 832 bytes" in capsys.readouterr().out


@needs_as
def test_what_cannot_be_decided_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def undecided(*_: object) -> object:
        return SimpleNamespace(verdict=Verdict.UNDECIDED, cause="out-of-time", reason="too slow", rows=())

    monkeypatch.setattr("l1dflush.isolation.judged.verify", undecided)
    assert main(["plan", *CACHE, "--emit", "asm"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "could not be proved as assembly: too slow" in err


def test_never(capsys: Capture) -> None:
    assert main(["plan", "--policy", "LIP", "--geometry", "32K,8,64", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    assert (document["verdict"], document["word"], document["code"]) == ("REFUTED", [], None)


@needs_as
def test_a_plan_that_does_not_prove_is_never_written(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("l1dflush.plan.planned.walk_of", lambda word, shape: walk_of(word[:-1], shape))
    assert main(["plan", *CACHE, "--emit", "asm"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "the plan is REFUTED as assembly" in err
