# SPDX-License-Identifier: GPL-2.0-or-later
"""All facts of a host: of this one, of a folder with copies of its files, or of what ``l1dflush gather`` wrote."""

from __future__ import annotations

from pathlib import Path

from l1dflush.errors import InputError
from l1dflush.host.reading.archive import Archive
from l1dflush.host.reading.cpu import CPUINFO, cpu_says
from l1dflush.host.reading.files import HostFiles, LiveFiles, Sysroot, UnreadableError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.kernel import kernel_config, kernel_release, kernel_says
from l1dflush.host.reading.mitigation import mitigation_says, power_says
from l1dflush.host.reading.registers import GatheredRegisters, LiveRegisters, Registers
from l1dflush.host.reading.xen import xen_says

_SIGNS = (CPUINFO, "/sys/devices/system/cpu", "/proc/sys/kernel/osrelease")


def collect(files: HostFiles, registers: Registers) -> HostFacts:
    """Reads everything. Never raises for what it finds: what cannot be read or understood is unknown, with why."""
    release = kernel_release(files)
    config = kernel_config(files, release)
    kernel, cpu = kernel_says(files, config, release), cpu_says(files, registers)
    return HostFacts(
        where=files.where,
        kernel=kernel,
        cpu=cpu,
        mitigation=mitigation_says(files, config, release),
        xen=xen_says(files, cpu.hypervisor, kernel.command_line),
        power=power_says(files, kernel.machine),
    )


def this_host() -> HostFacts:
    """The facts of this host, as far as this process may read them."""
    files = LiveFiles()
    return collect(files, LiveRegisters(files))


def from_sysroot(folder: Path) -> HostFacts:
    """The facts in a folder with copies of a host's files. Raises InputError where there are none."""
    return copied(sysroot(folder))


def from_archive(path: Path) -> HostFacts:
    """The facts in a tar archive. Raises InputError for what is none, and where there are none in it."""
    files = Archive(path)
    _expect_host(files, "'l1dflush gather' writes one; names in it begin with proc/ and sys/")
    return copied(files)


def sysroot(folder: Path) -> Sysroot:
    """A folder with copies of a host's files. Raises InputError where there are none."""
    try:
        if not folder.is_dir():
            what = "it is not a folder" if folder.exists() else "there is no such folder"
            raise InputError(what, where=str(folder))
    except (OSError, ValueError) as error:
        raise InputError(getattr(error, "strerror", None) or str(error), where=str(folder)) from None
    files = Sysroot(folder)
    _expect_host(files, "it is a folder with proc and sys in it")
    return files


def copied(files: HostFiles) -> HostFacts:
    """The facts in copies of a host's files, with the registers among them."""
    return collect(files, GatheredRegisters(files))


def _expect_host(files: HostFiles, hint: str) -> None:
    if not any(_is_there(files, path) for path in _SIGNS):
        raise InputError(f"nothing of a host is in it: none of {', '.join(_SIGNS)}", where=files.where, hint=hint)


def _is_there(files: HostFiles, path: str) -> bool:
    """Also if it could not be read on the host itself."""
    try:
        return files.exists(path)
    except UnreadableError:
        return True
