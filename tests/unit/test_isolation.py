# SPDX-License-Identifier: GPL-2.0-or-later
"""A task in a child process: what it answers, and what surrounds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from child_tasks import SMALL, in_the_end, nothing_left, raising, undecided  # noqa: F401 (a fixture for all)

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError, InternalError, UndecidedError
from l1dflush.sandbox import judged
from l1dflush.sandbox.answer import GarbledAnswerError, answer_of, network_refused, text_of
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import Limits
from l1dflush.verdict import judge
from l1dflush.verdict.options import VerifyOptions

# --- answers


@pytest.mark.parametrize("text", ["", "x", "a\nb\0\ud800\x1b", "ü" * 200_000])
def test_a_text_comes_back(text: str) -> None:
    assert run_in_child(lambda: text, Limits()) == text


def test_it_is_another_process() -> None:
    assert int(run_in_child(lambda: str(os.getpid()), SMALL)) != os.getpid()


def test_a_large_answer_comes_back() -> None:
    assert len(run_in_child(lambda: "x" * (50 << 20), Limits())) == 50 << 20


def test_an_answer_that_is_too_large() -> None:
    assert "more than 1 MiB" in str(undecided(lambda: "x" * (3 << 20), "answer-too-large"))


@pytest.mark.parametrize(
    "error",
    [
        InputError("what"),
        InputError("what is wrong", where="a file:3", hint="do this"),
        UndecidedError("a-cause", "what"),
        UndecidedError("a-cause", "what", where="0x40", hint="--option"),
    ],
)
def test_errors_come_back_with_all_they_say(error: InputError | UndecidedError) -> None:
    with pytest.raises(type(error)) as caught:
        run_in_child(raising(error), SMALL)
    assert vars(caught.value) == vars(error)
    assert str(caught.value) == str(error)


def test_other_exceptions_are_internal_errors() -> None:
    with pytest.raises(InternalError, match="ZeroDivisionError: by nothing") as caught:
        run_in_child(raising(ZeroDivisionError("by nothing")), SMALL)
    assert caught.value.place.startswith("child_tasks.py:")
    assert "Traceback" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{}",
        b"\n",
        b"\n\n",
        b"\xff\n",
        b"[1]\n",
        b"[" * 100_000 + b"\n",
        b'{"text": 1}\n',
        b'{"text": "a", "more": 1}\n',
        b'{"text": "a"}\n{"text": "b"}\n',
        b'{"input": ["a"]}\n',
        b'{"input": ["a", 1, null]}\n',
        b'{"input": [null, null, null]}\n',
        b'{"undecided": ["a", "b", {}, null]}\n',
        b'{"internal": []}\n',
        b'{"out_of_memory": false}\n',
    ],
)
def test_garbage_from_the_child(garbage: bytes) -> None:
    with pytest.raises(GarbledAnswerError):
        text_of(garbage)

    def task() -> NoReturn:
        for file in range(3, 4000):
            try:
                os.write(file, garbage)
            except OSError:
                continue
        os._exit(0)

    assert "no proper answer" in str(undecided(task, "library-crashed"))


@pytest.mark.parametrize("garbage", [b"", b"null", b'{"network_refused": 1}', b'{"network_refused": true, "x": 1}'])
def test_a_garbled_first_line(garbage: bytes) -> None:
    with pytest.raises(GarbledAnswerError):
        network_refused(garbage)


def test_no_control_characters_get_through() -> None:
    with pytest.raises(InputError) as caught:
        text_of(b'{"input": ["a\\u001b[31m\\nb", "c\\nd", "\\u009b2J"]}')
    assert str(caught.value).isprintable()


def test_a_result_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Result:
        def model_dump_json(self) -> str:
            return '{"verdict": "PROVED"}'

    monkeypatch.setattr(judge, "verify", lambda *_: Result())
    with pytest.raises(UndecidedError, match="a result that is none") as caught:
        judged.verify("one-pass", VerifyOptions())
    assert caught.value.cause == "library-crashed"


# --- the surroundings


def test_output_of_the_child_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    def task() -> str:
        os.write(1, b"out")
        os.write(2, b"err")
        return "done"

    assert run_in_child(task, SMALL) == "done"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_standard_files_that_are_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    program = (
        f"import os; [os.close(n) for n in {closed}]\n"
        "from l1dflush.sandbox.child import run_in_child\n"
        f"text = run_in_child(lambda: 'done')\nopen({str(tmp_path / 'said')!r}, 'w').write(text)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert (tmp_path / "said").read_text() == "done"


def test_where_nobody_is_told_of_the_end_of_children() -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run_in_child(lambda: subprocess.check_output(["echo", "x"], text=True), Limits()) == "x\n"
        undecided(os.abort, "library-crashed")
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_what_waits_is_entered_while_the_child_runs(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    order: list[str] = []

    @contextmanager
    def waiting() -> Iterator[None]:
        order.append("in")
        flag.touch()
        yield
        order.append("out")

    assert run_in_child(lambda: str(in_the_end(flag.exists)), SMALL, waiting=waiting()) == "True"
    assert order == ["in", "out"]


def test_beside_other_threads() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert run_in_child(lambda: "done", SMALL) == "done"
    finally:
        stop.set()
        thread.join()


def test_not_only_in_the_main_thread() -> None:
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(run_in_child(lambda: "done", SMALL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["done"] * 4


# --- the judge in a child


def test_the_same_results_as_in_this_process() -> None:
    options = VerifyOptions(policy="FIFO", geometry=Geometry(32768, 8, 64))
    assert judged.verify("one-pass", options) == judge.verify("one-pass", options)
    assert judged.trace_of("52k", options) == judge.trace_of("52k", options)


def test_the_same_errors_as_in_this_process() -> None:
    with pytest.raises(InputError) as there:
        judged.verify("no-such-file", VerifyOptions())
    with pytest.raises(InputError) as here:
        judge.verify("no-such-file", VerifyOptions())
    assert vars(there.value) == vars(here.value)


def test_an_answer_that_cannot_be_made_for_want_of_memory() -> None:
    assert answer_of(raising(MemoryError()), 0) == b'{"out_of_memory": true}\n'


def test_files_of_a_killed_child_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def task() -> str:
        folder = tmp_path / f"l1dflush-{os.getpid()}-x"
        folder.mkdir()
        (folder / "input.c").write_text("int a;")
        os.kill(os.getpid(), signal.SIGSEGV)
        return ""

    undecided(task, "library-crashed")
    assert not list(tmp_path.iterdir())
