# SPDX-License-Identifier: GPL-2.0-or-later
"""Proves that an L1 data cache flush routine leaves nothing behind, or shows the state in which a line survives.

    import l1dflush as l1d

    l1d.verify("fix.patch", cpu="skylake").proved       does this flush empty the L1D?
    l1d.trace("fix.patch").paths                        what does it do, in order?
    l1d.compare("new.c", "old.c").effect                is the new one worse?
    l1d.check(l1d.certificate("linux-4.9.120"))         a proof, and whether it is one
    l1d.needs("tree-PLRU", ways=8, start="cold")        how many accesses are enough?
    l1d.survivors("LRU", ways=4)                        what is left after each of them?
    l1d.plan(cpu="ice-lake").code("c")                  the cheapest flush that is enough
    l1d.Simulator("tree-PLRU", "32K,8,64")              a cache that is run
    l1d.status(), l1d.what_if(cmdline="l1tf=full")      is this host protected, and what if?
    l1d.cpus()["skylake"], l1d.policies()               what is known
    l1d.Flusher()                                       a flush that runs on this machine

What is listed in ``__all__`` is public; all else may change with any version. The manual has a page for programs:
``l1dflush help python``.
"""

from __future__ import annotations

# As `typing` has it, which takes so long to load that an interrupt comes meanwhile.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from l1dflush.api.caches import Cpus, Plan, cpus, needs, plan, policies, policy, survivors
    from l1dflush.api.hosts import status, what_if
    from l1dflush.api.routines import certificate, check, compare, trace, verify
    from l1dflush.cache.simulate import Simulator
    from l1dflush.errors import InputError, L1dflushError, UndecidedError
    from l1dflush.silicon.flusher import Flusher

__version__ = "0.2.0"
__all__ = [
    "Cpus",
    "Flusher",
    "InputError",
    "L1dflushError",
    "Plan",
    "Simulator",
    "UndecidedError",
    "__version__",
    "certificate",
    "check",
    "compare",
    "cpus",
    "needs",
    "plan",
    "policies",
    "policy",
    "status",
    "survivors",
    "trace",
    "verify",
    "what_if",
]

# Where each is. They are imported when somebody asks for them: all of it takes long, and nobody needs all of it.
_HOMES = {
    "l1dflush.api.caches": ("Cpus", "Plan", "cpus", "needs", "plan", "policies", "policy", "survivors"),
    "l1dflush.api.hosts": ("status", "what_if"),
    "l1dflush.api.routines": ("certificate", "check", "compare", "trace", "verify"),
    "l1dflush.cache.simulate": ("Simulator",),
    "l1dflush.errors": ("InputError", "L1dflushError", "UndecidedError"),
    "l1dflush.silicon.flusher": ("Flusher",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module  # noqa: PLC0415 (seldom needed, and not by the command line)

            try:
                found: object = getattr(import_module(home), name)
            except ImportError as error:
                from l1dflush.extras import lacking  # noqa: PLC0415 (takes the errors, and is hardly ever needed)

                raise lacking(error) or error from None
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
