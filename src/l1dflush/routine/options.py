"""What the user said about the input besides its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options that front ends read.

    ``function`` picks one function by name; ``start`` and ``until`` are labels of code at which to begin and to
    end. ``defines`` are ``--define NAME=VALUE`` pairs for C (value
    ``1`` when none was given). ``optimize`` is the level C is compiled at.
    """

    function: str | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    optimize: str = "2"
    start: str | None = None
    until: tuple[str, ...] = ()
