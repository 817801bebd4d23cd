"""Cancellation journeys: what both versions of the list answer."""

from __future__ import annotations

from collections.abc import Mapping

from limio_async.core.wire import Response
from limio_async.emulator.catalog import Catalog
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, reply
from limio_async.emulator.settings import Settings

__all__ = ["Journeys"]


class Journeys:
    """The journeys of a shop; nothing changes them yet."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._seed = settings.seed
        self._segments = catalog.shelves["segments"]
        self.operations: Mapping[str, Handler] = {
            "listJourneys": self._list,
            "listJourneysV2": self._list,
        }

    def _list(self, call: Call) -> Response:
        del call
        return reply(
            {
                "starting_point": "/cancel-now/",
                "fallback_tag": "/cancel/",
                "journeys": [self._journey(number) for number in range(3)],
            }
        )

    def _journey(self, number: int) -> dict[str, object]:
        def part(name: str) -> str:
            return uuid(fingerprint(self._seed, "journey", number, name))

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
            "id": part("journey"),
            "conditions": [segment],
            "actions": [{"id": part("action"), "type": "destination", "values": halves}],
        }
