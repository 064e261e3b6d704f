# SPDX-License-Identifier: GPL-2.0-or-later
"""C text as one object: every function and variable of it, to be taken together with other inputs.

For a single input only the flush is compiled, and what it needs. Here others may need the rest, so all of it is,
as far as it compiles by itself; only for a function that may be the flush it is an error if it does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.buffer_content import buffer_notes
from l1dflush.routine.c.compiling import (
    compiled_unit,
    not_compiled,
    notes_of_unit,
    parameters_of,
    places,
    run_compiler,
    supposed,
    translated,
    unit_of,
)
from l1dflush.routine.c.conditions import decided
from l1dflush.routine.c.source import find_candidates
from l1dflush.routine.c.text import Item, ItemKind, blank_opaque, cut
from l1dflush.routine.c.unit import CIndex, CUnit, unresolved_error
from l1dflush.routine.compiled import Compiled
from l1dflush.routine.model import Origin, OriginKind, Parameter, SourceNote
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import TooMuchError

# Each costs a run of the compiler.
_MAX_ATTEMPTS = 10
_STATIC = re.compile(r"\bstatic\b")
_NO_DEFINITION = re.compile(r"\s*(?:typedef|extern)\b")


def c_object(source: str, text: str, options: LoadOptions) -> Compiled:
    """The object that the C text which the user knows as ``source`` becomes.

    Raises :class:`InputError` when nothing in it is defined, or a function that may be the flush does not compile.
    """
    file = "<stdin>" if source == "-" else source
    try:
        index = CIndex.of(cut(text.replace("\r\n", "\n"), where=file), file)
        context = blank_opaque(index.text.text)
        return object_of(index, list(index.text.functions), options, Origin(OriginKind.C, source), context)
    except RecursionError:
        raise InputError("nested too deeply", where=file) from None


def object_of(index: CIndex, functions: Sequence[Item], options: LoadOptions, origin: Origin, context: str) -> Compiled:
    """The object that ``functions`` and the variables of the text in ``index`` become; ``context`` is the blanked
    text that shows what happens to the buffer. Raises :class:`InputError` as :func:`c_object`."""
    whole = _Whole(index, functions, options)
    unit, elf = whole.compile()
    facts = _Facts(index, options, whole.declared_only, whole.unknown, context)
    own = frozenset(
        name
        for item in index.text.items
        if item.kind in (ItemKind.FUNCTION, ItemKind.DECLARATION) and _STATIC.search(_head(index, item))
        for name in index.facts(item).declared
    )
    return Compiled(
        elf,
        index.source,
        origin,
        functions=whole.candidates,
        own=own,
        pointers=unit.pointers,
        facts=facts,
        failure=whole.failure,
        source_available=True,
        left_out=(*not_compiled(index, whole.failed), *decided(index, unit, options, context), *supposed(unit)),
    )


def _head(index: CIndex, item: Item) -> str:
    """The part of an item that says what it is, before its body or value."""
    end = item.body if item.kind is ItemKind.FUNCTION else item.end
    return re.split("[{=]", index.text.code[item.start : end], maxsplit=1)[0]


class _Whole:
    """The functions and variables of a text, fewer with every attempt that does not compile."""

    def __init__(self, index: CIndex, functions: Sequence[Item], options: LoadOptions) -> None:
        self.index = index
        self.options = options
        by_name = {item.name: item for item in reversed(functions)}
        asked = options.function if options.function in by_name else None
        found = find_candidates(index, list(functions), asked) if functions else []
        self.candidates = frozenset(candidate.function.name for candidate in found)
        # With another file's function asked for, nothing here is the flush.
        must = options.function is None or asked is not None
        self.must = {c.function.start for c in found if must and (asked or (c.named and c.rank == 2))}
        # What has a loop and such a name may be the flush, or set up what it needs.
        self.likely = {c.function.start for c in found if must and c.named and c.rank}
        self.failure: InputError | None = None
        self.failed: dict[str, InputError] = {}
        # A static function that is not a candidate comes along with who calls it.
        kept = (f for f in by_name.values() if f.name in self.candidates or not _STATIC.search(_head(index, f)))
        self.wanted = sorted((*kept, *self._variables()), key=lambda item: item.start)
        self.declared_only: frozenset[str] = frozenset()
        self.unknown: frozenset[str] = frozenset()

    def _variables(self) -> list[Item]:
        found = []
        for item in self.index.text.items:
            if item.kind is not ItemKind.DECLARATION or _NO_DEFINITION.match(_head(self.index, item)):
                continue
            facts = self.index.facts(item)
            names = facts.declared - self.index.by_name.keys()
            if not facts.prototype and any(" " not in name for name in names):
                found.append(item)
        return found

    def compile(self) -> tuple[CUnit, bytes]:
        """The unit and the object that it becomes, without what does not compile. Raises :class:`InputError`."""
        for attempt in range(_MAX_ATTEMPTS):
            if not self.wanted:
                if self.failure is not None:
                    raise self.failure
                hint = "it defines nothing that another input could use"
                raise InputError("no function or variable in it compiles by itself", where=self.index.source, hint=hint)
            unit = self._unit(self.wanted)
            if unit.unresolved:
                blamed = [(item, self._missing(item)) for item in self.wanted]
                failed = [(item, why) for item, why in blamed if why is not None]
                first: InputError = unresolved_error(self._name(unit.wanted[0]), unit.unresolved, self.index.source)
            else:
                try:
                    return unit, run_compiler(unit.text, self.index.source, self.options)
                except TooMuchError:
                    raise
                except InputError as error:
                    first = error
                    failed = [(item, error) for item in self._blamed(unit, error)]
            if not failed or attempt == _MAX_ATTEMPTS - 2:
                # Nobody in particular: then only what has to be there.
                failed = [(item, first) for item in self.wanted if item.start not in self.must]
                if not failed:
                    raise first
            for item, why in failed:
                self._leave_out(item, why)
        raise first

    def _unit(self, wanted: Sequence[Item]) -> CUnit:
        return unit_of(self.index, wanted, self.options, self.declared_only, self.unknown)

    def _name(self, item: Item) -> str:
        return item.name or next(iter(sorted(self.index.facts(item).declared)), "")

    def _missing(self, item: Item) -> InputError | None:
        """The error that lists the names which ``item`` needs and nothing defines."""
        names = self._unit([item]).unresolved
        line = Place(self.index.source, self.index.text.line(item.start))
        return unresolved_error(self._name(item), names, line) if names else None

    def _blamed(self, unit: CUnit, error: InputError) -> list[Item]:
        """The function or variable that a compiler's error stands in."""
        line = error.place.line or 0 if error.place is not None else 0
        text = self.index.text
        return [i for i in (*unit.wanted, *unit.called) if text.line(i.start) <= line <= text.line(i.end - 1)]

    def _leave_out(self, item: Item, error: InputError) -> None:
        if item.start in self.must:
            # Perhaps it is what it calls that does not compile; if not, this says what is wrong.
            alone = compiled_unit(self.index, item, self.options)
            if alone.declared_only <= self.declared_only and alone.unknown <= self.unknown:
                raise translated(self.index, error, item.name)
            self.declared_only |= alone.declared_only
            self.unknown |= alone.unknown
            self.failed.update(alone.failed)
            self.wanted = [one for one in self.wanted if one.name not in alone.declared_only or one.start in self.must]
            return
        self.failed.setdefault(self._name(item), translated(self.index, error, self._name(item)))
        if item.start in self.likely:
            self.failure = self.failure or translated(self.index, error, item.name)
        self.wanted = [one for one in self.wanted if one.start != item.start]
        if item.kind is ItemKind.FUNCTION:
            self.declared_only |= {item.name}


