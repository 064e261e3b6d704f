# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch, in whatever it came: the functions that its added lines show whole become routines.

The new version of every hunk is put at its line numbers in an otherwise empty text, half functions at the
edges are blanked, and the C front end does the rest. All hunks together, half functions too, show what the
patch does with the buffer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.assembly.source import assembly_object, load_assembly
from l1dflush.routine.c.compiling import missing_names
from l1dflush.routine.c.conditions import asked_for
from l1dflush.routine.c.hunk import complete_items, unpaired_conditions
from l1dflush.routine.c.source import compile_candidates, find_candidates
from l1dflush.routine.c.text import (
    Item,
    ItemKind,
    blank_opaque,
    cut,
    directive_name,
)
from l1dflush.routine.c.unit import CIndex
from l1dflush.routine.c.whole import object_of
from l1dflush.routine.compiled import Compiled
from l1dflush.routine.elf.symbol_table import speaks_of_flush
from l1dflush.routine.foreign import foreign_text
from l1dflush.routine.mail.diffs import NewFile, NewLine, new_files
from l1dflush.routine.mail.messages import looks_like_mail, messages
from l1dflush.routine.model import LeftOut, LeftOutKind, Origin, OriginKind, Routine
from l1dflush.routine.options import LoadOptions

T = TypeVar("T", Routine, Compiled)

# One line of blank costs one character, and numbers in a hostile header are free.
_LAST_LINE = 1_000_000
_MAX_SEEN = 20
_MAX_FILES = 5000

_C_SUFFIXES = (".c", ".h", ".inc", ".cc", ".cpp", ".hpp", ".i")
_CPP_SUFFIXES = (".cc", ".cpp", ".hpp")
_ASSEMBLY_SUFFIXES = (".S", ".s", ".asm")
_LABEL = re.compile(r"^\s*(?:(?:SYM_\w*START\w*|ENTRY)\s*\(\s*(\w+)|([A-Za-z_]\w*):)", re.M)
_DIFF = re.compile(rb"^(?:<[^<>\n]{1,200}>)*@@ -\d{1,9}(?:,\d{1,9})? (?:\+|&#43;)\d{1,9}(?:,\d{1,9})? @@", re.M)
_FILE_HEADER = re.compile(rb"^(?:<[^<>\n]{1,200}>)*(?:\+\+\+ |diff --git )", re.M)


@dataclass(frozen=True, slots=True)
class _Fragment:
    """The new version of a C file as far as the patch shows it; ``added`` are the added lines' numbers, ``cut_off`` the
    conditions of which it shows one end, with their lines and the lines that they are about."""

    path: str
    text: str
    context: str
    added: frozenset[int]
    cut_off: tuple[tuple[int, str, range], ...]


def looks_like_patch(data: bytes) -> bool:
    """Whether ``data`` is a diff, a mail, a mailbox or a saved page of a mailing list."""
    if b"\0" in data[: 64 << 10]:
        return False
    if _DIFF.search(data) and _FILE_HEADER.search(data):
        return True
    return looks_like_mail(data)


def load_patch(source: str, data: bytes, options: LoadOptions) -> list[Routine]:
    """The routines in the patch ``data``: functions that its added lines show whole and that may be a flush,
    or the function ``options.function`` if the patch shows it whole.

    Raises :class:`InputError` for what holds no patch, a damaged patch, a patch without a flush (with the
    functions that it does show), and whatever :func:`l1dflush.routine.c.source.load_c` raises.
    """
    search = _Search(source, options)
    search.run(data)
    return search.result(search.routines)


def patch_objects(source: str, data: bytes, options: LoadOptions) -> list[Compiled]:
    """The objects that the files of the patch ``data`` become, each as far as its added lines show it whole.

    Raises :class:`InputError` as :func:`load_patch`.
    """
    search = _ObjectSearch(source, options)
    search.run(data)
    return search.result(search.objects)


