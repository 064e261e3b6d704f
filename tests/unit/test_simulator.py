# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache simulator against published counts, against its own general code, and against a plain one on the twins."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import State, get_policy, known_policies
from l1dflush.cache.simulate import Simulator
from l1dflush.errors import InputError

L1D = Geometry(32768, 8, 64)
EVERY_POLICY = [(name, ways) for ways in range(1, 17) for name in known_policies(ways)]


def geometry(sets: int, ways: int, line: int) -> Geometry:
    return Geometry(sets * ways * line, ways, line)


def at(*addresses: int) -> NDArray[np.uint64]:
    return np.array(addresses, dtype=np.uint64)


def mixed(count: int, lines: int) -> NDArray[np.uint64]:
    """The documented trace for comparing simulators: a linear congruential generator, here over ``lines`` lines."""
    x, out = 12345, []
    for _ in range(count):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append((x >> 33) % lines * 64)
    return np.array(out, dtype=np.uint64)


class PlainCache:
    """What a cache does, on the plain Python policies."""

    def __init__(self, policy: str, shape: Geometry) -> None:
        self.policy = get_policy(policy, shape.ways)
        self.shape = shape
        self.reset()

    def reset(self) -> None:
        self.states: list[State] = [self.policy.empty()] * self.shape.sets
        self.flush_all()

    def flush_all(self) -> None:
        self.ways = [[-1] * self.shape.ways for _ in range(self.shape.sets)]

    def access(self, address: int) -> bool:
        line = address // self.shape.line
        index = line % self.shape.sets
        ways, state = self.ways[index], self.states[index]
        if line in ways:
            self.states[index] = self.policy.hit(state, ways.index(line))
            return True
        was_invalid = -1 in ways
        way = ways.index(-1) if was_invalid else self.policy.victim(state)
        self.states[index] = self.policy.fill(state, way, was_invalid)
        ways[way] = line
        return False

    def flush_line(self, address: int) -> bool:
        line = address // self.shape.line
        ways = self.ways[line % self.shape.sets]
        if line not in ways:
            return False
        ways[ways.index(line)] = -1
        return True


# --- results


@pytest.mark.parametrize(("policy", "hits"), [("LRU", 499328), ("FIFO", 499036), ("tree-PLRU", 499673)])
def test_documented_trace_gives_the_documented_hits(policy: str, hits: int) -> None:
    trace = mixed(1_000_000, 1024)
    simulator = Simulator(policy, L1D)
    told = simulator.access(trace, each=True)
    assert (told.accesses, told.hits, told.misses) == (1_000_000, hits, 1_000_000 - hits)
    assert told.each is not None
    assert told.each.sum() == hits
    simulator.reset()
    assert simulator.access(trace).hits == hits


def test_small_example() -> None:
    # One set of two ways, LRU, lines of 64 bytes: 0 and 1 fill it, 0 hits, 2 replaces 1.
    simulator = Simulator("lru", geometry(1, 2, 64))
    told = simulator.access(at(0, 64, 63, 128), each=True)
    assert told.each is not None
    assert told.each.tolist() == [False, False, True, False]
    assert simulator.contents.tolist() == [[0, 2]]
    assert simulator.state(0) == (1, 0)
    assert simulator.holds(5)
    assert not simulator.holds(64)
    assert simulator.flush_line(1)
    assert not simulator.flush_line(1)
    assert simulator.contents.tolist() == [[-1, 2]]
    assert simulator.state(0) == (1, 0)
    assert simulator.access(at(128, 192)).hits == 1
    assert simulator.contents.tolist() == [[3, 2]]
    simulator.flush_all()
    assert simulator.contents.tolist() == [[-1, -1]]
    assert simulator.state(0) == (0, 1)
    simulator.reset()
    assert simulator.state(0) == (1, 0)


