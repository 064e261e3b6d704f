"""The compiled policies, their plain twins, and what was learned from real caches, against each other."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from l1dflush import _core
from l1dflush.cache.policies import State, all_states, canonical_name, get_policy, known_policies
from l1dflush.errors import InputError

LEARNED = Path(__file__).parents[1] / "data" / "learned-policies"

EVERY_POLICY = [(name, ways) for ways in range(1, 17) for name in known_policies(ways)]
PERMUTING = [(name, ways) for name, ways in EVERY_POLICY if name != "bit-PLRU"]


def test_known_policies_are_the_ones_defined_at_that_many_ways() -> None:
    assert known_policies(8) == ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "LRU2PLRU4")
    assert known_policies(12) == ("LRU", "FIFO", "bit-PLRU", "LRU3PLRU4")
    assert known_policies(3) == ("LRU", "FIFO", "bit-PLRU")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("plru", "tree-PLRU"),
        ("MRU", "bit-PLRU"),
        ("lru", "LRU"),
        ("Tree-plru", "tree-PLRU"),
        ("lru3plru4", "LRU3PLRU4"),
    ],
)
def test_names_are_found_in_any_case_and_by_alias(written: str, canonical: str) -> None:
    assert canonical_name(written) == canonical


@pytest.mark.parametrize(
    ("name", "ways", "message"),
    [
        ("nonesuch", 8, "unknown replacement policy 'nonesuch' (known: LRU, FIFO"),
        ("tree-PLRU", 12, "tree-PLRU needs a power of two of ways, not 12"),
        ("LRU3PLRU4", 8, "LRU3PLRU4 needs 12 ways, not 8"),
        ("LRU5PLRU4", 20, "unknown replacement policy"),
        ("LRU", 17, "17 ways are not supported (1 to 16)"),
        ("LRU", 0, "0 ways are not supported"),
    ],
)
def test_what_does_not_exist_is_said_in_one_line(name: str, ways: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        get_policy(name, ways)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_states_are_rendered_for_a_person() -> None:
    assert get_policy("tree-PLRU", 8).render((0, 1, 0, 1, 1, 0, 1)) == "tree bits 0 10 1101"
    assert get_policy("LRU", 4).render((3, 0, 1, 2)) == "newest to oldest 3 0 1 2"
    assert get_policy("FIFO", 4).render((2,)) == "next 2"
    assert get_policy("bit-PLRU", 4).render((1, 0, 1, 0)) == "bits 1010"
    assert get_policy("LRU3PLRU4", 12).render((2, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1)) == (
        "groups newest to oldest 2 0 1, tree bits 100 010 001"
    )
    assert get_policy("tree-PLRU", 1).render(()) == "no bits"


@pytest.mark.parametrize(("name", "ways"), EVERY_POLICY)
def test_compiled_policy_and_twin_agree_on_random_sequences(name: str, ways: int) -> None:
    # Any way may be filled, not only the victim: that is what happens to ways that a flush left invalid.
    twin = get_policy(name, ways)
    choose = random.Random(f"{name} {ways}")
    state = twin.empty()
    assert tuple(_core.policy_empty(name, ways)) == state
    for way in range(ways):
        assert tuple(_core.policy_fill(name, ways, state, way)) == twin.fill(state, way, True)
        state = twin.fill(state, way, True)
    for _ in range(300):
        assert _core.policy_victim(name, ways, state) == twin.victim(state)
        way = choose.choice([choose.randrange(ways), twin.victim(state)])
        if choose.random() < 0.5:
            after = twin.hit(state, way)
            assert tuple(_core.policy_hit(name, ways, state, way)) == after
        else:
            after = twin.fill(state, way, way != twin.victim(state))
            assert tuple(_core.policy_fill(name, ways, state, way)) == after
        state = after


SMALL = [(n, w) for n, w in EVERY_POLICY if w <= 6 or (w <= 8 and n != "LRU") or n == "LRU3PLRU4"]


@pytest.mark.parametrize(("name", "ways"), SMALL)
def test_start_states_are_the_same_on_both_sides(name: str, ways: int) -> None:
    compiled = [tuple(state) for state in _core.policy_start_states(name, ways)]
    assert sorted(compiled) == list(all_states(get_policy(name, ways)))


def test_numbers_of_start_states() -> None:
    counts = {
        ("LRU", 4): 24,
        ("FIFO", 8): 8,
        ("tree-PLRU", 8): 128,
        ("bit-PLRU", 8): 254,
        ("bit-PLRU", 1): 1,
        ("bit-PLRU", 2): 2,
        ("LRU3PLRU4", 12): 3072,
    }
    assert {key: len(_core.policy_start_states(*key)) for key in counts} == counts


@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if n != "bit-PLRU"])
def test_positions_are_all_that_matters(name: str, ways: int) -> None:
    """What relative.hpp relies on: hit, fill and victim move positions in the same way in every state."""

    def positions(state: list[int]) -> list[int]:
        return [_core.policy_position(name, ways, state, way) for way in range(ways)]

    moves: dict[tuple[str, int], list[int]] = {}
    victims = set()
    for state in _core.policy_start_states(name, ways):
        before = positions(state)
        assert sorted(before) == list(range(ways))
        victims.add(before[_core.policy_victim(name, ways, state)])
        for way in range(ways):
            for what, after_state in (
                ("hit", _core.policy_hit(name, ways, state, way)),
                ("fill", _core.policy_fill(name, ways, state, way)),
            ):
                after = positions(after_state)
                moved = [after[before.index(position)] for position in range(ways)]
                assert moves.setdefault((what, before[way]), moved) == moved
    assert len(victims) == 1


@pytest.mark.parametrize(("name", "ways"), EVERY_POLICY)
def test_touching_the_way_touched_last_changes_nothing(name: str, ways: int) -> None:
    """What leaving out immediate repeats relies on."""
    twin = get_policy(name, ways)
    choose = random.Random(f"repeat {name} {ways}")
    state = twin.empty()
    for way in range(ways):
        state = twin.fill(state, way, True)
    for _ in range(200):
        way = choose.randrange(ways)
        for touched in (twin.hit(state, way), twin.fill(state, way, True)):
            if name != "FIFO" or touched != state:
                assert twin.hit(touched, way) == touched
            state = touched


def learned_machine(path: Path) -> tuple[str, dict[tuple[str, str], tuple[str, str]]]:
    """The start and the edges (state, input) -> (state, output) of a Mealy machine in Graphviz dot."""
    text = path.read_text(encoding="utf-8")
    start = re.search(r"__start0 -> (\w+)", text)
    assert start is not None
    edges = {}
    for source, target, what, output in re.findall(r'(\w+) -> (\w+)\s*\[label="(\S+) / (\S+)"\]', text):
        edges[source, what] = (target, output)
    return start[1], edges


@pytest.mark.parametrize(
    ("path", "name", "ways"),
    [
        ("hw/skylake_l1.dot", "tree-PLRU", 8),
        ("hw/haswell_l1.dot", "tree-PLRU", 8),
        ("hw/kabylake_l1.dot", "tree-PLRU", 8),
        ("simul/fifo_4.dot", "FIFO", 4),
        ("simul/lru_4.dot", "LRU", 4),
        ("simul/plru_4.dot", "tree-PLRU", 4),
        ("simul/mru_4.dot", "bit-PLRU", 4),
    ],
)
def test_learned_machine_is_the_compiled_policy(path: str, name: str, ways: int) -> None:
    """Lockstep over every state and input: the same victims for ever, from exactly one start state."""
    start, edges = learned_machine(LEARNED / path)
    learned_states = {source for source, _ in edges}
    assert len(edges) == len(learned_states) * (ways + 1)

    def lockstep(policy_start: State) -> dict[str, State] | None:
        same = {start: policy_start}
        work = [start]
        while work:
            here = work.pop()
            state = same[here]
            victim = _core.policy_victim(name, ways, state)
            there, output = edges[here, "m()"]
            if output != str(victim):
                return None
            pairs = [(there, tuple(_core.policy_fill(name, ways, state, victim)))]
            for way in range(ways):
                pairs.append((edges[here, f"h({way})"][0], tuple(_core.policy_hit(name, ways, state, way))))
            for learned, ours in pairs:
                if learned not in same:
                    same[learned] = ours
                    work.append(learned)
                elif same[learned] != ours:
                    return None
        return same

    ours = [tuple(state) for state in _core.policy_start_states(name, ways)]
    matches = [found for state in ours if (found := lockstep(state)) is not None]
    assert len(matches) == 1
    assert set(matches[0]) == learned_states
    assert set(matches[0].values()) == set(ours)
