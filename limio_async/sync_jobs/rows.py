"""Items to rows: their columns, whether they have changed, and why one cannot be a row. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, cast

import msgspec

from limio_async.core.codec import decoder_for
from limio_async.core.identity import says_yes
from limio_async.core.listing.repeats import key_of
from limio_async.core.wire import UNDECODABLE
from limio_async.drift.findings import Drift
from limio_async.envelope import CHANGED, at, changed_at, moment
from limio_async.sync_jobs.columns import Spot
from limio_async.sync_jobs.events import Mode
from limio_async.sync_jobs.sink import STALE, Column, Kind, Row, Table
from limio_async.sync_jobs.streams import Stream

__all__ = ["Item", "Reader", "Summary", "child_key", "digest_of", "parent_of", "summary_of", "table_of"]

_ANY = decoder_for(Any)
_LARGEST = 2**63 - 1


class Summary(msgspec.Struct, frozen=True):
    """What a walk looks at in an item."""

    id: str
    """As `key_of` writes it."""
    content: bytes
    """16 bytes that tell whether its bytes are others."""
    changed: datetime | None = None
    """When it was changed, by its own account."""
    last_change: datetime | None = None
    """The latest of all times of a change that it tells: before it, nobody says that it has stayed as it was."""
    born: Any = None
    """What it has as `created`."""

    @property
    def created(self) -> datetime | None:
        """When it came, which says nothing about changes."""
        return moment(self.born)


def _typed(places: Iterable[tuple[str, ...]]) -> type[msgspec.Struct]:
    """A struct of what stands at *places*, one or two keys deep: msgspec builds nothing else of an item."""
    fields: dict[str, list[tuple[str, Any, Any]]] = {}
    for name, *inner in places:
        fields.setdefault(name, []).extend((one, Any, None) for one in inner)
    made: list[tuple[str, Any, Any]] = []
    for name, held in fields.items():
        holder = msgspec.defstruct(name, held, gc=False) if held else Any
        made.append((name, holder, msgspec.field(default_factory=holder) if held else None))
    return msgspec.defstruct("Told", made, gc=False)


_PLACES = (("id",), ("created",), *CHANGED)
_TOLD = decoder_for(_typed(_PLACES))
_ITEM = decoder_for(dict[str, Any])
_values = attrgetter(*map(".".join, _PLACES))


def digest_of(raw: bytes | msgspec.Raw) -> bytes:
    """Return 16 bytes that tell whether an item's bytes are others."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def summary_of(raw: bytes | msgspec.Raw) -> Summary:
    """What a walk looks at in an item."""
    content = digest_of(raw)
    try:
        identity, created, *told = _values(_TOLD.decode(raw))
    except UNDECODABLE:  # it is no object, or its `data` is none
        try:
            item = _ITEM.decode(raw)
        except UNDECODABLE:
            return Summary(key_of(raw), content)
        identity, created, *told = (at(item, place) for place in _PLACES)
    first = last = None
    for value in told:
        if value is not None and (time := moment(value)) is not None:
            first = first or time
            last = time if last is None or time > last else last
    return Summary(key_of(raw, identity), content, first, last, created)


def child_key(key: str, parent: str | None) -> str:
    """Return the key of a child: `PARENT/CHILD`, with `%25` and `%2F` for `%` and `/` in the parent's key."""
    return key if parent is None else f"{parent.replace('%', '%25').replace('/', '%2F')}/{key}"


def parent_of(key: str) -> str | None:
    """Return the parent whose children as a whole `child_key("", parent)` stands for; None for any other key."""
    parent, _, rest = key.partition("/")
    return None if rest or not key.endswith("/") else parent.replace("%2F", "/").replace("%25", "%")


class Item(msgspec.Struct, frozen=True):
    """An item on its way to the target."""

    raw: bytes | msgspec.Raw
    id: str
    """Its key in the stream's table."""
    head: Mapping[str, Any] = {}
    """What its answer said beside the items."""
    parent: str | None = None
    """The object it is a child of."""
    content: bytes = b""
    """Its summary's; empty where that is not known."""


