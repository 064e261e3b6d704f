# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates: what the prover finds convinces the checker, and nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certificates as made
import plain_search as plain
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.cache.policies import get_policy
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.checking import read as reader
from l1dflush.checking import start as enumeration
from l1dflush.checking.checker import RejectedError, check
from l1dflush.checking.model import Certificate, digest_of
from l1dflush.checking.read import MAX_BYTES, certificate_text, parse_certificate, read_certificate
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof import certificate as maker
from l1dflush.proof.certificate import certificate, claim, distinct_claim
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.proof.prover import ItemKind, canonical, decide, needs

bounded = settings(
    max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
SAMPLES = made.samples()
POLICIES = [
    ("LRU", 1), ("LRU", 2), ("LRU", 3), ("FIFO", 2), ("FIFO", 3), ("tree-PLRU", 2), ("tree-PLRU", 4), ("CLOCK", 3),
    ("tree-PLRU:2+1", 3), ("tree-PLRU:3", 3), ("LRU1PLRU4", 4), ("MRU1PLRU4", 4), ("bit-PLRU", 3), ("NRU", 3),
    ("SRRIP-HP", 2), ("QLRU_H11_M1_R0_U0", 2), ("QLRU_H00_M1_R2_U1", 3), ("QLRU_H00_M1_R1_U2", 2), ("BRRIP", 1),
]  # fmt: skip
STARTS = ["any", "any+invalid", "cold", "any+invalidations", "cold+invalidations"]
KINDS = {ItemKind.ACCESS: "access", ItemKind.OPTIONAL: "prefetch", ItemKind.FLUSH: "flush"}


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, int, Any, Conditions, tuple[int, ...]]:
    """A policy, a word that often suffices, what is taken for granted, and the word's own lines."""
    name, ways = draw(st.sampled_from(POLICIES))
    kind = st.sampled_from([ItemKind.ACCESS] * 6 + [ItemKind.OPTIONAL, ItemKind.FLUSH])
    first = draw(st.lists(st.tuples(st.integers(0, 2 * ways), kind), max_size=3 * ways))
    rest = [(100 + line, ItemKind.ACCESS) for line in range(draw(st.integers(1, 4 * ways)))]
    word = canonical((*first, *rest, *(rest if draw(st.booleans()) else ())))
    asked = made.conditions(draw(st.sampled_from(STARTS)), draw(st.integers(0, 2)))
    own = tuple(sorted(draw(st.sets(st.integers(0, 3))))) if asked.start.cold else ()
    return name, ways, word, asked, own


@bounded
@given(questions())
def test_the_checker_accepts_exactly_what_is_proved(
    question: tuple[str, int, Any, Conditions, tuple[int, ...]],
) -> None:
    name, ways, word, asked, own = question
    items = tuple((line, KINDS[kind]) for line, kind in word)
    cold = tuple(line for line in dict.fromkeys(line for line, _ in word) if line not in own and asked.start.cold)

    def attempt() -> Certificate:
        one = claim(name, made.Geometry(ways * 64, ways, 64), [(items, cold, 1)], asked)  # type: ignore[list-item]
        return certificate(("flush", "0" * 64), [one])

    if decide(name, ways, word, asked, own=own).proved:
        # It is checked when it is made, and again when it was read.
        text = certificate_text(attempt())
        assert check(parse_certificate(text.encode(), "test"))[0].words[0].items == len(word)
    else:
        with pytest.raises(ValueError, match="can be left"):
            attempt()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_layers_are_also_those_of_ways(name: str) -> None:
    """What is seen by position is proved by way as well: the checker does not depend on how layers came about."""
    one = SAMPLES[name].claims[0]
    if one.words[0].view == "ways" or not isinstance(one.policy, str):
        return
    content = made.tree(SAMPLES[name])
    start = Start.parse(one.start).core
    for word in content["claims"][0]["words"]:
        used = word["items"][: len(word["layers"]) - 1]
        kinds = [["access", "prefetch", "flush"].index(kind) for _, kind in used]
        lines = [line for line, _ in used]
        cold = [line for line in word["cold"] if line in lines]
        positions, layers = _core.layers(
            one.policy, one.ways, lines, kinds, start=start, touches=one.touches, cold=cold, absolute=True
        )
        assert not positions
        word["view"] = "ways"
        word["layers"] = json.loads(json.dumps(maker._rows(layers)))
    made.checked(content)


