# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors a user may see. Each is one line: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from l1dflush.place import Place


class L1dflushError(Exception):
    """Base of every error this package raises on purpose; ``str()`` of it is one line for a person."""


class InputError(L1dflushError):
    """The input cannot be used as it is (a file, an option, a name). Exit status 1.

    ``what`` says what is wrong, ``where`` the file, line or option, ``hint`` what to do. ``place`` is the same as
    ``where`` for results, of which a file is the least that is known.
    """

    def __init__(self, what: str, *, where: Place | str | None = None, hint: str | None = None) -> None:
        self.what = one_line(what)
        self.where = one_line(str(where)) if where else None
        self.place = _place(where)
        self.hint = one_line(hint) if hint else None
        text = f"{self.where}: {self.what}" if self.where else self.what
        super().__init__(f"{text} ({self.hint})" if self.hint else text)


class UndecidedError(L1dflushError):
    """The question is a good one but this tool cannot answer it. Becomes the verdict UNDECIDED (exit 3).

    ``cause`` is a short stable name (``unclassified-instruction``), ``what`` the sentence, ``where`` the
    instruction or input it is about, ``hint`` the option that would settle it, if there is one. ``names`` are those of
    the values that are not known.
    """

    def __init__(
        self,
        cause: str,
        what: str,
        *,
        where: Place | str | None = None,
        hint: str | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        self.names = names
        self.cause = cause
        self.what = one_line(what)
        self.where = one_line(str(where)) if where else None
        self.place = _place(where)
        self.hint = one_line(hint) if hint else None
        text = f"{self.what} at {self.where}" if self.where else self.what
        super().__init__(f"{text} ({self.hint})" if self.hint else text)

    def but(self, *, where: Place | None = None, hint: str | None = None) -> UndecidedError:
        """The same with another place or hint."""
        place, hint = where or self.place, hint or self.hint
        return UndecidedError(self.cause, self.what, where=place, hint=hint, names=self.names)


class FlusherError(L1dflushError):
    """A flush cannot be set up on this machine, or not be done now. What went wrong has a class of its own each."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        self.what = one_line(what)
        self.hint = one_line(hint) if hint else None
        super().__init__(f"{self.what} ({self.hint})" if self.hint else self.what)


class NoNativeCodeError(FlusherError):
    """The core has no native flush for this machine: it is not Linux on x86-64."""


class AllocationError(FlusherError):
    """The kernel refused a step of setting up the buffer; the text has the call and the kernel's reason."""


class LockedMemoryError(FlusherError):
    """The buffer may not be locked in memory (``RLIMIT_MEMLOCK``); the text has the limit and what was wanted."""


class FlusherClosedError(FlusherError):
    """A flusher was used after it was closed."""


class FlusherForkedError(FlusherError):
    """A flusher was used in a child process, which did not inherit the buffer."""


class MsrUnavailableError(FlusherError):
    """The CPU's own flush command cannot be given from here; the text says why not."""


class NoPlanError(FlusherError):
    """No number of lines is known to be enough for this CPU, and Linux's 2018 routine was not asked for."""


class NoTaskFlushError(FlusherError):
    """The kernel does not flush the L1D for single tasks here; the text says why not."""


class KvmUnavailableError(UndecidedError):
    """No virtual machine can be made here; the text says why not. Exit status 3."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__("no-kvm", what, hint=hint)


class KvmError(L1dflushError):
    """KVM works here but refused a step; ``what`` has the call and the kernel's reason."""

    def __init__(self, what: str) -> None:
        self.what = one_line(what)
        super().__init__(self.what)


class InternalError(Exception):
    """A defect of this package that showed in the child process that did the work.

    ``kind`` is the name of the exception there, ``what`` its text, ``place`` the file and line, or empty; the
    traceback there is a note of this exception.
    """

    def __init__(self, kind: str, what: str, place: str, told: str) -> None:
        self.kind = one_line(kind)
        self.what = one_line(what)
        self.place = one_line(place)
        super().__init__(f"{self.kind}: {self.what}")
        self.add_note("".join(c if c.isprintable() or c == "\n" else " " for c in told))


def _place(where: Place | str | None) -> Place | None:
    return Place(where) if isinstance(where, str) and where else where or None


def some_of(texts: Sequence[str], most: int) -> str:
    """The first ``most`` of them with commas between, and how many more there are.

    >>> some_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(text: str) -> str:
    """``text`` with control characters and line breaks made harmless: hostile names end up in messages."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
