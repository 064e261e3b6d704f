"""The errors a user may see. Each is one line: what is wrong, where, and what to do about it."""

from __future__ import annotations


class L1dflushError(Exception):
    """Base of every error this package raises on purpose; ``str()`` of it is one line for a person."""


class InputError(L1dflushError):
    """The input cannot be used as it is (a file, an option, a name). Exit status 1.

    ``what`` says what is wrong, ``where`` the file, line or option, ``hint`` what to do.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = one_line(what)
        self.where = one_line(where) if where else None
        self.hint = one_line(hint) if hint else None
        text = f"{self.where}: {self.what}" if self.where else self.what
        super().__init__(f"{text} ({self.hint})" if self.hint else text)


class UndecidedError(L1dflushError):
    """The question is a good one but this tool cannot answer it. Becomes the verdict UNDECIDED (exit 3).

    ``cause`` is a short stable name (``unclassified-instruction``), ``what`` the sentence, ``where`` the
    instruction or input it is about, ``hint`` the option that would settle it, if there is one.
    """

    def __init__(self, cause: str, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.cause = cause
        self.what = one_line(what)
        self.where = one_line(where) if where else None
        self.hint = one_line(hint) if hint else None
        text = f"{self.what} at {self.where}" if self.where else self.what
        super().__init__(f"{text} ({self.hint})" if self.hint else text)


def one_line(text: str) -> str:
    """``text`` with control characters and line breaks made harmless: hostile names end up in messages."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
