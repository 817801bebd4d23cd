"""Values that every target can hold. Pure: what is odd is named before it is written, or written as what comes nearest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import msgspec

from limio_async.core.wire import UNDECODABLE
from limio_async.sync_jobs.sink import Change, Kind, Row, Table

__all__ = ["Holds", "by_column", "halved_pair", "last_of_each", "refusal_for", "stored", "stored_keys"]

Holds = Literal["postgres", "duckdb", "sqlite", "files"]
"""Kinds of targets whose limits differ."""

_AT_ONCE = 1_000
_LONGEST_KEY = 600  # characters: the index of PostgreSQL holds 2,704 bytes
_LARGEST = 2**63
_BEYOND_DOUBLE = 2**1024 - 2**970  # what is less is rounded to a double
_ODD = re.compile("[\0\ud800-\udfff]")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER = re.compile(rb"-?(?P<whole>\d+)(?:\.(?P<fraction>\d+))?(?:[eE](?P<exponent>[-+]?\d+))?")
_LONG = re.compile(rb"\d{1000}|\d[eE][-+]?\d{4}")
_LIKE_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_BEFORE_POINT, _AFTER_POINT = 131_072, 16_383
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def refusal_for(target: str, table: Table, row: Row) -> str | None:
    """Why *target* cannot hold *row* as it is; None if it can. One of no kind of `Holds` is as strict as all of them."""
    for place, kind, is_key in _may_be_refused(table):
        if (value := row[place]) is None:
            continue
        reason = _refused(kind, value, is_key)
        if reason is None and kind == "json":
            reason = _refused_json(target, value)
        if reason:
            return f"{table.columns[place].name}: {reason}"
    return None


@lru_cache(maxsize=256)
def _may_be_refused(table: Table) -> Sequence[tuple[int, Kind, bool]]:
    """The columns of a table whose values may be refused: where they stand, their kind, and whether they are keys."""
    told: Iterable[tuple[int, Kind, bool]] = (
        (place, one.kind, one.name in table.key) for place, one in enumerate(table.columns)
    )
    return [one for one in told if one[1] in {"json", "integer", "number"} or one[2]]


def _refused_json(target: str, raw: bytes) -> str | None:
    if target in {"sqlite", "files"}:  # which keep its text
        return None
    if halved_pair(raw):
        return "holds half of a surrogate pair in JSON, which the target cannot"
    if target == "duckdb":
        return None
    if b"\\u" in raw and _NUL.search(raw):
        return r"holds \u0000 in JSON, which the target cannot"
    if _may_be_long(raw) and any(map(_beyond_numeric, _NUMBER.finditer(_STRING.sub(b'""', raw)))):
        return "holds a number with more digits in JSON than the target can"
    return None


def _may_be_long(raw: bytes) -> bool:
    """Whether something in JSON reads like a number that is long; a look through it all that costs little."""
    alike = raw.translate(_LIKE_DIGITS, b"+-")
    return (b"0e0000" in alike or b"0" * 1000 in alike) and _LONG.search(raw) is not None


def _beyond_numeric(number: re.Match[bytes]) -> bool:
    """Whether PostgreSQL's numeric, and so its jsonb, cannot hold it."""
    whole, fraction, exponent = number["whole"], number["fraction"] or b"", number["exponent"] or b"0"
    if len(exponent) > 7:
        return True
    digits = (whole + fraction).lstrip(b"0")
    before = len(digits) - len(fraction) + int(exponent)
    after = len(fraction) - int(exponent)
    return (bool(digits) and before > _BEFORE_POINT) or after > _AFTER_POINT


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


def last_of_each(change: Change) -> list[Row]:
    """The rows of a change, of those with the same key the last."""
    keys = zip(
        *(
            stored(change.table, name, [row[change.table.at(name)] for row in change.rows])
            for name in change.table.key
        ),
        strict=True,
    )
    return [*dict(zip(keys, change.rows, strict=True)).values()]


def stored(table: Table, column: str, values: Sequence[Any]) -> list[Any]:
    """Values of one column as `by_column` has them."""
    kind = table.columns[table.at(column)].kind
    shown = _STORED.get(kind, _as_it_is)(values)
    return [_shortened(value) for value in shown] if column in table.key else [*shown]


def stored_keys(ids: Iterable[str]) -> Iterator[str]:
    """Keys as `by_column` has them."""
    rest = iter(ids)
    while some := [*islice(rest, _AT_ONCE)]:
        joined = "".join(some)
        if joined.isascii() and "\0" not in joined and max(map(len, some)) <= _LONGEST_KEY:
            yield from some
        else:
            yield from (_shortened(_ODD.sub(_escaped, one)) for one in some)


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
