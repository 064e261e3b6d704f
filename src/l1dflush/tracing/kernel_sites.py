# SPDX-License-Identifier: GPL-2.0-or-later
"""The places that a kernel patches, on one path: which of them were run, and what that means.

Code runs as it was shipped. A kernel changes three kinds of places in a way that matters here: jump labels are
followed both ways, the call of the function tracer is nothing while nobody traces, and the return thunk is a
return. What alternatives would put in place of an instruction is not looked at, and the report says so, except
where the choice itself is part of the code: a CPU feature test is shipped as a jump to a test of the feature's
bit, outside the function.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from l1dflush.arguments import STATIC_KEY
from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import InputError, UndecidedError, some_of
from l1dflush.place import Place
from l1dflush.routine.model import Image, Symbol
from l1dflush.tracing.decode import REGISTERS, Instruction
from l1dflush.tracing.effects import Form
from l1dflush.tracing.facts import Fact, Relation, feature_name
from l1dflush.tracing.model import STACK_CHECK, Decision

# The names that compilers give them (GCC's -mfentry, -pg and -mfunction-return=thunk-extern), for code that has
# no table of such places.
TRACERS = frozenset({"__fentry__", "mcount"})
RETURN_THUNK = "__x86_return_thunk"
# GCC's -mindirect-branch=thunk-extern, the kernel's two of them with call depth tracking, and clang's -mretpoline.
_INDIRECT_THUNK = re.compile(r"(?:__x86_indirect_(?:call_|jump_)?thunk|__llvm_retpoline)_(\w+)")
# "Always": the second choice of a feature test (X86_FEATURE_ALWAYS).
ALWAYS = 3 * 32 + 21
# Where a kernel puts the jumps that it changes by static_call_update().
STATIC_CALLS = ".static_call.text"
# What a kernel replaces: how long it is, is a byte.
_LONGEST_REPLACED = 256
# Keys that an error lists.
MOST_LISTED = 12
# What is put between functions: int3, nop and its longer forms.
_PADDING = (b"\xcc", b"\x90", b"\x66\x90", b"\x0f\x1f", b"\x66\x0f", b"\x66\x66", b"\x66\x2e", b"\x8d", b"\x00")


def _keys_like(name: str, keys: Collection[str]) -> str:
    """Which keys may be meant."""
    if near := difflib.get_close_matches(name, keys, n=3):
        return f"like {', '.join(near)}"
    return f"its keys: {some_of(sorted(keys), MOST_LISTED)}"


_NO_KEYS = (
    "it has no jump labels: in C a key is a variable, --bind NAME=1 says that it is on, and --define NAME=VALUE what a"
    " name is for the compiler"
)


class KernelSites:
    """The patch sites of an image, and which of them a path came by."""

    def __init__(self, image: Image, static_keys: Mapping[str, bool]) -> None:
        self.sites = image.patch_sites
        self.static_keys = static_keys
        self._image = image
        functions = [symbol for symbol in image.symbols.values() if symbol.function and symbol.defined]
        self._starts = {symbol.address for symbol in functions if symbol.size}
        self._ends = {symbol.address + symbol.size for symbol in functions if symbol.size}
        # Names of outside symbols that are called but stand for nothing, with what they stand for.
        self.stubs: dict[str, str] = {}
        if self.sites.damage:
            raise UndecidedError("damaged-table", self.sites.damage)
        known = {site.key for site in self.sites.jumps.values()}
        for name in static_keys:
            if name not in known:
                hint = _keys_like(name, known) if known else _NO_KEYS
                raise InputError(f"there is no static key '{name}'", where=str(STATIC_KEY), hint=hint)

    def is_return(self, address: int, symbol: Symbol) -> bool:
        """Whether a jump out of the image at ``address`` is a return."""
        if address in self.sites.returns or symbol.name == RETURN_THUNK:
            self.stubs[symbol.name] = "a return"
            return True
        return False

    def goes_through(self, insn: Instruction, name: str) -> str | None:
        """The register that holds where a thunk for indirect branches goes, if ``name`` is that of one, which ``insn``
        calls or jumps to."""
        found = _INDIRECT_THUNK.fullmatch(name)
        if found is None or insn.effect.form not in (Form.CALL, Form.JUMP) or found[1] not in REGISTERS:
            return None
        self.stubs[name] = f"an indirect {'call' if insn.effect.form is Form.CALL else 'jump'}"
        return REGISTERS[found[1]][0]

    def is_tracing(self, address: int, symbol: Symbol) -> bool:
        """Whether a call out of the image at ``address`` is the function tracer's."""
        if address in self.sites.tracing or symbol.name in TRACERS:
            self.stubs[symbol.name] = "nothing while nobody traces"
            return True
        return False

    def comes_back(self, insn: Instruction, name: str) -> bool:
        """Whether a call of what is not here may come back: behind one that cannot a compiler puts no code, so there
        the function ends, and padding or the next one follows. ``name`` is of what is called, if it has one."""
        if name == STACK_CHECK:
            return False
        if insn.next not in self._ends:
            return True
        section = self._image.section_at(insn.next)
        behind = section.data[insn.next - section.address :][:2] if section is not None else b""
        return bool(behind) and insn.next not in self._starts and not behind.startswith(_PADDING)

    def goes_on(self, insn: Instruction) -> bool:
        """Whether a kernel goes on behind an instruction that traps, as its table says. Raises UndecidedError where
        that does not say it."""
        traps = self.sites.traps
        if traps and insn.address not in traps:
            what = f"whether the kernel goes on behind `{insn.text}`, which is in no table"
            raise UndecidedError("trap-unknown", what, where=Place(offset=insn.address))
        return traps.get(insn.address, False)

    def granted(self, ran: Mapping[int, Instruction]) -> list[Assumption]:
        """What is taken for granted of the code that was run, by address."""
        tests = {jump for jump, _, _ in self._tests(ran)}
        features = sorted({f for at in self._replaced(ran) - tests for f in self.sites.alternatives[at]})
        found: list[Assumption | None] = []
        for insn in ran.values():
            target = insn.operands[0] if insn.operands else None
            if insn.effect.form in (Form.CALL, Form.JUMP, Form.BRANCH) and isinstance(target, int) and target in ran:
                found.append(self.goes_by(target))
        if features:
            names = tuple(feature_name(feature).removeprefix("CPU feature ") for feature in features)
            found.append(Assumption(Assumes.AS_SHIPPED, names))
        return [one for one in dict.fromkeys(found) if one is not None]

    def _replaced(self, ran: Mapping[int, Instruction]) -> set[int]:
        """The places with alternatives of which something was run; a jump may go into the middle of one."""
        starts = sorted(self.sites.alternatives)
        found: set[int] = set()
        for insn in ran.values():
            first = bisect_left(starts, insn.address - _LONGEST_REPLACED + 1)
            for at in starts[first : bisect_left(starts, insn.next)]:
                if at == insn.address or insn.address < at + self.sites.replaced.get(at, 0):
                    found.add(at)
        return found

    def feature_tests(self, ran: Mapping[int, Instruction]) -> dict[int, int]:
        """The branches that ask for a CPU feature, by address, each with the feature."""
        found = {}
        for _, start, feature in self._tests(ran):
            insn = ran.get(start)
            while insn is not None and insn.effect.form is not Form.BRANCH:
                insn = ran.get(insn.next)
            if insn is not None:
                found[insn.address] = feature
        return found

    def _tests(self, ran: Mapping[int, Instruction]) -> Iterator[tuple[int, int, int]]:
        """Where code that was run jumps to a test of a CPU feature: from there, to there, and the feature. One
        replacement is for every CPU and one for those with the feature: until then the code asks by itself, in another
        section."""
        for at, every in self.sites.alternatives.items():
            features = [feature for feature in every if feature != ALWAYS]
            insn = ran.get(at)
            if insn is None or ALWAYS not in every or len(features) != 1 or insn.effect.form is not Form.JUMP:
                continue
            target = insn.operands[0]
            if isinstance(target, int) and self._section_of(target) != self._section_of(at):
                yield at, target, features[0]

    def goes_by(self, target: int) -> Assumption | None:
        """What is taken for granted where a jump or a call goes to ``target``; None if nothing is."""
        section = self._image.section_at(target)
        if section is None or section.name != STATIC_CALLS:
            return None
        names = {symbol.address: symbol.name for symbol in self._image.symbols.values() if symbol.function}
        return Assumption(Assumes.STATIC_CALL, (names.get(target, f"{section.name}+{target - section.address:#x}"),))

    def _section_of(self, address: int) -> int:
        section = self._image.section_at(address)
        return section.address if section is not None else -1


def about_feature(decision: Decision, feature: int) -> Decision:
    """A decision that asks for a CPU feature: of a bit it says whether that is set, or it is not zero."""
    fact = decision.fact
    if fact.relation is Relation.BIT or (fact.relation is Relation.IS and not fact.number):
        present = fact.holds == (fact.relation is Relation.BIT)
        return replace(decision, fact=Fact(Relation.FEATURE, (), present, feature))
    return replace(decision, fact=replace(fact, feature=feature))
