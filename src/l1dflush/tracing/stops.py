# SPDX-License-Identifier: GPL-2.0-or-later
"""What the abstract machine stopped at, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from l1dflush.arguments import MAX_PATHS, MAX_SECONDS
from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.tracing.bindings import bind_hint
from l1dflush.tracing.decode import Instruction
from l1dflush.tracing.effects import Form
from l1dflush.tracing.options import TraceOptions

_DEEP = "what was loaded at a place that was loaded"


def _more_paths() -> str:
    # What no option names decides: a field, what a call returns.
    return f"{MAX_PATHS.form('N')}, if there are not many more"


def _budget() -> str:
    return f"an endless loop, or {MAX_SECONDS.form('N')}"


class Stop(NamedTuple):
    """Why the machine stopped: its cause, the instruction, and the names of what is not known, or the number where that
    is known. ``linked``: it was loaded from where something leads that was loaded itself. ``in_memory``: how what is in
    memory is bound, by its name, if most of what was decided on the way depends on it."""

    cause: str
    insn: Instruction | None
    sources: tuple[str, ...]
    unknown: bool
    linked: bool = False
    in_memory: Mapping[str, str] = MappingProxyType({})


def undecided(
    stop: Stop, options: TraceOptions, where: Place, pointers: Collection[str], is_base: Callable[[str], bool]
) -> UndecidedError:
    """The error for a stop. ``pointers`` are names of what was used as an address: a number for these is not what is
    missing. ``is_base``: whether another input can be given relative to that one."""
    text = f"`{stop.insn.text}`" if stop.insn is not None else "the routine"
    # Of what was loaded from where something leads that was loaded, and so on, the name says nothing to anybody.
    sources = " and ".join(dict.fromkeys(_DEEP if name.startswith("[[[") else name for name in stop.sources))
    returns = stop.insn is not None and stop.insn.effect.form is not Form.CALL and not stop.insn.operands
    match stop.cause:
        case "too-many-paths":
            what = f"more than {options.max_paths} paths; the last fork depends on {sources}"
            missing = [name for name in stop.sources if name not in pointers]
            known = [name for name in stop.sources if name in pointers]
            hint = bind_hint(missing, stop.in_memory)
            if hint is not None and len(missing) == len(known) == 1:
                # Where a walk ends is a distance from where it begins.
                hint = hint.replace("VALUE", f"{known[0]}+SIZE") if is_base(known[0]) else bind_hint(stop.sources)
            if stop.linked and not stop.in_memory:
                roots = sorted(name for name in pointers if "[" not in name)
                begin = f", from {' and '.join(f'`{name}`' for name in roots)} on" if roots else ""
                what = f"it follows links in memory that nobody has filled in{begin}, and each may be the last one"
                return UndecidedError("links-unknown", what, where=where, names=tuple(roots))
            return UndecidedError(
                stop.cause,
                what,
                where=where,
                hint=hint or _more_paths(),
                names=stop.sources,
            )
        case "too-many-instructions":
            what = f"the routine has not returned after {options.max_instructions} instructions"
            return UndecidedError("budget", what, where=where, hint=_budget())
        case "endless-loop":
            what = f"the routine does not return: at {text} it does the same again and again"
            return UndecidedError("budget", what, where=where)
        case "out-of-time":
            what = f"the routine has not returned after {options.max_seconds:.3g} seconds"
            return UndecidedError("budget", what, where=where, hint=_budget())
        case "too-many-accesses":
            what = "the routine makes more accesses than can be kept"
            return UndecidedError("budget", what, where=where, hint=_budget())
        case "too-many-unknown-values":
            return UndecidedError("budget", "the routine computes more unknown values than can be kept", where=where)
        case "indirect-jump" if not stop.unknown:
            what = f"the routine goes on where there is no code, at {sources}"
            return UndecidedError("jump-into-nowhere", what, where=where)
        case "indirect-jump" if returns:
            what = "the return address is not the caller's"
            return UndecidedError("return-address-unknown", what, where=where)
        case "indirect-jump":
            return UndecidedError(stop.cause, f"{text} goes where {sources} says", where=where)
        case "stack-moved":
            what = "the stack pointer is not where it was when it returns"
            return UndecidedError(stop.cause, what, where=where)
        case "divides-by-zero":
            return UndecidedError("faults", f"{text} divides by zero", where=where)
        case "faults":
            what = f"{text} faults: its address is not aligned, as computed from {sources}"
            return UndecidedError(stop.cause, what, where=where)
        case "not-canonical":
            return UndecidedError("faults", f"{text} faults: {sources} is not a canonical address", where=where)
        case "half-around":
            what = f"{text} accesses memory that lies half an address space away from {sources}"
            return UndecidedError("address-too-far", what, where=where)
        case "returns-to-itself":
            what = f"{text} returns to an address that the routine itself put there"
            return UndecidedError(stop.cause, what, where=where)
        case "no-such-operation":
            what = f"{text} has an operation that the abstract machine does not know"
            return UndecidedError("unclassified-instruction", what, where=where)
    return UndecidedError(stop.cause, f"{text} depends on {sources}", where=where)
