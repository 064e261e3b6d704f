# SPDX-License-Identifier: GPL-2.0-or-later
"""Hiding facts may make a verdict unknown, never wrong: against hosts whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_hosts import hide, made
from thorough import THOROUGH, examples
from xen_hosts import SETTINGS, written, xen_log
from xen_hosts import threads as made_threads

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.explained import explain
from l1dflush.host.status.grounds import Cause, Judged, L1tfVerdict
from l1dflush.host.status.judged import judge
from l1dflush.host.status.result import Understood, understood
from l1dflush.host.status.worlds import World
from l1dflush.mitigation.affected import identified
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import Cpu, Facts, Kernel, Limits

LISTS = lists()
P = "Mitigation: PTE Inversion"
CPUINFO = frozenset(
    {
        "signature",
        "flags",
        "uneven",
        "bugs",
        "microcode",
        "hypervisor",
        "flush_command",
        "arch_capabilities",
        "vmx",
        "ept",
    }
)
RELEASES = (
    "4.9.130",
    "4.14.66",
    "4.14.80",
    "4.14.200",
    "4.18.4",
    "4.19.0",
    "4.19.250",
    "5.10.262",
    "6.1.192",
    "6.12.117",
    "6.16.3",
    "6.17.1",
    "7.2.13",
)
LINES = ("", "l1tf=off", "l1tf=full", "l1tf=full,force", "l1tf=flush,nosmt", "mitigations=off", "nosmt", "nosmt=force",
         "mitigations=auto,nosmt l1tf=full", "l1tf=full kvm-intel.vmentry_l1d_flush=never")  # fmt: skip
_BACKPORTED = (Limits.CACHE_BITS, Limits.ADDRESS_BITS)
"""Limits for RAM that a kernel may have against its version."""
WRITES = ("never", "cond", "always", "auto", "rubbish")
HIDEABLE = ("release", "machine", "signature", "cpuinfo",
            "version", "command_line", "levels", "config_mitigations", "config_l1tf", "memory_end", "bugs",
            "flush_command", "arch_capabilities", "ept", "vmx", "address_bits", "threads", "text", "smt_control",
            "smt_active", "loaded", "parameter", "kvm_ept", "options", "hypervisor", "l1d", "flags",
            "others", "built_in", "xen_control", "xen_log", "xen_info")  # fmt: skip


def plain_verdict(decision: Decision, *, guest: bool, above: bool) -> L1tfVerdict:
    """The second column of the table in docs/status.md, written down without looking at the code that judges."""
    if not decision.bug:
        return L1tfVerdict.NOT_AFFECTED
    if not decision.inversion or above:
        return L1tfVerdict.VULNERABLE
    if decision.parameter is None or decision.ept is False:
        return L1tfVerdict.MITIGATED
    if decision.parameter == "never":
        return L1tfVerdict.VULNERABLE
    if decision.parameter == "not required":
        return L1tfVerdict.UNKNOWN
    if decision.parameter == "cond" or decision.smt_active:
        return L1tfVerdict.PARTIAL
    if guest:
        return L1tfVerdict.UNKNOWN
    return L1tfVerdict.MITIGATED


_RANK = (
    L1tfVerdict.NOT_AFFECTED,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.VULNERABLE,
)


def plain_xen(log: dict[str, Any], threads: int) -> L1tfVerdict:
    """What XSA-273 comes to for Xen's guests, from what its log was made of."""
    verdicts = [L1tfVerdict.MITIGATED if log["shadowing"] else L1tfVerdict.VULNERABLE]
    if log["vmx"] and log["hap"] == "detected":
        if not log["flush"]:
            verdicts.append(L1tfVerdict.UNKNOWN if log["skip"] else L1tfVerdict.VULNERABLE)
        elif threads > 1:
            verdicts.append(L1tfVerdict.PARTIAL)
    return max(verdicts, key=_RANK.index)


