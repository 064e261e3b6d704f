# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush status`` on the machine that the tests run on: what follows from its facts is what its kernel says."""

from __future__ import annotations

import json

import pytest

from l1dflush.cli.main import main
from l1dflush.host.reading.files import LiveFiles, UnreadableError
from l1dflush.host.reading.mitigation import L1TF


def test_status_agrees_with_the_kernel_here(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["status", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == result["exit_status"]
    if result["follows"] is None:
        pytest.skip(result["why_not"])
    assert result["follows"]["agrees"], result["follows"]["differences"]
    try:
        said = LiveFiles().read(L1TF).decode().strip()
    except UnreadableError as error:
        pytest.skip(f"{L1TF}: {error.why}")
    assert result["says"]["text"] == said
    assert result["says"]["understood"]
    assert result["follows"]["outcome"]["sysfs"] == said
    assert (result["verdict"] == "not-affected") == (said == "Not affected")
