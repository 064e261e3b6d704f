# SPDX-License-Identifier: GPL-2.0-or-later
"""What every result is made of: documents that are written as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

_REPORT = "l1dflush.report.notebook"
FORMAT_VERSION: Literal[2] = 2
"""Of all documents but certificates. It changes when a program that reads one might misunderstand it."""


class Document(BaseModel):
    """Frozen, with no keys that the schema does not have; built when it is first used, so that importing is quick."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` writes, as a dictionary of plain values."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """What ``--json`` writes: keys in the order of the schema."""
        return self.model_dump_json(indent=2) + "\n"

    def _repr_html_(self) -> str | None:
        """For notebooks: the report that people get, if there is one for this."""
        # What renders results knows them, and not the other way round.
        made: str | None = import_module(_REPORT).html(self)
        return made


def build(model: type[BaseModel]) -> None:
    """Builds a model, those that it is made of first: of a result they are all used by themselves as well, and what is
    built is taken as it is into what it is a part of, while a part of something is built once more when it is used."""
    _build(model, set())


def _build(model: type[BaseModel], begun: set[type[BaseModel]]) -> None:
    begun.add(model)
    for field in model.model_fields.values():
        for part in _models_in(field.annotation):
            if part not in begun:
                _build(part, begun)
    model.model_rebuild()


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)