# --- what is not an argument


LABELS = ("tool_version", "routine.name", "routine.sha256", "claims.#.cpus", "claims.#.cpus.#", "claims.#.words.#.sets")
# What a changed certificate may claim instead: that has to be as true.
CLAIMED = (
    "claims.#.policy",
    "claims.#.start",
    "claims.#.touches",
    "claims.#.words.#.items.#",
    "claims.#.words.#.cold.#",
)


def _shown(path: made.Path) -> str:
    return ".".join("#" if isinstance(key, int) else key for key in path)


def _true(content: dict[str, Any]) -> bool:
    """Whether the prover finds the same as the certificate claims."""
    read = parse_certificate(json.dumps(content | {"digest": ""}).encode(), "test")
    for one in read.claims:
        policy = enumeration.claimed_policy(one.policy, one.ways)
        assert not isinstance(policy, str)
        kinds = {name: kind for kind, name in KINDS.items()}
        for word in one.words:
            lines = {line for line, _ in word.items}
            asked = Conditions(Start.parse(one.start), one.touches)
            listed = tuple((line, kinds[kind]) for line, kind in word.items)
            if not decide(policy, one.ways, listed, asked, own=lines - set(word.cold)).proved:
                return False
    return True


@pytest.mark.parametrize("name", SAMPLES)
def test_every_changed_field_is_rejected_or_a_claim_that_is_as_true(name: str) -> None:
    content = made.tree(SAMPLES[name])
    counted = 0
    for path, mutant in made.mutants(content):
        counted += 1
        try:
            made.checked(mutant)
        except (RejectedError, InputError):
            continue
        shown = _shown(path)
        if shown in LABELS or shown == "claims.#.policy.name":
            continue
        assert shown.startswith(CLAIMED), f"{path} was changed, and nobody noticed"
        assert {key: mutant[key] for key in mutant if key != "claims"} == {
            key: content[key] for key in content if key != "claims"
        }
        assert _true(mutant), f"{path} was changed, and what it claims is not true"
    assert counted > 200


@pytest.mark.parametrize("name", SAMPLES)
def test_every_changed_field_is_rejected_without_a_new_digest(name: str) -> None:
    for path, mutant in made.mutants(made.tree(SAMPLES[name])):
        with pytest.raises((RejectedError, InputError)):
            made.checked(mutant, digest=False)
            pytest.fail(f"{path} was changed, and nobody noticed")


def _layers(content: dict[str, Any]) -> Any:
    return content["claims"][0]["words"][0]["layers"]


def _break(content: dict[str, Any], how: Callable[[Any], object]) -> RejectedError:
    how(_layers(content))
    with pytest.raises(RejectedError) as caught:
        made.checked(content)
    return caught.value


def test_a_missing_start_is_told() -> None:
    # Of two starting states one is left out.
    error = _break(made.tree(SAMPLES["ways"]), lambda layers: layers[0].pop(0))
    assert error.reason == "a start is missing"
    assert (error.claim, error.word, error.layer) == (0, 0, 0)


def test_an_invented_start_is_told() -> None:
    error = _break(made.tree(SAMPLES["distinct"]), lambda layers: layers[0].append([[], "- !", 0, []]))
    assert (error.reason, error.layer, error.state) == ("a state is none of the start", 0, 1)


def test_a_step_to_what_is_not_covered_is_told() -> None:
    error = _break(made.tree(SAMPLES["positions"]), lambda layers: layers[3].pop(0))
    assert "may lead from a state to what is not covered" in error.reason
    assert error.layer == 2


def test_a_last_layer_with_states_is_told() -> None:
    error = _break(made.tree(SAMPLES["positions"]), lambda layers: layers.pop())
    assert error.reason == "the last layer is not empty"


def test_an_argument_that_stops_too_early_is_told() -> None:
    error = _break(made.tree(SAMPLES["positions"]), lambda layers: layers.__delitem__(slice(3, -1)))
    assert "not covered" in error.reason


def test_a_state_from_nowhere_is_told() -> None:
    error = _break(made.tree(SAMPLES["positions"]), lambda layers: layers[2].append([[], "? ? ? ?", 0, []]))
    assert error.reason == "nothing leads to a state"