@st.composite
def xens(draw: st.DrawFn, bug: bool = True, rdcl_no: bool = False) -> tuple[dict[str, Any], L1tfVerdict]:
    """The facts of Xen's control domain, with all or some of the log's lines, and what its guests are worth. Xen knows
    as well as Linux whether the processor has the ``bug``."""
    threads = draw(st.sampled_from((1, 2)))
    log = {
        "bug": bug,
        "rdcl_no": rdcl_no,
        "version": draw(st.sampled_from(tuple(SETTINGS))),
        "flush": draw(st.sampled_from((True, True, False))),
        "skip": draw(st.booleans()),
        "shadowing": draw(st.sampled_from((True, True, False))),
        "vmx": draw(st.sampled_from((True, True, False))),
        "hap": draw(st.sampled_from(("detected", "detected", "not detected"))),
        # Nobody chose, and there are two threads; or somebody did.
        **({"smt": bug} if threads > 1 and draw(st.booleans()) else {"line": "smt=1" if threads > 1 else "smt=0"}),
    }
    lines = xen_log(**log)
    lost = draw(st.sets(st.sampled_from(range(len(lines))), max_size=draw(st.sampled_from((0, 0, 3, 20)))))
    kept = written([line for number, line in enumerate(lines) if number not in lost])
    return {"xen_control": True, "xen_log": kept, "xen_info": made_threads(threads)}, plain_xen(log, threads)


@st.composite
def hosts(draw: st.DrawFn, *, with_mode: bool = False) -> tuple[HostFacts, Decision, L1tfVerdict]:
    """A host that says everything, what its kernel decided, and whether it is protected. ``with_mode``: it has L1TF,
    and kvm_intel is loaded with EPT."""
    kernel = replace(Kernel.parse(draw(st.sampled_from(RELEASES))), levels=draw(st.sampled_from((4, 4, 4, 2))))
    if not kernel.since(4, 19):
        kernel = replace(kernel, limits=draw(st.sampled_from((Limits.BY_VERSION, *_BACKPORTED))))
    model = draw(st.sampled_from((0x3C, 0x5E, 0x55) if with_mode else (0x3C, 0x5E, 0x55, 0x37)))
    bits = draw(st.sampled_from((36, 39, 46)))
    cpu = Cpu(
        model=model,
        command=draw(st.booleans()),
        arch_capabilities=draw(st.sampled_from((0,) if with_mode else (0, 0, 0, 1, 8))),
        ept=with_mode or draw(st.sampled_from((True, True, True, False))),
        address_bits=bits,
        threads=draw(st.sampled_from((1, 2))),
    )
    cpu = identified(cpu, kernel, LISTS)
    line = draw(st.sampled_from(LINES))
    # What the CPU cannot address is not RAM.
    end = draw(st.sampled_from((1 << 33, 1 << 33, 1 << bits)))
    facts = Facts(kernel, cpu, line, end)
    options = draw(st.sampled_from(((), (), ("vmentry_l1d_flush=always",), ("ept=0",))[: 3 if with_mode else 4]))
    world = World(facts, with_mode or draw(st.sampled_from((True, True, False))), " ".join(options))
    smt = [Action(Do.WRITE_SMT, draw(st.sampled_from(("on", "off", "forceoff"))))] if draw(st.booleans()) else []
    writes = [Action(Do.WRITE, text) for text in draw(st.lists(st.sampled_from(WRITES), max_size=2))]
    truth = decide(facts, (*world.actions, *smt, *writes))
    xen, worth = draw(st.one_of(st.just(({}, L1tfVerdict.MITIGATED)), xens(truth.bug, bool(cpu.arch_capabilities & 1))))
    hypervisor = "Xen" if xen else draw(st.sampled_from(("", "KVM")))
    loaded = truth.mode is not None
    host = made(
        release=".".join(map(str, kernel.version)) + ("" if kernel.levels == 4 else "-686"),
        machine="x86_64" if kernel.levels == 4 else "i686",
        version="#1",
        command_line=line,
        levels=kernel.levels,
        memory_end=end,
        signature=Signature("GenuineIntel", 6, model, 0, "a CPU"),
        bugs=frozenset({"l1tf"} if truth.bug else ()),
        flush_command=cpu.command,
        arch_capabilities=cpu.arch_capabilities,
        ept=cpu.ept,
        address_bits=cpu.address_bits,
        threads=cpu.threads,
        hypervisor=hypervisor,
        text=truth.sysfs,
        smt_control=truth.smt.value,
        smt_active=truth.smt_active,
        loaded=loaded,
        parameter=truth.parameter,
        has_parameter=True if loaded else None,
        kvm_ept=truth.ept,
        options=options,
        **xen,
    )
    # Of the L1D's bits, whatever the kernel knows of them: at least 44 on clients.
    above = truth.inversion and end > 1 << (max(bits, 44 if model in (0x3C, 0x5E) else 0) - 1)
    verdict = plain_verdict(truth, guest=bool(hypervisor), above=above)
    nobody_knows = L1tfVerdict.UNKNOWN in (worth, verdict if truth.parameter == "not required" else None)
    if verdict is not L1tfVerdict.NOT_AFFECTED:
        verdict = max(verdict, worth, key=_RANK.index)
        if verdict is L1tfVerdict.PARTIAL and nobody_knows:
            # It may be vulnerable as well: of SMT below only partial comes.
            verdict = L1tfVerdict.UNKNOWN
    return host, truth, verdict


