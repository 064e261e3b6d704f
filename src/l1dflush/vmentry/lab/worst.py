# SPDX-License-Identifier: GPL-2.0-or-later
"""The prover's worst start as work of the host: the accesses of a drive, in every set, with real addresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l1dflush.cache.policies import get_policy
from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.sandbox.judged import verify
from l1dflush.silicon.drive.drives import Drive, Scene, drive
from l1dflush.silicon.drive.scenes import scene_of
from l1dflush.verdict.counterexample_result import CounterexampleInfo, LineInfo, LineKind
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.replay.replayed import replayed
from l1dflush.vmentry.lab.machine import Hardware, Machine
from l1dflush.vmentry.lab.memory import LINE, LINES_PER_PAGE, PAGE, SECRET, Block


@dataclass(frozen=True, slots=True)
class Worst:
    """``mine``: which lines of the drive are the routine's, and which; the others are old ones, or just in the way.
    ``set_index``: the set it is about, counted from the buffer's first."""

    drive: Drive
    mine: dict[int, LineInfo]
    set_index: int

    def act(self, machine: Machine, blocks: dict[str, Block]) -> None:
        """Makes the accesses on ``machine``, in every set; old lines are lines of a secret block.

        Raises InputError if no secret block is large enough.
        """
        buffer, secret = machine.subsystem.buffer, self._secret(blocks)
        sets = machine.hardware.geometry.sets
        for act in self.drive.acts:
            line = self.mine.get(act.line)
            if line is None:
                # A way is sets x line bytes of the block; line j of a set lies in its j-th.
                lines = act.line * sets + np.arange(sets)
                addresses = secret.line_addresses(lines)
            elif line.kind is LineKind.BUFFER and buffer is not None:
                first = (line.offset or 0) // LINE - self.set_index
                lines = first + np.arange(sets)
                addresses = buffer.line_addresses(lines[(lines >= 0) & (lines < buffer.lines)])
            else:
                # An own line of the routine lies where it lies, in one set.
                addresses = machine.own_addresses(str(line.region), line.offset or 0)
            if act.flush:
                machine.invalidate(addresses)
            else:
                machine.touch(addresses)

    def _secret(self, blocks: dict[str, Block]) -> Block:
        secrets = [block for block in blocks.values() if block.owner == SECRET]
        wanted = self.drive.lines
        for block in secrets:
            if block.pages * PAGE >= wanted * LINES_PER_PAGE * LINE:
                return block
        raise InputError(f"the step worst needs {wanted} pages of secret memory", hint="make one block that large")


def worst_start(source: str, options: VerifyOptions, hardware: Hardware) -> Worst | str:
    """The accesses that lead to a start of which the prover says that the routine leaves an old line; or, in a few
    words, why there are none."""
    policy = get_policy(hardware.policy, hardware.geometry.ways)
    if hardware.geometry.sets != LINES_PER_PAGE:
        return f"{hardware.geometry.sets} sets are not driven"
    asked = VerifyOptions(
        policy=policy,
        geometry=hardware.geometry,
        bind=options.bind,
        conditions=ALL_WAYS_VALID,
        max_seconds=options.max_seconds,
    )
    result = verify(source, asked)
    row = next((row for row in result.rows if row.counterexample is not None), None)
    if result.verdict is Verdict.PROVED:
        return "proved: there is none"
    if row is None or row.counterexample is None:
        return f"{result.verdict.lower()}, without a counterexample"
    example = row.counterexample
    try:
        scene = scene_of(replayed(example))
        found = drive(scene)
    except (InputError, UndecidedError) as error:
        return str(error)
    return Worst(found, _mine(example, scene, found), example.set_index)


def _mine(example: CounterexampleInfo, scene: Scene, found: Drive) -> dict[int, LineInfo]:
    """The buffer's and the routine's own lines."""
    lines = {line.name: line for line in example.lines if line.kind in (LineKind.BUFFER, LineKind.OWN)}
    acts = zip((name for name, _ in scene.word), (act.line for act in found.word), strict=True)
    return {line: lines[name] for name, line in acts if name in lines}
