"""What a walk, a row and drift are, as plainly as they can be written: what is fast is held against it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import inspect

from limio_async.core.identity import says_yes
from limio_async.core.listing.repeats import key_of
from limio_async.core.wire import UNDECODABLE
from limio_async.drift.findings import _NAME, _TOKEN, Kind, _known_statuses
from limio_async.sync_jobs.columns import Spot, value_at
from limio_async.sync_jobs.rows import Item
from limio_async.sync_jobs.sink import Column, Row
from limio_async.sync_jobs.streams import Stream

CHANGED = (("updated",), ("modified",), ("data", "modified"), ("version_date",), ("data", "version_date"))
Found = tuple[str, str, Kind, str]
"""Model, path, kind, what was found."""


def summary(raw: bytes) -> tuple[str, bytes, datetime | None, datetime | None, datetime | None]:
    """Id, content, changed, last change, created."""
    try:
        item = msgspec.json.decode(raw, type=dict[str, Any])
    except UNDECODABLE:
        item = {}
    times = [time for place in CHANGED if (time := moment(_at(item, place))) is not None]
    content = hashlib.blake2b(raw, digest_size=16).digest()
    first, last = (times[0], max(times)) if times else (None, None)
    return key_of(raw), content, first, last, moment(item.get("created"))


def moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) and len(value) > 9 else None
        return found and (found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _at(item: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def row(stream: Stream, columns: tuple[Column, ...], item: Item) -> Row | str:
    """The row of an item without its hash: decoded twice, column by column."""
    raw, endpoint = bytes(item.raw), stream.endpoint
    try:
        held = msgspec.json.decode(raw)
        msgspec.json.decode(raw, type=endpoint.returns)
    except UNDECODABLE as error:
        return f"{endpoint.operation}: {error}"
    if endpoint.identity and not says_yes(endpoint.identity, held):
        return f"{endpoint.operation}: the item has no {' or '.join(endpoint.identity)}"
    values: dict[str, Any] = {spot.name: value_at(held, spot) for spot in stream.spots}
    values |= {name: value_at(item.head, Spot(name, ((name,),))) for name in stream.heads}
    times = (moment(_at(held, place)) for place in CHANGED)
    values |= {"id": item.id, "parent_id": item.parent, "raw": raw, "hash": "…"}
    values["updated"] = next((time for time in times if time is not None), None)
    return tuple(values.get(column.name) for column in columns)


def drift(model: Any, items: list[Any]) -> Mapping[Found, int]:
    """How often what was found, if it is less than there is room for."""
    return Counter(
        found for item in items for found in _found(model.__name__, "$", inspect.type_info(model), item)
    )


def _word(value: str) -> str:
    return value if _TOKEN.fullmatch(value) else "(other values)"


_JSON = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", list: "array", dict: "object"}  # fmt: skip
_TAKES: Mapping[type, set[type]] = {
    inspect.StrType: {str},
    inspect.LiteralType: {str},
    inspect.IntType: {int},
    inspect.FloatType: {int, float},
    inspect.BoolType: {bool},
    inspect.NoneType: {type(None)},
    inspect.ListType: {list},
    inspect.DictType: {dict},
    inspect.StructType: {dict},
}


def _found(model: str, path: str, kind: inspect.Type, value: Any) -> Iterator[Found]:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if any(type(one) not in _TAKES for one in kinds):  # any value
        return
    fitting = [one for one in kinds if type(value) in _TAKES[type(one)]]
    if not fitting:
        yield model, path, "type", _JSON[type(value)]
    for one in fitting:
        match one:
            case inspect.StructType():
                yield from _in_object(path, one, value)
            case inspect.DictType(value_type=held):
                for inner in value.values():
                    yield from _found(model, f"{path}{{}}", held, inner)
            case inspect.ListType(item_type=held):
                for inner in value:
                    yield from _found(model, f"{path}[]", held, inner)
            case inspect.LiteralType(values) if value not in values:
                yield model, path, "value", _word(value)
            case _:
                pass


def _in_object(path: str, kind: inspect.StructType, item: dict[str, Any]) -> Iterator[Found]:
    fields = {field.encode_name: field.type for field in kind.fields}
    name = kind.cls.__name__
    for key, value in item.items():
        if key not in fields:
            yield name, f"{path}.{key if _NAME.fullmatch(key) else '{}'}", "field", _JSON[type(value)]
            continue
        known = _known_statuses(kind.cls) if key == "status" else ()
        if known and isinstance(value, str) and value not in known:
            yield name, f"{path}.{key}", "value", _word(value)
        yield from _found(name, f"{path}.{key}", fields[key], value)
