# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a host, and the causes it rests on.

Who may read what through L1TF: a guest the host's and other guests' memory, which the flush before VM entries and SMT
decide; a process what entries of page tables that are not present point to, which PTE inversion decides. How each
outcome is to be read: docs/status.md, from section 1.7 of the kernel facts that the design names.
"""

from __future__ import annotations

from collections.abc import Sequence

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.host.l1d import FLUSH_COMMAND
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.explained import Explained, Explanation
from l1dflush.host.status.grounds import Cause, Ground, Judged, L1tfVerdict, worst
from l1dflush.host.status.sandbox import imitates_linux
from l1dflush.host.status.stand_ins import x86_alone
from l1dflush.host.status.worlds import X86, is_x86
from l1dflush.host.status.xen_host import believes_bug, without_bug, xen_grounds
from l1dflush.in_words import in_words
from l1dflush.mitigation.boot_line import parse
from l1dflush.mitigation.decision import Decision
from l1dflush.mitigation.facts import RDCL_NO, Facts, Kernel
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.powerpc import read_power, tells_l1tf
from l1dflush.mitigation.pte_inversion import memory_end
from l1dflush.mitigation.sysfs_text import Kind, Reading, read
from l1dflush.vmentry.subsystem import Mechanism, Mode


def _of_decision(decision: Decision, facts: Facts, *, guest: bool, software: Verdict) -> Judged:
    """How a decision is to be read. ``guest``: a hypervisor is below. ``software``: what the proof says about the
    software flush on this L1D."""
    if not decision.bug:
        return worst([Ground(Cause.NO_BUG, L1tfVerdict.NOT_AFFECTED, "the CPU has no L1TF")])
    if facts.cpu.fixed:
        what = "the CPU has no L1TF, which this kernel does not look for"
        return worst([Ground(Cause.NO_BUG, L1tfVerdict.NOT_AFFECTED, what)])
    return worst([*_entry(decision, facts, guest=guest, software=software), *_memory(decision, facts)])


def judge_explanation(host: HostFacts, explanation: Explanation, software: Verdict) -> Judged:
    """How one explanation of ``host``, or what becomes of it, is to be read."""
    return _on_host(host, judge_alone(host, explanation, software), [explanation])


def judge_alone(host: HostFacts, explanation: Explanation, software: Verdict) -> Judged:
    """The same without what no decision sees."""
    return _of_decision(explanation.decision, explanation.world.facts, guest=host.may_be_guest, software=software)


def judge(host: HostFacts, explained: Explained | None, software: Verdict, guess: Explained | None = None) -> Judged:
    """The verdict on a host. ``explained`` None: the decision could not be asked about this kernel and CPU; ``guess``:
    it was asked about what stands for them, and the kernel's word is held against that."""
    said = host.mitigation.text
    reading = None if said.value is None else read(said.value)
    if reading is not None and reading.kind is Kind.UNKNOWN:
        what = f"the kernel says '{reading.raw}', which is none of the texts that are known"
        return worst([Ground(Cause.UNKNOWN_TEXT, L1tfVerdict.UNKNOWN, what)])
    if (host.kernel.machine.value or "").startswith("ppc"):
        return worst([_of_power(host, reading)])
    if explained is None and _may_be_held(host, reading):
        explained = guess
    if explained is None:
        return _on_host(host, worst([_by_word(host, reading)]), [])
    follows = [judge_alone(host, one, software) for one in explained.possible or (explained.nearest,)]
    if reading is None:
        return _in_xen(host, _unsaid(host, explained, follows), explained.possible)
    if explained.differences:
        if reading.kind is Kind.VULNERABLE or reading.mode is Mode.NEVER:
            return worst([_by_word(host, reading)])
        first = explained.differences[0]
        what = f"the facts lead to '{first.follows}', and {first.what} says '{first.said}'"
        return worst([Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)])
    return _on_host(host, _together(explained, follows), explained.possible)


def _memory(decision: Decision, facts: Facts) -> list[Ground]:
    if facts.kernel.part is Part.NOTHING:
        what = "processes: entries of page tables that are not present are not inverted"
        return [Ground(Cause.TOO_OLD, L1tfVerdict.VULNERABLE, what)]
    if not decision.inversion:
        what = "entries of page tables that are not present are not inverted: processes can read memory through them"
        return [Ground(Cause.NO_INVERSION, L1tfVerdict.VULNERABLE, what)]
    if memory_end(facts, parse(facts.line, facts.kernel)) > decision.memory_limit:
        what = "some RAM is above what PTE inversion protects, and this kernel does not say so"
        return [Ground(Cause.MEMORY, L1tfVerdict.VULNERABLE, what)]
    return [Ground(Cause.INVERSION, L1tfVerdict.MITIGATED, "processes: PTE inversion")]


