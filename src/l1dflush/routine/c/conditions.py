# SPDX-License-Identifier: GPL-2.0-or-later
"""Which names that nobody gave decide what of a C text is compiled.

A text out of a patch or a kernel asks for names that a build would give: ``#ifdef CONFIG_X``, ``#if ORDER > 3``,
``IS_ENABLED(CONFIG_X)``. Undefined, they silently leave code out. Here they are found, for the conditions that matter
to what is compiled; which branch is taken is asked of the preprocessor itself, with a text that has nothing but the
directives in it and a mark in every branch.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.attributes import not_expanded
from l1dflush.routine.c.expanded import as_text, in_statements, tests
from l1dflush.routine.c.includes import Include, not_read, unknown_includes
from l1dflush.routine.c.kernel_prelude import prelude
from l1dflush.routine.c.preprocessor import ASKS, Language, asking, flags_of, preprocessed
from l1dflush.routine.c.text import WORD, CText, directive_name, word_set
from l1dflush.routine.c.unit import CIndex, CUnit
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

MOST = 100
"""So many are told of one routine."""
# What other processors, compilers and languages than the one here define: that these are not defined is certain.
_FOREIGN = word_set(
    """
    __cplusplus __OBJC__ __ASSEMBLY__ __ASSEMBLER__ __CHECKER__ __GENKSYMS__ _MSC_VER _WIN32 _WIN64 __CYGWIN__
    __MINGW32__ __APPLE__ __MACH__ __clang__ __ICC __INTEL_COMPILER __TINYC__ __i386__ __i386 __ILP32__ __aarch64__
    __arm__ __thumb__ __powerpc__ __powerpc64__ __PPC__ __PPC64__ __riscv __riscv_xlen __s390__ __s390x__ __sparc__
    __sparc_v9__ __mips__ __ia64__ __alpha__ __hppa__ __m68k__ __loongarch__ CONFIG_X86_32
    """
)
_NAME = re.compile(r"(?<!\w)[A-Za-z_]\w*")
_ASKS_THE_COMPILER = re.compile(r"\b__has_\w+\s*\((?:[^()]|\([^()]*\))*\)")
_FILE_WORDS = word_set("__has_include __has_include_next __has_embed")
_COMPILER_WORDS = _FILE_WORDS | word_set(
    "__has_attribute __has_cpp_attribute __has_c_attribute __has_builtin __has_feature __has_extension"
)
_NUMBER = re.compile(r"(?<!\w)(0[xX][0-9a-fA-F]+|\d+)[uUlL]*(?!\w)")
_DEFINES = re.compile(r"[ \t]*(?:#|%:)[ \t]*(?:define|undef)[ \t]+([A-Za-z_]\w*)")
_WHOLE_DEFINE = re.compile(r"[ \t]*(?:#|%:)[ \t]*define[ \t]+[A-Za-z_]\w*(.*)", re.S)
_DEFINEDNESS = re.compile(r"\bdefined\b|\bifn?def\b|\belifn?def\b")
_HUGE = "0x7fffffff"
_BEGUN = 0
_MARK = "l1dflush_branch_"


def asked_for(directive: str) -> frozenset[str]:
    """The names that the condition of a directive asks for; ``directive`` is on one line, without comments."""
    return _names_in(_condition_of(directive))


def _condition_of(directive: str) -> str:
    return directive.partition(directive_name(directive))[2]


def _names_in(condition: str) -> frozenset[str]:
    return frozenset(_NAME.findall(_ASKS_THE_COMPILER.sub(" ", condition))) - {"defined"}


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch of a conditional: its directive at ``start`` to ``end``, what it goes up to, and the directive's text
    as code, on one line."""

    start: int
    end: int
    until: int
    text: str

    @property
    def names(self) -> frozenset[str]:
        """The names that its condition asks for."""
        return asked_for(self.text)

    @property
    def compares(self) -> bool:
        """Whether its condition is an expression, in which macros are expanded."""
        return directive_name(self.text) in ("if", "elif")


@dataclass(frozen=True, slots=True)
class _Conditional:
    """An #if with its other branches, up to its #endif."""

    branches: tuple[_Branch, ...]

    @property
    def start(self) -> int:
        return self.branches[0].start

    @property
    def end(self) -> int:
        return self.branches[-1].until

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(branch.names for branch in self.branches))


