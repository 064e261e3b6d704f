# SPDX-License-Identifier: GPL-2.0-or-later
"""Known flushes, each described by a text file in ``data/routines`` and generated to machine code.

A description says what the flush reads and in what order, in a dozen fields; the code has the shape that all
known software flushes have: optionally one load per page so that the translations are there, a serialising
instruction, a walk over the buffer, a fence.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import get_type_hints

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.encode import Code
from l1dflush.routine.model import (
    Image,
    NoteKind,
    Origin,
    OriginKind,
    Parameter,
    Routine,
    Section,
    SourceNote,
    Symbol,
)

DEFAULT = "linux-4.9.120"

CODE_ADDRESS = 0x0040_0000
MAX_BUFFER = 16 << 20
MAX_PASSES = 16
MAX_UNROLL = 64

_FENCES = ("lfence", "mfence", None)
_SERIALISE = ("cpuid", None)
_ORDERS = ("ascending", "descending")
_COUNTERS = ("from-zero", "to-zero")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What a description file says.

    ``title`` is one line for a list; ``source`` where the facts are from; ``about`` what is worth knowing.
    The walk loads ``load_bytes`` at every ``step`` bytes of ``buffer_bytes``, ``passes`` times, in ``order``.
    ``counter`` is how the loop counts: an offset ``from-zero`` up, or a negative one up ``to-zero`` from the
    buffer's end. ``unroll`` loads are one round of the loop; the i-th of them is moved by i times ``stagger``
    bytes. Before the walk, one load at every ``warm_up_step`` bytes (``None``: no warm-up), then the
    instruction ``serialise``; after it ``fence``. ``pointer`` is the name of the argument.
    ``initialises_buffer`` is whether the source gives every page contents of its own, ``None`` when it has no
    buffer or does not say. ``notes`` are the facts that a look at the source would give (see
    :class:`SourceNote`); ``source_available`` says that it has been looked at. ``cpu`` is that of the catalogue
    which it was written for, if that is not an x86 one.
    """

    name: str
    title: str
    source: str
    about: str
    buffer_bytes: int
    step: int
    pointer: str
    cpu: str | None = None
    order: str = "ascending"
    counter: str = "from-zero"
    passes: int = 1
    unroll: int = 1
    stagger: int = 0
    load_bytes: int = 1
    warm_up_step: int | None = None
    serialise: str | None = None
    fence: str | None = None
    initialises_buffer: bool | None = None
    source_available: bool = False
    notes: tuple[SourceNote, ...] = ()

    def __post_init__(self) -> None:
        self._require(0 < self.buffer_bytes <= MAX_BUFFER, f"buffer_bytes is none of 1..{MAX_BUFFER}")
        self._require(self.step > 0 and self.buffer_bytes % self.step == 0, "step does not divide buffer_bytes")
        self._require(0 < self.passes <= MAX_PASSES, f"passes is none of 1..{MAX_PASSES}")
        self._require(0 < self.unroll <= MAX_UNROLL, f"unroll is none of 1..{MAX_UNROLL}")
        self._require(self.buffer_bytes % (self.step * self.unroll) == 0, "unroll does not divide the loads")
        self._require(self.load_bytes in (1, 8), "load_bytes is neither 1 nor 8")
        last = self.stagger * (self.unroll - 1) + self.load_bytes
        self._require(self.stagger >= 0 and last <= self.step, "stagger leads out of the line")
        self._require(self.order in _ORDERS, f"order is none of {', '.join(_ORDERS)}")
        self._require(self.counter in _COUNTERS, f"counter is none of {', '.join(_COUNTERS)}")
        self._require(
            self.order == "ascending" or (self.counter == "from-zero" and self.unroll == 1),
            "a descending walk has neither another counter nor an unrolled loop",
        )
        if self.warm_up_step is not None:
            self._require(
                self.warm_up_step > 0 and self.buffer_bytes % self.warm_up_step == 0,
                "warm_up_step does not divide buffer_bytes",
            )
        self._require(self.serialise in _SERIALISE, "serialise is not 'cpuid'")
        self._require(self.fence in _FENCES, "fence is neither 'lfence' nor 'mfence'")

    def _require(self, condition: bool, what: str) -> None:
        if not condition:
            raise InputError(what, where=f"description of {self.name}")


def names() -> tuple[str, ...]:
    """The names of all built-in routines, the default first."""
    stems = (path.stem for path in _folder().glob("*.toml"))
    return tuple(sorted(stems, key=lambda name: (name != DEFAULT, name)))


