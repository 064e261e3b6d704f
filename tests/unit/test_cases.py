# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases sum paths up without losing or inventing any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from l1dflush.verdict.cases import Leaf, cases

# A binary tree: what is done, or the name of a decision and what comes behind its two outcomes.
trees = st.recursive(
    st.sampled_from(("walk", "skip", "msr")),
    lambda inner: st.tuples(st.integers(0, 9), inner, inner),
    max_leaves=12,
)


def leaves(tree: object, taken: tuple[str, ...] = ()) -> list[Leaf]:
    if isinstance(tree, str):
        return [(taken, tree)]
    assert isinstance(tree, tuple)
    number, yes, no = tree
    # Each place in the code decides for itself.
    name = f"{number} at {len(taken)}, {hash(taken)}"
    return leaves(yes, (*taken, f"{name} yes")) + leaves(no, (*taken, f"{name} no"))


@given(trees)
def test_every_path_is_in_one_case_and_in_the_right_one(tree: object) -> None:
    paths = leaves(tree)
    found = cases(paths)
    assert set(found) == {does for _, does in paths}
    told = [(set(way), does) for does, ways in found.items() for way in ways]
    for taken, does in paths:
        assert [what for way, what in told if way <= set(taken)] == [does]


@given(trees)
def test_a_case_has_no_decision_that_makes_no_difference(tree: object) -> None:
    paths = leaves(tree)
    if len({does for _, does in paths}) == 1:
        assert cases(paths) == {paths[0][1]: [()]}


def test_the_decision_before_the_one_that_counts_is_left_out() -> None:
    paths = [(("a", "x"), "walk"), (("a", "y"), "skip"), (("b", "x"), "walk"), (("b", "y"), "skip")]
    assert cases(paths) == {"walk": [("x",)], "skip": [("y",)]}
    assert cases([]) == {}
