"""The result as JSON, and the JSON Schema that describes it."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import Any

from pydantic import BaseModel, TypeAdapter

from l1dflush.check.model import Certificate
from l1dflush.check.result import CheckResult
from l1dflush.host.measure.model import IdentifyResult, MeasureResult
from l1dflush.host.measure.silicon_model import SiliconResult
from l1dflush.mitigation.question import WhatIfResult
from l1dflush.plan.model import PlanResult
from l1dflush.status.model import MatrixResult, StatusResult, WhatIfHostResult
from l1dflush.verdict.comparison import ComparisonResult
from l1dflush.verdict.model import ErrorResult, NothingResult, TraceResult, VerifyResult
from l1dflush.verdict.policies import PolicyListResult, PolicyRunResult
from l1dflush.verdict.size_model import OneSizeResult, SizeResult
from l1dflush.vmentry.cost.model import CostResult
from l1dflush.vmentry.kvm.model import VmResult
from l1dflush.vmentry.lab.model import LabResult, ScenarioListResult

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_MODELS: dict[str, Any] = {
    "verify": VerifyResult | NothingResult,
    "comparison": ComparisonResult,
    "check": CheckResult,
    "certificate": Certificate,
    "trace": TraceResult,
    "policies": PolicyListResult,
    "policy-run": PolicyRunResult,
    "size": OneSizeResult | SizeResult,
    "plan": PlanResult,
    "lab": LabResult,
    "lab-list": ScenarioListResult,
    "measure": MeasureResult,
    "identify": IdentifyResult,
    "silicon": SiliconResult,
    "cost": CostResult,
    "vm": VmResult,
    "status": StatusResult,
    "what-if": WhatIfResult,
    "what-if-host": WhatIfHostResult,
    "matrix": MatrixResult,
    "error": ErrorResult,
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


def json_text(result: BaseModel) -> str:
    """``result`` as one JSON document; keys in the order of the model."""
    return result.model_dump_json(indent=2) + "\n"


def schema(which: str | None = None) -> dict[str, Any]:
    """The JSON Schema of one kind of result (a key of :data:`SCHEMAS`), or of any."""
    # A certificate is a file, which no command prints.
    any_result = reduce(or_, (model for name, model in _MODELS.items() if name != "certificate"))
    model: Any = any_result if which is None else _MODELS[which]
    described: dict[str, Any] = TypeAdapter(model).json_schema(mode="serialization")
    title = "any result of l1dflush" if which is None else _TITLES.get(which, f"the result of l1dflush {which}")
    return {"$schema": DIALECT} | described | {"title": title}


def schema_text(which: str | None = None) -> str:
    """:func:`schema` as text."""
    return json.dumps(schema(which), indent=2, ensure_ascii=False) + "\n"
