"""A task in a child process: whatever becomes of it, the parent goes on and says it in one line."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError, InternalError, UndecidedError
from l1dflush.isolation import child, judged, network
from l1dflush.isolation.answer import GarbledAnswerError, answer_of, network_refused, text_of
from l1dflush.isolation.child import run_in_child
from l1dflush.isolation.limits import Limits, limits_for
from l1dflush.verdict import judge
from l1dflush.verdict.options import VerifyOptions

SMALL = Limits(wall_seconds=20, memory_bytes=256 << 20, file_bytes=1 << 20, answer_bytes=1 << 20)


def undecided(task: Callable[[], str], cause: str, limits: Limits = SMALL) -> UndecidedError:
    with pytest.raises(UndecidedError) as caught:
        run_in_child(task, limits)
    assert "\n" not in str(caught.value)
    assert caught.value.cause == cause, caught.value
    return caught.value


def raising(error: BaseException) -> Callable[[], str]:
    def task() -> NoReturn:
        raise error

    return task


def gone(pid: int) -> bool:
    """Whether the process is no more; a zombie that nobody waits for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def in_the_end(condition: Callable[[], bool]) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No child and no open file is left behind, whatever happened."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


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
    assert caught.value.place.startswith("test_isolation.py:")
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

    assert "no proper answer" in str(undecided(task, "emulator-crashed"))


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
    assert caught.value.cause == "emulator-crashed"


# --- crashes and limits


@pytest.mark.parametrize(
    ("crash", "name"),
    [
        (lambda: ctypes.string_at(0), "SIGSEGV"),
        (os.abort, "SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGILL), "SIGILL"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "SIGBUS"),
        (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 3), f"signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_a_crash_is_undecided(crash: Callable[[], object], name: str) -> None:
    error = undecided(lambda: str(crash()), "emulator-crashed")
    assert f"ended by {name}" in error.what
    assert error.hint and "report" in error.hint


def test_a_library_that_ends_the_process() -> None:
    assert "ended with status 1" in str(undecided(lambda: os._exit(1), "emulator-crashed"))


def test_the_killer_of_the_kernel() -> None:
    undecided(lambda: str(os.kill(os.getpid(), signal.SIGKILL)), "out-of-memory")


@pytest.mark.parametrize("piece", [1 << 16, 1 << 24, 1 << 40])
def test_memory_is_limited(piece: int) -> None:
    def task() -> str:
        kept = []
        while True:
            kept.append(bytes(piece))

    assert "256 MiB" in str(undecided(task, "out-of-memory"))


def test_a_library_that_aborts_for_want_of_memory() -> None:
    # What this process has ever had does not count, but the child may have it as well.
    had = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    def task() -> str:
        kept = b"x" * (2 * had + (250 << 20))
        os.abort()
        return str(len(kept))

    undecided(task, "out-of-memory", Limits(memory_bytes=2 * had + (400 << 20)))


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "cpu_seconds", 1)

    def task() -> str:
        while True:
            pass

    error = undecided(task, "budget")
    assert error.hint and "--max-seconds" in error.hint


def test_time_is_limited() -> None:
    undecided(lambda: str(time.sleep(1000)), "budget", Limits(wall_seconds=0.2))


def test_a_child_that_does_not_listen_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_GRACE_SECONDS", 0.2)

    def task() -> str:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return str(time.sleep(1000))

    undecided(task, "budget", Limits(wall_seconds=0.2))


def test_files_are_limited(tmp_path: Path) -> None:
    file = tmp_path / "file"

    def task() -> str:
        with file.open("wb") as target:
            while True:
                target.write(b"x" * (1 << 18))

    assert "more than 1 MiB" in str(undecided(task, "file-too-large"))
    assert file.stat().st_size <= 1 << 20


def test_stricter_limits_stay() -> None:
    def task() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 8192))
        Limits().apply()
        return repr((resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE)))

    assert run_in_child(task, SMALL) == "((4096, 8192), (0, 0))"


@pytest.mark.parametrize("seconds", [1e-9, 10.0, 1e300])
def test_any_time_limit_makes_limits(seconds: float) -> None:
    limits = limits_for(seconds)
    assert 120 <= limits.wall_seconds <= 1e9
    assert run_in_child(lambda: "done", limits) == "done"


