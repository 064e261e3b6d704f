# SPDX-License-Identifier: GPL-2.0-or-later
"""The one result object. Every output is a rendering of it, so outputs cannot disagree.

Field descriptions end up in the published JSON Schema; they are the documentation of ``--json``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.assumption import Assumes
from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.ending import Verdict
from l1dflush.place import Place
from l1dflush.routine.model import OriginKind
from l1dflush.severity import Severity
from l1dflush.tracing.facts import Fact
from l1dflush.tracing.region import BUFFER, Region
from l1dflush.verdict.counterexample_result import CounterexampleInfo
from l1dflush.verdict.found import NOTHING_MORE, About
from l1dflush.verdict.sets_result import SetsInfo, WordInfo


class RoutineInfo(Document):
    """What was read."""

    name: str = Field(description="name of the function or of the built-in routine")
    kind: OriginKind = Field(description="front end it came through")
    source: str = Field(description="path, '-' for standard input, or the name of the built-in routine")
    sources: tuple[str, ...] = Field(
        default=(), description="all inputs, in the order given, when several were taken together; else the source"
    )
    detail: str = Field(description="what the front end adds, for example the subject of a mail; may be empty")
    bits: Literal[32, 64]
    sha256: str = Field(description="hash of the routine, in hexadecimal: its code, its relocations, and what it uses")
    code_bytes: int = Field(description="length of the machine code in bytes")
    run_first: tuple[str, ...] = Field(
        default=(), description="functions that were run before it, in this order: what they leave in memory it finds"
    )


class BufferInfo(Document):
    """The memory that a displacement flush reads."""

    region: Region = Field(description="the variable that it is, or which input leads to it")
    first: int = Field(description="lowest offset read, in bytes from the input's value")
    last: int = Field(description="highest offset read, in bytes")
    bytes_spanned: int = Field(description="from the first byte read to the last, inclusive")
    size: int | None = Field(description="size in bytes if it is known, else null")


class Run(Document):
    """A run of equal events, folded: count events of one kind at a constant step."""

    kind: str
    instruction: str = Field(description="the mnemonic, the function called, or the MSR written")
    region: Region | None = Field(description="what the memory belongs to; null for events that touch none")
    count: int
    first: int = Field(description="offset of the first event in bytes")
    last: int = Field(description="offset of the last event in bytes")
    step: int = Field(description="distance of consecutive events in bytes; 0 for a single event")
    size: int = Field(description="bytes per event")
    where: Place
    together: int = Field(default=0, description="runs with the same number alternate, event by event")

    def is_in(self, buffer: BufferInfo | None) -> bool:
        """Whether the run is about the buffer. Behind an outside call that may be another one of the same name."""
        return self.region == BUFFER or (buffer is not None and self.region == buffer.region)


class DecisionInfo(Document):
    """What a branch decided."""

    fact: Fact
    where: Place

    def __str__(self) -> str:
        return f"{self.fact} ({self.where})"


Mechanism = Literal[
    "software-walk",
    "msr-write",
    "cache-instruction",
    "msr-write-of-an-unknown-value",
    "perhaps-a-walk",
    "skipped",
    "trap",
]
"""How a path flushes, if it does (:mod:`l1dflush.verdict.mechanism`)."""


class PathInfo(Document):
    """One way through the routine."""

    outcome: Mechanism = Field(
        description="how the path flushes; 'skipped' if it does not, 'trap' if it ends in one before it does; whether"
        " an MSR write of an unknown value flushes is not known"
    )
    decisions: tuple[DecisionInfo, ...] = Field(description="what leads here, in order")
    loads: int = Field(description="loads from the buffer")
    instructions: int
    runs: tuple[Run, ...] = Field(description="what happened, in order, folded")
    end: str = Field(
        default="", description="the instruction that it ends with, or --until; empty where it returns to its caller"
    )


class OutsideInfo(Document):
    """A symbol that the routine refers to and that is not in the input."""

    name: str
    stands_for: str = Field(description="what it was taken to do")


class LeftOutInfo(Document):
    """Something of the source that is not in the machine code, or was supposed."""

    kind: Literal["function", "part", "branch", "default", "supposed"] = Field(
        description="a function that has no code here; a part of the input that was not looked at;"
        " a branch of an #if or the like that names decide which nobody"
        " gave; a name with the text's own default; a name that nothing defines, and what it was taken for"
    )
    name: str = Field(description="the function, the condition as it is written, or the name")
    names: tuple[str, ...] = Field(default=(), description="the names that are lacking, or that decide")
    reason: str = Field(description="why, or what follows from it")
    where: Place | None = Field(default=None, description="null if there is no one place")
    option: str = Field(default="", description="the option that brings it in or settles it; empty if there is none")


class LeftInfo(Document):
    """Own lines that are cached at the end: touched between the flush and the end, and not flushed since."""

    region: Region = Field(description="what the memory belongs to, or whatever an outside function touches")
    first: int = Field(default=0, description="lowest offset touched, in bytes")
    last: int = Field(default=0, description="highest offset touched, in bytes")
    written: bool = Field(default=False, description="whether some of it was stored to")


class Finding(Document):
    """Something that experience says goes wrong."""

    id: str = Field(description="stable id of the rule; see `l1dflush explain ID`")
    severity: Severity
    message: str = Field(description="what was found, in one line")
    advice: str = Field(description="what to do, in one line")
    about: About = Field(default=NOTHING_MORE, description="the facts of which the message is made")
    where: Place | None = Field(default=None, description="null if there is no one place")
    paths: tuple[int, ...] = Field(
        default=(),
        description="of a finding about some of the paths: which, counted from 0; what decides them is there",
    )


class Candidate(Document):
    """The outcome under one of the policies that an unknown policy could be."""

    policy: str
    verdict: Verdict
    needs: int | None
    leftovers: int | None = Field(description="most old lines left in a set; null if undecided")
    at_least: bool = Field(
        default=False,
        description="more may be left: the search for the worst needs more of --max-seconds",
    )


class ChanceInfo(Document):
    """How likely it is at most that an old line is left, over all starts and whatever others do."""

    exact: bool = Field(description="whether these are the largest chances; if not, they are certain to be no larger")
    in_a_set: str | None = Field(description="in the worst set, as a fraction; null if it is longer than 20000 digits")
    in_a_set_float: float = Field(description="the same, rounded")
    anywhere: str | None = Field(description="anywhere in the cache, as a fraction; null as above")
    anywhere_float: float = Field(description="the same, rounded")


class GeometryInfo(Document):
    """Size and shape of a cache."""

    size: int = Field(description="bytes")
    ways: int
    sets: int
    line: int = Field(description="bytes")


class Row(Document):
    """The verdict for one group of CPUs with the same cache and the same outcome."""

    cpus: tuple[str, ...] = Field(description="names in the catalogue; empty for --policy")
    titles: tuple[str, ...]
    l1tf_affected: bool
    decides: bool = Field(description="whether this row counts for the overall verdict and the exit status")
    geometry: GeometryInfo
    policy: str = Field(description="replacement policy, or the name of the file with its machine, or 'unknown'")
    policy_certainty: str = Field(
        description="learned-from-silicon, measured, documented, inferred, unknown or given;"
        " of CPUs that differ in it each"
    )
    needs: int | None = Field(
        description="fewest pairwise different accesses that always suffice; null if none do or the policy is unknown"
    )
    has: int | None = Field(description="fewest different buffer lines read in any set; null without a walk")
    margin: int | None = Field(description="has - needs; null where the exact words decide otherwise")
    verdict: Verdict
    cause: str | None = Field(description="named cause of UNDECIDED, else null")
    reason: str = Field(description="one line about the verdict; may be empty")
    leftovers: int | None = Field(description="most old lines left in a set over all starts; null if undecided")
    sets_without_walk: int = Field(description="sets in which no buffer line is read")
    curve: tuple[int, ...] | None = Field(
        description="most old lines left after 0, 1, 2, ... pairwise different accesses, down to 0; null if unknown"
    )
    chance: ChanceInfo | None = Field(
        default=None, description="for a policy that leaves something to chance, where the verdict is not PROVED"
    )
    candidates: tuple[Candidate, ...] = Field(default=(), description="for an unknown policy, the known ones")
    counterexample: CounterexampleInfo | None = None
    sets: tuple[SetsInfo, ...] = Field(
        default=(),
        description="what is known of each set, the worst first; empty where the flush was not judged by sets: for"
        " steady starts, and where the routine is undecided before that",
    )


class AssumptionInfo(Document):
    """Something that is taken for granted, or not modelled."""

    kind: Assumes = Field(description="which; the names are stable")
    names: tuple[str, ...] = Field(default=(), description="what it is about: variables, functions, features, numbers")
    text: str = Field(description="the same in words")

    def __str__(self) -> str:
        return self.text


class Scope(Document):
    """What the verdict is about, and what it is not."""

    start: str = Field(description="which states the cache may be in at the start: any, any+invalid, cold, ...")
    start_meaning: str = Field(default="", description="the same in one line")
    all_ways_valid: bool = Field(description="whether the start excludes invalid ways")
    touches: int = Field(
        description="so many accesses by others to a set during the flush are allowed for, at any point"
    )
    taken_for_granted: tuple[AssumptionInfo, ...]
    not_modelled: tuple[AssumptionInfo, ...]
    particular: tuple[AssumptionInfo, ...] = Field(
        default=(),
        description="those of taken_for_granted and not_modelled that come from this routine or this question; the"
        " others are part of every verdict",
    )


class UndecidedInfo(Document):
    """Why a routine as a whole could not be judged."""

    what: str = Field(description="in one line")
    where: Place | None = Field(default=None, description="the instruction or the line; null if there is no one place")
    hint: str | None = Field(default=None, description="what would settle it; null if nothing is known to")


class VerifyResult(Document):
    """The result of `l1dflush verify`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["verify"] = "verify"
    routine: RoutineInfo
    then: tuple[RoutineInfo, ...] = Field(
        default=(),
        description="the routines that take their turn after it, for a steady start; all else but the"
        " verdicts is about the first one",
    )
    buffer: BufferInfo | None
    paths: tuple[PathInfo, ...]
    outside: tuple[OutsideInfo, ...] = ()
    left: tuple[LeftInfo, ...] = Field(
        default=(), description="what some flushing path touches behind its flush: a guest can still see it"
    )
    left_out: tuple[LeftOutInfo, ...] = Field(
        default=(), description="what of the source is not in the machine code that was judged, or was supposed"
    )
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...]
    words: tuple[WordInfo, ...] = Field(default=(), description="what is done in sets, which `sets` of rows refer to")
    scope: Scope
    verdict: Verdict
    cause: str | None = Field(description="named cause of an UNDECIDED that concerns the routine as a whole")
    undecided: UndecidedInfo | None = Field(default=None, description="the same in full, else null")
    reason: str = Field(description="one line about the verdict; may be empty")
    exit_status: int

    @property
    def proved(self) -> bool:
        """Whether nothing can be left behind on any cache that was asked about and decides."""
        return self.verdict is Verdict.PROVED


