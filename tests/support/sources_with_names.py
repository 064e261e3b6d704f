# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources in which one name decides, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from l1dflush.errors import InputError
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

WALK = 'for (long i = 0; i < (long)({bytes}); i += 64)\n\t\t(void)area[i];\n\tasm volatile("lfence" ::: "memory");'
HEAD = "extern volatile unsigned char *area;\n"


def c(body: str, before: str = "") -> str:
    return f"{before}{HEAD}void l1d_flush(void)\n{{\n\t{body}\n}}\n"


def walk(size: str = "65536") -> str:
    return WALK.format(bytes=size)


def patch(text: str, path: str = "arch/x86/kvm/flush.c") -> str:
    lines = text.splitlines()
    added = "".join(f"+{line}\n" for line in lines)
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{added}"


def mail(text: str) -> str:
    return (
        f"From: A <a@example.org>\nSubject: [PATCH] flush\nDate: Mon, 1 Jun 2020 10:00:00 +0200\n\n---\n{patch(text)}"
    )


def assembly(count: str, before: str = "") -> str:
    return f"""\
	.globl l1d_flush
{before}l1d_flush:
	mov area(%rip), %rdi
{count}
1:	sub $64, %ecx
	movzbl (%rdi,%rcx), %eax
	jnz 1b
	lfence
	ret
"""


class Case(NamedTuple):
    """A file, the name that decides, its value in one and in the other question (``None``: undefined), and further
    files that go with it."""

    file: str
    text: str
    name: str
    one: str | None
    other: str | None
    more: Mapping[str, str] = {}


IFDEF = c(walk("PAGES * 4096"), "#ifdef CONFIG_SMALL\n#define PAGES 8\n#else\n#define PAGES 16\n#endif\n")
FUNCTION = c("fill();", f"{HEAD}static void fill(void)\n{{\n#ifndef CONFIG_OFF\n\t{walk()}\n#endif\n}}\n")
TWO_FORMS = f"#ifdef CONFIG_OFF\nvoid l1d_flush(void) {{ }}\n#else\n{c(walk())}#endif\n"
SKIPS = "if (IS_ENABLED(CONFIG_OFF))\n\t\treturn;\n\t"
GAS = assembly("\t.ifdef SMALL\n\tmov $(8*4096), %ecx\n\t.else\n\tmov $(16*4096), %ecx\n\t.endif")
GAS_DEFAULT = assembly("\tmov $(PAGES*4096), %ecx", "\t.ifndef PAGES\n\t.set PAGES, 16\n\t.endif\n")
CPP = assembly("#if IS_ENABLED(CONFIG_SMALL)\n\tmov $(8*4096), %ecx\n#else\n\tmov $(16*4096), %ecx\n#endif")
CPP_DEFAULT = assembly("\tmov $(PAGES*4096), %ecx", "#ifndef PAGES\n#define PAGES 16\n#endif\n")
NUMBER = assembly("\tmov $WANTED, %ecx\n\tcmp $5, %ecx\n\tjb 2f\n\tmov $65536, %ecx").replace("\tret", "2:\tret")
HELPER = "static int on(void)\n{\n\tif (area)\n\t\treturn MODE;\n\treturn MODE;\n}\n"


def ask(folder: Path, case: Case, defines: Mapping[str, str], undefines: frozenset[str]) -> VerifyResult | InputError:
    files = {case.file: case.text, **case.more}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    options = VerifyOptions(cpus=("skylake",), defines=defines, undefines=undefines, every_path=True)
    try:
        return verify([str(folder / name) for name in files], options)
    except InputError as error:
        return error


def given(folder: Path, case: Case, value: str | None) -> VerifyResult | InputError:
    return ask(
        folder, case, {} if value is None else {case.name: value}, frozenset({case.name} if value is None else ())
    )


def told(result: VerifyResult | InputError) -> str:
    if isinstance(result, InputError):
        return str(result)
    return "\n".join(line.plain for line in verify_lines(result, 100))


def verdict(result: VerifyResult | InputError) -> str:
    return "error" if isinstance(result, InputError) else f"{result.verdict} {result.cause or ''}"
