"""One C function to one routine: the unit compiled, its parameters, and the notes that its source gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from l1dflush.errors import InputError
from l1dflush.routine.asm_statement import Marked, insertions, notes_from_code, notes_from_text
from l1dflush.routine.buffer_content import buffer_notes
from l1dflush.routine.c_text import Item
from l1dflush.routine.c_unit import CIndex, CUnit, build_unit, unresolved_error
from l1dflush.routine.model import Origin, Parameter, Routine, SourceNote
from l1dflush.routine.object_file import load_image, routines_from_image
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import TooMuchError, compile_c

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_MAX_ATTEMPTS = 6

# As a kernel is compiled: no position independence, no red zone, nothing read twice or left out because the
# language allows it. Fragments of other people's code also need what GCC 14 made errors of: calls without a
# declaration, integers that become pointers.
_FLAGS = (
    "-m64",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-fno-strict-aliasing",
    "-fno-common",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-delete-null-pointer-checks",
    "-fwrapv",
    "-w",
    "-Wno-error=implicit-function-declaration",
    "-Wno-error=int-conversion",
    "-Wno-error=incompatible-pointer-types",
    "-Wno-error=implicit-int",
)
_AVX512 = re.compile(r"zmm\d|__m512|\bk[1-7]\b")
_AVX = re.compile(r"ymm\d|__m256")
_VECTORS = re.compile(
    r"[xyz]mm\d|\b(?:float|double|__m128\w*|__m256\w*|__m512\w*|vector_size|fld)\b|\"[=+&%]*[xvYtuf]\""
)
# What keeps the compiler from using vectors of its own accord when the text uses some.
_SCALAR = ("-fno-tree-vectorize", "-fno-tree-slp-vectorize")

_RETURNS_STRUCTURE = re.compile(r"\b(?:struct|union)\s+\w+\s*$")
_IN_VECTOR_REGISTER = re.compile(r"\b(?:float|double|__m\d+\w*)\b")
_IN_SEVERAL_PLACES = re.compile(r"\b(?:struct|union|__int128|double)\b")

# What GCC and Clang say about names they do not know; the tools are run in the C locale, so quotes are plain.
_UNDECLARED = re.compile(r"'(\w+)' undeclared|undeclared identifier '(\w+)'")
_UNKNOWN_TYPE = re.compile(r"unknown type name '(\w+)'")
_INCOMPLETE = re.compile(
    r"(?:undefined|incomplete)[\w ]* type '(?:const |volatile )*((?:struct|union|enum) \w+)|"
    r"incomplete definition of type '((?:struct|union) \w+)"
)


def compile_function(index: CIndex, function: Item, options: LoadOptions, origin: Origin, context: str) -> Routine:
    """The routine that ``function`` of the text in ``index`` becomes, with its parameters and notes.

    ``context`` is the blanked text in which the treatment of the buffer is looked for. Raises
    :class:`InputError`, see :func:`l1dflush.routine.c_source.load_c`.
    """
    unit, declared_only, elf = compiled_unit(index, function, options)
    found = routines_from_image(
        load_image(elf, where=index.source), origin=origin, function=function.name, source_available=True
    )
    notes = notes_of_unit(index, unit, options, declared_only)
    functions = frozenset(item.name for item in (function, *unit.called))
    notes += buffer_notes(context, unit.words, functions, places(index))
    return replace(found[0], parameters=parameters_of(index, function), notes=tuple(notes))


def notes_of_unit(index: CIndex, unit: CUnit, options: LoadOptions, declared_only: frozenset[str]) -> list[SourceNote]:
    """What the asm statements in ``unit`` give reason to note; ``declared_only`` as for :func:`build_unit`."""
    marked = _marked(index, unit)
    notes = list(notes_from_text(marked, places(index)))
    return notes + _notes_from_code(index, unit.wanted, options, declared_only, marked)


def compiled_unit(index: CIndex, function: Item, options: LoadOptions) -> tuple[CUnit, frozenset[str], bytes]:
    """The unit that compiles, the called functions that had to be left out of it, and the object.

    The functions that are called come along with their bodies as far as they compile; one that needs names
    from elsewhere is only declared, and its call is then a call to the outside.
    """
    declared_only: frozenset[str] = frozenset()
    line = f"{index.source}:{index.text.line(index.text.code.find(function.name, function.start))}"
    for attempt in range(_MAX_ATTEMPTS):
        unit = build_unit(index, [function], defines=options.defines, declared_only=declared_only)
        called = {item.name for item in unit.called}
        last = not called or attempt == _MAX_ATTEMPTS - 1
        if unit.unresolved:
            blamed = {
                item.name for item in unit.called if index.facts(item).used.keys() & set(unit.unresolved)
            } or called
            if last:
                raise unresolved_error(function.name, unit.unresolved, line)
        else:
            try:
                return unit, declared_only, run_compiler(unit.text, index.source, options)
            except InputError as error:
                if last or isinstance(error, TooMuchError):
                    raise translated(error, function.name) from None
                blamed = _blamed(index, unit, error)
        # The last attempt but one leaves out all of them.
        declared_only |= called if attempt >= _MAX_ATTEMPTS - 2 else blamed
    raise AssertionError("the last attempt returns or raises")


def run_compiler(text: str, where: str, options: LoadOptions) -> bytes:
    """The object that the compiler makes of ``text``, as code of a kernel. Raises InputError."""
    flags = list(_FLAGS)
    if _VECTORS.search(text):
        flags += _SCALAR
        if _AVX512.search(text):
            flags.append("-mavx512f")
        elif _AVX.search(text):
            flags.append("-mavx2")
    else:
        flags.append("-mgeneral-regs-only")
    return compile_c(
        text.encode("utf-8", "replace"),
        where=where,
        optimize=options.optimize,
        defines=options.defines,
        extra_flags=flags,
    )


def _blamed(index: CIndex, unit: CUnit, error: InputError) -> set[str]:
    """The called functions that a compiler's error is about: the one it stands in, or all."""
    everyone = {item.name for item in unit.called}
    tail = (error.where or "").rpartition(":")[2]
    if not tail.isdecimal() or len(tail) > 9:
        return everyone
    line = int(tail)
    inside = {item.name for item in unit.called if index.text.line(item.start) <= line <= index.text.line(item.end - 1)}
    own = any(index.text.line(item.start) <= line <= index.text.line(item.end - 1) for item in unit.wanted)
    return inside if inside and not own else everyone


