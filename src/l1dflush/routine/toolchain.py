# SPDX-License-Identifier: GPL-2.0-or-later
"""The system's assembler and C compiler, run in a child process on text that nobody has vouched for.

The child gets limits (processor time, memory, size of what it writes, wall-clock time), no input, an empty
environment and a folder of its own that is removed afterwards. Directives that read other files are refused,
so that a file from elsewhere does not put somebody's files into a report. That is a guard against surprise,
not a sandbox: a macro can still put such a directive together.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from l1dflush.arguments import DEFINE, OPTIMIZE, UNDEFINE
from l1dflush.errors import InputError
from l1dflush.place import Place

CPU_SECONDS = 20
WALL_SECONDS = 30
MEMORY_KIB = 2 << 20
FILE_BLOCKS = (64 << 20) // 512
OPTIMIZE_LEVELS = ("0", "1", "2", "3", "s", "g", "z", "fast")

# A line of an assembler's listing; how many words the command of an assembler has, and not of a compiler.
_WIDEST_LINE = 10_000
_ALONE = 2

# The limits are set by a shell, which then becomes the program: doing it between fork and exec in Python is
# not safe when other threads run.
_LIMITED = (
    # The shell's own complaints (a limit that is lower already) go nowhere, the program's to descriptor 3.
    "exec 3>&2 2>/dev/null; "
    f"ulimit -c 0; ulimit -t {CPU_SECONDS}; ulimit -v {MEMORY_KIB}; ulimit -f {FILE_BLOCKS}; "
    'exec 2>&3 3>&-; exec "$@"'
)
# Without any folder to look in, asking whether there is a header (__has_include) would be an error.
_EMPTY = "no-headers"
_NO_HEADERS = ("-nostdinc", f"-I{_EMPTY}")
_ERROR = re.compile(
    r"^(?:(?P<file>.*?):(?P<line>\d+):(?:\d+:)?|(?P<program>.*?):) *(?:fatal )?error: *(?P<text>.+)$",
    re.I | re.M,
)
_LINK_ERROR = re.compile(
    r"^(?:.*?ld: )?(?:input\.o:)?(?P<file>[^:\n]+):(?P<line>\d+):(?:\([^)\n]*\):)? *(?P<text>(?!warning)\S.*)$", re.M
)
_READS_FILES = re.compile(rb"""(?:^|[\s;:"\\{|])\.(incbin|include)\b""", re.I)
_INCLUDES = re.compile(rb"""^[ \t]*(?:\#|%:|\?\?=)[ \t]*(?:include|include_next|import|embed)\b[ \t]*(.*)$""", re.M)
# Relative, without "..", named outright: such a file is looked for in an empty folder and not found.
_HARMLESS = re.compile(rb"""(?:<(?!/)(?:(?!\.\.)[^<>\n])*>|"(?!/)(?:(?!\.\.)[^"\n])*")(?:\s*(?:/[/*].*)?)?""")
_NAME = re.compile(r"[A-Za-z_]\w*(\([\w, .]*\))?", re.ASCII)


class TooMuchError(InputError):
    """A tool ran into one of its limits: no other way of asking will help."""


def assemble(text: bytes, *, where: str, bits: Literal[32, 64] = 64) -> bytes:
    """The ELF object that GNU as makes of ``text``, with line numbers.

    Raises InputError with the first complaint of the assembler, or when there is none.
    """
    _refuse_other_files(text, where, preprocessed=False)
    return _run([*_assembler(where, bits), "-g", "-o", "output.o", "input.s"], "input.s", text, "output.o", where=where)


def assembler_says(text: bytes, *, where: str, bits: Literal[32, 64] = 64) -> tuple[str, str]:
    """What GNU as prints (``.print``) on its way through ``text``, and its listing of that with macros expanded and
    without what a condition leaves out; also where it complains. Raises InputError where there is neither.
    """
    _refuse_other_files(text, where, preprocessed=False)
    options = ["-alcmn=listing", f"--listing-rhs-width={_WIDEST_LINE}"]
    program = _assembler(where, bits)
    command = [*program, *(options if len(program) == _ALONE else [f"-Wa,{option}" for option in options])]
    command += ["-o", "output.o", "input.s"]
    printed, listing = _run_for(command, "input.s", text, ("printed", "listing"), where=where, anyway=True)
    return printed.decode("utf-8", "replace"), listing.decode("utf-8", "replace")


def _assembler(where: str, bits: Literal[32, 64]) -> list[str]:
    """The assembler, or the compiler as one, for code of so many bits."""
    assembler = shutil.which("as")
    if assembler is not None:
        return [assembler, f"--{bits}"]
    return [*_compiler(where), f"-m{bits}", "-c", "-x", "assembler"]


def link(data: bytes, *, where: str, bits: Literal[32, 64], address: int) -> bytes:
    """The program that GNU ld makes of the ELF object ``data``: everything in one piece, from ``address`` on.

    Raises InputError with the linker's first complaint, or when there is none.
    """
    linker = shutil.which("ld")
    if linker is None:
        raise InputError("no linker found", where=where, hint="install GNU binutils")
    form = "elf_x86_64" if bits == 64 else "elf_i386"
    place = f"{address:#x}"
    options = ["-m", form, "-N", "--build-id=none", "-Ttext", place, "-e", place]
    return _run([linker, *options, "-o", "output.elf", "input.o"], "input.o", data, "output.elf", where=where)


def preprocess(
    text: bytes,
    *,
    where: str,
    defines: Mapping[str, str],
    undefines: Collection[str] = (),
    language: Literal["assembler-with-cpp", "c"] = "assembler-with-cpp",
    extra_flags: Sequence[str] = (),
) -> bytes:
    """``text``, C or an assembly file with C preprocessor lines, after the preprocessor. Raises InputError."""
    _refuse_other_files(text, where, preprocessed=True)
    flags = ["-E", "-x", language, *_NO_HEADERS]
    if language != "c":
        flags += ["-D__ASSEMBLY__=1", "-D__ASSEMBLER__=1"]
    flags += [*_define_flags(defines, undefines), *extra_flags]
    return _run([*_compiler(where), *flags, "-o", "output.s", "input.S"], "input.S", text, "output.s", where=where)


def compile_c(
    text: bytes,
    *,
    where: str,
    optimize: str = "2",
    defines: Mapping[str, str] | None = None,
    undefines: Collection[str] = (),
    extra_flags: Sequence[str] = (),
) -> bytes:
    """The ELF object that the C compiler makes of ``text``, with line numbers, no system headers.

    ``extra_flags`` come last and so win. Raises InputError with the first complaint of the compiler, or when
    there is no compiler.
    """
    if optimize not in OPTIMIZE_LEVELS:
        hint = f"one of {', '.join(OPTIMIZE_LEVELS)}"
        raise InputError(f"no such level of optimisation: '{optimize}'", where=str(OPTIMIZE), hint=hint)
    _refuse_other_files(text, where, preprocessed=True)
    command = [*_compiler(where), "-c", "-x", "c", "-g", f"-O{optimize}", *_NO_HEADERS]
    command += [*_define_flags(defines or {}, undefines), *extra_flags, "-o", "output.o", "input.c"]
    return _run(command, "input.c", text, "output.o", where=where)


def _compiler(where: str) -> list[str]:
    chosen = os.environ.get("CC")
    if chosen:
        try:
            words = shlex.split(chosen)
        except ValueError:
            words = []
        program = shutil.which(words[0]) if words else None
        if program is None:
            raise InputError(f"CC names no program that exists: '{chosen}'", where="environment variable CC")
        return [program, *words[1:]]
    for name in ("cc", "gcc", "clang"):
        program = shutil.which(name)
        if program is not None:
            return [program]
    raise InputError(
        "no C compiler found",
        where=where,
        hint="install gcc or clang, set CC, or give an object file instead",
    )


def _define_flags(defines: Mapping[str, str], undefines: Collection[str]) -> list[str]:
    flags = []
    for name, value in defines.items():
        if not _NAME.fullmatch(name) or not value.isprintable():
            raise InputError(f"cannot define '{name}'", where=str(DEFINE), hint="NAME=VALUE, NAME as in C")
        flags.append(f"-D{name}={value}")
    for name in sorted(undefines):
        if not _NAME.fullmatch(name):
            raise InputError(f"'{name}' is not a name", where=str(UNDEFINE), hint="NAME as in C")
        flags.append(f"-U{name}")
    return flags


def _refuse_other_files(text: bytes, where: str, *, preprocessed: bool) -> None:
    # As the compiler sees it: lines continued, neighbouring strings (inline assembly) joined.
    joined = re.sub(rb'"\s*"', b"", text.replace(b"\\\r\n", b"").replace(b"\\\n", b""))
    found = _READS_FILES.search(joined)
    if found:
        directive = found[1].decode("ascii").lower()
        hint = "put it into one file, or give the object file"
        raise InputError(f"'.{directive}' reads another file, which is not done here", where=where, hint=hint)
    for included in _INCLUDES.finditer(joined) if preprocessed else ():
        if not _HARMLESS.fullmatch(included[1].strip()):
            name = included[1].decode("utf-8", "replace")
            hint = "remove the line or give the object file"
            raise InputError(f"no other file is read, and so not {name}", where=where, hint=hint)


def remove_temporary(process: int) -> None:
    """Removes the temporary folders that the process with this number left behind when it was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"l1dflush-{process}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], source: str, text: bytes, result: str, *, where: str) -> bytes:
    return _run_for(command, source, text, (result,), where=where)[0]


def _run_for(
    command: list[str], source: str, text: bytes, results: Sequence[str], *, where: str, anyway: bool = False
) -> list[bytes]:
    """The files ``results`` that ``command`` makes of the file ``source``, or prints ("printed"); with ``anyway`` also
    where it fails and has made them."""
    try:
        return _run_in_folder(command, source, text, results, where=where, anyway=anyway)
    except OSError as error:
        what = f"cannot run {Path(command[0]).name}: {error.strerror or error}"
        raise InputError(what, where=where, hint="is there room for temporary files?") from error


def _run_in_folder(
    command: list[str], source: str, text: bytes, results: Sequence[str], *, where: str, anyway: bool
) -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix=f"l1dflush-{os.getpid()}-") as name:
        folder = Path(name)
        (folder / source).write_bytes(text)
        (folder / _EMPTY).mkdir()
        # A compiler may be ccache, whose own folder cannot be written to from here.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": name, "CCACHE_DISABLE": "1"}
        status = _wait(["/bin/sh", "-c", _LIMITED, "sh", *command], folder, environment, where)
        # Through a file, not a pipe: it is under the limit for files, and only its beginning is of interest.
        with (folder / "messages").open("rb") as messages:
            said = messages.read(1 << 16).decode("utf-8", "replace")
        tool = Path(command[0]).name
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            raise TooMuchError(f"{tool} took more than {CPU_SECONDS} s of processor time", where=where)
        if status == -signal.SIGXFSZ:
            raise TooMuchError(f"what {tool} makes of it is too large", where=where)
        outputs = [folder / result for result in results]
        if (status != 0 and not anyway) or not all(output.is_file() for output in outputs):
            raise _complaint(said, tool, source, name, where)
        return [output.read_bytes() for output in outputs]


def _wait(command: list[str], folder: Path, environment: Mapping[str, str], where: str) -> int:
    with (folder / "messages").open("wb") as messages, (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=messages,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=WALL_SECONDS)
        except BaseException as error:
            # A compiler has children; the session is theirs and ends with them. So it does on Ctrl-C.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                what = f"{Path(command[4]).name} did not finish within {WALL_SECONDS} s"
                raise TooMuchError(what, where=where) from None
            raise


def _complaint(said: str, tool: str, source: str, folder: str, where: str) -> InputError:
    """The first error in the tool's messages, with the user's file name instead of ours."""
    found = _ERROR.search(said) or (_LINK_ERROR.search(said) if tool == "ld" else None)
    if found is None:
        lines = [line for line in said.splitlines() if line.strip() and " warning: " not in line]
        text = lines[0].replace(folder + "/", "") if lines else "no reason given"
        text = text.split(f"{tool}: ", 1)[-1].replace(source, where)
        hint = None if lines else "is there room for temporary files, memory, and open files?"
        return InputError(f"{tool} failed: {text}", where=where, hint=hint)
    file, line = found["file"], found["line"]
    # No line where it is about a file of the compiler's own.
    own = file is None or file.startswith(folder)
    place = Place(where) if own else Place(where if file == source else file, int(line))
    return InputError(found["text"].replace(folder + "/", ""), where=place)
