"""openapi/limio.yaml as a judge reads it: what may be asked, and whether an answer is one of those described.

It shares nothing with codegen and nothing with the client.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from limio_async.core.wire import Response

__all__ = ["FILE", "OPERATIONS", "Operation", "Parameter", "complaints", "for_server"]

FILE = Path(__file__).parents[2] / "openapi" / "limio.yaml"
_URI = "urn:limio"
_SPEC: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(_SPEC))
_METHODS = ("get", "post", "put", "delete")


class Parameter(NamedTuple):
    """One parameter that is described."""

    name: str
    place: str
    required: bool
    schema: Mapping[str, Any]


class Operation(NamedTuple):
    """What is described of one operation."""

    id: str
    method: str
    path: str
    parameters: Sequence[Parameter]
    body: str | None
    """The media type of its body, and nothing else."""
    body_schema: str
    """The name of its body's schema."""
    credentials: Sequence[str]
    responses: Mapping[str, tuple[str, Any]]
    """A status, or `4XX`, to the pointer of its response and the response."""


def complaints(operation: str, response: Response) -> list[str]:
    """What is wrong with *response*, by the description of *operation*; nothing if all is well."""
    described, status = OPERATIONS[operation].responses, str(response.status)
    code = status if status in described else f"{status[0]}XX"
    if code not in described:
        return [f"{operation}: {status} is not described: {response.body[:200]!r}"]
    pointer, answer = described[code]
    content = answer.get("content")
    if not content:
        return []
    given = response.headers.get("content-type", "").partition(";")[0]
    if given not in content:
        return [f"{operation} {status}: {given!r} is not described"]
    if given != "application/json":
        return []
    try:
        value = json.loads(response.body)
    except ValueError as error:
        return [f"{operation} {status}: {error}"]
    return [
        f"{operation} {status}: {error.json_path}: {error.message[:300]}"
        for error in _validator(pointer).iter_errors(value)
    ]


def for_server(url: str) -> dict[str, Any]:
    """The description of the one server at *url*, for programs that do not know servers of single operations.

    An example that holds data called `$ref`, which is no reference, is left out.
    """
    spec: dict[str, Any] = copy.deepcopy(_SPEC)
    paths = spec.pop("paths")
    spec["servers"] = [{"url": url}]
    spec["paths"] = {}
    for path, item in paths.items():
        own = item.pop("servers", None)
        for method in filter(item.__contains__, _METHODS):
            servers = item[method].pop("servers", None) or own or _SPEC["servers"]
            prefix = urlsplit(servers[0]["url"]).path.rstrip("/")
            spec["paths"].setdefault(prefix + path, {})[method] = item[method]
    without: dict[str, Any] = _without_odd_examples(spec)
    return without


def _without_odd_examples(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: _without_odd_examples(part)
                for name, part in value.items()
                if not (name in {"example", "examples"} and '"$ref"' in json.dumps(part, default=str))
            }
        case list():
            return [_without_odd_examples(part) for part in value]
        case _:
            return value


@cache
def _validator(pointer: str) -> Draft202012Validator:
    return Draft202012Validator(
        {"$ref": f"{_URI}#{pointer}/content/application~1json/schema"}, registry=_REGISTRY
    )


def _resolved(node: dict[str, Any], pointer: str) -> tuple[str, dict[str, Any]]:
    while isinstance(reference := node.get("$ref"), str):
        pointer, node = reference[1:], _SPEC
        for step in pointer.split("/")[1:]:
            node = node[step.replace("~1", "/").replace("~0", "~")]
    return pointer, node


def _operation(path: str, method: str) -> Operation:
    described = _SPEC["paths"][path][method]
    item = _SPEC["paths"][path]
    pointer = f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}"
    servers = described.get("servers") or item.get("servers") or _SPEC["servers"]
    given = [*item.get("parameters", []), *described.get("parameters", [])]
    parameters = [_resolved(one, "")[1] for one in given]
    content = _resolved(described.get("requestBody", {}), "")[1].get("content", {})
    media = next(iter(content), None)
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=urlsplit(servers[0]["url"]).path.rstrip("/") + path,
        parameters=[
            Parameter(one["name"], one["in"], one.get("required", False), one.get("schema", {}))
            for one in parameters
        ],
        body=media,
        body_schema="" if media is None else content[media]["schema"].get("$ref", "").rpartition("/")[2],
        credentials=[scheme for one in described.get("security", _SPEC["security"]) for scheme in one],
        responses={
            code: _resolved(answer, f"{pointer}/responses/{code}")
            for code, answer in described["responses"].items()
        },
    )


OPERATIONS: Mapping[str, Operation] = {
    operation.id: operation
    for path, item in _SPEC["paths"].items()
    for operation in (_operation(path, method) for method in _METHODS if method in item)
}
