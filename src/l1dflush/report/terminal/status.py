# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``status`` for a person."""

from __future__ import annotations

from rich.text import Text

from l1dflush.ending import Verdict
from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.model import FlushInfo, Outcome, StatusResult
from l1dflush.host.status.worlds import X86
from l1dflush.in_words import in_words
from l1dflush.mitigation.facts import Control
from l1dflush.mitigation.rules import BOOT_NONE, NO_FLUSH
from l1dflush.report.layout import header, paragraph, row, safe, side_by_side
from l1dflush.vmentry.subsystem import Mechanism, Mode

STYLES = {
    L1tfVerdict.NOT_AFFECTED: "green",
    L1tfVerdict.MITIGATED: "green",
    L1tfVerdict.PARTIAL: "yellow",
    L1tfVerdict.VULNERABLE: "bold red",
    L1tfVerdict.UNKNOWN: "magenta",
}
_ANYWHERE = ("kernel release", "vulnerabilities/", "rfi_flush")
"""What matters on other machines than x86."""
NO_FILE = "no such file"
MECHANISMS = {Mechanism.COMMAND: "by MSR", Mechanism.READING: "in software"}


def status_lines(result: StatusResult, width: int, *, explain: bool = False) -> list[Text]:
    """The verdict, what it rests on, the two accounts side by side, what to do; ``explain``: facts and rules too."""
    lines = [
        Text(safe(f"L1TF: {in_words(result.verdict)}"), STYLES[result.verdict]),
        *paragraph(f"{result.where}: {result.cpu}, Linux {result.kernel}{_below(result)}", width, indent="  "),
        Text(),
    ]
    for ground in result.grounds:
        lines += _marked(ground.verdict, ground.says, width)
    lines += [Text(), *_accounts(result, width)]
    if result.verdict is not L1tfVerdict.NOT_AFFECTED:
        lines += [Text(), *_flush(result.software_flush, width)]
    if result.advice:
        lines += [Text(), Text("what to do", "bold")]
        for advice in result.advice:
            then = "" if advice.then is None else f" -> {in_words(advice.then)}"
            takes = "" if advice.takes is None else f" ({advice.takes})"
            lines += paragraph(f"{advice.what}{takes}{then}", width, first="  - ", indent="    ")
    for note in result.notes:
        lines += [Text(), *paragraph(note, width, first="note: ", indent="      ")]
    unknown = [fact for fact in result.facts if fact.value is None and fact.name not in _moot(result)]
    if explain:
        lines += [Text(), *_explained(result, width)]
    elif unknown:
        lines += [Text(), Text("not read", "bold")]
        # One cause may hide several facts.
        for origin, why in dict.fromkeys((fact.origin, fact.why) for fact in unknown):
            names = ", ".join(fact.name for fact in unknown if (fact.origin, fact.why) == (origin, why))
            lines += paragraph(f"{names}: {_reason(origin, why)}", width, first="  ", indent="    ")
    return lines


def at_entry(outcome: Outcome) -> str:
    """What is done before a VM entry, in a few words."""
    if outcome.rule.id == NO_FLUSH.id:
        return "nothing: this KVM has no flush"
    if outcome.parameter is None:
        return "kvm_intel is not loaded"
    if outcome.mechanism is None or outcome.flushes is Mode.NEVER:
        return f"nothing ({outcome.parameter})"
    return f"{outcome.flushes.value}, {MECHANISMS[outcome.mechanism]}"


def smt_control(outcome: Outcome) -> str:
    """What the file reads; it came with l1tf=."""
    none = outcome.rules[0].id == BOOT_NONE.id and outcome.smt is Control.NOT_IMPLEMENTED
    return NO_FILE if none else outcome.smt.value


def _moot(result: StatusResult) -> tuple[str, ...]:
    """What nobody can read, and nobody misses: of kvm_intel where it is not loaded or is a module, of Xen where it does
    not answer others, and of x86 on other machines."""
    read = {fact.name: fact.value for fact in result.facts}
    if read["machine"] is not None and not X86.fullmatch(read["machine"]):
        return tuple(name for name in read if not name.startswith(_ANYWHERE))
    moot: tuple[str, ...] = ("/dev/kvm",) if read["kvm_intel built in"] == "no" else ()
    if read["kvm_intel loaded"] == "no":
        moot = ("vmentry_l1d_flush", "the file vmentry_l1d_flush", "ept", "flushes counted", "/dev/kvm")
    return moot if result.control_domain else (*moot, "xl dmesg", "xl info")


def _reason(origin: str, why: str) -> str:
    """Where several places were looked at, each reason names its own."""
    return why if why.startswith(origin.split(", ", maxsplit=1)[0]) else f"{origin}: {why}"


