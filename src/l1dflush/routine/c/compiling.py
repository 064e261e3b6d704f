# SPDX-License-Identifier: GPL-2.0-or-later
"""One C function to one routine: the unit compiled, its parameters, and the notes that its source gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from l1dflush.arguments import DEFINE
from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.asm_statement import Marked, insertions, notes_from_code, notes_from_text
from l1dflush.routine.c.asm_text import asm_templates
from l1dflush.routine.c.buffer_content import buffer_notes
from l1dflush.routine.c.conditions import decided
from l1dflush.routine.c.directives import INCLUDED_HERE
from l1dflush.routine.c.flags import compiler_flags
from l1dflush.routine.c.text import Item
from l1dflush.routine.c.unit import CIndex, CUnit, UndefinedNamesError, build_unit, unresolved_error
from l1dflush.routine.elf.object_file import load_image, routines_from_image
from l1dflush.routine.foreign import foreign_assembly
from l1dflush.routine.model import (
    STACK_ARGUMENT,
    LeftOut,
    LeftOutKind,
    NoteKind,
    Origin,
    Parameter,
    Routine,
    SourceNote,
)
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import TooMuchError, compile_c

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
# Arguments in vector registers; what comes behind them is on the stack (psABI).
_VECTOR_ARGUMENTS = 8
_MAX_ATTEMPTS = 8
_PAGE = 4096

_RETURNS_STRUCTURE = re.compile(r"\b(?:struct|union)\s+\w+\s*$")
_IN_VECTOR_REGISTER = re.compile(r"\b(?:float|double|__m\d+\w*)\b")
_IN_SEVERAL_PLACES = re.compile(r"\b(?:struct|union|__int128|double)\b")

# What GCC and Clang say about names they do not know; the tools are run in the C locale, so quotes are plain.
_UNDECLARED = re.compile(r"'(\w+)' undeclared|undeclared identifier '(\w+)'")
_UNKNOWN_TYPE = re.compile(r"unknown type name '(\w+)'")
# These have the variable's name, and its type is in the line.
_NO_SIZE = re.compile(r"storage size of|incomplete type")
_TAG = re.compile(r"\b(?:struct|union|enum)\s+\w+")
# What GNU as, GCC and Clang say about instructions and registers that x86 does not have.
_ABOUT_ASSEMBLY = re.compile(
    r"no such instruction|unknown register name|operands? (?:size |type )?mismatch|invalid instruction|junk |"
    r"bad register name|invalid operand|unrecognized instruction|unexpected token|impossible constraint|"
    r"invalid 'asm'|invalid (?:in)?output constraint|invalid input constraint|too many memory references|"
    r"expecting operand|bad expression|missing ['`]|unknown pseudo-op|unbalanced|invalid char|ambiguous",
    re.I,
)
_INCOMPLETE = re.compile(
    r"(?:undefined|incomplete)[\w ]* type '(?:const |volatile )*((?:struct|union|enum) \w+)|"
    r"incomplete definition of type '((?:struct|union) \w+)"
)


@dataclass(frozen=True, slots=True)
class CompiledUnit:
    """The unit that compiles and the object that it becomes. ``declared_only`` are the called functions that had to be
    left out of it, ``unknown`` the names whose values are anything; ``failed`` says why, for each such function."""

    unit: CUnit
    elf: bytes
    declared_only: frozenset[str]
    unknown: frozenset[str]
    failed: Mapping[str, InputError]


def compile_function(index: CIndex, function: Item, options: LoadOptions, origin: Origin, context: str) -> Routine:
    """The routine that ``function`` of the text in ``index`` becomes, with its parameters and notes.

    ``context`` is the blanked text in which the treatment of the buffer is looked for. Raises
    :class:`InputError`, see :func:`l1dflush.routine.c.source.load_c`.
    """
    compiled = compiled_unit(index, function, options)
    unit = compiled.unit
    branches = decided(index, unit, options, context)
    try:
        image = load_image(compiled.elf, where=index.source)
        found = routines_from_image(image, origin=origin, function=function.name, source_available=True)
    except InputError as error:
        raise with_branches(error, function.name, branches) from None
    notes = notes_of_unit(index, unit, options, compiled.declared_only, compiled.unknown)
    functions = frozenset(item.name for item in (function, *unit.called))
    notes += buffer_notes(context, unit.words, functions, places(index))
    large = [one.name for one in image.symbols.values() if not one.function and (one.size or 0) > _PAGE]
    elsewhere = _used_elsewhere(index, large, (function, *unit.called))
    notes += (SourceNote(NoteKind.USED_ELSEWHERE, name) for name in elsewhere)
    left_out = (*not_compiled(index, compiled.failed), *branches, *supposed(unit))
    return replace(found[0], parameters=parameters_of(index, function), notes=tuple(notes), left_out=left_out)


def _used_elsewhere(index: CIndex, variables: Iterable[str], compiled: Sequence[Item]) -> Iterator[str]:
    """Those of the ``variables`` of which the text speaks beyond what was ``compiled`` and their own declarations."""
    code = index.text.code
    for name in variables:
        word = re.compile(rf"\b{re.escape(name)}\b")
        known = {(item.start, item.end) for item in (*compiled, *index.definitions(name))}
        mentioned = sum(len(word.findall(code[start:end])) for start, end in known)
        if len(word.findall(code)) > mentioned:
            yield name


def with_branches(error: InputError, function: str, branches: Sequence[LeftOut]) -> InputError:
    """``error``, or that ``function`` is not compiled at all because of a condition that nobody decided."""
    if not branches:
        return error
    first = branches[0]
    names = dict.fromkeys(name for one in branches for name in one.names)
    more = f" ({', '.join(names)} are not given)" if len(names) > 1 else ""
    what = f"`{first.name}` leaves the function '{function}' out: {first.names[0]} is not given{more}"
    return InputError(what, where=first.where, hint=f"{DEFINE.of(first.names[0])} brings it in")


def not_compiled(index: CIndex, failed: Mapping[str, InputError]) -> Iterator[LeftOut]:
    """The functions that have no code because they did not compile."""
    for name, error in failed.items():
        items = index.by_name.get(name, ())
        where = Place(index.source, index.text.line(index.text.code.find(name, items[0].start))) if items else None
        yield LeftOut(LeftOutKind.FUNCTION, name, missing_names(error), error.what, where)


def supposed(unit: CUnit) -> Iterator[LeftOut]:
    """The names that were supposed to be something."""
    return (LeftOut(LeftOutKind.SUPPOSED, name, (name,), reason) for name, reason in sorted(unit.supposed.items()))


def notes_of_unit(
    index: CIndex,
    unit: CUnit,
    options: LoadOptions,
    declared_only: frozenset[str],
    unknown: frozenset[str] = frozenset(),
) -> list[SourceNote]:
    """What the asm statements in ``unit`` give reason to note; ``declared_only`` and ``unknown`` as for
    :func:`build_unit`."""
    marked = _marked(index, unit)
    notes = list(notes_from_text(marked, places(index)))
    if not marked:
        return notes
    marks: Mapping[int, str] = insertions(marked)
    again = unit_of(index, unit.wanted, options, declared_only, unknown, marks)
    try:
        elf = run_compiler(again.text, index.source, options)
    except InputError:
        # A template that does not bear marks (its last line continues, it changes sections): nothing is said
        # about its registers.
        return notes
    return notes + list(notes_from_code(marked, elf))


def unit_of(
    index: CIndex,
    wanted: Sequence[Item],
    options: LoadOptions,
    declared_only: frozenset[str],
    unknown: frozenset[str],
    marks: Mapping[int, str] | None = None,
) -> CUnit:
    """:func:`build_unit` with what the user gave."""
    return build_unit(
        index,
        wanted,
        defines=options.defines,
        undefines=options.undefines,
        declared_only=declared_only,
        unknown=unknown,
        insertions=marks,
    )


def compiled_unit(index: CIndex, function: Item, options: LoadOptions) -> CompiledUnit:
    """``function`` with what it needs, as far as it compiles.

    The functions that are called come along with their bodies. In one that has neither loop nor asm statement, a name
    that nothing defines becomes a value that may be anything: an error's number, as a rule. One that needs more from
    elsewhere is only declared, and its call is then a call to the outside. Raises InputError for ``function`` itself.
    """
    declared_only: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    failed: dict[str, InputError] = {}
    line = Place(index.source, index.text.line(index.text.code.find(function.name, function.start)))
    for attempt in range(_MAX_ATTEMPTS):
        unit = unit_of(index, [function], options, declared_only, unknown)
        called = {item.name: item for item in unit.called}
        last = not called or attempt == _MAX_ATTEMPTS - 1
        if unit.unresolved:
            error: InputError = unresolved_error(function.name, unit.unresolved, line)
            missing = set(unit.unresolved)
            blamed = {item.name for item in unit.called if index.facts(item).used.keys() & missing} or set(called)
            if last:
                raise error
        else:
            try:
                return CompiledUnit(
                    unit, run_compiler(unit.text, index.source, options), declared_only, unknown, failed
                )
            except InputError as complaint:
                if last or isinstance(complaint, TooMuchError):
                    raise translated(index, complaint, function.name) from None
                error = complaint
                missing = set(missing_names(translated(index, complaint, function.name)))
                blamed = _blamed(index, unit, complaint)
        # The last attempts but one leave out more and more.
        if attempt >= _MAX_ATTEMPTS - 2:
            blamed = set(called)
        plain = {name for name in blamed if not (index.facts(called[name]).loops or index.facts(called[name]).asm)}
        values = {name for name in missing if " " not in name} - index.facts(function).used.keys() - unknown
        if attempt < _MAX_ATTEMPTS - 3 and values and blamed <= plain:
            unknown |= values
            continue
        declared_only |= blamed
        for name in blamed:
            own = [one for one in unit.unresolved if one in index.facts(called[name]).used]
            failed[name] = unresolved_error(name, own, line) if own else translated(index, error, name)
    raise AssertionError("the last attempt returns or raises")


def run_compiler(text: str, where: str, options: LoadOptions) -> bytes:
    """The object that the compiler makes of ``text``, as code of a kernel. Raises InputError."""
    return compile_c(
        text.encode("utf-8", "replace"),
        where=where,
        optimize=options.optimize,
        defines=options.defines,
        undefines=options.undefines,
        extra_flags=compiler_flags(text),
    )


def _blamed(index: CIndex, unit: CUnit, error: InputError) -> set[str]:
    """The called functions that a compiler's error is about: the one it stands in, or all."""
    everyone = {item.name for item in unit.called}
    line = error.place.line if error.place is not None else None
    if line is None:
        return everyone
    inside = {item.name for item in unit.called if index.text.line(item.start) <= line <= index.text.line(item.end - 1)}
    own = any(index.text.line(item.start) <= line <= index.text.line(item.end - 1) for item in unit.wanted)
    return inside if inside and not own else everyone


