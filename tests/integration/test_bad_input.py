# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input ends in one clear line and exit status 1, or in UNDECIDED with its cause and exit status 3."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from l1dflush.cli.main import main

needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["verify", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error; nothing on standard output, and exit status 1."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("l1dflush: ") and err.count("\n") == 1
    return err


def undecided(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    status, out, _ = run(capsys, *arguments, "--json")
    result: dict[str, object] = json.loads(out)
    assert (status, result["verdict"]) == (3, "UNDECIDED")
    assert result["cause"] and result["reason"]
    return result


def assembly(path: Path, body: str) -> str:
    path.write_text(
        f"        .globl flush\n        .type flush, @function\nflush:\n{body}\n        .size flush, .-flush\n"
    )
    return str(path)


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.c").touch()
    assert "empty" in refused(capsys, str(tmp_path / "empty.c"))


def test_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "directory" in refused(capsys, str(tmp_path))


def test_a_huge_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "huge.o").open("wb") as file:
        file.truncate(1 << 30)
    assert "more than 64 MiB" in refused(capsys, str(tmp_path / "huge.o"))


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in refused(capsys, str(tmp_path / "nothing.o"))


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "nobody writes to this named pipe (give a regular file, or - and" in refused(capsys, str(tmp_path / "pipe"))


def test_a_binary_mail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = b"From: someone\nSubject: [PATCH] flush\n\n" + bytes(range(256)) * 40
    (tmp_path / "mail.eml").write_bytes(mail)
    refused(capsys, str(tmp_path / "mail.eml"))


def test_a_patch_without_a_flush(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patch = "--- a/x.c\n+++ b/x.c\n@@ -1,1 +1,4 @@\n int x;\n+int add(int a, int b)\n+{\n+\treturn a + b; }\n"
    (tmp_path / "no.patch").write_text(patch)
    assert "flush" in refused(capsys, str(tmp_path / "no.patch"))


@needs_cc
def test_c_that_does_not_compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.c").write_text("void l1d_flush(void)\n{\n\tint x = ;\n}\n")
    assert "bad.c:3: expected expression" in refused(capsys, str(tmp_path / "bad.c"))


def test_no_compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flush.c").write_text("void l1d_flush(char *p) { for (int i = 0; i < 9; i++) p[i]; }\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert "compiler" in refused(capsys, str(tmp_path / "flush.c"))


def test_no_assembler(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = assembly(tmp_path / "flush.s", "        ret")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "assembler" in refused(capsys, source)


@needs_as
def test_a_function_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = assembly(tmp_path / "flush.s", "        ret")
    assert "flush" in refused(capsys, source, "--function", "flsh")


@needs_as
def test_an_endless_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for body in ("1:      mov (%rdi), %al\n        jmp 1b", "1:      inc %eax\n        jmp 1b"):
        result = undecided(capsys, assembly(tmp_path / "flush.s", body), "--max-seconds", "1")
        assert result["cause"] == "budget"
    assert undecided(capsys, assembly(tmp_path / "flush.s", "        jmp flush"))["cause"] == "endless-loop"


@needs_as
def test_more_accesses_than_anybody_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "        mov $4900000, %ecx\n        mov %rdi, %rsi\n        rep lodsb\n        ret"
    assert undecided(capsys, assembly(tmp_path / "flush.s", body))["cause"] == "budget"


@needs_as
def test_a_jump_into_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = assembly(tmp_path / "flush.s", "        mov $0x1234, %eax\n        jmp *%rax")
    assert undecided(capsys, source)["cause"] == "jump-into-nowhere"


@needs_as
def test_running_off_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert undecided(capsys, assembly(tmp_path / "flush.s", "        nop"))["cause"] == "jump-into-nowhere"


@needs_as
@pytest.mark.parametrize(
    "instruction",
    [
        "getsec",
        "hlt",
        "syscall",
        "monitor",
        "vpgatherdd %ymm1, (%rdi,%ymm2), %ymm3",
    ],
)
def test_an_instruction_that_nobody_classified(
    instruction: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = undecided(capsys, assembly(tmp_path / "flush.s", f"        {instruction}\n        ret"))
    assert result["cause"] == "unclassified-instruction"
    assert instruction.partition(" ")[0] in str(result["reason"])


@needs_as
def test_bytes_that_are_no_instruction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = assembly(tmp_path / "flush.s", "        .byte 0x06\n        ret")
    assert undecided(capsys, source)["cause"] == "not-an-instruction"


@needs_as
def test_a_loop_without_a_known_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = (
        "        xor %eax, %eax\n1:      movzbl (%rdi,%rax), %ecx\n        add $64, %rax\n"
        "        cmp %rsi, %rax\n        jne 1b\n        ret"
    )
    source = assembly(tmp_path / "flush.s", body)
    result = undecided(capsys, source)
    assert "--bind rsi=VALUE" in str(result["reason"])
    status, out, _ = run(capsys, source, "--bind", "rsi=65536", "--cpu", "skylake", "--json")
    assert (status, json.loads(out)["verdict"]) == (0, "PROVED")


def object_file(path: Path) -> bytes:
    source = path.with_suffix(".s")
    assembly(source, "        ret")
    subprocess.run(["as", "-o", str(path), str(source)], check=True)
    return path.read_bytes()


@needs_as
def test_a_truncated_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = object_file(tmp_path / "flush.o")
    for length in (5, 40, 63, 64, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.o").write_bytes(data[:length])
        refused(capsys, str(tmp_path / "cut.o"))


@needs_as
@pytest.mark.parametrize(("machine", "name"), [(0xB7, "AArch64"), (0x28, "ARM"), (0x15, "PowerPC"), (0xF3, "RISC-V")])
def test_another_architecture(machine: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(object_file(tmp_path / "flush.o"))
    struct.pack_into("<H", data, 18, machine)
    (tmp_path / "other.o").write_bytes(data)
    line = refused(capsys, str(tmp_path / "other.o"))
    assert name.lower() in line.lower() and "x86" in line


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--cpu", "skylaek"], "skylake"),
        (["--policy", "LRU"], "--geometry"),
        (["--geometry", "32K,8,64"], "--policy"),
        (["--policy", "nonsense", "--geometry", "32K,8,64"], "tree-PLRU"),
        (["--policy", "tree-PLRU", "--geometry", "48K,12,64"], "power of two"),
        (["--policy", "LRU", "--geometry", "33K,8,64"], "sets"),
        (["--policy", "LRU", "--geometry", "0,8,64"], ""),
        (["--policy", "LRU", "--geometry", "32K,8"], "size,ways,line"),
        (["--policy", "LRU", "--geometry", "32K,17,64"], "ways"),
        (["--policy", "LRU", "--geometry", "32K,8,64", "--cpu", "skylake"], ""),
        (["--bind", "rdi"], "NAME=VALUE"),
        (["--bind", "nothing=1"], "nothing"),
        (["--bind", "rdi=many"], "many"),
        (["--buffer-size", "lots"], "lots"),
        (["--no-such-option"], "--no-such-option"),
        (["--expect", "maybe"], "maybe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert word in refused(capsys, "linux-4.9.120", *arguments)
