"""Objects as they are now: one GET serves all events of an object that came before it began."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from limio_async.client import Limio
from limio_async.envelope import moment
from limio_async.errors import NotFound
from limio_async.webhooks.decide import is_behind
from limio_async.webhooks.event import micros
from limio_async.webhooks.handlers import Target
from limio_async.webhooks.table import Taken

__all__ = ["Found", "Fresh"]

_MOST = 256


class Found(msgspec.Struct, frozen=True):
    """What a GET answered."""

    value: Any
    """None where there is no such object."""
    updated: int | None
    seqs: frozenset[int]
    """The events that came before it began."""

    def lags(self, told_of: int | None) -> bool:
        """Return whether there is no such object, or it is older than what a body told of."""
        return self.value is None or is_behind(told_of, self.updated)


class Fresh:
    """What was fetched for events that are still to be handled."""

    def __init__(self, limio: Limio) -> None:
        self._limio = limio
        self._kept: OrderedDict[Target, Found] = OrderedDict()

    def kept(self, target: Target, taken: Taken) -> Found | None:
        """Return what was fetched since the event came, if anything was."""
        found = self._kept.get(target)
        return found if found is not None and taken.row.seq in found.seqs else None

    def forget(self, seq: int) -> None:
        """Fetch anew where an event is handled once more."""
        for target, found in self._kept.items():
            if seq in found.seqs:
                self._kept[target] = msgspec.structs.replace(found, seqs=found.seqs - {seq})

    async def fetch(self, target: Target, seqs: frozenset[int]) -> Found:
        """Fetch an object for the events *seqs*, which have come by now. Raises `LimioError`."""
        self._kept.pop(target, None)
        try:
            value = await getattr(self._limio, target.resource).get(target.id)
        except NotFound:
            value = None
        updated = moment(getattr(value, "updated", None))
        found = Found(value, None if updated is None else micros(updated), seqs)
        self._kept[target] = found
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return found
