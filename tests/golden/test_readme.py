# SPDX-License-Identifier: GPL-2.0-or-later
"""Every example in the README is what its command prints; ``--refresh-golden`` rewrites them."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from l1dflush.cli.main import main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLE = re.compile(r"^```console\n\$ (l1dflush [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = EXAMPLE.findall(README.read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="the examples need a C compiler and an assembler")
@pytest.mark.parametrize("index", range(len(COMMANDS)), ids=[command for command, _ in COMMANDS])
def test_example(
    index: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    command, expected = COMMANDS[index]
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(ROOT)
    main(shlex.split(command)[1:])
    out = capsys.readouterr().out
    if pytestconfig.getoption("--refresh-golden"):
        text = README.read_text(encoding="utf-8")
        start = f"```console\n$ {command}\n"
        assert text.count(start) == 1, "each command stands in the README once"
        head, tail = text.split(start)
        README.write_text(f"{head}{start}{out}```{tail.partition('```')[2]}", encoding="utf-8")
    else:
        assert without_code(out) == without_code(expected)


def without_code(text: str) -> str:
    """Size and hash of machine code left out: another compiler makes other code of the same C."""
    return re.sub(r"\d+ bytes of (\d\d-bit code), sha256 [0-9a-f]+", r"\1", text)


def test_there_are_examples() -> None:
    assert len(COMMANDS) >= 5


def test_the_first_two_commands_do_all_the_set_up() -> None:
    commands = re.findall(r"^\$ (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    own = [command for command in commands if not command.startswith("l1dflush")]
    assert own == ["make verify", "make test"]


def test_the_first_command_begins_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = re.search(r"^verify:.*\n\t@\$\(BIN\)/l1dflush (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert main(shlex.split(recipe[1])) == 0
    first, *more = capsys.readouterr().out.splitlines()[:12]
    assert first.startswith("PROVED on all ")
    # The rows that decide are there as well, with what they need and have.
    assert any(line.split()[-4:] == ["13", "16", "+3", "PROVED"] for line in more)