def test_a_state_that_another_covers_is_told() -> None:
    # A miss leads to it, and a hit to the same without knowing that the other ways are valid.
    error = _break(made.tree(SAMPLES["positions"]), lambda layers: layers[1].insert(0, [[], "! ! ! -", 0, []]))
    assert (error.reason, error.layer, error.state) == ("a state is covered by another", 1, 0)


def test_states_in_another_order_are_rejected() -> None:
    error = _break(made.tree(SAMPLES["ways"]), lambda layers: layers[0].reverse())
    assert (error.reason, error.layer) == ("the states are not in order", 0)


def test_layers_that_are_the_same_are_written_once() -> None:
    content = made.tree(SAMPLES["same"])
    layers = _layers(content)
    # Four of the items are enough, and the third is the last of them with line 0.
    assert [layer == "same" for layer in layers] == [False, False, True, False, False]
    layers[2] = layers[1]
    with pytest.raises(RejectedError, match="does not say so"):
        made.checked(content)


def test_what_is_repeated_often_is_checked_once() -> None:
    often = " ".join(["0"] * 3000)
    checked = check(
        made.of_routine("FIFO", 4, [f"0 1 {often} 2 3 {often} 4 5 6 7 8 9"], made.conditions("any+invalid"))
    )
    word = checked[0].words[0]
    assert word.layers > 6000
    assert word.states < 2000


def test_a_word_that_leaves_something_has_no_argument() -> None:
    """Three accesses do not empty a tree of 4 ways, so no layers can say so: not even the longest that are true."""
    content = made.tree(SAMPLES["positions"])
    word = content["claims"][0]["words"][0]
    word["items"], word["layers"] = word["items"][:3], [*word["layers"][:3], []]
    with pytest.raises(RejectedError, match="not covered"):
        made.checked(content)


@pytest.mark.parametrize(
    ("policy", "ways"), [("LRU", 2), ("tree-PLRU", 2), ("FIFO", 2), ("bit-PLRU", 2), ("LRU", 3), ("FIFO", 3)]
)
def test_what_is_certified_is_so_by_enumeration(policy: str, ways: int) -> None:
    """Runs from every state with every content, one by one, leave nothing where there is a certificate."""
    texts = ["0 1", "0 1 2", "0 1 0 2", "0 p1 0 2", "0 1 2 3", "0 f1 1 2 3", "0 1 2 0 3"]
    for text in texts:
        word = made.word(text)
        try:
            made.of_routine(policy, ways, [text], made.conditions("any"))
        except ValueError:
            assert plain.most_left(policy, ways, word) > 0
        else:
            assert plain.most_left(policy, ways, word) == 0


# --- pairwise different accesses


@pytest.mark.parametrize(
    ("policy", "ways", "fewest"), [("LRU", 4, 4), ("tree-PLRU", 8, 13), ("FIFO", 4, 7), ("bit-PLRU", 4, 6)]
)
def test_needs_can_be_certified(policy: str, ways: int, fewest: int) -> None:
    asked = made.conditions("any")
    assert needs(policy, ways, asked) == fewest
    checked = check(certificate(None, [distinct_claim(policy, ways, asked)]))
    assert checked[0].words[0].used == fewest


def test_what_never_suffices_has_no_certificate() -> None:
    with pytest.raises(ValueError, match="no number of accesses"):
        distinct_claim("LIP", 4)


def test_several_claims_in_one_certificate() -> None:
    claims = [distinct_claim("LRU", 4), distinct_claim("tree-PLRU", 8)]
    assert [one.policy.name for one in check(certificate(None, claims))] == ["LRU", "tree-PLRU"]
    content = made.tree(certificate(None, claims))
    content["claims"].append(content["claims"][0])
    with pytest.raises(RejectedError, match="there twice"):
        made.checked(content)


# --- policies


def test_a_machine_without_fills_can_be_asked_about_full_sets() -> None:
    text = "\n".join(line for line in made.MACHINE.splitlines() if " fill " not in line)
    machine = parse_machine(text, "two.table")
    content = made.tree(made.of_routine(machine, 2, ["0 1 2"], made.conditions("any")))
    content["claims"][0]["start"] = "any+invalid"
    with pytest.raises(RejectedError, match="does not say what filling"):
        made.checked(content)


