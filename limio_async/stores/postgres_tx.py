"""A handler's transaction in PostgreSQL: on a connection of its own, begun by its first statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from limio_async.errors import InboxError, LimioError, StoreAway, StoreError
from limio_async.stores.recorded import refusal
from limio_async.stores.store import Do, Plan, Rows, Store, Tx

__all__ = ["Lazy", "Lender"]

T = TypeVar("T")


class Lender(Protocol):
    """Lends connections in autocommit mode."""

    async def lend(self) -> psycopg.AsyncConnection[Any]:
        """Return a connection that nobody uses."""
        ...

    async def give_back(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Take one back; one that is not idle is closed."""
        ...


class Lazy(Tx):
    """What handlers of one event write, on a connection that is lent when there is something to write."""

    def __init__(self, store: Store, lender: Lender, begin: str, failure: Callable[..., StoreError]) -> None:
        super().__init__(store)
        self._lender, self._begin, self._failure = lender, begin, failure
        self._db: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()
        self._left = 0
        self._warned = False

    @property
    def is_open(self) -> bool:
        """Whether the database waits for the handler to end."""
        return self._db is not None

    def execute(self, statement: str, parameters: Any = None) -> Awaitable[Rows]:
        """Execute a statement at once, values as psycopg marks them, and return its rows. It has to be awaited."""
        self._check()
        if words := refusal(statement):
            self._refused(words)
        self._left += 1

        async def executed(db: psycopg.AsyncConnection[Any]) -> Rows:
            several = parameters is None and ";" in statement.rstrip("; \n")  # prepared, only one is taken
            cursor = await db.execute(statement.encode(), parameters, prepare=several or None)
            return await cursor.fetchall() if cursor.description else []

        return self._done(executed)

    async def follow(self, plan: Callable[[], Plan[T]]) -> T | None:
        """Follow a plan in it."""
        self._check()
        self._left += 1
        return await self._done(lambda db: self._store.within(db, plan()))

    async def _done(self, act: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]]) -> T:
        self._left -= 1
        async with self._turn:
            self._check()
            try:
                return await act(await self._begun())
            except BaseException as error:
                if isinstance(error, StoreError) or not isinstance(
                    error, LimioError
                ):  # else it says no, and why
                    self._failed = type(error).__name__
                if isinstance(error, psycopg.Error) and isinstance(meant := self._meant(error), StoreAway):
                    raise meant from error
                raise

    async def commit(self, mark: Callable[[], Plan[Any]], do: Do) -> None:
        """Follow *mark*, and commit; raises unless PostgreSQL says that it did, for good."""
        if self._left or self._turn.locked():
            raise InboxError("tx.execute was called and not awaited: nothing of it is committed")
        self._is_over = True
        self._check_whole()
        if self._db is None:
            await do(lambda _: mark())
            return
        if self._db.info.transaction_status != TransactionStatus.INTRANS:
            self._failed = "outside of execute"
            self._check_whole()
        try:
            await self._store.within(self._db, mark())
            self._warned = False
            answer = (await self._db.execute("COMMIT")).statusmessage
        except psycopg.Error as error:
            raise self._meant(error) from None
        if answer != "COMMIT" or self._warned:
            await self._db.close()
            raise StoreAway(f"{self._store.name}: the transaction was not committed for good ({answer})")
        await self.abandon()

    async def abandon(self) -> None:
        """Undo whatever is not committed, and give the connection back."""
        self._is_over = True
        db, self._db = self._db, None
        if db is None:
            return
        db.remove_notice_handler(self._notice)
        if not db.closed and db.info.transaction_status in {
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        }:
            with suppress(psycopg.Error):
                await db.execute("ROLLBACK")
        await self._lender.give_back(db)

    async def _begun(self) -> psycopg.AsyncConnection[Any]:
        if self._db is None:
            db = await self._lender.lend()
            try:
                await db.execute(self._begin.encode())
            except BaseException:
                await db.close()
                raise
            if self._is_over:  # the handler has returned meanwhile
                await db.close()
                self._check()
            db.add_notice_handler(self._notice)
            self._db = db
        return self._db

    def _meant(self, error: psycopg.Error) -> StoreError:
        return self._failure(error, is_lost=self._db is not None and self._db.closed)

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._warned = self._warned or diagnostic.severity_nonlocalized == "WARNING"
