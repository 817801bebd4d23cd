"""Reading what somebody sent: JSON objects, and the refusals where it is something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import msgspec

from limio_async.emulator.messages import Call, Refused

__all__ = ["Data", "is_list", "is_object", "json_object", "require"]

Data = dict[str, Any]


def is_object(value: object) -> TypeGuard[Data]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether *value* is a JSON array."""
    return isinstance(value, list)


def json_object(call: Call, *, status: int = 400) -> Data:
    """The body of *call*; refused with *status* where it is no JSON object."""
    try:
        body: object = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(status, "The body is not JSON") from None
    if not is_object(body):
        raise Refused(status, "The body must be a JSON object")
    return body


def require(body: Mapping[str, Any], names: Iterable[str], *, status: int = 400) -> None:
    """Refuses a body in which one of *names* is missing or null."""
    missing = [name for name in names if body.get(name) is None]
    if missing:
        raise Refused(status, f"Missing required fields: {', '.join(missing)}")
