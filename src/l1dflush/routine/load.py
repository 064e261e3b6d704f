# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door for routines: whatever the user names, here it becomes candidates to trace."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace

from l1dflush.arguments import FUNCTION
from l1dflush.errors import InputError, one_line
from l1dflush.routine import built_in
from l1dflush.routine.detect import SAMPLE, Format, as_text
from l1dflush.routine.extent import narrowed
from l1dflush.routine.given import MAX_BYTES, Given, given
from l1dflush.routine.model import Origin, OriginKind, Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.run_first import preceded
from l1dflush.user_files import STANDARD_INPUT, NoSuchFileError, keep, read_file

_UNDERSTOOD = "understood are: a patch or mail, C, assembly, an x86 object file, or the name of a built-in routine"


def load(source: str | Sequence[str], options: LoadOptions) -> list[Routine]:
    """The routines that ``source`` may mean: at least one, the candidates to trace.

    ``source`` is the name of a built-in routine (``./name`` is the file of that name), ``-`` for standard
    input, or a path; several files are taken together as a linker would. Raises InputError when one cannot be
    read or is nothing known, or when they do not go together.
    """
    if not isinstance(source, str):
        if len(source) != 1:
            return _load_together(source, options)
        (source,) = source
    if source in built_in.names():
        if options.function not in (None, source):
            raise InputError(f"the built-in routine '{source}' is a single function", where=str(FUNCTION))
        return _as_asked([built_in.load_built_in(source)], options)
    return load_bytes(read_input(source), _shown(source), options)


def _as_asked(routines: Sequence[Routine], options: LoadOptions) -> list[Routine]:
    return narrowed(preceded(routines, options), options)


def read_input(source: str) -> bytes:
    """What a file, or - for standard input, has in it, with limits. Raises InputError."""
    if not source:
        raise InputError("the name of the input is empty", hint=_UNDERSTOOD)
    # Who asks again gets the same: standard input and pipes can be read only once.
    keep([source], MAX_BYTES)
    try:
        return read_file(source, MAX_BYTES)
    except NoSuchFileError:
        near = difflib.get_close_matches(source, built_in.names(), n=3, cutoff=0.5)
        names = ", ".join(near or built_in.names())
        hint = f"did you mean the built-in {names}?" if near else f"built in are {names}"
        raise InputError("there is no such file and no such built-in routine", where=source, hint=hint) from None


def _shown(source: str) -> str:
    """The name for messages, debug information and reports; bytes that are no text must not get there."""
    return one_line(os.fsencode(source).decode("utf-8", "backslashreplace"))


def _load_together(sources: Sequence[str], options: LoadOptions) -> list[Routine]:
    """See :func:`load`, for several sources. Raises InputError."""
    from l1dflush.routine.combine import load_together

    if not sources:
        raise InputError("no input is given", hint=_UNDERSTOOD)
    inputs: list[Given] = []
    seen: set[str] = set()
    total = 0
    for source in sources:
        if source in built_in.names():
            hint = f"./{source} is the file of that name"
            raise InputError("a built-in routine cannot be taken together with other inputs", where=source, hint=hint)
        place = source if source == STANDARD_INPUT else os.path.realpath(source)
        if place in seen:
            raise InputError("it is given twice", where=_shown(source))
        seen.add(place)
        data = read_input(source)
        total += len(data)
        if total > MAX_BYTES:
            raise InputError(f"more than {MAX_BYTES >> 20} MiB with the inputs before it", where=_shown(source))
        one = given(data, _shown(source))
        if one.kind in (Format.EMPTY, Format.FOREIGN, Format.BINARY, Format.UNKNOWN):
            # Nothing that could be taken together: this says why.
            return _candidates(one, options)
        inputs.append(one)
    return _as_asked(load_together(inputs, options), options)


def load_bytes(data: bytes, source: str, options: LoadOptions) -> list[Routine]:
    """As :func:`load`, for the contents ``data`` of a file that the user knows as ``source``."""
    return _as_asked(_candidates(given(data, source), options), options)


def _candidates(one: Given, options: LoadOptions) -> list[Routine]:
    found = _load_plain(one, options)
    return [_said_to_be(one.packed, routine) for routine in found] if one.packed else found


def _said_to_be(packed: str, routine: Routine) -> Routine:
    origin = routine.origin
    return replace(routine, origin=replace(origin, detail=f"{origin.detail}, {packed}" if origin.detail else packed))


def _with_the_rest(routines: list[Routine], one: Given, options: LoadOptions) -> list[Routine]:
    """The ``routines`` of a patch, with all of its files taken together if one of them has a weak definition: another
    of these files may have what takes its place."""
    if not any(symbol.weak for routine in routines for symbol in routine.image.symbols.values()):
        return routines
    from l1dflush.routine.combine import load_together

    try:
        return load_together([one], options)
    except InputError:
        return routines  # its files do not go together; that the definition is weak is told


def _load_plain(one: Given, options: LoadOptions) -> list[Routine]:
    """As :func:`load_bytes`, whatever it was packed by."""
    data, source, kind = one.data, one.name, one.kind
    if (options.run_first or options.whole) and kind in (Format.C, Format.PATCH):
        from l1dflush.routine.combine import load_together

        return load_together([one], options)
    # Each front end is imported only when it is its turn: they need parsers that take long to load.
    match kind:
        case Format.ELF:
            from l1dflush.routine.elf.object_file import load_image, routines_from_image

            image = load_image(data, where=source, found=True)
            if image.linked and options.start is None and not any(s.function for s in image.symbols.values()):
                what = "it is stripped: nothing in it says where its functions begin"
                raise InputError(what, where=source, hint="--range A:B takes what lies between two addresses")
            origin = Origin(OriginKind.OBJECT, source, f"{image.bits}-bit ELF")
            return routines_from_image(image, origin=origin, function=options.function)
        case Format.PATCH:
            from l1dflush.routine.mail.patch import load_patch

            return _with_the_rest(load_patch(source, data, options), one, options)
        case Format.C:
            from l1dflush.routine.c.source import load_c

            return load_c(source, as_text(data), options)
        case Format.ASSEMBLY:
            from l1dflush.routine.assembly.source import load_assembly

            return load_assembly(source, as_text(data), options)
        case Format.EMPTY:
            raise InputError("it is empty", where=source, hint=_UNDERSTOOD)
        case Format.FOREIGN:
            from l1dflush.routine.foreign import foreign_binary, foreign_text

            found = foreign_binary(data) or foreign_text(as_text(data[:SAMPLE]))
            assert found is not None
            raise found.error(source)
        case Format.BINARY:
            raise InputError("binary data of no known kind", where=source, hint=_UNDERSTOOD)
        case Format.UNKNOWN:
            raise InputError("text of no known kind", where=source, hint=_UNDERSTOOD)
