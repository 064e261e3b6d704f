# SPDX-License-Identifier: GPL-2.0-or-later
"""A translation unit for some functions: they, what they need of their own text, and the prelude.

The unit is the user's text with everything blanked that they do not need, so every line keeps its
number; ``#line`` gives it the user's file name. Names from elsewhere are declared where that is certain
enough (a function that is called, a pointer that is read through); the others are listed, all at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.attributes import not_expanded
from l1dflush.routine.c.directives import inner_includes, with_directives
from l1dflush.routine.c.kernel_prelude import prelude
from l1dflush.routine.c.parsing import ADDRESS, CALLED, MEMBER, POINTER, TYPE, UNSURE, VALUE, ItemFacts, facts_of
from l1dflush.routine.c.text import (
    WORD,
    CText,
    Item,
    ItemKind,
    blank_linkage,
    spaces,
    word_set,
)

# Only pasted or looked up by name inside the prelude's macros, so they need no value.
_NAMES_ONLY = re.compile(r"(?:X86_FEATURE_|X86_BUG_|CONFIG_)\w+\Z")
_CONSTANT_LIKE = re.compile(r"[A-Z_][A-Z0-9_]*\Z")
_STRINGIFY = word_set("__stringify stringify")
_TAG = re.compile(r"\b(?:struct|union)\s+\w+")
_MAX_LISTED = 40
_MAX_ITEMS = 2000
_MAX_PARSED = 20_000


@dataclass(slots=True)
class CIndex:
    """Who defines what in a text; facts about an item are found when they are first asked for.

    ``usable`` is the text without the directives that are not for us, every character still in its place. ``strict`` is
    the same with an #error for each #include inside a function or a declaration: what the other file has there would
    be part of it.
    """

    text: CText
    source: str
    usable: str
    strict: str
    by_name: dict[str, list[Item]] = field(default_factory=dict)
    macros: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    pasted: dict[str, frozenset[str]] = field(default_factory=dict)
    _facts: dict[int, ItemFacts] = field(default_factory=dict)
    _by_word: dict[str, list[Item]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: CText, source: str) -> CIndex:
        """The index of ``text``. Declarations are indexed by every word in them: parsing comes later."""
        usable, strict = (with_directives(text, inner) for inner in (frozenset[int](), inner_includes(text)))
        index = cls(text, source, usable, strict)
        for item in text.items:
            if item.kind is ItemKind.FUNCTION:
                index.by_name.setdefault(item.name, []).append(item)
            elif item.kind is ItemKind.DECLARATION:
                for word in set(WORD.findall(text.code, item.start, item.end)):
                    index._by_word.setdefault(word, []).append(item)
        for macro in text.macros:
            index.macros.setdefault(macro.name, []).append(macro.words)
            index.pasted[macro.name] = index.pasted.get(macro.name, frozenset()) | macro.pasted
        return index

    def facts(self, item: Item) -> ItemFacts:
        """What ``item`` declares and uses."""
        if item.start not in self._facts:
            if len(self._facts) >= _MAX_PARSED:
                raise InputError(f"more than {_MAX_PARSED} declarations to look at", where=self.source)
            self._facts[item.start] = facts_of(self.text, item, where=self.source)
        return self._facts[item.start]

    def made_of(self, word: str) -> set[str]:
        """The names of the text that begin or end with ``word``: what a macro may make of it by pasting."""
        known = self.by_name.keys() | self.macros.keys() | self._by_word.keys()
        return {name for name in known if name != word and (name.startswith(word) or name.endswith(word))}

    def definitions(self, name: str) -> list[Item]:
        """The items that declare or define ``name``."""
        found = list(self.by_name.get(name, ()))
        for item in self._by_word.get(name.rpartition(" ")[2], ()):
            if item.end - item.start <= _LONGEST_DECLARATION and name in self.facts(item).declared:
                found.append(item)
        return found


_LONGEST_DECLARATION = 64 << 10


@dataclass(frozen=True, slots=True)
class CUnit:
    """What the compiler gets. ``prelude`` is what of it does not come from the text.

    ``wanted`` are the items it is made for, ``called`` the other functions that are in it with their bodies,
    ``unresolved`` the names that nothing here defines (sorted), ``pointers`` those that are taken for pointer
    variables of another file. ``kept`` are the places of the text that are compiled, ``supposed`` the names that were
    declared for it, each with its declaration or value.
    """

    text: str
    prelude: str
    wanted: tuple[Item, ...]
    called: tuple[Item, ...]
    unresolved: tuple[str, ...]
    words: frozenset[str]
    pointers: frozenset[str]
    kept: tuple[tuple[int, int], ...]
    supposed: Mapping[str, str]


class UndefinedNamesError(InputError):
    """A function uses ``names`` that nothing defines."""

    def __init__(self, what: str, names: Sequence[str], *, where: Place | str | None, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.names = tuple(names)


def unresolved_error(function: str, names: Iterable[str], where: Place | str | None) -> UndefinedNamesError:
    """The error that lists every name which ``function`` uses and nothing defines."""
    listed = list(names)
    shown = ", ".join(listed[:_MAX_LISTED]) + (", ..." if len(listed) > _MAX_LISTED else "")
    count = f"{len(listed)} names" if len(listed) != 1 else "a name"
    tags = [name for name in listed if " " in name]
    hint = f"--define {next((n for n in listed if ' ' not in n), 'NAME')}=VALUE supplies one"
    if tags:
        hint = (
            f"{hint}; put the declaration of {tags[0]} into the file"
            if len(tags) < len(listed)
            else (f"put the declaration of {tags[0]} into the file")
        )
    what = f"function '{function}' uses {count} not defined here: {shown}"
    return UndefinedNamesError(what, listed, where=where, hint=hint)


def build_unit(
    index: CIndex,
    wanted: Sequence[Item],
    *,
    defines: Mapping[str, str],
    undefines: Collection[str] = (),
    declared_only: frozenset[str] = frozenset(),
    unknown: frozenset[str] = frozenset(),
    insertions: Mapping[int, str] | None = None,
) -> CUnit:
    """The unit for the functions and variables ``wanted``.

    The functions they call come with their bodies, but for those in ``declared_only``. The ``unknown`` names become
    variables of another file, so that their values are anything. ``insertions`` puts text at offsets of the source (on
    the same line): the marks around asm statements.
    """
    closure = _Closure(index, wanted, defines, declared_only)
    closure.run()
    text = index.text
    known = prelude()
    words = set(text.conditions) | closure.words
    for value in defines.values():
        words.update(WORD.findall(value))
    own = frozenset(index.macros) | closure.defined | closure.local | closure.defines
    picked, provided = known.pick(words, own | frozenset(undefines))
    guesses = _settle(closure, (own | provided | known.always_names) - frozenset(undefines), unknown)
    body = not_expanded(_masked_text(index, closure, insertions or {}), own)
    name = index.source.replace("\\", "\\\\").replace('"', '\\"')
    name = "".join(c if c.isprintable() else "?" for c in name)
    head = f'#line 1 "l1dflush-prelude"\n{known.always}{picked}'
    whole = f'{head}{guesses.declarations}#line 1 "{name}"\n{body}\n'
    called = tuple(item for item in closure.items if item.kind is ItemKind.FUNCTION and item not in wanted)
    kept = tuple(item for item in called if item.start not in closure.declared_only)
    ends = ((i.start, i.body if i.start in closure.declared_only else i.end) for i in closure.items)
    return CUnit(
        whole,
        head,
        tuple(wanted),
        kept,
        tuple(sorted(set(guesses.unresolved))),
        frozenset(closure.words),
        frozenset(guesses.pointers),
        tuple(ends),
        {**guesses.supposed, **known.values(provided & closure.words, own)},
    )


def _define_name(name: str) -> str:
    return name.partition("(")[0]


class _Closure:
    """The items that some items need, found by following names."""

    def __init__(
        self, index: CIndex, wanted: Sequence[Item], defines: Mapping[str, str], declared_only: frozenset[str]
    ) -> None:
        self.index = index
        self.wanted = wanted
        self.names = frozenset(item.name for item in wanted if item.name)
        self.defines = frozenset(_define_name(name) for name in defines)
        self.only = declared_only - self.names
        self.items: list[Item] = []
        self.declared_only: set[int] = set()
        self.used: dict[str, set[str]] = {}
        self.words: set[str] = set()
        self.defined: frozenset[str] = frozenset()
        self.local: set[str] = set()

    def run(self) -> None:
        defined: set[str] = set()
        seen: set[int] = set()
        names_seen: set[str] = set()
        todo: list[Item] = [item for name in self.names for item in self.index.by_name.get(name, ())]
        todo += self.wanted
        names: list[tuple[str, set[str]]] = []
        while todo or names:
            while todo:
                item = todo.pop()
                if item.start in seen:
                    continue
                seen.add(item.start)
                if len(seen) > _MAX_ITEMS:
                    who = " and ".join(f"function '{name}'" for name in sorted(self.names)[:1]) or "it"
                    raise InputError(f"{who} needs more than {_MAX_ITEMS} declarations", where=self.index.source)
                facts = self.index.facts(item)
                body = item.kind is not ItemKind.FUNCTION or item.name not in self.only
                head = frozenset(WORD.findall(self.index.text.code, item.start, item.body))
                types = [name for name, ways in facts.used.items() if TYPE in ways and name.split()[-1] in head]
                if not body and any(self._unknown_type(name) for name in types):
                    # Not even its declaration compiles: then it is called without one.
                    continue
                self.items.append(item)
                defined |= facts.declared
                # A local name hides a macro of the prelude; one like __unused is an attribute, not a name.
                self.local.update(name for name in facts.local if not name.startswith("__"))
                if not body:
                    self.declared_only.add(item.start)
                end = item.end if body else item.body
                self.words.update(WORD.findall(self.index.text.code, item.start, end))
                names += (
                    (n, ways) for n, ways in facts.used.items() if body or (TYPE in ways and n.split()[-1] in head)
                )
            name, ways = names.pop() if names else ("", set())
            if not name:
                continue
            self.used.setdefault(name, set()).update(ways)
            if name in names_seen or name in self.defines:
                continue
            names_seen.add(name)
            todo += self.index.definitions(name)
            for word in self.index.pasted.get(name, ()):
                made = self.index.made_of(word) - names_seen
                self.words |= made
                names += ((one, {UNSURE}) for one in made)
            for macro in self.index.macros.get(name, ()):
                self.words |= macro
                names += ((word, {UNSURE}) for word in macro if word not in names_seen)
        self.items.sort(key=lambda item: item.start)
        self.defined = frozenset(defined)

    def _unknown_type(self, name: str) -> bool:
        """Whether nothing says what type ``name`` is; a tag need not be known."""
        known = self.defines | prelude().entries.keys() | prelude().always_names | self.index.macros.keys()
        return not (" " in name or name in known or _is_keyword(name) or self.index.definitions(name))


@dataclass(slots=True)
class _Guesses:
    """Declarations for the names that can be guessed, those that cannot, and which of the former are guessed to be
    pointers; ``supposed`` are the guessed variables."""

    declarations: str = ""
    unresolved: list[str] = field(default_factory=list)
    pointers: set[str] = field(default_factory=set)
    supposed: dict[str, str] = field(default_factory=dict)

    def variable(self, name: str, declaration: str) -> None:
        self.declarations += f"extern {declaration};\n"
        self.supposed[name] = f"taken for `{declaration}` of another file"


def _settle(closure: _Closure, known: frozenset[str], unknown: frozenset[str]) -> _Guesses:
    """See :class:`_Guesses`."""
    found = _Guesses()
    # What a macro pastes need not be a name by itself: if it has to be, the compiler says so.
    pasting = any(macro.pastes and macro.name in closure.words for macro in closure.index.text.macros)
    pasting |= not closure.words.isdisjoint(_STRINGIFY)
    for item in closure.wanted:
        facts = closure.index.facts(item)
        for kind, name in facts.parameters:
            tag = _TAG.search(kind)
            if tag and name in facts.members_of and " ".join(tag.group().split()) not in closure.defined:
                found.unresolved.append(" ".join(tag.group().split()))
    labels = {label for item in closure.items for label in closure.index.facts(item).labels}
    for name, ways in sorted(closure.used.items()):
        # A tag that nobody defines is fine as long as it is only pointed to.
        # Behind what the parser does not understand, a label of asm goto looks like a variable.
        if name in known or " " in name or name in labels or _NAMES_ONLY.match(name) or _is_keyword(name):
            continue
        if name in unknown and not ways & {CALLED, TYPE, MEMBER}:
            found.declarations += f"extern const long {name};\n"
            found.supposed[name] = "its value is taken to be anything"
        elif CALLED in ways and (not _CONSTANT_LIKE.match(name) or name.startswith("_")):
            found.declarations += f"extern long {name}();\n"
        elif TYPE in ways:
            found.unresolved.append(name)
        elif ways == {UNSURE} or (pasting and ways == {VALUE}):
            continue  # if it is expanded or compiled after all, the compiler says so
        elif _CONSTANT_LIKE.match(name) or MEMBER in ways:
            found.unresolved.append(name)
        elif POINTER in ways:
            found.pointers.add(name)
            found.variable(name, f"unsigned char *{name}")
        elif ways == {ADDRESS}:
            found.variable(name, f"unsigned long {name}")
        else:
            found.unresolved.append(name)
    return found


def _is_keyword(name: str) -> bool:
    return name in _C_WORDS or name.startswith("__builtin_") or (name.startswith("__") and name.endswith("__"))


_C_WORDS = word_set(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while asm typeof defined
    """
)


