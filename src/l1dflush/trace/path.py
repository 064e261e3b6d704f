"""One way through a routine: instruction by instruction, and the forks.

Jumps, calls and the stack are :mod:`l1dflush.trace.calls`, data instructions :mod:`l1dflush.trace.semantics`, string
instructions :mod:`l1dflush.trace.strings`, those that are stepped over :mod:`l1dflush.trace.skipped`; loops that only
repeat themselves are handed to :mod:`l1dflush.trace.loops`. A branch on an unknown value asks the script that the
explorer wrote; a path that runs past its script takes the branch as not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import JumpSite, Routine
from l1dflush.trace.bindings import bind_hint
from l1dflush.trace.budget import Budget
from l1dflush.trace.calls import NOWHERE, Calls
from l1dflush.trace.conditions import condition_holds, unknown_flags
from l1dflush.trace.decode import Decoder, Instruction, Register
from l1dflush.trace.effects import OPPOSITE, SAME, Form
from l1dflush.trace.facts import Fact, Relation
from l1dflush.trace.kernel_sites import KernelSites
from l1dflush.trace.loops import Loops
from l1dflush.trace.model import NO_RETURN, STACK_CHECK, UNTIL, Decision, Path
from l1dflush.trace.options import TraceOptions
from l1dflush.trace.semantics import Dataflow, is_plain
from l1dflush.trace.skipped import step_over
from l1dflush.trace.state import (
    RETURN_ADDRESS,
    FlagValue,
    State,
    lost_value,
)
from l1dflush.trace.strings import element_count, run_string
from l1dflush.trace.values import Unknown, identity


class PathRun:
    """Runs one path. ``script`` holds the outcomes of its first decisions, ``irregular`` the loop heads that
    must be run instruction by instruction, ``deadline`` is a time.monotonic() value."""

    def __init__(
        self,
        routine: Routine,
        options: TraceOptions,
        decoder: Decoder,
        script: tuple[bool, ...],
        irregular: set[int],
        deadline: float,
    ) -> None:
        self.state = State(routine, options)
        self.decisions: list[Decision] = []
        self.outcomes: list[bool] = []
        self._routine = routine
        self._options = options
        self._decoder = decoder
        self._script = script
        self._decided: dict[Hashable, bool] = {}
        self._forks_at: Counter[int] = Counter()
        self._budget = Budget(options.max_instructions, options.max_seconds, deadline)
        self._dataflow = Dataflow(self.state)
        self._instructions: dict[int, Instruction] = {}
        self._loops = Loops(self.state, irregular, self._budget)
        self._kernel = KernelSites(routine.image, options.static_keys)
        self._calls = Calls(self.state, routine, self._kernel)
        self.stubs, self.as_shipped = self._kernel.stubs, self._kernel.as_shipped

    @property
    def ran(self) -> Iterator[tuple[int, int]]:
        """The instructions that were run, address to the next, in the order in which they were come to."""
        return ((insn.address, insn.next) for insn in self._instructions.values())

    def run(self) -> Path:
        """Runs to the return. Raises UndecidedError for what cannot be followed."""
        pc, until = self._routine.entry, self._routine.until
        self._budget.check_clock(pc)
        end = ""
        while pc != RETURN_ADDRESS:
            if pc == NOWHERE:
                end = STACK_CHECK if self.state.events[-1].detail == STACK_CHECK else NO_RETURN
                break
            if pc in until and self._budget.spent:
                end = UNTIL
                break
            insn = self._fetch(pc)
            if insn.effect.form is Form.END or self._traps(insn):
                self._calls.check_end(insn)
                end = insn.mnemonic
                break
            self._budget.spend(1, pc)
            self._loops.before(insn)
            pc = self._execute(insn)
            self._loops.after(insn, pc)
            if pc != insn.next:
                if pc == insn.address and insn.effect.form is Form.JUMP:
                    raise UndecidedError("endless-loop", f"`{insn.text}` jumps to itself", where=f"{pc:#x}")
                pc = self._loops.run_ahead(pc)
            self._budget.check_accesses(len(self.state.events), pc)
        return Path(tuple(self.decisions), tuple(self.state.events), self._budget.spent, end)

    def _traps(self, insn: Instruction) -> bool:
        """Whether an instruction is an exception from which nobody comes back."""
        if insn.effect.form is not Form.TRAP:
            return False
        traps = self._kernel.sites.traps
        if traps and insn.address not in traps:
            what = f"whether the kernel goes on behind `{insn.text}`, which is in no table"
            raise UndecidedError("trap-unknown", what, where=f"{insn.address:#x}")
        return not traps.get(insn.address, False)

    def _fetch(self, pc: int) -> Instruction:
        insn = self._instructions.get(pc)
        if insn is not None:
            return insn
        section = self.state.memory.section_at(pc)
        if section is None or not section.executable:
            raise UndecidedError("jump-into-nowhere", "the routine goes on where there is no code", where=f"{pc:#x}")
        start = pc - section.address
        code = section.data[start : start + 15]
        if not code:
            raise UndecidedError(
                "jump-into-nowhere", f"the routine runs off the end of {section.name}", where=f"{pc:#x}"
            )
        insn = self._decoder.decode(code, pc)
        for bad in self._routine.image.bad_relocations:
            if bad.address < insn.next and pc < bad.address + bad.size:
                raise UndecidedError("relocation", bad.reason, where=f"{pc:#x}")
        self._check_relocated(insn)
        self._instructions[pc] = insn
        return insn

    def _check_relocated(self, insn: Instruction) -> None:
        """Raises UndecidedError if a relocation changes more of an instruction than a number in it: then what it does
        depends on where things were put, and the file is damaged or the routine goes on where it should not."""
        relocated = self._routine.image.relocated
        for at in range(insn.address - 7, insn.next):
            size = relocated.get(at, 0)
            start = at - insn.address
            if start + size > 0 and size and not any(a == start and start + size <= b for a, b in insn.numbers):
                what = f"`{insn.text}` is code that a relocation wrote"
                raise UndecidedError("relocation", what, where=f"{insn.address:#x}")

    def _execute(self, insn: Instruction) -> int:
        """Runs one instruction; returns the address of the next."""
        form = insn.effect.form
        site = self._kernel.sites.jumps.get(insn.address)
        if site is not None:
            return site.target if self._static_key(insn, site) != site.inverted else insn.next
        if insn.address in self._kernel.sites.alternatives:
            self._kernel.comes_by(insn.address)
        if insn.mnemonic in ("cld", "std"):
            self.state.direction_lost = False
        if is_plain(insn.effect):
            if insn.repeat:
                raise UndecidedError(
                    "unclassified-instruction", f"the instruction `{insn.text}`", where=f"{insn.address:#x}"
                )
            self._dataflow.run(insn)
            return insn.next
        match form:
            case Form.BRANCH:
                return self._branch(insn)
            case Form.JUMP:
                return self._calls.jump(insn)
            case Form.CALL:
                return self._calls.call(insn)
            case Form.RETURN:
                return self._calls.come_back(insn)
            case Form.PUSH | Form.POP | Form.LEAVE:
                self._calls.stack(insn)
            case Form.CONDITIONAL_MOVE:
                self._conditional_move(insn)
            case Form.STRING:
                count = element_count(self.state, insn)
                self._budget.spend(max(count - 1, 0), insn.address)
                self._budget.check_accesses(len(self.state.events) + count, insn.address)
                run_string(self.state, insn, count, self._budget)
            case Form.PUSH_FLAGS | Form.POP_FLAGS:
                self._calls.flags(insn)
            case _:
                step_over(self.state, insn, self._budget.spent)
        return insn.next

    # --- forks -----------------------------------------------------------------------------------------

    def _decide(self, insn: Instruction, condition: str, value: FlagValue) -> bool:
        """Whether ``condition`` holds for unknown flags: as decided before, as scripted, or not at first."""
        self.state.check_used(value.sources)
        plain = SAME.get(condition, condition)
        negated = plain in OPPOSITE
        key = (value.key, OPPOSITE.get(plain, plain))
        holds = self._decided.get(key)
        if holds is None:
            index = len(self.outcomes)
            taken = self._script[index] if index < len(self._script) else False
            self.outcomes.append(taken)
            holds = taken != negated
            self._decided[key] = holds
            meaning = ""
            if OPPOSITE.get(plain, plain) == "e":
                meaning = value.zero if holds else value.nonzero
            shown = f"{value.by}; {insn.mnemonic}" if value.by else insn.mnemonic
            outcome = f"`{shown}` {'taken' if taken else 'not taken'}"
            meaning = self._kernel.with_feature(meaning, outcome, insn.address)
            fact = Fact(Relation.SAID, (meaning,), True) if meaning else None
            self.decisions.append(Decision(insn.address, shown, value.sources, taken, fact))
            self._forks_at[insn.address] += 1
            if self._forks_at[insn.address] > self._options.max_paths:
                raise too_many_paths(self._options.max_paths, value.sources, insn.address, self.state.pointers)
        return holds != negated

    def _static_key(self, insn: Instruction, site: JumpSite) -> bool:
        """Whether the key of a jump label is on: as the user said, or as it is decided."""
        on = self._options.static_keys.get(site.key)
        if on is None:
            key = identity(("static key", site.key_address))
            off, turned_on = (f"static key `{site.key}` is {state}" for state in ("off", "on"))
            return not self._decide(insn, "e", FlagValue(key, (site.key,), off, turned_on))
        return on

    def _branch(self, insn: Instruction) -> int:
        target = insn.operands[0]
        assert isinstance(target, int)
        condition = insn.mnemonic[1:]
        unknown = unknown_flags(self.state, insn.effect.flags_read)
        if "rcx" in insn.effect.reads and (count := self.state.registers["rcx"]) is not None:
            if count.lost:
                raise lost_value(insn)
            condition = "e"
            key = identity((insn.mnemonic, self.state.content("rcx")))
            unknown = FlagValue(key, count.sources, *_count_means(self.state, count))
        if unknown is None and not insn.effect.reads and self.state.memory.external_at(target) is not None:
            # There the emulator has nothing to run.
            taken = condition_holds(condition, self.state.machine.flags())
            return self._calls.gone_to(insn, target) if taken else insn.next
        if unknown is None:
            went = self.state.machine.step(insn.address)[0]
            if went not in (target, insn.next):
                raise UndecidedError(
                    "emulator-disagrees", f"`{insn.text}` went to {went:#x}", where=f"{insn.address:#x}"
                )
            return self._calls.gone_to(insn, went)
        if insn.mnemonic == "loop":
            raise UndecidedError(
                "loop-count-unknown",
                "`loop` with an unknown count",
                where=f"{insn.address:#x}",
                hint=bind_hint(unknown.sources),
            )
        return self._calls.gone_to(insn, target) if self._decide(insn, condition, unknown) else insn.next

    def _conditional_move(self, insn: Instruction) -> None:
        """A conditional move between unknown flags is a fork like a branch; the memory operand is read anyway."""
        state = self.state
        accesses = state.accesses(insn)
        for access in accesses:
            state.emit(insn, access)
        destination, source = insn.operands
        assert isinstance(destination, Register)
        unknown = unknown_flags(state, insn.effect.flags_read)
        moves = (
            self._decide(insn, insn.mnemonic[4:], unknown)
            if unknown
            else condition_holds(insn.mnemonic[4:], state.machine.flags())
        )
        # How far the value was moved on: a narrow one is not, whatever memory holds in its place.
        moved_on = not accesses or accesses[0].size == state.width
        value = before = state.registers[destination.full]
        bits, whole = state.machine.read(destination.full), state.content(destination.full)
        if moves:
            value = state.value(insn, source, accesses[0] if accesses else None)
            if accesses:
                bits = int.from_bytes(state.machine.peek(accesses[0].address, accesses[0].size), "little")
            else:
                assert isinstance(source, Register)
                bits = state.machine.read(source.full)
        if value is not None and value.lost:
            raise lost_value(insn)
        if destination.size == 2:
            # The rest of the register stays.
            if not moves:
                return
            if value is not None or before is not None:
                new = bits & 0xFFFF if value is None else (value.uid, bits - value.marker if moved_on else 0)
                origin: Hashable = ("narrow", new, whole)
                state.set_unknown(destination.full, state.fresh(origin, [value, before]))
                return
        if destination.size == state.width:
            state.registers[destination.full] = value
            state.machine.write(destination.full, bits)
        elif value is not None:
            origin = ("narrow", value.uid, bits - value.marker if moved_on or not moves else 0, destination.size)
            state.set_unknown(destination.full, state.fresh(origin, [value]))
        else:
            state.registers[destination.full] = None
            keep = state.machine.read(destination.full) & ~0xFFFF if destination.size == 2 else 0
            state.machine.write(destination.full, keep | bits & ((1 << 8 * destination.size) - 1))


def _count_means(state: State, count: Unknown) -> tuple[str, str]:
    """What it means that a count in rcx is zero, and that it is not."""
    if state.machine.read("rcx") != count.marker:
        return "", ""
    what = " and ".join(f"`{name}`" for name in count.sources)
    return f"{what} is zero", f"{what} is not zero"


def too_many_paths(limit: int, sources: tuple[str, ...], pc: int, pointers: set[str]) -> UndecidedError:
    """The error of a routine that forks too often: a loop whose end depends on something unknown, mostly."""
    missing = [name for name in sources if name not in pointers]
    return UndecidedError(
        "too-many-paths",
        f"more than {limit} paths; the last fork depends on {' and '.join(sources)}",
        where=f"{pc:#x}",
        hint=bind_hint(missing),
    )
