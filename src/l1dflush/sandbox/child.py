# SPDX-License-Identifier: GPL-2.0-or-later
"""A task in a child process: start, limits, answer, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NoReturn

from l1dflush import cache_files
from l1dflush.errors import InputError, UndecidedError
from l1dflush.sandbox import files, network
from l1dflush.sandbox.answer import GarbledAnswerError, answer_of, line, network_refused, text_of
from l1dflush.sandbox.limits import Limits

NETWORK_IS_OPEN = "this system has no means to cut the child process off the network; it runs with it"

# Time to stop compilers and remove temporary files, before the child is ended by force.
_GRACE_SECONDS = 3.0
_REPORT = "a defect of a library or of a parser: please report it, with the input"
_LESS = "--function or --bind may leave less to follow"
_PIECE = 1 << 20
# The longest that poll() is asked to wait: it takes milliseconds in 31 bits.
_LONGEST_WAIT = 3600.0
_PR_SET_PDEATHSIG = 1


def run_in_child(
    task: Callable[[], str],
    limits: Limits | None = None,
    *,
    waiting: AbstractContextManager[None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> str:
    """The text that ``task`` returns in a child process.

    ``waiting`` is entered as soon as the child runs, and left when it has answered: the place for threads and slow
    imports. ``warn`` is called at most once, with one line, if the child cannot be cut off the network.

    Raises what the task raises: InputError and UndecidedError as they are, all other exceptions as InternalError.
    UndecidedError says if it could not finish: out of memory (cause ``out-of-memory``) or time (``budget``), ended
    by a signal or without a proper answer (``library-crashed``), a file or an answer too large
    (``file-too-large``, ``answer-too-large``). InputError if no process can be started.

    The child is a fork. Other threads do not exist in it, but locks that they hold do.
    """
    limits = limits or Limits()
    # An interrupt between the fork and the place that handles it would leave the child alone.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = _Child(task, limits, mask)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            with waiting or nullcontext():
                said = child.said()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            ended = child.end()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    setup, _, answer = said.partition(b"\n")
    try:
        if not network_refused(setup) and warn is not None:
            warn(NETWORK_IS_OPEN)
        if not answer.endswith(b"\n"):
            raise ended or GarbledAnswerError
        return text_of(answer)
    except MemoryError:
        raise _out_of_memory(limits) from None
    except GarbledAnswerError:
        # A child that died at once has not even said how it was set up.
        what = "the process that runs the routine gave no proper answer"
        raise ended or UndecidedError("library-crashed", what, hint=_REPORT) from None


class _Child:
    """The parent's view. ``mask``: the signals that are to be blocked in the child."""

    def __init__(self, task: Callable[[], str], limits: Limits, mask: set[int | signal.Signals]) -> None:
        self._limits = limits
        self._over = False
        parent = os.getpid()
        try:
            self._pipe, theirs = map(_above_the_standard_files, os.pipe())
        except OSError as error:
            raise _no_process(error) from error
        try:
            with warnings.catch_warnings():
                # From 3.12 on Python warns of a fork beside other threads; see run_in_child.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
        except OSError as error:
            os.close(self._pipe)
            os.close(theirs)
            raise _no_process(error) from error
        if self._pid == 0:
            _be_the_child(task, limits, mask, theirs, parent)
        os.close(theirs)

    def said(self) -> bytes:
        """All that the child says. Raises UndecidedError if that takes too long, or is too much."""
        limits = self._limits
        data = bytearray()
        deadline = time.monotonic() + limits.wall_seconds
        while len(data) <= limits.answer_bytes:
            # Looked at before the clock: the answer may have come while this process was stopped.
            if not self._readable(deadline - time.monotonic()):
                if time.monotonic() < deadline:
                    continue
                raise _out_of_time(limits)
            piece = os.read(self._pipe, _PIECE)
            if not piece:
                self._over = True
                return bytes(data)
            data += piece
        what = f"the result has more than {limits.answer_bytes >> 20} MiB"
        raise UndecidedError("answer-too-large", what, hint=_LESS)

    def end(self) -> UndecidedError | None:
        """Ends the child if it has not ended, and says what ended it if that was not the child itself."""
        # As Ctrl-C, so that it stops its compilers and removes its files.
        deadline = time.monotonic() + _GRACE_SECONDS
        if not self._over:
            self._signal(signal.SIGINT)
        while not self._over and time.monotonic() < deadline:
            if self._readable(deadline - time.monotonic()):
                self._over = not os.read(self._pipe, _PIECE)
        os.close(self._pipe)
        # It closes the pipe when it ends, and how it ended is settled before that. What it may have forked is in
        # its group; no group has that number if the child has not come so far.
        self._signal(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        try:
            _, status, usage = os.wait4(self._pid, 0)
        except ChildProcessError:
            # Whoever started us ignores SIGCHLD: then nobody is told.
            return None
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) != 0:
            # It could not remove its files itself.
            from l1dflush.routine.toolchain import remove_temporary

            remove_temporary(self._pid)
        if os.WIFSIGNALED(status):
            # A fork has all that its parent has.
            grown = usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return _ended_by(os.WTERMSIG(status), grown << 10, self._limits)
        if os.WEXITSTATUS(status) != 0:
            # Not through here: a library ended it.
            what = f"the process that runs the routine ended with status {os.WEXITSTATUS(status)}"
            return UndecidedError("library-crashed", what, hint=_REPORT)
        return None

    def _readable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        return bool(poll.poll(max(0.0, min(seconds, _LONGEST_WAIT)) * 1000))

    def _signal(self, number: signal.Signals) -> None:
        # Not waited for yet, so that nobody else can have got its number.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _ended_by(number: int, grown_bytes: int, limits: Limits) -> UndecidedError:
    if number == signal.SIGXCPU:
        return _out_of_time(limits)
    # Libraries abort, and the kernel kills, for want of memory; the kernel also at a hard limit on time.
    if number == signal.SIGKILL:
        what = "the process that runs the routine was killed, for want of memory or at a limit on processor time"
        return UndecidedError("out-of-memory", what, hint=_LESS)
    if number == signal.SIGABRT and grown_bytes > limits.memory_bytes // 2:
        return _out_of_memory(limits)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return UndecidedError("library-crashed", f"the process that runs the routine was ended by {name}", hint=_REPORT)


