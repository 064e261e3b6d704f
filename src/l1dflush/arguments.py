# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person gives: options on the command line, arguments in Python.

Both ask the same questions, and what is wrong with one is said by the same code. An :class:`Argument` in a message is
called as it was given: ``--buffer-size`` on the command line, ``buffer_size`` where a program asks.

The functions take what a person may write and return what the rest of the program works with. Each raises
:class:`~l1dflush.errors.InputError`, which names the argument.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from l1dflush.errors import InputError

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Enum)

_IN_PYTHON: ContextVar[bool] = ContextVar("arguments are named as Python has them", default=False)


@contextmanager
def in_python() -> Iterator[None]:
    """In here, or in the function that this decorates, arguments are called as Python has them."""
    token = _IN_PYTHON.set(True)
    try:
        yield
    finally:
        _IN_PYTHON.reset(token)


@dataclass(frozen=True, slots=True)
class Argument:
    """``name`` is what Python has, ``option`` what the command line has where that is not the same with hyphens.

    >>> str(Argument("buffer_size"))
    '--buffer-size'
    >>> Argument("policy").given("FIFO")
    '--policy FIFO'
    """

    name: str
    option: str = ""

    def __str__(self) -> str:
        return self.name if _IN_PYTHON.get() else self.option or f"--{self.name.replace('_', '-')}"

    def given(self, value: object) -> str:
        """How it is given ``value``."""
        if not _IN_PYTHON.get():
            return f"{self} {value}"
        return f"{self}={value!r}"

    def form(self, value: str) -> str:
        """How it is given something that ``value`` stands for: ``--max-seconds N``, ``max_seconds=N``."""
        return f"{self}={value}" if _IN_PYTHON.get() else f"{self} {value}"

    def pair(self, name: str, value: str) -> str:
        """The same of one that takes names and values: ``--bind NAME=VALUE``, ``bind={'NAME': VALUE}``."""
        if _IN_PYTHON.get():
            return f"{self}={{{name!r}: {value}}}"
        # Shells take brackets for a pattern.
        return f"{self} '{name}={value}'" if "[" in name else f"{self} {name}={value}"

    def of(self, part: object) -> str:
        """One of several that it was given: of a mapping, by its name."""
        return f"{self}[{part!r}]" if _IN_PYTHON.get() else f"{self} {part}"

    def refused(self, what: str, hint: str | None = None) -> InputError:
        """The error that says what is wrong with it."""
        return InputError(what, where=str(self), hint=hint)


@contextmanager
def about(argument: Argument) -> Iterator[None]:
    """In Python, what is wrong in here and names nothing else is said of ``argument``. (On the command line the text
    that was given says enough.)"""
    try:
        yield
    except InputError as error:
        if error.where is not None or not _IN_PYTHON.get():
            raise
        raise argument.refused(error.what, error.hint) from None


def together(*given: str) -> str:
    """Several that are given, side by side."""
    return (", " if _IN_PYTHON.get() else " ").join(given)


ROUTINE = Argument("routine", "ROUTINE")
CPU = Argument("cpu")
CPU_FOLDER = Argument("cpu_folder")
POLICY = Argument("policy")
GEOMETRY = Argument("geometry")
WAYS = Argument("ways")
START = Argument("start")
TOUCHES = Argument("touches")
MEMORY = Argument("memory")
MAX_SECONDS = Argument("max_seconds")
MAX_PATHS = Argument("max_paths")
FUNCTION = Argument("function")
DEFINE = Argument("define")
UNDEFINE = Argument("undefine")
OPTIMIZE = Argument("optimize")
BIND = Argument("bind")
BUFFER_SIZE = Argument("buffer_size")
STATIC_KEY = Argument("static_key")
BEGIN = Argument("begin", "--from")
UNTIL = Argument("until")
RUN_FIRST = Argument("run_first")
THEN = Argument("then")
HOST = Argument("host")
EVERY_CPU = Argument("every_cpu")
EVERY_PATH = Argument("every_path")
MICROCODE = Argument("microcode")
EPT = Argument("ept")
CHANCE = Argument("chance")
WRITE = Argument("write")

DEFAULT_SECONDS = 10.0
DEFAULT_MEMORY = 2 << 30
# What a process can be limited to, with room for what else it maps.
_MOST_MEMORY = 16 << 40
_SIZE = re.compile(r"(\d{1,12})\s*([KMG])?(?:i?B)?", re.IGNORECASE)
_UNIT = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SWITCHES = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}


