# SPDX-License-Identifier: GPL-2.0-or-later
"""Several inputs taken together, as a linker would: each becomes an object file, all objects one image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from l1dflush.errors import InputError
from l1dflush.routine.compiled import Compiled
from l1dflush.routine.detect import Format, as_text
from l1dflush.routine.elf.object_file import (
    ObjectData,
    ObjectImage,
    chosen_functions,
    link_images,
    routine_at,
)
from l1dflush.routine.elf.reader import read_elf
from l1dflush.routine.elf.symbol_table import speaks_of_flush
from l1dflush.routine.given import Given
from l1dflush.routine.model import LeftOut, LeftOutKind, NoteKind, Origin, OriginKind, Routine, SourceNote
from l1dflush.routine.options import LoadOptions

# Beside what all of them may take together: each text costs several runs of compiler or assembler.
MAX_INPUTS = 200


def load_together(inputs: Sequence[Given], options: LoadOptions) -> list[Routine]:
    """The routines that all ``inputs`` have together.

    Each must be of a known format. Raises :class:`InputError` as the front ends do, and for inputs that do not
    go together: two definitions of a name, code of both widths, a linked file.
    """
    if len(inputs) > MAX_INPUTS:
        raise InputError(f"{len(inputs)} inputs; at most {MAX_INPUTS} are taken together")
    objects = [part for parts in _compiled(inputs, options) for part in parts]
    image = link_images(
        [ObjectData(one.data, one.where, one.own, one.origin.kind is OriginKind.OBJECT) for one in objects]
    )
    _check_pointers(objects, image)
    where = " + ".join(one.name for one in inputs)
    mentioned: dict[int, frozenset[str]] = {}
    left_out = tuple(_left_out(objects, image))
    routines = []
    for name, address in _candidates(objects, image, options.function, where).items():
        home, original = image.homes.get(name, (_file_of(image, name), name))
        part = objects[home]
        if home not in mentioned:
            mentioned[home] = _mentioned(part)
        origin = replace(part.origin, combined=tuple(dict.fromkeys(one.origin for one in objects)))
        routine = routine_at(image, name, address, origin)
        routines.append(
            replace(
                routine,
                parameters=part.facts.parameters(original) if part.facts is not None else (),
                notes=(*_notes(objects, original, mentioned[home]), *_doubts(objects, options.function)),
                source_available=any(one.source_available for one in objects),
                left_out=left_out,
            )
        )
    return routines


def _left_out(objects: Sequence[Compiled], image: ObjectImage) -> Iterator[LeftOut]:
    """What all of them left out, but for what another one has."""
    asking = [part for part in objects if part.source_available]
    for one in (left for part in objects for left in part.left_out):
        unasked = one.kind is LeftOutKind.SUPPOSED and not one.names and not one.where
        # Given, and not asked for in one of them: another may.
        if unasked and not all(any(o.name == one.name and not o.where for o in part.left_out) for part in asking):
            continue
        symbol = image.symbols.get(one.name)
        if one.kind is LeftOutKind.BRANCH or symbol is None or not symbol.defined:
            yield one


def _compiled(inputs: Sequence[Given], options: LoadOptions) -> list[list[Compiled]]:
    """The objects of every input. Objects come first: they decide whether a text becomes 32-bit code."""
    widths = {read_elf(one.data, where=one.name).bits for one in inputs if one.kind is Format.ELF}
    (bits,) = widths if len(widths) == 1 else (None,)
    with_c = any(one.kind in (Format.C, Format.PATCH) for one in inputs)
    return [_one(one, options, None if with_c else bits, with_c) for one in inputs]


def _one(given: Given, options: LoadOptions, bits: int | None, with_c: bool) -> list[Compiled]:
    data, name = given.data, given.name
    # As for a single input, a front end is imported only when it is its turn.
    match given.kind:
        case Format.ELF:
            width = read_elf(data, where=name).bits
            return [Compiled(data, name, Origin(OriginKind.OBJECT, name, f"{width}-bit ELF"))]
        case Format.PATCH:
            from l1dflush.routine.mail.patch import patch_objects

            return patch_objects(name, data, options)
        case Format.C:
            from l1dflush.routine.c.whole import c_object

            return [c_object(name, as_text(data), options)]
        case Format.ASSEMBLY:
            from l1dflush.routine.assembly.source import assembly_object

            return [assembly_object(name, as_text(data), options, 32 if bits == 32 else None, with_c=with_c)]
    raise InputError(f"{given.kind.value} cannot be taken together with other inputs", where=name)


def _candidates(objects: Sequence[Compiled], image: ObjectImage, function: str | None, where: str) -> dict[str, int]:
    """The functions that may be the flush, by their names in the image."""
    entries = {}
    for name, address in image.entry_points.items():
        home, original = image.homes[name]
        possible = objects[home].functions
        if function is not None or possible is None or original in possible:
            entries[name] = address
    failure = next((part.failure for part in objects if part.failure is not None), None)
    if function is None and failure is not None and not any(speaks_of_flush(name) for name in entries):
        # To look at less likely functions would only hide what is missing.
        raise failure
    return chosen_functions(image, entries, function, where)


def _doubts(objects: Sequence[Compiled], function: str | None) -> list[SourceNote]:
    """What may be the flush as well and does not compile, unless one was chosen."""
    failures = [part.failure for part in objects if part.failure is not None] if function is None else []
    return [
        SourceNote(
            NoteKind.ANOTHER_WALK_UNDECIDED,
            f"a function that may be the flush as well does not compile: {failure.what}",
            failure.place,
        )
        for failure in failures
    ]


def _file_of(image: ObjectImage, name: str) -> int:
    """The number of the file with the label ``name``, which is not a function of its own."""
    address = image.symbols[name].address
    before = [home for entry, (home, _) in image.homes.items() if image.entry_points[entry] <= address]
    return before[-1] if before else 0


def _check_pointers(objects: Sequence[Compiled], image: ObjectImage) -> None:
    """Raises InputError where a text uses what it does not declare as a pointer, and another file shows that it is
    something larger."""
    width = image.bits // 8
    for part in objects:
        for name in sorted(part.pointers):
            symbol = image.symbols.get(name)
            if symbol is not None and symbol.defined and not symbol.function and (symbol.size or 0) > width:
                what = f"it uses `{name}` without a declaration, and elsewhere that has {symbol.size} bytes"
                raise InputError(what, where=part.where, hint=f"declare it there: extern char {name}[];")


def _mentioned(part: Compiled) -> frozenset[str]:
    """The names that a file without C text shares with others: its functions may use any of them."""
    if part.facts is not None:
        return frozenset()
    symbols = read_elf(part.data, where=part.where).symbols
    return frozenset(symbol.name for symbol in symbols if symbol.name and symbol.binding != "STB_LOCAL")


def _notes(objects: Sequence[Compiled], function: str, mentioned: frozenset[str]) -> tuple[SourceNote, ...]:
    """The notes about a function and about those of all files that it calls, as far as names tell; ``mentioned``
    are names that it may use besides."""
    sources = [part.facts for part in objects if part.facts is not None]
    notes: dict[SourceNote, None] = {}
    words = set(mentioned)
    done: set[str] = set()
    todo = [function, *mentioned] if sources else []
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        for facts in sources:
            # A static function of another file is none of ours, but telling them apart by name would take a parser.
            found = facts.words(name)
            if found:
                notes.update(dict.fromkeys(facts.notes(name)))
                words |= found
                # What it calls in its own text is in its notes already.
                done |= facts.called(name)
                todo += (word for word in found if word not in done)
    for facts in sources:
        notes.update(dict.fromkeys(facts.buffer_notes(frozenset(words), frozenset(done))))
    return tuple(notes)
