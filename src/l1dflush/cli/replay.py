"""``l1dflush replay``: a counterexample, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.measure_options import OnCpu, Seed
from l1dflush.cli.output import Outcome, Steps
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.model import CounterexampleInfo, VerifyResult
    from l1dflush.verdict.replay_model import Replayed

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


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("replay", epilog=_EXAMPLES, short_help="Play a counterexample, step by step.")(replay)


def replay(
    *,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="What 'verify --json' wrote; - for standard input.  [required without --silicon]",
            show_default=False,
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            "--row", metavar="N", min=1, help="The counterexample of the N-th row.  [default: the first]",
            show_default=False,
        ),
    ] = None,
    silicon: Annotated[
        bool,
        typer.Option(
            "--silicon",
            help="Drive this CPU's L1D into it, by timing. Without FILE: one access fewer than needed, then as many.",
        ),
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="NAME", help="With --silicon: a policy, or a file with a machine."),
    ] = None,
    cpu: Annotated[
        str | None,
        typer.Option("--cpu", metavar="NAME", help="With --silicon: the policy of this CPU.  [default: this machine's]",
                     show_default=False),
    ] = None,
    cpu_folder: options.CpuFolder = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", metavar="START", help="With --silicon: any, any+invalid or cold.  [default: any]",
            show_default=False,
        ),
    ] = None,
    on_cpu: OnCpu = None,
    seed: Seed = 1,
    json: Annotated[
        bool, typer.Option("--json", help="With --silicon: write JSON (see 'l1dflush schema').")
    ] = False,
    no_color: options.NoColor = False,
) -> Outcome:  # fmt: skip
    """Play a counterexample on the plain policy, check that what happens is what the file says, and draw the
    set after each step. In a terminal Enter shows the next one, and q ends it.

    With --silicon: bring this CPU's own L1D into the start, by accesses to memory, and see by timing whether the line
    survives."""
    if silicon:
        _refuse({"--row": row is not None and file is None}, "there is no FILE")
        found = None if file is None else _played(file, row)
        from l1dflush.cli.replay_silicon import Asked, on_silicon  # noqa: PLC0415

        return on_silicon(Asked(policy, cpu, tuple(cpu_folder or ()), start), found, on_cpu, seed, json, no_color)
    given = {"--policy": policy, "--cpu": cpu, "--cpu-folder": cpu_folder, "--start": start, "--on-cpu": on_cpu}
    _refuse({name: value is not None for name, value in given.items()} | {"--json": json}, "--silicon is missing")
    if file is None:
        raise InputError("missing argument 'FILE'", hint="see 'l1dflush replay --help'")
    played = _played(file, row)
    if isinstance(played, Outcome):
        return played
    from l1dflush.report.replay import replay_parts  # noqa: PLC0415

    return Outcome(0, Steps(lambda width: replay_parts(played, width), no_color))


def _refuse(given: dict[str, bool], why: str) -> None:
    for option in (option for option, there in given.items() if there):
        raise InputError(f"{option} alone means nothing here: {why}", hint="see 'l1dflush replay --help'")


def _played(file: str, row: int | None) -> Replayed | Outcome:
    """The counterexample, played on the plain policy; or what to say where the file is not true."""
    example = _example(_result(file), row, file)

    from l1dflush.verdict.replay_model import FileLiesError  # noqa: PLC0415
    from l1dflush.verdict.replayed import replayed  # noqa: PLC0415

    try:
        return replayed(example)
    except InputError as error:
        where = f"{file}: {error.where}" if error.where else file
        raise InputError(error.what, where=where, hint=error.hint) from None
    except FileLiesError as error:
        from l1dflush.errors import one_line  # noqa: PLC0415

        return Outcome(_LIE, message=one_line(f"{file}: {str(error)[:400]}"))


def _result(file: str) -> VerifyResult:
    from pydantic import ValidationError  # noqa: PLC0415

    from l1dflush.json_keys import check_keys  # noqa: PLC0415
    from l1dflush.user_files import read_file  # noqa: PLC0415
    from l1dflush.verdict.model import VerifyResult  # noqa: PLC0415

    content = read_file(file, MAX_BYTES)
    hint = "what 'l1dflush verify --json' writes, without --against"
    try:
        result = VerifyResult.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        what = f"this is no result of verify: {place + ': ' if place else ''}{first['msg'][:120]}"
        raise InputError(what, where=file, hint=hint) from None
    check_keys(content, file)
    return result


def _example(result: VerifyResult, row: int | None, file: str) -> CounterexampleInfo:
    there = {number: one.counterexample for number, one in enumerate(result.rows, 1) if one.counterexample is not None}
    if not there:
        raise InputError("there is no counterexample in it", where=file, hint="only a refuted row has one")
    found = there.get(min(there) if row is None else row)
    if found is None:
        listed = ", ".join(map(str, list(there)[:20]))
        raise InputError(f"row {row} has no counterexample", where=file, hint=f"these have one: {listed}")
    return found