def _entry(decision: Decision, facts: Facts, *, guest: bool, software: Verdict) -> list[Ground]:
    mitigated = L1tfVerdict.MITIGATED
    if decision.ept is False:
        # Whatever the mode says: late 6.1.y set it up as if there were EPT.
        return [Ground(Cause.EPT_OFF, mitigated, "guests: without EPT they cannot aim at host memory")]
    if decision.mode is None:
        return [Ground(Cause.NOT_LOADED, mitigated, "guests: kvm_intel is not loaded, so it runs none")]
    without = facts.kernel.part is not Part.ALL
    if decision.mode is Mode.NOT_REQUIRED or (without and facts.cpu.flush_not_required):
        # No CPU with the bug says so itself.
        what = "guests: a hypervisor below says that it flushes for this one; nobody can check that here"
        return [Ground(Cause.BELOW, L1tfVerdict.UNKNOWN, what, open=True)]
    if without:
        what = "guests: this KVM has no flush: kvm_intel has no parameter vmentry_l1d_flush"
        return [Ground(Cause.NO_FLUSH, L1tfVerdict.VULNERABLE, what)]
    match decision.mode:
        case Mode.COND | Mode.ALWAYS:
            grounds = _flushing(decision, software)
        case _:
            what = "guests: nothing is flushed before they are entered"
            grounds = [Ground(Cause.NEVER, L1tfVerdict.VULNERABLE, what)]
    return [*grounds, *_smt(decision, guest=guest)]


def _flushing(decision: Decision, software: Verdict) -> list[Ground]:
    if decision.flushes is Mode.COND:
        what = "guests: the L1D is flushed only after some of what the host does (cond)"
        grounds = [Ground(Cause.CONDITIONAL, L1tfVerdict.PARTIAL, what)]
    else:
        what = "guests: the L1D is flushed before each entry"
        grounds = [Ground(Cause.ALWAYS, L1tfVerdict.MITIGATED, what)]
    if decision.mechanism is not Mechanism.READING:
        return grounds
    if software is Verdict.REFUTED:
        what = "the flush in software leaves lines in this CPU's L1D"
        grounds.append(Ground(Cause.REFUTED, L1tfVerdict.VULNERABLE, what))
    elif software is not Verdict.PROVED:
        what = "nobody knows whether the flush in software empties this CPU's L1D"
        grounds.append(Ground(Cause.UNPROVED, L1tfVerdict.UNKNOWN, what))
    return grounds


def _smt(decision: Decision, *, guest: bool) -> list[Ground]:
    if decision.smt_active:
        what = "SMT is on: a guest on one thread reads what the other thread leaves in the L1D that both use"
        return [Ground(Cause.SMT, L1tfVerdict.PARTIAL, what)]
    if guest:
        what = "whether two CPUs of this one are threads of one core below cannot be seen here"
        return [Ground(Cause.SMT_BELOW, L1tfVerdict.UNKNOWN, what)]
    return []


def _together(explained: Explained, follows: Sequence[Judged]) -> Judged:
    """All that may be the case, and nobody knows which: the same verdict; or partial where that is likeliest, unless
    something that is named makes it another, for that promises nothing; or unknown."""
    partial = L1tfVerdict.PARTIAL
    others = {one.verdict for one in follows} - {follows[0].verdict}
    if not others:
        # What is not so in all of them nobody knows.
        certain = tuple(ground for ground in follows[0].grounds if all(ground in one.grounds for one in follows))
        decides = any(ground.verdict is follows[0].verdict for ground in certain)
        return Judged(follows[0].verdict, certain) if decides else follows[0]
    if follows[0].verdict is partial and others <= {L1tfVerdict.VULNERABLE, L1tfVerdict.MITIGATED}:
        unless = [
            Ground(Cause.UNLESS, partial, f"unless {_where(explained, follows, other)}: then {other.value}")
            for other in sorted(others, key=lambda verdict: -verdict.behind)
        ]
        return worst([*follows[0].grounds, *unless])
    causes = {one.grounds[0].cause for one in follows if one.verdict is not follows[0].verdict}
    if follows[0].verdict is L1tfVerdict.VULNERABLE and causes == {Cause.BELOW}:
        what = f"unless {_where(explained, follows, L1tfVerdict.UNKNOWN)}: then unknown"
        return worst([*follows[0].grounds, Ground(Cause.UNLESS, L1tfVerdict.UNKNOWN, what)])
    kinds = " or ".join(dict.fromkeys(in_words(one.verdict.value) for one in follows))
    what = f"either {kinds}: what decides could not be read"
    return worst([Ground(Cause.DEPENDS, L1tfVerdict.UNKNOWN, what)])


