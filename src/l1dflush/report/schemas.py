# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schemas of what ``--json`` writes."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from importlib import import_module
from itertools import pairwise
from operator import or_
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from l1dflush.checking.model import FORMAT_VERSION as CERTIFICATE_VERSION
from l1dflush.document import FORMAT_VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = "urn:l1dflush:schema:{}:{}"
"""What a schema is called, by the kind of result and its ``format_version``: a name, and no place to load it from."""

# Where the model is, or the models of which a result is one: each is imported when it is asked for.
_MODELS: dict[str, tuple[str, ...]] = {
    "verify": ("l1dflush.verdict.verify_result", "VerifyResult", "NothingResult"),
    "comparison": ("l1dflush.verdict.compare.result", "ComparisonResult"),
    "check": ("l1dflush.checking.result", "CheckResult"),
    "certificate": ("l1dflush.checking.model", "Certificate"),
    "trace": ("l1dflush.verdict.verify_result", "TraceResult"),
    "policies": ("l1dflush.verdict.policies_result", "PolicyListResult"),
    "policy-run": ("l1dflush.verdict.policies_result", "PolicyRunResult"),
    "size": ("l1dflush.verdict.size.result", "OneSizeResult", "SizeResult"),
    "plan": ("l1dflush.planning.model", "PlanResult"),
    "lab": ("l1dflush.vmentry.lab.model", "LabResult"),
    "lab-list": ("l1dflush.vmentry.lab.model", "ScenarioListResult"),
    "measure": ("l1dflush.silicon.measure.model", "MeasureResult"),
    "identify": ("l1dflush.silicon.measure.model", "IdentifyResult"),
    "silicon": ("l1dflush.silicon.measure.silicon_model", "SiliconResult"),
    "cost": ("l1dflush.vmentry.cost.model", "CostResult"),
    "vm": ("l1dflush.vmentry.kvm.model", "VmResult"),
    "status": ("l1dflush.host.status.model", "StatusResult"),
    "what-if": ("l1dflush.mitigation.question", "WhatIfResult"),
    "what-if-host": ("l1dflush.host.status.model", "WhatIfHostResult"),
    "matrix": ("l1dflush.host.status.model", "MatrixResult"),
    "error": ("l1dflush.verdict.verify_result", "ErrorResult"),
}
SCHEMAS = tuple(_MODELS)
_TITLES = {
    "error": "what any command of l1dflush prints with --json when it fails",
    "comparison": "the result of l1dflush verify --against",
    "certificate": "what l1dflush verify --certificate writes",
    "policy-run": "the result of l1dflush policies NAME",
    "lab-list": "the result of l1dflush lab without a scenario",
    "what-if": "the answer to a question of l1dflush what-if --facts",
    "what-if-host": "the result of l1dflush what-if for a host",
    "matrix": "the result of l1dflush what-if --matrix",
    "silicon": "the result of l1dflush replay --silicon",
}
"""Of those that are not called as the verb whose result they describe."""


class _Documented(GenerateJsonSchema):
    """What the fields of facts are, which are dataclasses, is in the docstrings below these. The library finds them for
    models as well, and each time that one is built, which takes longer than all else of that."""

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        """As the library makes it, with the descriptions."""
        made = super().dataclass_schema(schema)
        for name, told in _told(schema["cls"]):
            made["properties"][name]["description"] = told
        return made


def schema(which: str | None = None) -> dict[str, Any]:
    """The JSON Schema of one kind of result (a key of :data:`SCHEMAS`), or of any."""
    # A certificate is a file, which no command prints.
    names = [which] if which is not None else [name for name in _MODELS if name != "certificate"]
    model: Any = reduce(or_, (one for name in names for one in _models(name)))
    described = TypeAdapter(model).json_schema(mode="serialization", schema_generator=_Documented)
    title = "any result of l1dflush" if which is None else _TITLES.get(which, f"the result of l1dflush {which}")
    version = CERTIFICATE_VERSION if which == "certificate" else FORMAT_VERSION
    return {"$schema": DIALECT, "$id": _ID.format(which or "any", version)} | described | {"title": title}


def schema_text(which: str | None = None) -> str:
    """:func:`schema` as text."""
    return json.dumps(schema(which), indent=2, ensure_ascii=False) + "\n"


def _models(name: str) -> Iterator[Any]:
    module, *models = _MODELS[name]
    return (getattr(import_module(module), model) for model in models)


def _told(fact: type) -> Iterator[tuple[str, str]]:
    """The docstrings of the fields; where there is no source there are none."""
    with suppress(OSError):
        (found,) = ast.parse(inspect.getsource(fact)).body
        if isinstance(found, ast.ClassDef):
            for field, below in pairwise(found.body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(told))):
                        yield name, inspect.cleandoc(told)
