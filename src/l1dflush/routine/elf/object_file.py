# SPDX-License-Identifier: GPL-2.0-or-later
"""Object files: ELF files become an :class:`Image`, their relocations applied, and their functions routines.

Relocatable files (``.o``) get addresses, several of them together as a linker would; a linked file keeps the
addresses it has.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS

from l1dflush.arguments import FUNCTION
from l1dflush.errors import InputError
from l1dflush.routine.elf.kernel_tables import linked_tables, patch_sites
from l1dflush.routine.elf.layout import place
from l1dflush.routine.elf.reader import ElfFile, read_elf
from l1dflush.routine.elf.resolve import LinkInput
from l1dflush.routine.elf.symbol_table import (
    PlacedSymbol,
    entry_points,
    symbols_by_name,
    with_distinct_names,
)
from l1dflush.routine.model import Image, Origin, Routine, Section, SourceNote

# More than anybody would want to wait for.
MAX_CANDIDATES = 20_000


@dataclass(frozen=True, slots=True)
class ObjectImage(Image):
    """An :class:`Image` that also knows where its functions begin: name to address; and, by the same names, the
    number of the file that a function is from and what it is called there."""

    entry_points: dict[str, int] = field(default_factory=dict)
    homes: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectData:
    """The bytes of an ELF file, its name in messages, and names that are nobody else's business although they are
    global in it: what the source calls static. ``found`` as a file: nobody knows what was done to it."""

    data: bytes
    where: str
    own: frozenset[str] = frozenset()
    found: bool = False


def load_image(data: bytes, *, where: str, found: bool = False) -> ObjectImage:
    """The memory image of the x86 ELF file ``data``; ``where`` and ``found`` as in :class:`ObjectData`.

    Raises InputError when it is for another architecture, damaged, or beyond the limits.
    """
    return link_images([ObjectData(data, where, found=found)])


def link_images(objects: Sequence[ObjectData]) -> ObjectImage:
    """One memory image of all ``objects``, names resolved across them as a linker does; what none of them defines
    is outside.

    Raises InputError as :func:`load_image`, and for several definitions of a name, code of both widths, and linked
    files unless there is only one file.
    """
    where = objects[0].where
    try:
        files: list[LinkInput] = []
        for one in objects:
            where = one.where
            files.append(LinkInput(read_elf(one.data, where=where), one.own))
            if one.found:
                _check_symbols(files[-1].elf)
        linked = next((file.elf for file in files if file.elf.type != "ET_REL"), None)
        if linked is not None:
            if len(files) > 1:
                hint = "give the object files that it was made of"
                raise InputError("a linked file cannot be combined with other inputs", where=linked.where, hint=hint)
            where = linked.where
            return _linked_image(linked)
        where = " + ".join(one.where for one in objects)
        placed = place(files)
        image = _image(placed.bits, placed.sections, placed.symbols, len(files))
        return replace(
            image,
            lines=placed.lines,
            bad_relocations=tuple(placed.bad),
            external_stride=placed.external_stride,
            relocated=placed.relocated,
            relocations=placed.relocations,
        )
    except InputError:
        raise
    except ELFError as error:
        raise InputError(f"damaged ELF file: {error}", where=where) from error
    except Exception as error:
        # The checks above are meant to be complete. Should one be missing, a hostile file still must not
        # end in a traceback; the type is named so that the hole can be found.
        raise InputError(f"damaged ELF file ({type(error).__name__})", where=where) from error


def _check_symbols(elf: ElfFile) -> None:
    """Raises InputError for code of which nobody knows whether it had relocations: they refer to symbols, and go with
    them. An assembler, too, makes no table of symbols where it needs none."""
    has_code = any(s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and s["sh_size"] for s in elf.sections)
    if elf.type == "ET_REL" and elf.symbol_table is None and has_code:
        what = "this object file has no symbol table, and what removes that (strip -s) removes relocations with it"
        raise InputError(what, where=elf.where, hint="give the file as it was before, or the one it was linked into")


def _linked_image(elf: ElfFile) -> ObjectImage:
    # A linked file is the rarer case.
    from l1dflush.routine.elf.linked_file import load_linked

    linked = load_linked(elf)
    image = _image(elf.bits, [(0, section) for section in linked.sections], linked.symbols, 1)
    named = [(s.name, s["sh_addr"] + linked.bias, s["sh_size"]) for s in elf.sections]
    tables = linked_tables(named, linked.sections, image.symbols)
    return replace(
        image,
        patch_sites=patch_sites([*linked.sections, *tables], image.symbols, elf.bits),
        bad_relocations=tuple(linked.bad),
        linked=True,
        movable=elf.type == "ET_DYN",
        relocations=linked.relocations,
    )


def _image(
    bits: Literal[32, 64], sections: Sequence[tuple[int, Section]], symbols: list[PlacedSymbol], files: int
) -> ObjectImage:
    distinct = with_distinct_names(symbols)
    everything = [section for _, section in sections]
    entries: dict[str, int] = {}
    homes: dict[str, tuple[int, str]] = {}
    for number in range(files):
        # What counts as a function is decided file by file: one may say which symbols are, another not.
        mine = [symbol for symbol in distinct if symbol.file == number]
        originals = {symbol.name: symbol.original for symbol in mine}
        for name, address in entry_points(mine, [section for n, section in sections if n == number]).items():
            shown = f"{name} at {address:#x}" if name in entries else name
            entries[shown] = address
            homes[shown] = number, originals.get(name, name)
    by_name = symbols_by_name(distinct, everything)
    return ObjectImage(
        bits=bits,
        sections=tuple(everything),
        symbols=by_name,
        patch_sites=patch_sites(everything, by_name, bits),
        entry_points=entries,
        homes=homes,
    )


def routines_from_image(
    image: Image,
    *,
    origin: Origin,
    function: str | None,
    source_available: bool = False,
    notes: tuple[SourceNote, ...] = (),
) -> list[Routine]:
    """The functions of ``image``, or the one that is called ``function``.

    Raises InputError when there is no code or no function of that name.
    """
    if isinstance(image, ObjectImage):
        entries = image.entry_points
    else:
        entries = {s.name: s.address for s in image.symbols.values() if s.defined and s.function}
    chosen = chosen_functions(image, entries, function, origin.source)
    found = (routine_at(image, name, address, origin) for name, address in chosen.items())
    return [replace(routine, notes=notes, source_available=source_available) for routine in found]


def chosen_functions(image: Image, entries: dict[str, int], function: str | None, where: str) -> dict[str, int]:
    """The functions ``entries`` (name to address), or the one called ``function``.

    Raises InputError as :func:`routines_from_image`.
    """
    if function is not None:
        return {function: _find(image, entries, function, where)}
    if not entries:
        raise InputError("there is no machine code in it", where=where)
    if len(entries) > MAX_CANDIDATES:
        what = f"it has {len(entries)} functions"
        raise InputError(what, where=where, hint=f"name one with {FUNCTION}")
    return entries


def routine_at(image: Image, name: str, address: int, origin: Origin) -> Routine:
    """The function ``name`` at ``address`` as a routine."""
    symbol = image.symbols.get(name)
    end = None
    if symbol is not None and symbol.address == address and symbol.size:
        end = address + symbol.size
    return Routine(name=name, origin=origin, image=image, entry=address, end=end)


def _find(image: Image, entries: dict[str, int], function: str, where: str) -> int:
    if function in entries:
        return entries[function]
    symbol = image.symbols.get(function)
    if symbol is not None:
        if not symbol.defined:
            raise InputError(f"'{function}' is only referenced there, not defined", where=where)
        if any(s.executable and s.address <= symbol.address < s.address + s.size for s in image.sections):
            return symbol.address
        raise InputError(f"'{function}' is data, not code", where=where)
    names = list(entries)
    # difflib is slow: on a file with very many functions only the likelier ones are compared.
    if len(names) > 3000:
        names = [n for n in names if n[:2] == function[:2] or function in n][:3000]
    near = difflib.get_close_matches(function, names, n=5, cutoff=0.4)
    count = len(entries)
    others = f"its only function is {names[0]}" if count == 1 else f"it has {count} functions, none of a similar name"
    hint = f"nearest of {count}: {', '.join(near)}" if near else others
    raise InputError(f"no function '{function}'", where=where, hint=hint)
