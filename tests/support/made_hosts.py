# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts as they would have been read, made without any file: an Intel Haswell under Linux 6.1 unless said otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from l1dflush.cache.geometry import Geometry
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import CpuSays, HostFacts, KernelSays, MitigationSays, XenSays

TEXT = "/sys/devices/system/cpu/vulnerabilities/l1tf"

_KERNEL: dict[str, Any] = {
    "release": "6.1.0-50-amd64",
    "version": "#1 SMP Debian 6.1.150-1",
    "machine": "x86_64",
    "command_line": "quiet",
    "levels": 4,
    "config_mitigations": True,
    "config_l1tf": True,
    "config_kvm_intel": True,
    "config_hotplug_smt": True,
    "memory_end": 17 << 30,
    "lockdown": "none",
}
_CPU: dict[str, Any] = {
    "signature": Signature("GenuineIntel", 6, 0x3C, 3, "Intel(R) Core(TM) i7-4790 CPU"),
    "flags": frozenset({"vmx", "flush_l1d"}),
    "uneven": frozenset(),
    "bugs": frozenset({"l1tf", "cpu_meltdown"}),
    "microcode": ("0x28",),
    "hypervisor": "",
    "flush_command": True,
    "arch_capabilities": 0,
    "vmx": True,
    "ept": True,
    "address_bits": 39,
    "threads": 2,
    "l1d": Geometry(32 << 10, 8, 64),
}
_MITIGATION: dict[str, Any] = {
    "text": "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
    "has_text": True,
    "smt_control": "on",
    "smt_active": True,
    "loaded": True,
    "built_in": False,
    "device": True,
    "parameter": "cond",
    "has_parameter": True,
    "kvm_ept": True,
    "options": (),
    "flushes": 12,
    "others": (),
}
_XEN: dict[str, Any] = {"xen_control": False, "xen_log": "", "xen_info": ""}
NAMES = frozenset(_KERNEL | _CPU | _MITIGATION | _XEN)
"""Every fact."""
_ORIGINS = {
    "text": TEXT,
    "parameter": "/sys/module/kvm_intel/parameters/vmentry_l1d_flush",
    "arch_capabilities": "MSR 10AH",
}


def made(**changes: Any) -> HostFacts:
    """The host with ``changes`` by the names of the fields; None: unknown, "permission denied". ``ept`` is what the CPU
    offers, ``kvm_ept`` what kvm_intel uses."""
    known = _KERNEL | _CPU | _MITIGATION | _XEN
    if set(changes) - set(known):
        raise KeyError(f"no such fact: {sorted(set(changes) - set(known))}")
    facts = {name: _fact(name, value) for name, value in (known | changes).items()}
    return HostFacts(
        "a made host",
        KernelSays(**{name: facts[name] for name in _KERNEL}),
        CpuSays(**{name: facts[name] for name in _CPU}),
        MitigationSays(**{_field(name): facts[name] for name in _MITIGATION}),
        XenSays(**{_field(name): facts[name] for name in _XEN}),
    )


def hide(host: HostFacts, names: frozenset[str]) -> HostFacts:
    """The same host with these facts unknown."""
    parts = {
        "kernel": (host.kernel, _KERNEL),
        "cpu": (host.cpu, _CPU),
        "mitigation": (host.mitigation, _MITIGATION),
        "xen": (host.xen, _XEN),
    }
    return replace(
        host,
        **{
            part: replace(said, **{_field(name): _fact(name, None) for name in names if name in known})
            for part, (said, known) in parts.items()
        },
    )


def _field(name: str) -> str:
    return name.removeprefix("kvm_").removeprefix("xen_")


def _fact(name: str, value: Any) -> Fact[Any]:
    origin = _ORIGINS.get(name, name)
    return Fact.unknown(origin, "permission denied") if value is None else Fact(value, origin)


def without_module(host: HostFacts) -> HostFacts:
    """The same host with kvm_intel not loaded."""
    why = "kvm_intel is not loaded"
    says = replace(
        host.mitigation,
        loaded=Fact(False, "/sys/module/kvm_intel"),
        parameter=Fact.unknown(host.mitigation.parameter.origin, why),
        ept=Fact.unknown(host.mitigation.ept.origin, why),
        text=Fact("Mitigation: PTE Inversion", TEXT),
    )
    return replace(host, mitigation=says)
