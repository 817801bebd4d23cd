"""What an area is asked and what it answers: a call, a reply, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

from limio_async.core.wire import Response

__all__ = ["Call", "Handler", "Refused", "http_date", "reply", "whole_number"]

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


def http_date(seconds: float) -> str:
    """The moment *seconds*, since 1970, as headers have it."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def whole_number(call: Call, name: str, *, default: int, most: int = 10_000) -> int:
    """The query parameter *name*, between 1 and *most*; anything else is a bad request."""
    text = call.query.get(name, str(default))
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most:
        return int(text)
    raise Refused(400, f"{name} must be a number between 1 and {most}")