@settings(max_examples=examples(300, 2500), deadline=None)
@given(hosts())
def test_a_host_that_says_everything_agrees_with_its_facts(case: tuple[HostFacts, Decision, L1tfVerdict]) -> None:
    host, truth, verdict = case
    explained = explain(host, LISTS)
    assert explained.differences == ()
    assert explained.shown.decision.sysfs == truth.sysfs
    assert explained.shown.decision.parameter == truth.parameter
    judged = judge(host, explained, Verdict.PROVED)
    if host.xen.control.value:
        may_be(judged, verdict)
    else:
        assert judged.verdict is verdict


@settings(max_examples=examples(300, 2500), deadline=None)
@given(hosts(), st.frozensets(st.sampled_from(HIDEABLE), max_size=10))
def test_what_is_hidden_makes_a_verdict_unknown_at_most(
    case: tuple[HostFacts, Decision, L1tfVerdict], names: frozenset[str]
) -> None:
    host, _, verdict = case
    host = hide(host, whole(names))
    known = understood(host, LISTS)
    for explained in (known.explained, known.guess):
        # Where release, machine or CPU are unknown something stands for them, and explains as much.
        assert explained is None or explained.differences == ()
    may_be(judged_as(host, known), verdict)


STABLE = ("4.9.120", "4.9.130", "4.9.176", "4.9.231", "4.14.66", "4.14.86", "4.14.92", "4.14.99", "4.14.119",
          "4.14.189", "4.18.4", "4.18.6", "4.19.0", "4.19.7", "4.19.14", "4.19.21", "4.19.43", "4.20.0", "4.20.1",
          "4.20.8", "5.0.0", "5.0.16", "5.1.2", "5.2.0", "5.4.0")  # fmt: skip
"""Of the versions between which later changes came to stable branches, one or more each."""
ANY_LIMIT = ("4.9.120", "4.14.66")
"""Of these each limit is tried that a distribution's kernel of that number may have."""


@pytest.mark.parametrize("line", ["l1tf=off", "mitigations=off", "l1tf=full,force", "maxcpus=1", "nosmt mem=16G"])
@pytest.mark.parametrize("bits", [36, 46])
def test_what_stands_for_a_kernel_explains_all_that_any_kernel_says(line: str, bits: int) -> None:
    """Whatever changes a stable version has taken over, and whichever limit for RAM it has."""
    for release, limit, end in product(STABLE, Limits, (1 << 33, 1 << bits)):
        kernel = Kernel.parse(release)
        if limit is not Limits.BY_VERSION and (kernel.since(4, 18) or not (THOROUGH or release in ANY_LIMIT)):
            continue
        kernel = replace(kernel, limits=limit)
        cpu = identified(Cpu(model=0x3C, address_bits=bits, threads=2), kernel, LISTS)
        world = World(Facts(kernel, cpu, line, end, siblings_online=line != "maxcpus=1"), loaded=True)
        truth = decide(world.facts, world.actions)
        host = hide(_as_shown(world, truth), frozenset({"release"}))
        known = understood(host, LISTS)
        assert known.guess is not None and known.guess.differences == (), (release, limit, end)
        above = truth.inversion and world_end(world) > 1 << (max(bits, 44) - 1)
        may_be(judged_as(host, known), plain_verdict(truth, guest=False, above=above))


def world_end(world: World) -> int:
    return 1 << 34 if "mem=16G" in world.facts.line else world.facts.memory_end


def _as_shown(world: World, truth: Decision) -> HostFacts:
    """A host without a hypervisor that says everything."""
    facts = world.facts
    return made(
        release=".".join(map(str, facts.kernel.version)), machine="x86_64", version="#1", command_line=facts.line,
        levels=4, memory_end=facts.memory_end, signature=Signature("GenuineIntel", 6, facts.cpu.model, 0, "a CPU"),
        bugs=frozenset({"l1tf"}), flush_command=False, arch_capabilities=0, ept=True,
        address_bits=facts.cpu.address_bits, threads=facts.cpu.threads, hypervisor="", text=truth.sysfs,
        smt_control=truth.smt.value, smt_active=truth.smt_active, loaded=True, parameter=truth.parameter,
        has_parameter=True, kvm_ept=truth.ept, options=(),
    )  # fmt: skip


