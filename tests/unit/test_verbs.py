# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of verbs is the one that there is, and a verb is imported when somebody asks for it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from l1dflush import cli
from l1dflush.cli.app import load
from l1dflush.cli.command import VerbCommand
from l1dflush.cli.main import main
from l1dflush.cli.verbs import VERBS

MODULES = sorted(path.stem for path in Path(cli.__file__).parent.glob("*.py"))


def test_every_command_is_on_the_list_and_the_list_has_no_other() -> None:
    found = {
        (command.name, name)
        for name in MODULES
        for command in vars(import_module(f"l1dflush.cli.{name}")).values()
        if isinstance(command, VerbCommand)
    }
    assert found == {(name, verb.module) for name, verb in VERBS.items()}


@pytest.mark.parametrize("name", VERBS)
def test_what_the_list_says_is_what_the_command_says(name: str) -> None:
    command = load(name)
    assert (command.name, command.short_help) == (name, VERBS[name].summary)
    assert command.help and not command.hidden
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all(one.help for one in options)


def imported(*arguments: str) -> set[str]:
    """The verbs whose modules a command imports."""
    program = (
        "import contextlib, io, sys\n"
        "from l1dflush.cli.main import answer\n"
        f"answer({list(arguments)!r})\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    there = set(done.stderr.split())
    return {name for name, verb in VERBS.items() if f"l1dflush.cli.{verb.module}" in there}


@pytest.mark.parametrize(
    ("arguments", "verbs"),
    [
        (["--help"], set()), (["--version"], set()), ([], set()), (["verfy"], set()), (["--nope"], set()),
        (["verify", "--help"], {"verify"}), (["explain", "no-fence"], {"explain"}),
        (["help", "explain"], {"help", "explain"}), (["help", "verify"], {"help"}),
    ],
)  # fmt: skip
def test_no_verb_is_imported_but_the_one_that_is_meant(arguments: list[str], verbs: set[str]) -> None:
    assert imported(*arguments) == verbs


@pytest.mark.parametrize(("written", "meant"), [("verfy", "verify"), ("polices", "policies"), ("whatif", "what-if")])
def test_a_verb_that_is_not_there(written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written, "--json"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"l1dflush: there is no verb '{written}' (did you mean {meant}") and said.count("\n") == 1
    # A function of the Python interface, and an option here.
    assert main(["certificate"]) == 1
    assert "verify ROUTINE --certificate FILE" in capsys.readouterr().err
    assert main(["xyzzy"]) == 1
    assert capsys.readouterr().err == "l1dflush: there is no verb 'xyzzy' ('l1dflush --help' lists them)\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify", "x", "--cpus", "y"], "there is no option --cpus (did you mean --cpu"),
        (["size", "--policie", "LRU"], "there is no option --policie (did you mean --policy"),
        (["verify", "x", "--expect", "maybe"], "'maybe' is not one of proved, refuted, undecided"),
        (["plan", "--goal", "PLACE"], "'PLACE' is not one of loads, word, buffer"),
        (["verify", "x", "--max-paths", "2.5"], "'2.5' is not a valid whole number"),
        (["trace", "x", "--max-seconds", "soon"], "'soon' is not a valid number"),
        (["check"], "missing argument 'FILE'"),
        (["run"], "missing argument 'CMD'"),
        (["policies", "LRU", "--ways"], "option '--ways' requires an argument"),
        (["cost", "a", "b"], "got unexpected extra argument (b)"),
    ],
)
def test_a_slip_is_told_in_our_own_way(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("l1dflush: ") and said.endswith(f"see 'l1dflush {arguments[0]} --help')\n")
    assert told in said and said.count("\n") == 1


def test_no_help_text_waits_for_what_only_a_verb_needs() -> None:
    program = (
        "import sys\n"
        "from l1dflush.cli.main import answer\n"
        f"for verb in {list(VERBS)!r}:\n"
        "    assert answer([verb, '--help']).status == 0\n"
        "heavy = {'pydantic', 'rich', 'numpy', 'capstone', 'pypcode', 'bitwuzla', 'elftools', 'tree_sitter'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
