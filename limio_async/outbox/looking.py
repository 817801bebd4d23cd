"""Looking for what came of orders in doubt: by their subscriptions, then in the list of orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import msgspec

from limio_async.api.orders import GET_ORDER
from limio_async.client import Limio
from limio_async.core.clock import Clock
from limio_async.core.listing import BadItem, Listing
from limio_async.core.listing.rows import SECOND, instant
from limio_async.core.wire import Endpoint, Param
from limio_async.errors import (
    Forbidden,
    ForeignCheckpoint,
    LimioError,
    ListingError,
    StoreError,
    Unauthorized,
)
from limio_async.outbox import schema, table
from limio_async.outbox.decide import Look, Row, concluded, found
from limio_async.outbox.order import came_of, fields_of, is_key
from limio_async.stores import Store

__all__ = ["WHOLE", "Looker", "Seen", "ask_the_time"]

_WALK = timedelta(hours=1)
"""How long a walk may take whose end the next one can begin at."""
_LOOKS = 3
_MOST_KEYS = 500
_AT_ONCE = 8
_LONGEST = 60.0
"""Seconds for the orders of subscriptions, before the list is read that has them all."""
_Item = dict[str, Any]
_ORDER: Endpoint[Any] = GET_ORDER
WHOLE: Endpoint[_Item] = msgspec.structs.replace(_ORDER, returns=_Item)
"""An order with all that is stored of it."""
_ASKED: Endpoint[_Item] = msgspec.structs.replace(
    _ORDER,
    operation="listObjects",
    path="/api/objects/{service}/{path_type}",
    params=(*GET_ORDER.params[:1], Param(name="limit", wire="limit", place="query", kind="integer")),
    returns=_Item,
    identity=(),
)


class Seen(msgspec.Struct):
    """A doubt, since this process saw it."""

    at: float
    """By the loop's clock."""
    since: int | None
    """By Limio's, at the latest."""
    looks: int = 0


async def ask_the_time(limio: Limio, clock: Clock) -> None:
    """Set *clock* by one small request, if it is answered."""
    asked = anyio.current_time()
    try:
        answer = await limio.answer(limio.request, _ASKED, {"service": "limio", "limit": 1}, timeout=10.0)
        clock.see(answer.headers, asked)
    except LimioError as error:
        clock.see(error.headers, asked)


