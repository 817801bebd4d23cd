"""Summaries → whole objects: fetching goes on while what has come is written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TypeAlias

import anyio
import msgspec

from limio_async.errors import InvalidArgument, LimioError
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import Item
from limio_async.sync_jobs.run.progress import Progress

__all__ = ["Lost", "Whole", "writing"]

WRITTEN_AT_ONCE = 50
WRITTEN_AFTER = 1.0  # seconds, where it takes longer until so many have come
_HELD_AT_MOST = 500

Lost: TypeAlias = tuple[Item, LimioError]
_Write: TypeAlias = Callable[[Sequence[Item], Sequence[Lost], int], Awaitable[object]]


class _Came(msgspec.Struct, frozen=True):
    """What came of fetching one object."""

    summary: Item
    page: int
    """The last page of which all has come, once this has."""
    full: bytes | None
    error: LimioError | None
    again: bool
    """Whether it was refused before."""

    @property
    def decides(self) -> bool:
        """Whether nothing that comes later can make it worth another look."""
        asked_nobody = isinstance(self.error, InvalidArgument)
        return self.error is None or self.again or asked_nobody


@asynccontextmanager
async def writing(
    progress: Progress, write: _Write, *, page: int, again: bool = False
) -> AsyncGenerator[Whole]:
    """Yield what fetches objects, which are written meanwhile; at the end of the block all that is known is.

    *write* is given objects, what could not be had, and the last page of which all has come; *page* ends before all.
    *again*: what is asked for was refused before. Raises what the block does: then refusals since the last object that could
    be had are written too, but their pages do not count as done.
    """
    whole = Whole(progress, write, page=page, again=again)
    failed: LimioError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(whole.write_all)
        try:
            yield whole
        except LimioError as error:
            failed = error
        whole.end(failed)
    if failed is not None:  # by itself, not in a group
        raise failed


class Whole:
    """Fetches objects whole and has them written in their order, every 50 of them or once a second: see `writing`."""

    def __init__(self, progress: Progress, write: _Write, *, page: int, again: bool) -> None:
        self._progress = progress
        self._write = write
        self._again = again
        self._held: list[_Came] = []
        self._page = page
        self._over = False
        self._failed: LimioError | None = None
        self._enough = asyncio.Event()  # has come, or all
        self._room = asyncio.Event()

    def end(self, failed: LimioError | None) -> None:
        """Nothing more will be fetched, because that *failed* if it did."""
        self._over, self._failed = True, failed
        self._enough.set()

    async def fetch(self, summaries: Iterable[tuple[Item, int]]) -> None:
        """Fetch what these are summaries of, each with the last page that ends before the next one.

        Raises what concerns more than one object. Ends early where the job shall stop.
        """
        begun = perf_counter()
        try:
            await self._progress.until_stopped(self._fetch(summaries))
        finally:
            self._progress.walk.network_seconds += perf_counter() - begun

    async def _fetch(self, summaries: Iterable[tuple[Item, int]]) -> None:
        pages: deque[int] = deque()

        def noted() -> Iterable[Item]:
            for item, page in summaries:
                pages.append(page)
                yield item

        async with self._progress.source.whole(noted(), again=self._again) as results:
            async for result in results:
                self._held.append(
                    _Came(result.summary, pages.popleft(), result.full, result.error, self._again)
                )
                if len(self._held) >= WRITTEN_AT_ONCE:
                    self._enough.set()
                while len(self._held) >= _HELD_AT_MOST:
                    self._room.clear()
                    await self._room.wait()

    async def write_all(self) -> None:
        """Write until all has come."""
        while True:
            with anyio.move_on_after(WRITTEN_AFTER):
                await self._enough.wait()
            over = self._over
            if chunk := self._taken():
                await self._write(
                    [one.summary.holding(one.full) for one in chunk if one.full is not None],
                    [(one.summary, one.error) for one in chunk if one.error is not None],
                    self._page,
                )
            if over and not self._held:
                return
            if not self._over and (not chunk or len(self._held) < WRITTEN_AT_ONCE):
                self._enough.clear()

    def _taken(self) -> list[_Came]:
        """Take what may be written: refusals once something was had behind them, or all has come."""
        count = len(self._held)
        if not self._over:
            while count and not self._held[count - 1].decides:
                count -= 1
        chunk, self._held = self._held[:count], self._held[count:]
        self._room.set()
        if self._over and self._failed is not None:
            decided = len(chunk)
            while decided and not chunk[decided - 1].decides:
                decided -= 1
            self._page = chunk[decided - 1].page if decided else self._page
            return [*chunk[:decided], *(one for one in chunk[decided:] if _is_known(one))]
        self._page = chunk[-1].page if chunk else self._page
        return chunk


def _is_known(came: _Came) -> bool:
    return came.error is not None and concerns(came.error) != "later"
