# SPDX-License-Identifier: GPL-2.0-or-later
"""Results made by hand: one where all is well, one where every part is there, and their parts."""

from __future__ import annotations

import re
from typing import Any

from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import Verdict
from l1dflush.place import Place
from l1dflush.severity import Severity
from l1dflush.tracing.facts import Fact, Field, Relation, Subject
from l1dflush.tracing.region import BUFFER, STACK, Region, RegionKind
from l1dflush.verdict.counterexample_result import CounterexampleInfo, LineInfo, LineKind, Step
from l1dflush.verdict.described import assumed
from l1dflush.verdict.found import About
from l1dflush.verdict.verify_result import (
    BufferInfo,
    Candidate,
    DecisionInfo,
    Finding,
    GeometryInfo,
    PathInfo,
    RoutineInfo,
    Row,
    Run,
    Scope,
    VerifyResult,
)


def row_with(**changes: Any) -> Row:
    """A proved row of one CPU, changed as told."""
    values: dict[str, Any] = {
        "cpus": ("haswell",),
        "titles": ("Haswell",),
        "l1tf_affected": True,
        "decides": True,
        "geometry": GeometryInfo(size=32768, ways=8, sets=64, line=64),
        "policy": "tree-PLRU",
        "policy_certainty": "learned-from-silicon",
        "needs": 13,
        "has": 16,
        "margin": 3,
        "verdict": Verdict.PROVED,
        "cause": None,
        "reason": "",
        "leftovers": 0,
        "sets_without_walk": 0,
        "curve": (8, 7, 6, 5, 4, 4, 3, 2, 2, 1, 1, 1, 1, 0),
    }
    return Row(**(values | changes))


def counterexample_with(ways: int = 8, accesses: int = 8, **changes: Any) -> CounterexampleInfo:
    """The shape of a counterexample (not a true one): line 2 is cached, and the last old line stays."""
    old = "abcdefghijklmnop"[:ways]
    steps = [
        Step(
            access=f"buffer+{i * 4096:#x}" if i else "buffer",
            result="hit" if i == 2 else "miss",
            way=i % ways,
            evicted=None if i == 2 else old[i % (ways - 1)],
            leftovers=max(ways - 1 - i, 1),
        )
        for i in range(accesses)
    ]
    values: dict[str, Any] = {
        "policy": "tree-PLRU",
        "set_index": 5,
        "start_state": "tree bits 0 00 0000",
        "start": (*old[:2], "buffer+0x2000", *old[2 : ways - 1]),
        "steps": tuple(steps),
        "end": (*(f"buffer+{i * 4096:#x}" if i else "buffer" for i in range(ways - 1)), old[ways - 2]),
        "end_state": "tree bits 1 11 1111",
        "leftovers": 1,
        "smallest": True,
    }
    values |= changes
    taking_part = dict.fromkeys((*values["start"], *(step.access for step in values["steps"]), *values["end"]))
    return CounterexampleInfo(
        **({"lines": tuple(line_called(name) for name in taking_part if name != "invalid")} | values)
    )


def line_called(name: str) -> LineInfo:
    """What a line of that name is."""
    if len(name) == 1:
        return LineInfo(name=name, kind=LineKind.OLD)
    base, _, offset = name.replace("-", "+-").partition("+")
    region = BUFFER if base == "buffer" else STACK
    kind = LineKind.BUFFER if base == "buffer" else LineKind.OWN
    return LineInfo(name=name, kind=kind, region=region, offset=int(offset or "0", 16))


def result_with(**changes: Any) -> VerifyResult:
    """A proved result with one path and one row, changed as told."""
    values: dict[str, Any] = {
        "tool_version": "0",
        "routine": RoutineInfo(
            name="flush",
            kind="assembly",
            source="flush.S",
            detail="a detail",
            bits=64,
            sha256="ab" * 32,
            code_bytes=50,
        ),
        "buffer": BufferInfo(
            region=Region(RegionKind.POINTED, ("rdi",)), first=0, last=65472, bytes_spanned=65473, size=None
        ),
        "paths": (PathInfo(outcome="software-walk", decisions=(), loads=1024, instructions=3000, runs=(WALK,)),),
        "findings": (),
        "rows": (row_with(),),
        "scope": Scope(
            start="any",
            all_ways_valid=True,
            touches=0,
            taken_for_granted=assumed([Assumption(Assumes.PROGRAM_ORDER)]),
            not_modelled=assumed([Assumption(Assumes.OTHERS)]),
        ),
        "verdict": Verdict.PROVED,
        "cause": None,
        "reason": "",
        "exit_status": 0,
    }
    return VerifyResult(**(values | changes))


