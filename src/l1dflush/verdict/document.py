"""What every result that is written as JSON is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Frozen, with no keys that the schema does not have; built when it is first used, so that importing is quick."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
