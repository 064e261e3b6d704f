# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that verbs share, and how their texts become values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from l1dflush.cli.command import argument
from l1dflush.cli.values import FOLDER, NUMBER, ROUTINE, OneOf, Whole, words
from l1dflush.errors import InputError
from l1dflush.requests import routine as requests
from l1dflush.requests.routine import Level

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


def stacked(*decorators: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several decorators as one, which does what they do one above the other."""

    def all_of_them(function: _F) -> _F:
        for one in reversed(decorators):
            function = one(function)
        return function

    return all_of_them


sources = argument(
    "routine",
    metavar="ROUTINE...",
    nargs=-1,
    required=True,
    type=ROUTINE,
    told="A patch or mail, C, assembly, an object file or kernel module, - for standard input, or a built-in routine"
    " (see 'l1dflush routines'). Several files are taken together, as a linker would.",
)
max_seconds = click.option(
    "--max-seconds", metavar="N", type=NUMBER, help="Give up after so long.  [default: 10]", show_default=False
)
cpu_folder = click.option(
    "--cpu-folder",
    metavar="DIR",
    multiple=True,
    type=FOLDER,
    help="A folder with CPU files of your own. Repeatable.",
)
json = click.option("--json", is_flag=True, help="Write JSON (see 'l1dflush schema').")
no_color = click.option("--no-color", is_flag=True, help="No colour, as with NO_COLOR=1.")

_routine_options = stacked(
    click.option("--function", metavar="NAME", help="The function to judge, if there are several."),
    click.option(
        "--define",
        "-D",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="Define a name that the C code uses. Repeatable.",
    ),
    click.option(
        "--undefine", "-U", metavar="NAME", multiple=True, help="Say that a name is defined nowhere. Repeatable."
    ),
    click.option(
        "--optimize",
        type=OneOf(lambda: words(Level)),
        default=Level.USUAL.value,
        help="Optimisation level that C is compiled at.",
    ),
    click.option(
        "--bind",
        metavar="NAME=VALUE",
        multiple=True,
        help="What a register, parameter, variable or memory like [s+0x8] holds at entry: a number, 'buffer', or"
        " another input and a distance, like rdi+65536. Repeatable.",
    ),
    click.option("--buffer-size", metavar="SIZE", help="Size of the buffer, like 64K; reads beyond it are outside."),
    click.option(
        "--static-key",
        metavar="NAME=on|off",
        multiple=True,
        help="Follow a kernel's jump labels of this key one way only. Repeatable.",
    ),
    click.option("--from", "begin", metavar="LABEL", help="Begin at a symbol, symbol+offset or address."),
    click.option(
        "--until", metavar="LABEL", multiple=True, help="End at a symbol, symbol+offset or address. Repeatable."
    ),
    click.option("--range", "extent", metavar="A:B", help="The same as --from A --until B: an inlined flush."),
    click.option(
        "--run-first",
        metavar="FUNCTION",
        multiple=True,
        help="Run this function first; the routine finds in memory what it left. Repeatable.",
    ),
    click.option(
        "--max-paths",
        metavar="N",
        type=Whole(min=1),
        default=64,
        help="Give up when there are more paths.",
    ),
    max_seconds,
)


def pairs(option: str, texts: Sequence[str], default: str | None = None) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping. Without ``default`` the value must be there. Raises InputError."""
    out: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name.strip() or not (equals or default is not None):
            form = "NAME=VALUE" if default is None else "NAME or NAME=VALUE"
            raise InputError(f"'{text}' is not {form}", where=option)
        if name.strip() in out:
            raise InputError(f"'{name.strip()}' is given twice", where=option)
        out[name.strip()] = value.strip() if equals else default or ""
    return out


def part(start: str | None, until: Sequence[str], extent: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Where to begin and where to end. Raises InputError when ``--range`` is malformed or not alone."""
    if extent is None:
        return start, tuple(until)
    if start is not None or until:
        raise InputError("--range already says where to begin and end", hint="drop --from and --until")
    begin, colon, end = extent.rpartition(":")
    if not (begin and colon and end):
        raise InputError(f"'{extent}' is not A:B", where="--range", hint="like flush+0x1c:flush+0x52")
    return begin, (end,)


def about_a_routine(verb: Callable[..., _T]) -> Callable[..., _T]:
    """The options that concern the routine, for a verb that takes what they say, checked, as ``asked``: a
    :class:`~l1dflush.verdict.options.VerifyOptions`."""

    @functools.wraps(verb)
    def with_options(
        *,
        function: str | None,
        define: Sequence[str],
        undefine: Sequence[str],
        optimize: Level,
        bind: Sequence[str],
        buffer_size: str | None,
        static_key: Sequence[str],
        begin: str | None,
        until: Sequence[str],
        extent: str | None,
        run_first: Sequence[str],
        max_paths: int,
        max_seconds: float | None,
        **own: Any,
    ) -> _T:
        start, ends = part(begin, until, extent)
        asked = requests.about_a_routine(
            function=function,
            define=pairs("--define", define, "1"),
            undefine=undefine,
            optimize=optimize,
            bind=pairs("--bind", bind),
            buffer_size=buffer_size,
            static_key=pairs("--static-key", static_key),
            begin=start,
            until=ends,
            run_first=run_first,
            max_paths=max_paths,
            max_seconds=max_seconds,
        )
        try:
            return verb(asked=asked, **own)
        except InputError as error:
            if extent is None or error.where not in ("--from", "--until"):
                raise
            raise InputError(error.what, where="--range", hint=error.hint) from None

    return _routine_options(with_options)