def translated(index: CIndex, error: InputError, function: str) -> InputError:
    """``error`` of the compiler; one that is about a missing name says how to supply it, one about a file that is not
    read which it is."""
    if error.what == INCLUDED_HERE:
        what = f"`{_line(index, error)}` stands inside of '{function}', and no other file is read"
        return InputError(what, where=error.where, hint="put what it has in its place, or give the object file")
    for pattern in (_UNDECLARED, _UNKNOWN_TYPE, _INCOMPLETE):
        if match := pattern.search(error.what):
            name = next(group for group in match.groups() if group)
            return unresolved_error(function, [name], error.place)
    if _NO_SIZE.search(error.what):
        tags = {" ".join(tag.split()) for tag in _TAG.findall(_line(index, error))}
        if lacking := sorted(tag for tag in tags if not index.definitions(tag)):
            return unresolved_error(function, lacking, error.place)
    if _ABOUT_ASSEMBLY.search(error.what):
        foreign = foreign_assembly("\n".join(asm_templates(index.text)))
        return error if foreign is None else foreign.error(error.where or index.source)
    return error


def _line(index: CIndex, error: InputError) -> str:
    """The line of the text that the compiler's ``error`` is about."""
    lines = index.text.text.split("\n")
    number = error.place.line or 0 if error.place is not None else 0
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def missing_names(error: InputError) -> tuple[str, ...]:
    """The names that an error is about because nothing defines them."""
    return error.names if isinstance(error, UndefinedNamesError) else ()


