# SPDX-License-Identifier: GPL-2.0-or-later
"""The drawing of a policy's run: what people cannot see in the golden files."""

from __future__ import annotations

import pytest

from l1dflush.cache.policies import get_policy
from l1dflush.cache.policy.play import parse_sequence, play
from l1dflush.report.layout import MIN_WIDTH, plain
from l1dflush.report.terminal.policy_run import policy_picture


def drawn(ways: int, sequence: str, width: int = MIN_WIDTH) -> str:
    policy = get_policy("LRU", ways)
    return plain(policy_picture(policy, play(policy, parse_sequence(sequence)), width))


def last_lines(text: str) -> list[str]:
    """What is in the ways at the end."""
    return [line for line in text.splitlines() if line.startswith("  line ")][-1].split()[1:]


def test_names_are_drawn_whole_where_there_is_room() -> None:
    assert last_lines(drawn(4, "buffer_line_one0 buffer_line_two0")) == ["buffer_line_one", "buffer_line_two", ".", "."]
    assert last_lines(drawn(4, "buffer01 buffer02")) == ["buffer01", "buffer02", ".", "."]


@pytest.mark.parametrize("ways", [4, 8, 12, 16])
def test_names_that_are_cut_stay_apart(ways: int) -> None:
    text = drawn(ways, " ".join(f"a_line_number_{n:02}" for n in range(10, 10 + ways)))
    assert max(map(len, text.splitlines())) <= MIN_WIDTH
    names = last_lines(text)
    assert len(set(names)) == len(names) == ways


def test_more_names_than_can_be_told_apart_are_drawn_all_the_same() -> None:
    assert len(last_lines(drawn(16, " ".join(f"a_number_{n}" for n in range(500))))) == 16
