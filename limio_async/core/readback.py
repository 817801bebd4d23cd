"""Seeing whether a write happened whose answer was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE, Endpoint, ReadsBack
from limio_async.errors import NotFound

__all__ = ["read_back_args", "reader"]

_MENDED = "\ufffd"  # in a name, stands for what nothing can be found by


def reader(
    call: Callable[[Endpoint[Any], Mapping[str, Any]], Awaitable[Any]],
    endpoints: Callable[[], Mapping[str, Endpoint[Any]]],
    endpoint: Endpoint[Any],
    args: Mapping[str, Any],
    body: object,
    answer: bytes,
) -> Callable[[], Awaitable[Any]] | None:
    """Return what reads back a write that may have happened, where enough is known to find it."""
    how = endpoint.reads_back
    if how is None or (known := read_back_args(how, {**args, **endpoint.bound}, body, answer)) is None:
        return None
    reading, found = endpoints()[how.operation], known

    async def read() -> Any:
        try:
            return await call(reading, found)
        except NotFound:
            return None

    return read


def read_back_args(
    how: ReadsBack, args: Mapping[str, Any], body: object, answer: bytes
) -> dict[str, str] | None:
    """The arguments of the reading operation; None where one of them is not known."""
    sources: dict[str, Mapping[str, Any]] = {"args": args, "body": _fields(body), "answer": _fields(answer)}
    found: dict[str, str] = {}
    for name, value in how.args.items():
        source, colon, field = value.partition(":")
        known = sources[source].get(field) if colon else value
        if not isinstance(known, str) or not known or _MENDED in known:
            return None
        found[name] = known
    return found


def _fields(body: object) -> Mapping[str, Any]:
    try:
        raw = body if isinstance(body, bytes | msgspec.Raw) else msgspec.json.encode(body)
        fields = msgspec.json.decode(mended(bytes(raw).removeprefix(BOM)))
    except (TypeError, msgspec.MsgspecError, *UNDECODABLE):
        return {}
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