def _out_of_memory(limits: Limits) -> UndecidedError:
    what = f"running the routine takes more memory than there is, or than {limits.memory_bytes >> 20} MiB"
    return UndecidedError("out-of-memory", what, hint=_LESS)


def _out_of_time(limits: Limits) -> UndecidedError:
    what = f"the process that runs the routine was not done after {limits.wall_seconds:g} seconds"
    return UndecidedError("budget", what, hint="raise --max-seconds, or name the function with --function")


def _no_process(error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError(f"cannot start a process: {reason}", hint="limits of the system: processes, memory, open files")


def _be_the_child(
    task: Callable[[], str], limits: Limits, mask: set[int | signal.Signals], pipe: int, parent: int
) -> NoReturn:
    """Everything that the child ever does. It must not return into what the parent has on its stack."""
    guard = None
    try:
        _set_up(limits, mask, parent)
        guard = _guard(parent)
        _close_all_but(pipe)
        _send(pipe, line({"network_refused": network.cut_off()}))
        files.write_only_in(_own_folders())
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _send(pipe, answer_of(task, limits.file_bytes))
    finally:
        if guard is not None:
            with contextlib.suppress(OSError):
                os.kill(guard, signal.SIGKILL)
                os.waitpid(guard, 0)
        # No answer says enough, whatever happened here. Nothing of the parent's is flushed or cleaned up.
        os._exit(0)


def _own_folders() -> list[Path]:
    """Where the child and what it starts may write: temporary files, and what is kept for later runs."""
    found = []
    with contextlib.suppress(OSError):
        found.append(Path(tempfile.gettempdir()))
    kept = cache_files.folder()
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            found.append(kept)
    return found


def _guard(parent: int) -> int | None:
    """Starts a process that ends this one soon after the parent has died, and gives its number.

    The signal that comes then is heard between two steps of Python; a search in native code may take minutes. Without
    file descriptors for processes (Linux before 5.3) there is no such process.
    """
    child = os.getpid()
    try:
        its_end = os.pidfd_open(parent)
        if os.getppid() != parent:
            raise ProcessLookupError
        guard = os.fork()
    except ProcessLookupError:
        raise
    except OSError:
        return None
    if guard != 0:
        os.close(its_end)
        return guard
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.closerange(0, its_end)
        os.closerange(its_end + 1, 1 << 16)
        poll = select.poll()
        poll.register(its_end, select.POLLIN)
        poll.poll()
        deadline = time.monotonic() + _GRACE_SECONDS
        while os.getppid() == child and time.monotonic() < deadline:
            time.sleep(0.05)
        # The group of the child, and so this process, too.
        os.killpg(child, signal.SIGKILL)
    finally:
        os._exit(0)


def _set_up(limits: Limits, mask: set[int | signal.Signals], parent: int) -> None:
    # A session of its own: Ctrl-C reaches the parent alone, which then ends this process in good order.
    os.setsid()
    mask.discard(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Compilers are waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # As Ctrl-C as well when the parent dies. It may have done so before.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGINT))
    if os.getppid() != parent:
        raise ProcessLookupError
    limits.apply()


def _close_all_but(pipe: int) -> None:
    """Closes all files but standard input and the pipe; output goes nowhere, a crash is reported by the parent."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.closerange(3, pipe)
    # Where the kernel cannot close a whole range, each number is tried.
    os.closerange(pipe + 1, 1 << 16)


def _above_the_standard_files(file: int) -> int:
    """The same file under a number from 3 on: the first three are given away if any of them was closed."""
    if file > 2:
        return file
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(file)
    return moved


def _send(pipe: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(pipe, rest) :]
