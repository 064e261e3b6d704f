# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON of a result is what its schema says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from l1dflush.report.schemas import DIALECT, SCHEMAS, schema, schema_text
from l1dflush.verdict.verify_result import ErrorInfo, ErrorResult, VerifyResult


def error() -> ErrorResult:
    info = ErrorInfo(what="it is not there", where="a.c", hint=None)
    return ErrorResult(tool_version="0", command="verify", error=info, exit_status=1)


def valid(document: Any, which: str | None) -> None:
    jsonschema.Draft202012Validator(schema(which)).validate(document)


@pytest.mark.parametrize("which", [None, *SCHEMAS])
def test_a_schema_is_a_schema(which: str | None) -> None:
    described = schema(which)
    assert described["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(described)
    assert json.loads(schema_text(which)) == described


def test_a_result_fits_its_schema(full_result: VerifyResult) -> None:
    document = json.loads(full_result.to_json())
    valid(document, "verify")
    valid(document, None)
    assert VerifyResult.model_validate(document) == full_result


def test_an_error_fits_its_schema() -> None:
    document = json.loads(error().to_json())
    valid(document, "error")
    valid(document, None)
    assert document["verdict"] == "ERROR"


def test_what_is_no_result_does_not_fit(full_result: VerifyResult) -> None:
    document = json.loads(full_result.to_json())
    for wrong in (document | {"more": 1}, document | {"format_version": 1}, {}):
        with pytest.raises(jsonschema.ValidationError):
            valid(wrong, "verify")


def test_keys_come_in_the_order_of_the_model(full_result: VerifyResult) -> None:
    assert list(json.loads(full_result.to_json())) == list(VerifyResult.model_fields)


def test_every_field_that_is_no_plain_name_is_described() -> None:
    described = schema("verify")["$defs"]["Row"]["properties"]
    assert "description" in described["needs"]
    assert "description" in described["verdict"] or "$ref" in described["verdict"]


def test_control_characters_are_escaped(full_result: VerifyResult) -> None:
    routine = full_result.routine.model_copy(update={"name": "a\x1b[31m\n"})
    document = full_result.model_copy(update={"routine": routine}).to_json()
    assert "\x1b" not in document
    assert json.loads(document)["routine"]["name"] == "a\x1b[31m\n"
