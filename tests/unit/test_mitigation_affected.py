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