def _where(explained: Explained, follows: Sequence[Judged], verdict: L1tfVerdict) -> str:
    """What is assumed wherever it is ``verdict`` and nowhere else; where nothing is, why it is."""
    pairs = list(zip(explained.possible, follows, strict=True))
    so = [set(one.world.assumed) for one, judged in pairs if judged.verdict is verdict]
    not_so = [set(one.world.assumed) for one, judged in pairs if judged.verdict is not verdict]
    only = set.intersection(*so).difference(*not_so)
    if only:
        return ", and ".join(sorted(only))
    causes = (judged.grounds[0].says for judged in follows if judged.verdict is verdict)
    return "; or ".join(dict.fromkeys(causes))


def _unsaid(host: HostFacts, explained: Explained, follows: Sequence[Judged]) -> Judged:
    """The kernel says nothing. What the facts lead to holds for a kernel with the mitigation, and that is not known."""
    together = _together(explained, follows)
    if together.verdict is L1tfVerdict.NOT_AFFECTED:
        return together
    # How wide the L1D is, is the CPU's: more than CPUID says, on some.
    unnamed = together.grounds[0].cause in (Cause.NO_INVERSION, Cause.MEMORY) and not host.cpu.signature.known
    if together.verdict is L1tfVerdict.VULNERABLE and not unnamed:
        if any(ground.cause is Cause.TOO_OLD for ground in together.grounds):
            return worst([_too_old(host, explained), *together.grounds])
        if together.grounds[0].cause in _WITHOUT_A_WORD or host.mitigation.parameter.known:
            return together
    if {one.verdict for one in follows} == {L1tfVerdict.VULNERABLE, L1tfVerdict.NOT_AFFECTED}:
        return together
    said = host.mitigation.text
    what = f"the kernel does not say: {said.origin}: {said.why}"
    return worst([Ground(Cause.NO_TEXT, L1tfVerdict.UNKNOWN, what)])


_WITHOUT_A_WORD = (Cause.NO_INVERSION, Cause.MEMORY, Cause.NO_FLUSH)
"""What makes a host vulnerable whatever its kernel would say."""


def _too_old(host: HostFacts, explained: Explained) -> Ground:
    """How that shows."""
    missing = host.mitigation.has_text
    if missing.value is False:
        what = f"this kernel has no mitigation: there is no l1tf beside what is in {missing.origin}"
    else:
        version = ".".join(map(str, explained.shown.world.facts.kernel.version))
        what = f"Linux {version} is older than the mitigation (August 2018)"
    return Ground(Cause.TOO_OLD, L1tfVerdict.VULNERABLE, what)


def _of_power(host: HostFacts, reading: Reading | None) -> Ground:
    """POWER has one flush against L1TF and Meltdown."""
    if reading is not None and reading.kind is Kind.INVERSION:
        return _by_word(host, reading)
    meltdown = None if host.power is None else host.power.meltdown.value
    together = read_power(host.mitigation.text.value, meltdown, tells=_tells_l1tf(host))
    if together is None:
        if reading is None:
            return _by_word(host, None)
        versions = "4.9.208, 4.14.162, 4.19.93, 5.4.8 and 5.5"
        what = f"the kernel says '{reading.raw}', which Linux on POWER said of every CPU until {versions}"
        return Ground(Cause.KERNEL_SAYS, L1tfVerdict.UNKNOWN, f"{what}; vulnerabilities/meltdown would tell")
    if together.kind is Kind.POWER and host.power is not None and host.power.rfi_flush.value is False:
        what = f"the kernel says '{together.raw}', and {host.power.rfi_flush.origin} says 0"
        return Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)
    return _by_word(host, together)


def _tells_l1tf(host: HostFacts) -> bool:
    try:
        return tells_l1tf(Kernel.parse(host.kernel.release.value or ""))
    except InputError:
        return False


def _may_be_held(host: HostFacts, reading: Reading | None) -> bool:
    """Whether the decision is about a kernel that says so: it is x86's."""
    kind = None if reading is None else reading.kind
    if imitates_linux(host) or kind is Kind.POWER:
        return False
    x86 = is_x86(host)
    return x86 is True or (x86 is None and (x86_alone(host) is not None or kind is Kind.INVERSION))