class _Facts:
    """See :class:`l1dflush.routine.compiled.SourceFacts`."""

    def __init__(
        self,
        index: CIndex,
        options: LoadOptions,
        declared_only: frozenset[str],
        unknown: frozenset[str],
        context: str,
    ) -> None:
        self._index = index
        self._options = options
        self._declared_only = declared_only
        self._unknown = unknown
        self._context = context
        self._notes: dict[str, tuple[SourceNote, ...]] = {}
        self._units: dict[str, CUnit] = {}

    @cached_property
    def _functions(self) -> dict[str, Item]:
        found = ((name, items[0]) for name, items in self._index.by_name.items())
        return {name: item for name, item in found if name not in self._declared_only}

    def _unit(self, function: str) -> CUnit | None:
        item = self._functions.get(function)
        if item is None:
            return None
        if function not in self._units:
            self._units[function] = unit_of(self._index, [item], self._options, self._declared_only, self._unknown)
        return self._units[function]

    def parameters(self, function: str) -> tuple[Parameter, ...]:
        item = self._functions.get(function)
        return () if item is None else parameters_of(self._index, item)

    def notes(self, function: str) -> tuple[SourceNote, ...]:
        if function not in self._notes:
            unit = self._unit(function)
            found = (
                []
                if unit is None
                else notes_of_unit(self._index, unit, self._options, self._declared_only, self._unknown)
            )
            self._notes[function] = tuple(found)
        return self._notes[function]

    def called(self, function: str) -> frozenset[str]:
        unit = self._unit(function)
        return frozenset() if unit is None else frozenset(item.name for item in unit.called)

    def words(self, function: str) -> frozenset[str]:
        unit = self._unit(function)
        return frozenset() if unit is None else unit.words

    def buffer_notes(self, words: frozenset[str], functions: frozenset[str]) -> tuple[SourceNote, ...]:
        return tuple(buffer_notes(self._context, words, functions, places(self._index)))
