"""Fields of structures that lie elsewhere in another build: the condition is the same, its offset is not.

A decision names a field by its offset from an argument, ``[rdi+0x14bd]``, or a variable inside an outside
structure, ``gs:irq_stat+0x2``. Where OLD and NEW decide by as many places of one base, these are taken for the
same ones, in the order in which they are first decided by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from l1dflush.verdict.model import PathInfo, VerifyResult

# A base and an offset, as decisions have them: `[rdi+0x14bd]`, `[[rdi+0x8]+0x10]`, `gs:irq_stat+0x2`.
_FIELD = re.compile(r"`([^`]*?)\+(0x[0-9a-f]+)(\]*)`")


def moved_fields(old: VerifyResult, new: VerifyResult) -> Mapping[str, str]:
    """What NEW calls a field to what OLD calls it, for those whose offset differs."""
    before, after = _fields(old.paths), _fields(new.paths)
    moved: dict[str, str] = {}
    for base, places in after.items():
        others = before.get(base, [])
        if len(others) == len(places) and not set(others) & set(places):
            moved.update(zip(places, others, strict=True))
    return moved


def renamed(result: VerifyResult, names: Mapping[str, str]) -> VerifyResult:
    """``result`` with the places called ``names`` in its decisions and findings."""
    if not names:
        return result

    def text(told: str) -> str:
        return _FIELD.sub(lambda found: f"`{names.get(found[0][1:-1], found[0][1:-1])}`", told)

    return result.model_copy(
        update={
            "paths": tuple(
                path.model_copy(update={"decided_by": tuple(text(one) for one in path.decided_by)})
                for path in result.paths
            ),
            "findings": tuple(one.model_copy(update={"message": text(one.message)}) for one in result.findings),
        }
    )


def _fields(paths: tuple[PathInfo, ...]) -> dict[str, list[str]]:
    """The places that decisions name, by their base, each once and in order."""
    found: dict[str, dict[str, None]] = {}
    for path in paths:
        for told in path.decided_by:
            for base, offset, rest in _FIELD.findall(told):
                found.setdefault(f"{base}{rest}", {}).setdefault(f"{base}+{offset}{rest}")
    return {base: list(places) for base, places in found.items()}
