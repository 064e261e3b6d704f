"""The options that say which host: this one, an archive that ``gather`` wrote, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush.cli.values import FILE, FOLDER
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.host.reading.host_facts import HostFacts

archive = click.option(
    "--from", "archive", metavar="FILE", type=FILE, help="Another host, from what 'l1dflush gather' wrote there."
)
sysroot = click.option(
    "--sysroot", metavar="DIR", type=FOLDER, help="Another host, from a folder with its /proc, /sys and so on."
)


def shipped_module(host: HostFacts, archive: Path | None, sysroot: Path | None) -> Path | None:
    """The file with kvm_intel that belongs to the host's kernel, where there is one to be opened."""
    from l1dflush.host.reading.files import LiveFiles, Sysroot, UnreadableError
    from l1dflush.host.reading.mitigation import module_file

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


def host_facts(archive: Path | None, sysroot: Path | None) -> HostFacts:
    """What is read of the host that is meant. Raises InputError."""
    from l1dflush.host.reading.collect import from_archive, from_sysroot, this_host

    if archive is not None and sysroot is not None:
        raise InputError("--from and --sysroot exclude each other", hint="each says which host")
    if archive is not None:
        return from_archive(archive)
    return this_host() if sysroot is None else from_sysroot(sysroot)
