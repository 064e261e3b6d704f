# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result is made of is built with it."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import Field

from l1dflush.document import Document, build


class Leaf(Document):
    """In the middle of everything."""

    name: str


class Inner(Document):
    """May have itself in it."""

    leaves: dict[str, Annotated[Leaf, Field(description="one")] | None]
    more: tuple[Inner, ...] = ()
    whole: Outer | None = None


class Outer(Document):
    """The result."""

    inner: list[tuple[int, Inner]] = Field(default_factory=list)


class Apart(Document):
    """Of another result."""

    name: str


def test_the_parts_are_built_and_nothing_else() -> None:
    assert not any(model.__pydantic_complete__ for model in (Leaf, Inner, Outer, Apart))
    build(Outer)
    assert all(model.__pydantic_complete__ for model in (Leaf, Inner, Outer))
    assert not Apart.__pydantic_complete__
    made = Outer(inner=[(1, Inner(leaves={"a": Leaf(name="x")}, more=(Inner(leaves={"b": None}),)))])
    assert Outer.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("result", ["VerifyResult", "TraceResult"])
def test_a_result_needs_no_more_than_was_built(result: str) -> None:
    """In the child nothing is left to be built."""
    program = f"""
from l1dflush.document import build
from l1dflush.verdict import verify_result as model
from l1dflush.verdict.options import VerifyOptions
build(model.{result})
from l1dflush.verdict import judge
built = []
for name, one in vars(model).items():
    if isinstance(one, type) and issubclass(one, model.Document) and not one.__pydantic_complete__:
        built.append(one)
made = judge.verify("one-pass", VerifyOptions()) if {result!r} == "VerifyResult" else judge.trace_of(
    "one-pass", VerifyOptions())
print(type(made).__name__, *(one.__name__ for one in built if one.__pydantic_complete__))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [result]