def test_the_limits_of_the_parent_are_untouched() -> None:
    before = [resource.getrlimit(n) for n in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]
    run_in_child(lambda: "", SMALL)
    assert before == [resource.getrlimit(n) for n in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(InputError, match="cannot start a process: Resource temporarily unavailable"):
        run_in_child(lambda: "", SMALL)


def test_no_file_to_be_had() -> None:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, old[1]))
    try:
        with pytest.raises(InputError, match="cannot start a process: Too many open files"):
            run_in_child(lambda: "", SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


# --- the network


def tries(*family_and_kind: int) -> Callable[[], str]:
    def task() -> str:
        try:
            socket.socket(*family_and_kind).close()
        except OSError as error:
            return type(error).__name__
        return "open"

    return task


SOCKETS = [
    (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_STREAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_NETLINK, socket.SOCK_RAW),
]
filtered = pytest.mark.skipif(os.uname().machine not in network._ABIS, reason="no filter is known for this machine")


@filtered
@pytest.mark.parametrize("kind", SOCKETS)
def test_there_is_no_network(kind: tuple[int, int]) -> None:
    assert run_in_child(tries(*kind), SMALL) == "PermissionError"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM):
        pass  # here it is still to be had


@filtered
def test_neither_is_there_for_what_the_child_starts() -> None:
    program = "import socket; socket.socket()"

    def task() -> str:
        done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=False)
        return done.stderr

    assert "PermissionError" in run_in_child(task, Limits())


def test_unix_sockets_stay() -> None:
    assert run_in_child(tries(socket.AF_UNIX, socket.SOCK_STREAM), SMALL) == "open"


@filtered
def test_no_detour_by_io_uring() -> None:
    def task() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(425, 1, ctypes.create_string_buffer(200))
        return os.strerror(ctypes.get_errno())

    assert run_in_child(task, SMALL) == "Permission denied"


def test_sockets_of_the_parent_are_closed() -> None:
    with socket.socket() as ours:
        number = ours.fileno()
        error = "OSError"

        def task() -> str:
            try:
                os.fstat(number)
            except OSError:
                return error
            return "open"

        assert run_in_child(task, SMALL) == error


def test_a_network_of_its_own_where_there_is_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_ABIS", {})
    warnings: list[str] = []

    def task() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.connect(("192.0.2.1", 9))
            except OSError as error:
                return str(error.strerror)
        return "reached"

    said = run_in_child(task, SMALL, warn=warnings.append)
    if warnings:
        pytest.skip("this system lets nobody have a network of his own")
    assert said == "Network is unreachable"


def test_where_nothing_helps_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "cut_off", lambda: False)
    warnings: list[str] = []
    assert run_in_child(lambda: "done", SMALL, warn=warnings.append) == "done"
    assert warnings == [child.NETWORK_IS_OPEN]
    assert run_in_child(lambda: "done", SMALL) == "done"


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
        "from l1dflush.isolation.child import run_in_child\n"
        f"text = run_in_child(lambda: 'done')\nopen({str(tmp_path / 'said')!r}, 'w').write(text)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert (tmp_path / "said").read_text() == "done"


def test_where_nobody_is_told_of_the_end_of_children() -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run_in_child(lambda: subprocess.check_output(["echo", "x"], text=True), Limits()) == "x\n"
        undecided(os.abort, "emulator-crashed")
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


# --- interrupts and orphans

PROGRAM = """
import os, signal, subprocess, sys, tempfile, time
from l1dflush.isolation.child import run_in_child

def task():
    with tempfile.TemporaryDirectory(dir={folder!r}) as name:
        compiler = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        try:
            with open({pids!r} + ".new", "w") as file:
                file.write(f"{{os.getpid()}} {{compiler.pid}}")
            os.rename({pids!r} + ".new", {pids!r})
            compiler.wait()
        finally:
            compiler.kill()
            compiler.wait()

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    run_in_child(task)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
)
def test_whatever_ends_the_parent_ends_all(number: signal.Signals, whole_group: bool, tmp_path: Path) -> None:
    folder, pids = tmp_path / "temporary", tmp_path / "pids"
    folder.mkdir()
    program = PROGRAM.format(folder=str(folder), pids=str(pids))
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True)
    assert in_the_end(pids.exists)
    assert list(folder.iterdir())
    (os.killpg if whole_group else os.kill)(parent.pid, number)
    _, err = parent.communicate(timeout=30)
    assert parent.returncode == (130 if number is signal.SIGINT else -number), err
    assert in_the_end(lambda: all(gone(int(pid)) for pid in pids.read_text().split()))
    assert in_the_end(lambda: not list(folder.iterdir()))


def test_a_parent_that_is_gone_already() -> None:
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            # As the child of a parent that died: the parent's number is not that of anybody.
            child._be_the_child(lambda: "done", SMALL, set(), write, parent=1 << 30)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 100) == b""
    os.close(read)
    os.waitpid(middle, 0)


def test_several_at_once_do_not_disturb_each_other() -> None:
    command = [sys.executable, "-m", "l1dflush", "verify", "one-pass", "--json"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    texts = {run.communicate(timeout=120)[0] for run in runs}
    assert len(texts) == 1
    assert b'"REFUTED"' in texts.pop()


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

    undecided(task, "emulator-crashed")
    assert not list(tmp_path.iterdir())
