"""Whose verdict an error is: of one object, or of the whole stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, Literal, Protocol, TypeVar, cast

import msgspec

from limio_async.errors import (
    ApiError,
    InvalidArgument,
    LimioError,
    ListingError,
    Unauthorized,
    Unreadable,
)
from limio_async.sync_jobs.hydrate import Hydrated, hydrated
from limio_async.sync_jobs.patience import is_outage

__all__ = ["Fetching", "Partly", "Ride", "concerns"]

S = TypeVar("S")
T = TypeVar("T")

MOST_IN_A_ROW = 20


def concerns(error: LimioError) -> Literal["object", "later", "doubt", "all"]:
    """Return what an error that came for one object says.

    `object`: it cannot be had. `later`: not just now. `doubt`: the credentials may be refused for it, or for
    everything. `all`: no other object can be had either.
    """
    match error:
        case Unauthorized():
            return "doubt"
        case ListingError():
            return "later"
        case ApiError(status=status) if not is_outage(error):
            return "later" if status >= 500 else "object"
        case Unreadable() | InvalidArgument():
            return "object"
        case _:
            return "later" if is_outage(error) else "all"


class Ride(Protocol):
    """Makes a request, perhaps again and again; *probe* makes one that has succeeded before."""

    async def __call__(
        self, ask: Callable[[], Awaitable[T]], probe: Callable[[], Awaitable[object]] | None = None
    ) -> T:
        """Return what *ask* does."""
        ...


class Partly(msgspec.Struct, Generic[T], frozen=True):
    """What came before an error ended it."""

    full: T
    error: LimioError


class Fetching(Generic[S, T]):
    """Fetches many things at once, and tells errors of single objects from those that concern the stream."""

    def __init__(self, fetch: Callable[[S], Awaitable[T | Partly[T]]], ride: Ride) -> None:
        self._fetch = fetch
        self._ride = ride
        self._in_a_row = 0
        self._good: S | None = None

    @asynccontextmanager
    async def results(
        self, wanted: Iterable[S], workers: int, *, again: bool = False
    ) -> AsyncGenerator[AsyncIterator[Hydrated[S, T]]]:
        """Fetch *wanted*, *workers* at once; gives the results in that order.

        A result's `error` concerns its object alone; beside it is what came before it. Raises one that concerns more, and
        after 20 in a row. What is asked for
        *again* says nothing new by being refused again: it counts neither in a row nor as a doubt that nothing settles.
        """
        fetching = hydrated(wanted, self._one, workers=workers, key=_key)
        async with fetching as came, aclosing(self._sorted(came, again)) as results:
            yield results

    async def _one(self, wanted: S) -> T | Partly[T]:
        found = await self._ride(lambda: self._fetch(wanted), self._probe)
        if not _is_partly(found):
            self._good = wanted
        return found

    async def _probe(self) -> None:
        """Fetch again what was fetched before. Raises what that does, and where nothing was."""
        if self._good is None:
            raise LimioError("nothing was fetched before")
        found = await self._fetch(self._good)
        if isinstance(found, Partly):
            raise found.error

    async def _sorted(
        self, results: AsyncIterator[Hydrated[S, T | Partly[T]]], again: bool
    ) -> AsyncGenerator[Hydrated[S, T]]:
        """Yield results in their order. Raises the error that concerns more than its object."""
        undecided: list[Hydrated[S, T]] = []
        stop: LimioError | None = None
        async for came in results:
            result = _told(came)
            if result.error is None:
                self._in_a_row = 0
            else:
                if concerns(result.error) == "all":
                    raise result.error
                self._in_a_row += not (
                    again or isinstance(result.error, InvalidArgument)
                )  # which asked nobody
                if self._in_a_row >= MOST_IN_A_ROW:
                    said = f"{self._in_a_row} objects in a row could not be had, the last with {result.error}"
                    stop = LimioError(said)
                    stop.__cause__ = result.error
            undecided.append(result)
            while undecided and (self._good is not None or not isinstance(undecided[0].error, Unauthorized)):
                await self._check(undecided[0])
                yield undecided.pop(0)
            if stop is not None:
                raise stop
        for one in undecided:  # nothing shows that the credentials work
            if isinstance(one.error, Unauthorized) and not again:
                raise one.error
            yield one

    async def _check(self, result: Hydrated[S, T]) -> None:
        if isinstance(result.error, Unauthorized):
            try:
                await self._ride(self._probe)
            except LimioError:
                raise result.error from None


def _is_partly(found: object) -> bool:
    return isinstance(found, Partly)


def _told(came: Hydrated[S, T | Partly[T]]) -> Hydrated[S, T]:
    if _is_partly(came.full):
        partly = cast("Partly[T]", came.full)
        return Hydrated(came.summary, partly.full, partly.error)
    return Hydrated(came.summary, cast("T | None", came.full), came.error)


def _key(wanted: object) -> Hashable:
    return getattr(wanted, "id", wanted)
