# SPDX-License-Identifier: GPL-2.0-or-later
"""A routine run on the abstract machine: its paths as the rest of the program knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from l1dflush import _core
from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.routine.code_names import CodeNames
from l1dflush.routine.model import Routine
from l1dflush.tracing.arenas import Arenas
from l1dflush.tracing.at_entry import begin, guards_by_place
from l1dflush.tracing.bindings import may_be_base
from l1dflush.tracing.decided import Conditions, shown
from l1dflush.tracing.decode import Instruction
from l1dflush.tracing.effects import CARRY, Form
from l1dflush.tracing.events import Events
from l1dflush.tracing.extent import with_extent
from l1dflush.tracing.facts import Fact, Relation
from l1dflush.tracing.features import needs
from l1dflush.tracing.first import NOWHERE, Caller, parted
from l1dflush.tracing.functions import not_followed
from l1dflush.tracing.kernel_sites import KernelSites, about_feature
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.limits import Limits, within_limits
from l1dflush.tracing.model import (
    NO_RETURN,
    STACK_CHECK,
    STORES,
    TOUCHES,
    UNTIL,
    Arena,
    ArenaKind,
    Decision,
    Event,
    Kind,
    Need,
    Path,
    Trace,
    somewhere,
)
from l1dflush.tracing.msr_write import MsrWrite
from l1dflush.tracing.names import Names
from l1dflush.tracing.operands import KINDS
from l1dflush.tracing.operations import EVENT
from l1dflush.tracing.options import TraceOptions
from l1dflush.tracing.placing import Placing
from l1dflush.tracing.possible import Possibility
from l1dflush.tracing.stops import Stop, undecided
from l1dflush.tracing.system_rows import STAYS
from l1dflush.tracing.two_places import relied_on
from l1dflush.tracing.wrapping import OFF_ENDS, without_wrapping

# Kinds of events that show that memory is there.
_ACCESSES = {KINDS.index(kind) for kind in TOUCHES - {Kind.PREFETCH}}
_VM_ENTRIES = ("vmlaunch", "vmresume")
# The machine counts them in 64 bits; as many have room nowhere.
_MOST_PATHS = 1 << 48


def trace(routine: Routine, options: TraceOptions | None = None) -> Trace:
    """Runs ``routine`` on the abstract machine along every path; deterministic.

    Raises UndecidedError for what cannot be followed.
    """
    try:
        return _Run(routine, options or TraceOptions()).trace()
    except UndecidedError as error:
        if error.place is None or not error.place.is_address:
            raise
        raise error.but(where=CodeNames(routine.image).where(error.place.offset or 0)) from None


class _Run:
    def __init__(self, routine: Routine, options: TraceOptions) -> None:
        self._routine = routine
        self._options = options
        self._kernel = KernelSites(routine.image, options.static_keys)
        self._lifter = Lifter(routine.image, self._kernel, (routine.entry, *(one.entry for one in routine.first)))
        self._machine = self._lifter.machine
        self._width = routine.image.bits // 8
        self._names = Names(routine, self._lifter)
        self._arenas = Arenas(routine.image, self._lifter, self._names)
        self._conditions = Conditions(self._lifter, self._names)
        # What was run, by number, and which branches ask for a CPU feature.
        self._instructions: list[Instruction] = []
        self._features: dict[int, int] = {}
        # Events by what the machine keeps of them, and decisions: paths have most of theirs in common.
        self._made: dict[tuple[int, ...], Event] = {}
        self._decided: dict[tuple[int, ...], Decision] = {}

    def trace(self) -> Trace:
        machine, bases = self._machine, self._lifter.bases
        begin(self._lifter, self._names, self._routine, self._options.bind)
        machine.set_accesses(sorted(_ACCESSES))
        machine.set_ends([self._place(at) for at in self._routine.until], self._routine.partial)
        asked = Possibility(machine, self._options.max_seconds, Limits(self._lifter))
        start = bases.place_at(self._routine.entry)
        caller = Caller(self._lifter, self._routine.first, start) if self._routine.first else None
        try:
            found = machine.run(
                *((caller.base, 0) if caller is not None else start[:2]),
                self._lifter.lift if caller is None else caller.lift,
                max_paths=min(self._options.max_paths, _MOST_PATHS),
                max_instructions=self._options.max_instructions,
                max_seconds=self._options.max_seconds,
                possible=asked,
                pointers=bases.add_pointers,
            )
        except _core.StoppedError as stopped:
            raise self._undecided(*stopped.args) from None
        placing = Placing(machine, bases, asked)
        placed = placing.possible(within_limits(found, asked))
        possible, off_ends = without_wrapping(machine, placed, asked, _ACCESSES)
        instructions = self._instructions = [self._lifter.instructions[place] for place in machine.places]
        ran = {insn.address: insn for insn in instructions if insn.address != NOWHERE}
        self._features = self._kernel.feature_tests(ran)
        addresses, mnemonics = [i.address for i in instructions], [i.mnemonic for i in instructions]
        paths = []
        for decisions, events, runs, count, end, settled in possible:
            made = self._events(addresses, mnemonics, events, runs)
            decided = tuple(map(self._decision_once, decisions))
            ending = _ending(end, mnemonics, made)
            # The instruction that leaves is not part of the path.
            ran_on = count - (ending not in ("", UNTIL, NO_RETURN, STACK_CHECK))
            self._check(made)
            before, after = (made[:0], made) if caller is None else parted(made)
            if after is not None:
                paths.append(Path(decided, after, ran_on, ending, settled, before))
        if caller is not None and not paths:
            raise UndecidedError(
                "never-reached", f"{self._routine.first[-1].name}, which runs first, does not come back"
            )
        undefined = [] if self._routine.partial else self._names.nobody_gave(_sources(paths))
        routine = with_extent(self._routine, ((insn.address, insn.next) for insn in ran.values()), paths)
        granted = dict.fromkeys([*self._granted(paths), *self._lifter.assumptions, *self._kernel.granted(ran)])
        granted |= dict.fromkeys([*off_ends, *placing.granted, *relied_on(paths)])
        if machine.kept_off_ends:
            granted[OFF_ENDS] = None
        if machine.kept_saved:
            granted[Assumption(Assumes.SAVED_KEPT)] = None
        return Trace(routine, tuple(paths), tuple(undefined), tuple(granted), self._kernel.stubs, tuple(self._needs()))

    def _needs(self) -> Iterator[Need]:
        """What a CPU must have for what was run."""
        for insn in self._instructions:
            # What a made-up caller runs lies nowhere.
            section = self._routine.image.section_at(insn.address)
            if section is not None:
                at = insn.address - section.address
                yield from needs(insn, section.data[at : at + insn.size])

    def _place(self, address: int) -> tuple[int, int]:
        """Base and offset of an address in the code."""
        section = self._lifter.bases.section_at(address)
        if section is None:
            return 0, 0
        return self._lifter.bases.of_section(section), address - section.address

    def _granted(self, paths: Iterable[Path]) -> Iterator[Assumption]:
        """What was taken for granted on the way, but for the code as it is."""
        guards = guards_by_place(self._routine.image.bits)
        for one in self._routine.first:
            yield Assumption(Assumes.RUN_FIRST, (one.name, self._routine.name))
        sources = {source for path in paths for decision in path.decisions for source in decision.sources}
        yield from (Assumption(kind) for source, kind in STAYS.items() if source in sources)
        forms = {insn.effect.form for insn in self._instructions}
        ran = {insn.mnemonic for insn in self._instructions}
        if Form.PUSH_FLAGS in forms and (Form.POP_FLAGS in forms or not ran.isdisjoint({"cli", "sti"})):
            yield Assumption(Assumes.SETS_INTERRUPTS)
        for name in self._names.held():
            yield Assumption(Assumes.STILL_INITIAL, (name,))
        for path in paths:
            for event in Events.of(path.events).shapes():
                if event.arena is not None and event.arena.kind is ArenaKind.SEGMENT and event.size == self._width:
                    guard = guards.get((event.arena.key, event.offset))
                    if guard is not None:
                        yield Assumption(Assumes.GUARD_STAYS, (guard,))
            asks = any(one.fact.relation is Relation.STATIC_KEY for one in path.decisions)
            if asks and any(event.kind is Kind.CALL for event in Events.of(path.events).shapes()):
                yield Assumption(Assumes.KEYS_STAY)
            if path.end in (NO_RETURN, STACK_CHECK):
                yield Assumption(Assumes.NO_RETURN, (path.events[-1].detail,))
            if path.end in _VM_ENTRIES:
                yield Assumption(Assumes.VM_ENTRY)

    def _check(self, events: Events) -> None:
        """Raises UndecidedError for a path that changed what the machine takes to stay as it is."""
        for event, last in events.ends():
            arena = event.arena
            if arena is None or event.kind not in STORES:
                continue
            what = ""
            if self._is_code(arena, event.offset, last):
                what = f"the routine writes to its own code, {arena.region.names[0]} at {event.offset:#x}"
            elif self._arenas.may_be_code(arena, event.offset, last):
                what = f"the routine may write to its own code: {arena.region}"
            if what:
                raise UndecidedError("writes-code", what, where=Place(offset=event.pc))

    def _is_code(self, arena: Arena, one: int, other: int) -> bool:
        """Whether something between two offsets is code."""
        if arena.kind is not ArenaKind.SECTION:
            return False
        section = self._lifter.bases.section_at(int(arena.key.removeprefix("section:"), 16))
        return section is not None and section.executable and max(one, other) >= 0 and min(one, other) < section.size

    def _undecided(
        self,
        cause: str,
        base: int,
        offset: int,
        value: _core.Value,
        regions: list[int],
        decided: list[_core.Value],
    ) -> UndecidedError:
        """What the machine stopped at, in words."""
        insn = self._lifter.instructions.get((base, offset))
        pointers = {name for region in regions if region for name in self._names.sources(self._value(region))}
        sources = self._names.sources(value) if value.term else (f"{value.constant:#x}",)
        # A string's end depends on each of its bytes, and a number for the last one settles nothing.
        many = Counter(symbol for one in decided for symbol in set(self._machine.symbols_in(one)))
        settles = [symbol for symbol in self._machine.symbols_in(value) if 2 * many[symbol] > len(decided)]
        in_memory = self._names.in_memory(settles)
        stop = Stop(cause, insn, sources, bool(value.term), self._names.follows_links(value), in_memory)
        where = Place(offset=self._address(base, offset))
        return undecided(stop, self._options, where, pointers, partial(may_be_base, self._routine))

    def _value(self, term: int) -> _core.Value:
        return self._machine.terms.value(term)

    def _address(self, base: int, offset: int) -> int:
        section = self._lifter.bases.section_of.get(base)
        return offset + (section.address if section is not None else 0)

    def _decision_once(self, told: tuple[int, int, _core.Value, bool, bool, bool, int, int]) -> Decision:
        base, offset, condition, *rest = told
        key = base, offset, condition.term, condition.constant, *rest
        if (one := self._decided.get(key)) is None:
            one = self._decided[key] = self._decision(*told)
        return one

    def _decision(
        self,
        base: int,
        offset: int,
        condition: _core.Value,
        holds: bool,
        taken: bool,
        inner: bool,
        carry_by: int,
        rest_by: int,
    ) -> Decision:
        insn = self._lifter.instructions[base, offset]
        # A jump out of the instruction is where a conditional move does not move.
        taken ^= insn.effect.form is Form.CONDITIONAL_MOVE
        asked = [carry_by if part == CARRY else rest_by for part in sorted(insn.effect.flags_read)]
        by = [self._instructions[number - 1] for number in dict.fromkeys(asked) if number]
        fact = self._conditions.fact(condition, holds, by[0] if len(by) == 1 else None)
        if fact is None and inner:
            fact = self._conditions.formula(condition, holds)
        sources = self._names.sources(condition)
        if fact is None:
            text = "; ".join([*([" and ".join(shown(one) for one in by)] if by else []), insn.mnemonic])
            fact = Fact(Relation.BRANCH, tuple(map(self._names.subject, sources)), taken, instruction=text)
        followed = not (
            self._names.made_of(condition, self._is_not_followed)
            or self._names.holds_what_is_there(condition)
            or self._orders_readings(condition)
        )
        decision = Decision(insn.address, sources, taken, fact, followed)
        feature = self._features.get(insn.address)
        return about_feature(decision, feature) if feature is not None else decision

    def _orders_readings(self, condition: _core.Value) -> bool:
        """Whether it asks which of two readings of the clock is greater, as they are: the later one is, if it does not
        wrap (SDM volume 3, section 18.17)."""
        kind, _, _, operands, _, _ = self._machine.described(condition)
        whole = all(one.constant == 0 and one.bits == 64 for one in operands)
        return kind == "below" and whole and all(self._names.made_of(one, _is_clock) for one in operands)

    def _is_not_followed(self, insn: Instruction, slot: int) -> bool:
        return not_followed(insn, temporary=self._lifter.slots.is_temporary(slot))

    def _events(self, addresses: list[int], mnemonics: list[str], kept: bytes, runs: list[tuple[int, int]]) -> Events:
        made = []
        for event in EVENT.iter_unpack(kept):
            if (one := self._made.get(event)) is None:
                one = self._made[event] = self._event(addresses, mnemonics, *event)
            made.append((one, event[-1]))
        folded, at = [], 0
        for count, period in runs:
            turn = made[at : at + period]
            folded.append((tuple(event for event, _ in turn), tuple(step for _, step in turn), count))
            at += period
        return Events.folded(folded)

    def _event(
        self,
        addresses: list[int],
        mnemonics: list[str],
        kind: int,
        size: int,
        number: int,
        region: int,
        _: int,
        at: int,
        _step: int,
    ) -> Event:
        what = KINDS[kind]
        if what in TOUCHES:
            arena, offset = self._arenas.place(region, at)
            return Event(what, addresses[number], mnemonics[number], arena, offset, size)
        detail = mnemonics[number]
        if what is Kind.CALL:
            to = self._machine.note(region)[0]
            detail = self._names.called(to) if to.bits else somewhere(detail, self._instructions[number].text)
        elif what is Kind.MSR_WRITE:
            msr, value = self._machine.note(region)
            known, low = (None if v.term else v.constant for v in (msr, value))
            write = MsrWrite(known, low, self._names.sources(value))
            return Event(what, addresses[number], str(write), msr=write)
        elif what is Kind.SYSTEM_WRITE:
            detail = self._lifter.instructions[self._machine.places[number]].text
        return Event(what, addresses[number], detail)


def _is_clock(insn: Instruction, _: int) -> bool:
    return insn.mnemonic in ("rdtsc", "rdtscp")


def _ending(end: int, mnemonics: list[str], events: Sequence[Event]) -> str:
    """How a path ends, as :class:`l1dflush.tracing.model.Path` says it."""
    if end == _core.Machine.END_UNTIL:
        return UNTIL
    if end == _core.Machine.END_NO_RETURN:
        return STACK_CHECK if events[-1].detail == STACK_CHECK else NO_RETURN
    return mnemonics[end - 1] if end else ""


def _sources(paths: Iterable[Path]) -> Iterator[str]:
    """What branches and addresses depend on."""
    for path in paths:
        for decision in path.decisions:
            yield from decision.sources
        for arena in dict.fromkeys(event.arena for event in Events.of(path.events).shapes()):
            if arena is None:
                continue
            yield from arena.sources
