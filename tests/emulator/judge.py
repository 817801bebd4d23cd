"""Whether an answer is as openapi/limio.yaml has it, told by a validator of its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from jsonschema import Draft202012Validator

from limio_async.core.wire import Response

SPEC: dict[str, Any] = yaml.load(
    (Path(__file__).parents[2] / "openapi" / "limio.yaml").read_text(),
    Loader=yaml.CSafeLoader,
)
OPERATIONS = {
    operation["operationId"]: operation
    for methods in SPEC["paths"].values()
    for operation in methods.values()
    if isinstance(operation, dict) and "operationId" in operation
}


def judge(operation: str, answer: Response) -> Any:
    """The content of *answer*, once status and content were found to be as documented."""
    responses, status = OPERATIONS[operation]["responses"], str(answer.status)
    described = status if status in responses else f"{status[0]}XX"
    assert described in responses, f"{operation}: {status} {answer.body[:300]!r}"
    payload = msgspec.json.decode(answer.body)
    for error in validator(operation, described).iter_errors(payload):
        raise AssertionError(f"{operation} {status}: {error.json_path} {error.message[:300]}")
    return payload


@cache
def validator(operation: str, status: str) -> Draft202012Validator:
    response = OPERATIONS[operation]["responses"][status]
    if "$ref" in response:
        response = SPEC["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": SPEC["components"]})
