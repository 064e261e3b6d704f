# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flush reads on a machine, from files that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1dflush.errors import InputError, NoPlanError
from l1dflush.host.this_cpu import this_cpu
from l1dflush.silicon.flush_plan import FlushPlan, Request, Variant, flush_plan

L1D = {"32K": (8, 64), "48K": (12, 64), "64K": (4, 256)}
SKYLAKE = ("GenuineIntel", 6, 94, "32K")
ICE_LAKE = ("GenuineIntel", 6, 126, "48K")
ZEN4 = ("AuthenticAMD", 25, 17, "32K")
ALDER_LAKE = ("GenuineIntel", 6, 151, "48K")


class Machine:
    """The files of a machine."""

    def __init__(self, folder: Path, vendor: str, family: int, model: int, size: str) -> None:
        ways, sets = L1D[size]
        self.caches = folder / "cache"
        index = self.caches / "index0"
        index.mkdir(parents=True)
        said = {
            "type": "Data", "level": "1", "size": size, "ways_of_associativity": ways, "coherency_line_size": 64,
            "number_of_sets": sets,
        }  # fmt: skip
        for name, value in said.items():
            (index / name).write_text(f"{value}\n")
        self.cpuinfo = folder / "cpuinfo"
        self.cpuinfo.write_text(f"vendor_id : {vendor}\ncpu family : {family}\nmodel : {model}\nmodel name : X\n")

    def plan(self, variant: str | None = None, **arguments: object) -> FlushPlan:
        return flush_plan(Request(variant, **arguments), self.caches, self.cpuinfo)  # type: ignore[arg-type]


@pytest.fixture
def skylake(tmp_path: Path) -> Machine:
    return Machine(tmp_path, *SKYLAKE)


@pytest.fixture
def zen4(tmp_path: Path) -> Machine:
    return Machine(tmp_path, *ZEN4)


def test_a_known_cpu_has_a_plan(skylake: Machine) -> None:
    plan = skylake.plan()
    assert (plan.variant, plan.routine, plan.size, plan.first_size) == (Variant.PLANNED, "planned", 52 << 10, 0)
    assert "Skylake" in plan.scope and "tree-PLRU (learned from silicon)" in plan.scope
    assert "this is enough from any+invalid" in plan.scope


def test_another_cpu_needs_more(tmp_path: Path) -> None:
    plan = Machine(tmp_path, *ICE_LAKE).plan()
    assert (plan.variant, plan.size) == (Variant.PLANNED, 84 << 10)


def test_of_a_hybrid_it_says_which_cores(tmp_path: Path) -> None:
    plan = Machine(tmp_path, *ALDER_LAKE).plan()
    assert plan.size == 84 << 10
    assert "its P cores only" in plan.scope


def test_an_unknown_policy_gets_the_seed_and_the_scope_says_so(zen4: Machine) -> None:
    plan = zen4.plan()
    assert (plan.variant, plan.routine, plan.size) == (Variant.LINUX_2018, "linux-2018", 64 << 10)
    assert "Nothing is proved" in plan.scope and "Zen 4" in plan.scope
    assert "enough" not in plan.scope


@pytest.mark.parametrize("variant", ["planned", "steady"])
def test_a_plan_for_an_unknown_policy_is_an_error(variant: str, zen4: Machine) -> None:
    with pytest.raises(NoPlanError, match=r"Zen 4.* is not known.*policy= names one"):
        zen4.plan(variant)


def test_a_policy_that_was_named(zen4: Machine) -> None:
    plan = zen4.plan(policy="tree-PLRU")
    assert (plan.variant, plan.size) == (Variant.PLANNED, 52 << 10)
    assert "tree-PLRU (given)" in plan.scope


def test_no_description_of_the_cache_at_all(zen4: Machine) -> None:
    nothing = zen4.caches / "nothing"
    plan = flush_plan(Request(), nothing, zen4.cpuinfo)
    assert plan.variant is Variant.LINUX_2018 and "does not describe" in plan.scope
    with pytest.raises(InputError, match="does not describe an L1 data cache"):
        flush_plan(Request(policy="LRU"), nothing, zen4.cpuinfo)
    with pytest.raises(NoPlanError):
        flush_plan(Request("planned"), nothing, zen4.cpuinfo)


