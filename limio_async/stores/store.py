"""One connection, used by one thread: transactions that are committed for good, several callers' at once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, NoReturn, TypeVar

from limio_async.core.lifetime import Forks
from limio_async.errors import InboxError, StoreAway, StoreError

__all__ = ["Do", "Plan", "Rows", "Store", "Tx", "driven"]

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
Plan = Generator[tuple[str, Sequence[Any]], Rows, T]
"""Statements that depend on what those before them gave; values are marked `?` whatever the database.

What begins with SELECT gives rows, and nothing else does."""

Do = Callable[[Callable[["Store"], Plan[Any]]], Awaitable[Any]]
"""Does something in a transaction of a store, and follows the plan that it returns."""
_Waiting = tuple["Callable[[Store], Any]", "Future[Any]", bool, bool, bool]
_MOST_AT_ONCE = 256
_TRIES = 3
_CLOSES_WITHIN = 5.0


class Tx(ABC):
    """A transaction of a handler in the store's database: begun by its first statement, committed with a mark."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_over = False
        self._failed: str | None = None

    def _check(self) -> None:
        if self._is_over:
            raise InboxError("the handler has returned, and its tx is over")

    def _refused(self, words: str) -> NoReturn:
        """Refuse a statement: nothing is committed where the handler goes on without it."""
        self._failed = "it was refused"
        raise InboxError(words)

    def _check_whole(self) -> None:
        if self._failed is not None:
            raise InboxError(
                f"a statement through tx failed ({self._failed}), and the handler went on: nothing of it is committed"
            )

    def is_like(self, store: Store) -> bool:
        """Whether it is a transaction of the same kind of database as *store*."""
        return type(self._store) is type(store)

    @property
    def is_open(self) -> bool:
        """Whether the database waits for the handler to end."""
        return False

    @abstractmethod
    def execute(self, statement: str, parameters: Any = None) -> Awaitable[Rows]:
        """Execute a statement, in the driver's own style."""

    @abstractmethod
    async def follow(self, plan: Callable[[], Plan[T]]) -> T | None:
        """Follow a plan in it; None where that is done only when it ends."""

    @abstractmethod
    async def commit(self, mark: Callable[[], Plan[Any]], do: Do) -> None:
        """Follow *mark* last, and commit; *do* does so where nothing is begun yet. Raises, with nothing committed,
        if anything failed.
        """

    async def abandon(self) -> None:
        """Undo whatever is not committed."""
        self._is_over = True


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="limio-store")


