# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers and structures of KVM against what the system's compiler makes of the system's header."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from l1dflush.vmentry.kvm import abi

COMPILER = shutil.which("cc")
HEADER = Path("/usr/include/linux/kvm.h")

CONSTANTS = {
    **{name: number for number, name in abi.NAMES.items()},
    "KVM_API_VERSION": abi.API_VERSION,
    "KVM_CAP_SET_TSS_ADDR": abi.CAPABILITY_SET_TSS_ADDRESS,
    "KVM_CAP_SET_IDENTITY_MAP_ADDR": abi.CAPABILITY_SET_IDENTITY_MAP_ADDRESS,
    "KVM_EXIT_IO": abi.EXIT_PORT,
    "KVM_EXIT_HLT": abi.EXIT_HALT,
    "KVM_EXIT_MMIO": abi.EXIT_MEMORY,
    "KVM_EXIT_SHUTDOWN": abi.EXIT_SHUTDOWN,
    "KVM_EXIT_FAIL_ENTRY": abi.EXIT_ENTRY_FAILED,
    "KVM_EXIT_INTR": abi.EXIT_INTERRUPTED,
    "KVM_EXIT_INTERNAL_ERROR": abi.EXIT_INTERNAL_ERROR,
    "KVM_EXIT_IO_IN": abi.PORT_IN,
    "KVM_EXIT_IO_OUT": abi.PORT_OUT,
    "KVM_INTERNAL_ERROR_EMULATION": 1,
    "KVM_INTERNAL_ERROR_SIMUL_EX": 2,
    "KVM_INTERNAL_ERROR_DELIVERY_EV": 3,
}
STRUCTURES = {
    "kvm_userspace_memory_region": abi.MemoryRegion,
    "kvm_regs": abi.Registers,
    "kvm_segment": abi.Segment,
    "kvm_dtable": abi.DescriptorTable,
    "kvm_sregs": abi.SpecialRegisters,
}
# Offsets in struct kvm_run.
RUN = {
    "exit_reason": abi.EXIT_REASON_AT,
    "io.direction": abi.EXIT_DETAILS_AT,
    "io.size": abi.EXIT_DETAILS_AT + 1,
    "io.port": abi.EXIT_DETAILS_AT + 2,
    "io.count": abi.EXIT_DETAILS_AT + 4,
    "io.data_offset": abi.EXIT_DETAILS_AT + 8,
    "mmio.phys_addr": abi.EXIT_DETAILS_AT,
    "mmio.data": abi.EXIT_DETAILS_AT + 8,
    "mmio.len": abi.EXIT_DETAILS_AT + 16,
    "mmio.is_write": abi.EXIT_DETAILS_AT + 20,
    "fail_entry.hardware_entry_failure_reason": abi.EXIT_DETAILS_AT,
    "internal.suberror": abi.EXIT_DETAILS_AT,
}


@pytest.mark.skipif(COMPILER is None or not HEADER.exists(), reason=f"no C compiler, or no {HEADER}")
def test_everything_is_as_in_the_header(tmp_path: Path) -> None:
    ours: dict[str, int] = dict(CONSTANTS)
    shown = [f'P("{name}", {name})' for name in CONSTANTS]
    for name, structure in STRUCTURES.items():
        ours[f"sizeof {name}"] = ctypes.sizeof(structure)
        shown.append(f'P("sizeof {name}", sizeof(struct {name}))')
        for field, *_ in structure._fields_:
            ours[f"{name}.{field}"] = getattr(structure, field).offset
            shown.append(f'P("{name}.{field}", offsetof(struct {name}, {field}))')
    for field, offset in RUN.items():
        ours[f"run.{field}"] = offset
        shown.append(f'P("run.{field}", offsetof(struct kvm_run, {field}))')
    ours["mask"] = 4
    shown.append('P("mask", offsetof(struct kvm_signal_mask, sigset))')
    source = tmp_path / "show.c"
    text = "#include <stdio.h>\n#include <stddef.h>\n#include <linux/kvm.h>\n"
    text += '#define P(name, value) printf("%s=%llu\\n", name, (unsigned long long)(value));\n'
    source.write_text(f"{text}int main(void) {{\n{chr(10).join(shown)}\nreturn 0; }}\n", encoding="ascii")
    assert COMPILER is not None
    subprocess.run([COMPILER, "-o", "show", "show.c"], cwd=tmp_path, check=True, timeout=60)
    said = subprocess.run([str(tmp_path / "show")], capture_output=True, text=True, check=True, timeout=10).stdout
    theirs = {name: int(value) for name, value in (line.rsplit("=", 1) for line in said.splitlines())}
    assert ours == theirs


def test_the_structures_that_are_read_by_hand_fit() -> None:
    assert abi.PORT_ACCESS.size == 16
    assert abi.MEMORY_ACCESS.size == 21
    assert abi.SIGNAL_MASK.size == 12
