# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembly files for GNU as, in AT&T or Intel syntax, 64 or 32 bit; which of them is found out.

The order matters: GNU as takes much Intel syntax for AT&T without a word (``push rax`` pushes the contents of
a symbol ``rax``), so what the text looks like decides, and the other syntax is only tried when that fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from l1dflush.arguments import DEFINE
from l1dflush.errors import InputError
from l1dflush.routine.assembly.asked import Given, asked
from l1dflush.routine.assembly.conditions import left_out_of_assembly
from l1dflush.routine.c.kernel_prelude import configuration
from l1dflush.routine.c.text import WORD, cut
from l1dflush.routine.compiled import Compiled
from l1dflush.routine.elf.object_file import load_image, routines_from_image
from l1dflush.routine.foreign import foreign_text, unlike_x86
from l1dflush.routine.model import Origin, OriginKind, Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import TooMuchError, assemble, preprocess

Bits = Literal[32, 64]

# Far more than anybody writes by hand.
MAX_TEXT = 4 << 20

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|//[^\n]*|#[^\n]*", re.S)
# No space after the '#': with one it is more often a comment ("# if all lines are read").
_PREPROCESSOR = re.compile(r"^#(?:define|include|ifdef|ifndef|if|undef|elif|else|endif|error|pragma)\b", re.M)
_SYNTAX_DIRECTIVE = re.compile(r"^\s*\.(?:intel|att)_syntax\b", re.M)
_GENERAL = r"[re]?(?:ax|bx|cx|dx|si|di|bp|sp)|[abcd][lh]|(?:si|di|bp|sp)l|r(?:8|9|1[0-5])[dwb]?"
_REGISTER = rf"(?:{_GENERAL}|[xyz]mm\d+|[re]ip)"
_ATT = re.compile(rf"%{_REGISTER}\b", re.I)
_INTEL = re.compile(rf"(?<![%\w.@$]){_REGISTER}(?![\w:@(])|\b[dqo]?word\s+ptr\b|\bbyte\s+ptr\b", re.I)
_NUMBER = re.compile(r"[A-Za-z_.$][\w.$]*, [-+~\w()* ]+", re.ASCII)
_REMARKS = "a ';' of GNU as begins another instruction; of assembly for NASM or MASM, give the object"
_CODE_BITS = re.compile(r"^\s*\.code(16|32|64)(?:gcc)?\b", re.M)


def load_assembly(source: str, text: str, options: LoadOptions) -> list[Routine]:
    """The routines of the assembly file ``text``, which the user knows as ``source``.

    Raises InputError with the first complaint of the assembler (of the likelier syntax), or when there is no
    function of the wanted name.
    """
    data, detail, given = _assembled(source, text, options, None)
    origin = Origin(OriginKind.ASSEMBLY, source, detail)
    found = routines_from_image(
        load_image(data, where=source), origin=origin, function=options.function, source_available=True
    )
    left_out = left_out_of_assembly(text, options, source, _prelude(text, options), given)
    return [replace(routine, left_out=left_out) for routine in found]


def assembly_object(source: str, text: str, options: LoadOptions, bits: Bits | None, *, with_c: bool) -> Compiled:
    """The object that the assembly file ``text`` becomes when it is taken together with others; ``bits`` as for
    :func:`assembled`. Raises InputError."""
    if with_c:
        # What is not a number is meant for the C among them.
        numbers = {name: value for name, value in options.defines.items() if _NUMBER.fullmatch(f"{name}, {value}")}
        options = replace(options, defines=numbers)
    data, detail, given = _assembled(source, text, options, bits)
    left_out = left_out_of_assembly(text, options, source, _prelude(text, options), given)
    origin = Origin(OriginKind.ASSEMBLY, source, detail)
    return Compiled(data, source, origin, source_available=True, left_out=left_out)


def _prelude(text: str, options: LoadOptions) -> str | None:
    """What C's preprocessor gets before the text; ``None`` if it does not get it at all."""
    if _PREPROCESSOR.search(text) is None:
        return None
    narrow = {"CONFIG_X86_64", "CONFIG_64BIT"} if ".code32" in text else frozenset[str]()
    return configuration(options.given | narrow)


def assembled(
    source: str, text: str, options: LoadOptions, bits: Bits | None = None, *, real_mode: bool | None = None
) -> tuple[bytes, str]:
    """The object that the assembler makes of ``text``, and what was found out about it.

    ``bits`` says which code it is to be if the text itself does not say. ``real_mode`` is for code that is run and not
    judged: then the text may change modes as it likes, and begins with 16-bit code if it is true. Raises InputError.
    """
    data, detail, _ = _assembled(source, text, options, bits, real_mode=real_mode)
    return data, detail


