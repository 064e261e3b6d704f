# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as a process and as a function: verbs, exit statuses, and what goes where."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from l1dflush import __version__
from l1dflush.cache_files import OFF_VARIABLE
from l1dflush.cli import main as door
from l1dflush.cli.main import main
from l1dflush.cli.verbs import VERBS
from l1dflush.report.schemas import SCHEMAS, schema

Capture = pytest.CaptureFixture[str]
MACHINE = Path(__file__).parents[1] / "data" / "learned-policies" / "hw" / "haswell_l1.dot"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "L1DFLUSH_CPUS", "L1DFLUSH_DEBUG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


def process(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "l1dflush", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


# --- what users meet first


def test_help_has_every_verb_and_examples(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert "Examples:" in out
    assert "Exit status" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: Capture) -> None:
    assert main([verb, "--help"]) == 0
    assert f"l1dflush {verb}" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"l1dflush {__version__}\n"


def test_without_a_verb_help_goes_to_standard_error(capsys: Capture) -> None:
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Commands:" in err


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from l1dflush.cli.main import main; main(['--help'])\n"
        "heavy = {'pydantic', 'matplotlib', 'pypcode', 'bitwuzla', 'capstone', 'rich', 'elftools', 'numpy'}\n"
        "heavy.add('l1dflush._core')\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HEAVY = (
    "matplotlib", "pypcode", "bitwuzla", "elftools", "numpy", "tree_sitter", "backports.zstd", "compression.zstd",
    "jinja2",
)  # fmt: skip
# What each of the two processes of ``verify`` runs, and what besides it must not import.
PROCESSES = {
    "command line": (
        "from l1dflush.cli.main import main; main(['verify', ROUTINE, '--cpu', 'skylake'])",
        (
            "capstone",
            "l1dflush.verdict.judge",
            "l1dflush.tracing.abstract",
            "l1dflush.cli.measure",
            "l1dflush.cli.status",
        ),
    ),
    "judge": (
        "from l1dflush.verdict import judge; from l1dflush.verdict.options import VerifyOptions\n"
        "judge.verify(ROUTINE, VerifyOptions())",
        ("rich", "click", "l1dflush.cli", "l1dflush.report", "l1dflush.routine.elf.reader"),
    ),
}


@pytest.mark.parametrize("routine", ["linux-4.9.120", "openbsd"])
@pytest.mark.parametrize("process", PROCESSES)
def test_verify_of_what_is_built_in_imports_nothing_heavy(process: str, routine: str, tmp_path: Path) -> None:
    """All that a flush of ours needs from pypcode is kept by an earlier run."""
    program, others = PROCESSES[process]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    del environment[OFF_VARIABLE]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, *command]
        return subprocess.run(whole, capture_output=True, text=True, check=False, env=environment)

    assert run("-m", "l1dflush", "verify", routine, "--cpu", "skylake", "--quiet").stderr == ""
    check = f"heavy = [m for m in {HEAVY + others!r} if m in sys.modules]; sys.exit(', '.join(heavy) or 0)"
    done = run("-c", f"import sys; ROUTINE = {routine!r}; {program}\n{check}")
    assert (done.returncode, done.stderr.strip()) == (0, "")


# --- verdicts


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["linux-4.9.120"], 0),
        (["one-pass"], 2),
        (["one-pass", "--policy", "LRU", "--geometry", "32K,8,64"], 0),
        (["linux-4.9.120", "--cpu", "Ice Lake"], 2),
        (["linux-4.9.120", "--cpu", "zen4"], 3),
        (["linux-4.9.120", "--every-cpu"], 2),
        (["linux-4.9.120", "--fail-on", "warning"], 2),
        (["linux-4.9.120", "--expect", "proved"], 0),
        (["linux-4.9.120", "--expect", "refuted"], 2),
        (["one-pass", "--expect", "refuted"], 0),
        (["linux-4.9.120", "--cpu", "zen4", "--expect", "undecided"], 0),
        (["linux-4.9.120", "--expect", "proved", "--fail-on", "warning"], 2),
        (["linux-4.9.120", "--cpu", "skylake", "--touches", "1"], 2),
        (["one-pass", "--cpu", "skylake", "--start", "cold"], 0),
        (["linux-4.9.120", "--cpu", "skylake", "--start", "any+invalidations"], 0),
        (
            [
                "linux-4.9.120",
                "--policy",
                "tree-PLRU",
                "--geometry",
                "16K,4,64",
                "--start",
                "any+invalidations",
                "--touches",
                "3",
                "--memory",
                "1K",
            ],
            3,
        ),
        (["linux-4.9.120", "--policy", str(MACHINE), "--geometry", "32K,8,64"], 0),
        (["linux-4.9.120", "--policy", str(MACHINE), "--geometry", "32K,8,64", "--start", "any+invalid"], 3),
    ],
)
def test_exit_status_of_verify(arguments: list[str], status: int, capsys: Capture) -> None:
    assert main(["verify", *arguments, "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    assert document["exit_status"] == status
    jsonschema.Draft202012Validator(schema("verify")).validate(document)


def test_the_scope_says_start_and_touches(capsys: Capture) -> None:
    assert main(["verify", "linux-4.9.120", "--cpu", "skylake", "--touches", "2", "--start", "COLD", "--json"]) == 2
    scope = json.loads(capsys.readouterr().out)["scope"]
    assert (scope["start"], scope["touches"], scope["all_ways_valid"]) == ("cold", 2, True)
    assert "beyond 2 to one set" in scope["not_modelled"][0]["text"]


def test_a_machine_that_knows_no_fills(capsys: Capture) -> None:
    arguments = ["verify", "one-pass", "--policy", str(MACHINE), "--geometry", "32K,8,64", "--json"]
    assert main(arguments) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["scope"]["start"], document["scope"]["all_ways_valid"]) == ("any", True)
    assert document["rows"][0]["policy"] == "haswell_l1.dot"
    assert main([*arguments, "--start", "any+invalid"]) == 3
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["verdict"], row["cause"], row["needs"]) == ("UNDECIDED", "unknown-fill", None)
    assert "--start any" in row["reason"]