def _below(result: StatusResult) -> str:
    if result.control_domain:
        return ", the control domain (dom0) of Xen"
    return f", a guest of {result.hypervisor}" if result.hypervisor else ""


def _marked(verdict: L1tfVerdict, says: str, width: int) -> list[Text]:
    said = in_words(verdict)
    title = f"{said:20}"
    lines = paragraph(says, width, first="  " + title, indent=" " * (len(title) + 2))
    lines[0].stylize(STYLES[verdict], 2, 2 + len(said))
    return lines


def _accounts(result: StatusResult, width: int) -> list[Text]:
    """What the kernel says beside what follows from the facts."""
    says, follows = result.says, result.follows
    read = {fact.name: fact.value if fact.value is not None else "?" for fact in result.facts}
    if follows is None:
        rows = [("l1tf", says.text or f"unknown ({says.why})", result.why_not)]
    else:
        of = follows.outcome
        rows = [
            ("l1tf", says.text or f"unknown ({says.why})", of.sysfs or NO_FILE),
            ("parameter", read["vmentry_l1d_flush"], of.parameter or NO_FILE),
            ("SMT", f"{read['SMT control']}, active: {read['SMT active']}", f"{smt_control(of)}, active: {_yes(of)}"),
            ("at VM entry", f"{says.mode.value}, does not say how" if says.mode else "does not say", at_entry(of)),
        ]
    columns = side_by_side((name for name, *_ in rows), "the kernel says", "from the facts", width)
    lines = [header(columns), *(line for cells in rows for line in row(columns, cells))]
    if follows is None:
        return lines
    if follows.agrees:
        lines.append(
            Text("  the kernel and the facts agree", "green")
            if says.understood
            else Text("  no contradiction in what could be parsed")
        )
    for different in follows.differences:
        what = f"they disagree about {different.what}: the facts lead to {different.follows}, it says {different.said}"
        lines += paragraph(what, width, indent="  ", style="magenta")
    for written in follows.written:
        lines += paragraph(f"written since boot: {written}", width, indent="  ")
    return lines


def _yes(outcome: Outcome) -> str:
    return "yes" if outcome.smt_active else "no"


def _flush(flush: FlushInfo, width: int) -> list[Text]:
    used = {True: "this host uses it", False: "this host does not use it", None: "whether this host uses it is unknown"}
    lines = [Text("the kernel's flush in software", "bold")]
    style = {Verdict.PROVED: "green", Verdict.REFUTED: "bold red"}.get(flush.verdict, "magenta")
    on = f" on {flush.cpu}" if flush.cpu else ""
    head = paragraph(f"{flush.verdict.value}{on}: {used[flush.used]}", width, indent="  ")
    head[0].stylize(style, 2, 2 + len(flush.verdict.value))
    lines += head
    for part in flush.rows:
        shape = f"{part.geometry.size >> 10}K {part.geometry.ways}x{part.geometry.line}"
        needs = "" if part.needs is None else f" needs {part.needs} lines a set,"
        policy = "policy unknown" if part.policy == "unknown" else f"{part.policy} ({in_words(part.policy_certainty)})"
        lines += paragraph(f"{shape}, {policy}:{needs} has {part.has}", width, indent="  ")
        if part.candidates:
            alike = ", ".join(f"{one.policy} {one.verdict.value}" for one in part.candidates)
            lines += paragraph(f"if it is: {alike}", width, indent="    ")
    if flush.reason:
        lines += paragraph(flush.reason, width, indent="  ")
    names = "".join(f" --cpu {name}" for part in flush.rows for name in part.cpus)
    digest = f", sha256 {flush.routine.sha256[:12]}" if flush.routine else ""
    lines += paragraph(
        f"('l1dflush verify {flush.source}{names}' shows the proof{digest})", width, indent="  ", style="dim"
    )
    return lines


def _explained(result: StatusResult, width: int) -> list[Text]:
    lines = [Text("facts", "bold")]
    for fact in result.facts:
        value = fact.value if fact.value is not None else f"unknown ({fact.why})"
        lines += paragraph(f"{fact.name}: {value}", width, first="  ", indent="    ")
        lines += paragraph(fact.origin, width, indent="      ", style="dim")
    if result.follows is not None:
        lines += [Text(), Text("rules", "bold")]
        for rule in result.follows.outcome.rules:
            lines += paragraph(f"{rule.id}: {rule.says}", width, first="  ", indent="    ")
            lines += paragraph(f"({rule.source})", width, indent="      ", style="dim")
        if result.follows.others:
            what = f"{result.follows.others} other combinations of what could not be read agree too; this one takes"
            lines += [Text(), *paragraph(f"{what} for granted:", width)]
            for assumed in result.follows.outcome.assumed:
                lines += paragraph(assumed, width, first="  - ", indent="    ")
    return lines
