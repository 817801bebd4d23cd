"""Reading one stream of a tenant: its list, the children of objects, objects fetched whole. For `run/` and `dlt.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import msgspec

from limio_async.client import Limio
from limio_async.core.listing import Checkpoint
from limio_async.core.listing.repeats import id_in, is_named
from limio_async.core.wire import Attempt
from limio_async.errors import InvalidArgument, LimioError
from limio_async.sync_jobs.hydrate import Hydrated
from limio_async.sync_jobs.patience import is_outage
from limio_async.sync_jobs.refusals import Fetching, Partly, Ride
from limio_async.sync_jobs.rows import Item
from limio_async.sync_jobs.streams import Stream

__all__ = ["Children", "Listed", "Source"]

T = TypeVar("T")

_OF_OBJECTS = {"service", "path_type"}
"""Arguments of a list that its objects are fetched with too."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list."""

    items: Sequence[bytes]
    head: Mapping[str, Any]
    """Those fields beside the items that become columns."""
    commit_id: str | None
    promised: int | None
    """Items that the whole list has, where the server says so exactly."""
    checkpoint: Checkpoint | None
    """Where a walk can be resumed after this page; None where it cannot."""


async def _at_once(
    ask: Callable[[], Awaitable[T]], probe: Callable[[], Awaitable[object]] | None = None
) -> T:
    return await ask()


def _uncounted(requests: int, retries: int) -> None:
    """Take no note."""


class Children(msgspec.Struct, frozen=True):
    """What belongs to one object."""

    items: Sequence[bytes] = ()
    pages: int = 1


class Source:
    """Reads *stream*, *workers* requests at once where it fetches objects.

    Each of those goes through *ride*, which may ask again. *count* is told the requests and retries of each call.
    """

    def __init__(
        self,
        limio: Limio,
        stream: Stream,
        *,
        workers: int,
        ride: Ride = _at_once,
        count: Callable[[int, int], object] = _uncounted,
    ) -> None:
        self._limio = limio
        self._stream = stream
        self._workers = workers
        self._count = count
        self._whole: Fetching[Item, bytes] = Fetching(self._fetched, ride)
        self._children: Fetching[str, Children] = Fetching(self._listed, ride)

    async def pages(
        self,
        args: Mapping[str, Any],
        *,
        page_size: int | None,
        resume: Checkpoint | None = None,
        **options: Any,
    ) -> AsyncGenerator[Listed]:
        """Yield the pages of the list. Raises what a listing raises."""
        stream = self._stream
        size = stream.page_size(page_size)
        listing = self._limio.listing(stream.endpoint, args, page_size=size, resume=resume, **options).raw()
        requests = retries = 0
        async with aclosing(listing.pages()) as pages:
            while True:
                try:
                    page = await anext(pages, None)
                finally:
                    report = listing.report
                    self._count(report.requests - requests, report.retries - retries)
                    requests, retries = report.requests, report.retries
                if page is None:
                    return
                head = page.read(dict[str, Any]) if stream.heads else {}
                durable = stream.endpoint.paging.species.durable
                yield Listed(
                    items=page.items,
                    head={name: head.get(name) for name in stream.heads},
                    commit_id=page.commit_id,
                    promised=report.hits if report.exact else None,
                    checkpoint=listing.checkpoint() if durable else None,
                )

    @asynccontextmanager
    async def children(
        self, parents: Iterable[str], *, again: bool = False
    ) -> AsyncGenerator[AsyncIterator[Hydrated[str, Children]]]:
        """List the children of each parent, perhaps *again*; gives them in that order.

        A result's `error` concerns this parent alone; children on earlier pages are beside it. Raises one that concerns more: see `refusals`.
        """
        async with self._children.results(parents, self._workers, again=again) as results:
            yield results

    @asynccontextmanager
    async def whole(
        self, items: Iterable[Item], *, again: bool = False
    ) -> AsyncGenerator[AsyncIterator[Hydrated[Item, bytes]]]:
        """Fetch the objects that *items* are summaries of, perhaps *again*; gives them in that order.

        Raises as `children` does.
        """
        async with self._whole.results(items, self._workers, again=again) as results:
            yield results

    async def _listed(self, parent: str) -> Children | Partly[Children]:
        listing = self._limio.listing(self._stream.endpoint, {**self._stream.args, "id": id_in(parent)}).raw()
        items: list[bytes] = []
        failed: LimioError | None = None
        try:
            async for page in listing.pages():
                items += page.items
        except LimioError as error:
            if not items or is_outage(error):
                raise
            failed = error  # what came before is kept
        finally:
            self._count(listing.report.requests, listing.report.retries)
        came = Children(items, listing.report.pages)
        return came if failed is None else Partly(came, failed)

    async def _fetched(self, item: Item) -> bytes:
        assert self._stream.hydrates is not None  # noqa: S101  # asked only of such a stream
        if not is_named(item.id):
            said = "the item has no id that an object can be asked for by"
            raise InvalidArgument(said, operation=self._stream.hydrates.operation)
        endpoint = msgspec.structs.replace(self._stream.hydrates, returns=msgspec.Raw)
        args = {name: value for name, value in self._stream.args.items() if name in _OF_OBJECTS}
        trace: list[Attempt] = []
        try:
            return bytes(await self._limio.request(endpoint, {**args, "id": id_in(item.id)}, trace=trace))
        finally:
            self._count(len(trace), max(0, len(trace) - 1))
