# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user said about the input besides its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options that front ends read.

    ``function`` picks one function by name; ``start`` and ``until`` are labels of code at which to begin and to
    end. ``defines`` are ``--define NAME=VALUE`` pairs for C (value ``1`` when none was given), ``undefines`` names that
    are said to be defined nowhere. ``optimize`` is the level C is compiled at. ``run_first`` names functions that run
    before the routine; C is then taken ``whole``, and not function by function.
    """

    function: str | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    undefines: frozenset[str] = frozenset()
    optimize: str = "2"
    start: str | None = None
    until: tuple[str, ...] = ()
    run_first: tuple[str, ...] = ()
    whole: bool = False

    @property
    def given(self) -> frozenset[str]:
        """The names about which the user said what they are."""
        return frozenset(name.partition("(")[0] for name in self.defines) | self.undefines


def as_configured(defines: Mapping[str, str], undefines: Iterable[str]) -> tuple[dict[str, str], frozenset[str]]:
    """The same, with the values of a kernel's configuration as the kernel's build gives them to the compiler: ``y`` is
    1, ``m`` defines the name with _MODULE behind it, and ``n`` leaves the name undefined.

    >>> as_configured({"CONFIG_A": "y", "CONFIG_B": "m", "CONFIG_C": "n", "N": "4"}, ())
    ({'CONFIG_A': '1', 'CONFIG_B_MODULE': '1', 'N': '4'}, frozenset({'CONFIG_B', 'CONFIG_C'}))
    """
    found: dict[str, str] = {}
    gone = set(undefines)
    for name, value in defines.items():
        if not name.startswith("CONFIG_") or value not in ("y", "m", "n"):
            found[name] = value
        elif value == "y":
            found[name] = "1"
        else:
            gone.add(name)
            if value == "m":
                found[f"{name}_MODULE"] = "1"
    return found, frozenset(gone)
