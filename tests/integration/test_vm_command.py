# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush vm`` with a kernel that is made up, so that it can be tested where there is no KVM, and without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from fake_kvm import HALT, FakeKernel, exit_of, port

from l1dflush import _core
from l1dflush.cli.main import main
from l1dflush.report.schemas import schema
from l1dflush.vmentry.kvm import abi, real_host
from l1dflush.vmentry.kvm import session as kvm_session
from l1dflush.vmentry.kvm import vm as kvm

Capture = pytest.CaptureFixture[str]
Play = Callable[[list[bytes | BaseException]], None]

needs_flush = pytest.mark.skipif(not _core.NATIVE, reason="no native flush for this machine")
needs_tools = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("ld") is None, reason="no assembler and linker"
)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Play:
    def install(exits: list[bytes | BaseException]) -> None:
        FakeKernel(lambda: iter(exits)).install(monkeypatch, tmp_path)

    return install


def demo_exits() -> Iterator[bytes | BaseException]:
    for number in range(1, 201):
        yield port(0x11 if number % 50 else 0x10)
    yield HALT


@pytest.fixture
def demo(play: Play) -> None:
    play(list(demo_exits()))


@pytest.fixture
def guest(tmp_path: Path) -> str:
    path = tmp_path / "guest.s"
    path.write_text("again: out %al, $0x11\n hlt\n", encoding="ascii")
    return str(path)


# --- the demonstration


