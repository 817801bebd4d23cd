"""Subscriptions, customers, orders and their like: lists over key cursors, and single objects."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

import msgspec

from limio_async.core.wire import UNDECODABLE, Response
from limio_async.emulator.data.records import PATH_TYPES
from limio_async.emulator.data.relations import Relations
from limio_async.emulator.data.store import Data, Place, Store
from limio_async.emulator.data.views import Lists, Reads
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import is_object, json_object, require
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


class Objects:
    """The objects of a world."""

    def __init__(self, settings: Settings, store: Store, lists: Lists, reads: Reads) -> None:
        self._settings = settings
        self._store = store
        self._lists = lists
        self._reads = reads
        self._relations = Relations(store, tenant=settings.tenant)
        self.operations: Mapping[str, Handler] = {
            "listObjects": self._list,
            "getObject": self._get,
            "updateObject": self._update,
            "listRelatedObjects": self._related,
            "listRelatedObjectsByRecordType": self._related,
            "addRelatedObject": self._relate,
            "listChildObjects": self._children,
            "listChildObjectsBySubtype": self._children,
            "listObjectEvents": self._events,
        }

    def holdings(self) -> Mapping[str, int]:
        """How many objects of each path type there are."""
        return {path_type: self._store.count(name) for path_type, name in PATH_TYPES.items()}

    def _list(self, call: Call) -> Response:
        record_type = _record_type(call)
        if unknown := call.query.keys() - {"limit", "queryMore"}:
            raise Refused(400, f"Unknown query parameter: {', '.join(sorted(unknown))}")
        limit = whole_number(call, "limit", default=50)
        service = call.path["service"]
        place, after_hidden = self._lists.start(record_type, service), False
        if "queryMore" in call.query:
            place, after_hidden = self._place(call.query["queryMore"], record_type, service)
        if not after_hidden and self._reads_hidden_rows(record_type, service, place, limit):
            return reply({"items": [], "queryMore": self._cursor(record_type, service, place, hidden=True)})
        items, behind = self._lists.page(record_type, service, place, limit)
        if behind is None:
            return reply({"items": items})
        return reply({"items": items, "queryMore": self._cursor(record_type, service, behind)})

    def _get(self, call: Call) -> Response:
        return reply(self._named(call, self._reads.get))

    def _update(self, call: Call) -> Response:
        """What is absent stays; what is there is replaced whole, one level below `data`."""
        record, body = self._named(call, self._store.get), json_object(call)
        require(body, ["data"])
        name, data, status = body.get("name", record.get("name")), body["data"], body.get("status")
        if not is_object(data) or not isinstance(name, str | None):
            raise Refused(400, "data must be an object, and name a string")
        if isinstance(status, str):
            record["status"] = status
        record = self._store.change(record, data={**record["data"], **data})
        if name is not None and name != record.get("name"):
            record = self._store.change(record, name=name)
        sort_key = f"object/{record['record_type']}"
        return reply({"id": record["id"], "sort_key": sort_key, "data": record["data"]})

    def _related(self, call: Call) -> Response:
        record = self._perhaps(call)
        items = [] if record is None else self._relations.related(record)
        return reply({"items": self._listed(items, call.path.get("record_type"))})

    def _children(self, call: Call) -> Response:
        record = self._perhaps(call)
        items = [] if record is None else self._relations.children(record)
        return reply({"items": self._listed(items, call.path.get("subtype"))})

    def _events(self, call: Call) -> Response:
        record = self._perhaps(call)
        events, rows = ([], []) if record is None else self._relations.events(record)
        shown = [one for one in zip(events, rows, strict=True) if self._lists.shows(one[0])]
        return reply({"items": [event for event, _ in shown], "unpackedItems": [row for _, row in shown]})

    def _listed(self, items: list[Data], wanted: str | None) -> list[Data]:
        """Those of a type, or of all types, that lists show."""
        record_type = _RECORD_TYPES.get(wanted, wanted) if wanted is not None else None
        return [
            item for item in items if record_type in {None, item["record_type"]} and self._lists.shows(item)
        ]

    def _relate(self, call: Call) -> Response:
        """Only identities can be related; whatever is wrong comes as the one refusal that is documented."""
        record, body = self._perhaps(call), json_object(call, status=502)
        if record is None:
            raise Refused(502, f"No object {call.path['id']}")
        if call.path["record_type"] not in {"identity", "identities"}:
            raise Refused(502, f"A {call.path['record_type']} cannot be related, only an identity")
        identity, service = body.get("id"), body.get("service", "limio")
        if not isinstance(identity, str) or service not in tuple(_SERVICES):
            raise Refused(502, "id must be a string and service limio, zuora or salesforce")
        self._relations.relate(record, identity, service)
        return reply(None)

    def _perhaps(self, call: Call) -> Data | None:
        """The object that the path of *call* names; its type must be the right one."""
        try:
            return self._named(call, self._reads.get)
        except Refused:  # asked for what is related to it, Limio answers an empty list
            return None

    def _named(self, call: Call, get: Callable[[str], Data | None]) -> Data:
        """The object that the path of *call* names, if *get* has it."""
        record_type = _record_type(call)
        found = get(call.path["id"])
        if found is None or (found["record_type"], found["service"]) != (record_type, call.path["service"]):
            raise Refused(404, f"No {record_type} {call.path['id']}")
        return found

    def _reads_hidden_rows(self, record_type: str, service: str, place: Place, limit: int) -> bool:
        """Whether a page would hold nothing but rows of the mode `test`, which lists leave out."""
        every = self._settings.empty_page_every
        passed = self._lists.passed(record_type, service, place)
        if not every or not passed or self._lists.is_end(record_type, service, place):
            return False
        return passed // limit % every == every - 1

    def _cursor(self, record_type: str, service: str, place: Place, *, hidden: bool = False) -> str:
        """The key of the row before *place*: a hidden one, or the object itself."""
        mode, tenant = "test" if hidden else "production", self._settings.tenant
        created, last = self._lists.key_before(record_type, service, place)
        key = Key(
            created=created,
            sort_key=f"object/{record_type}",
            hash=f"{tenant}/{mode}/limio/{last}",
            record_type=f"{tenant}/{mode}/limio/{record_type}",
        )
        return b64encode(msgspec.json.encode(key)).decode()

    def _place(self, cursor: str, record_type: str, service: str) -> tuple[Place, bool]:
        """What *cursor* points to; a cursor that this list did not give out is a bad request."""
        try:
            key = msgspec.json.decode(b64decode(cursor, validate=True), type=Key)
        except (ValueError, *UNDECODABLE):
            raise Refused(400, "Invalid queryMore") from None
        place = self._lists.place_behind(record_type, service, (key.created, key.hash.rpartition("/")[2]))
        hidden = key.record_type.split("/")[1:2] == ["test"]
        if place is None or self._cursor(record_type, service, place, hidden=hidden) != cursor:
            raise Refused(400, "Invalid queryMore")
        return place, hidden


def _record_type(call: Call) -> str:
    """Refuses a service or a path type that does not exist."""
    record_type = _RECORD_TYPES.get(call.path["path_type"])
    if record_type is None or call.path["service"] not in _SERVICES:
        raise Refused(404, f"No objects at {call.path['service']}/{call.path['path_type']}")
    return record_type
