# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs: the one list of them, which help, messages, completion and the manual pages read. It imports none."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """``module`` is the one in :mod:`l1dflush.cli` that has the command; ``summary`` says in one line what it does."""

    module: str
    summary: str


# In the order of the help text.
VERBS: dict[str, Verb] = {
    "verify": Verb("verify", "Prove that a flush routine empties the L1D."),
    "check": Verb("check", "Check a certificate, without the prover."),
    "replay": Verb("replay", "Play a counterexample, step by step."),
    "size": Verb("size", "Tell how many accesses empty a set."),
    "plan": Verb("plan", "Plan the cheapest flush that is provably enough."),
    "run": Verb("run", "Run a command whose L1D the kernel flushes."),
    "measure": Verb("measure", "Measure what survives a flush here, and what it costs."),
    "identify": Verb("identify", "Tell which replacement policy this L1D has."),
    "cost": Verb("cost", "What flushes at VM entry cost, by a trace of VM exits."),
    "lab": Verb("lab", "Play what a guest reads, on a model machine."),
    "trace": Verb("trace", "Show what a routine does to memory, in order."),
    "routines": Verb("routines", "List the built-in routines."),
    "rules": Verb("rules", "List what a routine is checked for besides."),
    "explain": Verb("explain", "Explain a finding."),
    "cpus": Verb("cpus", "List the CPUs and what is known of them."),
    "policies": Verb("policies", "List the replacement policies, or draw what one does."),
    "schema": Verb("schema", "Write the JSON Schema of what --json writes."),
    "vm": Verb("vm", "Run a guest here, with a flush before each VM entry."),
    "status": Verb("status", "Tell whether a host is protected from L1TF."),
    "what-if": Verb("what_if", "Tell what would change a host's protection from L1TF."),
    "gather": Verb("gather", "Write this host's facts to an archive."),
    "help": Verb("help_pages", "Show a page of the manual."),
}
