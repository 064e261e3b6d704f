# SPDX-License-Identifier: GPL-2.0-or-later
"""Help fits into the 80 columns of a terminal."""

from __future__ import annotations

import pytest

from l1dflush.cli.main import answer
from l1dflush.cli.verbs import VERBS


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_no_line_of_help_is_wider(verb: str) -> None:
    outcome = answer([*([verb] if verb else []), "--help"])
    text = outcome.text if isinstance(outcome.text, str) else ""
    assert outcome.status == 0 and len(text) > 200
    assert [line for line in text.splitlines() if len(line.rstrip()) > 80] == []
