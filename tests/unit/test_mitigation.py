"""The decision about L1TF: its rules one by one, and what must hold whatever the facts are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1dflush.data.l1tf_cpus import lists
from l1dflush.errors import InputError
from l1dflush.mitigation import rules
from l1dflush.mitigation.affected import affected, identified
from l1dflush.mitigation.boot_line import VECTORS, CrossThread, Global, options, parse
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import RDCL_NO, SKIP_VMENTRY_L1DFLUSH, Control, Cpu, Facts, Kernel, Vendor
from l1dflush.mitigation.powerpc import Firmware, Power
from l1dflush.mitigation.run_time import RunningHost
from l1dflush.mitigation.sysfs_text import Kind, read, text
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode

VERSIONS = ("4.9.120", "4.19.0", "4.19.43", "5.3.1", "5.10.262", "6.1.192", "6.12.117", "6.16.0", "6.17.1", "7.2.13")
P = "Mitigation: PTE Inversion"
SMT2 = Cpu(threads=2)


def on(version: str, line: str = "", cpu: Cpu = SMT2) -> Facts:
    return Facts(Kernel.parse(version), cpu, line)


def loaded(facts: Facts, parameters: str = "", *more: Action) -> Decision:
    return decide(facts, (Action(Do.LOAD, parameters), *more))


def write(value: str) -> Action:
    return Action(Do.WRITE, value)


# Boot lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "l1tf", "smt"),
    [
        ("", Boot.FLUSH, Control.ON),
        ("l1tf=off", Boot.OFF, Control.ON),
        ("l1tf=flush,nowarn", Boot.FLUSH_NOWARN, Control.ON),
        ("l1tf=flush,nosmt", Boot.FLUSH_NOSMT, Control.OFF),
        ("l1tf=full", Boot.FULL, Control.OFF),
        ("l1tf=full,force", Boot.FULL_FORCE, Control.FORCE_OFF),
        ("l1tf=FULL l1tf l1tf=", Boot.FLUSH, Control.ON),
        ("l1tf=full l1tf=nonsense", Boot.FULL, Control.OFF),
        ("l1tf=full,force l1tf=off", Boot.OFF, Control.ON),
        ('"l1tf=full" quiet', Boot.FULL, Control.OFF),
        ('l1tf="full,force"', Boot.FULL_FORCE, Control.FORCE_OFF),
        ("quiet -- l1tf=off", Boot.FLUSH, Control.ON),
        ('dyndbg="file l1tf=off +p"', Boot.FLUSH, Control.ON),
        ("nosmt", Boot.FLUSH, Control.OFF),
        ("nosmt=force nosmt", Boot.FLUSH, Control.FORCE_OFF),
        ("nosmt nosmt=force", Boot.FLUSH, Control.FORCE_OFF),
        ("nosmt l1tf=full,force", Boot.FULL_FORCE, Control.FORCE_OFF),
        ("nosmt=force l1tf=full", Boot.FULL, Control.FORCE_OFF),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_boot_line(version: str, line: str, l1tf: Boot, smt: Control) -> None:
    decision = decide(on(version, line))
    assert (decision.l1tf, decision.smt) == (l1tf, smt)


@pytest.mark.parametrize(
    ("line", "up_to_6_15", "in_6_16", "since_6_17"),
    [
        ("mitigations=off", Boot.OFF, Boot.OFF, Boot.OFF),
        ("mitigations=off l1tf=full", Boot.OFF, Boot.OFF, Boot.FULL),
        ("l1tf=full,force mitigations=off", Boot.OFF, Boot.OFF, Boot.FULL_FORCE),
        ("mitigations=auto,nosmt", Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT),
        ("mitigations=auto,nosmt l1tf=off", Boot.FLUSH_NOSMT, Boot.OFF, Boot.OFF),
        ("mitigations=auto,nosmt l1tf=full,force", Boot.FLUSH_NOSMT, Boot.FULL_FORCE, Boot.FULL_FORCE),
        # The last word counts, but since 6.17 nothing gives back the attack vectors that off took away.
        ("mitigations=off mitigations=auto", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,nosmt mitigations=auto", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH_NOSMT),
        ("mitigations=off mitigations=auto,nosmt", Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT, Boot.OFF),
        ("mitigations=none", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        # Since 6.17 the first word is taken by its beginning.
        ("mitigations=offside", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,no_user_kernel", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto;no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel mitigations=auto,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,no_user_kernel,no_guest_host l1tf=flush", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel,typo,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,nosmt,no_cross_thread", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=,no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
    ],
)
def test_contradictory_options_are_settled_as_by_the_kernel(
    line: str, up_to_6_15: Boot, in_6_16: Boot, since_6_17: Boot
) -> None:
    for version in VERSIONS:
        kernel = Kernel.parse(version)
        expected = since_6_17 if kernel.since(6, 17) else in_6_16 if kernel.since(6, 16) else up_to_6_15
        assert decide(on(version, line)).l1tf is expected, version


def test_the_vectors() -> None:
    kernel = Kernel.parse("7.2.13")
    assert parse("", kernel).vectors == frozenset(VECTORS)
    line = parse("mitigations=auto,nosmt,no_user_user,no_guest_guest", kernel)
    assert line.vectors == {"user_kernel", "guest_host"}
    assert (line.mitigations, line.cross_thread) == (Global.AUTO_NOSMT, CrossThread.ON)
    assert parse("mitigations=auto;x mitigations=auto,x", kernel).unsupported == ("auto;x", "x")


def test_configuration() -> None:
    without = Kernel((6, 16, 0), l1tf=False)
    assert decide(Facts(without, SMT2)).l1tf is Boot.OFF
    assert decide(Facts(without, SMT2, "l1tf=flush")).l1tf is Boot.FLUSH
    assert decide(Facts(replace(without, version=(6, 12, 0)), SMT2)).l1tf is Boot.FLUSH
    none = Facts(Kernel((7, 2, 13), mitigations=False), SMT2, "mitigations=auto l1tf=full")
    decision = loaded(none, "", write("always"), write("anything"))
    assert (decision.mode, decision.flushes, decision.rule) == (Mode.NEVER, Mode.NEVER, rules.COMPILED_OUT)
    assert [one.result for one in decision.results] == ["ok"] * 3
    assert decision.log == ("kvm_intel: Kernel compiled without mitigations, ignoring vmentry_l1d_flush",)


@pytest.mark.parametrize(
    ("bugs", "line", "old", "new"),
    [
        ({"mds"}, "mitigations=auto,nosmt", Control.OFF, Control.OFF),
        ({"mds", "msbds_only"}, "mitigations=auto,nosmt", Control.ON, Control.ON),
        ({"taa"}, "tsx_async_abort=full,nosmt", Control.OFF, Control.OFF),
        ({"mmio_stale_data"}, "mmio_stale_data=full,nosmt mitigations=off", Control.ON, Control.OFF),
        ({"mds"}, "mds=full,nosmt mds=full", Control.OFF, Control.OFF),
        ({"mds"}, "mds=full,nosmt mds=off", Control.ON, Control.ON),
        ({"mds"}, "mitigations=auto,nosmt mds=off", Control.ON, Control.ON),
        (set(), "mds=full,nosmt mitigations=auto,nosmt", Control.ON, Control.ON),
    ],
)
def test_other_bugs_turn_smt_off_too(bugs: set[str], line: str, old: Control, new: Control) -> None:
    cpu = Cpu(bug=False, threads=2, bugs=frozenset(bugs))
    assert decide(on("6.1.192", line, cpu)).smt is old
    assert decide(on("7.2.13", line, cpu)).smt is new


def test_options() -> None:
    assert options('a b= "c=d e" f="g h" =x -- z') == [("a", None), ("b", ""), ("c", "d e"), ("f", "g h")]
    assert parse("kvm-intel.ept=0 kvm_intel.vmentry-l1d-flush=cond", Kernel.parse("6.1")).kvm_intel == (
        "ept=0",
        "vmentry_l1d_flush=cond",
    )


# Who is affected ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "bug"),
    [
        (Cpu(model=0x3C), True),
        (Cpu(model=0x3C, arch_capabilities=RDCL_NO), False),
        (Cpu(model=0x5C), False),
        (Cpu(model=0x85), False),
        (Cpu(model=0x86), True),
        (Cpu(model=0x1C), False),
        (Cpu(family=5, model=4), False),
        (Cpu(family=18, model=1), True),
        (Cpu(vendor=Vendor.AMD, family=23, model=1), False),
        (Cpu(vendor=Vendor.HYGON, family=24, model=1), False),
        (Cpu(vendor=Vendor.CENTAUR, family=7, model=0x1B), True),
        (Cpu(vendor=Vendor.OTHER, family=6, model=0x3C), True),
        (Cpu(vendor=Vendor.OTHER, family=4, model=8), False),
    ],
)
def test_who_has_the_bug(cpu: Cpu, bug: bool) -> None:
    found = affected(cpu, Kernel.parse("6.1.192"), lists())
    assert found.bug is bool(bug)
    assert found.why and found.source


def test_lists_change_with_the_version() -> None:
    airmont_np = Cpu(model=0x75)
    assert affected(airmont_np, Kernel.parse("4.19.0"), lists()).bug
    assert not affected(airmont_np, Kernel.parse("5.2"), lists()).bug


def test_the_l1d_may_use_more_bits_than_cpuid_says() -> None:
    kernel = Kernel.parse("6.1")
    assert identified(Cpu(model=0x3C, address_bits=39), kernel, lists()).cache_bits == 44
    assert identified(Cpu(model=0x3C, address_bits=46), kernel, lists()).cache_bits == 46
    assert identified(Cpu(model=0x55, address_bits=40), kernel, lists()).cache_bits == 40


# The mode -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "parameters", "mode", "rule", "mechanism"),
    [
        (on("6.12.1"), "", Mode.COND, rules.AUTO, Mechanism.READING),
        (on("6.12.1", "", replace(SMT2, command=True)), "", Mode.COND, rules.AUTO, Mechanism.COMMAND),
        (on("6.12.1", "l1tf=off"), "", Mode.NEVER, rules.AUTO, None),
        (on("6.12.1", "l1tf=off"), "vmentry_l1d_flush=always", Mode.ALWAYS, rules.WRITTEN, Mechanism.READING),
        (on("6.12.1", "l1tf=full,force"), "vmentry-l1d-flush=never", Mode.ALWAYS, rules.FORCED, Mechanism.READING),
        (on("6.12.1", "l1tf=full,force"), "ept=n", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.12.1", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.1.192", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.1.192", "", replace(SMT2, ept=False)), "ept=off", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.1.0", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.1.19", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.2.6", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.2.7", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.3.1", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (
            on("6.12.1", "", replace(SMT2, arch_capabilities=SKIP_VMENTRY_L1DFLUSH)),
            "",
            Mode.NOT_REQUIRED,
            rules.SKIP,
            None,
        ),
        (on("5.4.1", "", replace(SMT2, bug=False)), "", Mode.NOT_REQUIRED, rules.NO_BUG, None),
        (on("4.19.43", "", replace(SMT2, bug=False)), "", Mode.AUTO, rules.NO_BUG_OLD, None),
    ],
)
def test_the_first_rule_decides(
    facts: Facts, parameters: str, mode: Mode, rule: rules.Rule, mechanism: Mechanism | None
) -> None:
    decision = loaded(facts, parameters)
    assert decision.results[0].ok
    assert (decision.mode, decision.rule, decision.mechanism) == (mode, rule, mechanism)
    assert decision.parameter == mode.value


def test_a_later_ept_does_not_undo_the_flush() -> None:
    """6.1.y without EPT: the parameter says that nothing is flushed, and it still is."""
    decision = loaded(on("6.1.192", "", replace(SMT2, ept=False)), "vmentry_l1d_flush=always", write("never"))
    assert (decision.mode, decision.flushes) == (Mode.EPT_DISABLED, Mode.ALWAYS)


@pytest.mark.parametrize("value", ["always\n", "always", "always\0never"])
def test_accepted(value: str) -> None:
    decision = loaded(on("6.12.1"), "", write(value))
    assert decision.results[1].ok
    assert decision.mode is Mode.ALWAYS


@pytest.mark.parametrize("value", ["\n", "always\n\n", " always", "Always", "not required", "2", "\0always"])
def test_refused(value: str) -> None:
    for cpu in (SMT2, replace(SMT2, bug=False)):
        decision = loaded(on("6.12.1", "", cpu), "", write(value))
        assert decision.results[1].result == "EINVAL"
        assert decision.mode is loaded(on("6.12.1", "", cpu)).mode
        assert not decision.log


@pytest.mark.parametrize(
    ("facts", "actions", "results"),
    [
        (on("6.12.1"), [Action(Do.UNLOAD)], ["ENOENT"]),
        (on("6.12.1"), [write("cond")], ["ENOENT"]),
        (on("6.12.1"), [Action(Do.CREATE_VM)], ["ENOENT"]),
        (on("6.12.1"), [Action(Do.LOAD), Action(Do.LOAD)], ["ok", "EEXIST"]),
        (on("6.12.1"), [Action(Do.LOAD), write("")], ["ok", "ok"]),
        (on("6.12.1"), [Action(Do.LOAD, "ept=maybe")], ["EINVAL"]),
        (on("6.12.1"), [Action(Do.LOAD, "ept"), Action(Do.UNLOAD), Action(Do.UNLOAD)], ["ok", "ok", "ENOENT"]),
        (on("6.12.1", "", replace(SMT2, vmx=False)), [Action(Do.LOAD, "ept=0")], ["EOPNOTSUPP"]),
        (on("6.12.1", "", replace(SMT2, vmx=False)), [Action(Do.LOAD, "vmentry_l1d_flush")], ["EINVAL"]),
        (Facts(Kernel((6, 1, 0), kvm_intel=False)), [Action(Do.LOAD)], ["ENOENT"]),
    ],
)
def test_how_actions_end(facts: Facts, actions: list[Action], results: list[str]) -> None:
    assert [one.result for one in decide(facts, actions).results] == results


def test_no_memory_for_the_buffer() -> None:
    facts = replace(on("6.12.1", "l1tf=off"), buffer_memory=False)
    assert loaded(facts, "vmentry_l1d_flush=cond").results[0].result == "ENOMEM"
    decision = loaded(facts, "", write("always"))
    assert decision.results[1].result == "ENOMEM"
    assert (decision.mode, decision.flushes) == (Mode.NEVER, Mode.NEVER)
    assert loaded(replace(facts, cpu=replace(SMT2, command=True)), "", write("always")).mode is Mode.ALWAYS


# SMT's control --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "line", "values", "results", "control"),
    [
        ("6.1.192", "", ["off", "on\n", "forceoff", "on"], ["ok", "ok", "ok", "EPERM"], Control.FORCE_OFF),
        ("6.1.192", "nosmt=force", ["nonsense", "off"], ["EINVAL", "EPERM"], Control.FORCE_OFF),
        ("6.12.1", "nosmt=force", ["nonsense", "off"], ["EPERM", "EPERM"], Control.FORCE_OFF),
        ("6.1.192", "", ["1"], ["EINVAL"], Control.ON),
        ("6.12.1", "", ["1", "3", "2\n", ""], ["ok", "EINVAL", "ok", "ok"], Control.ON),
    ],
)
def test_writes_to_smt_control(
    version: str, line: str, values: list[str], results: list[str], control: Control
) -> None:
    decision = decide(on(version, line), [Action(Do.WRITE_SMT, value) for value in values])
    assert [one.result for one in decision.results] == results
    assert decision.smt is control


def test_smt_that_is_not_there() -> None:
    for line in ("", "nosmt=force", "l1tf=full,force"):
        decision = decide(on("6.12.1", line, Cpu(threads=1)), [Action(Do.WRITE_SMT, "off")])
        assert (decision.smt, decision.results[0].result) == (Control.NOT_SUPPORTED, "ENODEV")
    decision = decide(Facts(Kernel((6, 1, 0), hotplug_smt=False), SMT2), [Action(Do.WRITE_SMT, "off")])
    assert (decision.smt, decision.results[0].result) == (Control.NOT_IMPLEMENTED, "ENODEV")


def test_siblings_that_do_not_run() -> None:
    """The control says on, and nothing runs beside; 4.19.0 looked at the control."""
    for version, words in (("6.1.192", "SMT disabled"), ("4.19.0", "SMT vulnerable")):
        for facts in (replace(on(version), siblings_online=False), on(version, "maxcpus=1"), on(version, "maxcpus=0")):
            decision = loaded(facts)
            assert decision.smt is Control.ON
            assert decision.sysfs.endswith(words)
    assert loaded(on("6.1.192", "maxcpus=1 maxcpus=2")).smt_active
    # Switched on from off, SMT has all threads; a write of what it is already brings none up.
    again = [Action(Do.WRITE_SMT, word) for word in ("on", "off", "on")]
    assert not decide(on("6.1.192", "maxcpus=1"), again[:1]).smt_active
    assert decide(on("6.1.192", "maxcpus=1"), again).smt_active


def test_the_flavours_of_debian() -> None:
    levels = [Kernel.parse(f"6.1.0-56-{flavour}").levels for flavour in ("686", "686-pae", "amd64", "cloud-amd64")]
    assert levels == [2, 3, 4, 4]


# Warnings -------------------------------------------------------------------------------------------------------------


def test_warnings_come_once_per_load() -> None:
    vm = Action(Do.CREATE_VM)
    again = (Action(Do.UNLOAD), Action(Do.LOAD), vm)
    decision = loaded(on("6.12.1"), "vmentry_l1d_flush=never", vm, vm, *again)
    assert [line.partition(" present and ")[2].partition(",")[0] for line in decision.log] == [
        "SMT on",
        "virtualization mitigation disabled",
        "SMT on",
    ]
    assert all(line.startswith("kvm_intel: L1TF CPU bug") for line in decision.log)
    assert "admin-guide/l1tf.html" in loaded(on("4.19.42"), "", vm).log[0]
    assert "hw-vuln/l1tf.html" in loaded(on("4.19.43"), "", vm).log[0]


@pytest.mark.parametrize(
    "facts",
    [
        on("6.12.1", "l1tf=off"),
        on("6.12.1", "l1tf=flush,nowarn"),
        on("6.12.1", "l1tf=full,force"),
        on("6.12.1", "", replace(SMT2, bug=False)),
        on("6.12.1", "", replace(SMT2, ept=False)),
    ],
)
def test_no_warning(facts: Facts) -> None:
    assert not loaded(facts, "vmentry_l1d_flush=never", Action(Do.CREATE_VM)).log


# Texts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "kind", "mode", "smt"),
    [
        ("Not affected\n", Kind.NOT_AFFECTED, None, None),
        ("Vulnerable", Kind.VULNERABLE, None, None),
        (P, Kind.INVERSION, None, None),
        (f"{P}; VMX: EPT disabled", Kind.INVERSION, Mode.EPT_DISABLED, None),
        (f"{P}; VMX: vulnerable", Kind.INVERSION, Mode.NEVER, True),
        (f"{P}; VMX: vulnerable, SMT disabled", Kind.INVERSION, Mode.NEVER, False),
        (f"{P}; VMX: SMT vulnerable, L1D conditional cache flushes", Kind.INVERSION, Mode.COND, True),
        (f"{P}; VMX: SMT disabled, L1D vulnerable", Kind.INVERSION, Mode.NEVER, False),
        ("Mitigation: RFI Flush, L1D private per thread", Kind.POWER, None, None),
        ("Vulnerable: L1D private per thread", Kind.POWER, None, None),
        ("Mitigation: Something new", Kind.UNKNOWN, None, None),
        (f"{P}; VMX: cache flushes, SMT perhaps", Kind.UNKNOWN, None, None),
        (f" {P}", Kind.UNKNOWN, None, None),
        ("", Kind.UNKNOWN, None, None),
    ],
)
def test_reading_the_text(found: str, kind: Kind, mode: Mode | None, smt: bool | None) -> None:
    reading = read(found)
    assert (reading.kind, reading.mode, reading.smt) == (kind, mode, smt)
    assert reading.raw == found.strip("\n") or kind is Kind.UNKNOWN


def test_unknown_text_is_shown_as_it_is() -> None:
    assert read("Mitigation: Red herring; VMX: full").raw == "Mitigation: Red herring; VMX: full"
    assert "\n" not in read("a\nb\n").raw


@given(st.sampled_from(list(Mode)), st.booleans(), st.booleans())
def test_what_is_written_is_read_back(mode: Mode, smt_active: bool, old_layout: bool) -> None:
    reading = read(text(bug=True, inversion=True, mode=mode, smt_active=smt_active, old_layout=old_layout))
    assert reading.mode is (None if mode is Mode.AUTO else mode)
    assert reading.smt in (None, smt_active)
    assert reading.old_layout is (old_layout and mode is not Mode.AUTO)


@given(st.text(max_size=80))
def test_any_text_is_read(found: str) -> None:
    reading = read(found)
    assert reading.kind is Kind.UNKNOWN or found.startswith(("Not affected", "Vulnerable", "Mitigation: "))


def test_red_hat_7() -> None:
    facts = Facts(Kernel.parse("3.10.0-1160.el7.x86_64"), SMT2)
    assert loaded(facts).sysfs == f"{P}; VMX: SMT vulnerable, L1D conditional cache flushes"


@pytest.mark.parametrize("release", ["", "6", "six.one", "6.x", "v6.1", "99999.1"])
def test_no_kernel_version(release: str) -> None:
    with pytest.raises(InputError, match="no kernel version"):
        Kernel.parse(release)


# powerpc --------------------------------------------------------------------------------------------------------------


def test_power() -> None:
    kernel = Kernel.parse("6.1.176")
    for line in ("mitigations=off", "nopti", "no_rfi_flush"):
        assert Power.at_boot(Firmware(), kernel, line).sysfs_text() == "Vulnerable"
    host = Power.at_boot(Firmware(flush_needed=False), kernel, "l1tf=off")
    assert (host.sysfs_text(), host.debugfs_text("rfi_flush")) == ("Not affected", "0")
    for value, result in (("0x1\n", "ok"), ("2", "EINVAL"), ("", "EINVAL"), ("-1", "EINVAL"), ("0x", "EINVAL")):
        host, seen = host.write("entry_flush", value)
        assert seen == result, value
    with pytest.raises(ValueError, match="none of"):
        host.write("l1d_flush", "1")


# Whatever the facts are -----------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["quiet", "nosmt", "nosmt=force", "mds=full,nosmt", "l1tf=junk", "mem=1G"]
    + [f"l1tf={word}" for word in Boot]
    + [f"mitigations={word}" for word in ("off", "auto", "auto,nosmt", "auto,no_guest_host,no_user_kernel", "x")]
)
kernels = st.sampled_from([Kernel.parse(version) for version in VERSIONS])
cpus = st.builds(
    Cpu,
    bug=st.booleans(),
    ept=st.booleans(),
    command=st.booleans(),
    arch_capabilities=st.sampled_from([0, SKIP_VMENTRY_L1DFLUSH]),
    threads=st.sampled_from([1, 2]),
    bugs=st.sampled_from([frozenset(), frozenset({"mds", "l1tf"})]),
)
hosts = st.builds(Facts, kernels, cpus, st.lists(words, max_size=5).map(" ".join))
values = st.sampled_from(["auto", "never", "cond", "always\n", "bogus", "", "not required"])
actions = st.one_of(
    st.builds(Action, st.just(Do.WRITE), values),
    st.builds(Action, st.just(Do.WRITE_SMT), st.sampled_from(["on", "off", "forceoff", "1", "junk"])),
    st.builds(
        Action, st.just(Do.LOAD), st.sampled_from(["", "ept=0", "vmentry_l1d_flush=never", "vmentry_l1d_flush=x"])
    ),
    st.just(Action(Do.UNLOAD)),
    st.just(Action(Do.CREATE_VM)),
)
stories = st.lists(actions, max_size=8)


@given(hosts, stories)
def test_full_force_is_weakened_by_nothing_but_ept_and_a_flush_that_is_not_necessary(
    facts: Facts, story: list[Action]
) -> None:
    decision = decide(facts, [Action(Do.LOAD), *story])
    if decision.l1tf is Boot.FULL_FORCE and decision.mode is not None:
        assert decision.mode in (Mode.ALWAYS, Mode.EPT_DISABLED, Mode.NOT_REQUIRED)
        assert (
            (decision.mode is Mode.ALWAYS)
            or not facts.cpu.ept
            or facts.cpu.flush_not_required
            or any(action.text == "ept=0" for action in story)
        )
        assert decision.smt in (Control.FORCE_OFF, Control.NOT_SUPPORTED)


@given(hosts, stories)
def test_never_is_called_vulnerable_even_without_smt(facts: Facts, story: list[Action]) -> None:
    decision = decide(facts, [Action(Do.LOAD), *story])
    if decision.mode is Mode.NEVER and decision.bug and decision.inversion:
        assert "VMX: vulnerable" in decision.sysfs
        assert decision.sysfs.endswith("SMT disabled") is not decision.smt_active
        assert decision.mechanism is None


@given(hosts, stories)
def test_what_is_said_agrees(facts: Facts, story: list[Action]) -> None:
    decision = decide(facts, story)
    reading = read(decision.sysfs)
    assert reading.kind is not Kind.UNKNOWN
    assert (reading.kind is Kind.NOT_AFFECTED) is not decision.bug
    if reading.mode is not None:
        assert decision.parameter == reading.mode.value
    assert (decision.mechanism is None) is (decision.flushes is Mode.NEVER)
    assert len(decision.results) == len(story)
    assert decision.rule in rules.ALL


@given(hosts, stories)
def test_what_fails_changes_nothing(facts: Facts, story: list[Action]) -> None:
    host = RunningHost(facts)
    for action in story:
        before = (host.sysfs_text, host.parameter, host.smt)
        match action.do:
            case Do.LOAD:
                done = host.load(action.text)
            case Do.UNLOAD:
                done = host.unload()
            case Do.WRITE:
                done = host.write(action.text)
            case Do.WRITE_SMT:
                done = host.write_smt(action.text)
            case Do.CREATE_VM:
                done = host.create_vm()
        if not done.ok:
            assert (host.sysfs_text, host.parameter, host.smt) == before


@given(hosts)
def test_force_off_is_never_left(facts: Facts) -> None:
    decision = decide(facts, [Action(Do.WRITE_SMT, word) for word in ("forceoff", "on", "off")])
    assert decision.smt in (Control.FORCE_OFF, Control.NOT_SUPPORTED)


def test_rules_are_told_apart_and_have_sources() -> None:
    assert len({rule.id for rule in rules.ALL}) == len(rules.ALL) > 20
    assert all(rule.says and rule.source for rule in rules.ALL)