class _Search:
    """What has been found on the way through the messages. ``alone`` says that nothing else is given, so that
    only a flush matters."""

    alone: ClassVar[bool] = True

    def __init__(self, source: str, options: LoadOptions) -> None:
        self.source = source
        self.where = "<stdin>" if source == "-" else source
        self.options = options
        self.routines: list[Routine] = []
        # Lines of the file, where the message is in it as it is.
        self.damage: list[tuple[int | None, str]] = []
        self.files = 0
        self.seen: dict[str, None] = {}
        # Per file that routines were found in, the lines that were added with them.
        self.added: dict[str, set[str]] = {}
        # The first reason why a function that looked like a flush did not become a routine, and all that was left out.
        self.failure: InputError | None = None
        self.left_out: list[LeftOut] = []

    def run(self, data: bytes) -> None:
        """Look through all messages."""
        try:
            self._messages(data)
        except RecursionError:
            raise InputError("nested too deeply", where=self.where) from None

    def _messages(self, data: bytes) -> None:
        for message in messages(self.where, data):
            files, damage = new_files(message.text)
            for one in damage:
                line = None if message.lines_before is None else one.line + message.lines_before
                self.damage.append((line, one.what))
            for file in files:
                self.file(file, message.subject)

    def file(self, file: NewFile, subject: str) -> None:
        """Take the routines out of one file of a patch."""
        self.files += 1
        if self.files > _MAX_FILES:
            raise InputError(f"patches to more than {_MAX_FILES} files", where=self.where)
        if file.removed & self.added.get(file.path, set()):
            # Judging the first version of a flush as if it were the last would be worse than judging none.
            raise InputError(
                f"a later patch ({subject or 'without a subject'}) changes what an earlier one adds to {file.path}",
                where=self.where,
                hint="apply the patches and give the file, or give one of them",
            )
        before = self._count()
        detail = f"{subject}: {file.path}" if subject else file.path
        origin = Origin(OriginKind.PATCH, self.source, detail)
        if file.path.endswith(_C_SUFFIXES):
            self._c_file(file, origin)
            if file.path.endswith(_CPP_SUFFIXES) and self._count() == before:
                self._other_file(file)
        elif file.path.endswith(_ASSEMBLY_SUFFIXES):
            self._assembly_file(file, origin)
        else:
            self._other_file(file)
        if self._count() > before:
            lines = {line.text.strip() for hunk in file.hunks for line in hunk.lines if line.added}
            self.added.setdefault(file.path, set()).update(lines)

    def _count(self) -> int:
        """How much has been found."""
        return len(self.routines)

    def result(self, found: list[T]) -> list[T]:
        """What was found, or the error that says best why there is nothing."""
        if found:
            more = (*self.left_out, *self._not_seen())
            return [replace(each, left_out=each.left_out + more) for each in found]
        if self.failure is not None:
            raise self.failure
        if self.damage:
            line, what = self.damage[0]
            place = Place(self.where, line)
            hint = f"{len(self.damage)} hunks are damaged" if len(self.damage) > 1 else "save the mail again"
            raise InputError(what, where=place, hint=hint)
        if not self.files:
            raise InputError("there is no patch in it", where=self.where, hint="a unified diff is expected")
        names = list(self.seen)
        shown = ", ".join(names[:_MAX_SEEN]) + (", ..." if len(names) > _MAX_SEEN else "")
        hint = f"functions seen: {shown}" if names else "no function is seen whole in it"
        if self.options.function is not None:
            raise InputError(f"no function '{self.options.function}' in the patch", where=self.where, hint=hint)
        raise InputError("no function with a flush among the added lines", where=self.where, hint=hint)

    def _not_seen(self) -> Iterator[LeftOut]:
        """Hunks that are damaged, and functions of which the patch shows only a part although a flush may be in it."""
        for line, what in self.damage:
            place = Place(self.where, line)
            yield LeftOut(LeftOutKind.PART, "a damaged hunk", (), what, place)
        for name in self.seen:
            function, _, part = name.partition(" ")
            if part and speaks_of_flush(function):
                yield LeftOut(LeftOutKind.FUNCTION, function, (), "the patch shows only a part of it")

    def _failed(self, error: InputError, name: str, kind: LeftOutKind) -> None:
        """Keeps why something is not in what was found."""
        self.left_out.append(LeftOut(kind, name, missing_names(error), error.what, error.place))

    def _c_file(self, file: NewFile, origin: Origin) -> None:
        for hunk in file.hunks:
            if hunk.section and (name := re.search(r"([A-Za-z_]\w*)\s*\(", hunk.section)):
                self.seen.setdefault(f"{name.group(1)} (in part)")
        try:
            fragment = _fragment(file)
            index = CIndex.of(cut(fragment.text, where=file.path), file.path)
            functions = self._functions(index, fragment)
            if functions or self._defines_others(index, fragment):
                before = self._count()
                self._compile(index, functions, origin, fragment.context)
                if self._count() > before:
                    shown = [(index.text.line(one.start), index.text.line(one.end - 1)) for one in functions]
                    self.left_out += _cut_off(fragment, shown, self.options)
        except InputError as error:
            self.failure = self.failure or error
            self._failed(error, file.path, LeftOutKind.PART)

    def _defines_others(self, _index: CIndex, _fragment: _Fragment) -> bool:
        """Whether to look at a file without functions."""
        return False

    def _functions(self, index: CIndex, fragment: _Fragment) -> list[Item]:
        """The functions to look at: those with an added line, or the one that was asked for."""
        found = []
        for item in index.text.functions:
            self.seen.pop(f"{item.name} (in part)", None)
            lines = range(index.text.line(item.start), index.text.line(item.end - 1) + 1)
            if self.options.function == item.name and self.alone:
                return [item]
            if any(number in fragment.added for number in lines):
                self.seen.setdefault(item.name)
                found.append(item)
        return [] if self.options.function is not None and self.alone else found

    def _compile(self, index: CIndex, functions: list[Item], origin: Origin, context: str) -> None:
        candidates = find_candidates(index, functions, self.options.function)
        # Whatever is added is looked at only if something says that it is a flush: a name, a loop, an asm.
        candidates = [candidate for candidate in candidates if candidate.named or candidate.rank]
        try:
            if candidates:
                self.routines += compile_candidates(index, candidates, self.options, origin, context)
        except InputError as error:
            # A loop that needs half a kernel is not what is looked for; a function with the right name is.
            if any(candidate.named for candidate in candidates):
                raise
            names = ", ".join(candidate.function.name for candidate in candidates[:_MAX_SEEN])
            self._failed(error, names, LeftOutKind.FUNCTION)

    def _assembly_file(self, file: NewFile, origin: Origin) -> None:
        added = "\n".join(line.text for hunk in file.hunks for line in hunk.lines if line.added)
        labels = [match.group(1) or match.group(2) for match in _LABEL.finditer(added)]
        self.seen.update(dict.fromkeys(labels))
        wanted = self.options.function
        if self.alone and not any(name == wanted or (not wanted and speaks_of_flush(name)) for name in labels):
            return
        try:
            self._assemble_parts(file, origin)
        except InputError as error:
            self.failure = self.failure or error
            self._failed(error, file.path, LeftOutKind.PART)

    def _assemble_parts(self, file: NewFile, origin: Origin) -> None:
        """What a diff takes for the old lines behind a new function may well be its end: so from the first added line
        on all of a hunk, and only if that does not assemble no more than up to the last added line."""
        try:
            self._assemble(file.path, _added_part(file, to_end=True), origin)
        except InputError:
            self._assemble(file.path, _added_part(file, to_end=False), origin)

    def _other_file(self, file: NewFile) -> None:
        """Take note of a flush in another language."""
        text = "\n".join(line.text for hunk in file.hunks for line in hunk.lines if line.added) + "\n"
        foreign = foreign_text(text) if speaks_of_flush(text) else None
        if foreign is not None:
            error = foreign.error(file.path)
            self.failure = self.failure or error
            self._failed(error, file.path, LeftOutKind.PART)

    def _assemble(self, path: str, text: str, origin: Origin) -> None:
        found = load_assembly(path, text, self.options)
        self.routines += (replace(routine, origin=origin) for routine in found)


