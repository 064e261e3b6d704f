# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify NEW --against OLD`` as a command: statuses, forms of output, errors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]
INPUTS = Path(__file__).parents[1] / "golden" / "inputs"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("arguments", "status", "effect"),
    [
        (["one-pass", "--against", "linux-4.9.120"], 2, "worse"),
        (["openbsd", "--against", "one-pass"], 0, "better"),
        (["linux-4.9.120", "--against", "one-pass"], 0, "worse"),
        (["linux-4.9.120", "--against", "linux-4.9.120"], 0, "no-change-that-matters"),
        (["openbsd", "--against", "freebsd", "--cpu", "zen4"], 3, "no-change-that-matters"),
        (["one-pass", "--against", "linux-4.9.120", "--expect", "refuted"], 0, "worse"),
        (["openbsd", "--against", "one-pass", "--expect", "refuted"], 2, "better"),
        (["linux-4.9.120", "--against", "openbsd", "--fail-on", "warning"], 2, "worse"),
        (["openbsd", "--against", "linux-4.9.120", "--fail-on", "warning"], 0, "better"),
        (["one-pass", "--against", "52k", "--policy", "LRU", "--geometry", "32K,8,64"], 0, "worse"),
    ],
)
def test_the_exit_status_is_that_of_new(arguments: list[str], status: int, effect: str, capsys: Capture) -> None:
    assert main(["verify", *arguments, "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    for which in (None, "comparison"):
        jsonschema.Draft202012Validator(schema(which)).validate(document)
    assert (document["exit_status"], document["new"]["exit_status"]) == (status, status)
    assert document["verdict"] == document["new"]["verdict"]
    assert document["effect"] == effect
    assert main(["verify", *arguments]) == status
    out = capsys.readouterr().out
    first, rest = out.split("\n\n", 1)
    assert first.startswith(effect.replace("-", " "))
    assert f"\nverdict  {document['verdict']}" in first or f" -> {document['verdict']}" in first
    assert first.endswith(f"\nexit status {status}")
    assert rest.startswith("OLD  ")
    assert max(map(len, out.splitlines())) <= 80
    assert main(["verify", *arguments, "--quiet"]) == status
    assert capsys.readouterr() == ("", "")


def test_both_results_are_what_verify_says_about_each(capsys: Capture) -> None:
    main(["verify", "one-pass", "--against", "openbsd", "--cpu", "haswell", "--json"])
    both = json.loads(capsys.readouterr().out)
    for side, name in (("old", "openbsd"), ("new", "one-pass")):
        main(["verify", name, "--cpu", "haswell", "--json"])
        assert json.loads(capsys.readouterr().out) == both[side]


def test_what_cannot_be_followed_is_no_error(capsys: Capture) -> None:
    gather, other = str(INPUTS / "gather.S"), str(INPUTS / "conditional.S")
    assert main(["verify", gather, "--against", other, "--cpu", "haswell"]) == 3
    assert "PROVED -> UNDECIDED" in capsys.readouterr().out
    assert main(["verify", other, "--against", gather, "--cpu", "haswell"]) == 0
    assert "OLD could not be followed" in " ".join(capsys.readouterr().out.split())


def test_a_function_is_picked_where_there_is_something_to_pick_from(capsys: Capture) -> None:
    new = str(INPUTS / "conditional.S")
    assert main(["verify", new, "--against", "openbsd", "--function", "conditional_flush", "--cpu", "haswell"]) == 0
    assert main(["verify", "openbsd", "--against", new, "--function", "conditional_flush", "--cpu", "haswell"]) == 0
    capsys.readouterr()


def test_one_of_both_may_come_from_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (INPUTS / "conditional.S").read_bytes()
    for arguments in (["-", "--against", "openbsd"], ["openbsd", "--against", "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main(["verify", *arguments, "--cpu", "haswell"]) == 0
        assert "conditional_flush" in capsys.readouterr().out


def test_both_may_consist_of_several_files(tmp_path: Path, capsys: Capture) -> None:
    """OLD is given a pointer where NEW has the array itself."""
    walk = tmp_path / "walk.s"
    walk.write_text(
        ".globl walk\n.type walk, @function\nwalk: lea buffer(%rip), %rdi\nmov $65536, %ecx\n"
        "1: movb -1(%rdi,%rcx), %al\nsub $64, %ecx\njnz 1b\nlfence\nret\n.size walk, .-walk\n"
    )
    for name, text in (("old.s", ".comm buffer, 8, 8\n"), ("new.s", ".comm buffer, 65536, 4096\n")):
        (tmp_path / name).write_text(text)
    new, old = str(tmp_path / "new.s"), str(tmp_path / "old.s")
    arguments = ["verify", str(walk), new, "--against", str(walk), "--against", old, "--cpu", "haswell"]
    assert main(arguments) == 0
    assert "- error    own-storage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one-pass", "--against", "no-such-file"], "--against no-such-file: there is no such file"),
        (["no-such-file", "--against", "one-pass"], "l1dflush: no-such-file: there is no such file"),
        (
            ["linux-4.9.120", "--against", "one-pass", "--against", "openbsd"],
            "--against one-pass openbsd: one-pass: a built-in routine cannot be taken together",
        ),
        (["-", "--against", "-"], "--against: standard input cannot be both routines"),
        (["linux-4.9.120", "--against", str(INPUTS)], f"--against {INPUTS}"),
        (["linux-4.9.120", "--against"], "--against"),
        (["linux-4.9.120", "--against", "one-pass", "--cpu", "nope"], "l1dflush: no CPU"),
        (["linux-4.9.120", "--against", "\x1b[31mx"], "--against"),
    ],
)
def test_errors_say_which_routine_they_are_about(arguments: list[str], told: str, capsys: Capture) -> None:
    assert main(["verify", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
    assert err.rstrip("\n").isprintable()
    assert main(["verify", *arguments, "--json"]) == 1
    jsonschema.Draft202012Validator(schema("error")).validate(json.loads(capsys.readouterr().out))