def conditionals(text: CText) -> Iterator[_Conditional]:
    """The conditionals of ``text`` that begin and end in it, the inner ones first."""
    open_ones: list[list[tuple[int, int]]] = []
    for span in text.directives:
        name = directive_name(text.code[span[0] : span[1]])
        if name in ("if", "ifdef", "ifndef"):
            open_ones.append([span])
        elif name in ("elif", "elifdef", "elifndef", "else"):
            if open_ones:
                open_ones[-1].append(span)
        elif name == "endif" and open_ones:
            spans = open_ones.pop()
            ends = [start for start, _ in spans[1:]] + [span[0]]
            yield _Conditional(
                tuple(
                    _Branch(start, end, until, " ".join(text.code[start:end].replace("\\\n", " ").split()))
                    for (start, end), until in zip(spans, ends, strict=True)
                )
            )


def asked_names(text: CText) -> Iterator[str]:
    """The names that any conditional of ``text`` asks for."""
    for start, end in text.directives:
        piece = text.code[start:end]
        if directive_name(piece) in ("if", "ifdef", "ifndef", "elif", "elifdef", "elifndef"):
            yield from asked_for(piece)


def macros_of(text: CText, names: frozenset[str]) -> frozenset[str]:
    """``names``, and the words of all macros that they stand for."""
    found = set(names)
    todo = list(names)
    while todo:
        name = todo.pop()
        new = {word for macro in text.macros if macro.name == name for word in macro.words} - found
        found |= new
        todo += new
    return frozenset(found)


def decided(index: CIndex, unit: CUnit, options: LoadOptions, context: str) -> list[LeftOut]:
    """What names that nobody gave decide about ``unit``: branches left out, tests of the configuration, and values that
    the text itself has for what is not given. At most :data:`MOST`, in the order of the text. ``context`` is all that
    is known of the file, if that is more than the text.
    """
    flags = flags_of(unit.text, options)
    matter, includes = _relevant(index, unit), unknown_includes(index.text, max(end for _, end in unit.kept))
    found = _of_directives(index.text, index.usable, unit.prelude, matter, options, index.source, "c", flags, includes)
    found += tests(index, unit, options, flags)
    found += as_text(index, unit, options, flags, frozenset(asked_names(index.text)))
    found += in_statements(index, unit, options)
    return [*unasked(index.text.text + context, options, index.source), *_first(found)]


def _first(found: list[tuple[int, LeftOut]]) -> list[LeftOut]:
    """The first :data:`MOST` of all, in the order of the text, and how many more there are."""
    unique = {(one.name, one.names, one.where): one for _, one in sorted(found, key=lambda pair: pair[0])}
    everything = list(unique.values())
    if len(everything) <= MOST:
        return everything
    rest = everything[MOST:]
    names = tuple(dict.fromkeys(name for one in rest for name in one.names))
    reason = f"{len(rest)} more conditions that names decide which nobody gave"
    return [*everything[:MOST], LeftOut(LeftOutKind.PART, ", ".join(names), names, reason, rest[0].where)]


def unasked(text: str, options: LoadOptions, where: str) -> Iterator[LeftOut]:
    """The names that are given, and that ``text`` does not ask for: most likely they are misspelt."""
    words = frozenset(WORD.findall(text)) | prelude().words
    for name in sorted(options.given):
        if not {name, name.removesuffix("_MODULE")} & words:
            yield LeftOut(LeftOutKind.SUPPOSED, name, (), f"it is defined, but never used in {where}")


def decided_by_directives(text: CText, head: str, where: str, options: LoadOptions) -> list[LeftOut]:
    """The same for all directives of an assembly text behind ``head``."""
    matter = sorted(conditionals(text), key=lambda one: one.start)
    return _first(_of_directives(text, text.text, head, matter, options, where, "assembler-with-cpp", ()))


def _of_directives(
    text: CText,
    usable: str,
    head: str,
    matter: Sequence[_Conditional],
    options: LoadOptions,
    where: str,
    language: Language,
    flags: Sequence[str],
    includes: Sequence[Include] = (),
) -> list[tuple[int, LeftOut]]:
    """What names that nobody gave decide in the conditionals ``matter``, with where; ``usable`` is the text without
    directives that are not for us, ``head`` what comes before it."""
    again = [macro for macro in text.macros if macro.name in options.defines]
    if not matter and not again and not includes:
        return []
    spans = [(one.start, one.end) for one in includes]
    passed, undefined = _preprocessed(text, usable, head, options, matter, where, language, flags, spans)
    settled = options.given | _FOREIGN
    found = [found for one in matter for found in _of_conditional(text, one, passed, undefined, settled, where)]
    for macro in again:
        if macro.end in passed:
            reason = "the text defines it anew, so that --define says nothing from there on"
            place = Place(where, text.line(macro.start))
            found.append((macro.start, LeftOut(LeftOutKind.SUPPOSED, macro.name, (), reason, place)))
    # Where the preprocessor was of no help, each may be read.
    unread = [one for one in includes if one.end in passed or _BEGUN not in passed]
    return [*found, *not_read(text, unread, where)]


