"""The result as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


def json_text(result: BaseModel) -> str:
    """``result`` as one JSON document; keys in the order of the model."""
    return result.model_dump_json(indent=2) + "\n"