@pytest.mark.parametrize(("policy", "ways"), [("tree-PLRU", 4), ("LRU", 8), ("FIFO", 12), ("bit-PLRU", 16)])
def test_line_numbers_are_compared_in_full(policy: str, ways: int) -> None:
    # All in set 0; in pairs they agree in 32 bits of the line number above or below.
    addresses = [0, 1 << 38, 1 << 63, (1 << 63) + (1 << 12), 1 << 12, (1 << 64) - (1 << 12), (1 << 44) + (1 << 12)]
    for start in range(0, len(addresses), ways):
        few = addresses[start : start + ways]
        simulator = Simulator(policy, geometry(64, ways, 64))
        assert simulator.access(at(*few)).hits == 0
        assert simulator.access(at(*few)).hits == len(few)
        assert simulator.contents[0, : len(few)].tolist() == [address // 64 for address in few]


def test_highest_address_is_not_taken_for_an_invalid_way() -> None:
    simulator = Simulator("LRU", geometry(1, 1, 4))
    assert not simulator.holds(2**64 - 1)
    assert simulator.access(at(2**64 - 1, 2**64 - 4)).hits == 1
    assert simulator.contents.tolist() == [[2**62 - 1]]


@pytest.mark.parametrize(("policy", "ways"), EVERY_POLICY)
def test_fast_and_general_code_agree(policy: str, ways: int) -> None:
    for sets in (1, 16):
        shape = geometry(sets, ways, 64)
        fast = _core.Simulator(policy, ways, sets, 64)
        general = _core.Simulator(policy, ways, sets, 64, plain=True)
        for lines in (sets * ways // 2 + 1, sets * (ways + 1), 2 * sets * ways, 100 * sets * ways):
            trace = mixed(3000, lines)
            told = [np.empty(len(trace), dtype=np.bool_) for _ in range(2)]
            assert fast.access(trace, told[0]) == general.access(trace, told[1]) == int(told[0].sum())
            assert (told[0] == told[1]).all()
            for address in trace[:5].tolist():
                assert fast.flush_line(address) == general.flush_line(address)
        contents = [np.empty((shape.sets, shape.ways), dtype=np.int64) for _ in range(2)]
        fast.contents(contents[0])
        general.contents(contents[1])
        assert (contents[0] == contents[1]).all()
        assert [fast.state(i) for i in range(sets)] == [general.state(i) for i in range(sets)]


SHAPES = st.builds(
    lambda policy, sets_log, line_log: (policy[0], geometry(1 << sets_log, policy[1], 1 << line_log)),
    st.sampled_from(EVERY_POLICY),
    st.integers(0, 3),
    st.integers(2, 7),
)
# Addresses close to each other, so that there are hits, at both ends and in the middle of the address space.
ADDRESSES = st.builds(
    lambda base, offset: (base + offset) % 2**64, st.sampled_from([0, 2**38, 2**63, 2**64 - 2048]), st.integers(0, 4096)
)
STEPS = st.one_of(
    st.lists(ADDRESSES, max_size=150),
    st.lists(st.integers(0, 600), max_size=150),
    ADDRESSES,
    st.integers(0, 600),
    st.sampled_from(["flush_all", "reset"]),
)


@settings(deadline=None, max_examples=300)
@given(SHAPES, st.lists(STEPS, max_size=12))
def test_simulator_agrees_with_a_plain_one(shape: tuple[str, Geometry], steps: list[list[int] | int | str]) -> None:
    simulator, plain = Simulator(*shape), PlainCache(*shape)
    for step in steps:
        if step == "flush_all":
            simulator.flush_all()
            plain.flush_all()
        elif step == "reset":
            simulator.reset()
            plain.reset()
        elif isinstance(step, int):
            assert simulator.flush_line(step) == plain.flush_line(step)
            assert not simulator.holds(step)
        elif isinstance(step, list):
            expected = [plain.access(address) for address in step]
            told = simulator.access(at(*step), each=True)
            assert told.each is not None
            assert told.each.tolist() == expected
            assert told.hits == sum(expected)
            assert all(simulator.holds(address) for address in step[-1:])
        assert simulator.contents.tolist() == plain.ways
        assert [simulator.state(i) for i in range(shape[1].sets)] == plain.states


@pytest.mark.parametrize(("policy", "ways"), EVERY_POLICY)
def test_full_sets_agree_with_a_plain_one(policy: str, ways: int) -> None:
    # Long enough that most sets are full, with lines that are flushed now and then.
    shape = geometry(2, ways, 64)
    simulator, plain = Simulator(policy, shape), PlainCache(policy, shape)
    trace = mixed(1500, 3 * ways + 1)
    for start in range(0, len(trace), 50):
        part = trace[start : start + 50]
        told = simulator.access(part, each=True)
        assert told.each is not None
        assert told.each.tolist() == [plain.access(address) for address in part.tolist()]
        for address in part[: start // 50 % 4].tolist():
            assert simulator.flush_line(address) == plain.flush_line(address)
        assert simulator.contents.tolist() == plain.ways
        assert [simulator.state(0), simulator.state(1)] == plain.states


def test_calls_may_be_split_anywhere() -> None:
    trace = mixed(20_000, 1024)
    whole, pieces = Simulator("tree-PLRU", L1D), Simulator("tree-PLRU", L1D)
    expected = whole.access(trace).hits
    assert sum(pieces.access(piece).hits for piece in np.array_split(trace, 77)) == expected
    assert (whole.contents == pieces.contents).all()
    assert whole.access(trace[:0]).hits == 0


def test_the_array_is_only_read() -> None:
    trace = mixed(1000, 64)
    trace.flags.writeable = False
    assert Simulator("FIFO", L1D).access(trace).accesses == 1000


# --- what cannot be simulated


@pytest.mark.parametrize(
    "addresses",
    [
        [64, 0, 64],
        np.array([64, 0, 64]),
        np.array([64, 0, 64], dtype=">u8"),
        np.array([64, 1, 0, 1, 64, 1], dtype=np.uint64)[::2],
        np.frombuffer(b"x" + np.array([64, 0, 64], dtype=np.uint64).tobytes(), dtype=np.uint8)[1:].view(np.uint64),
    ],
    ids=["list", "int64", "big-endian", "every second one", "not aligned"],
)
def test_other_sequences_and_arrays_are_copied(addresses: Any) -> None:
    cache = Simulator("LRU", L1D)
    assert cache.access(addresses, each=True).each.tolist() == [False, False, True]
    assert cache.holds(0) and cache.holds(64) and not cache.holds(128)


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (np.zeros((2, 2), dtype=np.uint64), "2 dimensions"),
        (np.zeros(2), "float64"),
        (np.array(["a"]), "not whole numbers"),
        (np.array([1 << 70, 2], dtype=object), "not whole numbers"),
        (np.array([0, -64]), "-64 is negative"),
        ([0, 1.5], "1.5 is not"),
        ("text", "'t' is not"),
        (7, "not whole numbers"),
        ([1 << 64], "not below"),
    ],
)
def test_what_is_no_address_is_refused_in_words(addresses: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^addresses: .*{message}"):
        Simulator("LRU", L1D).access(addresses)


def test_the_core_refuses_them_as_well() -> None:
    core = _core.Simulator("LRU", 8, 64, 64)
    two = np.zeros(2, dtype=np.uint64)
    for wrong in (np.zeros(2, dtype=np.int64), np.zeros((1, 2), dtype=np.uint64), np.zeros(4, dtype=np.uint64)[::2]):
        with pytest.raises(TypeError):
            core.access(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aligned"):
        core.access(np.zeros(17, dtype=np.uint8)[1:].view(np.uint64))
    with pytest.raises(ValueError, match="one entry"):
        core.access(two, np.zeros(3, dtype=np.bool_))
    with pytest.raises(ValueError, match="one row per set"):
        core.contents(np.zeros((8, 64), dtype=np.int64))
    with pytest.raises(ValueError, match="no such set"):
        core.state(64)


@pytest.mark.parametrize(
    ("policy", "shape", "seed", "message"),
    [
        ("nonesuch", L1D, 0, "unknown replacement policy"),
        ("tree-PLRU", geometry(64, 12, 64), 0, "power of two"),
        ("LRU", geometry(1 << 21, 1, 4), 0, "2097152 sets"),
        ("LRU", L1D, -1, "seed: -1"),
        ("LRU", L1D, 1 << 64, "out of range"),
    ],
)
def test_impossible_caches_are_refused(policy: str, shape: Geometry, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Simulator(policy, shape, seed=seed)


@pytest.mark.parametrize(("sets", "line"), [(0, 64), (3, 64), (1 << 21, 64), (64, 2), (64, 48)])
def test_the_core_refuses_impossible_shapes(sets: int, line: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        _core.Simulator("LRU", 8, sets, line)


def test_there_are_no_other_sets() -> None:
    for index in (-1, 64):
        with pytest.raises(IndexError):
            Simulator("LRU", L1D).state(index)


# --- being interrupted


class Stop(Exception):  # noqa: N818 -- as KeyboardInterrupt is none
    """What the signal handler raises."""


@contextmanager
def alarm(handler: object) -> Iterator[None]:
    """``handler`` is called 5 ms from now, or later."""
    before = signal.signal(signal.SIGALRM, handler)  # type: ignore[arg-type]
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_stops_a_long_run() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stop

    simulator = Simulator("tree-PLRU", L1D)
    with pytest.raises(Stop), alarm(stop):
        simulator.access(np.zeros(1 << 26, dtype=np.uint64))
    assert simulator.access(at(0)).hits == 1


def test_nobody_else_gets_in_during_a_run() -> None:
    simulator = Simulator("tree-PLRU", L1D)

    def look(_number: int, _frame: FrameType | None) -> None:
        simulator.holds(0)

    with pytest.raises(RuntimeError, match="in use"), alarm(look):
        simulator.access(np.zeros(1 << 26, dtype=np.uint64))
    assert simulator.holds(0)
