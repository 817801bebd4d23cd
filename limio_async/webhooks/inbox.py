"""Webhooks that are stored before they are answered, and handled afterwards: the class that an application uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from limio_async.client import Limio
from limio_async.envelope import at
from limio_async.errors import InboxError, InvalidArgument, UnknownKey
from limio_async.outbox import Outbox
from limio_async.stores import store_of
from limio_async.webhooks import clerk, schema, table
from limio_async.webhooks.batch import Batch
from limio_async.webhooks.door import IN_A_THREAD, Credentials
from limio_async.webhooks.event import Entry, Stats, entry_of
from limio_async.webhooks.handlers import Fetch, Handler, named
from limio_async.webhooks.handling import Rules
from limio_async.webhooks.receiver import Receiver
from limio_async.webhooks.types import Event, State, kind_of, object_of
from limio_async.webhooks.working import Worker

__all__ = ["Inbox"]

Function = Callable[[Event, Any, Any], Awaitable[None]]


class Inbox:
    """An inbox in the database that *url* names: `sqlite:///orders.db` or `postgresql://HOST/DATABASE?schema=NAME`.

    An event is parked after so many *attempts* of its handlers, or when Limio failed it alone for *give_up*; what comes
    later of its key goes on then, or with `hold` waits for a person. *grace* is how long an object is read again that is
    older than its event says. *dedupe* says, for types whose bodies tell no time, how long after the last one an equal
    body is a repeat. Bodies are kept for *keep*, digests for ever. Orders that Error Reporting tells of are noted as
    failed in the *outbox*, by whichever process runs this inbox. It opens and closes with the inbox.

    Any number of processes may use it; one handles its events on SQLite, several may on PostgreSQL. Everything that is
    returned is on the disk. Raises `StoreError` in words where the database cannot be used, and its `StoreAway` where it
    can later.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 10,
        give_up: timedelta = timedelta(hours=24),
        grace: timedelta = timedelta(minutes=2),
        after_park: Literal["go_on", "hold"] = "go_on",
        dedupe: Mapping[str, timedelta] | None = None,
        keep: timedelta = timedelta(days=30),
        outbox: Outbox | None = None,
    ) -> None:
        if after_park not in {"go_on", "hold"} or attempts < 1 or min(give_up, grace, keep) < timedelta(0):
            raise InvalidArgument(
                "after_park is go_on or hold, attempts at least 1, give_up, grace and keep no negative times"
            )
        self._url, self._store = url, store_of(url, "inbox")
        self._rules = Rules(
            attempts=attempts,
            give_up=give_up.total_seconds(),
            grace=grace.total_seconds(),
            keep=keep.total_seconds(),
            hold=after_park == "hold",
        )
        self._outbox = outbox
        self._handlers: list[Handler] = []
        if outbox is not None:
            self._handlers.append(Handler(name="outbox", pattern="error_reporting", call=self._order_failed))
        self._dedupe = {kind.lower(): within for kind, within in (dedupe or {}).items()}
        self._is_open = self._runs = False
        self._opened = AsyncExitStack()
        self._begin()

    async def __aenter__(self) -> Self:
        """Open the database, and make the tables if they are missing; so too in the *outbox*, unless it is open already."""
        self._begin()
        async with AsyncExitStack() as opened:
            if self._outbox is not None:
                await opened.enter_async_context(self._outbox)
            await self._store.open()
            opened.push_async_callback(self._store.close)
            await self._store.do(schema.begin)
            self._opened = opened.pop_all()
        self._is_open = True
        return self

    def _begin(self) -> None:
        """Make what belongs to one event loop: the next may be another."""
        self._woken, self._reads, self._batch = asyncio.Event(), asyncio.Lock(), Batch(self._store)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._opened.aclose()

    # --- receiving

    def receiver(
        self, credentials: Credentials | Sequence[Credentials] = (), *, allow_anonymous: bool = False
    ) -> Receiver:
        """Return an ASGI app, and a handler for aiohttp, that store what is posted to `/hooks/{type}`.

        *credentials* are user and password of `Authorization: Basic`, or two such pairs while they are changed. Raises
        `ConfigurationError` without any, unless *allow_anonymous*.
        """
        pairs: Any = [credentials] if credentials and isinstance(credentials[0], str) else credentials
        return Receiver(self, self._read, self._receive, [*pairs], allow_anonymous=allow_anonymous)

    async def receive(self, type: str, body: bytes) -> bool:
        """Store a delivery; return whether it is an event of its own, and no repeat. Raises `ValueError` for what is no JSON."""
        return await self._receive(await self._read(type, body))

    async def _read(self, type: str, body: bytes) -> Entry:
        if len(body) <= IN_A_THREAD:
            return entry_of(type, body)
        async with self._reads:  # one at a time: a value may take many times the memory of its bytes
            return await asyncio.to_thread(entry_of, type, body)

    async def _receive(self, entry: Entry) -> bool:
        if not self._is_open:
            raise InboxError("the inbox is not open: async with inbox")
        within = self._dedupe.get(entry.type.lower())
        is_new = await self._batch.do(
            entry.key, lambda store: table.receive(store, entry, within), makes=True
        )
        self._woken.set()
        return is_new

    # --- handling

    def on(
        self, pattern: str, *, fetch: Fetch = "object", refetch: bool = True, name: str | None = None
    ) -> Callable[[Function], Function]:
        """Register a coroutine function for events whose type matches *pattern*, such as `order_*`: `f(event, object, tx)`.

        *object* is what the body was, fetched; with `fetch="key"` the subscription that the event's key names; with
        `refetch=False` the body, and an event that is older than the last handled is skipped. `await tx.execute(…)`
        writes once, with the mark that the function is done; whatever else it does may happen again. *name* is how its
        marks call it, the pattern and its own name unless given: another name is another handler.
        """
        if fetch not in {"object", "key"} or (fetch == "key" and not refetch):
            raise InvalidArgument("on() takes fetch='object' or, unless refetch=False, fetch='key'")

        def register(function: Function) -> Function:
            known = named(pattern, function, name)
            if not known.isprintable() or known in {one.name for one in self._handlers}:
                raise InvalidArgument(f"there is a handler {known!r} already: give each a name=")
            one = Handler(name=known, pattern=pattern.lower(), call=function, fetch=fetch, refetch=refetch)
            self._handlers.append(one)
            return function

        return register

    async def run(self, limio: Limio, *, workers: int = 16, until_idle: bool = False) -> None:
        """Handle events, *workers* keys at once, until SIGTERM, until cancelled, or until nothing is left to handle.

        Nothing new is taken then, and handlers get 20 seconds. On SQLite it waits while another process handles.
        """
        if self._runs or workers < 1:
            raise InboxError("this inbox runs already, or workers= is less than 1")
        self._runs = True
        store, batch = self._store, self._batch
        if store.locking:  # where rows are locked, whoever receives waits for no worker
            store = store_of(self._url, "inbox")
            batch = Batch(store)
        worker = Worker(store, batch, limio, self._handlers, self._rules, workers=workers, woken=self._woken)
        try:
            await worker.run(until_idle=until_idle)
        finally:
            self._runs = False
            if store is not self._store:
                await store.close()

    async def _order_failed(self, event: Event, _object: Any, _tx: Any) -> None:
        order = object_of(kind_of(event.type, event.body), event.body)
        key = at(order, ("external_id",)) or at(order, ("data", "external_id"))
        if self._outbox is not None and isinstance(key, str):
            try:
                await self._outbox.failed(key, event.body)
            except UnknownKey:  # not an order of this outbox
                return

    # --- what is known, and decided by hand

    async def list(
        self, state: State | None = None, *, type: str | None = None, limit: int = 1000, after: int = 0
    ) -> list[Event]:
        """Return at most *limit* events in the order in which they came; those behind the number *after*."""
        return await self._store.do(lambda store: clerk.listed(store, state, type, after, limit), reads=True)

    async def show(self, seq: int) -> Event:
        """Return an event. Raises `UnknownEvent`."""
        return await self._store.do(lambda store: clerk.one(store, seq), reads=True)

    async def stats(self) -> Stats:
        """Return how many events are in which state, and since when the oldest waits."""
        return await self._store.do(clerk.stats, reads=True)

    async def retry(self, seq: int | None = None, *, all_since: datetime | None = None) -> int:
        """Handle a parked event, or all that were parked since then, again; return how many."""
        if (seq is None) is (all_since is None):
            raise InvalidArgument("retry takes the number of an event, or all_since=")
        count, last = 0, 0
        if all_since is not None:
            since = all_since.timestamp()
            while found := await self._store.do(
                partial(clerk.retry_since, since=since, after=last), alone=True
            ):
                count, last = count + len(found), found[-1]
        else:
            await self._store.do(lambda store: clerk.retry(store, seq or 0), alone=True)
            count = 1
        self._woken.set()
        return count

    async def drop(self, seq: int) -> None:
        """Never handle an open or parked event; what waits behind it goes on."""
        await self._store.do(lambda store: clerk.drop(store, seq), alone=True)
        self._woken.set()

    async def erase(self, *, id: str | None = None, owner: str | None = None, cancel: bool = False) -> int:
        """Empty bodies and error texts of all events about an object, or about the objects of an *owner*; return of how many.

        Refused while one of them is open, unless *cancel*: then it is never handled. Digests stay: what was erased and
        comes again unchanged is still a repeat. SQLite overwrites what was there; PostgreSQL does so when it vacuums.
        """
        if (id is None) is (owner is None):
            raise InvalidArgument("erase takes id= or owner=")
        columns, value = (("thing", "about"), id) if id is not None else (("person",), owner or "")
        erased = await self._store.do(
            lambda store: clerk.erase(store, columns, value, cancel=cancel), alone=True
        )
        await self._store.do_after(lambda store: store.scrub())
        return erased

    async def purge(self, *, before: datetime) -> int:
        """Empty the bodies of what was handled or dropped before then; `run` does so by itself. Digests stay for ever."""
        count, moment = 0, repr(before.timestamp())
        while more := await self._store.do(lambda store: clerk.purge(store, moment)):
            count += more
        return count