def describe(name: str) -> BuiltIn:
    """The description of the built-in routine ``name``. Raises InputError when there is none."""
    if name not in names():
        raise InputError(f"no built-in routine '{name}'", hint=f"there are {', '.join(names())}")
    return _read(name)


def written_for(routine: Routine) -> str | None:
    """The CPU that a routine was written for, if it is a built-in one for another than x86's."""
    return _read(routine.origin.source).cpu if routine.origin.kind is OriginKind.BUILT_IN else None


def load_built_in(name: str) -> Routine:
    """The built-in routine ``name`` as machine code. Raises InputError when there is none."""
    built_in = describe(name)
    code = generate(built_in)
    symbol = name.replace("-", "_").replace(".", "_")
    section = Section(
        name=".text",
        address=CODE_ADDRESS,
        data=code,
        size=len(code),
        alignment=16,
        writable=False,
        executable=True,
    )
    return Routine(
        name=name,
        origin=Origin(OriginKind.BUILT_IN, name, built_in.title),
        image=Image(
            bits=64,
            sections=(section,),
            symbols={symbol: Symbol(symbol, CODE_ADDRESS, len(code), defined=True, function=True)},
        ),
        entry=CODE_ADDRESS,
        end=CODE_ADDRESS + len(code),
        parameters=(Parameter("rdi", built_in.pointer),),
        notes=built_in.notes,
        source_available=built_in.source_available,
    )


def parse(name: str, text: str) -> BuiltIn:
    """The description in the TOML document ``text``. Raises InputError for anything that is wrong with it."""
    where = f"description of {name}"
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", where=where) from error
    notes = _notes(values.pop("notes", []), where)
    kinds = get_type_hints(BuiltIn)
    for key, value in values.items():
        if key not in kinds or key == "name":
            raise InputError(f"unknown field '{key}'", where=where)
        # bool is a kind of int to Python, but "passes = true" is a slip.
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and "bool" not in str(kinds[key])):
            raise InputError(f"{key} is of the wrong type", where=where)
    missing = [f.name for f in fields(BuiltIn) if f.default is MISSING and f.name not in ("name", *values)]
    if missing:
        raise InputError(f"there is no {missing[0]}", where=where)
    return BuiltIn(name=name, notes=notes, **values)


def generate(built_in: BuiltIn) -> bytes:
    """The machine code of ``built_in``: System V x86-64, the buffer's address in rdi, no other input."""
    code = Code()
    if built_in.serialise:
        # cpuid overwrites rbx, which belongs to the caller. A compiler saves it at both ends, too.
        code.push_rbx()
    if built_in.warm_up_step is not None:
        _walk(code, built_in, step=built_in.warm_up_step, unroll=1, stagger=0, load_bytes=1)
    if built_in.serialise:
        code.xor_eax_eax()
        code.cpuid()
    for _ in range(built_in.passes):
        _walk(
            code,
            built_in,
            step=built_in.step,
            unroll=built_in.unroll,
            stagger=built_in.stagger,
            load_bytes=built_in.load_bytes,
        )
    if built_in.fence == "lfence":
        code.lfence()
    elif built_in.fence == "mfence":
        code.mfence()
    if built_in.serialise:
        code.pop_rbx()
    code.ret()
    return bytes(code)


def _walk(code: Code, built_in: BuiltIn, *, step: int, unroll: int, stagger: int, load_bytes: int) -> None:
    size = built_in.buffer_bytes
    if built_in.order == "descending":
        code.mov_rax(size - step)
        loop = code.here
        code.load(0, load_bytes)
        code.sub_rax(step)
        code.jae(loop)
        return
    begin, end = (-size, 0) if built_in.counter == "to-zero" else (0, size)
    displacements = (number * (step + stagger) - begin for number in range(unroll))
    code.upward_loop(begin, end, step * unroll, displacements, load_bytes=load_bytes)


def _notes(tables: object, where: str) -> tuple[SourceNote, ...]:
    try:
        rows = [dict(table) for table in tables]  # type: ignore[attr-defined]
        places = [Place(**row.pop("where")) if "where" in row else None for row in rows]
        return tuple(
            SourceNote(NoteKind(r.pop("kind")), str(r.pop("text")), at, **r) for r, at in zip(rows, places, strict=True)
        )
    except (TypeError, ValueError, KeyError) as error:
        raise InputError("a note needs a known kind and a text, and may say where", where=where) from error


def _folder() -> Path:
    return Path(__file__).parents[1] / "data" / "routines"


@cache
def _read(name: str) -> BuiltIn:
    return parse(name, (_folder() / f"{name}.toml").read_text(encoding="utf-8"))
