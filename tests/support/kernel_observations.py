# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots of real kernels as they were recorded, replayed on the model. The form is that of ``kernel-golden``'s
README."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l1dflush.data.l1tf_cpus import lists
from l1dflush.mitigation.affected import identified
from l1dflush.mitigation.facts import Cpu, Facts, Kernel, Vendor
from l1dflush.mitigation.powerpc import FILES, Firmware, Power
from l1dflush.mitigation.run_time import Result, RunningHost

ABSENT = "<open:ENOENT>"
L1TF_LINE = re.compile(r"(?:kvm_intel: )?L1TF CPU bug")
TCG_ADDRESS_BITS = 40
"""QEMU's default for a CPU that is emulated."""
AMD_TOPOLOGY = {(6, 12): 48, (6, 16): 8}
"""QEMU emulates no TOPOEXT, without which the kernel saw no SMT on AMD until 'x86/cpu/topology: Always try
cpu_parse_topology_ext() on AMD/Hygon' (6.17; in the announcements of 6.12.48 and 6.16.8). It has the leaf 0xb that
this reads for models that reach so far."""
LEAF_B = ("epyc", "dhyana", "opteron_g4", "opteron_g5", "qemu64", "max")
GUEST_MEMORY = 512 << 20
"""Of the recorded machines, as firmware says it; what is beyond comes from ``memmap=``."""


@dataclass(frozen=True)
class Difference:
    run: str
    seq: int
    what: str
    recorded: object
    model: object


@dataclass
class Comparison:
    """``counts``: how many values were compared, by kernel and kind; ``differences``: those that are not the same."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    context: tuple[str, int, str] = ("", 0, "")

    def same(self, what: str, recorded: object, model: object) -> None:
        run, seq, kernel = self.context
        self.counts[kernel, what] += 1
        if recorded != model:
            self.differences.append(Difference(run, seq, what, recorded, model))


def recorded(folder: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The boots, each with its observations in order."""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "observations.jsonl").read_text(encoding="utf-8").splitlines():
        observation = json.loads(line)
        by_run.setdefault(observation["run"], []).append(observation)
    for boot in json.loads((folder / "boots.json").read_text(encoding="utf-8")):
        yield boot, sorted(by_run.pop(boot["run"], []), key=lambda one: one["seq"])
    assert not by_run, f"observations of boots that are not there: {sorted(by_run)}"


def facts_of(boot: dict[str, Any]) -> Facts:
    """What is known of an x86 boot before it is observed."""
    vendor = _vendor(boot)
    emulated = boot["source"] == "qemu-tcg"
    found = re.search(r"Debian (\d+\.\d+\.\d+)", boot["version"])
    kernel = Kernel.parse(found[1] if found else boot["kernel"])
    cpu = Cpu(
        vendor=vendor,
        family=int(boot["family"]),
        model=int(boot["model"]),
        stepping=int(boot["stepping"]),
        vmx=bool(boot["flag_vmx"]),
        ept=bool(boot["flag_ept"]),
        command=bool(boot["flag_flush_l1d"]),
        arch_capabilities=int(boot.get("arch_capabilities", "0"), 16) if boot["flag_arch_capabilities"] else 0,
        address_bits=TCG_ADDRESS_BITS if emulated else 36,
        threads=2 if boot["smt_hw"] and (not emulated or _smt_is_seen(boot, vendor, kernel)) else 1,
        bugs=frozenset(boot["bugs"].split()),
        # Neither emulator has TSX or STIBP.
        rtm=False,
        stibp=False,
    )
    return Facts(kernel, identified(cpu, kernel, lists()), boot["cmdline"], GUEST_MEMORY)


def _vendor(boot: dict[str, Any]) -> Vendor:
    """It was not recorded: by the name of the CPU, and of the emulator's model where that name says nothing."""
    model = str(boot.get("cpu_model", "")).lower()
    if model.startswith("dhyana") or boot["cpu_name"].startswith("Hygon"):
        return Vendor.HYGON
    if boot["cpu_name"].startswith("AMD") or model.startswith(("qemu64", "athlon", "phenom", "opteron", "epyc", "max")):
        return Vendor.AMD
    return Vendor.INTEL


def _smt_is_seen(boot: dict[str, Any], vendor: Vendor, kernel: Kernel) -> bool:
    """Whether the kernel sees the threads that QEMU's CPU has."""
    if vendor not in (Vendor.AMD, Vendor.HYGON):
        return True
    return kernel.carries((6, 17), AMD_TOPOLOGY) and str(boot["cpu_model"]).lower().startswith(LEAF_B)


