# SPDX-License-Identifier: GPL-2.0-or-later
"""Which decisions make a difference: the paths of a routine, summed up by what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# What a path does, or a decision and what comes behind each of its outcomes.
Tree = str | tuple[tuple[str, "Tree"], ...]
# The decisions of a path in order, and what it does.
Leaf = tuple[tuple[str, ...], str]


def cases(leaves: Sequence[Leaf]) -> Mapping[str, list[tuple[str, ...]]]:
    """For each thing that paths do the ways to it, each a sequence of decisions; those after which the same can
    happen either way are left out.

    ``leaves`` are all paths of a routine: at each decision they go both ways.
    """
    found: dict[str, list[tuple[str, ...]]] = {}

    def walk(tree: Tree, taken: tuple[str, ...]) -> None:
        if isinstance(tree, str):
            found.setdefault(tree, []).append(taken)
            return
        for decision, rest in tree:
            walk(rest, (*taken, decision))

    if leaves:
        walk(_tree(leaves, 0), ())
    return found


def _tree(leaves: Sequence[Leaf], depth: int) -> Tree:
    """The decisions of ``leaves`` from ``depth`` on; one whose outcomes lead to the same is left out."""
    if len(leaves[0][0]) <= depth:
        # Nothing tells these apart any more; none of them may get lost.
        ends = dict.fromkeys(does for _, does in leaves)
        return leaves[0][1] if len(ends) == 1 else tuple(("in some cases", does) for does in ends)
    branches: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        branches.setdefault(leaf[0][depth], []).append(leaf)
    behind = [(decision, _tree(members, depth + 1)) for decision, members in branches.items()]
    if len(behind) > 1 and all(tree == behind[0][1] for _, tree in behind):
        return behind[0][1]
    return tuple(sorted(behind))