def _relevant(index: CIndex, unit: CUnit) -> list[_Conditional]:
    """The conditionals that have to do with what is compiled: around or inside of it, or around the definition of a
    macro that it uses, or that such a conditional asks for."""
    rest = list(conditionals(index.text))
    kept = sorted(unit.kept)
    starts = [start for start, _ in kept]
    found: list[_Conditional] = []
    words = set(unit.words)
    if "assert" in words:
        words.add("NDEBUG")
    macros: dict[str, list[int]] = {}
    # There the text itself says that something is lacking.
    errors = [s for s, e in index.text.directives if directive_name(index.text.code[s:e]) == "error"]
    for start, end in index.text.directives:
        if match := _DEFINES.match(index.text.code[start:end]):
            macros.setdefault(match.group(1), []).append(start)

    def overlaps(one: _Conditional) -> bool:
        place = bisect_left(starts, one.end)
        return (place > 0 and kept[place - 1][1] > one.start) or any(one.start < at < one.end for at in errors)

    todo = True
    while todo:
        used = sorted(place for word in words & macros.keys() for place in macros[word])
        now: list[_Conditional] = []
        later: list[_Conditional] = []
        for one in rest:
            place = bisect_left(used, one.start)
            (now if overlaps(one) or (place < len(used) and used[place] < one.end) else later).append(one)
        found += now
        rest = later
        before = len(words)
        for one in now:
            words |= one.names
        words |= {word for macro in index.text.macros if macro.name in words for word in macro.words}
        todo = len(words) > before
    return sorted(found, key=lambda one: one.start)


def _preprocessed(
    text: CText,
    usable: str,
    head: str,
    options: LoadOptions,
    matter: Sequence[_Conditional],
    where: str,
    language: Language,
    flags: Sequence[str],
    marked: Sequence[tuple[int, int]],
) -> tuple[frozenset[int], dict[int, set[str]]]:
    """Of which directives the preprocessor passes the end, and where the conditionals ``matter`` begin that it comes
    to; and the names that are undefined there and that a branch asks for, by the end of its directive, also those that
    are only in the macros in its condition."""
    branches = {one.start: one.branches for one in matter}
    marks = {branch.end for one in matter for branch in one.branches} | {macro.end for macro in text.macros}
    marks |= {end for _, end in marked}
    own = {macro.name for macro in text.macros} | options.given
    lines = [asking(head), f"{_MARK}{_BEGUN}\n"]
    for start, end in text.directives:
        if start in branches:
            lines.append(f"{_MARK}{start}\n")
            for branch in branches[start]:
                for name in sorted(branch.names):
                    lines.append(f"#ifndef {name}\n{_MARK}name_{branch.end}_{name}\n#endif\n")
                condition = _ASKS_THE_COMPILER.sub("0", _condition_of(branch.text)) if branch.compares else ""
                # Only a directive may ask the compiler, so what comes to that in other ways is not expanded.
                hidden = macros_of(text, branch.names) & _COMPILER_WORDS
                lines.append(f"{_MARK}text_{branch.end} {'' if hidden else condition}\n")
        lines.append((not_expanded(usable[start:end], own) if language == "c" else usable[start:end]) + "\n")
        if end in marks:
            lines.append(f"{_MARK}{end}\n")
    try:
        plain = preprocessed("".join(lines), options, where, language, (*flags, "-P"))
    except InputError:
        # Conditions that are no C: the compiler has said so, or says it where it matters.
        return frozenset(), {}
    undefined: dict[int, set[str]] = {}
    for end, name in re.findall(rf"\b{_MARK}name_(\d+)_(\w+)", plain):
        undefined.setdefault(int(end), set()).add(name)
    callable_ones = {macro.name for macro in text.macros if macro.callable} | prelude().entries.keys()
    for end, condition in re.findall(rf"\b{_MARK}text_(\d+)\b([^\n]*)", plain):
        found = _names_in(condition) - callable_ones - {ASKS}
        undefined.setdefault(int(end), set()).update(n for n in found if not n.startswith(("__l1dflush", _MARK)))
    return frozenset(int(number) for number in re.findall(rf"\b{_MARK}(\d+)\b", plain)), undefined