def _masked_text(index: CIndex, closure: _Closure, insertions: Mapping[int, str]) -> str:
    text = index.text
    pieces: list[tuple[int, int, str]] = []
    kept: list[tuple[int, int]] = []
    for item in closure.items:
        kept.append((item.start, item.end))
        pieces.append((item.start, item.end, _item_text(index, closure, item, insertions)))
    place = 0
    for start, end in text.directives:
        while place < len(kept) and kept[place][1] <= start:
            place += 1
        if place == len(kept) or kept[place][0] > start:
            pieces.append((start, end, index.usable[start:end]))
    pieces.sort()
    result: list[str] = []
    last = 0
    for start, end, piece in pieces:
        result += ["\n" * text.text.count("\n", last, start), piece]
        last = end
    return "".join(result)


def _item_text(index: CIndex, closure: _Closure, item: Item, insertions: Mapping[int, str]) -> str:
    text = index.text
    is_function = item.kind is ItemKind.FUNCTION
    wanted = item.name in closure.names
    head_end = item.body if is_function else _head_end(text.code, item)
    head = index.strict[item.start : head_end]
    body_kept = not is_function or item.start not in closure.declared_only
    facts = index.facts(item)
    functions = facts.declared & index.by_name.keys() - closure.names
    # A called function keeps its "static" and "inline": it is compiled into its caller as in the original.
    # A variable loses it, else one that is never written is folded to its first value.
    if wanted or not body_kept or (not is_function and not functions):
        head = blank_linkage(head, inline=is_function or facts.prototype)
    if not body_kept:
        return head + ";" + spaces(index.usable[head_end + 1 : item.end])
    pieces = [head]
    last = head_end
    for offset in sorted(offset for offset in insertions if head_end <= offset < item.end):
        pieces += [index.strict[last:offset], insertions[offset]]
        last = offset
    return "".join(pieces) + index.strict[last : item.end]


def _head_end(code: str, item: Item) -> int:
    ends = [place for place in (code.find(c, item.start, item.end) for c in "{=") if place >= 0]
    return min(ends, default=item.end)
