# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions about hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush import arguments
from l1dflush.arguments import in_python
from l1dflush.errors import InputError
from l1dflush.requests.routine import Names, PathLike

if TYPE_CHECKING:
    from l1dflush.host.status.model import StatusResult, WhatIfHostResult
    from l1dflush.mitigation.facts import Control


@in_python()
def status(
    *, archive: PathLike | None = None, sysroot: PathLike | None = None, module: PathLike | None = None,
    cpu_folder: Names = None,
) -> StatusResult:  # fmt: skip
    """Whether a host is protected from L1TF, by what, and what to do: this one, the one of an ``archive`` that
    ``l1dflush gather`` wrote, or the one of a folder with its /proc and /sys. ``module``: its kvm-intel.ko, to be
    proved. Raises InputError.
    """
    from l1dflush.data.l1tf_cpus import lists
    from l1dflush.host.status.flush_worth import Flush
    from l1dflush.host.status.result import status_result
    from l1dflush.requests.host import ARCHIVE, MODULE, SYSROOT, host_facts, shipped_module

    where = arguments.path(ARCHIVE, archive), arguments.path(SYSROOT, sysroot)
    host = host_facts(*where)
    folders = arguments.folders(arguments.CPU_FOLDER, cpu_folder)
    flush = Flush(arguments.path(MODULE, module), shipped_module(host, *where), folders)
    return status_result(host, flush.worth(host), lists())


@in_python()
def what_if(
    *,
    cmdline: Names = None,
    without: Names = None,
    write: Names = None,
    smt: Control | str | None = None,
    microcode: bool | None = None,
    kernel: str | None = None,
    cpu: str | None = None,
    ept: bool | None = None,
    load: str | None = None,
    archive: PathLike | None = None,
    sysroot: PathLike | None = None,
    cpu_folder: Names = None,
) -> WhatIfHostResult:
    """What Linux would decide about L1TF on a host if something were different. Which host: as for :func:`status`; what
    is different: as for :func:`l1dflush.requests.host.change`. Raises InputError.
    """
    from l1dflush.host.status.model import WhatIfHostResult
    from l1dflush.host.status.what_if import about_host
    from l1dflush.requests.host import ARCHIVE, SYSROOT, change, host_facts

    changed = change(
        cmdline=cmdline, without=without, write=write, smt=smt, microcode=microcode, kernel=kernel, cpu=cpu,
        cpu_folder=cpu_folder, ept=ept, load=load,
    )  # fmt: skip
    if changed.nothing:
        raise InputError(
            "what should be different?", hint="cmdline, without, write, smt, microcode, kernel, cpu, ept, load"
        )
    host = host_facts(arguments.path(ARCHIVE, archive), arguments.path(SYSROOT, sysroot))
    result = about_host(host, changed, folders=arguments.folders(arguments.CPU_FOLDER, cpu_folder))
    assert isinstance(result, WhatIfHostResult)
    return result
