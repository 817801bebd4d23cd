"""Seeing whether a write happened whose answer was lost."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec

from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE, Endpoint, ListEndpoint
from limio_async.errors import NotFound

__all__ = ["read_back_args", "reader"]

_MENDED = "\ufffd"  # in a name, stands for what nothing can be found by
_MOST_READ = 50


class Caller(Protocol):
    """What reading back asks of a session."""

    async def call(self, endpoint: Endpoint[Any], args: Mapping[str, Any], /) -> Any:
        """Call an endpoint once and read its answer."""
        ...

    def list(self, endpoint: ListEndpoint[Any], args: Mapping[str, Any], /) -> AsyncIterable[Any]:
        """A walk over all pages of a list endpoint."""
        ...


def reader(
    caller: Caller,
    endpoints: Callable[[], Mapping[str, Endpoint[Any]]],
    endpoint: Endpoint[Any],
    args: Mapping[str, Any],
    body: object,
    answer: bytes,
) -> Callable[[], Awaitable[Any]] | None:
    """Return what reads back a write that may have happened, where enough is known to look for it."""
    if (how := endpoint.reads_back) is None:
        return None
    args = {**args, **endpoint.bound}
    reading = endpoints()[how.operation]
    known = read_back_args(how.args, args, body, answer)
    among = read_back_args(how.listed_with, args, body, answer) if how.listed_by else None

    async def fetched(found: Mapping[str, str]) -> Any:
        try:
            return await caller.call(reading, found)
        except NotFound:
            return None

    async def read() -> Any:  # no partial(): its repr shows what it was given
        return await fetched(known or {})

    async def look() -> Any:
        listing = cast("ListEndpoint[Any]", endpoints()[how.listed_by or ""])
        try:
            items = [one async for one in caller.list(listing, among or {})]
        except NotFound:
            return None
        items.sort(key=lambda one: str(one.created or ""), reverse=True)
        for item in items[:_MOST_READ]:
            found = read_back_args(how.args, args, body, msgspec.json.encode(item))
            whole = None if found is None else await fetched(found)
            if whole is not None and _is_of(_fields(body), whole.data, how.same):
                return whole
        return None

    if known is not None:
        return read
    return None if among is None else look


def read_back_args(
    how: Mapping[str, str], args: Mapping[str, Any], body: object, answer: bytes
) -> dict[str, str] | None:
    """The arguments of a reading operation; None where one of them is not known."""
    sources: dict[str, Mapping[str, Any]] = {"args": args, "body": _fields(body), "answer": _fields(answer)}
    found: dict[str, str] = {}
    for name, values in how.items():
        for value in values.split("|"):
            source, colon, field = value.partition(":")
            known: Any = sources[source] if colon else value
            for part in field.split(".") if colon else ():
                known = cast("Mapping[str, Any]", known).get(part) if isinstance(known, Mapping) else None
            if isinstance(known, str) and known and _MENDED not in known:
                found.setdefault(name, known)
        if name not in found:
            return None
    return found


def _is_of(sent: Mapping[str, Any], stored: Any, same: Sequence[str]) -> bool:
    """Whether what is *stored* came of what was *sent*: by its name, else because nothing in it says otherwise."""
    if not isinstance(stored, Mapping):
        return False
    found = cast("Mapping[str, Any]", stored)
    if any(sent.get(name) != found.get(name) for name in same):
        return False
    return sent.get(same[-1]) is not None or _agrees(sent, found)


def _agrees(sent: Any, stored: Any) -> bool:
    """Whether *stored* has no other value where *sent* has one; it may have more, and lack some."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        mine, theirs = cast("dict[str, Any]", sent), cast("dict[str, Any]", stored)
        return all(_agrees(value, theirs.get(name)) for name, value in mine.items())
    if isinstance(sent, list) and isinstance(stored, list):
        ours, others = cast("Sequence[object]", sent), cast("Sequence[object]", stored)
        return len(ours) == len(others) and all(map(_agrees, ours, others))
    return sent is None or stored is None or sent == stored


def _fields(body: object) -> Mapping[str, Any]:
    try:
        raw = body if isinstance(body, bytes | msgspec.Raw) else msgspec.json.encode(body)
        fields = msgspec.json.decode(mended(bytes(raw).removeprefix(BOM)))
    except (TypeError, msgspec.MsgspecError, *UNDECODABLE):
        return {}
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