class Store(ABC):
    """A database. What `do` returned is on the disk; where it raised `StoreAway`, that may be so nevertheless."""

    begin: ClassVar[str]
    to_read: ClassVar[str]
    locking: ClassVar[str]
    """Ends a query whose rows are locked until the transaction ends."""
    errors: ClassVar[tuple[type[Exception], ...]]
    skipping: ClassVar[str] = ""
    """Ends a query whose rows are locked; those that others have locked are left out."""
    keyed, now, time, cast_error, guard, has_table, epoch = "", "", "", "", "", "", ""
    """Parts of statements that each database writes in its own way."""

    def __init__(self, name: str, schema: str = "") -> None:
        self.name = name
        """How messages call it: without a password."""
        self.prefix = schema
        """What stands before the name of a table in statements of other connections."""
        self._thread = _thread()
        self._waiting: deque[_Waiting] = deque()
        self._is_cut = self._is_closed = False
        self._process: int | None = None
        """That which has opened it: a fork copies neither its thread nor a connection that may be used."""

    async def open(self) -> None:
        """Connect, also once more after `close`. Raises `StoreError` in words."""
        if self._is_closed:
            self._thread, self._is_cut, self._is_closed = _thread(), False, False
        self._check_process()
        self._process = Forks.count
        await self.do_after(lambda _: self._open())

    async def close(self) -> None:
        """Let go of the connection, and with it of what `own` holds; cut it where the database does not answer."""
        if self._process not in {None, Forks.count}:
            return  # it is the parent's
        closed = asyncio.wrap_future(self._thread.submit(self._close))
        if not (await asyncio.wait([closed], timeout=_CLOSES_WITHIN))[0]:
            self._is_cut = True
            self._cut()
        await asyncio.shield(closed)
        self._thread.shutdown(wait=False)
        self._is_closed, self._process = True, None

    async def do(
        self, work: Callable[[Store], T], *, reads: bool = False, alone: bool = False, hurries: bool = False
    ) -> T:
        """Return what *work* does in a transaction that is committed by then; what waits meanwhile shares the next.

        *work* runs in the store's thread, again where the transaction has to be repeated; it uses `ask` and `run` only.
        It may only *read*: then it waits for no other program that writes. Where rows are locked, *alone* it shares no
        transaction: what it locks nobody holds longer than it takes. If it *hurries*, it is alone, waits a second at
        most for what others have locked, and is not repeated.
        """
        self._check_process()
        future: Future[T] = Future()
        alone = hurries or (alone and bool(self.locking))
        self._waiting.append((work, future, reads, alone, hurries))
        try:
            self._thread.submit(self._commit_waiting)
        except RuntimeError:
            self._waiting.pop()
            raise StoreError(f"{self.name}: it is closed; use it inside of `async with`") from None
        return await asyncio.wrap_future(future)

    async def do_after(self, work: Callable[[Store], T]) -> T:
        """Return what *work* does between two transactions."""
        self._check_process()

        def outside() -> T:
            try:
                return work(self)
            except self.errors as error:
                raise self._failure(error) from None

        return await asyncio.wrap_future(self._thread.submit(outside))

    def _check_process(self) -> None:
        if self._process not in {None, Forks.count}:
            raise StoreError(f"{self.name}: it was opened before a fork; open one in the child")

    def has(self, table: str) -> bool:
        """Return whether there is such a table."""
        return bool(self.ask(self.has_table, table))

    def follow(self, plan: Plan[T]) -> T:
        """Follow a plan inside of the transaction."""
        return driven(plan, lambda statement, values: self.ask(statement, *values))

    def follow_all(self, plans: Sequence[Plan[Any]]) -> list[Any]:
        """Follow plans of which none depends on what another does, maybe step by step together."""
        return [self.follow(plan) for plan in plans]

    def put(self, statement: str, *values: Any) -> None:
        """Execute a statement that gives nothing, by the time of the next or of COMMIT: its errors may come then."""
        self.run(statement, *values)

    @abstractmethod
    async def within(self, tx: Any, plan: Plan[T]) -> T:
        """Follow *plan* in the caller's own transaction. Raises `ValueError` if *tx* is none of this database."""

    @abstractmethod
    def tx(self) -> Tx:
        """Return a transaction for one handler; nothing is begun yet."""

    @abstractmethod
    def ask(self, statement: str, *values: Any) -> Rows:
        """Execute a statement and return its rows."""

    @abstractmethod
    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement and return how many rows it concerned."""

    @abstractmethod
    def execute(self, statement: str, values: Any) -> None:
        """Execute a statement of the user's, in the driver's own style."""

    def unless_made(self, column: str) -> str:
        """Return the end of a condition: that no other transaction makes the row whose key is *column* at the moment."""
        return ""

    @abstractmethod
    def own(self, owner: str | None) -> None:
        """Say that this process is *owner* until it ends; with None, that it is nobody any more."""

    @abstractmethod
    def gone(self, owner: str) -> bool:
        """Return whether no process is *owner*, as far as the store can tell."""

    @abstractmethod
    def born(self, table: str) -> str:
        """Return a statement's part that says in which history of the database a row of *table* is stored."""

    @abstractmethod
    def generation(self, known: str | None, table: str, *, advance: bool = False) -> tuple[str, bool]:
        """Return which history of *table* this is, and whether it is another than *known*.

        With *advance*, a backup that was made before this transaction will be told from the database after it.
        """

    def goes_on(self, known: str | None, table: str) -> bool:
        """Return whether *known* is the history of *table* still. False may be wrong where the transaction only reads."""
        return self.generation(known, table) == (known, False)

    def make_room(self) -> None:
        """Make what has to be there before tables are made, in their transaction."""
        return

    def hurry(self) -> None:
        """Let the transaction wait a second at most for what others have locked."""
        return

    def _cut(self) -> None:
        """End what the thread waits for."""
        return

    def scrub(self) -> None:
        """Overwrite what was emptied, where the database leaves it lying about."""
        return

    # --- what the kinds of stores do in their own way, in the thread

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _undo(self) -> None: ...

    @abstractmethod
    def _failure(self, error: Exception) -> StoreError: ...

    def _commit(self) -> None:
        self.run("COMMIT")

    def _passes(self, error: Exception) -> bool:
        return False

    def _held_up(self, error: StoreAway) -> bool:
        """Return whether somebody else has a row locked that one of those needs who share a transaction."""
        return False

    def _committed(self) -> None:
        return

    def _commit_waiting(self) -> None:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < _MOST_AT_ONCE:
            if batch and (batch[0][3] or self._waiting[0][3]):
                break  # each that is alone has a turn of its own
            one = self._waiting.popleft()
            if one[1].set_running_or_notify_cancel():
                batch.append(one)
        if batch:
            self._settle(batch)

    def _settle(self, batch: list[_Waiting]) -> None:
        try:
            begin = self.to_read if all(one[2] for one in batch) else self.begin
            hurries = batch[0][4]
            works = [_hurry] * hurries + [one[0] for one in batch]
            results = self._transacted(begin, works, 1 if hurries else _TRIES)[hurries:]
        except Exception as error:
            is_away = isinstance(error, StoreAway) and not self._held_up(error)
            if len(batch) > 1 and not is_away:  # one of them is to blame
                for one in batch:
                    self._settle([one])
                return
            for one in batch:
                one[1].set_exception(error)
        else:
            for one, result in zip(batch, results, strict=True):
                one[1].set_result(result)

    def _transacted(self, begin: str, works: Sequence[Callable[[Store], Any]], tries: int) -> list[Any]:
        while True:
            tries, ending, committed = tries - 1, False, False
            try:
                if self._is_cut:
                    raise StoreAway(f"{self.name}: it did not answer, and is closed")  # noqa: TRY301
                self._open()
                self.put(begin)
                results = [work(self) for work in works]
                ending = True
                self._commit()
                committed = True
                self._committed()
            except self.errors as error:
                self._undo()
                if committed:
                    raise StoreAway(str(self._failure(error))) from None
                if ending or not tries or self._is_cut or not self._passes(error):
                    raise self._failure(error) from None
            except BaseException:
                self._undo()
                raise
            else:
                return results


def _hurry(store: Store) -> None:
    store.hurry()


def driven(plan: Plan[T], ask: Callable[[str, Sequence[Any]], Rows]) -> T:
    """Follow a plan by *ask*."""
    try:
        step = next(plan)
        while True:
            step = plan.send(ask(*step))
    except StopIteration as stop:
        value: T = stop.value
        return value
