"""A tenant for the program that does everything: what becomes of an order is decided by its key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.judges.outbox_everything import KEYS, SENT
from tests.judges.outbox_server import Json, Manner, Tenant

__all__ = ["Scripted"]

FATES = {KEYS[0]: "lost", KEYS[1]: "dropped", KEYS[2]: "made_502", KEYS[3]: "unmade_502", KEYS[5]: "refused"}
SLOW, LONG, SHY = KEYS[SENT - 1], 0.25, 2


class Scripted(Tenant):
    """A tenant that does the same with a key whenever it is new: what is lost, bad or refused is decided by the key.

    One order takes long, so that others are sent meanwhile; a stranger's cannot be read at first; and it can be quiet.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(Manner(lag=0.3, each=True, bare=0.3, takes=0.01), seed)
        self._known: set[str] = set()
        self._shy, self._refusals = "", SHY

    async def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Json] | None:
        if target.startswith("/judge/"):
            self.quiet = target.endswith("/quiet")
            return 200, {}
        return await super()._answer(method, target, body)

    async def _order(self, body: Json) -> tuple[int, Json] | None:
        if not self._shy:
            self._shy = self._store(self._stranger(), created=self.now(), lag=0.0, bare=True)["id"]
        if body.get("external_id") == SLOW:
            await asyncio.sleep(LONG)
        return await super()._order(body)

    def _read(self, path: Sequence[str]) -> tuple[int, Json]:
        if path[-1] == self._shy and self._refusals:
            self._refusals -= 1
            return 404, {"message": "not found"}
        return super()._read(path)

    def _fate(self, key: str) -> str:
        new = key not in self._known
        self._known.add(key)
        return FATES.get(key, "made") if new or FATES.get(key) == "refused" else "made"
