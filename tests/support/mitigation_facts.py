# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts for the tests of the decision about L1TF, and strategies for any."""

from __future__ import annotations

from hypothesis import strategies as st

from l1dflush.mitigation.boot_line import VECTORS
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import SKIP_VMENTRY_L1DFLUSH, Cpu, Facts, Kernel, Vendor
from l1dflush.vmentry.subsystem import Boot

VERSIONS = ("4.9.120", "4.19.0", "4.19.43", "5.3.1", "5.10.262", "6.1.192", "6.12.117", "6.16.0", "6.17.1", "7.2.13")
SMT2 = Cpu(threads=2)


def on(version: str, line: str = "", cpu: Cpu = SMT2) -> Facts:
    return Facts(Kernel.parse(version), cpu, line)


def loaded(facts: Facts, parameters: str = "", *more: Action) -> Decision:
    return decide(facts, (Action(Do.LOAD, parameters), *more))


def write(value: str) -> Action:
    return Action(Do.WRITE, value)


MITIGATIONS = (
    *("off", "auto", "auto,nosmt", "x", "", "off,no_user_user", "autox", "offside", "auto,nosmt,no_cross_thread"),
    *(
        "auto,no_guest_host,no_user_kernel",
        "auto,no_user_kernel",
        "auto;no_guest_host",
        "auto,no_guest_host,x,no_user_user",
    ),
    "auto," + ",".join(f"no_{vector}" for vector in VECTORS),
)
WORDS = (
    *(
        "quiet",
        "nosmt",
        "nosmt=force",
        "nosmt=FORCE",
        "mem=1G",
        "l1tf=junk",
        "l1tf=FULL",
        "l1tf",
        "nr_cpus=1",
        "maxcpus=1",
    ),
    *("mds=off", "mds=full,nosmt", "mmio-stale-data=full,nosmt", "tsx_async_abort=off", "retbleed=auto,nosmt"),
    *(f"l1tf={word}" for word in Boot),
    *(f"mitigations={word}" for word in MITIGATIONS),
)
words = st.sampled_from(WORDS)
kernels = st.sampled_from([*(Kernel.parse(version) for version in VERSIONS), Kernel((7, 2, 13), mitigations=False)])
cpus = st.builds(
    Cpu,
    bug=st.booleans(),
    vendor=st.sampled_from([Vendor.INTEL, Vendor.AMD]),
    ept=st.booleans(),
    command=st.booleans(),
    arch_capabilities=st.sampled_from([0, SKIP_VMENTRY_L1DFLUSH]),
    threads=st.sampled_from([1, 2, 4]),
    bugs=st.sets(st.sampled_from(["mds", "l1tf", "taa", "mmio_stale_data", "retbleed"])).map(frozenset),
    rtm=st.booleans(),
    stibp=st.booleans(),
)
lines = st.lists(words, max_size=6).map(" ".join)
hosts = st.builds(Facts, kernels, cpus, lines, siblings_online=st.booleans(), buffer_memory=st.booleans())
values = st.sampled_from(["auto", "never", "cond", "always\n", "bogus", "", "not required"])
actions = st.one_of(
    st.builds(Action, st.just(Do.WRITE), values),
    st.builds(Action, st.just(Do.WRITE_SMT), st.sampled_from(["on", "off", "forceoff", "1", "2", "junk"])),
    st.builds(
        Action,
        st.just(Do.LOAD),
        st.sampled_from(["", "ept=0", "nested=2", "vmentry_l1d_flush=never", "vmentry_l1d_flush=x"]),
    ),
    st.just(Action(Do.UNLOAD)),
    st.just(Action(Do.CREATE_VM)),
)
stories = st.lists(actions, max_size=8)
