# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of the command line: one line that says what is wrong, whatever was given."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from l1dflush.cli import main as door
from l1dflush.cli.main import main
from l1dflush.cli.words import refuse_empty
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]
MACHINE = Path(__file__).parents[1] / "data" / "learned-policies" / "hw" / "haswell_l1.dot"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verfy"], "verify"),
        (["verify", "linux-4.9.120", "--nope"], "--nope"),
        (["explain", "a", "b"], "l1dflush explain --help"),
        (["verify", "no-such-file"], "no-such-file: there is no such file"),
        (["verify", "linux-4.9.120", "--cpu", "hasswell"], "did you mean haswell?"),
        (["verify", "linux-4.9.120", "--policy", "FIFO"], "--geometry is missing"),
        (["verify", "linux-4.9.120", "--geometry", "32K,8,64"], "--policy is missing"),
        (
            ["verify", "linux-4.9.120", "--policy", "FIFO", "--geometry", "32K,8"],
            "--geometry: '32K,8' is not a geometry",
        ),
        (["verify", "linux-4.9.120", "--policy", "FIFO", "--geometry", "32K,8,64", "--cpu", "x"], "exclude each other"),
        (["verify", "linux-4.9.120", "--buffer-size", "many"], "--buffer-size: 'many' is not a size"),
        (["verify", "linux-4.9.120", "--buffer-size", "0"], "--buffer-size: a size of 0"),
        (["verify", "linux-4.9.120", "--max-seconds", "0"], "--max-seconds: '0' is not a time limit"),
        (["verify", "linux-4.9.120", "--max-seconds", "nan"], "not a time limit"),
        (["verify", "linux-4.9.120", "--bind", "rdi"], "--bind: 'rdi' is not NAME=VALUE"),
        (["verify", "x", "-D", "=1"], "--define: '=1'"),
        (["verify", "x", "-D", "A", "-D", "A=2"], "'A' is given twice"),
        (["verify", "linux-4.9.120", "--json", "--quiet"], "exclude each other"),
        (["verify", "linux-4.9.120", "--start", "warm"], "--start: unknown start 'warm'"),
        (["verify", "-", "--then", "-", "--start", "steady"], "--then: standard input cannot be several routines"),
        (
            ["verify", "linux-4.9.120", "--then", "52k"],
            "routines in turn need a steady start",
        ),
        (["verify", "linux-4.9.120", "--touches", "9"], "--touches"),
        (["verify", "linux-4.9.120", "--memory", "99999G"], "--memory: '99999G' is too much (at most 16384G)"),
        (
            ["verify", "linux-4.9.120", "--policy", "no/such.dot", "--geometry", "32K,8,64"],
            "no/such.dot: there is no such file",
        ),
        (
            ["verify", "linux-4.9.120", "--policy", str(MACHINE), "--geometry", "48K,12,64"],
            "the machine has 8 ways, not 12",
        ),
        (["explain", "fence"], "did you mean no-fence?"),
        (["explain", "warmup"], "did you mean no-warm-up?"),
        (["explain", "nonsense"], "no rule is called 'nonsense' ('l1dflush rules' lists them)"),
        (
            ["schema", "nope"],
            "there are verify, comparison, check, certificate, trace, policies, policy-run, size, plan, ",
        ),
        (["trace"], "missing argument"),
        (["replay", "no-such-file"], "no-such-file: cannot be read: No such file or directory"),
        (["replay", "/"], "/: this is a directory"),
        (["replay", "a\0b"], "cannot be read: embedded null byte"),
        (["replay", "x", "--row", "0"], "--row"),
        (["size", "--policy", "nope"], "unknown replacement policy 'nope'"),
        (["size", "--policy", "tree-PLRU", "--ways", "12"], "tree-PLRU needs a power of two of ways, not 12"),
        (["size", "--ways", "99"], "99 ways are not supported"),
        (["size", "--cpu", "skylake", "--host"], "--cpu and --host exclude each other"),
        (["size", "--host", "--ways", "8"], "--host and --ways exclude each other"),
        (["size", "--geometry", "32K,8"], "--geometry: '32K,8' is not a geometry"),
        (["size", "--policy", "LRU3PLRU4", "--geometry", "32K,8,64"], "LRU3PLRU4 needs 12 ways, not 8"),
        (["plan"], "which cache? (--cpu NAME, --host, or --geometry with --policy)"),
        (["plan", "--cpu", "zen4"], "the replacement policy of Zen 4 is not known (choose one with --policy: LRU"),
        (["plan", "--geometry", "0,8,64", "--policy", "LRU"], "--geometry: "),
        (["plan", "--cpu", "skylake", "--touches", "-1"], "--touches"),
        (["plan", "--cpu", "skylake", "--start", "steady", "--goal", "word"], "a steady plan reads every line once"),
        (["size", "--start", "steady", "--chance", "0.1"], "--chance and a steady start exclude each other"),
        (["size", "--chance", "2"], "--chance: '2' is not a chance"),
        (["size", "--plot", "curves.pdf"], "--plot: 'curves.pdf' is not a picture that can be drawn"),
        (["size", "--cpu-folder", "nowhere"], "--cpu-folder is about CPUs, and there is none"),
        (["size", "--max-seconds", "-1"], "--max-seconds: '-1' is not a time limit"),
        (["cpus", "--cpu-folder", "/nowhere"], "/nowhere"),
        (["policies", "nope"], "unknown replacement policy 'nope'"),
        (["policies", "nowhere/mine.dot"], "nowhere/mine.dot: there is no such file"),
        (["policies", "x" * 5000], "unknown replacement policy"),
        (["policies", str(Path(__file__).parent)], "integration: this is a directory (name a file with a machine)"),
        (["policies", "/dev/null"], "null: it does not say in which state the machine starts"),
        (
            ["policies", "--ways", "4"],
            "--ways is about one policy, and there is none (l1dflush policies NAME --ways K)",
        ),
        (["policies", "QLRU_H33_M1_R0_U0"], "'QLRU_H33_M1_R0_U0' is not a QLRU policy"),
        (["policies", __file__], "test_cli_errors.py:2: "),
        (["policies", "LRU", "--ways", "17"], "17 ways are not supported"),
        (["policies", "LRU", "A ??"], "'??' is not an access"),
        (["policies", "LRU", " "], "the sequence is empty"),
    ],
)
def test_errors_are_one_line_and_exit_status_1(arguments: list[str], told: str, capsys: Capture) -> None:
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert err.startswith("l1dflush: ")
    assert err.count("\n") == 1
    assert told in err
    if "--json" not in arguments:
        assert out == ""


