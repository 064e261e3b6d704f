"""The options that say what a proof is about and what it may take, and how their texts become values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.cache.policies import Policy
    from l1dflush.proof.conditions import Conditions

MOST_TOUCHES = 8
# What a process can be limited to, with room for what else it maps.
_MOST_MEMORY = 16 << 40

CacheGeometry = Annotated[
    str | None, typer.Option("--geometry", metavar="SIZE,WAYS,LINE", help="A cache, like 32K,8,64.")
]
Host = Annotated[bool, typer.Option("--host", help="The L1D of this machine.")]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="START",
        help="What a set may hold at the start: any, any+invalid, cold, or steady or steady-from-any (flushes again and"
        " again); each also with +invalidations.  [default: any+invalid]",
        show_default=False,
    ),
]
Then = Annotated[
    list[str] | None,
    typer.Option(
        "--then",
        metavar="ROUTINE",
        help="With a steady start: this routine flushes next, in turn. Repeatable.",
    ),
]
Touches = Annotated[
    int,
    typer.Option(
        "--touches", metavar="N", min=0, max=MOST_TOUCHES, help="Accesses by others to a set during the flush."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="What the prover may take, like 512M.  [default: 2G]", show_default=False
    ),
]


def conditions(start: str | None, touches: int, policy: Policy | None = None) -> Conditions:
    """What is proved. Raises InputError for a start that there is not.

    Where no start is named and nobody knows what the policy does when an invalid way is filled, all ways are valid.
    """
    from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions  # noqa: PLC0415
    from l1dflush.proof.conditions import Start as SetStart  # noqa: PLC0415

    if start is None:
        return Conditions(ALL_WAYS_VALID.start if policy and not policy.has_fills else SetStart(), touches)
    try:
        return Conditions(SetStart.parse(start), touches)
    except InputError as error:
        raise InputError(error.what, where="--start", hint=error.hint) from None


def memory(text: str | None) -> int:
    """The prover's memory in bytes. Raises InputError."""
    from l1dflush.cli.options import size  # noqa: PLC0415
    from l1dflush.proof.limits import DEFAULT_MEMORY  # noqa: PLC0415

    value = size("--memory", text)
    if value is not None and value > _MOST_MEMORY:
        raise InputError(f"'{text}' is too much", where="--memory", hint=f"at most {_MOST_MEMORY >> 30}G")
    return DEFAULT_MEMORY if value is None else value
