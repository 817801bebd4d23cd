"""Whole catalog types in memory, for services that look up offers while they answer a request."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Generic, Self, TypeVar, overload

import msgspec
from msgspec.structs import asdict, replace

from limio_async import envelope, errors
from limio_async.client import Limio
from limio_async.core.listing import BadItem, Listing
from limio_async.core.listing.reader import PageReader
from limio_async.core.retry import wait_before_next
from limio_async.core.tolerant import mended

__all__ = ["CatalogCache"]

T = TypeVar("T")

_log = logging.getLogger("limio_async")
_NEVER = -float("inf")
_SLICE = 16  # items that are decoded or freed at once
_QUIET = 600.0  # seconds from one outage that is logged to the next


class _Row(msgspec.Struct, Generic[T], frozen=True, gc=False):
    item: T
    keys: tuple[str | None, str | None]
    tags: tuple[str, ...]


class _Catalog(Generic[T]):
    """One state of the catalog."""

    def __init__(self) -> None:
        self.rows: dict[bytes, _Row[T]] = {}  # by the digest of the item's bytes
        self.items: list[T] = []
        self.found: tuple[dict[str, T], dict[str, T]] = {}, {}  # by id, by path
        self.tags: dict[str, list[T]] = {}
        self.skipped = self.doubles = 0
        self.bad = ""  # what is wrong with the first that was skipped

    def add(self, digest: bytes, row: _Row[T]) -> None:
        self.rows[digest] = row
        self.items.append(row.item)
        for found, key in zip(self.found, row.keys, strict=True):
            self.doubles += key is not None and found.setdefault(key, row.item) is not row.item
        for tag in row.tags:
            self.tags.setdefault(tag, []).append(row.item)


class CatalogCache(Generic[T]):
    """All items of a catalog list in memory: `CatalogCache(limio, limio.offers.list)`.

    *call* may be `partial(limio.offers.list, tags="/tags/uk")`; its requests leave room for interactive ones. *into*
    decodes items to a slim type. Every *every* seconds one request, which opens no scroll, asks for the list's
    commitId. Where that changed, or there is none, the list is walked and, once complete, swapped in.
    After a failure it asks again sooner; readers get what is there for *stale* seconds after it was last known
    to be current. Items that cannot be decoded are left out, counted and logged; the walk fails where they are most.
    *on_change* is a plain function of the cache, called after a swap that changed items; what it raises is logged.

    `async with` starts refreshing and ends it, also in different tasks; it can be entered again. It does not wait
    for the catalog: `loaded()` does. Readers may be in any thread. Outside of the block, and in a process
    forked within it, nothing is refreshed: readers get what is there until it is too old.
    """

    # fmt: off
    @overload
    def __init__(self, limio: Limio, call: Callable[..., Listing[T]], *, into: None = None, every: float = 60.0,
                 stale: float = 86_400.0, on_change: Callable[[CatalogCache[T]], object] | None = None) -> None: ...
    @overload
    def __init__(self, limio: Limio, call: Callable[..., Listing[Any]], *, into: type[T], every: float = 60.0,
                 stale: float = 86_400.0, on_change: Callable[[CatalogCache[T]], object] | None = None) -> None: ...
    def __init__(self, limio: Limio, call: Callable[..., Listing[Any]], *, into: type[T] | None = None, every: float = 60.0,
                 stale: float = 86_400.0, on_change: Callable[[CatalogCache[T]], object] | None = None) -> None:
    # fmt: on
        if not (every > 0 and stale > 0):
            raise errors.ConfigurationError("every= and stale= are seconds, more than 0")
        if inspect.iscoroutinefunction(on_change):
            raise errors.ConfigurationError("on_change= takes a plain function, which may start a task")
        self._limio, self._every, self._stale = limio.with_options(lane="background"), every, stale
        self._endpoint, self._args, self._options = call().asked
        self._peek = replace(self._endpoint, paging=replace(self._endpoint.paging, always={}))  # without opt.all
        self._reader = PageReader[T](self._endpoint, into or self._endpoint.returns)
        self._on_change, self._clock = on_change, time.monotonic
        self._kept, self._known = _Catalog[T](), frozenset[str | None]()  # and the commits that it is of
        self._pair: tuple[str | None, str | None] = None, None  # commits that were asked for and walked
        self._current_at = self._logged_at = _NEVER
        self._outage: tuple[float, bool] | None = None  # since when, and whether it was logged
        self._refresher: asyncio.Task[None] | None = None
        self.failure = ""
        """The class of the last error of a refresh; empty while there is none."""

    def get(self, id: str) -> T | None:
        """Return the item with this id, of several the first in the list; None if there is none."""
        return self._usable().found[0].get(id)

    def by_path(self, path: str) -> T | None:
        """Return the item at this path, of several the first in the list; None if there is none."""
        return self._usable().found[1].get(path)

    def tagged(self, tag: str) -> list[T]:
        """Return all items that carry this tag, in the list's order."""
        return [*self._usable().tags.get(tag, ())]

    def __iter__(self) -> Iterator[T]:
        return iter(self._usable().items)

    def __len__(self) -> int:
        return len(self._usable().items)

    def _usable(self) -> _Catalog[T]:
        if self._clock() - self._current_at > self._stale:
            raise self._unavailable()
        return self._kept

    @property
    def age(self) -> float | None:
        """Seconds since what is there was last known to be current; None before the first load."""
        return None if self._current_at == _NEVER else self._clock() - self._current_at

    @property
    def usable(self) -> bool:
        """Whether readers get an answer now."""
        return self._clock() - self._current_at <= self._stale

    @property
    def commit_id(self) -> str | None:
        """The commitId of what is there; None before the first load, or where answers name none."""
        return self._pair[1]

    @property
    def skipped(self) -> int:
        """How many items could not be decoded and are left out."""
        return self._kept.skipped

    async def loaded(self, *, timeout: float | None = None) -> None:
        """Wait for the first load. Raises `CatalogUnavailable` after *timeout* seconds, `ClientClosed` outside the block."""
        self._check()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._first.wait()
        if self._current_at == _NEVER:
            self._check()
            raise self._unavailable()

    async def refresh(self) -> None:
        """Ask for the commitId now, and load what has changed. Joins a refresh that is under way.

        Raises what that failed with, `ClientClosed` outside the block. Cancelling a caller cancels nothing for others.
        """
        self._check()
        self._wake.set()
        (done,), _ = await asyncio.wait({self._round})
        if (error := done.result()) is not None:
            raise error

    async def __aenter__(self) -> Self:
        if self._refresher is not None:
            raise errors.ConfigurationError("this cache is open already")
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._round: asyncio.Future[Exception | None] = loop.create_future()
        self._wake, self._first = asyncio.Event(), asyncio.Event()
        self._refresher = loop.create_task(self._refresh_for_ever(loop))
        return self

    async def __aexit__(self, *_: object) -> None:
        refresher, self._refresher = self._refresher, None
        if refresher is not None:
            refresher.cancel()
            await asyncio.wait({refresher})
            self._round.set_result(errors.ClientClosed("this cache was closed"))
            self._first.set()

    def _check(self) -> None:
        if self._refresher is None or self._refresher.get_loop() is not asyncio.get_running_loop():
            raise errors.ClientClosed("this cache is not open in this event loop: use it within async with")

    def _unavailable(self) -> errors.CatalogUnavailable:
        said = "nothing was loaded yet" if self.age is None else f"{self.age:.0f} s old, over stale={self._stale:.0f}"
        failed = f"; the last refresh failed: {self.failure}" * bool(self.failure)
        return errors.CatalogUnavailable(said + failed, operation=self._endpoint.operation)

    async def _refresh_for_ever(self, loop: asyncio.AbstractEventLoop) -> None:
        failures = 0
        while True:
            error = await self._refreshed()
            failures = failures + 1 if error else 0
            self._wake.clear()  # whoever came meanwhile has joined
            done, self._round = self._round, loop.create_future()
            done.set_result(error)
            del done, error
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_before_next(failures, self._every)):
                    await self._wake.wait()

    async def _refreshed(self) -> Exception | None:
        begun, operation = self._clock(), self._endpoint.operation
        try:
            timeout = self._options.timeout
            peek = self._limio.listing(self._peek, self._args, page_size=1, verify="off", timeout=timeout)
            asked = (await peek.raw()).commit_id
            if asked is None or asked not in self._known:
                await self._load(asked, begun)
            self._current_at = begun
        except Exception as error:
            self.failure = type(error).__name__
            if self._outage is None:
                self._outage = begun, begun - self._logged_at >= _QUIET
                if self._outage[1]:
                    self._logged_at = begun
                    ours = None if isinstance(error, errors.LimioError) else error
                    _log.warning("%s: the cache cannot refresh (%s)", operation, self.failure, exc_info=ours)
            return error
        if self._outage is not None and self._outage[1]:
            _log.warning("%s: the cache is current again, after %.0f s", operation, begun - self._outage[0])
        self._outage, self.failure = None, ""
        return None

    async def _load(self, asked: str | None, begun: float) -> None:
        """Walk the list and swap it in. *asked* is the commitId that there was before."""
        old, new, operation = self._kept, _Catalog[T](), self._endpoint.operation
        try:
            walked = await self._walk(old, new) or asked
        except Exception:
            await _let_go([*new.rows.values()], vars(new))
            raise
        changed = self._current_at == _NEVER or old.rows.keys() != new.rows.keys()
        gone = [row for digest, row in old.rows.items() if digest not in new.rows]
        twice = (asked, walked) == self._pair  # two spellings of one commit
        self._known = frozenset((walked, asked) if twice else (walked,))
        self._kept, self._pair, self._current_at = new, (asked, walked), begun
        if (new.skipped, new.doubles) not in {(0, 0), (old.skipped, old.doubles)}:
            said = "%s: %d items cannot be decoded and are left out (%s), %d share an id or a path with another"
            _log.warning(said, operation, new.skipped, new.bad or "none", new.doubles)
        self._first.set()
        try:
            if changed and self._on_change is not None:
                self._on_change(self)
        except Exception:
            _log.exception("%s: on_change of the cache failed", operation)
        del old
        await _let_go(gone)

    async def _walk(self, old: _Catalog[T], new: _Catalog[T]) -> str | None:
        """Fill *new* and return its commitId. Only what is not in *old* is decoded."""
        walk = self._limio.listing(self._endpoint, self._args, **asdict(self._options)).raw()
        async with aclosing(walk.pages()) as pages:
            async for page in pages:
                for begin in range(0, len(page.items), _SLICE):
                    await self._add(page.items[begin : begin + _SLICE], old, new)
                    await asyncio.sleep(0)
        report, operation = walk.report, self._endpoint.operation
        if not report.complete:  # the caller chose verify="warn"
            kind = errors.SnapshotChanged if len(report.commit_ids) > 1 else errors.IncompleteListing
            raise kind("the walk was not complete", operation=operation)
        if new.skipped > len(new.items):
            raise errors.Unreadable(f"most items cannot be decoded: {new.bad}", operation=operation)
        return report.commit_ids[0] if report.commit_ids else None

    async def _add(self, some: list[bytes], old: _Catalog[T], new: _Catalog[T]) -> None:
        named = [(hashlib.blake2b(raw, digest_size=16).digest(), raw) for raw in some]
        fresh = {name: raw for name, raw in named if name not in old.rows and name not in new.rows}
        items, _ = await self._reader.decoded([*map(msgspec.Raw, fresh.values())], "yield")
        made = dict(zip(fresh, items, strict=True))
        for name, raw in named:
            if row := old.rows.get(name) or new.rows.get(name):
                new.add(name, row)
            elif isinstance(item := made[name], BadItem):
                new.skipped, new.bad = new.skipped + 1, new.bad or item.reason
            else:
                new.add(name, _row(raw, item))


def _row(raw: bytes, item: T) -> _Row[T]:
    told = msgspec.json.decode(mended(raw))
    name, path = (envelope.told(told, key) for key in ("id", "path"))
    keys = str(name) if isinstance(name, str | int) else None, path if isinstance(path, str) else None
    return _Row(item, keys, tuple(map(sys.intern, envelope.tags_of(told))))


async def _let_go(rows: list[Any], others: dict[str, Any] | None = None) -> None:
    """Free a few items at a time: freeing all takes half as long as decoding them. *others* hold them too."""
    if others:
        others.clear()
    while rows:
        del rows[-_SLICE:]
        await asyncio.sleep(0)
