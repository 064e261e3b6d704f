# SPDX-License-Identifier: GPL-2.0-or-later
"""What one run of a routine did to memory, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from l1dflush.assumption import Assumption
from l1dflush.routine.model import Routine
from l1dflush.tracing.facts import Fact
from l1dflush.tracing.msr_write import MsrWrite
from l1dflush.tracing.region import Region


class Kind(StrEnum):
    """Kinds of events (DESIGN's section on routines and traces)."""

    LOAD = "load"
    STORE = "store"
    STRING_STORE = "string-store"  # of a repeated string instruction: it need not bring its line in
    NON_TEMPORAL_STORE = "non-temporal-store"  # nor need this one, and it may push it out
    PREFETCH = "prefetch"
    LINE_FLUSH = "line-flush"
    FLUSH_ALL = "flush-all"
    SERIALISE = "serialise"
    FENCE = "fence"
    MSR_WRITE = "msr-write"
    SYSTEM_WRITE = "system-write"  # of a control register and the like
    CALL = "call"


# Alignment in bytes of an object that an unknown pointer points to: what every allocator grants.
POINTER_ALIGNMENT = 8
# Among the names of what something was computed from: there are more of them than are kept.
MANY = "many other values"
FLAGS_AT_ENTRY = "what the flags were before"
OPTIONAL_STORES = frozenset({Kind.STRING_STORE, Kind.NON_TEMPORAL_STORE})
"""Stores that may bring their line in or not: with fast strings the processor writes whole lines without reading them
first (SDM volume 1, section 7.3.9.3), and non-temporal ones go past the cache (volume 1, section 10.4.6.2)."""
STORES = OPTIONAL_STORES | {Kind.STORE}
READS = frozenset({Kind.LOAD, Kind.PREFETCH, Kind.LINE_FLUSH})
TOUCHES = READS | STORES


class ArenaKind(StrEnum):
    """What a piece of memory is, seen from the routine."""

    INPUT = "input"
    STACK = "stack"
    SYMBOL = "symbol"
    SECTION = "section"
    ABSOLUTE = "absolute"
    SEGMENT = "segment"  # relative to fs or gs: per-CPU or per-thread memory


@dataclass(frozen=True, slots=True)
class Pointer:
    """What is known of an address. ``anything``: it may be any that was ever stored or handed to outside code.
    ``region`` is the term of the memory that it was loaded from, ``of`` the symbols in that (empty for what was not
    loaded)."""

    anything: bool = False
    region: int = 0
    of: frozenset[int] = frozenset()

    def may_equal(self, other: Pointer) -> bool:
        """Whether two addresses that are different symbols may be the same one.

        Different inputs point to different memory, which is granted. But what outside code may have put somewhere may
        be what was there before, it may return what it was given, and two elements of a table at indices that are not
        known may be the same one.
        """
        if self.anything or other.anything:
            return True
        return self.region != other.region and not self.of.isdisjoint(other.of)


@dataclass(frozen=True, slots=True)
class Arena:
    """A piece of memory whose place among the cache's sets is independent of all others'.

    ``region`` is what is known of it, and what it is called. ``key`` tells arenas apart.
    ``alignment`` is the known alignment in bytes of offset 0. ``size`` in bytes if known.
    ``sources`` are the names of what its address was computed from, if it is unknown: two arenas that have
    one in common may be the same memory. ``computed`` tells that the address was neither handed in nor loaded nor
    allocated as it is: then nothing but ``alignment`` may be taken for granted of it. ``pointer`` is what is known of
    where its address was loaded from or what returned it.
    """

    key: str
    kind: ArenaKind
    region: Region
    alignment: int
    size: int | None = None
    sources: tuple[str, ...] = ()
    computed: bool = False
    pointer: Pointer | None = None

    def may_be(self, other: Arena) -> bool:
        """Whether the two may be one piece of memory, although they are different ones for the machine."""
        one, two = self.pointer, other.pointer
        return self.key != other.key and one is not None and two is not None and one.may_equal(two)


class Event(NamedTuple):
    """One event. ``pc`` is the instruction's address. For those that touch memory ``arena`` and ``offset``
    say where, ``size`` how many bytes; ``detail`` is the mnemonic, or what was called or written, and ``msr`` the
    latter as a fact.

    A tuple, because a trace has thousands of them.
    """

    kind: Kind
    pc: int
    detail: str
    arena: Arena | None = None
    offset: int = 0
    size: int = 0
    msr: MsrWrite | None = None


def somewhere(mnemonic: str, insn_text: str) -> str:
    """What stands for a call where an instruction works on memory that nobody can name: ```repne scasb```."""
    return f"`{insn_text.partition(mnemonic)[0]}{mnemonic}`"


def is_instruction(event: Event) -> bool:
    """Whether a call is none, but an instruction that works on memory that nobody can name."""
    return event.kind is Kind.CALL and event.detail.startswith("`")


# How paths end.
UNTIL = "--until"
NO_RETURN = "no return"
# GCC's -fstack-protector: who is called where the guard is not what it was.
STACK_CHECK = "__stack_chk_fail"
TRAPS = frozenset({"ud2", STACK_CHECK})


@dataclass(frozen=True, slots=True)
class Decision:
    """A branch that depends on values nobody defined: ``sources`` are their names, ``taken`` the outcome. ``fact`` is
    what was decided; of an instruction with what made the flags that it asks for (``test edi, edi; jne``) only where
    that cannot be said without it. Not ``followed``: it depends on a result that an instruction makes of what is known,
    but nobody here knows how, so that perhaps no input decides like this."""

    pc: int
    sources: tuple[str, ...]
    taken: bool
    fact: Fact
    followed: bool = True


@dataclass(frozen=True, slots=True)
class Path:
    """One way through the routine: what was decided, and what happened. ``end`` is the instruction with which it
    left for good (``vmlaunch``, ``iretq``, ``ud2``), :data:`UNTIL`, :data:`NO_RETURN` or :data:`STACK_CHECK` behind
    the call of a function that does not come back, or empty where it returned. ``settled``: some input takes it; else
    nobody knows whether one does. ``before`` are the events of what the user had run before the routine; decisions and
    instructions are of both."""

    decisions: tuple[Decision, ...]
    events: Sequence[Event]
    instructions: int
    end: str = ""
    settled: bool = True
    before: Sequence[Event] = ()


class Need(NamedTuple):
    """An instruction that was run and is not there, or is another one, on CPUs without a feature."""

    feature: str
    pc: int
    mnemonic: str


@dataclass(frozen=True, slots=True)
class Trace:
    """All paths of a routine. ``reads_before_written`` are registers that are no argument and were read
    before anything was written to them; ``assumptions`` what was taken for granted on the way; ``stubs`` are outside
    symbols that are referred to but not called, with what stands for them; ``needs`` what a CPU must have for the
    instructions that were run."""

    routine: Routine
    paths: tuple[Path, ...]
    reads_before_written: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    stubs: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
