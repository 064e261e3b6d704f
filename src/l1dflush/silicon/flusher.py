# SPDX-License-Identifier: GPL-2.0-or-later
"""A flush of the L1D that runs here: ``from l1dflush import Flusher``.

What a flush from user space is worth. It is about the L1D of the CPU that the calling thread runs on, and about the
moment of the call: what this thread, an interrupt or the kernel loads afterwards is there again, beginning with the
stack frame that the call returns to. A thread on a sibling of the same core fills the same L1D meanwhile and after.
Lines that the code left in the L1D of another CPU, where it ran before the scheduler moved it, stay there: pin the
thread (``os.sched_setaffinity``) for as long as it matters. Other buffers of the core, and the outer caches, are not
flushed by a software flush. And what is proved is proved of a model: the cache's geometry and policy as the catalogue
has them, and the machine code that runs (:meth:`Flusher.prove`); :attr:`Flusher.scope` says which.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, ParamSpec, Self, TypeVar

from l1dflush import _core
from l1dflush.errors import InputError, MsrUnavailableError, NoPlanError
from l1dflush.host.l1d import CACHES, CPUINFO
from l1dflush.silicon.flush_plan import FlushPlan, Request, Variant, flush_plan
from l1dflush.silicon.msr import DEVICES, MsrFlush

if TYPE_CHECKING:
    from l1dflush.cache.geometry import Geometry
    from l1dflush.cache.policies import Policy
    from l1dflush.verdict.verify_result import VerifyResult

__all__ = ["Flusher", "Leaving", "Mechanism", "Variant"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Mechanism(StrEnum):
    """How the L1D is flushed."""

    SOFTWARE = "software"
    """By reading a buffer."""
    MSR = "msr"
    """By the CPU's own command, written to its MSR device."""
    AUTO = "auto"
    """By the command where the CPU has it and the device may be written, otherwise by reading."""


