# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush replay``: a counterexample, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli import measure_options, options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Steps
from l1dflush.cli.values import CPU, POLICY, TEXT_FILE, Whole
from l1dflush.ending import Verdict
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from l1dflush.verdict.counterexample_result import CounterexampleInfo
    from l1dflush.verdict.replay.result import Replayed
    from l1dflush.verdict.verify_result import VerifyResult

MAX_BYTES = 64 << 20
_LIE = 2
_EXAMPLES = """\b
Examples:
  l1dflush verify one-pass --cpu skylake --json > one-pass.json
  l1dflush replay one-pass.json
  l1dflush verify 52k --cpu ice-lake --json | l1dflush replay -
  l1dflush replay --silicon one-pass.json       on this CPU, by timing
  l1dflush replay --silicon --policy LRU3PLRU4  one access too few

Exit status: 0 it happens as the file says (with --silicon: as the model says), 1 error, 2 it does not, 3 it
cannot be measured or driven, 130 interrupted.
"""


@verb("replay", epilog=_EXAMPLES)
@argument(
    "file",
    metavar="[FILE]",
    required=False,
    type=TEXT_FILE,
    told="What 'verify --json' wrote; - for standard input.  [required without --silicon]",
)
@click.option(
    "--row",
    metavar="N",
    type=Whole(min=1),
    help="The counterexample of the N-th row.  [default: the first]",
    show_default=False,
)
@click.option(
    "--silicon",
    is_flag=True,
    help="Drive this CPU's L1D into it, by timing. Without FILE: one access fewer than needed, then as many.",
)
@click.option("--policy", metavar="NAME", type=POLICY, help="With --silicon: a policy, or a file with a machine.")
@click.option(
    "--cpu",
    metavar="NAME",
    type=CPU,
    help="With --silicon: the policy of this CPU.  [default: this machine's]",
    show_default=False,
)
@options.cpu_folder
@click.option(
    "--start",
    metavar="START",
    help="With --silicon: any, any+invalid or cold.  [default: any]",
    show_default=False,
)
@measure_options.on_cpu
@measure_options.seed
@click.option("--json", is_flag=True, help="With --silicon: write JSON (see 'l1dflush schema').")
@options.no_color
def replay(
    *,
    file: str | None,
    row: int | None,
    silicon: bool,
    policy: str | None,
    cpu: str | None,
    cpu_folder: Sequence[Path],
    start: str | None,
    on_cpu: int | None,
    seed: int,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Play a counterexample on the plain policy, check that what happens is what the file says, and draw the
    set after each step. In a terminal Enter shows the next one, and q ends it.

    With --silicon: bring this CPU's own L1D into the start, by accesses to memory, and see by timing whether the line
    survives."""
    if silicon:
        _refuse({"--row": row is not None and file is None}, "there is no FILE")
        found = None if file is None else _played(file, row)
        from l1dflush.cli.replay_silicon import Asked, on_silicon

        return on_silicon(Asked(policy, cpu, tuple(cpu_folder), start), found, on_cpu, seed, json, no_color)
    given = {"--policy": policy, "--cpu": cpu, "--cpu-folder": cpu_folder or None, "--start": start, "--on-cpu": on_cpu}
    _refuse({name: value is not None for name, value in given.items()} | {"--json": json}, "--silicon is missing")
    if file is None:
        raise InputError("missing argument 'FILE'", hint="see 'l1dflush replay --help'")
    played = _played(file, row)
    if isinstance(played, Outcome):
        return played
    from l1dflush.report.terminal.replay import replay_parts

    return Outcome(0, Steps(lambda width: replay_parts(played, width), no_color))


def _refuse(given: dict[str, bool], why: str) -> None:
    for option in (option for option, there in given.items() if there):
        raise InputError(f"{option} alone means nothing here: {why}", hint="see 'l1dflush replay --help'")


def _played(file: str, row: int | None) -> Replayed | Outcome:
    """The counterexample, played on the plain policy; or what to say where the file is not true."""
    example = _example(_result(file), row, file)

    from l1dflush.verdict.replay.replayed import replayed
    from l1dflush.verdict.replay.result import FileLiesError

    try:
        return replayed(example)
    except InputError as error:
        where = f"{file}: {error.where}" if error.where else file
        raise InputError(error.what, where=where, hint=error.hint) from None
    except FileLiesError as error:
        from l1dflush.errors import one_line

        return Outcome(_LIE, message=one_line(f"{file}: {str(error)[:400]}"))


def _result(file: str) -> VerifyResult:
    from pydantic import ValidationError

    from l1dflush.json_keys import check_keys
    from l1dflush.user_files import read_file
    from l1dflush.verdict.verify_result import VerifyResult

    content = read_file(file, MAX_BYTES)
    hint = "what 'l1dflush verify --json' of this version writes, without --against"
    try:
        result = VerifyResult.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        what = f"this is not a result of verify: {place + ': ' if place else ''}{first['msg'][:120]}"
        raise InputError(what, where=file, hint=hint) from None
    check_keys(content, file)
    return result


def _example(result: VerifyResult, row: int | None, file: str) -> CounterexampleInfo:
    there = {number: one.counterexample for number, one in enumerate(result.rows, 1) if one.counterexample is not None}
    if not there and result.verdict is Verdict.PROVED:
        hint = "'l1dflush verify ROUTINE --certificate FILE' writes why, and 'l1dflush check FILE' goes through it"
        raise InputError("it is PROVED: there is no counterexample to be played", where=file, hint=hint)
    if not there:
        raise InputError("there is no counterexample in it", where=file, hint="only a refuted row has one")
    found = there.get(min(there) if row is None else row)
    if found is None:
        listed = ", ".join(map(str, list(there)[:20]))
        raise InputError(f"row {row} has no counterexample", where=file, hint=f"these have one: {listed}")
    return found
