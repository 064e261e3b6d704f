"""A patch, in whatever it came: the functions that its added lines show whole become routines.

The new version of every hunk is put at its line numbers in an otherwise empty text, half functions at the
edges are blanked, and the C front end does the rest. All hunks together, half functions too, show what the
patch does with the buffer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from l1dflush.errors import InputError
from l1dflush.routine.assembly import assembly_object, load_assembly
from l1dflush.routine.c_source import compile_candidates, find_candidates
from l1dflush.routine.c_text import Item, ItemKind, blank_opaque, complete_items, cut
from l1dflush.routine.c_unit import CIndex
from l1dflush.routine.c_whole import object_of
from l1dflush.routine.compiled import Compiled
from l1dflush.routine.diff_text import NewFile, new_files
from l1dflush.routine.foreign import foreign_text
from l1dflush.routine.mail_text import looks_like_mail, messages
from l1dflush.routine.model import Origin, OriginKind, Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.symbol_table import speaks_of_flush

T = TypeVar("T")

# One line of blank costs one character, and numbers in a hostile header are free.
_LAST_LINE = 1_000_000
_MAX_SEEN = 20
_MAX_FILES = 5000

_C_SUFFIXES = (".c", ".h", ".inc", ".cc", ".cpp", ".hpp", ".i")
_ASSEMBLY_SUFFIXES = (".S", ".s", ".asm")
_LABEL = re.compile(r"^\s*(?:(?:SYM_\w*START\w*|ENTRY)\s*\(\s*(\w+)|([A-Za-z_]\w*):)", re.M)
_DIFF = re.compile(rb"^(?:<[^<>\n]{1,200}>)*@@ -\d{1,9}(?:,\d{1,9})? (?:\+|&#43;)\d{1,9}(?:,\d{1,9})? @@", re.M)
_FILE_HEADER = re.compile(rb"^(?:<[^<>\n]{1,200}>)*(?:\+\+\+ |diff --git )", re.M)


@dataclass(frozen=True, slots=True)
class _Fragment:
    """The new version of a C file as far as the patch shows it; ``added`` are the added lines' numbers."""

    path: str
    text: str
    context: str
    added: frozenset[int]


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
    functions that it does show), and whatever :func:`l1dflush.routine.c_source.load_c` raises.
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
        # The first reason why a function that looked like a flush did not become a routine.
        self.failure: InputError | None = None

    def run(self, data: bytes) -> None:
        """Look through all messages."""
        try:
            self._messages(data)
        except RecursionError:
            raise InputError("nested too deeply", where=self.where) from None

    def _messages(self, data: bytes) -> None:
        for message in messages(self.where, data):
            files, damage = new_files(message.text, where=self.where)
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
            return found
        if self.failure is not None:
            raise self.failure
        if self.damage:
            line, what = self.damage[0]
            place = self.where if line is None else f"{self.where}:{line}"
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

    def _c_file(self, file: NewFile, origin: Origin) -> None:
        for hunk in file.hunks:
            if hunk.section and (name := re.search(r"([A-Za-z_]\w*)\s*\(", hunk.section)):
                self.seen.setdefault(f"{name.group(1)} (in part)")
        try:
            fragment = _fragment(file)
            index = CIndex.of(cut(fragment.text, where=file.path), file.path)
            functions = self._functions(index, fragment)
            if functions or self._defines_others(index, fragment):
                self._compile(index, functions, origin, fragment.context)
        except InputError as error:
            self.failure = self.failure or error

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
        except InputError:
            # A loop that needs half a kernel is not what is looked for; a function with the right name is.
            if any(candidate.named for candidate in candidates):
                raise

    def _assembly_file(self, file: NewFile, origin: Origin) -> None:
        text = "\n".join(line.text for hunk in file.hunks for line in hunk.lines if line.added) + "\n"
        labels = [match.group(1) or match.group(2) for match in _LABEL.finditer(text)]
        self.seen.update(dict.fromkeys(labels))
        wanted = self.options.function
        if self.alone and not any(name == wanted or (not wanted and speaks_of_flush(name)) for name in labels):
            return
        try:
            self._assemble(file.path, text, origin)
        except InputError as error:
            self.failure = self.failure or error

    def _other_file(self, file: NewFile) -> None:
        """Take note of a flush in another language."""
        text = "\n".join(line.text for hunk in file.hunks for line in hunk.lines if line.added) + "\n"
        foreign = foreign_text(text) if speaks_of_flush(text) else None
        if foreign is not None:
            self.failure = self.failure or foreign.error(file.path)

    def _assemble(self, path: str, text: str, origin: Origin) -> None:
        found = load_assembly(path, text, self.options)
        self.routines += (replace(routine, origin=origin) for routine in found)


class _ObjectSearch(_Search):
    """The same for objects: other inputs may need what is no flush."""

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


def _fragment(file: NewFile) -> _Fragment:
    """``file`` as a C text in which every line has its own number.

    Raises :class:`InputError` when the hunks are not in order, or the numbers beyond all files.
    """
    whole: list[str] = []
    context: list[str] = []
    added: set[int] = set()
    last = 0
    for hunk in file.hunks:
        if not hunk.lines:
            continue
        first = hunk.lines[0].number
        if first <= last or hunk.lines[-1].number > _LAST_LINE:
            raise InputError("its hunks are out of order, or their line numbers too high", where=file.path)
        piece = "\n".join(line.text for line in hunk.lines) + "\n"
        gap = "\n" * (first - last - 1)
        whole += [gap, complete_items(piece)]
        context += [gap, blank_opaque(piece)]
        added.update(line.number for line in hunk.lines if line.added)
        last = hunk.lines[-1].number
    return _Fragment(file.path, "".join(whole), "".join(context), frozenset(added))
