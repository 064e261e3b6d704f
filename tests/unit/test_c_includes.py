# SPDX-License-Identifier: GPL-2.0-or-later
"""Other files that a C text reads: told, or an error where they would be part of the code."""

from __future__ import annotations

import shutil

import pytest

from l1dflush.errors import InputError
from l1dflush.routine.c.source import load_c
from l1dflush.routine.combine import load_together
from l1dflush.routine.given import given
from l1dflush.routine.mail.patch import load_patch
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="gcc and GNU as are needed"
)

AREA = "extern volatile char *area;\n"
WALK = "for (long i = 0; i < 65536; i += 64)\n\t\t(void)area[i];"
FLUSH = f"{AREA}void l1d_flush(void)\n{{\n\t{WALK}\n}}\n"


def left_out(text: str) -> tuple[LeftOut, ...]:
    return load_c("f.c", text, LoadOptions())[0].left_out


def patch(text: str) -> bytes:
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return f"--- /dev/null\n+++ b/x/f.c\n@@ -0,0 +1,{len(lines)} @@\n{body}".encode()


@pytest.mark.parametrize(
    "line",
    ["#include <linux/mm.h>", "#include <asm/msr.h>", "# include <stdint.h>", "#include <sys/param.h> // pages"],
)
def test_headers_that_are_known_are_not_told(line: str) -> None:
    assert left_out(f"{line}\n{FLUSH}") == ()


@pytest.mark.parametrize(
    ("before", "name", "line"),
    [
        ('#define LINES 1024\n#include "l1d-quirks.h"\n', '#include "l1d-quirks.h"', 2),
        ('#include <linux/mm.h>\n\n#include "x86.h" /* ours */\n#include "mmu.h"\n', '#include "x86.h", "mmu.h"', 3),
        ("%:include <quirks.h>\n", "#include <quirks.h>", 1),
        ("#define FILE <quirks.h>\n#include FILE\n", "#include FILE", 2),
        ('#ifdef __x86_64__\n#include "quirks.h"\n#endif\n', '#include "quirks.h"', 2),
    ],
)
def test_another_file_is_told_once(before: str, name: str, line: int) -> None:
    try:
        (one,) = left_out(before + FLUSH)
    except InputError as error:
        assert "FILE" in before and "no other file is read" in str(error)
        return
    assert (one.kind, one.name, str(one.where)) == (LeftOutKind.PART, name, f"f.c:{line}")


def test_what_is_not_taken_or_comes_later_is_not_told() -> None:
    assert left_out(f'#ifdef __aarch64__\n#include "arm.h"\n#endif\n{FLUSH}#include "later.h"\n') == ()


@pytest.mark.parametrize(
    "text",
    [
        f'{AREA}void l1d_flush(void)\n{{\n#include "skip.h"\n\t{WALK}\n}}\n',
        f"{AREA}void l1d_flush(void)\n{{\n\t{WALK}\n\t# \\\n include <linux/skip.inc>\n}}\n",
        f'{AREA}static const long step[] = {{\n#include "steps.inc"\n64 }};\n'
        f"void l1d_flush(void)\n{{\n\t{WALK.replace('+= 64', '+= step[0]')}\n}}\n",
        f'{AREA}struct how {{\n#include "members.h"\nlong step; }};\nstatic struct how how;\n'
        f"void l1d_flush(void)\n{{\n\t{WALK.replace('+= 64', '+= how.step')}\n}}\n",
    ],
)
def test_inside_of_the_code_it_is_an_error(text: str) -> None:
    line = next(number for number, row in enumerate(text.split("\n"), 1) if "#" in row)
    for load in (
        lambda: load_c("f.c", text, LoadOptions()),
        lambda: load_patch("f.patch", patch(text), LoadOptions()),
        lambda: load_together([given(text.encode(), "f.c"), given(b"int unrelated;\n", "g.c")], LoadOptions()),
    ):
        with pytest.raises(InputError, match="no other file is read") as caught:
            load()
        assert caught.value.where is not None and caught.value.where.endswith((f"f.c:{line}", f"f.c:{line + 1}"))


def test_inside_of_a_helper_leaves_the_helper_out() -> None:
    helper = 'static void before(void)\n{\n#include "before.h"\n}\n'
    found = left_out(helper + FLUSH.replace(f"\t{WALK}", f"\tbefore();\n\t{WALK}"))
    assert [(one.kind, one.name) for one in found] == [(LeftOutKind.FUNCTION, "before")]
    assert "before.h" in found[0].reason


@pytest.mark.parametrize("directive", ["#if 0", "#ifdef __aarch64__"])
def test_inside_of_a_branch_that_is_not_taken_it_does_not_matter(directive: str) -> None:
    text = f'{AREA}void l1d_flush(void)\n{{\n{directive}\n#include "skip.h"\n#endif\n\t{WALK}\n}}\n'
    assert left_out(text) == ()


@pytest.mark.parametrize(
    "condition",
    ['#if __has_include("board.h")', "#if !defined(__x86_64__) || __has_include(<board.h>)", "#if HAVE_BOARD"],
)
def test_a_question_for_a_file_is_told(condition: str) -> None:
    define = '#define HAVE_BOARD __has_include("board.h")\n'
    text = f"{define}{AREA}void l1d_flush(void)\n{{\n{condition}\n\treturn;\n#endif\n\t{WALK}\n}}\n"
    (one,) = left_out(text)
    assert (one.kind, one.name, str(one.where)) == (LeftOutKind.BRANCH, condition, "f.c:5")
    assert "line 6 is left out; no other file is read" in one.reason
    # It must not hide what else decides.
    both = left_out(text.replace("\treturn;", "\treturn;\n#elif defined(CONFIG_QUICK)\n\treturn;"))
    assert [(entry.names) for entry in both] == [("CONFIG_QUICK",)]
