"""What every result is made of: documents that are written as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

FORMAT_VERSION: Literal[2] = 2
"""Of all documents but certificates. It changes when a program that reads one might misunderstand it."""


class Document(BaseModel):
    """Frozen, with no keys that the schema does not have; built when it is first used, so that importing is quick."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
