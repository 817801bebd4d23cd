"""Reading what somebody sent: JSON objects, and the refusals where it is something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeGuard

import msgspec

from limio_async.core.wire import UNDECODABLE
from limio_async.emulator.messages import Call, Refused

__all__ = [
    "Data",
    "as_list",
    "as_object",
    "cookie",
    "is_list",
    "is_object",
    "json_object",
    "objects_in",
    "require",
]

Data = dict[str, Any]


def is_object(value: object) -> TypeGuard[Data]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether *value* is a JSON array."""
    return isinstance(value, list)


def as_object(value: object) -> Data:
    """*value* if it is a JSON object, otherwise an empty one."""
    return value if is_object(value) else {}


def as_list(value: object) -> list[Any]:
    """*value* if it is a JSON array, otherwise an empty one."""
    return value if is_list(value) else []


def objects_in(value: object) -> list[Data]:
    """The objects of an array, without whatever else is in it."""
    return [one for one in as_list(value) if is_object(one)]


def json_object(call: Call, *, status: int = 400) -> Data:
    """The body of *call*; refused with *status* where it is no JSON object."""
    try:
        body: object = msgspec.json.decode(call.body)
    except UNDECODABLE:
        raise Refused(status, "The body is not JSON") from None
    if not is_object(body):
        raise Refused(status, "The body must be a JSON object")
    return body


def require(body: Mapping[str, Any], names: Iterable[str], *, status: int = 400) -> None:
    """Refuses a body in which one of *names* is missing or null."""
    missing = [name for name in names if body.get(name) is None]
    if missing:
        raise Refused(status, f"Missing required fields: {', '.join(missing)}")


def cookie(call: Call, name: str) -> str | None:
    """The value of the cookie *name*, if it came with *call*."""
    try:
        found = SimpleCookie(call.headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value