def _assembled(
    source: str, text: str, options: LoadOptions, bits: Bits | None, *, real_mode: bool | None = None
) -> tuple[bytes, str, Given]:
    """As :func:`assembled`, with what the assembler got."""
    if len(text) > MAX_TEXT:
        raise InputError(f"more than {MAX_TEXT >> 20} Mi characters of assembly", where=source)
    # Also here: a text out of a patch has not been looked at before.
    foreign = foreign_text(text)
    if foreign is not None:
        raise foreign.error(source)
    name = "<stdin>" if source == "-" else source
    prelude = _prelude(text, options)
    if prelude is not None:
        text = _preprocessed(text, prelude + _line_marker(name, "#line"), options, source)
    else:
        text = _settings(options.defines) + _line_marker(name) + text
    first: InputError | None = None
    for intel, width in _attempts(text, source, bits, any_mode=real_mode is not None):
        prefix = (".intel_syntax noprefix\n" if intel else "") + (".code16\n" if real_mode else "")
        try:
            given = Given(prefix + text, width)
            data = assemble(_encode(given.whole), where=source, bits=width)
        except TooMuchError:
            raise
        except InputError as error:
            first = first or error
            continue
        syntax = "Intel" if intel or ".intel_syntax" in text else "AT&T"
        return data, f"{syntax} syntax, {width}-bit", given
    assert first is not None
    unlike = unlike_x86(text)
    if unlike is not None:
        raise unlike.error(source)
    if first.hint is None and ";" in text and looks_intel(text):
        raise InputError(first.what, where=first.where, hint=_REMARKS)
    raise first


def _preprocessed(text: str, head: str, options: LoadOptions, source: str) -> str:
    """``text`` behind ``head`` after C's preprocessor, with what is given to the assembler before it.

    C's preprocessor puts a value in the place of a name that is given to it, also where the assembler asks whether the
    name is defined. So the assembler gets the numbers that it is asked for, and no directive of C's preprocessor.
    """

    def plain(defines: Mapping[str, str]) -> str:
        made = preprocess(_encode(head + text), where=source, defines=defines, undefines=options.undefines)
        return made.decode("utf-8", "replace")

    code = cut(text, where=source)
    directives = {word for start, end in code.directives for word in WORD.findall(code.code, start, end)}
    numbers = {
        name: value
        for name, value in options.defines.items()
        if name not in directives and _NUMBER.fullmatch(f"{name}, {value}")
    }
    if not numbers:
        return plain(options.defines)
    rest = {name: value for name, value in options.defines.items() if name not in numbers}
    made = _settings(numbers) + plain(rest)
    names = asked(Given(made, 64), source).names
    if numbers.keys() <= names:
        return made
    mine = {name: value for name, value in numbers.items() if name in names}
    return _settings(mine) + plain({name: value for name, value in options.defines.items() if name not in mine})


def looks_intel(text: str) -> bool:
    """Whether ``text`` has operands in Intel's way (bare registers, ``dword ptr``), none with a ``%``."""
    text = _COMMENT.sub(" ", text)
    return _ATT.search(text) is None and _INTEL.search(text) is not None


def _attempts(text: str, where: str, wanted: Bits | None, *, any_mode: bool) -> Iterator[tuple[bool, Bits]]:
    """What to try, the likeliest first: Intel syntax or not, and how many bits."""
    modes = set() if any_mode else set(_CODE_BITS.findall(_COMMENT.sub(" ", text)))
    if "16" in modes or len(modes) > 1:
        hint = "either .code32 or .code64 is understood"
        raise InputError("16-bit code, or a mixture of modes", where=where, hint=hint)
    usual: tuple[Bits, ...] = (64, 32) if wanted is None else (wanted,)
    widths: tuple[Bits, ...] = (32,) if modes == {"32"} else (64,) if modes == {"64"} else usual
    if _SYNTAX_DIRECTIVE.search(text):
        syntaxes = [False]
    else:
        likely = looks_intel(text)
        syntaxes = [likely, not likely]
    for intel in syntaxes:
        for width in widths:
            yield intel, width


def _line_marker(name: str, directive: str = "#") -> str:
    """Tells assembler and preprocessor that line 1 of file ``name`` follows."""
    quoted = "".join("\\" + c if c in '"\\' else c if c.isprintable() else "?" for c in name)
    return f'{directive} 1 "{quoted}"\n'


def _settings(defines: Mapping[str, str]) -> str:
    """``--define`` as assignments; they come before the line marker and so count for no line."""
    settings = [f"{name}, {value}" for name, value in defines.items()]
    for setting in settings:
        if not _NUMBER.fullmatch(setting):
            raise InputError("not a name and a number", where=str(DEFINE), hint="NAME=VALUE")
    return "".join(f".set {setting}\n" for setting in settings)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")