def test_quiet_says_nothing(capsys: Capture) -> None:
    assert main(["verify", "one-pass", "-q"]) == 2
    assert capsys.readouterr() == ("", "")


def test_trace_as_json_has_all_events(capsys: Capture) -> None:
    assert main(["trace", "linux-4.9.120", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("trace")).validate(document)
    (path,) = document["paths"]
    loads = [
        event for event in path["events"] if event["kind"] == "load" and (event["region"] or {}).get("kind") == "buffer"
    ]
    assert len(loads) == 16 + 1024
    assert sum(run["count"] for run in path["runs"]) == len(path["events"])


# --- lists


@pytest.mark.parametrize("verb", ["routines", "rules", "cpus", "policies"])
def test_lists_in_both_forms(verb: str, capsys: Capture) -> None:
    assert main([verb, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format_version"] == 2
    assert document["command"] == verb
    assert main([verb]) == 0
    text = capsys.readouterr().out
    for item in document[verb]:
        assert item.get("name", item.get("id")) in text
    assert max(map(len, text.splitlines())) <= 80


def test_policies_as_documents(tmp_path: Path, capsys: Capture) -> None:
    assert main(["policies", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("policies")).validate(document)
    for listed in document["policies"]:
        assert main(["policies", listed["name"], "--ways", str(listed["ways"][-1]), "--json"]) == 0
        run = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator(schema("policy-run")).validate(run)
        jsonschema.Draft202012Validator(schema()).validate(run)
        assert (run["policy"], run["ways"]) == (listed["name"], listed["ways"][-1])
    (tmp_path / "mine.txt").write_text("ways 1\nstart a\na hit 0 -> a\na miss -> 0 a\n")
    assert main(["policies", str(tmp_path / "mine.txt"), "a?", "B", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["policy"], run["asked"], run["hits"], run["steps"][1]["evicted"]) == ("mine.txt", 1, 1, "a")


@pytest.mark.parametrize("ways", ["1", "2", "4", "8", "16"])
def test_drawings_fit_the_line(ways: str, capsys: Capture) -> None:
    for name in ("LRU", "BIP", "random", "tree-PLRU", "CLOCK", "QLRU_H11_M1_R1_U2"):
        assert main(["policies", name, "--ways", ways, "a_very_long_name B A!", "B?"]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_machine_that_cannot_be_read(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "binary.dot").write_bytes(b"\xff\xfe\x00")
    assert main(["policies", str(tmp_path / "binary.dot")]) == 1
    assert "binary.dot: this is not text" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("ways 1\nstart a\na hit 0 -> a\na miss -> 0 a\n")
    assert main(["policies", str(tmp_path / "mine.txt"), "--ways", "2"]) == 1
    assert "the machine has 1 ways, not 2" in capsys.readouterr().err
    assert main(["policies", str(tmp_path / "mine.txt"), "A!"]) == 1
    assert "does not say what filling an invalid way does" in capsys.readouterr().err


def test_sizes_as_documents(capsys: Capture) -> None:
    for arguments, needs in ((["LRU"], 8), (["tree-PLRU", "--touches", "1", "--start", "any"], 20), (["LIP"], None)):
        assert main(["size", "--ways", "8", "--policy", *arguments, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator(schema("size")).validate(document)
        assert (document["needs"], document["decided"], len(document["cells"])) == (needs, True, 1)
    assert main(["size", "--policy", "SRRIP-HP", "--ways", "8", "--memory", "4K", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["needs"], document["decided"], document["verdict"]) == (None, False, "UNDECIDED")
    assert main(["size", "--policy", "LRU", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert "needs" not in document and [cell["needs"] for cell in document["cells"]] == [4, 8, 12, 16]


def test_sizes_drawn_into_a_file(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["size", "--policy", "LRU", "--policy", "FIFO", "--ways", "4", "--plot"]
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _: None)
        assert main([*arguments, str(tmp_path / "curves.svg")]) == 1
        assert "drawing needs matplotlib (pip install 'l1dflush[plots]')" in capsys.readouterr().err
    pytest.importorskip("matplotlib")
    assert main([*arguments, str(tmp_path / "curves.svg")]) == 0
    assert "policy" in capsys.readouterr().out
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.svg"]


@pytest.mark.parametrize(
    ("arguments", "plot", "said"),
    [
        (["--policy", "LRU"], "nowhere/curves.svg", "there is no such folder (make it first)"),
        (["--policy", "LRU"], "folder.svg", "this is not a regular file (name a file)"),
        ([], "curves.svg", "curves in one picture cannot be told apart (at most 12: --policy and --ways say which)"),
    ],
)
def test_what_cannot_be_drawn_is_told_before_anything_is_computed(
    arguments: list[str], plot: str, said: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.svg").mkdir()
    monkeypatch.setattr("l1dflush.verdict.size.cells.sizes", None)
    assert main(["size", *arguments, "--plot", str(tmp_path / plot)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_picture_that_fails_takes_nothing_from_the_result(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "curves.svg"
    assert main(["size", "--policy", "NRU", "--ways", "12", "--memory", "1K", "--plot", str(file)]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("NRU, 12 ways: undecided\n")
    assert err == "l1dflush: no picture: --plot: there is nothing to draw (nothing was decided)\n"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert main(["size", "--policy", "LRU", "--ways", "8", "--plot", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("LRU, 8 ways: 8 accesses\n")
    assert err == f"l1dflush: no picture: {file}: cannot be written: No space left on device\n"
    assert not list(tmp_path.iterdir())


def test_explain_knows_every_rule(capsys: Capture) -> None:
    main(["rules", "--json"])
    for rule in json.loads(capsys.readouterr().out)["rules"]:
        assert main(["explain", rule["id"]]) == 0
        out = capsys.readouterr().out
        assert out.startswith(rule["id"])
        assert rule["severity"] in out


def test_a_folder_with_cpus(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.toml").write_text('title = "Mine"\nyear = 2026\nparent = "haswell"\n')
    assert main(["cpus", "--cpu-folder", str(tmp_path)]) == 0
    assert "\nmine " in capsys.readouterr().out
    assert main(["verify", "linux-4.9.120", "--cpu", "mine", "--cpu-folder", str(tmp_path), "-q"]) == 0


@pytest.mark.parametrize("which", [[], *([which] for which in SCHEMAS)])
def test_schema(which: list[str], capsys: Capture) -> None:
    assert main(["schema", *which]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


# --- streams and signals


def test_an_interrupt_gives_130_and_no_result(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(door, "_outcome", interrupted)
    assert main(["verify", "linux-4.9.120", "--json"]) == 130
    assert capsys.readouterr() == ("", "l1dflush: interrupted\n")


def test_ctrl_c_ends_a_long_run(tmp_path: Path) -> None:
    endless = tmp_path / "endless.S"
    endless.write_text(
        "\t.globl f\n\t.type f, @function\nf:\n1:\tincq %rax\n\tmovzbl (%rdi), %ecx\n\ttest %rdi, %rdi\n"
        "\tnop\n\tmov $1, %edx\n\ttest %edx, %edx\n\tjnz 1b\n\tret\n\t.size f, . - f\n"
    )
    run = process("verify", str(endless), "--max-seconds", "60", stdout=subprocess.PIPE)
    time.sleep(1.5)
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
        assert (run.returncode, out, err) == (130, b"", b"l1dflush: interrupted\n")
    else:
        run.communicate()
        pytest.skip("it was over before it could be interrupted")


@pytest.mark.parametrize("arguments", [["--help"], ["rules"], ["verify", "linux-4.9.120", "--json"]])
def test_a_full_disk_is_an_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        run = process(*arguments, stdout=full)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 1
    assert err == b"l1dflush: cannot write the result: No space left on device\n"


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "linux-4.9.120", "--json"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    run = process(*arguments, stdout=write)
    os.close(write)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, b"")


def test_a_terminal_without_unicode_gets_ascii() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = process("verify", "one-pass", stdout=subprocess.PIPE, env=environment)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (2, b"")
    assert b"+---+" in out
    assert b"?" not in out.split(b"how an old line survives")[1]


def test_columns_is_honoured(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    main(["cpus"])
    assert max(map(len, capsys.readouterr().out.splitlines())) > 80