@needs_flush
@pytest.mark.usefixtures("demo")
def test_the_demonstration(capsys: Capture) -> None:
    assert main(["vm", "--demo", "--variant", "linux-2018"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = [line.split() for line in out.splitlines()]
    assert ["never", "none", "5", "1005", "25", "0"] in rows
    assert ["cond", "linux-2018,", "64", "KiB", "5", "1005", "25", "25"] in rows
    assert ["always", "linux-2018,", "64", "KiB", "5", "1005", "25", "1005"] in rows
    assert "  exits    5 halt, 1000 port; ports: 0x10 20 (with a secret), 0x11 980" in out.splitlines()
    # What it can and cannot promise is said there.
    told = " ".join(out.split())
    assert "Between the flush and the guest's first instruction the kernel runs" in told
    assert "Exits that the kernel handles itself" in told and "the Python loop" in told
    assert max(map(len, out.splitlines())) <= 80


@needs_flush
@pytest.mark.usefixtures("demo")
def test_json_fits_its_schema(capsys: Capture) -> None:
    assert main(["vm", "--demo", "--policy", "tree-PLRU", "--mode", "auto", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for which in ("vm", None):
        jsonschema.validate(document, schema(which))
    first, *rows = document["rows"]
    assert first["mode"] == "never" and first["flushes"] == 0
    assert [row["flush"] for row in rows][:3] == ["linux-2018", "planned", "steady"]
    for row in rows:
        assert (row["mode"], row["flushes"], row["sensitive"]) == ("cond", 25, 25)
    assert len(document["promise"]) == 4


@needs_flush
@pytest.mark.usefixtures("demo")
def test_another_secret_port(capsys: Capture) -> None:
    assert main(["vm", "--demo", "--variant", "linux-2018", "--mode", "cond", "--secret-port", "17", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][1]["flushes"] == 5 + 980


@needs_flush
def test_never_alone(demo: None, capsys: Capture) -> None:
    assert main(["vm", "--demo", "--mode", "never", "--times", "2", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["entries"], row["flushes"]) == (402, 0)


@needs_flush
@pytest.mark.usefixtures("demo")
def test_a_flush_that_there_is_not(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["vm", "--demo", "--variant", "planned", "--policy", "LIP"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("l1dflush: ") and err.count("\n") == 1
    assert main(["vm", "--demo", "--policy", "LIP", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"planned", "steady"} <= set(document["not_run"])

    def refuses(*_: object, **__: object) -> None:
        raise real_host.AllocationError("mmap: Cannot allocate memory")

    monkeypatch.setattr(real_host, "Flusher", refuses)
    assert main(["vm", "--demo", "--variant", "linux-2018"]) == 1
    assert capsys.readouterr().err == "l1dflush: mmap: Cannot allocate memory\n"


def test_the_old_name_of_a_flush_is_told_the_new_one(capsys: Capture) -> None:
    assert main(["vm", "--demo", "--variant", "seed"]) == 1
    assert "'seed' is called 'linux-2018' now" in capsys.readouterr().err


# --- a guest of one's own


@needs_flush
@needs_tools
def test_a_guest(play: Play, guest: str, capsys: Capture) -> None:
    play([port(0x11), HALT])
    assert main(["vm", guest, "--times", "3", "--variant", "linux-2018"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "guest.s: 3 bytes, real mode, 1024 KiB of memory" in out and "it halted" in out


@needs_flush
@needs_tools
@pytest.mark.parametrize(
    ("last", "told"),
    [
        (exit_of(abi.EXIT_SHUTDOWN), "it crashed: triple fault"),
        (exit_of(abi.EXIT_ENTRY_FAILED, abi.ENTRY_FAILURE.pack(7, 0)),
         "the CPU refused the entry (hardware reason 0x7)"),
        (exit_of(abi.EXIT_INTERNAL_ERROR, abi.INTERNAL_ERROR.pack(1)),
         "KVM gave up on it (an instruction cannot be emulated, at 0x0)"),
        (exit_of(99), "an exit that is not handled here (exit reason 99)"),
    ],
)  # fmt: skip
def test_a_guest_that_fails(last: bytes, told: str, play: Play, guest: str, capsys: Capture) -> None:
    play([port(0x11), last])
    assert main(["vm", guest, "--variant", "linux-2018"]) == 1
    out, err = capsys.readouterr()
    assert err == f"l1dflush: the guest did not run to its end: {told}\n"
    assert told in " ".join(out.split())
    assert main(["vm", guest, "--variant", "linux-2018", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["exit_status"] == 1
    jsonschema.validate(document, schema("vm"))


@needs_flush
@needs_tools
def test_a_refused_entry_is_one_line(play: Play, guest: str, capsys: Capture) -> None:
    play([OSError(14, "Bad address")])
    assert main(["vm", guest, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err == "l1dflush: KVM_RUN: Bad address\n"
    jsonschema.validate(json.loads(out), schema("error"))


@needs_flush
@needs_tools
def test_an_interrupt(play: Play, guest: str, capsys: Capture) -> None:
    play([KeyboardInterrupt()])
    assert main(["vm", guest]) == 130
    assert capsys.readouterr() == ("", "l1dflush: interrupted\n")


@needs_flush
@needs_tools
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "guest.s: there is no code in it"),
        ("# nothing\n", "guest.s: there is no code in it"),
        (" mov nowhere, %ax\n", "guest.s:1: undefined reference to `nowhere'"),
        (" nop\n movz %ax\n", "guest.s:2: "),
        (" hlt\n .bss\n .skip 0x200000\n", "its memory at 0x100000 (--memory 20"),
        (' .incbin "/etc/passwd"\n', "'.incbin' reads another file"),
        (' .section .far, "ax"\n hlt\n', "there is no code at 0x8000, where it starts (put it into .text)"),
    ],
)  # fmt: skip
def test_guests_that_cannot_be_run(text: str, told: str, play: Play, tmp_path: Path, capsys: Capture) -> None:
    play([HALT])
    path = tmp_path / "guest.s"
    path.write_text(text, encoding="ascii")
    assert main(["vm", str(path), "--variant", "linux-2018"]) == 1
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a guest, or --demo"),
        (["guest.s", "--demo"], "give a guest, or --demo"),
        (["--demo", "--long-mode"], "the demonstration is for real mode"),
        (["--demo", "--memory", "0"], "--memory: a size of 0"),
        (["--demo", "--memory", "nonsense"], "--memory: "),
        (["--demo", "--memory", "5000"], "a guest cannot have 5000 bytes of memory"),
        (["--demo", "--memory", "2G"], "at most 1024M"),
        (["--demo", "--max-seconds", "0"], "--max-seconds: '0' is not a time limit"),
        (["--demo", "--times", "0"], "--times"),
        (["--demo", "--mode", "sometimes"], "--mode"),
        (["--demo", "--secret-port", "65536"], "--secret-port"),
        (["/nowhere/guest.s"], "/nowhere/guest.s: there is no such file"),
    ],
)
@needs_flush
def test_options(arguments: list[str], told: str, demo: None, capsys: Capture) -> None:
    assert main(["vm", *arguments]) == 1
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


# --- no KVM


@pytest.mark.parametrize("json_wanted", [False, True])
def test_without_kvm_it_says_why(
    json_wanted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    assert main(["vm", "--demo", *(["--json"] if json_wanted else [])]) == 3
    out, err = capsys.readouterr()
    assert err.startswith(f"l1dflush: undecided (no-kvm): there is no {tmp_path / 'kvm'} (") and err.count("\n") == 1
    if json_wanted:
        document = json.loads(out)
        jsonschema.validate(document, schema("error"))
        assert document["exit_status"] == 3
    else:
        assert out == ""


def test_the_loop_alone_is_measured_without_kvm() -> None:
    if not _core.NATIVE:
        pytest.skip("no native flush for this machine")
    loop = kvm_session.loop_alone()
    assert 0 < loop.timed < loop.whole