class Looker:
    """Looks for orders, from the list that *limio* gives."""

    def __init__(self, limio: Limio, store: Store, clock: Clock, *, settle: timedelta, resend: bool) -> None:
        self._limio, self._store, self._clock = limio, store, clock
        self._settle = round(settle.total_seconds() * SECOND)
        self._overlap = settle + _WALK
        self._resend = resend
        self._found: dict[str, list[_Item]] = {}
        self.changed: list[Row] = []
        """Rows of which something was written."""
        self._impatient = False
        self._odd: set[str] = set()
        self._unclear = False
        self._newest = 0
        self._before: int | None = None
        """What was created before cannot be of those that are looked for."""

    async def look(self, due: Sequence[Row], seen: Mapping[str, Seen], *, impatient: bool) -> None:
        """Look for all of *due* at once, and write what that showed.

        Raises what Limio does where the same may go better later. What was found is written as it is found.
        *impatient*, it does without what failed before: the cursor, orders that cannot be fetched.
        """
        self._impatient = impatient
        await ask_the_time(self._limio, self._clock)
        now, sent = self._clock.earliest(), [row.sent for row in due]
        known = [one for one in sent if one is not None and now is not None and one <= now]
        self._before = min(known) - self._settle if known and len(known) == len(sent) else None
        at = None
        if not impatient:
            at = await self._store.do(lambda store: table.checkpoint_of(store, due), reads=True)
        await self._by_subscription(due)
        began = self._clock.earliest()
        try:
            ended = await self._walked(at)
        except LimioError as error:
            if _may_pass(error):
                raise
            ended, self._unclear = None, True
        trail = ended.checkpoint().trail if ended else None
        look = Look(
            unclear=self._unclear,
            ascends=trail is not None and trail.rising and not trail.falling,
            newest=self._newest,
        )
        cursor = self._next_cursor(ended, began) if ended else None
        self.changed += await self._store.do(lambda store: self._conclude(store, due, seen, look, cursor))

    # --- what is looked through

    async def _by_subscription(self, due: Sequence[Row]) -> None:
        """Sift the orders of subscriptions, for a while; whatever they lack proves nothing."""
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        with anyio.move_on_after(_LONGEST):
            async with anyio.create_task_group() as group:
                for subscription in sorted({row.subscription for row in due if row.subscription}):
                    group.start_soon(self._related, subscription, limiter)

    async def _related(self, subscription: str, limiter: anyio.CapacityLimiter) -> None:
        try:
            async with limiter:
                listing = self._limio.subscriptions.related_by_type(
                    subscription, "order", on_bad_item="yield"
                )
                async for page in listing.into(_Item).pages():
                    await self._sift(page.items)
        except LimioError:
            pass

    async def _walked(self, at: str | None) -> Listing[_Item]:
        """Sift what was created since *at*, or the whole list."""
        self._unclear, self._newest = False, 0
        self._odd.clear()
        listing = self._list(at)
        try:
            async for page in listing.pages():
                await self._sift(page.items)
                now = self._clock.latest() or 0
                times = (_created(one) for one in page.items if not isinstance(one, BadItem))
                self._newest = max(
                    [self._newest, *(time for time in times if time is not None and time <= now)]
                )
        except LimioError as error:
            contradicts = isinstance(error, ListingError)  # what was seen of it, or itself
            if not contradicts and _may_pass(error):
                raise
            if at is not None:  # or a cursor that Limio takes no more
                return await self._walked(None)
            if not contradicts:
                raise
            self._unclear = True
        return listing

    def _list(self, at: str | None) -> Listing[_Item]:
        try:
            return self._limio.orders.list(
                follow=at, overlap=self._overlap, on_bad_item="yield", page_size=100
            ).into(_Item)
        except ForeignCheckpoint:
            return self._limio.orders.list(overlap=self._overlap, on_bad_item="yield", page_size=100).into(
                _Item
            )

    def _next_cursor(self, ended: Listing[_Item], began: int | None) -> str | None:
        """Return where later walks can begin: what is not in view yet is no older, by Limio's clock."""
        checkpoint, overlap = ended.checkpoint(), round(self._overlap.total_seconds() * SECOND)
        newest = checkpoint.trail.newest if checkpoint.trail else None
        if began is None or newest is None or newest - overlap > began - self._settle:
            return None
        try:
            self._limio.orders.list(follow=checkpoint, overlap=self._overlap)
        except ForeignCheckpoint:
            return None
        return checkpoint.to_json()

    # --- whose is it?

    async def _sift(self, items: Sequence[_Item | BadItem]) -> None:
        """Keep those that came of an order of ours; fetch whole what does not say."""
        readable = [one for one in items if not isinstance(one, BadItem)]
        self._unclear = self._unclear or len(readable) < len(items)
        bare = [one async for one in self._unsaid(readable) if not self._is_older(one)]
        whole = await asyncio.gather(*map(self._fetched, bare), return_exceptions=True)
        for one in whole:
            if isinstance(one, BaseException):
                raise one
        known = [one for one in whole if one is not None and not isinstance(one, BaseException)]
        self._unclear = self._unclear or len(known) < len(whole)
        async for one in self._unsaid(known):
            if key := fields_of(one).get("external_id"):
                self._odd.add(str(key))
            elif not fields_of(one).get("order_type"):
                self._unclear = True
        if self._found:
            found_of, self._found = self._found, {}
            self.changed += await self._store.do(lambda store: self._note(store, found_of))

    async def _unsaid(self, items: Iterable[_Item]) -> AsyncIterator[_Item]:
        """Keep those that are ours; yield those that do not say enough."""
        named: dict[str, list[_Item]] = {}
        for item in items:
            key = fields_of(item).get("external_id")
            if is_key(key):
                named.setdefault(key, []).append(item)
            elif not isinstance(key, str) or not key:
                yield item
        keys = sorted(named)
        for begin in range(0, len(keys), _MOST_KEYS):
            ours = partial(table.of_keys, keys=keys[begin : begin + _MOST_KEYS])
            for row in await self._store.do(ours, reads=True):
                for item in named[row.key]:
                    match came_of(row.body, item):
                        case True if isinstance(item.get("id"), str):
                            self._found.setdefault(row.key, []).append(item)
                        case False:
                            self._odd.add(row.key)
                        case _:
                            yield item

    def _is_older(self, item: _Item) -> bool:
        created = _created(item)
        bare = not fields_of(item).get("external_id")
        return bare and created is not None and self._before is not None and created < self._before

    async def _fetched(self, item: _Item) -> _Item | None:
        if not isinstance(item.get("id"), str):
            return None
        try:
            return await self._limio.request(WHOLE, {"service": "limio", "id": item["id"]})
        except LimioError as error:
            if not self._impatient and _may_pass(error):
                raise
            return None

    # --- what is written

    def _note(self, store: Store, found_of: Mapping[str, Sequence[_Item]]) -> list[Row]:
        """Write what was found; nothing in another history."""
        changed: list[Row] = []
        if schema.is_other(store):
            return changed
        for key, items in found_of.items():
            row = before = table.one(store, key)
            for item in items:
                data = fields_of(item)
                said = (
                    item["id"],
                    item.get("reference"),
                    item.get("order_reference"),
                    data.get("order_reference"),
                )
                names = [one for one in said if isinstance(one, str) and one]
                row = table.change(store, row, found(row, item["id"], item.get("status"), names))
            changed += [row] if row != before else []
        return changed

    def _conclude(
        self, store: Store, due: Sequence[Row], seen: Mapping[str, Seen], look: Look, cursor: str | None
    ) -> list[Row]:
        """Write conclusions and the cursor: all or nothing, and nothing in another history."""
        if schema.is_other(store):
            return []
        changed: list[Row] = []
        for row in due:
            now = table.one(store, row.key)
            if now.state != "doubt" or now.attempt != row.attempt:
                continue
            doubt = seen[row.key]
            own = msgspec.structs.replace(look, unclear=look.unclear or row.key in self._odd)
            patient = doubt.looks < _LOOKS - 1
            if changes := concluded(now, own, resend=self._resend, since=doubt.since, patient=patient):
                changed.append(table.change(store, now, changes))
        if cursor is not None:
            table.save_cursor(store, cursor)
        return changed


def _may_pass(error: LimioError) -> bool:
    """Return whether the same list may be read later: else it is one that cannot be."""
    return error.retryable or isinstance(error, Unauthorized | Forbidden | StoreError)


def _created(item: _Item) -> int | None:
    text = item.get("created")
    return instant(text) if isinstance(text, str) else None
