# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics: what is not known is not said, and a host's texts cannot break the format."""

from __future__ import annotations

import re
from typing import Any

import pytest
from made_hosts import made

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.result import status_result
from l1dflush.report.prometheus import prometheus_text

P = "Mitigation: PTE Inversion; VMX: "
LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
LINE = re.compile(rf"# (?:HELP|TYPE) .*|[a-z0-9_]+(?:\{{{LABEL}(?:,{LABEL})*\}})? (?:[01]|NaN|[0-9]+)")


def metrics(**changes: Any) -> str:
    return prometheus_text(status_result(made(**changes), FlushWorth(Verdict.PROVED, "linux-4.18", ""), lists()))


def test_what_is_known_is_said() -> None:
    said = metrics()
    assert 'flush_mode{state="cond"} 1' in said
    assert 'flush_mechanism{state="msr"} 1' in said
    assert "l1dflush_l1tf_smt_active 1" in said
    assert "l1dflush_l1tf_facts_agree 1" in said


@pytest.mark.parametrize(
    ("changes", "agree"),
    [
        ({"text": None}, "NaN"),
        ({"text": "Mitigation: Prayers"}, "NaN"),
        ({"text": P + "EPT disabled"}, "0"),
        ({"machine": "aarch64", "signature": None, "text": "Not affected"}, "NaN"),
    ],
)
def test_what_is_not_known_is_not_said(changes: dict[str, Any], agree: str) -> None:
    said = metrics(**changes)
    assert f"l1dflush_l1tf_facts_agree {agree}\n" in said
    assert 'flush_mode{state="unknown"} 1' in said
    assert 'flush_mechanism{state="unknown"} 1' in said
    assert "l1dflush_l1tf_smt_active NaN" in said


def test_where_it_depends_on_what_could_not_be_read_no_mode_is_the_true_one() -> None:
    hidden = dict.fromkeys(("parameter", "loaded", "kvm_ept", "memory_end"))
    said = metrics(text=P + "EPT disabled", command_line="l1tf=off", address_bits=46, **hidden)
    assert 'verdict{state="unknown"} 1' in said
    assert 'flush_mode{state="unknown"} 1' in said


def test_texts_of_a_host_cannot_break_the_format() -> None:
    evil = 'a"b\\c\nd\x1b[31m{},e="1" 2'
    said = metrics(text=evil, release=f"6.1.0-1{evil}", signature=Signature("GenuineIntel", 6, 0x3C, 3, evil))
    assert all(LINE.fullmatch(line) for line in said.removesuffix("\n").split("\n"))
    assert "\x1b" not in said
