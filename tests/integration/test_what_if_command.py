# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush what-if --facts`` as a command: files, standard input, many questions, and what goes wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.mitigation.question import Question
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]
ASKED = Path(__file__).parents[1] / "golden" / "inputs" / "what-if.json"


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_the_answer_as_json(capsys: Capture) -> None:
    assert main(["what-if", "--facts", str(ASKED), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    jsonschema.Draft202012Validator(schema("what-if")).validate(document)
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert document["sysfs"] == "Mitigation: PTE Inversion; VMX: vulnerable, SMT disabled"
    assert (document["mode"], document["parameter"], document["smt"]) == ("never", "never", "off")
    assert [one["result"] for one in document["actions"]] == ["ok", "ok", "ok"]
    assert document["rule"]["id"] == "written"


def test_many_questions(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, in order, blank ones aside; one that has no answer does not keep the others from theirs."""
    questions = [
        {"kernel": {"release": "6.1.192"}, "command_line": "mitigations=off l1tf=full"},
        {"kernel": {"release": "7.2.13"}, "command_line": "mitigations=off l1tf=full"},
        {"kernel": {"release": "7.2.13"}, "command_lime": "l1tf=full"},
        {"kernel": {"release": "7"}},
        {"kernel": {"release": "6.1.192"}, "cpu": {"vendor": "AuthenticAMD", "family": 23, "model": 1}},
        {"kernel": {"release": "6.1.192"}, "cpu": {"bug": False}},
        {"kernel": {"release": "6.1.192"}, "cpu": {"family": 6, "model": 0x5C, "bug": True}},
    ]
    give(monkeypatch, "\n\n".join(json.dumps(one) for one in questions) + "\n")
    assert main(["what-if", "--facts", "-", "--json"]) == 1
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert err == "l1dflush: 2 of 7 questions have no answer\n"
    assert [one.get("l1tf") for one in answers[:4]] == ["off", "full", None, None]
    for failed, where in ((answers[2], "standard input:5"), (answers[3], "standard input:7")):
        jsonschema.Draft202012Validator(schema("error")).validate(failed)
        assert failed["error"]["where"] == where
    assert "command_lime" in answers[2]["error"]["what"]
    assert [one["bug"] for one in answers[4:]] == [False, False, True]
    assert answers[5]["why"] == answers[6]["why"] == "the question says so"


def test_a_document_over_several_lines_is_one_question(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "host.json"
    file.write_text(json.dumps(json.loads(ASKED.read_text()), indent=2))
    assert main(["what-if", "--facts", str(file), "--json"]) == 0
    indented = capsys.readouterr().out
    assert main(["what-if", "--facts", str(ASKED), "--json"]) == 0
    assert capsys.readouterr().out == indented


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no question in it"),
        ("\n \n", "there is no question in it"),
        ("null", "input should be an object"),
        ("[]", "input should be an object"),
        ("{", "invalid json"),
        ("{}", "kernel: field required"),
        ('{"kernel": {"release": "6.1"}, "actions": [{"do": "reboot"}]}', "actions.0.do: input should be"),
        ('{"kernel": {"release": "6.1"}, "cpu": {"threads_per_core": 0}}', "greater than or equal to 1"),
    ],
)
def test_what_is_no_question(text: str, said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, text)
    assert main(["what-if", "--facts", "-"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("l1dflush: standard input")
    assert said in err.lower()
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00\x01\x02"])
def test_files_that_cannot_be_read(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "junk"
    file.write_bytes(content)
    for path in (file, tmp_path, tmp_path / "none"):
        assert main(["what-if", "--facts", str(path)]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"l1dflush: {path}")
        assert "internal" not in err
        assert err.count("\n") == 1


def test_the_question_has_a_schema() -> None:
    """Whoever writes questions can check them."""
    described = Question.model_json_schema()
    jsonschema.Draft202012Validator(described).validate(json.loads(ASKED.read_text()))
