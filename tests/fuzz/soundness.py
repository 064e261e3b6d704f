# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be true of every input, however damaged: one way out, in time, and no PROVED that is not true.

A PROVED is held against two judges that the package has no part in. The one runs the file: read, relocated and
emulated by :mod:`plain_machine`, with random inputs and keys, in random places. The other takes the trace's events
to random places. Both ask :mod:`adversary` whether an old line can be left in any set. A run that does not flush
must be one that the result owns up to.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema
import plain_machine
from adversary import canonical, leftovers
from plain_machine import NotForThisError, Placed, Run
from seeds import Seed

from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.report.layout import plain
from l1dflush.report.schemas import schema
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.tracing.decode import Decoder, Instruction
from l1dflush.tracing.model import ArenaKind, Kind, Trace
from l1dflush.verdict import judge
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

# Every CPU that counts has this cache: 64 sets of 8 ways with lines of 64 bytes.
CPU = "haswell"
POLICY, WAYS, SETS, LINE = "tree-PLRU", 8, 64, 64
# Seconds for one input: many times what any takes, and one that hangs takes for ever.
PATIENCE = 20.0
# Per path. What is done with the events afterwards has no budget of its own: half a million take half a minute.
INSTRUCTIONS = 200_000
# A run that touches as many lines as a page has is a walk, and has to flush.
WALK_LINES = 64
# Whether both outcomes of a static key are judged.
FOLLOWS_KEYS = "static_keys" in VerifyOptions.__dataclass_fields__


class UnsoundError(AssertionError):
    """A verdict PROVED that is not true, or that nobody could confirm."""


@dataclass
class Judged:
    """What came out: a result, or the error's text; and what a PROVED is to be held against."""

    result: VerifyResult | None
    error: str
    trace: Trace | None = None
    code: bytes | None = None
    instructions: frozenset[str] = frozenset()
    seconds: float = 0.0

    @property
    def proved(self) -> bool:
        return self.result is not None and self.result.verdict is Verdict.PROVED

    @property
    def reached(self) -> object:
        """What was run, whatever its addresses: the same for two files means that the same code was reached."""
        assert self.result is not None
        paths = [
            (path.outcome, path.decisions, path.loads, path.instructions,
             [run.model_dump(exclude={"where"}) for run in path.runs])
            for path in self.result.paths
        ]  # fmt: skip
        return paths, self.instructions


# Absolute addresses, and distances from the instruction, depend on where things were put.
_PLACES = re.compile(r"rip [-+] 0x[0-9a-f]+|0x[0-9a-f]{6,}")


def options_of(seed: Seed, seconds: float = 1.0) -> VerifyOptions:
    """The question that is asked of a seed."""
    return VerifyOptions(
        function=seed.function, bind=seed.bind, cpus=(CPU,), max_seconds=seconds, max_instructions=INSTRUCTIONS
    )


def judged(path: Path, options: VerifyOptions) -> Judged:
    """What the package makes of a file. Anything but a result or one of its own errors comes out as it is."""
    traces: list[Trace] = []
    images: list[tuple[object, bytes]] = []
    texts: set[str] = set()
    select, decode = judge.select, Decoder.decode

    def selecting(*arguments: Any) -> Trace:
        traces.append(select(*arguments))
        return traces[-1]

    def decoding(self: Decoder, code: bytes, address: int) -> Instruction:
        insn = decode(self, code, address)
        texts.add(_PLACES.sub("@", insn.text))
        return insn

    start = time.monotonic()
    result, error = None, ""
    with mock.patch.object(judge, "select", selecting), mock.patch.object(Decoder, "decode", decoding), _kept(images):
        try:
            result = judge.verify(str(path), options)
        except (InputError, UndecidedError) as raised:
            error = str(raised)
            assert error and error.isprintable(), f"no printable line: {error!r}"
    seconds = time.monotonic() - start
    trace = traces[0] if traces else None
    code = next((data for image, data in images if trace is not None and image is trace.routine.image), None)
    return Judged(result, error, trace, code, frozenset(texts), seconds)


@contextlib.contextmanager
def _kept(images: list[tuple[object, bytes]]) -> Iterator[None]:
    """Keeps the object file behind each image: a text's is the assembler's or the compiler's."""
    with contextlib.ExitStack() as stack:
        for where in ("elf.object_file", "assembly.source", "c.compiling"):
            module = f"l1dflush.routine.{where}"
            load = getattr(__import__(module, fromlist=["load_image"]), "load_image")  # noqa: B009

            def keeping(data: bytes, *, load: Any = load, **about: Any) -> Any:
                image = load(data, **about)
                images.append((image, data))
                return image

            stack.enter_context(mock.patch(f"{module}.load_image", keeping))
        yield


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema("verify"))


