"""Subscriptions, customers, orders and their like: lists over key cursors, and single objects."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.catalog import Catalog
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.records import PATH_TYPES, Records
from limio_async.emulator.settings import Settings

__all__ = ["Objects"]

_SERVICES = {"limio", "zuora", "salesforce"}
_RECORD_TYPES = {**PATH_TYPES, **{record_type: record_type for record_type in PATH_TYPES.values()}}


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key of the last row that a page read, as DynamoDB writes it: it needs no memory on this side."""

    created: str
    sort_key: str
    hash: str
    record_type: str


class Place(msgspec.Struct, frozen=True):
    """Where the next page begins, and whether the rows before it that a list leaves out were read already."""

    number: int
    after_hidden: bool = False


class Objects:
    """The objects of a world."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._records = Records(settings, catalog.shelves["offers"])
        self.operations: Mapping[str, Handler] = {"listObjects": self._list, "getObject": self._get}

    def holdings(self) -> Mapping[str, int]:
        """How many objects of each path type there are."""
        return {path_type: self._records.size(name) for path_type, name in PATH_TYPES.items()}

    def _list(self, call: Call) -> Response:
        record_type = _record_type(call)
        if unknown := call.query.keys() - {"limit", "queryMore"}:
            raise Refused(400, f"Unknown query parameter: {', '.join(sorted(unknown))}")
        limit = whole_number(call, "limit", default=50)
        size = self._records.size(record_type) if call.path["service"] == "limio" else 0
        place = Place(0)
        if "queryMore" in call.query:
            place = self._place(call.query["queryMore"], record_type)
        if self._reads_hidden_rows(place, limit, size):
            return reply({"items": [], "queryMore": self._cursor(record_type, place.number, hidden=True)})
        end = min(place.number + limit, size)
        summaries = [self._records.summary(record_type, number) for number in range(place.number, end)]
        if end == size:
            return reply({"items": summaries})
        return reply({"items": summaries, "queryMore": self._cursor(record_type, end)})

    def _get(self, call: Call) -> Response:
        record_type = _record_type(call)
        number = self._records.find(record_type, call.path["id"])
        if number is None or call.path["service"] != "limio":
            raise Refused(404, f"No {record_type} {call.path['id']}")
        return reply(self._records.whole(record_type, number))

    def _reads_hidden_rows(self, place: Place, limit: int, size: int) -> bool:
        """Whether a page would hold nothing but rows of the mode `test`, which lists leave out."""
        every = self._settings.empty_page_every
        if not every or place.after_hidden or not 0 < place.number < size:
            return False
        return place.number // limit % every == every - 1

    def _cursor(self, record_type: str, next_number: int, *, hidden: bool = False) -> str:
        """The key of the row before *next_number*: a hidden one, or the object of the number before."""
        last = next_number - 1
        mode, tenant = "test" if hidden else "production", self._settings.tenant
        key = Key(
            created=self._records.created(last),
            sort_key=f"object/{record_type}",
            hash=f"{tenant}/{mode}/limio/{self._records.id(record_type, last)}",
            record_type=f"{tenant}/{mode}/limio/{record_type}",
        )
        return b64encode(msgspec.json.encode(key)).decode()

    def _place(self, cursor: str, record_type: str) -> Place:
        """What *cursor* points to; a cursor that this list did not give out is a bad request."""
        try:
            key = msgspec.json.decode(b64decode(cursor, validate=True), type=Key)
        except (binascii.Error, ValueError):
            raise Refused(400, "Invalid queryMore") from None
        number = self._records.find(record_type, key.hash.rpartition("/")[2])
        hidden = key.record_type.split("/")[1:2] == ["test"]
        if number is None or self._cursor(record_type, number + 1, hidden=hidden) != cursor:
            raise Refused(400, "Invalid queryMore")
        return Place(number + 1, after_hidden=hidden)


def _record_type(call: Call) -> str:
    """Refuses a service or a path type that does not exist."""
    record_type = _RECORD_TYPES.get(call.path["path_type"])
    if record_type is None or call.path["service"] not in _SERVICES:
        raise Refused(404, f"No objects at {call.path['service']}/{call.path['path_type']}")
    return record_type