def replay(boot: dict[str, Any], observations: list[dict[str, Any]], comparison: Comparison) -> None:
    """Does to the model what was done to the kernel, and compares what can be read after each step."""
    if boot["source"] == "qemu-ppc64-tcg":
        _replay_power(boot, observations, comparison)
        return
    facts = facts_of(boot)
    host = RunningHost(facts)
    comparison.context = (boot["run"], -1, _short(boot))
    comparison.same("bug", boot["bug_l1tf"], facts.cpu.bug)
    done: dict[str, int] = {}
    for seen in observations:
        comparison.context = (boot["run"], seen["seq"], _short(boot))
        log: list[str] = []
        _step(host, seen, done, log, comparison)
        if "vm" in seen:
            log += host.create_vm().log
        comparison.same("sysfs", seen["sysfs_l1tf"], host.sysfs_text)
        comparison.same("parameter", seen["param_value"], host.parameter or ABSENT)
        comparison.same("ept", seen["ept"], ABSENT if host.ept is None else "Y" if host.ept else "N")
        comparison.same("smt control", seen["smt_control"], host.smt.value)
        comparison.same("smt active", seen["smt_active"], str(int(host.smt_active)))
        for what, kept in (("log: L1TF CPU bug", _warns), ("log: parameter", _names)):
            comparison.same(what, [x for x in seen["dmesg_lines"] if kept(x)], [x for x in log if kept(x)])
        if host.kvm is not None and "l1d_flush" in seen:
            comparison.same("flushes", _kind(seen), host.kvm.flushes.value)


def _step(
    host: RunningHost, seen: dict[str, Any], done: dict[str, int], log: list[str], comparison: Comparison
) -> None:
    """The one new action of an observation; the lists in it are what was written so far."""
    writes = [_plain(write) for write in seen["runtime_writes"]]
    match seen["step"]:
        case "boot" | "modules":
            return
        case "load" | "smt-load":
            if seen["step"] == "smt-load" and host.kvm is not None:
                # The unloading between two of these steps was not recorded.
                host.unload()
            result = host.load(seen.get("module_params", ""))
            log += result.log
            comparison.same("load", "ok" if seen["load_rc"] == "0" else seen["load_rc"], result.result)
            done.clear()
        case "unload":
            host.unload()
            done.clear()
        case "runtime":
            _compare_writes(writes, done.get("parameter", 0), host.write, log, comparison, "parameter write")
            done["parameter"] = len(writes)
        case "smt-write":
            _compare_writes(writes, done.get("smt", 0), host.write_smt, log, comparison, "smt write")
            done["smt"], done["parameter"] = len(writes), 0
        case "smt-param":
            smt = [_plain(write) for write in seen["smt_writes"]]
            assert len(smt) == done.get("smt", 0), f"{seen['run']} {seen['seq']}: SMT writes that no step made"
            _compare_writes(writes, done.get("parameter", 0), host.write, log, comparison, "parameter write")
            done["parameter"] = len(writes)
        case other:
            raise AssertionError(f"a step of an unknown kind: {other}")


def _compare_writes(
    writes: list[tuple[str, str]], known: int, write: Any, log: list[str], comparison: Comparison, what: str
) -> None:
    for text, code in writes[known:]:
        result: Result = write(text)
        log += result.log
        comparison.same(what, code, result.result)


def _replay_power(boot: dict[str, Any], observations: list[dict[str, Any]], comparison: Comparison) -> None:
    # What is not said is "workaround"; "fixed" takes all three needs away (h_get_cpu_characteristics in QEMU's
    # hw/ppc/spapr_hcall.c; the default since 'target/ppc/spapr: Enable mitigations by default for pseries-4.0').
    said = re.search(r"cap-cfpc=(\w+)", boot["extra"])
    state = said[1] if said else "workaround"
    need = state != "fixed"
    firmware = Firmware(flush_needed=need, private_l1d=state == "workaround", entry_flush=need, uaccess_flush=need)
    host = Power.at_boot(firmware, Kernel.parse(boot["kernel"]), boot["cmdline"])
    for seen in observations:
        comparison.context = (boot["run"], seen["seq"], _short(boot))
        for write in seen["runtime_writes"]:
            host, result = host.write(write["f"], write["w"])
            comparison.same("debugfs write", write["rc"], result)
        comparison.same("sysfs", seen["sysfs_l1tf"], host.sysfs_text())
        comparison.same("sysfs", seen["meltdown"], host.sysfs_text())
        for file in FILES:
            comparison.same("debugfs", seen[f"debugfs_{file}"], host.debugfs_text(file))


def _plain(write: dict[str, str]) -> tuple[str, str]:
    return write["w"].removeprefix("param:"), write["rc"]


def _warns(line: str) -> bool:
    return L1TF_LINE.match(line) is not None


def _names(line: str) -> bool:
    return "vmentry_l1d_flush" in line and "ommand line:" not in line


def _kind(seen: dict[str, Any]) -> str:
    """Which mode the kernel's own counter shows: one flush an entry, none, or something between."""
    flushes = seen["l1d_flush"]
    return "never" if flushes == 0 else "always" if flushes >= seen["exits"] else "cond"


def _short(boot: dict[str, Any]) -> str:
    return str(boot["kernel"])