def translated(error: InputError, function: str) -> InputError:
    """``error`` of the compiler; one that is about a missing name says how to supply it."""
    for pattern in (_UNDECLARED, _UNKNOWN_TYPE, _INCOMPLETE):
        if match := pattern.search(error.what):
            name = next(group for group in match.groups() if group)
            return unresolved_error(function, [name], error.where or "")
    return error


def _marked(index: CIndex, unit: CUnit) -> list[Marked]:
    """The asm statements of the function and of those compiled into it."""
    statements = [statement for item in (*unit.wanted, *unit.called) for statement in index.facts(item).asm]
    where = places(index)
    return [Marked(number, statement, where(statement.offset)) for number, statement in enumerate(statements)]


def places(index: CIndex) -> Callable[[int], str]:
    """What gives file:line for an offset of the text."""
    return lambda offset: f"{index.source}:{index.text.line(offset)}"


def _notes_from_code(
    index: CIndex, wanted: Sequence[Item], options: LoadOptions, declared_only: frozenset[str], marked: list[Marked]
) -> list[SourceNote]:
    if not marked:
        return []
    marks: Mapping[int, str] = insertions(marked)
    unit = build_unit(index, wanted, defines=options.defines, declared_only=declared_only, insertions=marks)
    try:
        elf = run_compiler(unit.text, index.source, options)
    except InputError:
        # A template that does not bear marks (its last line continues, it changes sections): nothing is said
        # about its registers.
        return []
    return list(notes_from_code(marked, elf))


def parameters_of(index: CIndex, function: Item) -> tuple[Parameter, ...]:
    """The parameters that are passed in general registers, in the order of the ABI."""
    facts = index.facts(function)
    head = index.text.code[function.start : function.body].partition(function.name)[0]
    if _RETURNS_STRUCTURE.search(head):
        # Whether it comes back through a hidden first argument depends on its size.
        return ()
    result: list[Parameter] = []
    for number, (kind, name) in enumerate(facts.parameters, start=1):
        if "*" not in kind:
            if _IN_VECTOR_REGISTER.search(kind) and "long" not in kind:
                continue
            if _IN_SEVERAL_PLACES.search(kind):
                break
        if len(result) == len(_ARGUMENTS):
            break
        result.append(Parameter(_ARGUMENTS[len(result)], name or f"argument {number}"))
    return tuple(result)
