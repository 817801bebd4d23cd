"""Summaries → whole objects: fetching goes on while what has come is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import TypeAlias

import anyio
import msgspec

from limio_async.errors import InvalidArgument, LimioError
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import Item
from limio_async.sync_jobs.run.progress import Progress

__all__ = ["Lost", "Whole"]

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

    @property
    def decides(self) -> bool:
        """Whether nothing that comes later can make it worth another look."""
        return self.error is None or isinstance(self.error, InvalidArgument)  # which asked nobody


class Whole:
    """Fetches objects whole and has them written in their order, every 50 of them or once a second.

    *write* is given objects, what could not be had, and the last page of which all has come. *again*: what is asked for
    was refused before.
    """

    def __init__(self, progress: Progress, write: _Write, *, again: bool = False) -> None:
        self._progress = progress
        self._write = write
        self._again = again
        self._held: list[_Came] = []
        self._page = 0
        self._over = False
        self._failed: LimioError | None = None
        self._enough = asyncio.Event()  # has come, or all
        self._room = asyncio.Event()

    async def run(self, summaries: Iterable[tuple[Item, int]], *, page: int) -> None:
        """Fetch what these are summaries of, each with the last page that ends before the next one; *page* ends before all.

        Raises what concerns more than one object, once all that is known is written: refusals since the last object that
        could be had are written too, but their pages do not count as done.
        """
        self._page = page
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._fetch, summaries)
            await self._write_all()
        if self._failed is not None:
            raise self._failed

    async def _fetch(self, summaries: Iterable[tuple[Item, int]]) -> None:
        begun = perf_counter()
        try:
            await self._progress.until_stopped(self._fetch_all(summaries))
        finally:
            self._progress.walk.network_seconds += perf_counter() - begun
            self._over = True
            self._enough.set()

    async def _fetch_all(self, summaries: Iterable[tuple[Item, int]]) -> None:
        pages: dict[int, int] = {}

        def noted() -> Iterable[Item]:
            for number, (item, page) in enumerate(summaries):
                pages[number] = page
                yield item

        number = 0
        try:
            async with self._progress.source.whole(noted(), again=self._again) as results:
                async for result in results:
                    self._held.append(_Came(result.summary, pages.pop(number), result.full, result.error))
                    number += 1
                    if len(self._held) >= WRITTEN_AT_ONCE:
                        self._enough.set()
                    while len(self._held) >= _HELD_AT_MOST:
                        self._room.clear()
                        await self._room.wait()
        except LimioError as error:
            self._failed = error

    async def _write_all(self) -> None:
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
            if not self._over and len(self._held) < WRITTEN_AT_ONCE:
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
