# SPDX-License-Identifier: GPL-2.0-or-later
"""What a shell is told when somebody presses the Tab key."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from l1dflush.cache.policies import NAMES
from l1dflush.cli.main import answer, main
from l1dflush.cli.verbs import VERBS
from l1dflush.data.catalogue import load_catalogue
from l1dflush.report.schemas import SCHEMAS
from l1dflush.routine import built_in
from l1dflush.verdict.rules import RULES

VARIABLE = "_L1DFLUSH_COMPLETE"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("L1DFLUSH_CPUS", raising=False)


def completed(line: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Kinds and values that may stand at the end of ``line``, as bash is told."""
    words = line.split(" ")
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    outcome = answer([])
    assert isinstance(outcome.text, str) and (outcome.status, outcome.message) == (0, "")
    return [(kind, value) for kind, _, value in (one.partition(",") for one in outcome.text.split("\n") if one)]


def names(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = completed(line, monkeypatch)
    assert {kind for kind, _ in found} <= {"plain"}
    return [value for _, value in found]


CPUS = sorted(cpu.name for cpu in load_catalogue())


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("l1dflush ", list(VERBS)),
        ("l1dflush verify --cpu ", CPUS),
        ("l1dflush plan --json --cpu ", CPUS),
        ("l1dflush cpus ", CPUS),
        ("l1dflush size --policy ", list(NAMES)),
        ("l1dflush policies ", list(NAMES)),
        ("l1dflush verify ", list(built_in.names())),
        ("l1dflush verify 52k --against ", list(built_in.names())),
        ("l1dflush explain ", [rule.id for rule in RULES]),
        ("l1dflush help ", [*sorted(page.stem for page in DOCS.glob("*.md")), *VERBS]),
        ("l1dflush schema ", list(SCHEMAS)),
        ("l1dflush verify x --expect ", ["proved", "refuted", "undecided"]),
        ("l1dflush plan --goal ", ["loads", "word", "buffer"]),
        ("l1dflush vm --mode ", ["auto", "never", "cond", "always"]),
        ("l1dflush what-if --smt ", ["on", "off", "forceoff"]),
    ],
)
def test_all_that_there_is_can_be_completed(line: str, known: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And what begins so, and nothing else."""
    assert names(line, monkeypatch) == list(dict.fromkeys(known))
    start = known[len(known) // 2][:2]
    assert names(line + start, monkeypatch) == [one for one in dict.fromkeys(known) if one.startswith(start)]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("l1dflush --v", ["--version"]),
        ("l1dflush verify --ex", ["--expect"]),
        ("l1dflush trace --un", ["--undefine", "--until"]),
        ("l1dflush size --ways 8 --w", ["--ways"]),
    ],
)
def test_options(line: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(line, monkeypatch) == options


def test_own_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my-skylake.toml").write_text("")
    (tmp_path / "mine" / ".hidden.toml").write_text("")
    assert names("l1dflush verify --cpu-folder mine --cpu m", monkeypatch) == ["my-skylake"]
    assert names("l1dflush verify --cpu-folder nowhere --cpu m", monkeypatch) == []
    monkeypatch.setenv("L1DFLUSH_CPUS", str(tmp_path / "mine"))
    assert names("l1dflush lab --cpu my", monkeypatch) == ["my-skylake"]


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("linux.patch", "flush.c", "LRU.dot"):
        (tmp_path / name).write_text("")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "other.c").write_text("")
    # Beside names, files.
    assert names("l1dflush verify li", monkeypatch) == ["linux-4.9.120", "linux-4.18", "linux.patch"]
    # Where no name begins so, the shell completes files as it always does.
    assert completed("l1dflush verify fl", monkeypatch) == [("file", "fl")]
    assert completed("l1dflush verify lib/", monkeypatch) == [("file", "lib/")]
    assert completed("l1dflush check l", monkeypatch) == [("file", "l")]
    assert completed("l1dflush verify 52k --cpu-folder l", monkeypatch) == [("dir", "l")]
    assert completed("l1dflush status --from l", monkeypatch) == [("file", "l")]


@pytest.mark.parametrize("line", ["l1dflush run --nope -- x", "l1dflush verify --bind ", "l1dflush rules x"])
def test_where_nothing_is_known_nothing_is_said(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(line, monkeypatch) == []


def test_what_is_no_instruction(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for instruction in ("tcsh_source", "bash_nope", "", "\x1b[31m"):
        monkeypatch.setenv(VARIABLE, instruction)
        assert main([]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.endswith("is not an instruction (like bash_source)\n")
        assert err.rstrip("\n").isprintable()


def program(folder: Path) -> Path:
    """l1dflush as a program."""
    path = folder / "l1dflush"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m l1dflush "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_can_be_read_by_it(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{shell}_source")
    outcome = answer([])
    assert outcome.status == 0 and isinstance(outcome.text, str)
    assert f"{VARIABLE}={shell}_complete" in outcome.text and "l1dflush" in outcome.text
    if shutil.which(shell) is not None:
        (tmp_path / "script").write_text(outcome.text)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("words", "found"), [("explain no-f", "no-fence"), ("verify --cpu west", "westmere")])
def test_bash_completes(words: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    script = (
        f'eval "$({VARIABLE}=bash_source l1dflush)"\n'
        f"COMP_WORDS=(l1dflush {words}) COMP_CWORD={len(words.split())}\n"
        '_l1dflush_completion l1dflush\necho "${COMPREPLY[@]}"\n'
    )
    path = f"{program(tmp_path).parent}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{found}\n", "")


@pytest.mark.parametrize("line", ["l1dflush ver", "l1dflush verify --cpu s", "l1dflush verify l", "l1dflush explain n"])
def test_nothing_heavy_is_imported(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    script = (
        "import sys; from l1dflush.cli.main import main; status = main([])\n"
        "heavy = {'pydantic', 'numpy', 'rich', 'capstone', 'pypcode', 'l1dflush._core'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or status)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("plain,")


@pytest.mark.parametrize("instruction", ["tcsh_source", "bash_sourcee", "source", ""])
@pytest.mark.parametrize("arguments", [[], ["cpus"]])
def test_shells_that_there_are_none_for_are_told(
    instruction: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, instruction)
    outcome = answer(arguments)
    assert (outcome.status, outcome.text) == (1, "") and "\n" not in outcome.message
    assert repr(instruction) in outcome.message
    assert all(shell in outcome.message for shell in ("bash", "zsh", "fish"))
