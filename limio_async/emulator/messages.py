"""What an area is asked and what it answers: a call, a reply, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec

from limio_async.core.wire import Response

__all__ = ["Call", "Handler", "Refused", "as_list", "as_object", "body_of", "cookie", "reply", "whole_number"]

_JSON = {"content-type": "application/json"}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that found its operation and showed the credential it takes."""

    operation: str
    path: Mapping[str, str]
    """Path parameters, decoded."""
    query: Mapping[str, str]
    """Query parameters, decoded; the last of equals."""
    headers: Mapping[str, str]
    """Names are lower-case."""
    body: bytes


Handler = Callable[[Call], Response]
"""The behaviour of one operation."""


class Refused(Exception):
    """Ends a call with *status* and a message: an answer on its way, not a fault of the program."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def reply(payload: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of *payload* as JSON."""
    return Response(status=status, headers={**_JSON, **(headers or {})}, body=msgspec.json.encode(payload))


def whole_number(call: Call, name: str, *, default: int, most: int = 10_000) -> int:
    """The query parameter *name*, between 1 and *most*; anything else is a bad request."""
    text = call.query.get(name, str(default))
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most:
        return int(text)
    raise Refused(400, f"{name} must be a number between 1 and {most}")


def body_of(call: Call, *, refused_with: int = 400) -> dict[str, Any]:
    """The JSON object that the body of *call* is; anything else is refused with this status."""
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(refused_with, "The body must be a JSON object") from None


def as_object(value: object) -> dict[str, Any]:
    """*value* if it is a JSON object, otherwise an empty one."""
    return msgspec.convert(value, dict[str, Any]) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """*value* if it is a list, otherwise an empty one."""
    return msgspec.convert(value, list[Any]) if isinstance(value, list) else []


def cookie(call: Call, name: str) -> str | None:
    """The value of the cookie *name*, if it came with *call*."""
    try:
        found = SimpleCookie(call.headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value