class LookedAtInfo(Document):
    """A function or a file in which there is no flush."""

    name: str
    how: Literal["run", "read", "no-code"] = Field(
        description="how that is known: 'run' on all paths, 'read' (no loop, no asm statement, nothing that is named"
        " like a flush), or a file of a kind that has no code"
    )


class NothingResult(Document):
    """The result of `l1dflush verify --if-any` where there is surely no flush."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["verify"] = "verify"
    verdict: None = Field(default=None, description="null: there is nothing to judge")
    sources: tuple[str, ...] = Field(description="the inputs, as they were named")
    looked_at: tuple[LookedAtInfo, ...]
    exit_status: Literal[0] = 0


class ErrorInfo(Document):
    """What is wrong, where, and what to do about it."""

    what: str
    where: str | None
    hint: str | None


class ErrorResult(Document):
    """What any command prints with --json when it fails: ERROR, or UNDECIDED where the tool cannot follow."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: str
    verdict: Literal[Verdict.ERROR, Verdict.UNDECIDED] = Verdict.ERROR
    error: ErrorInfo
    exit_status: int


class EventInfo(Document):
    """One event of a trace."""

    kind: str
    pc: int = Field(description="address of the instruction")
    where: Place
    instruction: str
    region: Region | None = Field(description="what the memory belongs to; null if none is touched")
    offset: int | None = Field(description="offset in bytes in what the memory belongs to; null if none is touched")
    size: int


class TracePath(Document):
    """One way through the routine with all its events."""

    decisions: tuple[DecisionInfo, ...]
    instructions: int
    end: str = Field(default="", description="as in a verify result")
    runs: tuple[Run, ...]
    events: tuple[EventInfo, ...]
    before: tuple[Run, ...] = Field(default=(), description="the same of what was run before the routine")


class TraceResult(Document):
    """The result of `l1dflush trace`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["trace"] = "trace"
    routine: RoutineInfo
    left_out: tuple[LeftOutInfo, ...] = Field(default=(), description="as in a verify result")
    buffer: BufferInfo | None
    paths: tuple[TracePath, ...]
    exit_status: int