def test_symmetry_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = type(get_policy("tree-PLRU", 4))
    monkeypatch.setattr(twin, "position", lambda self, state, way: way)
    with pytest.raises(RejectedError, match="same residue do different things"):
        check(SAMPLES["positions"])


def test_positions_have_to_be_a_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = type(get_policy("tree-PLRU", 4))
    monkeypatch.setattr(twin, "position", lambda self, state, way: 0)
    with pytest.raises(RejectedError, match="no permutation"):
        check(SAMPLES["positions"])


def test_too_many_states_to_enumerate_are_undecided() -> None:
    content = made.tree(certificate(None, [distinct_claim("LRU", 4)]))
    content["claims"][0] |= {"ways": 16}
    with pytest.raises(UndecidedError, match="more than 200000 states"):
        made.checked(content)


def test_too_many_states_to_write_are_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "MAX_STATES", 100)
    with pytest.raises(UndecidedError, match="more than 100 states") as caught:
        distinct_claim("NRU", 8)
    assert caught.value.cause == "certificate-too-large"


def test_an_argument_that_does_not_convince_is_never_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = distinct_claim("tree-PLRU", 4)
    word = right.words[0]
    wrong = word.model_copy(update={"layers": (*word.layers[:1], word.layers[1][1:], *word.layers[2:])})
    with pytest.raises(AssertionError, match="does not convince the checker"):
        certificate(None, [right.model_copy(update={"words": (wrong,)})])


# --- files


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    file = tmp_path / "a.l1d"
    file.write_text(certificate_text(SAMPLES[name]))
    assert read_certificate(file) == SAMPLES[name]
    content = json.loads(file.read_text())
    assert content["digest"] == digest_of(content)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"format_version":' * 10_000,
        b'{"format_version": 2}',
        b'{"format_version": NaN}',
        b'{"format_version": 1' + b"0" * 10_000 + b"}",
        b'"' + b"x" * 100_000,
        b'{"\\ud800": 1}',
    ],
    ids=range(12),
)
def test_what_is_no_certificate_is_told_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_certificate(data, "hostile.l1d")
    text = str(caught.value)
    assert text.startswith("hostile.l1d: this is not a certificate")
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("claims", 0, "ways"), 10**30),
        (("claims", 0, "ways"), 17),
        (("claims", 0, "touches"), 10**6),
        (("claims", 0, "touches"), True),
        (("claims", 0, "words", 0, "layers", 0, 0, 0), [1 << 32]),
        (("claims", 0, "words", 0, "layers", 0, 0, 1), 5),
        (("claims", 0, "policy"), "x" * 5000),
        (("routine", "sha256"), "AB" * 32),
        (("format_version",), "1"),
    ],
)
def test_wrong_types_and_huge_numbers_are_refused(path: made.Path, value: object) -> None:
    content = made.tree(SAMPLES["positions"])
    made.at(content, path[:-1])[path[-1]] = value
    with pytest.raises(InputError, match="this is not a certificate"):
        made.checked(content)


def test_hostile_numbers_in_states_are_rejected() -> None:
    content = made.tree(SAMPLES["ways"])
    _layers(content)[1][-1][0] = [9]
    with pytest.raises(RejectedError, match="nothing leads to a state"):
        made.checked(content)
    _layers(content)[1][0][1] = "9" * 4000
    with pytest.raises(RejectedError, match="means nothing"):
        made.checked(content)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "large.l1d"
    with file.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="more than 128 MiB"):
        read_certificate(file)


def test_a_certificate_that_nobody_would_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_BYTES", 1000)
    with pytest.raises(UndecidedError, match="would have 0 MiB"):
        certificate_text(SAMPLES["positions"])


def test_the_checker_shares_no_code_with_the_prover() -> None:
    program = (
        "import sys, l1dflush.checking.checker, l1dflush.checking.read, l1dflush.checking.result\n"
        "parts = ('l1dflush._core', 'l1dflush.proof', 'l1dflush.tracing', 'l1dflush.verdict', 'l1dflush.routine')\n"
        "found = [name for name in sys.modules if name.startswith(parts)]\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
