# SPDX-License-Identifier: GPL-2.0-or-later
"""What only says that it is Linux: sandboxes and emulations that answer as an old one, and know nothing of L1TF."""

from __future__ import annotations

from l1dflush.host.reading.host_facts import HostFacts

_GVISOR_BUILD = "#1 SMP Sun Jan 10 15:06:54 PST 2016"
"""Every gVisor says so, whatever release it claims (pkg/sentry/syscalls/linux/linux64.go): five minutes after v4.4."""


def imitates_linux(host: HostFacts) -> str:
    """What it really is; empty where nothing shows that it is not Linux."""
    says = host.kernel
    release, build, line = (fact.value or "" for fact in (says.release, says.version, says.command_line))
    if build == _GVISOR_BUILD or any("gvisor" in said.lower() for said in (release, build, line)):
        return "gVisor"
    # WSL 2 is a Linux, and says microsoft.
    if release.endswith("-Microsoft"):
        return "WSL 1"
    if build.startswith("BrandZ"):
        return "an LX zone of illumos"
    # Linux has the number of the build there (scripts/mkcompile_h).
    return f"no Linux ('{build[:40]}')" if build and not build.startswith("#") else ""