class _ObjectSearch(_Search):
    """The same for objects: other inputs may need what is not a flush."""

    alone = False

    def __init__(self, source: str, options: LoadOptions) -> None:
        super().__init__(source, options)
        self.objects: list[Compiled] = []

    def _count(self) -> int:
        return len(self.objects)

    def _defines_others(self, index: CIndex, fragment: _Fragment) -> bool:
        return any(
            item.kind is ItemKind.DECLARATION
            and any(n in fragment.added for n in range(index.text.line(item.start), index.text.line(item.end - 1) + 1))
            for item in index.text.items
        )

    def _compile(self, index: CIndex, functions: list[Item], origin: Origin, context: str) -> None:
        self.objects.append(object_of(index, functions, self.options, origin, context))

    def _assemble(self, path: str, text: str, origin: Origin) -> None:
        found = assembly_object(path, text, self.options, None, with_c=True)
        self.objects.append(replace(found, origin=origin))


def _added_part(file: NewFile, *, to_end: bool) -> str:
    """The added lines of an assembly file and those between them, each at its own line; ``to_end``: up to the end of
    each hunk. Raises :class:`InputError` as :func:`_fragment`."""
    pieces: list[str] = []
    for gap, lines in _placed(file):
        added = [number for number, line in enumerate(lines) if line.added]
        first, last = (added[0], len(lines) if to_end else added[-1] + 1) if added else (0, 0)
        pieces += [gap, *((line.text if first <= n < last else "") + "\n" for n, line in enumerate(lines))]
    return "".join(pieces)