@pytest.mark.parametrize("arguments", [["verify", "nope"], ["verify", "x", "--nope"], ["trace", "/"], ["cpus", "x"]])
def test_errors_as_json(arguments: list[str], capsys: Capture) -> None:
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    jsonschema.Draft202012Validator(schema("error")).validate(document)
    assert document["command"] == arguments[0]
    assert document["error"]["what"] in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["verify"], "ROUTINE"),
        (["verify", "--cpu", "skylake", "--quiet"], "ROUTINE"),
        (["trace"], "ROUTINE"),
        (["check"], "FILE"),
        (["verify", ""], "'verify' is empty"),
        (["verify", "one-pass", ""], "'one-pass' is empty"),
        (["verify", "--", ""], "'--' is empty"),
        (["trace", ""], "'trace' is empty"),
        (["replay", ""], "'replay' is empty"),
        (["check", ""], "'check' is empty"),
        (["check", "x.l1d", "--routine", ""], "'--routine' is empty"),
        (["verify", "one-pass", "--against", ""], "'--against' is empty"),
        (["verify", "one-pass", "--against="], "the value of --against is empty"),
        (["verify", "one-pass", "--cpu", ""], "'--cpu' is empty"),
        (["verify", "one-pass", "--cpu-folder", ""], "'--cpu-folder' is empty"),
        (["plan", "--cpu", "", "--geometry", "32K,8,64", "--policy", "LRU"], "'--cpu' is empty"),
        (["lab", ""], "'lab' is empty"),
        (["cost", ""], "'cost' is empty"),
        (["status", "--sysroot", ""], "'--sysroot' is empty"),
    ],
)
def test_no_name_and_an_empty_one_are_errors(arguments: list[str], named: str, capsys: Capture) -> None:
    # Not an answer about something that is built in, this host, or the folder one is in.
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err


def test_where_an_empty_word_says_something_it_may_be_given() -> None:
    refuse_empty(["what-if", "--load", "", "--cmdline="])
    refuse_empty(["run", "--", "printf", "", "--x="])
    refuse_empty(["verify", "--define", "NAME=", "--define=NAME=", "--", "--x="])


def test_behind_two_hyphens_nothing_is_an_option(capsys: Capture) -> None:
    assert main(["verify", "--", "--json"]) == 1
    assert capsys.readouterr().out == ""


def test_escape_sequences_in_names_do_nothing(capsys: Capture) -> None:
    for arguments in (["verify", "\x1b[31mx"], ["explain", "\x1b]0;x\x07"], ["verify", "x", "--cpu", "\x9b2J"]):
        assert main(arguments) == 1
        assert capsys.readouterr().err.rstrip("\n").isprintable()


def test_an_internal_error_is_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(door, "_outcome", broken)
    assert main(["verify", "linux-4.9.120"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("l1dflush: internal error: ZeroDivisionError: by nothing at test_cli_errors.py:")
    assert err.count("\n") == 1
    assert "report" in err
    monkeypatch.setenv("L1DFLUSH_DEBUG", "1")
    assert main(["verify", "linux-4.9.120"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_is_particular_to_a_routine_is_marked(capsys: Capture) -> None:
    examples = Path(__file__).parents[1] / "data" / "examples"

    def particular(*arguments: str) -> tuple[str, ...]:
        main(["verify", *arguments, "--cpu", "skylake", "--json"])
        scope = json.loads(capsys.readouterr().out)["scope"]
        everything = [one["text"] for one in scope["taken_for_granted"] + scope["not_modelled"]]
        told = tuple(one["text"] for one in scope["particular"])
        assert set(told) <= set(everything)
        assert "accesses to one set take effect in program order" in everything
        assert "different inputs point to different memory" in everything
        return told

    assert particular("linux-4.9.120") == ()
    pages = "whether the buffer's pages differ (not checked: no allocation seen)"
    assert particular(str(examples / "walk.s"), "--bind", "rsi=65536") == (pages,)
    several = particular(str(examples / "entry.s"))
    assert several == ("different inputs point to different memory", "vmlaunch and vmresume do not fail", pages)
    assert "between flushes nobody else" in particular("one-pass", "--start", "steady")[0]