def table_of(stream: Stream, mode: Mode) -> Table:
    """The table of a stream; appended versions have one of their own, `…_history`."""
    appends = mode == "append"
    columns = (
        Column("id"),
        *((Column("parent_id"),) if stream.parent else ()),
        *(Column(spot.name, spot.kind) for spot in stream.spots),
        *(Column(name) for name in stream.heads),
        Column("updated", "time"),
        Column("deleted_at", "time"),
        *(() if appends else (Column(STALE, "time"),)),
        Column("hash"),
        Column("raw", "json"),
    )
    return Table(
        name=f"{stream.table}_history" if appends else stream.table,
        columns=columns,
        key=("id", "hash") if appends else ("id",),
        compared="hash",
        keeps=appends,
    )


class Reader:
    """Makes rows of a stream's items, and counts what its model does not know.

    *salt* is part of each row's hash: with another one all rows count as changed.
    """

    def __init__(self, stream: Stream, mode: Mode, *, salt: str = "") -> None:
        self.table = table_of(stream, mode)
        self.drift = Drift(stream.endpoint.returns)
        self._stream = stream
        self._decoder: msgspec.json.Decoder[Any] = decoder_for(stream.endpoint.returns)
        self._unmarked = (None,) if self.table.keeps else (None, None)
        self._salt = repr(_reading(stream, self.table)).encode() + salt.encode()
        self._key = hashlib.blake2b(self._salt, digest_size=32).digest()

    def row(self, item: Item) -> Row | str:
        """The row of an item; where it is none, the reason."""
        operation = self._stream.endpoint.operation
        try:
            found = _ANY.decode(item.raw)
            if isinstance(found, dict):
                self.drift.see(cast("dict[str, Any]", found))
            self._decoder.decode(item.raw)
        except UNDECODABLE as error:
            return f"{operation}: {error}"
        held = cast("dict[str, Any]", found)  # as each list's items are objects
        if (identity := self._stream.endpoint.identity) and not says_yes(identity, held):
            return f"{operation}: the item has no {' or '.join(identity)}"
        heads = [_text(item.head.get(name)) for name in self._stream.heads]
        return (
            item.id,
            *((item.parent,) if self._stream.parent else ()),
            *(value_at(held, spot) for spot in self._stream.spots),
            *heads,
            changed_at(held),
            *self._unmarked,
            self.hash_of(item),
            bytes(item.raw),
        )

    def hash_of(self, item: Item) -> str:
        """The hash of an item's row, made of the digest of its bytes; of a version that is kept, of its bytes as ever."""
        heads = [_text(item.head.get(name)) for name in self._stream.heads]
        about = repr(heads).encode() if heads else b""
        if self.table.keeps:
            digest = hashlib.blake2b(self._salt, digest_size=16)
            digest.update(item.raw)
            digest.update(about)
            return digest.hexdigest()
        told = (item.content or digest_of(item.raw)) + about
        return hashlib.blake2b(told, digest_size=16, key=self._key).hexdigest()


def _reading(stream: Stream, table: Table) -> Any:
    """What a row is made by: rows are written anew once that is another; versions that are kept, by their columns."""
    columns = tuple(column for column in table.columns if column.name != STALE)  # of no item
    return columns if table.keeps else (columns, stream.spots, CHANGED)


def value_at(item: Mapping[str, Any], spot: Spot) -> Any:
    """The value of a column; None where there is none of its kind."""
    for path in spot.paths:
        found: Any = item
        for part in path:
            if (found := _inside(found, part)) is None:
                break
        value = None if found is None else _CONVERTERS[spot.kind](found)
        if value is not None:
            return value
    return None


def _inside(holder: Any, part: str | int) -> Any:
    """What *holder* has at a key or a position; None where it is of another kind, or shorter."""
    if isinstance(holder, dict):
        return holder.get(part)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    try:
        return holder[part]
    except (LookupError, TypeError):
        return None


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _integer(value: Any) -> int | None:
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(value)
    return int(number) if number is not None and abs(number) <= _LARGEST and number == int(number) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_CONVERTERS: Mapping[Kind, Any] = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "time": moment,
}