# The core's class is the base so that a call goes straight to the loops: a method in between would cost as much as
# everything else, with the L1D just emptied.
class Flusher(_core.NativeFlush):
    """Call it to flush the L1D of the CPU that the calling thread runs on; see this module for what that is worth.

    ``mechanism`` is reading a buffer, unless another one is asked for. Of reading there are the variants

    - ``planned``: as many lines as are provably enough for this CPU's cache and policy, from ``start`` (default: any
      state, any way may be invalid) with ``touches`` accesses by others to a set meanwhile;
    - ``linux-2018``: the routine of Linux's patch of 2018, 64 KiB;
    - ``steady``: as many as are enough if this flush comes again and again (``start`` is ``steady``,
      ``steady-from-any``, or one of them with ``+invalidations``).

    The default is ``planned`` where the policy of this CPU's L1D is in the catalogue, or ``policy`` names it (with
    ``geometry``, if the cache is not as the kernel describes it), and otherwise ``linux-2018``: :attr:`scope` says then
    that nothing is proved. ``buffer_size`` (bytes, whole pages) reads as much as it says instead.

    A ``steady`` plan needs fewer lines since it builds on what the flush before it left, so something has to come
    before the first. The buffer was just written, and its lines are in the L1D of the CPU that wrote it; therefore
    the first flush is a full one, as ``planned``, from a second buffer. So it is on every CPU that the object is first
    called on: the thread may have been moved while it wrote, and nothing was flushed there before. So it is again
    where a thread was moved in the middle, which leaves half a flush on either CPU. From then on the
    assumptions hold on that CPU as long as nobody else brings lines of this buffer in. What the plan cannot know of is
    lines that others invalidate (``start='steady+invalidations'`` covers them; an outer cache that includes the L1D
    does so), and the kernel moving the buffer to other physical pages, which locking does not exclude.

    The buffer is locked in memory, its pages differ, it is not merged with others and not inherited by fork. All
    methods may be used by several threads; flushes come one after the other. A child process after fork gets
    FlusherForkedError. The buffer is given back by :meth:`close`, at the end of a ``with`` block, or with the object.

    Raises, with nothing left behind: InputError; NoNativeCodeError (not x86-64); AllocationError; LockedMemoryError;
    MsrUnavailableError; NoPlanError, if a plan was asked for and the policy is not known or no number of lines is
    enough.
    """

    def __init__(
        self,
        variant: str | None = None,
        *,
        mechanism: Mechanism | str = Mechanism.SOFTWARE,
        policy: str | Policy | None = None,
        geometry: Geometry | str | None = None,
        start: str | None = None,
        touches: int = 0,
        buffer_size: int | None = None,
        caches: Path = CACHES,
        cpuinfo: Path = CPUINFO,
        devices: Path = DEVICES,
    ) -> None:
        """``caches``, ``cpuinfo`` and ``devices`` are where the kernel describes the machine."""
        request = Request(variant, policy, geometry, start, touches, buffer_size)
        wanted = _mechanism(mechanism)
        if wanted is Mechanism.MSR and request != Request():
            raise InputError("variants, policies and sizes are about reading a buffer", where="mechanism='msr'")
        why_software = ""
        plan: FlushPlan | None = None
        if wanted is not Mechanism.SOFTWARE:
            try:
                super().__init__(MsrFlush(devices, cpuinfo))
            except MsrUnavailableError as error:
                if wanted is Mechanism.MSR:
                    raise
                why_software = f" Not by the CPU's own command: {error}."
        if wanted is Mechanism.SOFTWARE or why_software:
            # First of all: where there is no native code, no plan helps.
            _core.native_code("planned")
            plan = flush_plan(request, caches, cpuinfo)
            super().__init__(plan.routine, plan.size, first_size=plan.first_size)
        self._plan = plan
        self._why_software = why_software
        # Warm: from now on the buffer is in the outer caches.
        self()

    @property
    def mechanism(self) -> Mechanism:
        """``software`` or ``msr``."""
        return Mechanism.MSR if self._plan is None else Mechanism.SOFTWARE

    @property
    def variant(self) -> Variant | None:
        """The variant of reading; None for the CPU's own command."""
        return None if self._plan is None else self._plan.variant

    @property
    def scope(self) -> str:
        """What is read, and for which cache, policy and start that is enough; or that nobody knows."""
        if self._plan is None:
            return "The CPU's own command (IA32_FLUSH_CMD) flushes the L1D; there is nothing here to prove."
        return self._plan.scope + self._why_software

    def prove(self) -> VerifyResult:
        """Judges the machine code that this object runs, read back from memory, for its cache, policy and start.

        It is traced and proved like anybody's routine, in a child process; the routine's hash in the result is of those
        bytes. Raises NoPlanError where there is no policy to prove it for, or no loop, and InputError without an
        assembler.
        """
        plan = self._plan
        if plan is None:
            raise NoPlanError("a flush by the CPU's own command has no loop that could be proved")
        if plan.cache.policy is None or plan.cache.geometry is None:
            hint = "policy= and geometry= name them"
            raise NoPlanError(f"for {plan.cache.said.rstrip(',')} there is no policy to prove it for", hint=hint)
        from l1dflush.planning.emit import as_data  # noqa: PLC0415
        from l1dflush.sandbox.judged import verify  # noqa: PLC0415 (takes long to import)
        from l1dflush.verdict.options import VerifyOptions  # noqa: PLC0415

        name = f"l1dflush_{plan.routine.replace('-', '_')}"
        with tempfile.TemporaryDirectory(prefix="l1dflush-") as folder:
            path = Path(folder) / f"{name}.s"
            path.write_text(as_data(_core.native_code(plan.routine), name), encoding="ascii")
            options = VerifyOptions(
                policy=plan.cache.policy,
                geometry=plan.cache.geometry,
                conditions=plan.conditions,
                bind={"rdi": "buffer", "rsi": str(plan.size)},
            )
            return verify(str(path), options)

    @property
    def leaving(self) -> Leaving:
        """Flushes when code is left: ``with flusher.leaving:``, or ``@flusher.leaving`` before a function."""
        return Leaving(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a flusher is of this process; it cannot be copied or pickled")

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.scope.split(". ")[0].rstrip(".")
        return f"<{type(self).__name__} {self.mechanism}{f' {self.variant}' if self.variant else ''}: {state}>"


class Leaving:
    """A ``with`` block and a decorator: the flush comes last, also when the code ends in an exception.

    It is the CPU's L1D on which the code ends; see :mod:`l1dflush.silicon.flusher`.
    """

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """``function`` with a flush after it. Raises TypeError for one that only begins what is to be left."""
        if iscoroutinefunction(function) or isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError("this returns before its code has run; put 'with flusher.leaving:' inside it")
        flush = self._flush

        @wraps(function)
        def left(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return function(*args, **kwargs)
            finally:
                flush()

        return left


def _mechanism(text: Mechanism | str) -> Mechanism:
    try:
        return Mechanism(text)
    except ValueError:
        raise InputError(f"there is no mechanism '{text}'", hint=", ".join(Mechanism)) from None
