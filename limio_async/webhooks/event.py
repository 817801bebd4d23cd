"""A delivery as it is stored, and an event as a handler gets it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isinf
from typing import Any

import msgspec

from limio_async.core.same import digest
from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE, Webhook
from limio_async.envelope import at
from limio_async.webhooks.types import Event, State, digest_as, id_of, instant_of, key_of, kind_of, object_of

__all__ = ["Entry", "Row", "Stats", "entry_of", "event_of", "micros", "value_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 255
_BETWEEN = (b",", b"[", b"{")
_SPACE = b" \t\r\n"
_MOST_VALUES = 100_000
_MOST_DIGITS = 4300  # more are refused by int()
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, ready to be stored."""

    type: str
    thing: str
    """What its deliveries are compared by: the object's id, or its type and key, or digest, where it has none."""
    about: str | None
    """The id of the object that a body tells of which is compared by another id."""
    object: str | None
    key: str
    digest: str
    dated: bool
    """Whether the body says which change it tells of: two equal ones are one delivered twice."""
    updated: int | None
    person: str | None
    body: str
    unreadable: str | None
    """Why no handler can get it."""

    def __repr__(self) -> str:  # crash reports show it
        return f"<Entry {self.type}, {len(self.body)} characters>"


class Row(msgspec.Struct, frozen=True):
    """An event as its table has it."""

    seq: int
    type: str
    thing: str
    object: str | None
    key: str
    digest: str
    updated: int | None
    person: str | None
    body: str | None
    state: State
    error: str | None
    marks: str
    seen: int
    received_at: float
    changed_at: float

    def __repr__(self) -> str:
        return f"<Row {self.seq} {self.type}, {self.state}>"


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How an inbox stands."""

    states: Mapping[str, int]
    """How many events are in each state that any is in."""
    repeats: int
    """How many deliveries were repeats of earlier ones."""
    oldest_open: datetime | None
    """When the oldest event came that is not handled."""


def entry_of(slug: str, text: bytes) -> Entry:
    """Return what is stored of a body. Raises `ValueError` if it is no JSON."""
    try:
        body, exact, why = _read(text := text.removeprefix(BOM).strip(_SPACE))
        written, said = text.decode(), digest_as(body, text) if exact else digest(text)
    except (*UNDECODABLE, ValueError):
        raise ValueError("the body is not JSON in UTF-8") from None
    kind = kind_of(slug if len(slug) <= _LONGEST and slug.isprintable() else "unknown", body)
    key, updated = key_of(kind, body), instant_of(kind, body)
    event_id, named = _text(at(body, ("eventId",))), id_of(kind, body)
    return Entry(
        type=kind.slug,
        thing=event_id or named or f"?{kind.slug}/{key or said}",
        about=named if event_id else None,
        object=kind.record_type,
        key=key or f"?{kind.slug}/{said}",
        digest=said,
        dated=updated is not None or event_id is not None,
        updated=None if updated is None else micros(updated),
        person=_text(object_of(kind, body).get("owner")),
        body=written,
        unreadable=why or _unreadable(body, kind, key),
    )


def _unreadable(body: object, kind: Webhook, key: str | None) -> str | None:
    if not isinstance(body, dict):
        return "it is no object"
    if kind.resource is None:
        return "neither its type nor its record_type is known"
    return "it names no object" if key is None else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None


def event_of(row: Row, *, stale: bool = False, error: str | None = None) -> Event:
    """Return what a handler or a person gets of a row."""
    body = None if row.body is None else value_of(row.body.encode())
    named = None if row.thing.startswith("?") else row.thing
    return Event(
        seq=row.seq,
        type=row.type,
        object=row.object,
        id=named if body is None else id_of(kind_of(row.type, body), body),
        key=row.key,
        updated=None if row.updated is None else _EPOCH + timedelta(microseconds=row.updated),
        received=datetime.fromtimestamp(row.received_at, UTC),
        digest=row.digest,
        body=body,
        seen=row.seen,
        stale=stale,
        state=row.state,
        error=row.error or error,
    )


def value_of(text: bytes) -> Any:
    """Return the JSON value of *text*, half surrogates as U+FFFD, a number beyond all bounds as null.

    It is *text* itself where that is too deep, has too many values, or a number that is too long.
    """
    return _read(text)[0]


def _read(text: bytes) -> tuple[Any, bool, str | None]:
    """Return the value, whether it is exactly that of *text*, and why it cannot be read."""
    why = "it has too many values"
    if sum(map(text.count, _BETWEEN)) <= _MOST_VALUES:
        try:
            return *_decoded(text), None
        except RecursionError:
            why = "it is nested too deeply"
        except OverflowError:
            why = "a number in it is too long"
    if not _may_be_json(text):
        raise ValueError
    return text.decode(), False, why


def _decoded(text: bytes) -> tuple[Any, bool]:
    try:
        return msgspec.json.decode(text), True
    except msgspec.ValidationError:
        return json.loads(mended(text), parse_float=_float, parse_int=_int), False
    except RecursionError:
        raise
    except UNDECODABLE:
        if (better := mended(text)) == text:
            raise
        return _decoded(better)[0], False


def _float(number: str) -> float | None:
    return None if isinf(found := float(number)) else found


def _int(number: str) -> int:
    if len(number) > _MOST_DIGITS:
        raise OverflowError
    return int(number)


def _may_be_json(text: bytes) -> bool:
    """Return whether it is JSON, as far as can be told without making its values."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except RecursionError:
        return _is_balanced(text)
    except UNDECODABLE:
        return False
    return True


def _is_balanced(text: bytes) -> bool:
    bare = _STRING.sub(b"", text)
    return b"\0" not in text and all(bare.count(begin) == bare.count(end) for begin, end in (b"[]", b"{}"))


def micros(moment: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