def _cut_off(fragment: _Fragment, shown: list[tuple[int, int]], options: LoadOptions) -> Iterator[LeftOut]:
    """The conditions about the functions at the lines ``shown`` of which the patch has one end: what it shows of them
    counts as taken."""
    for line, text, about in fragment.cut_off:
        if not any(first in about or last in about for first, last in shown):
            continue
        names = tuple(sorted(asked_for(text) - options.given))
        if names or directive_name(text) in ("else", "endif"):
            end = (
                "which condition it belongs to is not in the patch"
                if not names
                else "its other end is not in the patch"
            )
            reason = f"{end}, and what the patch shows counts as taken"
            yield LeftOut(LeftOutKind.BRANCH, text, names, reason, Place(fragment.path, line))


def _fragment(file: NewFile) -> _Fragment:
    """``file`` as a C text in which every line has its own number.

    Raises :class:`InputError` when the hunks are not in order, or the numbers beyond all files.
    """
    whole: list[str] = []
    context: list[str] = []
    added: set[int] = set()
    cut_off: list[tuple[int, str, range]] = []
    hunks = [(gap, lines, "\n".join(line.text for line in lines) + "\n") for gap, lines in _placed(file)]
    halves = [unpaired_conditions(piece) for _, _, piece in hunks]
    paired = _paired(halves)
    for number, (gap, lines, piece) in enumerate(hunks):
        mine = {offset for hunk, offset in paired if hunk == number}
        whole += [gap, complete_items(piece, mine)]
        context += [gap, blank_opaque(piece)]
        added.update(line.number for line in lines if line.added)
        for offset, text in halves[number]:
            line = lines[0].number + piece.count("\n", 0, offset)
            opens = directive_name(text).startswith("if")
            about = range(line, lines[-1].number + 1) if opens else range(lines[0].number, line)
            if offset not in mine:
                cut_off.append((line, text, about))
    return _Fragment(file.path, "".join(whole), "".join(context), frozenset(added), tuple(cut_off))


def _paired(halves: list[list[tuple[int, str]]]) -> set[tuple[int, int]]:
    """Of the halves of conditionals in the hunks those that belong together, as hunk and offset: what opens in one and
    ends in a later one. Between them there may be more of the file that a patch does not show."""
    open_ones: list[list[tuple[int, int]]] = []
    found: set[tuple[int, int]] = set()
    for hunk, parts in enumerate(halves):
        for offset, text in parts:
            name = directive_name(text)
            if name.startswith("if"):
                open_ones.append([(hunk, offset)])
            elif open_ones:
                open_ones[-1].append((hunk, offset))
                if name == "endif":
                    found.update(open_ones.pop())
    return found


def _placed(file: NewFile) -> Iterator[tuple[str, tuple[NewLine, ...]]]:
    """The hunks' lines, each with the line breaks that bring it to its line. Raises :class:`InputError` as
    :func:`_fragment`."""
    last = 0
    for hunk in file.hunks:
        if not hunk.lines:
            continue
        first = hunk.lines[0].number
        if first <= last or hunk.lines[-1].number > _LAST_LINE:
            raise InputError("its hunks are out of order, or their line numbers too high", where=file.path)
        yield "\n" * (first - last - 1), hunk.lines
        last = hunk.lines[-1].number
