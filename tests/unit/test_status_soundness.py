"""Hiding facts may make a verdict unknown, never wrong: against hosts whose truth is known."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from made_hosts import hide, made

from l1dflush.data.l1tf_cpus import lists
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.mitigation.affected import identified
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import Cpu, Facts, Kernel, Limits
from l1dflush.status.explained import explain
from l1dflush.status.judged import Cause, L1tfVerdict, judge
from l1dflush.status.worlds import World
from l1dflush.verdict.model import Verdict

LISTS = lists()
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
# Without these the decision cannot be asked at all.
HIDEABLE = ("version", "command_line", "levels", "config_mitigations", "config_l1tf", "memory_end", "bugs",
            "flush_command", "arch_capabilities", "ept", "vmx", "address_bits", "threads", "text", "smt_control",
            "smt_active", "loaded", "parameter", "kvm_ept", "options", "hypervisor", "l1d", "flags",
            "others", "built_in")  # fmt: skip


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


@st.composite
def hosts(draw: st.DrawFn) -> tuple[HostFacts, Decision, L1tfVerdict]:
    """A host that says everything, what its kernel decided, and whether it is protected."""
    kernel = replace(Kernel.parse(draw(st.sampled_from(RELEASES))), levels=draw(st.sampled_from((4, 4, 4, 2))))
    if not kernel.since(4, 19):
        kernel = replace(kernel, limits=draw(st.sampled_from((Limits.BY_VERSION, *_BACKPORTED))))
    model = draw(st.sampled_from((0x3C, 0x5E, 0x55, 0x37)))
    bits = draw(st.sampled_from((36, 39, 46)))
    cpu = Cpu(
        model=model,
        command=draw(st.booleans()),
        arch_capabilities=draw(st.sampled_from((0, 0, 0, 1, 8))),
        ept=draw(st.sampled_from((True, True, True, False))),
        address_bits=bits,
        threads=draw(st.sampled_from((1, 2))),
    )
    cpu = identified(cpu, kernel, LISTS)
    line = draw(st.sampled_from(LINES))
    # What the CPU cannot address is no RAM.
    end = draw(st.sampled_from((1 << 33, 1 << 33, 1 << bits)))
    facts = Facts(kernel, cpu, line, end)
    options = draw(st.sampled_from(((), (), ("vmentry_l1d_flush=always",), ("ept=0",))))
    world = World(facts, draw(st.sampled_from((True, True, False))), " ".join(options))
    smt = [Action(Do.WRITE_SMT, draw(st.sampled_from(("on", "off", "forceoff"))))] if draw(st.booleans()) else []
    writes = [Action(Do.WRITE, text) for text in draw(st.lists(st.sampled_from(WRITES), max_size=2))]
    truth = decide(facts, (*world.actions, *smt, *writes))
    guest = draw(st.booleans())
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
        hypervisor="KVM" if guest else "",
        text=truth.sysfs,
        smt_control=truth.smt.value,
        smt_active=truth.smt_active,
        loaded=loaded,
        parameter=truth.parameter,
        kvm_ept=truth.ept,
        options=options,
    )
    # Of the L1D's bits, whatever the kernel knows of them: at least 44 on clients.
    above = truth.inversion and end > 1 << (max(bits, 44 if model in (0x3C, 0x5E) else 0) - 1)
    return host, truth, plain_verdict(truth, guest=guest, above=above)


@settings(max_examples=300, deadline=None)
@given(hosts())
def test_a_host_that_says_everything_agrees_with_its_facts(case: tuple[HostFacts, Decision, L1tfVerdict]) -> None:
    host, truth, verdict = case
    explained = explain(host, LISTS)
    assert explained.differences == ()
    assert explained.shown.decision.sysfs == truth.sysfs
    assert explained.shown.decision.parameter == truth.parameter
    assert judge(host, explained, Verdict.PROVED).verdict is verdict


@settings(max_examples=300, deadline=None)
@given(hosts(), st.frozensets(st.sampled_from(HIDEABLE), max_size=10))
def test_what_is_hidden_makes_a_verdict_unknown_at_most(
    case: tuple[HostFacts, Decision, L1tfVerdict], names: frozenset[str]
) -> None:
    host, _, verdict = case
    host = hide(host, names)
    explained = explain(host, LISTS)
    assert explained.differences == ()
    judged = judge(host, explained, Verdict.PROVED)
    if judged.verdict is L1tfVerdict.PARTIAL and any(ground.cause is Cause.UNLESS for ground in judged.grounds):
        # It promises nothing, and says what else may be.
        others = [ground.says for ground in judged.grounds if ground.cause is Cause.UNLESS]
        assert verdict is L1tfVerdict.PARTIAL or any(one.endswith(f"then {verdict.value}") for one in others)
    else:
        assert judged.verdict in (verdict, L1tfVerdict.UNKNOWN)