def check(path: Path, options: VerifyOptions, undamaged: object = None) -> str:
    """Judges a file and asserts all there is to assert; says what came out. ``undamaged`` is what was reached in the
    file before it was damaged."""
    found = judged(path, options)
    assert found.seconds < PATIENCE, f"it took {found.seconds:.0f} s"
    if found.result is None:
        return "an error"
    text = found.result.to_json()
    _validator().validate(json.loads(text))
    assert VerifyResult.model_validate_json(text) == found.result
    report = plain(verify_lines(found.result, 80))
    assert all(line.isprintable() for line in report.splitlines())
    if not found.proved:
        return str(found.result.verdict)
    untouched = undamaged is not None and found.reached == undamaged
    confirm(found, options.bind, runs=1 if untouched else 10, events=not untouched)
    return "PROVED, what is reached is untouched" if untouched else "PROVED, confirmed"


def confirm(found: Judged, bind: Mapping[str, str], *, runs: int, events: bool = True) -> None:
    """Raises UnsoundError unless a PROVED is what independent runs and the adversary say too."""
    assert found.proved and found.result is not None and found.trace is not None
    outcomes = {path.outcome for path in found.result.paths}
    if "software-walk" not in outcomes:
        raise UnsoundError("proved without a walk")
    dice = random.Random(zlib.crc32(found.result.routine.sha256.encode()))
    walks = _confirm_by_runs(found, bind, outcomes, runs, dice)
    # Where no run walked, or none could be made, the events are all there is to go by.
    if (events or not walks) and not _confirm_by_events(found.trace, dice) and not walks:
        raise UnsoundError("nobody could confirm it")


def _confirm_by_runs(found: Judged, bind: Mapping[str, str], outcomes: set[str], runs: int, dice: random.Random) -> int:
    """How many of the runs flushed."""
    assert found.trace is not None
    if found.code is None:
        raise UnsoundError("the file that was run is not known")
    parameters = {parameter.name: parameter.register for parameter in found.trace.routine.parameters}
    try:
        values = {parameters.get(name, name): int(value, 0) for name, value in bind.items() if value != "buffer"}
    except ValueError:
        values = {}
    walks, start = 0, time.monotonic()
    for number in range(3 * runs):
        # One that reads byte by byte takes half a second, and is the same each time.
        if walks and (number >= runs or time.monotonic() - start > 1):
            break
        try:
            placed = Placed(plain_machine.read_object(found.code), dice)
            placed.throw(dice, shipped=not FOLLOWS_KEYS)
            run = plain_machine.run(placed, placed.entry(found.trace.routine.name), dice, values)
        except NotForThisError:
            continue
        walks += judge_run(run, outcomes)
    return walks


def judge_run(run: Run, outcomes: set[str]) -> bool:
    """Whether a run flushes. Raises UnsoundError if it does not, and the result does not say so."""
    if any(survivors(stretch) == 0 for stretch in run.stretches):
        return True
    if run.lines >= WALK_LINES:
        left = min(survivors(stretch) for stretch in run.stretches)
        raise UnsoundError(f"a run that reads {run.lines} lines leaves {left} old ones in a set")
    outcome = "msr-write" if run.flush_command else "cache-instruction" if run.cache_instruction else "skipped"
    if outcome not in outcomes:
        raise UnsoundError(f"a run ends in '{outcome}', and no path does")
    return False


def survivors(accesses: list[tuple[int, int]]) -> int:
    """The most old lines that these accesses, (address, size), can be made to leave in any set."""
    words: dict[int, list[int]] = {index: [] for index in range(SETS)}
    for address, size in accesses:
        for line in range(address // LINE, (address + max(size, 1) - 1) // LINE + 1):
            words[line % SETS].append(line)
    if len(accesses) < SETS * WAYS:
        return WAYS  # fewer accesses than there are lines in the cache: something stays
    return max(leftovers(POLICY, WAYS, word) for word in {canonical(lines) for lines in words.values()})


def _confirm_by_events(trace: Trace, dice: random.Random) -> int:
    """How many placements of a walking path's events were confirmed. Raises UnsoundError for one that is not."""
    confirmed = 0
    for path in trace.paths:
        lines = Counter(e.arena.key for e in path.events if e.arena is not None)
        if not lines or max(lines.values()) < WALK_LINES or any(e.kind is Kind.LINE_FLUSH for e in path.events):
            continue
        for _ in range(2):
            bases: dict[str, int] = {}
            stretches: list[list[tuple[int, int]]] = [[]]
            for event in path.events:
                if event.kind is Kind.CALL:
                    stretches.append([])
                if event.arena is None or event.kind is Kind.PREFETCH:
                    continue
                # What is outside is taken to begin with a page if it is the buffer: the result's scope says so.
                placed_here = event.arena.kind in (ArenaKind.SECTION, ArenaKind.STACK)
                known = event.arena.alignment if placed_here or lines[event.arena.key] < WALK_LINES else 4096
                place = len(bases) + 1 << 32 | dice.randrange(0, 4096, min(max(known, 1), 4096))
                base = bases.setdefault(event.arena.key, place)
                stretches[-1].append((base + event.offset, event.size))
            left = min(survivors(stretch) for stretch in stretches)
            if left and _walks(stretches):
                raise UnsoundError(f"the events of a walk leave {left} old lines in a set")
            confirmed += left == 0
    return confirmed


def _walks(stretches: list[list[tuple[int, int]]]) -> bool:
    return len({address // LINE for stretch in stretches for address, _ in stretch}) >= WALK_LINES
