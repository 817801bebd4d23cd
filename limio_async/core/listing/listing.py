"""A list operation as its caller sees it: items, pages, exact bytes, a report, a checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint, digest
from limio_async.core.listing.fetch import Sender
from limio_async.core.listing.following import followed
from limio_async.core.listing.options import Options, checked
from limio_async.core.listing.page import Page, Report
from limio_async.core.listing.peek import peeked
from limio_async.core.listing.reader import PageReader
from limio_async.core.listing.walk import TWO_WALKERS, Walk
from limio_async.core.wire import ListEndpoint
from limio_async.errors import IncompleteListing, InvalidArgument, ListingError

__all__ = ["Listing", "parts_of"]

T = TypeVar("T")
S = TypeVar("S")

_AT_ONCE = 256  # pages of the usual sizes are decoded in one go too, which takes longer


class Listing(Generic[T]):
    """A list operation, ready to be walked; nothing is sent before it is iterated or awaited.

    `async for item in listing` gives items; `await listing` gives the first page without using it up.
    Iterating again resumes where the last iteration stopped, also after an error; a walk that reached its
    end stays there. At most two pages are in memory: the one being worked on and the next. One task at a
    time may walk it.

    Raises, besides what a call raises: `CursorExpired`, `CursorLoop`, `SnapshotChanged` and
    `IncompleteListing`, each with a `checkpoint`.
    """

    def __init__(
        self,
        sender: Sender,
        endpoint: ListEndpoint[Any],
        args: Mapping[str, Any],
        options: Options,
        *,
        reader: PageReader[T] | None = None,
    ) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._args = args
        self._options = checked(options, endpoint)
        self._reader = reader or PageReader(endpoint, endpoint.returns)
        self._parts = sender, endpoint, args, self._options, self._reader
        self._walk = self._start(endpoint, self._options)
        if options.follow is not None:
            self._walk = self._start(endpoint, options, followed(self.checkpoint(), options.reach))

    def raw(self) -> Listing[bytes]:
        """Return the same listing, each item its exact bytes: nothing decoded, nothing lost."""
        endpoint = self._endpoint
        reader = PageReader[bytes](endpoint, msgspec.Raw, lambda items: list(map(bytes, items)))
        return Listing[bytes](self._sender, endpoint, self._args, self._options, reader=reader)

    def into(self, kind: type[S]) -> Listing[S]:
        """Return the same listing, each item decoded to *kind*; fields that it lacks are skipped."""
        endpoint = self._endpoint
        reader = PageReader[S](endpoint, kind)
        return Listing[S](self._sender, endpoint, self._args, self._options, reader=reader)

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield the pages that are left; of one that was begun, the items that are left."""
        place = self._walk.place
        async with aclosing(self._walk.pages(self._options.read_ahead)) as pages:
            async for page in pages:
                begun, place.taken = place.taken, len(page.items)
                yield msgspec.structs.replace(page, items=page.items[begun:]) if begun else page

    async def follow(self, *, every: float) -> AsyncGenerator[T, None]:
        """Yield the items that are left, then those that are created, asking every *every* seconds; ends with its caller.

        Between two rounds, `checkpoint()` can be followed; within one it can be resumed. Changes of items that
        were there are not told.
        """
        operation, species = self._endpoint.operation, self._endpoint.paging.species
        if not species.durable:
            said = f"is {species.summary} and cannot be followed: only lists of objects can"
            raise InvalidArgument(said, operation=operation)
        if not every > 0:
            raise InvalidArgument("every is more than 0 seconds", operation=operation)
        while True:
            async with aclosing(self._remaining_items(self._options.read_ahead)) as items:
                async for item in items:
                    yield item
            await asyncio.sleep(every)
            at = followed(self.checkpoint(), self._options.reach)
            self._walk = self._start(self._endpoint, self._options, at)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._remaining_items(self._options.read_ahead)

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._walk.in_hand().__await__()

    async def first(self) -> T | None:
        """Return the next item, or None at the end; ask for no page beyond it."""
        return next(iter(await self.take(1)), None)

    async def take(self, n: int) -> list[T]:
        """Return the next *n* items, fewer at the end; ask for no page beyond them.

        The first of a catalog list come without `opt.all`, so the server opens no scroll for them. What comes
        after them is walked from the top and passes over them. Where it raises or is cancelled, nothing was taken.
        """
        if n < 1:
            return []
        if (peek := await peeked(self._walk, n, self._endpoint, self._options, self._start)) is not None:
            before, self._walk = self._walk, self._start(self._endpoint, self._options, peek[1])
            self._walk.takes_over(before)
            return peek[0]
        async with self._all_or_nothing(), aclosing(self._remaining_items(0)) as items:
            return await _next(items, n)

    async def collect(self, *, limit: int) -> list[T]:
        """Return all items that are left. Raises `IncompleteListing`, and takes none, if over *limit*."""
        async with self._all_or_nothing(), aclosing(self._remaining_items(0)) as rest:
            items = await _next(
                rest, limit
            )  # the end is asked for anyway, so a page before the walk saves nothing
            if await _next(rest, 1):
                raise IncompleteListing(
                    f"more than {limit} items; raise limit=, or iterate",
                    operation=self._endpoint.operation,
                    seen=limit,
                )
        return items

    @property
    def report(self) -> Report:
        """What the walk has done so far."""
        walk = self._walk
        place, found, tally = walk.place, walk.completeness, walk.tally
        told = found if found.hits is not None else tally  # by pages that take() or collect() gave back
        commit_ids = [*found.commit_ids]
        if found.refused is not None and found.refused not in commit_ids:
            commit_ids.append(found.refused)
        return Report(
            operation=self._endpoint.operation,
            pages=tally.pages,
            items=place.items,
            hits=told.hits,
            exact=told.exact and told.hits is not None,
            sent=place.sent - found.twice,
            duplicates=tally.duplicates,
            repeated=found.repeated,
            gone=found.gone_at(place, walk.seen),
            undecodable=tally.undecodable,
            requests=walk.fetcher.requests,
            retries=walk.fetcher.retries,
            restarts=tally.restarts,
            ended=place.at_end and not place.passing.left,
            commit_ids=tuple(commit_ids),
        )

    def checkpoint(self) -> Checkpoint:
        """Return where the walk stands: all items handed out until now lie before it, no other does."""
        return self._walk.checkpoint()

    async def _remaining_items(self, read_ahead: int) -> AsyncGenerator[T, None]:
        place = self._walk.place
        items: list[T] = []
        async with aclosing(self._walk.pages(read_ahead)) as pages:
            async for page in pages:
                await _let_go(items)
                if place.in_hand is None or place.in_hand.page is not page:
                    raise RuntimeError(TWO_WALKERS)
                items = page.items[place.taken :]
                for taken, item in enumerate(items, place.taken + 1):
                    place.taken = taken
                    yield item
                    if place.taken != taken:
                        raise RuntimeError(TWO_WALKERS)

    @asynccontextmanager
    async def _all_or_nothing(self) -> AsyncGenerator[None]:
        """Hand out what is taken in this block if it ends well; otherwise stand again where it began."""
        begun, at = self._walk.place.items, self.checkpoint()
        try:
            yield
        except BaseException as error:
            if self._walk.place.items != begun:
                before, self._walk = self._walk, self._start(self._endpoint, self._options, at)
                self._walk.takes_over(before)
            if isinstance(error, ListingError):
                error.checkpoint = at
            raise

    def _start(self, endpoint: ListEndpoint[Any], options: Options, at: Checkpoint | None = None) -> Walk[T]:
        """A walk from *at*, else from where the caller wants to resume."""
        if at is None:
            bound_to = digest(endpoint, self._args, self._sender.origin)
            at = Checkpoint.read(
                options.resume if options.follow is None else options.follow,
                operation=endpoint.operation,
                digest=bound_to,
                paging=endpoint.paging,
            )
        return Walk[T](self._sender, endpoint, self._args, options, resume=at, reader=self._reader)


def parts_of(
    listing: Listing[T],
) -> tuple[Sender, ListEndpoint[Any], Mapping[str, Any], Options, PageReader[T]]:
    """Return the sender, endpoint, arguments, options and reader of a listing: others can be made of these."""
    return listing._parts  # pyright: ignore[reportPrivateUsage]


async def _next(items: AsyncIterator[T], n: int) -> list[T]:
    """Return the next *n* items, fewer at the end; ask for none beyond them."""
    taken: list[T] = []
    while len(taken) < n:
        try:
            taken.append(await anext(items))
        except StopAsyncIteration:
            break
    return taken


async def _let_go(items: list[Any]) -> None:
    """Free the items of a large page a few at a time: freeing all takes half as long as decoding them."""
    while len(items) > _AT_ONCE:
        del items[-_AT_ONCE:]
        await asyncio.sleep(0)
