# SPDX-License-Identifier: GPL-2.0-or-later
"""Code for a plan, which is proved as it will be compiled before anybody gets it: in a child process, as all code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from l1dflush.arguments import DEFAULT_SECONDS, Argument
from l1dflush.ending import Verdict
from l1dflush.errors import UndecidedError
from l1dflush.planning import emit as emitted
from l1dflush.planning import kernel, portable
from l1dflush.planning.emit import PAGE
from l1dflush.planning.form import Form
from l1dflush.planning.model import PlanResult
from l1dflush.planning.planned import Planned, head_of
from l1dflush.planning.walk import Walk
from l1dflush.proof.conditions import Conditions
from l1dflush.proof.limits import Limits
from l1dflush.sandbox.judged import Working, verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.size.cells import Asked

EMIT = Argument("form", "--emit")
_NAME = "l1d_flush"
_LEVELS = ("0", "2")


@dataclass(frozen=True, slots=True)
class _Check:
    """What is proved of code: of ``function`` where there are several, at ``level`` of the C compiler.

    ``loops`` says that these are the compiler's, and so what they touch.
    """

    what: str
    suffix: str
    source: str
    conditions: Conditions
    bind: Mapping[str, str]
    level: str = "2"
    function: str | None = None
    loops: bool = False


# Of a small cache the walk is too short to be recognised as one.
_ARGUMENT = {"rdi": "buffer"}


def with_code(
    made: Planned, walk: Walk, asked: Asked, form: Form, limits: Limits, working: Working = lambda _: nullcontext()
) -> PlanResult:
    """The result with code, after that was proved. Raises UndecidedError where that cannot be decided, InputError where
    a kernel or the CPU cannot have it, and RuntimeError if it is refuted. ``working`` is entered with a line of text
    while something takes long."""
    if form is not Form.C and asked.isa != "x86":
        what = f"{form} is x86 code, and {asked.title} is not an x86 CPU"
        raise EMIT.refused(what, f"{EMIT.given(Form.C.value)} writes portable C for it")

    head, conditions = head_of(made.result), asked.conditions
    match form:
        case Form.C if asked.isa == "x86":
            code = emitted.c_function(walk, _NAME, head)
            checks = [_Check(f"C at -O{level}", ".c", code, conditions, _ARGUMENT, level) for level in _LEVELS]
        case Form.C:
            code = portable.portable_c(walk, _NAME, head, asked.isa)
            source = portable.STAND_IN + code
            checks = [
                _Check(f"portable C at -O{level}", ".c", source, conditions, _ARGUMENT, level, loops=True)
                for level in _LEVELS
            ]
        case Form.ASM:
            code = emitted.assembly(walk, _NAME, head)
            checks = [_Check("assembly", ".s", code, conditions, _ARGUMENT)]
        case Form.KERNEL:
            code, checks = _for_a_kernel(made, walk, conditions)
        case Form.BYTES:
            raw = emitted.machine_code(walk)
            code = emitted.hexadecimal(raw, head)
            checks = [_Check("bytes", ".s", emitted.as_data(raw, _NAME), conditions, _ARGUMENT)]
    for check in checks:
        with working(f"proving the plan as {check.what} ..."):
            _prove(check, asked, limits)
    return made.result.model_copy(
        update={"form": form.value, "code": code, "proved": tuple(check.what for check in checks)}
    )


def _for_a_kernel(made: Planned, walk: Walk, conditions: Conditions) -> tuple[str, list[_Check]]:

    first = made.first
    if first is not None and first.missing is not None:
        raise first.missing
    code = kernel.kernel_source(walk, head_of(made.result), None if first is None else first.walk)
    checks: list[_Check] = []
    for level in _LEVELS:
        # The pointer is a variable of the file. Named as the buffer, it is one itself: only where it has to be.
        bind = {kernel.POINTER: "buffer"} if walk.buffer_bytes < PAGE else {}
        what = f"kernel C at -O{level}"
        checks.append(_Check(what, ".c", code, conditions, bind, level, kernel.FLUSH))
        if first is not None and first.walk is not None:
            bind = {kernel.FIRST_POINTER: "buffer"} if first.walk.buffer_bytes < PAGE else {}
            what = f"the first flush of {what}"
            checks.append(_Check(what, ".c", code, first.conditions, bind, level, kernel.FIRST))
    return code, checks


def _prove(check: _Check, asked: Asked, limits: Limits) -> None:

    with tempfile.TemporaryDirectory(prefix="l1dflush-") as folder:
        path = Path(folder) / f"plan{check.suffix}"
        path.write_text(check.source, encoding="ascii")
        options_there = VerifyOptions(
            function=check.function,
            policy=asked.policy,
            geometry=asked.geometry,
            conditions=check.conditions,
            bind=check.bind,
            optimize=check.level,
            max_seconds=limits.seconds or DEFAULT_SECONDS,
            memory=limits.memory,
        )
        found = verify(str(path), options_there)
    if found.verdict is Verdict.UNDECIDED:
        cause = found.cause or found.rows[0].cause or "undecided"
        raise UndecidedError(cause, f"the plan could not be proved as {check.what}: {found.reason}")
    if found.verdict is Verdict.REFUTED and check.loops:
        what = f"as {check.what} the compiler here lets its loops touch more than the lines: {found.reason}"
        raise UndecidedError("compiler", what, hint="GCC keeps what it counts with in registers")
    if found.verdict is not Verdict.PROVED:
        # A plan whose own code does not prove is a defect of this program, whatever the reason.
        raise RuntimeError(f"the plan is {found.verdict} as {check.what}: {found.reason}")
