# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has the bug, and how wide its L1D is."""

from __future__ import annotations

import pytest

from l1dflush.data.l1tf_cpus import lists
from l1dflush.mitigation.affected import affected, identified
from l1dflush.mitigation.decision import decide
from l1dflush.mitigation.facts import RDCL_NO, Cpu, Facts, Kernel, Vendor


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
    assert affected(airmont_np, Kernel.parse("5.3.18"), lists()).bug
    assert not affected(airmont_np, Kernel.parse("5.4"), lists()).bug
    hygon = Cpu(vendor=Vendor.HYGON, family=0x18, model=0)
    assert affected(hygon, Kernel.parse("4.19.0"), lists()).bug
    assert not affected(hygon, Kernel.parse("4.20"), lists()).bug


def test_the_l1d_may_use_more_bits_than_cpuid_says() -> None:
    kernel = Kernel.parse("6.1")
    assert identified(Cpu(model=0x3C, address_bits=39), kernel, lists()).cache_bits == 44
    assert identified(Cpu(model=0x3C, address_bits=46), kernel, lists()).cache_bits == 46
    assert identified(Cpu(model=0x55, address_bits=40), kernel, lists()).cache_bits == 40


@pytest.mark.parametrize(
    ("version", "looks"),
    [
        *(("4.9.175", True), ("4.9.176", False), ("4.14.91", True), ("4.14.92", False), ("4.19.13", True)),
        *(("4.19.14", False), ("4.20.0", True), ("4.20.1", False), ("5.0", False)),
    ],
)
def test_who_looks_at_memory_with_l1tf_off(version: str, looks: bool) -> None:
    """One patch dropped both limits."""
    cpu = Cpu(cache_bits=36)
    decision = decide(Facts(Kernel.parse(version), cpu, "l1tf=off", memory_end=1 << 36))
    assert (decision.inversion, decision.sysfs == "Vulnerable") == (not looks, looks)
    assert (decision.swap_limit is None) is not looks
    assert not decide(Facts(Kernel.parse(version), cpu, memory_end=1 << 36)).inversion


GIB = 1 << 30
IVY, XEON = Cpu(model=0x3A, address_bits=36), Cpu(model=0x3E, address_bits=46)


@pytest.mark.parametrize(
    ("version", "cpu", "gib", "sysfs"),
    [
        # By hand: half of 36 bits are 32 GiB, half of 44 are 8 TiB, half of 46 are 32 TiB.
        ("4.18.4", IVY, 33, "Vulnerable"),
        ("4.18.4", IVY, 32, "Mitigation: PTE Inversion"),
        ("4.9.120", IVY, 64, "Vulnerable"),
        ("4.18.20", IVY, 33, "Mitigation: PTE Inversion"),
        ("4.14.100", IVY, 33, "Mitigation: PTE Inversion"),
        ("4.14.100", IVY, (8 << 10) + 1, "Vulnerable"),
        ("4.14.67", XEON, (32 << 10) + 1, "Vulnerable"),
        # Has no limit, so it sees nothing wrong.
        ("4.14.100", XEON, (32 << 10) + 1, "Mitigation: PTE Inversion"),
        ("4.9.230", XEON, (64 << 10), "Mitigation: PTE Inversion"),
        ("4.9.231", XEON, (32 << 10) + 1, "Vulnerable"),
        ("4.14.189", XEON, (32 << 10) + 1, "Vulnerable"),
        ("4.19.0", XEON, (32 << 10) + 1, "Vulnerable"),
    ],
)
def test_how_much_memory_a_kernel_takes_to_be_safe(version: str, cpu: Cpu, gib: int, sysfs: str) -> None:
    kernel = Kernel.parse(version)
    decision = decide(Facts(kernel, identified(cpu, kernel, lists()), memory_end=gib * GIB))
    assert decision.sysfs == sysfs
    # What can be protected is never more than half of what the L1D addresses.
    assert decision.memory_limit <= (8 << 40 if cpu is IVY else 32 << 40)
