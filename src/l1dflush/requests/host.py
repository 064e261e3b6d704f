# SPDX-License-Identifier: GPL-2.0-or-later
"""Which host a question is about, and what would be different there."""

from __future__ import annotations

from pathlib import Path

from l1dflush import arguments
from l1dflush.arguments import CPU, CPU_FOLDER, WRITE, Argument
from l1dflush.data.catalogue import load_catalogue
from l1dflush.errors import InputError
from l1dflush.host.reading.collect import from_archive, from_sysroot, this_host
from l1dflush.host.reading.files import LiveFiles, Sysroot, UnreadableError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.mitigation import module_file
from l1dflush.host.status.changes import Change, written_as
from l1dflush.mitigation.facts import Control
from l1dflush.requests.routine import Names

ARCHIVE = Argument("archive", "--from")
SYSROOT = Argument("sysroot")
MODULE = Argument("module")
CMDLINE = Argument("cmdline")
WITHOUT = Argument("without")
SMT = Argument("smt")
KERNEL = Argument("kernel")
LOAD = Argument("load")


def shipped_module(host: HostFacts, archive: Path | None = None, sysroot: Path | None = None) -> Path | None:
    """The file with kvm_intel that belongs to the host's kernel, where there is one to be opened."""
    if archive is not None:
        return None
    files = LiveFiles() if sysroot is None else Sysroot(sysroot)
    found = module_file(files, host.kernel.release).value
    if found is None:
        return None
    if isinstance(files, LiveFiles):
        return Path(found)
    try:
        # What a link means on that host; here it would lead to this one's files.
        return files.at(found)
    except UnreadableError:
        return None


def host_facts(archive: Path | None = None, sysroot: Path | None = None) -> HostFacts:
    """What is read of the host that is meant. Raises InputError."""
    if archive is not None and sysroot is not None:
        raise InputError(f"{ARCHIVE} and {SYSROOT} exclude each other", hint="each says which host")
    if archive is not None:
        return from_archive(archive)
    return this_host() if sysroot is None else from_sysroot(sysroot)


def change(
    *,
    cmdline: Names = None,
    without: Names = None,
    write: Names = None,
    smt: Control | str | None = None,
    microcode: bool | None = None,
    kernel: str | None = None,
    cpu: str | None = None,
    cpu_folder: Names = None,
    ept: bool | None = None,
    load: str | None = None,
) -> Change:
    """What would be different.

    ``cmdline``: what is put at the end of the boot line; ``without``: names of options that are taken out of it before.
    ``write``: what is written at run time, like ``vmentry_l1d_flush=never``. ``smt``: what is written to SMT's control
    (on, off, forceoff). ``microcode``: whether it brings the flush command. ``kernel``: another release. ``cpu``:
    another CPU of the catalogue, to which CPU files in ``cpu_folder`` belong. ``ept``: whether kvm_intel uses it.
    ``load``: parameters with which kvm_intel is loaded, "" for none. Raises InputError, which names the argument.
    """
    return Change(
        line=" ".join(arguments.texts(CMDLINE, cmdline)),
        without=arguments.texts(WITHOUT, without),
        kernel=None if kernel is None else arguments.text(KERNEL, kernel),
        cpu=None
        if cpu is None
        else load_catalogue(arguments.folders(CPU_FOLDER, cpu_folder)).get(arguments.text(CPU, cpu)),
        microcode=None if microcode is None else arguments.flag(arguments.MICROCODE, microcode),
        ept=None if ept is None else arguments.flag(arguments.EPT, ept),
        load=load,
        smt=None if smt is None else arguments.one_of(SMT, smt, Control),
        writes=tuple(map(written_as, arguments.texts(WRITE, write))),
    )
