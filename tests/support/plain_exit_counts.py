# SPDX-License-Identifier: GPL-2.0-or-later
"""A second, slow and simple reader of exit traces: a line at a time, words between blanks, dictionaries.

It shares nothing with the package but the table of what asks for a flush, and serves to compare counts with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

INTERRUPTS = {
    "irq_handler_entry",
    "local_timer_entry",
    "reschedule_entry",
    "call_function_entry",
    "call_function_single_entry",
}
REQUESTS = INTERRUPTS | {"kvm_userspace_exit", "kvm_emulate_insn"}
MOST_CPUS = 8192


@dataclass
class Plain:
    """What was counted; times in ns."""

    exits: Counter[str] = field(default_factory=Counter)
    requested: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    requests: int = 0
    broken: int = 0
    backwards: int = 0
    guest: int = 0
    times: list[int] = field(default_factory=list)
    cpus: set[int] = field(default_factory=set)
    # By CPU: kind, time, reason of the last exit or entry, and whether it is requested.
    before: dict[int, tuple[str, int, str, bool]] = field(default_factory=dict)

    def add(self, kind: str, time: int, cpu: int, reason: str) -> None:
        """One event."""
        self.times.append(time)
        if cpu >= 0:
            self.cpus.add(cpu)
        last = self.before.get(cpu)
        if kind == "request":
            self.requests += 1
            if cpu >= 0 and last is not None and last[0] == "exit" and not last[3]:
                self.requested[last[2]] += 1
                self.before[cpu] = (*last[:3], True)
            return
        if last is not None and time < last[1]:
            self.backwards += 1
        if kind == "exit":
            self.exits[reason] += 1
            if cpu >= 0 and last is not None and last[0] == "entry" and time > last[1]:
                self.guest += time - last[1]
        else:
            self.entries += 1
        self.before[cpu] = (kind, time, reason, False)


def is_time(word: str) -> bool:
    """Whether a word is a time of a trace."""
    seconds, point, fraction = word.rstrip(":").partition(".")
    return (
        word.endswith(":")
        and not word.endswith("::")
        and bool(point)
        and seconds.isdigit()
        and fraction.isdigit()
        and len(seconds) <= 10
        and len(fraction) in (6, 9)
    )


def plain_trace(text: str) -> Plain:
    """Counts the text of perf script or trace-cmd report, every line of which ends."""
    out = Plain()
    for line in text.split("\n")[:-1]:
        words = line.split()
        at = next((i for i, word in enumerate(words[:-1]) if is_time(word)), None)
        about_kvm = "kvm_exit" in line or "kvm_entry" in line
        if at is None:
            out.broken += about_kvm
            continue
        event = words[at + 1]
        if not event.endswith(":"):
            continue
        name = event[:-1].split(":")[-1]
        if name not in REQUESTS | {"kvm_exit", "kvm_entry"}:
            continue
        cpu = -1
        for back in (1, 2):
            word = words[at - back] if at >= back else ""
            if back == 2 and words[at - 1].startswith("["):
                break  # what begins so is no flags
            if word.startswith("[") and word.endswith("]") and word[1:-1].isdigit() and len(word) <= 7:
                cpu = int(word[1:-1])
                break
        seconds, _, fraction = words[at][:-1].partition(".")
        time = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        if cpu >= MOST_CPUS or int(seconds) >= 9 * 10**9:
            out.broken += 1
        elif name in REQUESTS:
            out.add("request", time, cpu, "")
        elif name == "kvm_entry":
            out.add("entry", time, cpu, "")
        else:
            rest = words[at + 2 :]
            reason = next((rest[i + 1] for i, word in enumerate(rest[:-1]) if word == "reason"), "").strip(",;\"'")
            if reason:
                out.add("exit", time, cpu, reason)
            else:
                out.broken += 1
    return out


def plain_csv(text: str, columns: list[str], unit: int) -> Plain:
    """Counts CSV without a line of names, every line of which ends."""
    out = Plain()
    for line in text.split("\n")[:-1]:
        if not line.strip() or line.startswith("#"):
            continue
        fields = dict(zip(columns, (word.strip().strip('"') for word in line.split(",")), strict=False))
        whole, point, fraction = fields["time"].partition(".")
        cpu = fields.get("cpu") or fields.get("vcpu") or "-1"
        good = whole.isdigit() and (fraction.isdigit() if point else True) and fields.get("reason")
        time = int(whole) * unit + int(fraction or 0) * unit // 10 ** len(fraction) if good else 0
        if not good or (cpu != "-1" and not (cpu.isdigit() and int(cpu) < MOST_CPUS)) or time >= 9 * 10**18:
            out.broken += 1
        else:
            out.add("exit", time, int(cpu), fields["reason"])
    return out
