# SPDX-License-Identifier: GPL-2.0-or-later
"""QLRU_Hxy_Mz_Ru_Uw[_UMO]: a 2-bit age per way, 3 marks a candidate for replacement; and the RRIP policies.

==========  =========================================================================================
``Hxy``     a hit turns age 3 into x (0 to 2), 2 into y (0 or 1), 1 and 0 into 0
``Mz``      a miss inserts its line with age z (0 to 3)
``R0``      in a full set the lowest way with age 3 is replaced, else the lowest invalid way is filled
``R1``      the same, and way 0 is replaced if no way has age 3
``R2``      as R0, but the highest invalid way is filled
``U0``      after an access, 3 - max(all ages) is added to all ages
``U1``      3 - max(ages of the others) is added to all ages but that of the way accessed
``U2``      if no age is 3, 1 is added to all
``U3``      if no age is 3, 1 is added to all but that of the way accessed
``UMO``     update on miss only, before the victim is chosen; no way counts as accessed then
==========  =========================================================================================

State: the ages, all 3 in an empty set. An invalid way keeps its age.

R0 and R2 do not go with U2 and U3: those need not make any age 3. Nor do they go with U1 where there is one way only:
that way always counts as accessed, and after a hit its age is below 3 for ever.

Sources: Abel, Reineke, "nanoBench" (2020) and uops.info for the names; Jaleel, Theobald, Steely, Emer, "High
performance cache replacement using re-reference interval prediction (RRIP)" (2010) for SRRIP and BRRIP.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from l1dflush.cache.policy.model import Choice, Deterministic, OneHit, Picture, State
from l1dflush.errors import InputError

_NAME = re.compile(r"QLRU_H([0-2])([01])_M([0-3])_R([0-2])_U([0-3])(_UMO)?", re.IGNORECASE)
_GRAMMAR = "QLRU_Hxy_Mz_Ru_Uw or QLRU_Hxy_Mz_Ru_Uw_UMO with x 0-2, y 0-1, z 0-3, u 0-2, w 0-3"

SRRIP = {"SRRIP-HP": "QLRU_H00_M2_R0_U0_UMO", "SRRIP-FP": "QLRU_H21_M2_R0_U0_UMO"}


@dataclass(frozen=True, slots=True)
class Rules:
    """The digits of a name."""

    hit3: int
    hit2: int
    insert: int
    replace: int
    update: int
    miss_only: bool

    @property
    def name(self) -> str:
        """The canonical name."""
        end = "_UMO" if self.miss_only else ""
        return f"QLRU_H{self.hit3}{self.hit2}_M{self.insert}_R{self.replace}_U{self.update}{end}"


def parse_name(name: str) -> Rules:
    """The rules that a QLRU name (any case) stands for.

    Raises :class:`~l1dflush.errors.InputError` for a name that does not follow the grammar and for rules that need
    not find a victim.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(f"'{name[:40]}' is not a QLRU policy", hint=_GRAMMAR)
    x, y, z, u, w = (int(digit) for digit in found.groups()[:5])
    rules = Rules(x, y, z, u, w, miss_only=found[6] is not None)
    if rules.replace != 1 and rules.update >= 2:
        raise InputError(
            f"{rules.name} need not find a victim: R{rules.replace} wants an age of 3 and U{rules.update} need not "
            "make one",
            hint="R1 goes with every update, R0 and R2 go with U0 and U1",
        )
    return rules


class Qlru(Deterministic):
    """A QLRU policy; SRRIP-HP and SRRIP-FP are two of them."""

    def __init__(self, rules: Rules, ways: int, name: str = "") -> None:
        self.rules = rules
        self.ways = ways
        self.name = name or rules.name
        self.rule = f"{rules.name}: " * bool(name) + _rule(rules)
        if ways == 1 and rules.replace != 1 and rules.update == 1 and not rules.miss_only:
            raise InputError(
                f"{self.name} need not find a victim in a set of 1 way: U1 does not age the only way after a hit",
                hint="R1, U0 or more ways",
            )

    def empty(self) -> State:
        return (3,) * self.ways

    def hit(self, state: State, way: int) -> State:
        ages = list(state)
        ages[way] = {3: self.rules.hit3, 2: self.rules.hit2}.get(ages[way], 0)
        return tuple(ages if self.rules.miss_only else self._updated(ages, way))

    def victim(self, state: State) -> int:
        ages = self._updated(list(state), None) if self.rules.miss_only else list(state)
        if 3 not in ages and self.rules.replace == 1:
            return 0
        return ages.index(3)

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        ages = list(state)
        if self.rules.miss_only:
            ages = self._updated(ages, None)
        ages[way] = self.rules.insert
        return tuple(ages if self.rules.miss_only else self._updated(ages, way))

    def invalid_way(self, invalid: Collection[int]) -> int:
        return max(invalid) if self.rules.replace == 2 else min(invalid)

    def picture(self, state: State) -> Picture:
        return Picture((("age", tuple(map(str, state))),))

    def render(self, state: State) -> str:
        return "ages " + " ".join(map(str, state))

    def _updated(self, ages: list[int], accessed: int | None) -> list[int]:
        everybody = self.rules.update in (0, 2)
        aging = [way for way in range(self.ways) if everybody or way != accessed]
        add = 3 - max((ages[way] for way in aging), default=3)  # until one is 3
        if self.rules.update in (2, 3):
            add = 0 if 3 in ages else 1
        return [age + add if way in aging else age for way, age in enumerate(ages)]


class Brrip(OneHit):
    """SRRIP-HP, but a line comes in with age 3, and only once in 32 misses with 2."""

    name: ClassVar[str] = "BRRIP"
    rule: ClassVar[str] = "as SRRIP-HP, but inserts with age 3; one miss in 32 (by chance) with 2"

    def __init__(self, ways: int) -> None:
        self.ways = ways
        self._rare = Qlru(Rules(0, 0, 2, 0, 0, True), ways)
        self._common = Qlru(Rules(0, 0, 3, 0, 0, True), ways)

    def empty(self) -> State:
        return self._common.empty()

    def hit(self, state: State, way: int) -> State:
        return self._common.hit(state, way)

    def misses(self, state: State) -> tuple[Choice, ...]:
        return self.fills(state, self._common.victim(state))

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        return (
            Choice(way, self._rare.fill(state, way, True), Fraction(1, 32)),
            Choice(way, self._common.fill(state, way, True), Fraction(31, 32)),
        )

    def picture(self, state: State) -> Picture:
        return Picture((("age", tuple(map(str, state))),))

    def render(self, state: State) -> str:
        return self._common.render(state)


def _rule(rules: Rules) -> str:
    """The name in words."""
    update = {
        0: "all age until one is 3",
        1: "the others age until one is 3",
        2: "all age by 1 if none is 3",
        3: "the others age by 1 if none is 3",
    }
    # Before a miss no way counts as accessed: all of them are the others.
    updated = update[rules.update - rules.update % 2 if rules.miss_only else rules.update]
    victim = {0: "lowest 3 goes", 1: "lowest 3 goes, else way 0", 2: "lowest 3 goes, highest invalid way first"}
    when = "before a miss" if rules.miss_only else "then"
    return f"ages: hit 3>{rules.hit3} 2>{rules.hit2}, new {rules.insert}, {when} {updated}; {victim[rules.replace]}"
