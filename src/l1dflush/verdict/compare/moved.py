# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields of structures that lie elsewhere in another build: the condition is the same, its offset is not.

A decision names a field by its offset from an argument, ``[rdi+0x14bd]``, or a variable inside an outside
structure, ``gs:irq_stat+0x2``. Where OLD and NEW decide by as many places of one base, these are taken for the
same ones, in the order in which they are first decided by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from l1dflush.tracing.facts import Fact, Field, Subject
from l1dflush.verdict.found import Spot, said
from l1dflush.verdict.verify_result import DecisionInfo, Finding, PathInfo, VerifyResult


def moved_fields(old: VerifyResult, new: VerifyResult) -> Mapping[Field, Field]:
    """Where NEW has a field to where OLD has it, for those whose offset differs."""
    before, after = _fields(old.paths), _fields(new.paths)
    moved: dict[Field, Field] = {}
    for base, places in after.items():
        others = before.get(base, [])
        if len(others) == len(places) and not set(others) & set(places):
            moved.update(zip(places, others, strict=True))
    return moved


def renamed(result: VerifyResult, fields: Mapping[Field, Field]) -> VerifyResult:
    """``result`` with the places that ``fields`` say in its decisions and findings."""
    if not fields:
        return result

    def subject(one: Subject) -> Subject:
        field = fields.get(one.field, one.field) if one.field is not None else None
        return one if field is None else replace(one, name=field.name, field=field)

    def fact(one: Fact) -> Fact:
        return replace(one, subjects=tuple(map(subject, one.subjects)))

    def decision(one: DecisionInfo) -> DecisionInfo:
        return one.model_copy(update={"fact": fact(one.fact)})

    paths = tuple(path.model_copy(update={"decisions": tuple(map(decision, path.decisions))}) for path in result.paths)
    names = {one.name: other.name for one, other in fields.items()}

    def spot(one: Spot) -> Spot:
        return replace(one, region=replace(one.region, names=tuple(names.get(name, name) for name in one.region.names)))

    def finding(one: Finding) -> Finding:
        about = replace(
            one.about, name=names.get(one.about.name, one.about.name), memory=tuple(map(spot, one.about.memory))
        )
        return one if about == one.about else one.model_copy(update={"about": about, "message": said(one.id, about)})

    findings = tuple(map(finding, result.findings))
    return result.model_copy(update={"paths": paths, "findings": findings})


def _fields(paths: tuple[PathInfo, ...]) -> dict[tuple[str, str], list[Field]]:
    """The fields that decisions are about, by what they are fields of, each once and in order."""
    found: dict[tuple[str, str], dict[Field, None]] = {}
    for path in paths:
        for decision in path.decisions:
            for subject in decision.fact.subjects:
                if (field := subject.field) is not None:
                    found.setdefault((field.base, field.end), {}).setdefault(field)
    return {base: list(places) for base, places in found.items()}
