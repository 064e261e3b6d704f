# SPDX-License-Identifier: GPL-2.0-or-later
"""A time limit for code that sits in KVM_RUN, and the guarantee that a signal is noticed.

A guest that never exits keeps its thread in the kernel until a signal comes, and one that comes a moment before KVM_RUN
would be lost. So a second thread sends one again and again, to this thread only, and it is blocked there except in
KVM_RUN itself (``KVM_SET_SIGNAL_MASK``): no handler is needed, none of the program's is touched, and any thread may
have a limit of its own.
"""

from __future__ import annotations

import signal
import threading
import time
from types import TracebackType
from typing import Self

from l1dflush.vmentry.kvm.vm import GuestVcpu

KICK = signal.SIGURG
"""Ignored unless a program wants it, so that one too many does no harm."""
_TICK = 0.1


class Deadline:
    """For a ``with`` block in the thread that runs the guests. ``seconds`` from the block's beginning.

    Every 0.1 s a guest of :meth:`watch` is interrupted, whether the time is over or not: a Ctrl-C that came in between
    is then seen, and :attr:`passed` can be asked.
    """

    def __init__(self, seconds: float, tick: float = _TICK) -> None:
        self._seconds = seconds
        self._tick = tick
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {KICK})
        self._end = time.monotonic() + self._seconds
        thread = threading.get_ident()
        # A daemon: it waits for nothing but the end of the block.
        self._watchdog = threading.Thread(target=self._watch, args=(thread,), daemon=True)
        try:
            self._watchdog.start()
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._over.set()
            self._watchdog.join()
        finally:
            self.drain()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def watch(self, vcpu: GuestVcpu) -> None:
        """From now on this vCPU is interrupted. Raises KvmError."""
        vcpu.unblock_while_running(sum(1 << number - 1 for number in self._before - {KICK}))

    def drain(self) -> None:
        """Takes the signal that is pending, if one is; otherwise the next KVM_RUN would return at once."""
        while signal.sigtimedwait({KICK}, 0) is not None:
            pass

    def _watch(self, thread: int) -> None:
        while not self._over.wait(self._tick):
            signal.pthread_kill(thread, KICK)