def _marked(index: CIndex, unit: CUnit) -> list[Marked]:
    """The asm statements of the function and of those compiled into it."""
    statements = [statement for item in (*unit.wanted, *unit.called) for statement in index.facts(item).asm]
    where = places(index)
    return [Marked(number, statement, where(statement.offset)) for number, statement in enumerate(statements)]


def places(index: CIndex) -> Callable[[int], Place]:
    """What gives the line for an offset of the text."""
    return lambda offset: Place(index.source, index.text.line(offset))


def parameters_of(index: CIndex, function: Item) -> tuple[Parameter, ...]:
    """The parameters that are passed in general registers, and behind these on the stack, in the order of the ABI."""
    facts = index.facts(function)
    head = index.text.code[function.start : function.body].partition(function.name)[0]
    if _RETURNS_STRUCTURE.search(head):
        # Whether it comes back through a hidden first argument depends on its size.
        return ()
    result: list[Parameter] = []
    in_vectors = 0
    for number, (kind, name) in enumerate(facts.parameters, start=1):
        if "*" not in kind:
            if _IN_VECTOR_REGISTER.search(kind) and "long" not in kind:
                in_vectors += 1
                if in_vectors > _VECTOR_ARGUMENTS:
                    break
                continue
            if _IN_SEVERAL_PLACES.search(kind):
                break
        on_stack = len(result) - len(_ARGUMENTS)
        place = _ARGUMENTS[on_stack] if on_stack < 0 else f"{STACK_ARGUMENT}{on_stack + 1}"
        result.append(Parameter(place, name or f"argument {number}"))
    return tuple(result)
