"""Kernels whose KVM has no flush, those with no mitigation, and what distributions made of them: against the truth."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from made_hosts import hide
from old_hosts import CPUS, NAMES, Old
from thorough import examples

from l1dflush.data.l1tf_cpus import lists
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.status.flush_worth import FlushWorth
from l1dflush.status.judged import Cause, L1tfVerdict
from l1dflush.status.model import StatusResult
from l1dflush.status.result import status_result
from l1dflush.verdict.model import Verdict

LISTS = lists()
HIDEABLE = ("version", "command_line", "config_mitigations", "config_kvm_intel", "config_hotplug_smt", "memory_end",
            "bugs", "flags", "flush_command", "arch_capabilities", "ept", "vmx", "address_bits", "threads", "text",
            "has_text", "smt_control", "smt_active", "loaded", "built_in", "device", "parameter", "has_parameter",
            "kvm_ept", "options", "hypervisor", "l1d", "others")  # fmt: skip


def status(host: HostFacts) -> StatusResult:
    return status_result(host, FlushWorth(Verdict.PROVED, "linux-4.18", ""), LISTS)


@st.composite
def old_hosts(draw: st.DrawFn, *, any_name: bool) -> Old:
    """``any_name``: also kernels that have what nobody expects of their name."""
    release, version, may_have = draw(st.sampled_from(NAMES))
    kvm = draw(st.sampled_from(("module", "built in", "gave up", "not loaded", "absent")))
    below = draw(st.sampled_from(("", "", "KVM", "KVM, which flushes")))
    return Old(
        release,
        version,
        has=draw(st.sampled_from(("nothing", "inversion", "all") if any_name else may_have)),
        kvm=kvm,
        cpu=draw(st.sampled_from(tuple(CPUS))),
        ept=draw(st.sampled_from((True, True, False))) or kvm == "gave up",
        mode=draw(st.sampled_from(("never", "cond", "always"))),
        smt=draw(st.booleans()),
        below=below,
    )


@settings(max_examples=examples(150, 1500), deadline=None)
@given(old_hosts(any_name=True))
def test_what_is_in_sys_decides_whatever_the_kernel_is_called(old: Old) -> None:
    result = status(old.facts())
    assert result.verdict is old.truth, result.grounds
    if old.bug:
        assert result.follows is not None
        assert result.follows.agrees, result.follows.differences
        assert (result.follows.outcome.sysfs is None) == (old.has == "nothing")
        assert result.follows.outcome.parameter == (None if old.kvm == "gave up" else old.parameter)
        if old.has != "all":
            assert result.follows.outcome.mechanism is None


@settings(max_examples=examples(250, 2500), deadline=None)
@given(old_hosts(any_name=False), st.frozensets(st.sampled_from(HIDEABLE), max_size=14))
def test_what_is_hidden_makes_a_verdict_unknown_at_most(old: Old, names: frozenset[str]) -> None:
    result = status(hide(old.facts(), names))
    unless = [ground.says for ground in result.grounds if ground.cause is Cause.UNLESS]
    if unless and old.truth is not L1tfVerdict.PARTIAL:
        # It promises nothing, and says what else may be.
        assert any(one.endswith(f"then {old.truth.value}") for one in unless)
    else:
        assert result.verdict in (old.truth, L1tfVerdict.UNKNOWN), result.grounds