def _of_conditional(
    text: CText,
    one: _Conditional,
    passed: frozenset[int],
    undefined: dict[int, set[str]],
    settled: frozenset[str],
    where: str,
) -> Iterator[tuple[int, LeftOut]]:
    if one.start not in passed:
        return  # it is inside a branch that is not taken, which is told
    taken = next((number for number, branch in enumerate(one.branches) if branch.end in passed), len(one.branches))
    asked = one.branches[: taken + 1]
    names = {name for branch in asked for name in undefined.get(branch.end, ())} - settled
    # What the text has defined before, under another condition, that one decides.
    names -= {macro.name for macro in text.macros if macro.start < one.start}
    # A name that only this conditional defines is a default, or guards a header.
    own = {macro.name for macro in text.macros if one.start < macro.start < one.end}
    own -= {macro.name for macro in text.macros if not one.start < macro.start < one.end}
    for name in sorted(names & own):
        yield from _default(text, one, passed, name, where)
    deciding = sorted(names - own)
    files = any("__has_include" in branch.text or macros_of(text, branch.names) & _FILE_WORDS for branch in asked)
    if not deciding and not files:
        return
    gone = [branch for number, branch in enumerate(one.branches) if number != taken]
    lines = [
        (text.line(branch.end) + 1, text.line(branch.until) - 1)
        for branch in gone
        if text.code[branch.end : branch.until].strip()
    ]
    conditions = [branch for branch in asked if undefined.get(branch.end, set()) & set(deciding)] or asked
    first = conditions[0]
    reason = lines_left_out(lines) + ("; no other file is read" if files else "")
    place = Place(where, text.line(first.end))
    left = LeftOut(LeftOutKind.BRANCH, _as_written(text, first), tuple(deciding), reason, place, _values(conditions))
    yield first.start, left


def _as_written(text: CText, branch: _Branch) -> str:
    """A branch's directive on one line, with what stands in its quotes."""
    if '"' not in branch.text:
        return branch.text
    return " ".join(text.text[branch.start : branch.end].replace("\\\n", " ").split())


def lines_left_out(spans: Sequence[tuple[int, int]]) -> str:
    """What a condition does that leaves these lines out, from the first to the last each."""
    told = [f"{first}" if first == last else f"{first} to {last}" for first, last in spans if first <= last]
    if not told:
        return "what is behind it is taken"
    one = len(told) == 1 and told[0].isdecimal()
    return f"line{'' if one else 's'} {', '.join(told)} {'is' if one else 'are'} left out"


def _default(
    text: CText, one: _Conditional, passed: frozenset[int], name: str, where: str
) -> Iterator[tuple[int, LeftOut]]:
    """A name that only this conditional defines, because it was not defined: a guard of a header if it is empty."""
    for macro in text.macros:
        if macro.name != name or macro.end not in passed or not one.start < macro.start < one.end:
            continue
        match = _WHOLE_DEFINE.match(text.code[macro.start : macro.end])
        value = " ".join(match.group(1).replace("\\\n", " ").split()) if match else ""
        if value:
            place = Place(where, text.line(macro.start))
            reason = f"it is {value} here, unless it is given"
            yield macro.start, LeftOut(LeftOutKind.DEFAULT, name, (name,), reason, place)


def _values(conditions: Sequence[_Branch]) -> tuple[str, ...]:
    """What a name may be so that another branch is taken: defined, or on either side of what it is compared with."""
    values = ["1"]
    for branch in conditions:
        numbers = [_number(written) for written in _NUMBER.findall(_condition_of(branch.text))[:4]]
        values += [str(near) for number in numbers for near in (number, number + 1, number - 1) if near > 0]
        if numbers or not _DEFINEDNESS.search(branch.text):
            values.append(_HUGE)
    return tuple(dict.fromkeys(values))[:8]


def _number(written: str) -> int:
    """A number as C writes it; one that C would refuse is as good as any."""
    base = 16 if written[:2].lower() == "0x" else 8 if written.startswith("0") and not set(written) & set("89") else 10
    return int(written, base)
