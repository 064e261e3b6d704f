"""``l1dflush plan``: the cheapest flush that is provably enough, and code for it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush.cli import options, proof_options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.cli.values import CPU, POLICY, OneOf, words
from l1dflush.errors import InputError, UndecidedError

if TYPE_CHECKING:
    from l1dflush.plan.find import Goal
    from l1dflush.plan.model import PlanResult
    from l1dflush.plan.planned import Planned
    from l1dflush.plan.walk import Walk
    from l1dflush.proof.conditions import Conditions
    from l1dflush.proof.limits import Limits
    from l1dflush.verdict.sizes import Asked

# For each assumption that might save something.
_SECONDS_SAVING = 5.0
_NAME = "l1d_flush"
_LEVELS = ("0", "2")
_EXAMPLES = """\b
Examples:
  l1dflush plan --cpu skylake                      how many loads are enough
  l1dflush plan --cpu "Ice Lake" --emit c          a function in C
  l1dflush plan --cpu skylake --start steady --emit asm
  l1dflush plan --cpu skylake --emit kernel        C for Linux
  l1dflush plan --policy FIFO --geometry 32K,8,64 --goal buffer

Exit status: 0 a plan, 1 error, 2 no number of accesses is enough, 3 undecided, 130 interrupted.
"""


class Form(StrEnum):
    """Forms that ``--emit`` takes."""

    C = "c"
    ASM = "asm"
    KERNEL = "kernel"
    BYTES = "bytes"


def _goals() -> dict[str, StrEnum]:
    from l1dflush.plan.find import Goal

    return words(Goal)


@verb("plan", epilog=_EXAMPLES)
@click.option("--cpu", metavar="NAME", type=CPU, help="A CPU (see 'l1dflush cpus').")
@options.cpu_folder
@click.option("--policy", metavar="NAME", type=POLICY, help="A policy, or a file with a machine.")
@proof_options.geometry
@proof_options.host
@proof_options.start
@proof_options.touches
@click.option(
    "--goal",
    type=OneOf(_goals),
    default="loads",
    help="What is to be small: the pairwise different loads, the word with repeats, or the buffer.",
)
@click.option("--emit", type=OneOf(lambda: words(Form)), help="Write code, which is proved before.")
@proof_options.memory
@options.max_seconds
@options.json
@options.no_color
def plan(
    *,
    cpu: str | None,
    cpu_folder: Sequence[Path],
    policy: str | None,
    geometry: str | None,
    host: bool,
    start: str | None,
    touches: int,
    goal: Goal,
    emit: Form | None,
    memory: str | None,
    max_seconds: float | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Find the fewest loads that are provably enough to empty the L1D, say what each further assumption would save,
    and write code for it."""
    limit, prover_memory = options.seconds(max_seconds), proof_options.memory_bytes(memory)
    if not (cpu or geometry or host):
        raise InputError("which cache?", hint="--cpu NAME, --host, or --geometry with --policy")

    from l1dflush.cli.size_questions import Wanted, questions

    given = (policy,) if policy else ()
    wanted = Wanted(given, (), (cpu,) if cpu else (), geometry, host, tuple(cpu_folder))
    asked = questions(wanted, start, touches)
    if len(asked) > 1 or asked[0].certainty == "unknown":
        from l1dflush.cache.policies import policy_unknown

        names = ", ".join(one.policy.name for one in asked[:12])
        whose = asked[0].title or "this cache"
        raise InputError(policy_unknown(whose, asked[0].said), hint=f"choose one with --policy: {names}")

    from l1dflush.plan.planned import planned
    from l1dflush.proof.limits import Limits

    with progress(f"planning for {asked[0].policy.name} at {asked[0].policy.ways} ways ..."):
        # Whoever wants code has read the report before.
        saving = None if emit is not None else Limits(prover_memory, _SECONDS_SAVING)
        made = planned(asked[0], goal, Limits(prover_memory, limit), saving)
    result = made.result
    if emit not in (None, Form.C) and asked[0].isa != "x86" and made.walk is not None:
        what = f"{emit} is x86 code, and {asked[0].title} is no x86 CPU"
        raise InputError(what, where="--emit", hint="--emit c writes portable C for it")
    if emit is not None and made.walk is not None:
        result = _with_code(made, made.walk, asked[0], emit, Limits(prover_memory, limit))
    return Outcome(result.exit_status, _text(result, json, no_color))


def _text(result: PlanResult, json: bool, no_color: bool) -> str | Page:
    if json:
        from l1dflush.report.json_report import json_text

        return json_text(result)
    if result.code is not None:
        return result.code
    from l1dflush.report.plan import plan_lines

    return Page(lambda width: plan_lines(result, width), no_color)


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


def _with_code(made: Planned, walk: Walk, asked: Asked, form: Form, limits: Limits) -> PlanResult:
    """The result with code, after that was proved. Raises UndecidedError where that cannot be decided, InputError where
    a kernel cannot have it, and RuntimeError if it is refuted."""
    from l1dflush.plan import emit as emitted
    from l1dflush.plan import portable
    from l1dflush.plan.planned import head_of

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
        with progress(f"proving the plan as {check.what} ..."):
            _prove(check, asked, limits)
    return made.result.model_copy(
        update={"form": form.value, "code": code, "proved": tuple(check.what for check in checks)}
    )


def _for_a_kernel(made: Planned, walk: Walk, conditions: Conditions) -> tuple[str, list[_Check]]:
    from l1dflush.plan import kernel
    from l1dflush.plan.emit import PAGE
    from l1dflush.plan.planned import head_of

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
    from l1dflush.ending import Verdict
    from l1dflush.isolation.judged import verify
    from l1dflush.verdict.options import VerifyOptions

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
            max_seconds=limits.seconds or options.seconds(None),
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
