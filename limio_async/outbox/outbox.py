"""Orders that are sent exactly as often as meant: the class that an application uses."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import msgspec

from limio_async.client import Limio
from limio_async.errors import InvalidArgument, OutboxError, StoreError
from limio_async.outbox import clerk, schema, table
from limio_async.outbox.decide import Row, found, moved, outcome_of
from limio_async.outbox.looking import WHOLE
from limio_async.outbox.order import came_of, entry_of, fields_of
from limio_async.outbox.outcome import Event, Outcome, State, Stats
from limio_async.outbox.sending import Sender
from limio_async.outbox.telling import Handler, Observer
from limio_async.stores import Plan, Store, Tx, store_of

__all__ = ["Outbox"]

_EVENTS = frozenset({"accepted", "refused", "failed", "doubt", "doubled"})
_MARKS: Mapping[str, Callable[[int, str], str]] = {
    "numeric_dollar": lambda number, _name: f"${number}",
    "qmark": lambda _number, _name: "?",
    "format": lambda _number, _name: "%s",
    "pyformat": lambda _number, name: f"%({name})s",
    "named": lambda _number, name: f":{name}",
}


class Outbox:
    """An outbox in the database that *url* names: `sqlite:///orders.db` or `postgresql://HOST/DATABASE?schema=NAME`.

    *when_missing*: an order in doubt that the list of orders lacks is parked for a person, or with `resend` sent again
    where that is conclusive, at most three times. *settle* is how late an order may show up in the list. With *hold*,
    orders of one subscription or basket wait while an earlier one is in doubt or parked. *at_once* orders are on the
    wire at most. *observers* have a method `changed(outcome)`.

    Any number of processes may use it; one runs it on SQLite, several may on PostgreSQL. Everything that is returned is
    on the disk. Raises `StoreError` in words where the database cannot be used, and its `StoreAway` where it can later.
    """

    def __init__(
        self,
        url: str,
        *,
        when_missing: Literal["park", "resend"] = "park",
        settle: timedelta = timedelta(minutes=10),
        hold: bool = True,
        at_once: int = 4,
        observers: Sequence[Observer] = (),
    ) -> None:
        if when_missing not in {"park", "resend"} or at_once < 1 or settle < timedelta(0):
            raise InvalidArgument(
                "when_missing is park or resend, at_once at least 1, settle no negative time"
            )
        self._store: Store = store_of(url)
        self._resend, self._settle, self._hold, self._at_once = (
            when_missing == "resend",
            settle,
            hold,
            at_once,
        )
        self._observers = observers
        self._handlers: dict[Event, list[Handler]] = {}
        self._id, self._runs, self._opened = "", False, 0
        self._event = anyio.Event()

    async def __aenter__(self) -> Self:
        """Open the database, and make the tables if they are missing. What is open already is opened once more, and closed as often."""
        if self._opened:
            self._opened += 1
            return self
        await self._store.open()
        try:
            name = await self._store.do(schema.known, reads=True)
            if name is None:
                name = await self._store.do(partial(schema.begin, fresh=secrets.token_hex(16)))
            self._id = name
        except BaseException:
            await self._store.close()
            raise
        self._opened, self._event = 1, anyio.Event()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened -= 1
        if not self._opened:
            await self._store.close()

    # --- intents

    async def intend(
        self,
        key: str,
        order: Mapping[str, Any] | msgspec.Struct,
        *,
        tx: Any = None,
        most_waiting: int | None = None,
        maybe_sent: bool = False,
    ) -> Outcome:
        """Store *order*, to be made once under *key*, which becomes its `external_id`. A known key changes nothing.

        With *tx*, a `sqlite3.Connection`, `psycopg.Connection` or `psycopg.AsyncConnection` in a transaction of the same
        database, it is stored if and only if that commits; so it is with the *tx* of an inbox's handler. *maybe_sent*: it is looked for before it is sent; say so where
        the key may have been intended in a database that is lost.
        Raises `KeyReused` where another order has the key, `TooManyWaiting` where *most_waiting* or more wait,
        `InvalidArgument` for an order that cannot be sent, and `ValueError` for a *tx* that cannot be used.
        """
        if most_waiting is not None and most_waiting < 1:
            raise InvalidArgument("most_waiting is at least 1", operation="intend")
        entry = entry_of(key, order)

        def plan() -> Plan[Row]:
            intending = table.intending(self._store, entry, most=most_waiting, maybe_sent=maybe_sent)
            return table.of_this(self._store, self._id, intending)

        if isinstance(tx, Tx):  # of an inbox's handler: on SQLite, all of it is done when that has returned
            if not self._opened:
                raise StoreError(f"{self._store.name}: it is closed; use it inside of `async with`")
            if not tx.is_like(self._store):
                raise ValueError(f"tx is a transaction of another database than {self._store.name}")
            done = await tx.follow(plan)
            return Outcome(key=key, state="intended") if done is None else outcome_of(done)
        if tx is not None:
            return outcome_of(await self._store.within(tx, plan()))
        row = await self._store.do(
            lambda store: store.follow(
                table.intending(store, entry, most=most_waiting, maybe_sent=maybe_sent)
            )
        )
        self._event.set()
        return outcome_of(row)

    def statement(
        self,
        key: str,
        order: Mapping[str, Any] | msgspec.Struct,
        paramstyle: Literal["numeric_dollar", "qmark", "format", "pyformat", "named"] = "numeric_dollar",
    ) -> tuple[str, Any]:
        """Return the statement that intends *order*, and its parameters, for a transaction of any other driver.

        Where another order has the key, the driver raises its error, and that transaction cannot commit.
        """
        entry = entry_of(key, order)
        if paramstyle not in _MARKS:
            raise InvalidArgument(
                f"paramstyle is one of {', '.join(_MARKS)}, not {paramstyle!r}", operation="statement"
            )
        values = {name: getattr(entry, name) for name in table.INSERTED}
        marks = [_MARKS[paramstyle](number, name) for number, name in enumerate(values, 1)]
        named = paramstyle in {"pyformat", "named"}
        return table.inserting(self._store, marks), values if named else tuple(values.values())

    # --- sending

    async def run(self, limio: Limio, *, until_idle: bool = False) -> None:
        """Send what is intended and look for what is in doubt, until cancelled, or until only a person can go on.

        Stopping waits up to 10 seconds for what is on the wire. Raises `StoreAway` where another process sends from the
        same SQLite file, and `StoreError` where the outbox belongs to another tenant.
        """
        sender = Sender(
            self._store, limio, handlers=self._handlers, observers=self._observers, resend=self._resend,
            settle=self._settle, hold=self._hold, at_once=self._at_once, woken=self._woken,
        )  # fmt: skip
        if self._runs:
            raise OutboxError("this outbox runs already: at_once= says how many orders are on the wire")
        self._runs = True
        try:
            await sender.run(until_idle=until_idle)
        finally:
            self._runs = False

    def on(self, event: Event) -> Callable[[Handler], Handler]:
        """Register a coroutine function that `run` tells of *event*, at least once: `f(outcome, tx)`. What happened
        before anybody was registered for it is told too.

        `tx.execute(sql, parameters)` notes a statement for the outbox's database. They are executed once, after the
        function has returned, in one transaction with the mark that it was told.
        """
        if event not in _EVENTS:
            raise InvalidArgument(f"on() is told of {', '.join(sorted(_EVENTS))}, not {event!r}")

        def register(handler: Handler) -> Handler:
            if not iscoroutinefunction(handler) and not iscoroutinefunction(type(handler).__call__):
                raise InvalidArgument(f"on() takes a coroutine function, not {handler!r}")
            self._handlers.setdefault(event, []).append(handler)
            return handler

        return register

    async def pause(self) -> None:
        """Send nothing from now on, in any process, until `resume()`; what is in doubt is looked for."""
        await self._store.do(lambda store: schema.set_meta(store, "paused", "by hand"))

    async def resume(self) -> None:
        """Send again."""
        await self._store.do(lambda store: schema.set_meta(store, "paused", None))
        self._event.set()

    # --- what is known

    async def outcome(self, key: str) -> Outcome:
        """Return what is known of *key*. Raises `UnknownKey`, a `LookupError`, if nothing was ever intended under it."""
        return outcome_of(await self._read(key))

    async def order(self, key: str) -> dict[str, Any] | None:
        """Return the order that is stored under *key*; None where its body was purged or erased."""
        body = (await self._read(key)).body
        return None if body is None else msgspec.json.decode(body, type=dict[str, Any])

    async def answers(self, key: str) -> Sequence[Mapping[str, Any]]:
        """Return what came of each attempt, and what the list showed; empty where it was purged or erased."""
        return (await self._read(key)).noted

    async def list(self, *states: State, limit: int = 1000, after: str | None = None) -> list[Outcome]:
        """Return at most *limit* orders, of any of *states* or all, in the order of their intents, behind the key *after*."""
        rows = await self._store.do(lambda store: clerk.listed(store, states, after, limit), reads=True)
        return [outcome_of(row) for row in rows]

    async def stats(self) -> Stats:
        """Return how many orders are in which state."""
        return await self._store.do(clerk.stats, reads=True)

    # --- by hand

    async def failed(self, key: str, event: object = None) -> Outcome:
        """Note that Limio had the order and that it ended badly. May be repeated.

        *event* is the body of an Error Reporting webhook, or whatever tells of it; it is kept beside the order.
        """

        try:
            msgspec.json.encode(event)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidArgument(f"the event cannot be encoded: {error}", operation="failed") from None

        def note(row: Row) -> dict[str, Any]:
            kept = msgspec.json.encode([*row.noted, {"kind": "failed", "event": event}]).decode()
            return {} if row.state == "failed" else {**moved(row, "failed"), "answers": kept, "owner": None}

        return await self._changed(key, note)

    async def resolve(
        self,
        key: str,
        as_: str | None = None,
        *,
        send_again: bool = False,
        by: str,
        limio: Limio | None = None,
    ) -> Outcome:
        """Decide about an order in doubt or parked: *as_* `accepted:ORDER_ID` or `never`, or *send_again*; notes *by* whom.

        `accepted:` fetches that order with *limio* and compares it. A late answer still counts, whatever was decided.
        """
        how = "send-again" if send_again else as_ or ""
        order_id = how.partition(":")[2]
        if (send_again and as_) or not re.fullmatch("send-again|never|accepted:.+", how) or not by:
            raise InvalidArgument(
                "resolve takes as_='accepted:ORDER_ID', as_='never' or send_again=True, and by="
            )
        row = await self._read(key)
        item: dict[str, Any] = {}
        if order_id:
            if limio is None:
                raise InvalidArgument("accepted: needs limio=, to fetch the order and compare it")
            item = await limio.request(WHOLE, {"service": "limio", "id": order_id})
            if fields_of(item).get("external_id") != key or came_of(row.body, item) is not True:
                raise OutboxError(
                    f"{order_id} is not the order of {key!r}: it differs in external_id or contents"
                )

        def decide(row: Row) -> dict[str, Any]:
            if row.state not in {"doubt", "parked"}:
                raise OutboxError(f"{key!r} is {row.state}: only what is in doubt or parked is resolved")
            noted: dict[str, Any] = {"resolved": f"{how} by {by}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
            if order_id:
                return found(row, order_id, item.get("status"), [order_id]) | noted
            if how == "never":
                return moved(row, "refused") | noted | {"error": "it was never made, somebody decided"}
            return moved(row, "intended") | noted | {"attempt": row.attempt + 1, "error": None}

        outcome = await self._changed(key, decide)
        self._event.set()
        return outcome

    async def doubt(self, *, since: datetime) -> int:
        """Put in doubt whatever waits, after a restore that the store could not notice; return how many orders.

        All of it could have been sent in what was lost. *since* is when the backup was made: looking begins there.
        """
        why = "the database was restored, somebody said"
        return await self._store.do(
            lambda store: schema.doubt_unsent(store, why, before=since.astimezone(UTC))
        )

    async def purge(self, *, before: datetime) -> int:
        """Empty bodies and answers of what was settled before then; return of how many orders. Keys stay for ever."""
        return await self._store.do(lambda store: clerk.purge(store, before.astimezone(UTC)))

    async def erase(self, *, key: str | None = None, owner: str | None = None, cancel: bool = False) -> int:
        """Empty bodies, answers and error texts of *key*, or of all orders whose `owner` is that; return of how many.

        Refused while one of them is open, unless *cancel*: then what was not sent never is. What may be on its way
        has to be settled first. SQLite overwrites what was there; PostgreSQL does so when it vacuums the table.
        """
        if (key is None) is (owner is None):
            raise InvalidArgument("erase takes key= or owner=")
        column, value = ("key", key) if key is not None else ("person", owner)
        erased = await self._store.do(lambda store: clerk.erase(store, column, value, cancel=cancel))
        await self._store.do_after(lambda store: store.scrub())
        return erased

    async def _read(self, key: str) -> Row:
        return await self._store.do(lambda store: table.one(store, key, reads=True), reads=True)

    def _woken(self) -> anyio.Event:
        if self._event.is_set():
            self._event = anyio.Event()
        return self._event

    async def _changed(self, key: str, changes: Callable[[Row], dict[str, Any]]) -> Outcome:
        def work(store: Store) -> Row:
            row = table.one(store, key)
            return table.change(store, row, changes(row))

        return outcome_of(await self._store.do(work))
