# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print, compared with files; ``--refresh-golden`` rewrites the files.

A file in ``expected/`` starts with the command (``$ l1dflush verify one-pass``). Then follow standard output,
standard error (each line after ``2>``), and the exit status. A new one needs the first line only. Commands run in
``inputs/``.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from l1dflush.cli.main import main

FOLDER = Path(__file__).parent
FILES = sorted((FOLDER / "expected").glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_output(
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    expected = file.read_text(encoding="utf-8")
    command = expected.partition("\n")[0]
    program, *arguments = shlex.split(command.removeprefix("$ "))
    assert program == "l1dflush"
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(FOLDER / "inputs")
    status = main(arguments)
    out, err = capsys.readouterr()
    said = "".join(f"2> {line}\n" for line in err.splitlines())
    actual = f"{command}\n{out}{said}[exit status {status}]\n"
    if pytestconfig.getoption("--refresh-golden"):
        file.write_text(actual, encoding="utf-8")
    else:
        assert actual == expected


def test_there_is_something_to_compare() -> None:
    assert FILES
