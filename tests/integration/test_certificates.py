# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify --certificate`` and ``check`` as commands: what is written, and what is said of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from l1dflush.checking.model import digest_of
from l1dflush.cli.main import main
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]
TRIALS = Path(__file__).parents[1] / "data" / "trials" / "inputs"
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
FIFO = ("--policy", "FIFO", "--geometry", "32K,8,64")
LARGE = """
	.globl	flush
flush:	xorl	%eax, %eax
1:	movb	(%rdi,%rax), %cl
	addq	$64, %rax
	cmpq	$131072, %rax
	jne	1b
	lfence
	ret
"""
# LRU at two ways.
TWO_WAYS = """
ways 2
start a
a hit 0 -> a
a hit 1 -> b
a miss -> 1 b
b hit 0 -> a
b hit 1 -> b
b miss -> 0 a
"""
TWO_WAYS_FILLS = """
a fill 0 -> a
a fill 1 -> b
b fill 0 -> a
b fill 1 -> b
"""
HASWELL = ("--cpu", "haswell")
LINUX = "linux-4.9.120"
SMALL = (LINUX, "--policy", "LRU", "--geometry", "4K,4,64")


def made(path: Path, *arguments: str) -> Path:
    assert main(["verify", *arguments, "-q", "--certificate", str(path)]) == 0
    return path


def changed(path: Path, to: Path, **fields: object) -> Path:
    """A copy whose digest belongs to it."""
    content = json.loads(path.read_text()) | fields
    content["digest"] = digest_of(content)
    to.write_text(json.dumps(content))
    return to


def test_what_is_proved_is_written_and_accepted(tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "linux.l1d", LINUX, *HASWELL)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~_umask()
    assert [path.name for path in tmp_path.iterdir()] == ["linux.l1d"]
    content = json.loads(file.read_text())
    jsonschema.validate(content, schema("certificate"))
    assert [claim["policy"] for claim in content["claims"]] == ["tree-PLRU"]
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "ACCEPTED" in out
    assert "lines 0-15 0-15" in out
    assert err == ""


