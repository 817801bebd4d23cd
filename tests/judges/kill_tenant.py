"""A tenant that lives on between the runs of a sync job, goes wrong while they run, and knows what targets must hold."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from limio_async import Limio
from limio_async.client import auth_from
from limio_async.emulator import InMemoryTransport, World
from limio_async.sync_jobs.rows import Item, Reader
from limio_async.sync_jobs.streams import stream

__all__ = ["HYDRATED", "LISTED", "Tenant"]

LISTED = ("offers", "products", "campaigns", "add_ons", "subscriptions", "orders", "schedules",
          "subscription_offers", "identities", "addresses", "payment_methods", "events")  # fmt: skip
HYDRATED = ("customers",)
_COMES_BACK = 0.2
_CHANGES = ("subscriptions", "orders", "schedules", "customers")


class Tenant:
    """A world, what was deleted in it, and the content that a target must have after a complete run."""

    def __init__(self, *, offers: int, subscriptions: int, seed: int) -> None:
        self.world = World(offers=offers, subscriptions=subscriptions)
        self.deleted: defaultdict[str, set[str]] = defaultdict(set)
        """Ids by stream."""
        self._removed: dict[str, Any] = {}
        self._chance = random.Random(seed)
        self._limio = Limio(
            "limio.emulated",
            auth=auth_from(self.world.environ("limio.emulated")),
            transport=InMemoryTransport(self.world),
        )

    def go_wrong(self, seed: int) -> None:
        """From now on, let calls fail in the ways in which a network and a server fail."""
        faults = self.world.faults
        for operation in ("listOffers", "listProducts"):
            faults.on(operation, probability=0.008, seed=seed).status(503)
            faults.on(operation, probability=0.008, seed=seed + 1).lose_answer()
            faults.on(operation, probability=0.004, seed=seed + 2).expire_scroll()
            faults.on(operation, probability=0.004, seed=seed + 3).change_commit_id()
            faults.on(operation, probability=0.008, seed=seed + 4).status(429, retry_after=1)
            faults.on(operation, probability=0.015, seed=seed + 5).slow_body(0.3)
        for operation, share in (("listObjects", 1.0), ("getObject", 0.1)):
            faults.on(operation, probability=0.01 * share, seed=seed + 6).status(503)
            faults.on(operation, probability=0.01 * share, seed=seed + 7).lose_answer()
            faults.on(operation, probability=0.005 * share, seed=seed + 8).truncate_body()
            faults.on(operation, probability=0.003 * share, seed=seed + 9).status(429, retry_after=1)
            faults.on(operation, probability=0.02 * share, seed=seed + 10).delay(0.1)
        faults.on("createToken", probability=0.1, seed=seed + 11).status(502, html=True)

    async def change(self) -> None:
        """Delete, change, add and bring back some of each kind, as people do between two nights."""
        with self._calm():
            await self._delete_offers(6)
            self.world.add_offers(5)
            for name in _CHANGES:
                ids = list(self._ids(name))
                for one in self._chance.sample(ids, 8):
                    self._touch(one)
                for one in self._chance.sample(ids, 5):
                    self._remove(name, one)

    async def content(self) -> Mapping[str, Mapping[str, bytes]]:
        """What there is: by stream and id, as it is sent."""
        found: dict[str, dict[str, bytes]] = {}
        with self._calm():
            for name in LISTED:
                listing = getattr(self._limio, name).list(page_size=500).raw()
                found[name] = {_id_of(raw): raw async for raw in listing}
                assert sorted(found[name]) == sorted(self._ids(name)), name
            for name in HYDRATED:
                found[name] = {one: msgspec.json.encode(self.world.store.get(one)) for one in self._ids(name)}
        return found

    def hashes(self, name: str, content: Mapping[str, bytes]) -> Mapping[str, str]:
        """What the column `hash` of a stream's table holds where exactly these bytes were written."""
        reader = Reader(stream(name), "full")
        place = reader.table.at("hash")
        rows = {one: reader.row(Item(raw, one)) for one, raw in content.items()}
        return {one: row[place] for one, row in rows.items()}

    def _ids(self, name: str) -> Iterator[str]:
        return self.world.ids(stream(name).endpoint.bound.get("path_type", name))

    async def _delete_offers(self, count: int) -> None:
        offers = [one async for one in self._limio.offers.list(page_size=500)]
        for offer in self._chance.sample(offers, count):
            assert isinstance(offer.path, str)
            await self._limio.catalog_items.delete(offer.path.removeprefix("/"))
            self.deleted["offers"].add(str(offer.id))

    def _touch(self, id: str) -> None:
        record = self.world.store.get(id)
        assert record is not None
        self.world.advance(1)
        self.world.store.change(record, data={**record["data"], "touched": self._chance.random()})

    def _remove(self, name: str, id: str) -> None:
        """Let *id* be gone, and what was removed last be there again."""
        back, self._removed[name] = self._removed.get(name), self.world.store.get(id)
        self.world.store.remove(id)
        self.deleted[name].add(id)
        if back is not None and self._chance.random() < _COMES_BACK:
            self.world.store.put(back)
            self.deleted[name].discard(back["id"])

    @contextmanager
    def _calm(self) -> Generator[None]:
        """No faults, as they would befall whoever looks here too."""
        armed, self.world.faults.armed = self.world.faults.armed, []
        try:
            yield
        finally:
            self.world.faults.armed = armed


def _id_of(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["id"])
