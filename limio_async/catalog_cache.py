"""Whole catalog types in memory, for services that look up offers while they answer a request."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Generic, Self, TypeVar, cast, overload

import msgspec
from msgspec.structs import asdict, replace

from limio_async import errors
from limio_async._catalog import Catalog, named
from limio_async.client import Limio
from limio_async.core.listing import Listing
from limio_async.core.listing.listing import parts_of
from limio_async.core.listing.reader import PageReader
from limio_async.core.retry import wait_before_next
from limio_async.core.session import Session

__all__ = ["CatalogCache"]

T = TypeVar("T")
_log = logging.getLogger("limio_async")
_NEVER = -float("inf")
_SLICE = 16  # items that are decoded at once
_QUIET = 600.0  # seconds from one outage that is logged to the next


class CatalogCache(Generic[T]):
    """All items of a catalog list in memory: `CatalogCache(limio, limio.offers.list)`.

    *call* may be `partial(limio.offers.list, tags="/tags/uk")`; its requests leave room for interactive ones. *into*
    decodes items to a slim type. Every *every* seconds one request, which opens no scroll, asks for the list's
    commitId. Where that changed, or there is none, the list is walked and, once complete, swapped in.
    After a failure it asks again sooner; readers get what is there for *stale* seconds after it was last known
    to be current. Items that cannot be decoded are left out, counted and logged; the walk fails where they are most.
    *on_change* is a plain function of the cache, called after a swap that changed items or their order; what it raises is logged.

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
        seconds = cast("tuple[object, ...]", (every, stale))
        if not all(isinstance(one, int | float) and one > 0 for one in seconds) or inspect.iscoroutinefunction(on_change):
            raise errors.ConfigurationError("every= and stale= are seconds above 0, on_change= is a plain function")
        made: Any = call()
        if inspect.iscoroutine(made):
            made.close()
        if not isinstance(made, Listing):
            raise errors.ConfigurationError("the cache takes a list that has pages, such as limio.offers.list")
        sender, self._endpoint, self._args, options, reader = parts_of(cast("Listing[T]", made))
        session, own = (cast("Session", one) for one in (sender, parts_of(limio.listing(self._endpoint, self._args))[0]))
        if session.ladder.lifetime is not own.ladder.lifetime:
            raise errors.ConfigurationError("the list is another client's: CatalogCache(limio, limio.offers.list)")
        self._session, self._every, self._stale = session.with_options(lane="background"), every, stale
        whole = {"verify": "raise", "on_snapshot_change": "raise", "resume": None, "follow": None}  # or not at all
        self._options = replace(options, **whole)
        self._peek = replace(self._endpoint, paging=replace(self._endpoint.paging, always={}))  # without opt.all
        self._reader = reader if into is None else PageReader[T](self._endpoint, into)
        self._on_change, self._clock, self._kept = on_change, time.monotonic, Catalog[T]()
        self._current_at = self._logged_at = _NEVER
        self._outage: tuple[float, bool] | None = None  # since when, and whether it was logged
        self._refresher: asyncio.Task[None] | None = None
        self.failure = ""
        """The class of what the last refresh failed with; empty where it did not."""
        self.commit_id: str | None = None
        """The commitId of what is there."""

    def get(self, id: str) -> T | None:
        """Return the item with this id, of several the first in the list; None if there is none."""
        return self._usable().by_id.get(id)

    def by_path(self, path: str) -> T | None:
        """Return the item at this path, of several the first in the list; None if there is none."""
        return self._usable().by_path.get(path)

    def tagged(self, tag: str) -> list[T]:
        """Return all items that carry this tag, in the list's order."""
        return [*self._usable().by_tag.get(tag, ())]

    def __iter__(self) -> Iterator[T]:
        return iter(self._usable().items)

    def __len__(self) -> int:
        return len(self._usable().items)

    def _usable(self) -> Catalog[T]:
        if self._clock() - self._current_at <= self._stale:
            return self._kept
        said = f"the catalog is {self.age:.0f} s old, over stale={self._stale:.0f}" if self.age else "nothing is loaded yet"
        said += f"; the last refresh failed: {self.failure}" * bool(self.failure)
        raise errors.CatalogUnavailable(said, operation=self._endpoint.operation)

    @property
    def age(self) -> float | None:
        """Seconds since what is there was last known to be current; None before the first load."""
        return None if self._current_at == _NEVER else self._clock() - self._current_at

    @property
    def usable(self) -> bool:
        """Whether readers get an answer now."""
        return self._clock() - self._current_at <= self._stale

    async def loaded(self, *, timeout: float | None = None) -> None:
        """Wait for the first load. Raises `CatalogUnavailable` after *timeout* seconds, `ClientClosed` outside the block."""
        self._check()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                _ = self.usable or await self._first.wait()
        self._check()
        self._usable()

    async def refresh(self) -> None:
        """Ask for the commitId now, and load what has changed. Joins a refresh that is under way.

        Raises what that failed with, `ClientClosed` outside the block. Cancelling a caller cancels nothing for others.
        """
        self._check()
        self._wake.set()
        (done,), _ = await asyncio.wait({self._round})
        if error := done.result():
            raise error.with_traceback(None)  # of many that raise it, each would add to it

    async def __aenter__(self) -> Self:
        if self._refresher is not None:
            raise errors.ConfigurationError("this cache is open already")
        loop = asyncio.get_running_loop()
        self._round: asyncio.Future[Exception | None] = loop.create_future()
        self._clock, self._wake, self._first = loop.time, asyncio.Event(), asyncio.Event()
        self._refresher = loop.create_task(self._refresh_for_ever(loop))
        self._refresher.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.wait({self._refresher})

    def _ended(self, _: object) -> None:
        self._refresher = None
        if not self._round.done():
            self._round.set_result(errors.ClientClosed("this cache was closed"))
        self._first.set()

    def _check(self) -> None:
        if self._refresher is None or self._refresher.get_loop() is not asyncio.get_running_loop():
            raise errors.ClientClosed("this cache is not open in this event loop: use it within async with")

    async def _refresh_for_ever(self, loop: asyncio.AbstractEventLoop) -> None:
        failures = 0
        while True:
            error, begun, walking = None, self._clock(), False
            try:
                asked = await self._asks()
                if walking := asked is None or asked != self.commit_id:
                    await self._load(asked, begun)
                self._current_at = begun
                self._first.set()
            except Exception as caught:
                error = caught
            failures = failures + 1 if error else 0
            self._note(error, begun)
            self._wake.clear()  # whoever came meanwhile has joined
            self._round.set_result(error and error.with_traceback(None))  # whose frames hold pages, also in cycles
            if isinstance(error, errors.ClientClosed):
                return
            del error
            self._round = loop.create_future()
            with suppress(TimeoutError):
                again = 0 if walking and self.age is not None else failures  # walks cost more than questions
                async with asyncio.timeout(wait_before_next(again, self._every)):
                    await self._wake.wait()

    def _note(self, error: Exception | None, begun: float) -> None:
        """Log where an outage begins and ends, unless another was logged shortly before."""
        self.failure, operation = type(error).__name__ if error else "", self._endpoint.operation
        if error and self._outage is None:
            self._outage = begun, begun - self._logged_at >= _QUIET
            if self._outage[1]:
                self._logged_at = begun
                said, bug = "%s: the cache cannot refresh (%s)", not isinstance(error, errors.LimioError)
                _log.warning(said, operation, self.failure, exc_info=error if bug else None)
        elif not error and self._outage:
            if self._outage[1]:
                _log.warning("%s: the cache is current again, after %.0f s", operation, begun - self._outage[0])
            self._outage = None

    async def _asks(self) -> str | None:
        """Return the list's commitId; None where it names none."""
        peek = self._session.list(self._peek, self._args, page_size=1, verify="off", timeout=self._options.timeout)
        return (await peek.raw()).commit_id

    async def _load(self, asked: str | None, begun: float) -> None:
        """Walk the list and swap it in."""
        new = Catalog(self._kept)
        try:
            walked = await self._walk(new, asked)
        except Exception:
            await _let_go(new.drop())
            raise
        before, (changed, held) = self._kept, new.settle()
        self._kept, self.commit_id, self._current_at = new, walked, begun  # not *asked*: only the walk is there
        if (new.skipped, new.doubles) not in {(0, 0), (before.skipped, before.doubles)}:
            said = "%s: %d items cannot be decoded and are left out (%s), %d have the id or path of another"
            _log.warning(said, self._endpoint.operation, new.skipped, new.bad or "none", new.doubles)
        if before.items and not new.items:
            _log.warning("%s: the list is empty now, it had %d items", self._endpoint.operation, len(before.items))
        del before
        try:
            if changed and self._on_change is not None:
                self._on_change(self)
        except (Exception, asyncio.CancelledError):  # such as of a future that it looked at
            _log.exception("%s: on_change of the cache failed", self._endpoint.operation)
        await _let_go(held)

    async def _walk(self, new: Catalog[T], asked: str | None) -> str | None:
        """Add all that the list has, and return its commitId."""
        walk = self._session.list(self._endpoint, self._args, **asdict(self._options)).raw()
        async with aclosing(walk.pages()) as pages:
            async for page in pages:
                for begin in range(0, len(page.items), _SLICE):
                    some = named(page.items[begin : begin + _SLICE])
                    unknown = new.unknown(fresh := dict(some))
                    items, _ = await self._reader.decoded([msgspec.Raw(fresh[one]) for one in unknown], "yield")
                    made = dict(zip(unknown, items, strict=True))
                    for digest, raw in some:
                        new.add(digest, raw, made.get(digest))
                    await asyncio.sleep(0)
        operation, walked = self._endpoint.operation, next(iter(walk.report.commit_ids), None)
        if new.skipped > len(new.items):
            raise errors.Unreadable(f"most items cannot be decoded: {new.bad}", operation=operation)
        if not new.items and walk.report.hits is None and walked is None and (asked or self._kept.items):
            raise errors.IncompleteListing("the list came empty, without hits and commitId", operation=operation, seen=0)
        return walked


async def _let_go(held: dict[bytes, Any]) -> None:
    """Free items a few at a time: freeing all takes half as long as decoding them."""
    while held:
        for _ in range(min(_SLICE, len(held))):
            held.popitem()
        await asyncio.sleep(0)