def refuted_with(example: CounterexampleInfo) -> VerifyResult:
    """A refuted result whose only row has this counterexample."""
    bad = row_with(verdict=Verdict.REFUTED, has=8, margin=-5, leftovers=2, counterexample=example, cpus=("a", "b"))
    return result_with(rows=(bad,), verdict=Verdict.REFUTED, exit_status=2)


def everything() -> VerifyResult:
    """A result in which every optional part is there."""
    example = counterexample_with()
    rows = (
        row_with(),
        row_with(verdict=Verdict.REFUTED, margin=-5, has=8, leftovers=2, counterexample=example),
        row_with(
            decides=False,
            l1tf_affected=False,
            policy="unknown",
            policy_certainty="unknown",
            needs=None,
            margin=None,
            curve=None,
            leftovers=None,
            verdict=Verdict.UNDECIDED,
            cause="unknown-policy",
            reason="it is not known",
            candidates=(
                Candidate(policy="LRU", verdict=Verdict.PROVED, needs=8, leftovers=0),
                Candidate(policy="FIFO", verdict=Verdict.REFUTED, needs=15, leftovers=4),
            ),
        ),
    )
    path = result_with().paths[0]
    return result_with(
        paths=(
            path,
            path.model_copy(update={"outcome": "msr-write", "decisions": (decision("`has_msr` is not zero"),)}),
            path.model_copy(update={"outcome": "skipped", "decisions": (decision("`wanted` is zero"),), "runs": ()}),
        ),
        findings=(
            Finding(id="named-label", severity=Severity.NOTE, message="a label", advice="use 1:"),
            Finding(id="own-storage", severity=Severity.ERROR, message="bad", advice="mov", where=Place("a.c", 3)),
            Finding(id="no-fence", severity=Severity.WARNING, message="no fence", advice="end with lfence"),
        ),
        rows=rows,
        verdict=Verdict.REFUTED,
        exit_status=2,
    )


WALK = Run(
    kind="load",
    instruction="movzx",
    region=BUFFER,
    count=1024,
    first=0,
    last=65472,
    step=64,
    size=1,
    where=Place(offset=0x400003),
)
FENCE = Run(
    kind="fence",
    instruction="lfence",
    region=None,
    count=1,
    first=0,
    last=0,
    step=0,
    size=0,
    where=Place(offset=0x400009),
)  # fmt: skip
OWN = Run(
    kind="store",
    instruction="push",
    region=STACK,
    count=1,
    first=-16,
    last=-16,
    step=0,
    size=8,
    where=Place(offset=0x400000),
)


_DECISION = re.compile(r"`(.+?)`(?:: `(.+)`)? (is not|is|taken|not taken) ?(\w*)(?: \((?:(0x\w+)|(.+):(\d+))\))?")
_FIELD = re.compile(r"(.+)\+(0x[0-9a-f]+)(\]*)")


def decision(text: str) -> DecisionInfo:
    """One that is written like ```x` is not zero (a.c:3)``, ```[rdi+0x8]` is zero (0x40)``, ```x`: `jl` taken``."""
    match = _DECISION.fullmatch(text)
    assert match is not None, text
    name, instruction, how, number, address, file, line = match.groups()
    parts = _FIELD.fullmatch(name)
    field = Field(parts[1], int(parts[2], 16), parts[3]) if parts is not None else None
    relation = Relation.BRANCH if instruction else Relation.BIT if number == "set" else Relation.IS
    value = int(number) if number.isdecimal() else 0
    fact = Fact(relation, (Subject(name, field=field),), "not" not in how, value, instruction or "")
    where = Place(file, int(line)) if file else Place(offset=int(address or "0x1", 16))
    return DecisionInfo(fact=fact, where=where)


def path(*runs: Run, when: tuple[str, ...] = (), outcome: str = "software-walk") -> PathInfo:
    loads = sum(run.count for run in runs if run.region == BUFFER and run.kind == "load")
    return PathInfo(outcome=outcome, decisions=tuple(map(decision, when)), loads=loads, instructions=9, runs=runs)  # type: ignore[arg-type]


def found(rule: str, severity: Severity, message: str = "a message") -> Finding:
    return Finding(
        id=rule, severity=severity, message=message, advice="do it", about=About(text=message), where=Place("a.c", 3)
    )
