"""Fetching many things with a fixed pool of workers: bounded concurrency, bounded memory, results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

import anyio
import msgspec

from limio_async.errors import LimioError

__all__ = ["Hydrated", "hydrated"]

S = TypeVar("S")
T = TypeVar("T")


class Hydrated(msgspec.Struct, Generic[S, T], frozen=True):
    """A summary and the whole thing it stands for, or why that could not be had."""

    summary: S
    full: T | None = None
    error: LimioError | None = None

    @property
    def ok(self) -> bool:
        """Whether it could be had."""
        return self.error is None


@asynccontextmanager
async def hydrated(
    summaries: Iterable[S],
    fetch: Callable[[S], Awaitable[T]],
    *,
    workers: int = 16,
    key: Callable[[S], Hashable] | None = None,
) -> AsyncGenerator[AsyncIterator[Hydrated[S, T]]]:
    """Fetch for each summary, *workers* at once; gives the results in the order of *summaries*.

        async with hydrated(page.items, lambda one: limio.subscriptions.get(one.id)) as results:
            async for result in results: ...

    A `LimioError` becomes the result's `error` and ends nothing; any other exception is raised where the results
    are awaited. Summaries of one *key* that are under way at the same time are fetched once. No more than two
    rounds of results wait for the caller, who may be cancelled while waiting for one and ask again. Leaving the
    block ends what is under way. Raises `ValueError` without *workers*.
    """
    if workers < 1:
        raise ValueError("workers is at least 1")
    pool = _Pool(summaries, fetch, workers=workers, key=key)
    failed: Exception | None = None
    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(pool.work)
        try:
            yield pool
        except Exception as error:
            failed = error
        group.cancel_scope.cancel()
    if failed is not None:  # by itself, not in a group
        raise failed


class _Failed:
    """What came instead of a result, and is not Limio's doing."""

    def __init__(self, error: Exception) -> None:
        self.error = error


_Came: TypeAlias = T | LimioError | _Failed


class _Pool(AsyncIterator[Hydrated[S, T]]):
    """The summaries that are under way, in order, each with the future of its result."""

    def __init__(
        self,
        summaries: Iterable[S],
        fetch: Callable[[S], Awaitable[T]],
        *,
        workers: int,
        key: Callable[[S], Hashable] | None,
    ) -> None:
        self._source = iter(summaries)
        self._fetch = fetch
        self._key = key
        self._most = 2 * workers
        self._waiting: deque[tuple[S, asyncio.Future[_Came[T]]]] = deque()
        self._flights: dict[Hashable, asyncio.Future[_Came[T]]] = {}
        self._exhausted = False
        self._broken: Exception | None = None  # of the source, or of a key
        self._claimed = asyncio.Event()  # or there is nothing left to claim
        self._blocked: deque[asyncio.Future[None]] = deque()  # workers that wait for room

    async def work(self) -> None:
        """Fetch one after another until there is none left."""
        while not self._exhausted:
            if len(self._waiting) >= self._most:
                await self._room()
                continue
            try:
                summary = next(self._source)
                key = self._key(summary) if self._key else None
                flight = self._flights.get(key)
            except StopIteration:
                self._exhausted = True
            except Exception as error:
                self._exhausted, self._broken = True, error
            else:
                await self._fly(summary, key, flight)
        self._claimed.set()

    async def __anext__(self) -> Hydrated[S, T]:
        while not self._waiting:
            if self._exhausted:
                if self._broken is not None:
                    raise self._broken
                raise StopAsyncIteration
            self._claimed.clear()
            await self._claimed.wait()
        summary, flight = self._waiting[0]
        if not flight.done():
            await asyncio.wait([flight])  # which is not cancelled with whoever waits for it
        if not self._waiting or self._waiting[0][1] is not flight:
            raise RuntimeError("one task at a time takes the results")
        self._waiting.popleft()
        if self._blocked and not (room := self._blocked.popleft()).done():
            room.set_result(None)
        came = flight.result()
        if isinstance(came, LimioError):
            return Hydrated(summary, error=came)
        if isinstance(came, _Failed):
            raise came.error
        return Hydrated(summary, full=came)

    async def _fly(self, summary: S, key: Hashable, flight: asyncio.Future[_Came[T]] | None) -> None:
        if flight is not None:
            self._waiting.append((summary, flight))
            return
        flight = asyncio.get_running_loop().create_future()
        self._waiting.append((summary, flight))
        if key is not None:
            self._flights[key] = flight
        self._claimed.set()
        task = asyncio.current_task()
        try:
            flight.set_result(await self._fetch(summary))
        except LimioError as error:
            flight.set_result(error)
        except Exception as error:
            flight.set_result(_Failed(error))
        except asyncio.CancelledError:
            if task is None or task.cancelling():
                raise
            flight.set_result(
                _Failed(RuntimeError("what was fetched waited for something that was cancelled"))
            )
        finally:
            self._flights.pop(key, None)

    async def _room(self) -> None:
        """Wait until a result was taken; one worker goes on for each."""
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._blocked.append(room)
        await room
