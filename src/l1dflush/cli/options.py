"""The options that verbs share, and how their texts become values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.options import VerifyOptions

_T = TypeVar("_T")


class Level(StrEnum):
    """Optimisation levels of the C compiler."""

    NONE = "0"
    SOME = "1"
    USUAL = "2"
    MORE = "3"
    SIZE = "s"


_ROUTINE_HELP = (
    "A patch or mail, C, assembly, an object file or kernel module, - for standard input, or a built-in"
    " routine (see 'l1dflush routines'). Several files are taken together, as a linker would."
)

Sources = Annotated[list[str], typer.Argument(metavar="ROUTINE", help=_ROUTINE_HELP)]
Function = Annotated[
    str | None, typer.Option("--function", metavar="NAME", help="Which function, if there are several.")
]
Define = Annotated[
    list[str] | None,
    typer.Option("--define", "-D", metavar="NAME[=VALUE]", help="Define a name that the C code uses. Repeatable."),
]
Undefine = Annotated[
    list[str] | None,
    typer.Option("--undefine", "-U", metavar="NAME", help="Say that a name is defined nowhere. Repeatable."),
]
Optimize = Annotated[Level, typer.Option("--optimize", help="Optimisation level that C is compiled at.")]
Bind = Annotated[
    list[str] | None,
    typer.Option(
        "--bind",
        metavar="NAME=VALUE",
        help="What a register, parameter or variable holds at entry: a number, 'buffer', or another input and a"
        " distance, like rdi+65536. Repeatable.",
    ),
]
BufferSize = Annotated[
    str | None,
    typer.Option("--buffer-size", metavar="SIZE", help="Size of the buffer, like 64K; reads beyond it are outside."),
]
StaticKey = Annotated[
    list[str] | None,
    typer.Option(
        "--static-key",
        metavar="NAME=on|off",
        help="Follow a kernel's jump labels of this key one way only. Repeatable.",
    ),
]
RunFirst = Annotated[
    list[str] | None,
    typer.Option(
        "--run-first",
        metavar="FUNCTION",
        help="Run this function before the routine, which finds in memory what it left. Repeatable.",
    ),
]
From = Annotated[
    str | None, typer.Option("--from", metavar="LABEL", help="Begin at a symbol, symbol+offset or address.")
]
Until = Annotated[
    list[str] | None,
    typer.Option("--until", metavar="LABEL", help="End at a symbol, symbol+offset or address. Repeatable."),
]
Range = Annotated[
    str | None, typer.Option("--range", metavar="A:B", help="The same as --from A --until B: an inlined flush.")
]
MaxPaths = Annotated[
    int, typer.Option("--max-paths", metavar="N", min=1, help="Give up when there are more paths.", show_default=True)
]
MaxSeconds = Annotated[
    float | None,
    typer.Option("--max-seconds", metavar="N", help="Give up after so long.  [default: 10]", show_default=False),
]
CpuFolder = Annotated[
    list[Path] | None,
    typer.Option("--cpu-folder", metavar="DIR", help="A folder with CPU files of your own. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON (see 'l1dflush schema').")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour, as with NO_COLOR=1.")]


def pairs(option: str, texts: Sequence[str] | None, default: str | None = None) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping. Without ``default`` the value must be there. Raises InputError."""
    out: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name.strip() or not (equals or default is not None):
            form = "NAME=VALUE" if default is None else "NAME or NAME=VALUE"
            raise InputError(f"'{text}' is not {form}", where=option)
        if name.strip() in out:
            raise InputError(f"'{name.strip()}' is given twice", where=option)
        out[name.strip()] = value.strip() if equals else default or ""
    return out


def undefined(names: Sequence[str] | None, defines: Mapping[str, str]) -> frozenset[str]:
    """The names of ``--undefine``. Raises InputError for what is no name, or is defined as well."""
    found = frozenset(name.strip() for name in names or ())
    for name in sorted(found):
        if not name.isidentifier() or not name.isascii():
            raise InputError(f"'{name}' is not a name", where="--undefine", hint="NAME as in C")
        if name in defines:
            raise InputError(
                f"'{name}' is defined as well", where="--undefine", hint="drop one of --define, --undefine"
            )
    return found


def seconds(value: float | None) -> float:
    """The time limit. Raises InputError unless it is a positive number."""
    limit = 10.0 if value is None else value
    if not 0 < limit < float("inf"):
        raise InputError(f"'{limit:g}' is no time limit", where="--max-seconds", hint="a positive number of seconds")
    return limit