@pytest.mark.parametrize(
    ("start", "size", "first"),
    [
        (None, 32, 52),
        ("steady", 32, 52),
        ("steady+invalidations", 52, 52),
        # Whatever the first state was: nothing has to come before.
        ("steady-from-any", 36, 0),
    ],
)
def test_a_steady_plan_begins_with_a_full_flush(start: str | None, size: int, first: int, skylake: Machine) -> None:
    plan = skylake.plan("steady", start=start)
    assert (plan.size >> 10, plan.first_size >> 10) == (size, first)
    assert ("nobody invalidates" in plan.scope) is not plan.conditions.start.invalidations


def test_touches_cost(skylake: Machine) -> None:
    plan = skylake.plan(touches=1)
    assert plan.size == 80 << 10
    assert "at most 1 accesses by others" in plan.scope


def test_a_size_that_was_given_is_read_and_judged(skylake: Machine, tmp_path: Path) -> None:
    assert "NOT enough: it takes 52 KiB" in skylake.plan(buffer_size=48 << 10).scope
    more = skylake.plan("linux-2018")
    assert "this is enough" in more.scope and "52 KiB would do" in more.scope
    assert skylake.plan("steady", buffer_size=36 << 10).size == 36 << 10
    other = tmp_path / "other"
    other.mkdir()
    unknown = Machine(other, *ZEN4).plan("planned", buffer_size=128 << 10)
    assert unknown.size == 128 << 10 and "Nothing is proved" in unknown.scope


def test_where_nothing_is_enough(skylake: Machine) -> None:
    with pytest.raises(NoPlanError, match="LIP at 8 ways"):
        skylake.plan(policy="LIP")
    seed = skylake.plan("linux-2018", policy="LIP")
    assert seed.size == 64 << 10 and "no number is known to be enough" in seed.scope


def test_a_set_index_beyond_the_page(tmp_path: Path) -> None:
    plan = Machine(tmp_path, "GenuineIntel", 6, 94, "64K").plan(policy="LRU")
    assert plan.size == 64 << 10
    assert "set index exceeds the page offset" in plan.scope


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"variant": "best"}, "there is no variant 'best'"),
        ({"variant": "seed"}, "'seed' is called 'linux-2018' now"),
        ({"buffer_size": 0}, "buffer_size: a buffer of 0 bytes"),
        ({"buffer_size": -4096}, "buffer_size: a buffer of -4096 bytes"),
        ({"buffer_size": 4097}, "buffer_size: a buffer of 4097 bytes"),
        ({"buffer_size": 1 << 40}, "buffer_size: a buffer of"),
        ({"touches": -1}, "touches: -1 touches"),
        ({"start": "steady"}, "needs the variant 'steady'"),
        ({"start": "warm"}, "unknown start 'warm'"),
        ({"variant": "steady", "start": "any"}, "needs a steady start, not any"),
        ({"policy": "nope"}, "unknown replacement policy"),
        ({"policy": "LRU3PLRU4"}, "LRU3PLRU4 needs 12 ways"),
        ({"geometry": "32K"}, "is not a geometry"),
        ({"geometry": "32K,8,32", "policy": "LRU"}, "geometry: the flush reads every 64 bytes"),
    ],
)
def test_what_makes_no_sense(arguments: dict[str, object], told: str, skylake: Machine) -> None:
    with pytest.raises(InputError, match=told):
        skylake.plan(**arguments)  # type: ignore[arg-type]


def test_this_cpu(skylake: Machine, tmp_path: Path) -> None:
    found = this_cpu((), skylake.caches, skylake.cpuinfo)
    assert (found.policy, found.certainty, found.geometry.ways) == ("tree-PLRU", "learned-from-silicon", 8)
    assert "Skylake" in found.title
    nobody = this_cpu((), skylake.caches, tmp_path / "nothing")
    assert (nobody.policy, nobody.certainty, nobody.title, nobody.cpus) == (None, "", "", ())
