"""Items to rows: their columns, whether they have changed, and why one cannot be a row. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgspec

from limio_async.core.codec import decoder_for
from limio_async.core.identity import says_yes
from limio_async.core.listing.repeats import key_of
from limio_async.core.wire import UNDECODABLE
from limio_async.drift.findings import Drift
from limio_async.envelope import CHANGED, moment
from limio_async.sync_jobs.columns import Columns, Spot, text_of
from limio_async.sync_jobs.events import Mode
from limio_async.sync_jobs.sink import STALE, Column, Row, Table
from limio_async.sync_jobs.streams import Stream

__all__ = ["Item", "Reader", "Summary", "child_key", "parent_of", "summary_of", "table_of"]

_ANY = decoder_for(Any)
_ENCODER = msgspec.json.Encoder()


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


_TYPE = _typed((("id",), ("created",), *CHANGED))
_TOLD = decoder_for(_TYPE)
_ITEM = decoder_for(dict[str, Any])
_HOLDERS = {name for name, *inner in CHANGED if inner}
_changes = attrgetter(*map(".".join, CHANGED))


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a walk looks at in an item. Its times are read when they are asked for."""

    id: str
    """As `key_of` writes it."""
    content: bytes
    """16 bytes that tell whether its bytes are others."""
    told: Any = msgspec.field(default_factory=_TYPE)
    """What it has as `id`, as `created` and at the places in `CHANGED`."""

    @property
    def changed(self) -> datetime | None:
        """When it was changed, by its own account: as `changed_at` says."""
        for value in _changes(self.told):
            if value is not None and (time := moment(value)) is not None:
                return time
        return None

    @property
    def last_change(self) -> datetime | None:
        """The latest of all times of a change that it tells: before it, nobody says that it has stayed as it was."""
        times = (moment(value) for value in _changes(self.told) if value is not None)
        return max((time for time in times if time is not None), default=None)

    @property
    def created(self) -> datetime | None:
        """When it came, which says nothing about changes."""
        return moment(self.told.created)


def digest_of(raw: bytes | msgspec.Raw) -> bytes:
    """16 bytes that are others for other bytes."""
    return blake2b(raw, digest_size=16).digest()


def summary_of(raw: bytes | msgspec.Raw) -> Summary:
    """What a walk looks at in an item."""
    content = blake2b(raw, digest_size=16).digest()
    try:
        told = _TOLD.decode(raw)
    except UNDECODABLE:
        told = _odd(raw)
    return Summary(key_of(raw, told.id), content, told)


def _odd(raw: bytes | msgspec.Raw) -> Any:
    """What an item tells that is no object, or whose `data` is none."""
    try:
        item = _ITEM.decode(raw)
    except UNDECODABLE:
        return _TYPE()
    sound = {name for name, held in item.items() if name not in _HOLDERS or isinstance(held, dict)}
    return msgspec.convert({name: item[name] for name in sound}, _TYPE)


def child_key(key: str, parent: str | None) -> str:
    """Return the key of a child: `PARENT/CHILD`, with `%25` and `%2F` for `%` and `/` in the parent's key."""
    return key if parent is None else f"{parent.replace('%', '%25').replace('/', '%2F')}/{key}"


def parent_of(key: str) -> str | None:
    """Return the parent whose children as a whole `child_key("", parent)` stands for; None for any other key."""
    parent, _, rest = key.partition("/")
    return None if rest or not key.endswith("/") else parent.replace("%2F", "/").replace("%25", "%")


class Item(msgspec.Struct, frozen=True, gc=False):
    """An item on its way to the target."""

    raw: bytes | msgspec.Raw
    id: str
    """Its key in the stream's table."""
    head: Mapping[str, Any] = {}
    """What its answer said beside the items."""
    parent: str | None = None
    """The object it is a child of."""
    content: bytes = b""
    """`Summary.content` of `raw`, where that is known."""

    def holding(self, raw: bytes | msgspec.Raw) -> Item:
        """Return it with other bytes, such as those of the whole object."""
        return Item(raw, self.id, self.head, self.parent)


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
        self._operation, self._identity = stream.endpoint.operation, stream.endpoint.identity
        self._heads, self._has_parent = stream.heads, stream.parent is not None
        self._decoder: msgspec.json.Decoder[Any] = decoder_for(stream.endpoint.returns)
        self._columns = Columns((*stream.spots, Spot("updated", CHANGED, "time")))
        self._unmarked = (None,) if self.table.keeps else (None, None)
        self._salt = repr(_reading(stream, self.table)).encode() + salt.encode()
        self._salted = digest_of(self._salt)
        self._text = bytearray()

    def row(self, item: Item) -> Row | str:
        """The row of an item; where it is none, the reason."""
        raw = bytes(item.raw)
        try:
            found = _ANY.decode(raw)
            if not (found.__class__ is dict and self.drift.see(found) and self._is_all_of(found, raw)):
                self._decoder.decode(raw)
        except UNDECODABLE as error:
            return f"{self._operation}: {error}"
        if self._identity and not says_yes(self._identity, found):
            return f"{self._operation}: the item has no {' or '.join(self._identity)}"
        values = self._columns.of(found)  # an object, as each list's items are
        if self._has_parent:
            values.insert(0, item.parent)
        heads = self._heads_of(item.head)
        if heads:
            values[-1:-1] = heads
        return (item.id, *values, *self._unmarked, self._hash(item, heads), raw)

    def hash(self, item: Item) -> str:
        """The hash of the row of an item, which is not read."""
        return self._hash(item, self._heads_of(item.head))

    def look(self, item: Item) -> None:
        """Count what the model does not know in an item whose row is not read."""
        with suppress(*UNDECODABLE):
            if (found := _ANY.decode(item.raw)).__class__ is dict:
                self.drift.see(found)

    def _hash(self, item: Item, heads: list[str | None]) -> str:
        if not self.table.keeps:
            content = self._salted + (item.content or digest_of(item.raw))
            return blake2b(content + repr(heads).encode() if heads else content, digest_size=16).hexdigest()
        digest = blake2b(self._salt, digest_size=16)  # as release 0.1 told versions apart
        digest.update(item.raw)
        if heads:
            digest.update(repr(heads).encode())
        return digest.hexdigest()

    def _heads_of(self, head: Mapping[str, Any]) -> list[str | None]:
        return [text_of(head.get(name)) for name in self._heads] if self._heads else []

    def _is_all_of(self, found: dict[str, Any], raw: bytes) -> bool:
        """Whether an item was decoded from these bytes and no others: then no name is in it twice."""
        try:
            _ENCODER.encode_into(found, self._text)
        except (OverflowError, RecursionError):
            return False
        return self._text.startswith(raw) and len(self._text) == len(raw)


def _reading(stream: Stream, table: Table) -> Any:
    """What a row is made by: rows are written anew once that is another; versions that are kept, by their columns."""
    columns = tuple(column for column in table.columns if column.name != STALE)  # of no item
    return columns if table.keeps else (columns, stream.spots, CHANGED)
