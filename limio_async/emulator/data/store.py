"""The objects of a world: those that `Records` makes on demand, and above them whatever was created or changed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from limio_async.emulator.data.past import Past
from limio_async.emulator.data.records import Records, instant, summarized
from limio_async.emulator.ids import fingerprint, reference
from limio_async.emulator.payload import Data, is_object
from limio_async.emulator.settings import Settings

__all__ = ["Data", "Place", "Store", "links"]


class Place(msgspec.Struct, frozen=True):
    """A place between two rows of a list: how many generated and how many added rows come before it."""

    generated: int = 0
    added: int = 0

    @property
    def number(self) -> int:
        """How many rows come before."""
        return self.generated + self.added


class Store:
    """Every object by id. Takes memory for what changed, not for what is generated."""

    name = "objects"

    def __init__(self, settings: Settings, records: Records) -> None:
        self._settings = settings
        self.records = records
        self.past = Past(settings)
        self._changed: dict[str, bytes] = {}
        self._removed: set[str] = set()
        self._keys: dict[str, list[tuple[str, str]]] = {}  # of added objects, ever; in the order of lists
        self._names: dict[str, str] = {}
        self._links: dict[str, dict[str, None]] = {}
        self._children: dict[
            str, dict[tuple[str, str], dict[str, None]]
        ] = {}  # added ones, by type and status
        self._made = 0
        self._last_stamp = 0

    def get(self, id: str) -> Data | None:
        """The object with this id; whoever gets it may change it, and nothing changes before it is put back."""
        if id in self._changed:
            return _decoded(self._changed[id])
        if id in self._removed:
            return None
        found = self.records.locate(id)
        return None if found is None else self.records.whole(*found)

    def named(self, record_type: str, name: str) -> Data | None:
        """The object of this type that has this name or reference."""
        known = self._names.get(f"{record_type}/{name}")
        if known is None and (number := self.records.find_named(record_type, name)) is not None:
            known = self.records.id(record_type, number)
        found = None if known is None else self.get(known)
        return found if found and name in _names(found) else None

    def put(self, record: Mapping[str, Any]) -> None:
        """Keep *record* as it is from now on; it needs `id`, `record_type` and `created`."""
        if self.past.reach:
            self.past.note_changed(record["id"], self.get(record["id"]))
        self._keep(record)

    def create(self, record_type: str, **fields: Any) -> Data:
        """A new object with an envelope of its own, in which *fields* count; it is put and given."""
        made, named = self.stamp(), self.new_reference()
        record: Data = {
            "id": self.new_id(record_type),
            "name": named,
            "reference": named,
            "record_type": record_type,
            "service": "limio",
            "status": "active",
            "mode": "production",
            "created": made,
            "updated": made,
            **{name: value for name, value in fields.items() if value is not None},
        }
        self.put(record)
        self.past.note_made(record["id"])
        return record

    def change(self, record: Data, **fields: Any) -> Data:
        """Put *record* with *fields* in it and a new time of `updated`, which is never earlier than the one before."""
        updated = max(
            instant(self._settings.now()), record.get("updated", "")
        )  # new objects are some ms ahead
        record |= {"updated": updated, **fields}
        self.put(record)
        return record

    def remove(self, id: str) -> bool:
        """Forget an object; False if there is none. Cursors that name it stay good."""
        record = self.get(id)
        if record is None:
            return False
        if self.past.reach:
            self.past.note_changed(id, record)
        self._changed.pop(id, None)
        self._removed.add(id)
        return True

    def linked(self, id: str) -> Iterator[Data]:
        """The objects that point to this one, as `links` says; *id* may also be one of another service."""
        for other in dict.fromkeys([*self.records.linked_to(id), *self._links.get(id, ())]):
            record = self.get(other)
            if record is not None and id in links(record):
                yield record

    def children(self, id: str, record_type: str, status: str) -> list[Data]:
        """The objects of a type and status that are *related* to this one."""
        added = self._children.get(id, {}).get((record_type, status), ())
        records = [self.get(other) for other in dict.fromkeys([*self.records.linked_to(id), *added])]
        wanted = (record_type, status, id)
        return [
            record
            for record in records
            if record and (record["record_type"], record.get("status"), record.get("related")) == wanted
        ]

    def changed(self, record_type: str) -> Iterator[Data]:
        """What was created or changed, without what is generated; in no order that means something."""
        for encoded in list(self._changed.values()):
            record = _decoded(encoded)
            if record["record_type"] == record_type:
                yield record

    def every(self, record_type: str) -> Iterator[Data]:
        """All objects of a type, oldest first."""
        yield from (row for _, row in self.rows(record_type, "limio", Place(), whole=True))

    def read(self, record_type: str, service: str, place: Place, limit: int) -> tuple[list[Data], Place]:
        """Summaries of the next objects, at most *limit*, and the place behind them."""
        items: list[Data] = []
        for behind, row in self.rows(record_type, service, place):
            items.append(row)
            place = behind
            if len(items) == limit:
                return items, place
        return items, self.end(record_type, service)

    def is_end(self, record_type: str, service: str, place: Place) -> bool:
        """Whether nothing is left to read behind *place*."""
        if place == self.end(record_type, service):
            return True
        return next(self.rows(record_type, service, place), None) is None

    def count(self, record_type: str) -> int:
        """How many objects of a type there are."""
        added = len({key[1] for key in self._keys.get(record_type, ()) if key[1] in self._changed})
        found = [self.records.locate(removed) for removed in self._removed]
        lost = sum(one is not None and one[0] == record_type for one in found)
        return self.records.size(record_type) + added - lost

    def end(self, record_type: str, service: str) -> Place:
        """The place behind the last row."""
        generated = self.records.size(record_type) if service == "limio" else 0
        return Place(generated, len(self._keys.get(record_type, ())))

    def rows(
        self, record_type: str, service: str, place: Place, *, whole: bool = False, falling: bool = False
    ) -> Iterator[tuple[Place, Data]]:
        """What is there behind *place*, each with the place behind it; summaries unless *whole*.

        *falling* turns the list round: it begins with the newest at `end`, and what is older is behind a place.
        """
        end = self.end(record_type, service)
        generated, added = min(place.generated, end.generated), min(place.added, end.added)
        last, step, back = (Place(), -1, 1) if falling else (end, 1, 0)
        keys = self._keys.get(record_type, [])
        while (generated, added) != (last.generated, last.added):
            row: Data | None
            if added == last.added or (
                generated != last.generated
                and (self._generated_key(record_type, generated - back) < keys[added - back]) is not falling
            ):
                row = self._generated_row(record_type, generated - back, whole=whole)
                generated += step
            else:
                row = self._added_row(keys[added - back], whole=whole)
                added += step
            if row is not None and row["service"] == service:
                yield Place(generated, added), row

    def key_before(
        self, record_type: str, service: str, place: Place, *, falling: bool = False
    ) -> tuple[str, str]:
        """When the row before *place* was created, and its id."""
        end, back = self.end(record_type, service), 0 if falling else 1
        generated, added = place.generated - back, place.added - back
        before: list[tuple[str, str]] = []
        if 0 <= generated < end.generated:
            before.append(self._generated_key(record_type, generated))
        if 0 <= added < end.added:
            before.append(self._keys[record_type][added])
        return min(before) if falling else max(before)

    def place_behind(
        self, record_type: str, service: str, key: tuple[str, str], *, falling: bool = False
    ) -> Place | None:
        """The place behind the row with this key, whether or not it still stands there; None if it never did."""
        created, named = key
        added, size = self._keys.get(record_type, []), self.end(record_type, service).generated
        generated = bisect_left(range(size), created, key=self.records.created)
        if generated < size and self._generated_key(record_type, generated) <= key:
            generated += 1
        behind, before = bisect_right(added, key), 1 if falling else 0
        number = self.records.find(record_type, named)
        if number is not None and number + 1 == generated and self.records.created(number) == created:
            return Place(generated - before, behind)
        return Place(generated, behind - before) if behind and added[behind - 1] == key else None

    def stamp(self) -> str:
        """Now, and at least a millisecond later than ever before: the order of creation is that of time."""
        now = max(int(self._settings.now() * 1000), self._last_stamp + 1)
        self._last_stamp = now
        return instant(now / 1000)

    def new_id(self, record_type: str) -> str:
        """An id that nothing else has."""
        self._made += 1
        digest = fingerprint(self._settings.seed, "made", self._made, length=32)
        return self.records.id_of(record_type, digest)

    def new_reference(self) -> str:
        """A name that nothing else has."""
        self._made += 1
        return reference(self._settings.seed, "made", self._made)

    def snapshot(self) -> Data:
        """Everything that is not generated, fit for JSON; `restore` takes it."""
        return {
            "changed": [_decoded(encoded) for encoded in self._changed.values()],
            "removed": sorted(self._removed),
            "keys": {record_type: [list(key) for key in keys] for record_type, keys in self._keys.items()},
            "made": self._made,
            "last_stamp": self._last_stamp,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the store was that gave *state*."""
        for index in (self._changed, self._names, self._links, self._children):
            index.clear()
        for record in state["changed"]:
            self._keep(record)
        self.past.forget()
        self._removed = set(state["removed"])
        self._keys = {
            record_type: [(key[0], key[1]) for key in keys] for record_type, keys in state["keys"].items()
        }
        self._made, self._last_stamp = state["made"], state["last_stamp"]

    def _keep(self, record: Mapping[str, Any]) -> None:
        own, record_type = record["id"], record["record_type"]
        if self.records.locate(own) is None:
            self._place_key(record_type, (record["created"], own))
        for name in _names(record):
            self._names[f"{record_type}/{name}"] = own
        for end in links(record):
            self._links.setdefault(end, {})[own] = None
        if isinstance(parent := record.get("related"), str):
            self._note_child(parent, record_type, str(record.get("status")), own)
        self._changed[own] = msgspec.json.encode(record)
        self._removed.discard(own)

    def _note_child(self, parent: str, record_type: str, status: str, own: str) -> None:
        kinds = self._children.setdefault(parent, {})
        for kind, ids in kinds.items():
            if kind != (record_type, status):
                ids.pop(own, None)
        kinds.setdefault((record_type, status), {})[own] = None

    def _place_key(self, record_type: str, key: tuple[str, str]) -> None:
        keys = self._keys.setdefault(record_type, [])
        at = bisect_left(keys, key)
        if keys[at : at + 1] != [key]:
            insort(keys, key)

    def _generated_key(self, record_type: str, number: int) -> tuple[str, str]:
        return self.records.created(number), self.records.id(record_type, number)

    def _generated_row(self, record_type: str, number: int, *, whole: bool) -> Data | None:
        if self._changed or self._removed:
            own = self.records.id(record_type, number)
            if own in self._removed:
                return None
            if own in self._changed:
                record = _decoded(self._changed[own])
                return record if whole else summarized(record)
        return self.records.whole(record_type, number) if whole else self.records.summary(record_type, number)

    def _added_row(self, key: tuple[str, str], *, whole: bool) -> Data | None:
        created, own = key
        if own not in self._changed:
            return None
        record = _decoded(self._changed[own])
        if record["created"] != created:  # made once more since then
            return None
        return record if whole else summarized(record)


def _names(record: Mapping[str, Any]) -> set[str]:
    """What an object can be found by besides its id."""
    names = {record.get("name"), record.get("reference")}
    if record["record_type"] == "gift_code" and is_object(data := record.get("data")):
        names.add(data.get("code"))
    return {name for name in names if isinstance(name, str)}


def links(record: Mapping[str, Any]) -> set[str]:
    """The ids that *record* points to: its owner, customer, order and so on."""
    data = record.get("data", {})
    if record["record_type"] == "rel":
        return {data[end]["id"] for end in ("from", "to")}
    ends = [record.get(name) for name in ("owner", "customer", "related")]
    ends.append(str(record.get("ref", "")).partition("/")[0])
    if is_object(tracking := data.get("tracking")):
        ends += [tracking.get(name) for name in ("accountId", "contactId")]
    return {end for end in ends if isinstance(end, str)} - {"", record["id"]}


def _decoded(encoded: bytes) -> Data:
    decoded: Data = msgspec.json.decode(encoded)
    return decoded
