# SPDX-License-Identifier: GPL-2.0-or-later
"""What a type checker sees of the public functions: each line says what is revealed. Nothing here is run."""

from pathlib import Path
from typing import reveal_type

import l1dflush as l1d

result = l1d.verify(Path("fix.patch"), cpu=("skylake", "haswell"), define={"ORDER": 4}, start="cold")
reveal_type(result.proved)  # is bool
reveal_type(result.rows[0].margin)  # is int | None
reveal_type(result.to_dict())  # is dict[str, Any]
reveal_type(l1d.compare("new.c", "old.c", cpu="skylake").effect)  # is l1dflush.verdict.compare.result.Effect
reveal_type(l1d.certificate("linux-4.9.120"))  # is str
reveal_type(l1d.check("{}").accepted)  # is bool
reveal_type(l1d.needs("tree-PLRU", ways=8))  # is int | None
reveal_type(l1d.survivors(l1d.policy("LRU", ways=4)))  # is tuple[int, ...]
reveal_type(l1d.plan(cpu="ice-lake", touches=0).code("c"))  # is str
reveal_type(l1d.Simulator("LRU", "32K,8,64").access(range(9)).hits)  # is int
reveal_type(l1d.cpus()["ice-lake"].geometry.ways)  # is int
reveal_type(l1d.policies()["LRU"].ways)  # is tuple[int, ...]
reveal_type(l1d.status(archive="facts.tar.gz").exit_status)  # is int
reveal_type(l1d.what_if(cmdline="l1tf=off").takes)  # is str