def test_the_result_of_verify_is_what_it_is_without(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", LINUX, *HASWELL]) == 0
    without = capsys.readouterr().out
    assert main(["verify", LINUX, *HASWELL, "--certificate", str(tmp_path / "linux.l1d")]) == 0
    assert capsys.readouterr().out == without


def test_one_claim_for_each_cache(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "flush.S").write_text(LARGE)
    cpus = ("--cpu", "skylake", "--cpu", "ice-lake", "--cpu", "haswell")
    file = made(tmp_path / "two.l1d", str(tmp_path / "flush.S"), *cpus)
    assert main(["check", str(file), "--routine", str(tmp_path / "flush.S"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    jsonschema.validate(result, schema("check"))
    jsonschema.validate(result, schema())
    assert [claim["cpus"] for claim in result["claims"]] == [["skylake", "haswell"], ["ice-lake"]]
    assert [claim["words"][0]["used"] for claim in result["claims"]] == [13, 21]
    assert result["accepted"] is True
    assert result["compared"] is True


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("one-pass", *FIFO, "--buffer-size", "64"), 2, "the verdict is REFUTED"),
        (("one-pass", *HASWELL), 2, "the verdict is REFUTED"),
        (("one-pass", *HASWELL, "--expect", "refuted"), 1, "the verdict is REFUTED"),
        (("linux-4.9.120", "--cpu", "zen2"), 3, "the verdict is UNDECIDED"),
    ],
)
def test_nothing_else_is_written(
    arguments: tuple[str, ...], status: int, said: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "no.l1d"
    assert main(["verify", *arguments, "-q", "--certificate", str(file)]) == status
    assert capsys.readouterr().err == f"l1dflush: no certificate: {said}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_what_it_was(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "linux.l1d"
    file.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main(["verify", LINUX, *HASWELL, "-q", "--certificate", str(file)]) == 1
    assert capsys.readouterr().err == f"l1dflush: no certificate: {file}: cannot be written: No space left on device\n"
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["linux.l1d"]


def test_a_link_still_leads_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link.l1d").symlink_to("real.l1d")
    made(tmp_path / "link.l1d", *SMALL)
    assert (tmp_path / "link.l1d").is_symlink()
    assert json.loads((tmp_path / "real.l1d").read_text())["claims"][0]["policy"] == "LRU"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "this is not a regular file"),
        ("missing/a.l1d", "there is no such folder"),
        ("x" * 300, "cannot be written: File name too long"),
        ("nul\0", "embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_at_once(where: str, said: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", "linux-4.9.120", "--certificate", f"{tmp_path}/{where}"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


# A machine that knows fills, and one that is asked about full sets only.
@pytest.mark.parametrize(("fills", "start"), [(True, "any+invalid"), (False, "any")])
def test_a_machine_from_a_file_is_in_the_certificate(fills: bool, start: str, tmp_path: Path, capsys: Capture) -> None:
    machine = tmp_path / "two.txt"
    machine.write_text(TWO_WAYS + (TWO_WAYS_FILLS if fills else ""))
    file = made(tmp_path / "two.l1d", LINUX, "--policy", str(machine), "--geometry", "8K,2,64")
    machine.unlink()
    (claim,) = json.loads(file.read_text())["claims"]
    assert (claim["policy"]["name"], claim["start"]) == ("two.txt", start)
    assert (claim["policy"]["fills"] is not None) is fills
    assert main(["check", str(file), "--routine", "linux-4.9.120"]) == 0
    assert "ACCEPTED" in capsys.readouterr().out


def test_a_comparison_has_no_certificate(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.l1d"
    assert main(["verify", "linux-4.9.120", "--against", "one-pass", "--certificate", str(file)]) == 1
    assert "--certificate and --against exclude each other" in capsys.readouterr().err


# --- check


@pytest.mark.parametrize("option", [("--function", "flush"), ("--max-paths", "65"), ("--range", "a:b")])
def test_options_of_a_routine_want_one(option: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "small.l1d", *SMALL)
    assert main(["check", str(file), *option]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith("there is none (name it with --routine, or leave them out)\n")


def test_a_routine_is_compared(tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "linux.l1d", LINUX, *HASWELL)
    assert main(["check", str(file), "--routine", "linux-4.9.120"]) == 0
    assert "the words are those of the routine given" in capsys.readouterr().out
    assert main(["check", str(file), "--routine", "one-pass"]) == 2
    assert "it certifies another routine" in capsys.readouterr().out


def test_labels_and_words_are_those_of_the_routine(tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "linux.l1d", LINUX, *HASWELL)
    content = json.loads(file.read_text())
    renamed = changed(file, tmp_path / "renamed.l1d", routine=content["routine"] | {"name": "other"})
    assert main(["check", str(renamed)]) == 0
    assert main(["check", str(renamed), "--routine", "linux-4.9.120"]) == 2
    # A word with other lines at its end, where they make no difference to the proof.
    word = content["claims"][0]["words"][0]
    word["items"].append([len({line for line, _ in word["items"]}), "access"])
    longer = changed(file, tmp_path / "longer.l1d", claims=content["claims"])
    assert main(["check", str(longer)]) == 0
    capsys.readouterr()
    assert main(["check", str(longer), "--routine", "linux-4.9.120"]) == 2
    assert "the words are not those of the routine given" in capsys.readouterr().out


def test_what_is_rejected_is_told_with_its_place(tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "linux.l1d", LINUX, *HASWELL)
    content = json.loads(file.read_text())
    content["claims"][0]["words"][1]["layers"][4].pop()
    broken = changed(file, tmp_path / "broken.l1d", claims=content["claims"])
    assert main(["check", str(broken), "--json"]) == 2
    result = json.loads(capsys.readouterr().out)
    jsonschema.validate(result, schema("check"))
    assert result["accepted"] is False
    assert result["claims"] == []
    assert result["place"]["claim"] == 0
    assert result["place"]["word"] == 1
    assert result["place"]["layer"] == 3
    file.write_text(file.read_text().replace("haswell", "haswelk"))
    assert main(["check", str(file)]) == 2
    assert "REJECTED  the digest does not belong to the content" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.l1d", "", "empty.l1d"])
def test_what_cannot_be_read_is_one_line(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty.l1d").write_text("")
    assert main(["check", f"{tmp_path}/{name}"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_too_large_to_be_checked_is_undecided(tmp_path: Path, capsys: Capture) -> None:
    file = made(tmp_path / "small.l1d", *SMALL)
    content = json.loads(file.read_text())
    content["claims"][0] |= {"ways": 16, "cache": {"size": 16384, "sets": 16, "line": 64}}
    large = changed(file, tmp_path / "large.l1d", claims=content["claims"])
    assert main(["check", str(large)]) == 3
    assert "more than 200000 states" in capsys.readouterr().err


def test_the_place_where_the_result_goes_is_no_place_for_a_certificate(tmp_path: Path) -> None:
    both = tmp_path / "both.txt"
    with both.open("w") as out:
        command = [
            sys.executable,
            "-m",
            "l1dflush",
            "verify",
            "linux-4.9.120",
            "--cpu",
            "skylake",
            "--certificate",
            "/dev/stdout",
        ]
        ended = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "the result is written there already" in ended.stderr
    assert both.read_text() == ""


def test_a_certificate_from_standard_input(tmp_path: Path) -> None:
    assert main(["verify", "linux-4.9.120", "--cpu", "skylake", "--certificate", str(tmp_path / "x.l1d"), "-q"]) == 0
    with (tmp_path / "x.l1d").open("rb") as certificate:
        command = [sys.executable, "-m", "l1dflush", "check", "-"]
        ended = subprocess.run(command, stdin=certificate, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "ACCEPTED" in ended.stdout


HALF_32 = """
	.globl drain
drain:	movl	$space, %eax
1:	movb	(%eax), %cl
	addl	$64, %eax
	cmpl	$space+{}, %eax
	jne	1b
	lfence
	ret
	.bss
	.balign 4096
space:	.skip 65536
"""


@needs_as
@pytest.mark.parametrize(
    ("half", "whole"),
    [
        ((TRIALS / "30a-half.s").read_text(), (TRIALS / "30b-whole.s").read_text()),
        (HALF_32.format(16384), HALF_32.format(65536)),
    ],
    ids=["64", "32"],
)
def test_routines_that_differ_only_in_an_addend_are_not_taken_for_each_other(
    half: str, whole: str, tmp_path: Path, capsys: Capture
) -> None:
    files = [tmp_path / name for name in ("half.s", "whole.s")]
    for file, text in zip(files, (half, whole), strict=True):
        file.write_text(text)
    names = [str(file) for file in files]
    found = []
    for name, status in zip(names, (2, 0), strict=True):
        assert main(["verify", name, "--cpu", "skylake", "--json"]) == status
        found.append(json.loads(capsys.readouterr().out)["routine"]["sha256"])
    assert found[0] != found[1]
    file = made(tmp_path / "whole.l1d", names[1], "--cpu", "skylake")
    assert json.loads(file.read_text())["routine"]["sha256"] == found[1]
    assert main(["check", str(file), "--routine", names[1]]) == 0
    assert main(["check", str(file), "--routine", names[0]]) == 2
    capsys.readouterr()
    assert main(["verify", names[0], "--against", names[1], "--cpu", "skylake", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["same_code"] is False
    assert main(["verify", names[1], "--against", names[1], "--cpu", "skylake", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same_code"] is True
