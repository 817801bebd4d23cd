"""Values that every target can hold. Pure: what is odd is named before it is written, or written as what comes nearest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from limio_async.core.wire import UNDECODABLE
from limio_async.sync_jobs.sink import Change, Kind, Row, Table

__all__ = ["by_column", "halved_pair", "refusal", "stored", "stored_keys"]

_LONGEST_KEY = 600  # characters: the index of PostgreSQL holds 2,704 bytes
_LARGEST = 2**63
_BEYOND_DOUBLE = 2**1024 - 2**970  # what is less is rounded to a double
_ODD = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def refusal(table: Table, row: Row) -> str | None:
    """Why no target can hold *row* as it is; None if each can."""
    for column, value in zip(table.columns, row, strict=True):
        if value is not None and (reason := _refused(column.kind, value, column.name in table.key)):
            return f"{column.name}: {reason}"
    return None


def _refused(kind: Kind, value: Any, is_key: bool) -> str | None:
    match kind:
        case "text" if is_key and len(value) > _LONGEST_KEY:
            return f"{len(value):,} characters are too many to tell rows apart, {_LONGEST_KEY} are allowed"
        case "text" if is_key and _ODD.search(value):
            return "holds a NUL or half a surrogate pair, which no target can tell apart from others"
        case "json" if not _is_utf8(value):
            return "is not UTF-8"
        case "integer" if not -_LARGEST <= value < _LARGEST:
            return "is beyond 64 bits"
        case "number" if isinstance(value, int) and abs(value) >= _BEYOND_DOUBLE:
            return "is beyond what a double holds"
        case _:
            return None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def by_column(change: Change) -> list[Sequence[Any]]:
    """The rows of a change, column by column, of those with the same key the last.

    JSON is `str`, times are in UTC, NaN is None. NUL and halves of surrogate pairs in texts are escaped with a
    backslash: their exact bytes are in the raw item. Keys that are too long end in a hash instead.
    """
    table = change.table
    if not change.rows:
        return [() for _ in table.columns]
    columns: list[Sequence[Any]] = [
        _STORED.get(column.kind, _as_it_is)(values)
        for column, values in zip(table.columns, zip(*change.rows, strict=True), strict=True)
    ]
    for name in table.key:
        place = table.at(name)
        columns[place] = [_shortened(value) for value in columns[place]]
    keys = zip(*(columns[table.at(name)] for name in table.key), strict=True)
    last = {key: number for number, key in enumerate(keys)}
    if len(last) < len(change.rows):
        columns = [[values[number] for number in last.values()] for values in columns]
    return columns


def stored(table: Table, column: str, values: Sequence[Any]) -> list[Any]:
    """Values of one column as `by_column` has them."""
    kind = table.columns[table.at(column)].kind
    shown = _STORED.get(kind, _as_it_is)(values)
    return [_shortened(value) for value in shown] if column in table.key else [*shown]


def stored_keys(ids: Iterable[str]) -> Iterator[str]:
    """Keys as `by_column` has them."""
    return (_shortened(_ODD.sub(_escaped, one)) for one in ids)


def halved_pair(raw: bytes) -> bool:
    r"""Whether JSON holds half a surrogate pair, such as `\ud800` alone."""
    if not _SURROGATE.search(raw):
        return False
    try:
        msgspec.json.decode(raw)
    except UNDECODABLE:
        return True
    return False


def _as_it_is(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _texts(values: Sequence[str | None]) -> Sequence[str | None]:
    joined = "".join(filter(None, values))
    if (joined.isascii() and "\0" not in joined) or not _ODD.search(joined):
        return values
    return [value and _ODD.sub(_escaped, value) for value in values]


def _escaped(odd: re.Match[str]) -> str:
    return odd[0].encode("unicode_escape").decode()


def _numbers(values: Sequence[float | None]) -> Sequence[float | None]:
    return [
        None if value is None or value != value else float(value) for value in values
    ]  # NaN is not itself


def _times(values: Sequence[datetime | None]) -> Sequence[datetime | None]:
    return [value and value.astimezone(UTC) for value in values]


def _json(values: Sequence[bytes | None]) -> Sequence[str | None]:
    return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]


_STORED: Mapping[Kind, Callable[[Sequence[Any]], Sequence[Any]]] = {
    "text": _texts,
    "number": _numbers,
    "time": _times,
    "json": _json,
}


def _shortened(key: Any) -> Any:
    if not isinstance(key, str) or len(key) <= _LONGEST_KEY:
        return key
    return f"{key[: _LONGEST_KEY - 64]}…{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
