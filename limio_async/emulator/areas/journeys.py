"""Cancellation journeys: the list of both versions, and the journeys that version 2 keeps by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.areas.catalog import Catalog
from limio_async.emulator.data.records import instant
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_list, as_object, json_object
from limio_async.emulator.settings import Settings

__all__ = ["Journeys"]

_SEEDED = ("Digital Journey", "Print Journey", "Student Journey")


class _Condition(msgspec.Struct):
    id: str = ""
    type: str = ""
    value: str | int | float | bool = ""


class _Destination(msgspec.Struct):
    id: str = ""
    tag: str = ""
    split: str | int | float = ""


class _Action(msgspec.Struct):
    id: str = ""
    type: str = ""
    values: list[_Destination | None] = []


class Journeys:
    """The journeys of a shop, by name."""

    name = "journeys"

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._segments = catalog.shelves["segments"]
        self._records: dict[str, Data] = {}
        for number, name in enumerate(_SEEDED):
            self._save(name, self._seeded(number))
        self.operations: Mapping[str, Handler] = {
            "listJourneys": self._list,
            "listJourneysV2": self._list,
            "createJourneyV2": self._create,
            "getJourneyV2": self._get,
            "upsertJourneyV2": self._upsert,
            "deleteJourneyV2": self._delete,
        }

    def load(self, name: str, record: Mapping[str, Any]) -> None:
        """Let there be the journey *record* under this name."""
        self._records[name] = dict(record)

    def snapshot(self) -> Data:
        """The journeys, fit for JSON."""
        return {"records": dict(self._records)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the journeys of *state*."""
        self._records = dict(state["records"])

    def _list(self, call: Call) -> Response:
        del call
        return reply(
            {
                "starting_point": "/cancel-now/",
                "fallback_tag": "/cancel/",
                "journeys": [_listed(record) for record in self._records.values()],
            }
        )

    def _create(self, call: Call) -> Response:
        body = json_object(call)
        name = body.get("name")
        if not isinstance(name, str) or not name:
            raise Refused(400, "name is required")
        if name in self._records:
            raise Refused(409, f"There is a journey {name} already")
        self._save(name, body)
        return reply({"message": "Journey added successfully"})

    def _get(self, call: Call) -> Response:
        return reply(self._records[self._known(call)])

    def _upsert(self, call: Call) -> Response:
        """The name in the path finds the journey; the one in the body is what it is called in the answer."""
        body = json_object(call)
        name = call.path["name"]
        if not isinstance(body.get("name", name), str):
            raise Refused(400, "name must be text")
        self._save(name, {"name": name, **body})
        return reply({"name": self._records[name]["name"]})

    def _delete(self, call: Call) -> Response:
        del self._records[self._known(call)]
        return reply({"message": "Journey deleted successfully"})

    def _known(self, call: Call) -> str:
        name = call.path["name"]
        if name not in self._records:
            raise Refused(404, f"No journey {name}")
        return name

    def _save(self, name: str, body: Data) -> None:
        """Keep *body* under *name*: what it was before and does not mention stays."""
        old = self._records.get(name, {})
        own = old.get("id", f"journey-{fingerprint(self._settings.seed, 'journey', name, length=32)}")
        now = instant(self._settings.now())
        data = as_object(old.get("data")) | {key: value for key, value in body.items() if key != "name"}
        version = fingerprint(own, msgspec.json.encode(data).hex(), length=40)
        self._records[name] = {
            "id": own,
            "name": body.get("name", name),
            "status": "active",
            "record_type": "journey",
            "service": "limio",
            "mode": "production",
            "created": old.get("created", now),
            "updated": now,
            "process_hash": own,
            "version": version,
            "data": data,
        }

    def _seeded(self, number: int) -> Data:
        def part(name: str) -> str:
            return uuid(fingerprint(self._settings.seed, "journey", number, name))

        halves = [
            {"id": part(tag), "tag": f"/tags/{tag}", "split": "50"}
            for tag in ("cancel-discount", "cancel-pause")
        ]
        segment = {
            "id": part("condition"),
            "type": "segment",
            "value": "/".join(self._segments.place(number)),
        }
        return {
            "name": _SEEDED[number],
            "id": part("journey"),
            "conditions": [segment],
            "actions": [{"id": part("action"), "type": "destination", "values": halves}],
        }


def _listed(record: Data) -> Data:
    """A journey as lists have it; content of another shape than theirs is left out."""
    data = as_object(record.get("data"))
    own = data.get("id")
    return {
        "id": own if isinstance(own, str) else record["id"],
        "conditions": _of_shape(data.get("conditions"), list[_Condition | None]),
        "actions": _of_shape(data.get("actions"), list[_Action | None]),
    }


def _of_shape(given: object, shape: object) -> list[Any]:
    try:
        msgspec.convert(given, shape)
    except msgspec.ValidationError:
        return []
    return as_list(given)