@pytest.mark.parametrize("hidden", [{"signature", "text"}, {"machine", "signature", "text"}])
@pytest.mark.parametrize("end", [1 << 36, 1 << 40])
def test_how_wide_the_l1d_is_depends_on_a_cpu_that_nobody_names(hidden: set[str], end: int) -> None:
    """Of 36 bits half is 32 GiB, but an L1D of a Haswell uses 44, and a kernel that took the fix knows: whether all RAM
    is protected is not a question of what CPUID says alone."""
    kernel = replace(Kernel.parse("4.14.66"), limits=Limits.CACHE_BITS)
    facts = Facts(kernel, Cpu(model=0x3C, address_bits=36), "", end)
    truth = decide(replace(facts, cpu=identified(facts.cpu, facts.kernel, LISTS)), ())
    host = made(
        release="4.14.66", machine="x86_64", version="#1", command_line="", levels=4, memory_end=end,
        signature=Signature("GenuineIntel", 6, 0x3C, 0, "a CPU"), bugs=frozenset({"l1tf"}), flush_command=False,
        arch_capabilities=8, ept=True, address_bits=36, threads=1, hypervisor="", text=truth.sysfs,
        smt_control="notsupported", smt_active=False, loaded=True, parameter="not required", has_parameter=True,
        kvm_ept=True, options=(),
    )  # fmt: skip
    assert judged_of(hide(host, frozenset(hidden))).verdict is not L1tfVerdict.VULNERABLE


@pytest.mark.parametrize(
    "word", ["Not affected", P, f"{P}; VMX: EPT disabled", f"{P}; VMX: cache flushes, SMT disabled"]
)
@settings(max_examples=examples(15, 400), deadline=None)
@given(hosts(with_mode=True), st.frozensets(st.sampled_from(("release", "machine", "cpuinfo")), min_size=1), st.data())
def test_a_good_word_that_is_not_true_is_not_believed(
    word: str, case: tuple[HostFacts, Decision, L1tfVerdict], names: frozenset[str], data: st.DataObject
) -> None:
    """Something else, another text, stood there; and what was read says so: then it is no better than the truth."""
    host, truth, verdict = case
    assert truth.parameter in ("never", "cond", "always")
    assume(truth.sysfs != word)
    # Whichever kernel it is, it may be one of the many that take other addresses for safe, and then the word is true.
    assume("release" not in names or truth.inversion or not limit_is_the_kernel_s(host))
    lied = replace(host, mitigation=replace(host.mitigation, text=Fact(word, "l1tf")))
    also = data.draw(st.frozensets(st.sampled_from(("version", "command_line", "address_bits", "threads"))))
    judged = judged_of(hide(lied, whole(names | also)))
    assert (
        judged.verdict in (L1tfVerdict.UNKNOWN, L1tfVerdict.PARTIAL, L1tfVerdict.VULNERABLE)
        or verdict is judged.verdict
    )


def limit_is_the_kernel_s(host: HostFacts) -> bool:
    """Whether all RAM is safe for kernels that know how many bits an L1D has, and not for those that ask CPUID."""
    signature, bits, end = host.cpu.signature.value, host.cpu.address_bits.value, host.kernel.memory_end.value
    assert signature is not None and bits is not None and end is not None
    return signature.model in (0x3C, 0x5E) and 1 << (bits - 1) < end <= 1 << 43


def whole(names: frozenset[str]) -> frozenset[str]:
    """With what is in /proc/cpuinfo, where that is missing."""
    return names - {"cpuinfo"} | CPUINFO if "cpuinfo" in names else names


def judged_of(host: HostFacts) -> Judged:
    return judged_as(host, understood(host, LISTS))


def judged_as(host: HostFacts, known: Understood) -> Judged:
    return judge(host, known.explained, Verdict.PROVED, known.guess)


def may_be(judged: Judged, truth: L1tfVerdict) -> None:
    """It is the truth or unknown. Partial promises nothing: it may be another that it names."""
    others = [ground.says for ground in judged.grounds if ground.cause is Cause.UNLESS]
    allowed = {truth, L1tfVerdict.UNKNOWN}
    if any(one.endswith(f"then {truth.value}") for one in others):
        allowed.add(L1tfVerdict.PARTIAL)
    assert judged.verdict in allowed