def text(argument: Argument, value: object) -> str:
    """A name, or a path, which is not empty."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise argument.refused(f"{_shown(value)} is not a string")
    if not value.strip():
        raise argument.refused("an empty string")
    return value.value if isinstance(value, Enum) else value


def texts(argument: Argument, value: object) -> tuple[str, ...]:
    """One name or path, or several; ``None`` for none."""
    if value is None:
        return ()
    if isinstance(value, str | os.PathLike):
        return (text(argument, value),)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise argument.refused(f"{_shown(value)} is not a string or several strings")
    return tuple(text(argument, one) for one in value)


def folders(argument: Argument, value: object) -> tuple[Path, ...]:
    """Folders, one or several."""
    return tuple(map(Path, texts(argument, value)))


def path(argument: Argument, value: object) -> Path | None:
    """A path; ``None`` for none."""
    return None if value is None else Path(text(argument, value))


def whole(argument: Argument, value: object, low: int, high: int | None = None) -> int:
    """A whole number, from ``low`` on, up to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise argument.refused(f"{_shown(value)} is not a whole number")
    if value < low or (high is not None and value > high):
        reach = f"from {low} on" if high is None else f"{low} to {high}"
        raise argument.refused(f"{value} is out of range", hint=reach)
    return value


def parse_size(text: str) -> int:
    """A number of bytes: ``65536``, ``64K``, ``64KiB``, ``0x10000``. Raises InputError."""
    text = text.strip()
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,12}", text):
        return int(text, 16)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"'{text}' is not a size", hint="write it like 65536, 0x10000 or 64K")
    return int(match[1]) * _UNIT[(match[2] or "").upper()]


def size(argument: Argument, value: object) -> int | None:
    """A positive number of bytes, also as ``64K``; ``None`` for none."""
    if value is None:
        return None
    plain = isinstance(value, int) and not isinstance(value, bool)
    found: int = value if plain else read(argument, parse_size, value)  # type: ignore[assignment]
    if found <= 0:
        raise argument.refused(f"a size of {found}", hint="write it like 65536, 0x10000 or 64K")
    return found


def memory(value: object) -> int:
    """What the prover may take, in bytes; ``None`` for the usual."""
    found = size(MEMORY, value)
    if found is not None and found > _MOST_MEMORY:
        raise MEMORY.refused(f"'{value}' is too much", hint=f"at most {_MOST_MEMORY >> 30}G")
    return DEFAULT_MEMORY if found is None else found


def seconds(value: object, usual: float = DEFAULT_SECONDS) -> float:
    """A limit on time; ``None`` for the usual one."""
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MAX_SECONDS.refused(f"{_shown(value)} is not a number")
    if not 0 < value < float("inf"):
        raise MAX_SECONDS.refused(f"'{value:g}' is not a time limit", hint="a positive number of seconds")
    return float(value)


def switch(argument: Argument, name: str, value: object) -> bool:
    """``on`` or ``off``, or a truth value."""
    if isinstance(value, bool):
        return value
    found = _SWITCHES.get(str(value).lower())
    if found is None:
        raise InputError(f"{_shown(value)} is neither on nor off", where=argument.of(name))
    return found


def flag(argument: Argument, value: object) -> bool:
    """A truth value, and nothing that merely looks like one: the text ``"no"`` is true in Python."""
    if isinstance(value, bool):
        return value
    raise argument.refused(f"{_shown(value)} is neither True nor False")


def one_of(argument: Argument, value: object, known: type[_E]) -> _E:
    """A member of an enumeration, or its value, in any case."""
    if isinstance(value, known):
        return value
    for member in known:
        if isinstance(value, str) and value.lower() == str(member.value).lower():
            return member
    raise argument.refused(f"{_shown(value)} is not one of {', '.join(str(one.value) for one in known)}")


def mapping(argument: Argument, value: object) -> dict[str, str]:
    """Names and values: numbers and texts, as texts."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise argument.refused(f"{_shown(value)} is not a mapping", hint=f"{argument.given({'NAME': 1})}")
    found: dict[str, str] = {}
    for name, given in value.items():
        if not isinstance(name, str) or not name.strip():
            raise argument.refused(f"{_shown(name)} is not a name")
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise InputError(f"{_shown(given)} is neither a number nor a text", where=argument.of(name))
        found[name.strip()] = str(given).strip()
    return found


def read(argument: Argument, parse: Callable[[str], _T], value: object) -> _T:
    """What ``parse`` makes of a text; what is wrong is said of the argument."""
    try:
        return parse(text(argument, value))
    except InputError as error:
        raise argument.refused(error.what, error.hint) from None


def _shown(value: object) -> str:
    """A value in a message, short."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