def _by_word(host: HostFacts, reading: Reading | None) -> Ground:
    """What the kernel says where nothing follows from facts: what is bad is believed, and what is good only of other
    machines than x86, whose kernels say all there is to know."""
    if reading is not None and reading.kind is Kind.VULNERABLE:
        return Ground(Cause.KERNEL_SAYS, L1tfVerdict.VULNERABLE, f"the kernel says '{reading.raw}'")
    if name := imitates_linux(host):
        what = f"this is {name}, and only says that it is Linux {host.kernel.release.value}: what it runs on decides"
        return Ground(Cause.SANDBOX, L1tfVerdict.UNKNOWN, what)
    if reading is None:
        said = host.mitigation.text
        what = f"the kernel does not say: {said.origin}: {said.why}"
        return Ground(Cause.NO_TEXT, L1tfVerdict.UNKNOWN, what)
    word = f"the kernel says '{reading.raw}'"
    if reading.mode is Mode.NEVER:
        return Ground(Cause.KERNEL_SAYS, L1tfVerdict.VULNERABLE, word)
    machine, x86 = host.kernel.machine.value, x86_alone(host)
    foreign = machine is not None and X86.fullmatch(machine) is None
    of_power, affected = reading.kind is Kind.POWER, reading.kind is not Kind.NOT_AFFECTED
    if machine is not None and affected and (not machine.startswith("ppc") if of_power else foreign):
        what = f"{word}, which is not what a kernel for {machine} says"
        return Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)
    if foreign and x86 is not None:
        what = f"{word}, and this is {machine}; but only on x86 there is what was read of {x86.origin}"
        return Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)
    # On POWER old kernels said "Not affected" of every CPU; those answer to another function.
    if not affected and x86 is None and (foreign or (machine is None and _tells_l1tf(host))):
        return Ground(Cause.KERNEL_SAYS, L1tfVerdict.NOT_AFFECTED, word)
    if of_power and machine is not None:
        return Ground(Cause.KERNEL_SAYS, L1tfVerdict.MITIGATED, word)
    lacks = "what machine it is could not be read" if is_x86(host) is None else "too little else could be read"
    return Ground(Cause.KERNEL_SAYS, L1tfVerdict.UNKNOWN, f"{word}, and {lacks}, so nothing can be held against that")


def _on_host(host: HostFacts, judged: Judged, possible: Sequence[Explanation]) -> Judged:
    """A verdict with what no decision sees: what else runs guests here, and CPUs that are not alike. ``possible``: what
    explains it; none where only the kernel's word counts."""
    if judged.verdict is L1tfVerdict.NOT_AFFECTED:
        return _in_xen(host, judged, possible)
    if without_bug(host):
        what = "the CPU has no L1TF: Xen read RDCL_NO in it, whatever its control domain is shown"
        return worst([Ground(Cause.NO_BUG, L1tfVerdict.NOT_AFFECTED, what)])
    of_xen = list(xen_grounds(host))
    said = read(host.mitigation.text.value or "")
    denied = bool((host.cpu.arch_capabilities.value or 0) & RDCL_NO) or said.kind is Kind.NOT_AFFECTED
    if of_xen and denied and not host.cpu.signature.known:
        what = "CPU or kernel say that there is no L1TF, Xen's log is of one that has it, and the model is unknown"
        of_xen = [Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)]
    return worst([*judged.grounds, *_others(host), *of_xen, *_uneven(host, judged)])


def _in_xen(host: HostFacts, judged: Judged, possible: Sequence[Explanation]) -> Judged:
    """That there is no L1TF, held against what Xen believes of the same CPU: it reads RDCL_NO itself, and supposes the
    bug in a CPU that it does not know. A CPU of the kernel's lists has none whatever Xen supposes."""
    if judged.verdict is not L1tfVerdict.NOT_AFFECTED or not believes_bug(host):
        return judged
    if possible and not any(one.world.facts.cpu.arch_capabilities & RDCL_NO for one in possible):
        return judged
    what = "the kernel says that the CPU has no L1TF, which no list of CPUs explains, and Xen believes it vulnerable"
    return worst([Ground(Cause.DISAGREE, L1tfVerdict.UNKNOWN, what)])


def _others(host: HostFacts) -> list[Ground]:
    """Whether they flush nobody knows. None is known on other machines than x86."""
    others, machine = host.mitigation.others, host.kernel.machine.value
    if others.value == () or (others.value is None and machine is not None and not X86.fullmatch(machine)):
        return []
    if others.value is None:
        # As a rule there is none.
        what = f"whether another program runs guests could not be read: {others.origin}: {others.why}"
        return [Ground(Cause.OTHERS, L1tfVerdict.UNKNOWN, what)]
    what = f"{', '.join(others.value)} runs guests too: whether it flushes cannot be seen here"
    return [Ground(Cause.OTHERS, L1tfVerdict.UNKNOWN, what, open=True)]


def _uneven(host: HostFacts, judged: Judged) -> list[Ground]:
    """The kernel gives the command on all CPUs or on none."""
    flushes = any(ground.cause in (Cause.ALWAYS, Cause.CONDITIONAL) for ground in judged.grounds)
    if not flushes or FLUSH_COMMAND not in (host.cpu.uneven.value or ()):
        return []
    what = "some CPUs have the flush command and others have not: their microcode differs"
    return [Ground(Cause.UNEVEN, L1tfVerdict.UNKNOWN, what, open=True)]
