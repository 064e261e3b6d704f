# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``status`` in the text format of Prometheus, for node_exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from l1dflush.ending import Verdict
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.host.status.model import StatusResult
from l1dflush.vmentry.subsystem import Mechanism, Mode

_PREFIX = "l1dflush_l1tf_"
_MODES = (Mode.NEVER, Mode.COND, Mode.ALWAYS)


def prometheus_text(result: StatusResult) -> str:
    """One gauge per question; of each that has several answers, one sample per answer, with the true one at 1."""
    agrees = result.follows.agrees if result.follows else None
    if agrees and not result.says.understood:
        agrees = None
    # Where it depends on what could not be read, one of several outcomes is not the true one.
    depends = any(ground.cause in (Cause.DEPENDS, Cause.UNLESS) for ground in result.grounds)
    outcome = result.follows.outcome if result.follows and agrees and not depends else None
    mode = mechanism = "unknown"
    if outcome is not None:
        mechanism = outcome.mechanism.value if outcome.mechanism else "none"
        mode = outcome.flushes.value
    about = {
        "kernel": result.kernel,
        "cpu": result.cpu,
        "kernel_says": result.says.text or "",
        "tool_version": result.tool_version,
    }
    unread = sum(fact.value is None for fact in result.facts)
    proofs = (Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED)
    lines = [
        *_states("verdict", "Whether this host is protected from L1TF.", result.verdict.value, L1tfVerdict),
        *_states("flush_mode", "When the L1D is flushed before VM entries.", mode, (*_MODES, "unknown")),
        *_states("flush_mechanism", "How it is flushed.", mechanism, (*Mechanism, "none", "unknown")),
        *_states("flush_proof", "What the software flush is worth here.", result.software_flush.verdict.value, proofs),
        *_gauge("smt_active", "Whether two threads of a core run.", _number(outcome.smt_active if outcome else None)),
        *_gauge(
            "facts_agree",
            "Whether the facts lead to what the kernel says.",
            _number(agrees),
        ),
        *_gauge("facts_unknown", "How many facts could not be read.", str(unread)),
        *_gauge("info", "What the verdict is about.", "1", about),
    ]
    return "".join(f"{line}\n" for line in lines)


def _states(name: str, about: str, now: str, states: Iterable[str]) -> list[str]:
    lines = [f"# HELP {_PREFIX}{name} {about}", f"# TYPE {_PREFIX}{name} gauge"]
    return lines + [_sample(name, "1" if value == now else "0", {"state": value}) for value in map(str, states)]


def _gauge(name: str, about: str, value: str, labels: Mapping[str, str] | None = None) -> list[str]:
    head = [f"# HELP {_PREFIX}{name} {about}", f"# TYPE {_PREFIX}{name} gauge"]
    return [*head, _sample(name, value, labels or {})]


def _sample(name: str, value: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{_PREFIX}{name}{{{inner}}} {value}" if inner else f"{_PREFIX}{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: bool | None) -> str:
    return "NaN" if value is None else str(int(value))