def size(option: str, text: str | None) -> int | None:
    """A positive number of bytes. Raises InputError."""
    if text is None:
        return None
    from l1dflush.cache.geometry import parse_size  # noqa: PLC0415

    try:
        value = parse_size(text)
    except InputError as error:
        raise InputError(error.what, where=option, hint=error.hint) from None
    if value <= 0:
        raise InputError("a size of 0", where=option, hint="write it like 65536, 0x10000 or 64K")
    return value


def switch(option: str, name: str, text: str) -> bool:
    """``on`` or ``off`` as a truth value. Raises InputError for anything else."""
    known = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
    if text.lower() not in known:
        raise InputError(f"'{text}' is neither on nor off", where=f"{option} {name}")
    return known[text.lower()]


def part(start: str | None, until: Sequence[str] | None, extent: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Where to begin and where to end. Raises InputError when ``--range`` is malformed or not alone."""
    if extent is None:
        return start, tuple(until or ())
    if start is not None or until:
        raise InputError("--range already says where to begin and end", hint="drop --from and --until")
    begin, colon, end = extent.rpartition(":")
    if not (begin and colon and end):
        raise InputError(f"'{extent}' is not A:B", where="--range", hint="like flush+0x1c:flush+0x52")
    return begin, (end,)


def input_options(
    *,
    function: Function = None,
    define: Define = None,
    undefine: Undefine = None,
    optimize: Optimize = Level.USUAL,
    bind: Bind = None,
    buffer_size: BufferSize = None,
    static_key: StaticKey = None,
    start: From = None,
    until: Until = None,
    extent: Range = None,
    run_first: RunFirst = None,
    max_paths: MaxPaths = 64,
    max_seconds: MaxSeconds = None,
) -> VerifyOptions:
    """The options that concern the routine, checked. Raises InputError."""
    # Checked before the import, which takes long, so that a slip is answered at once.
    defines, bindings = pairs("--define", define, "1"), pairs("--bind", bind)
    undefines = undefined(undefine, defines)
    limit, buffer_bytes = seconds(max_seconds), size("--buffer-size", buffer_size)
    keys = {name: switch("--static-key", name, value) for name, value in pairs("--static-key", static_key).items()}
    begin, ends = part(start, until, extent)

    from l1dflush.verdict.options import VerifyOptions  # noqa: PLC0415

    return VerifyOptions(
        function=function,
        defines=defines,
        undefines=undefines,
        optimize=optimize.value,
        bind=bindings,
        buffer_size=buffer_bytes,
        static_keys=keys,
        start=begin,
        until=ends,
        run_first=tuple(run_first or ()),
        max_paths=max_paths,
        max_seconds=limit,
    )


def about_a_routine(verb: Callable[..., _T]) -> Callable[..., _T]:
    """A verb whose parameter ``asked`` is what :func:`input_options` makes of its parameters: on the command line they
    stand in its place, each an option.
    """
    common = inspect.signature(input_options).parameters

    @functools.wraps(verb)
    def with_options(**given: Any) -> _T:
        extent = given["extent"]
        asked = input_options(**{name: given.pop(name) for name in common})
        try:
            return verb(asked=asked, **given)
        except InputError as error:
            if extent is None or error.where not in ("--from", "--until"):
                raise
            raise InputError(error.what, where="--range", hint=error.hint) from None

    own = inspect.signature(verb).parameters
    before, after = list(own)[: list(own).index("asked")], list(own)[list(own).index("asked") + 1 :]
    there = {**{name: own[name] for name in before}, **common, **{name: own[name] for name in after}}
    hints = _hints(input_options, common) | _hints(verb, (*before, *after))
    parameters = [one.replace(annotation=hints[name]) for name, one in there.items()]
    # Both of what the versions of typer look at.
    vars(with_options)["__signature__"] = inspect.Signature(parameters)
    with_options.__annotations__ = hints
    return with_options


def _hints(function: Callable[..., object], names: Iterable[str]) -> dict[str, Any]:
    """The annotations of these parameters. Those of the others may not be known when a program runs."""
    named = SimpleNamespace(__annotations__={name: function.__annotations__[name] for name in names})
    return get_type_hints(named, function.__globals__, include_extras=True)
