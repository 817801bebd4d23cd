"""A tenant's lists as a source of dlt, for every destination that dlt has; needs dlt.

pipeline = dlt.pipeline("limio", destination="duckdb", dataset_name="limio")
pipeline.run(limio(["offers", "subscriptions"]))
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import msgspec

try:
    import dlt
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"limio_async.sync_jobs.dlt needs {error.name}: pip install 'limio_async[dlt]'", name=error.name
    ) from None
from dlt.extract import DltResource, DltSource

from limio_async.client import Limio
from limio_async.envelope import moment
from limio_async.errors import JobError, LimioError
from limio_async.sync_jobs.asking import Asking, asking, timeless
from limio_async.sync_jobs.context import Choices
from limio_async.sync_jobs.dlt_rows import MERGES_ANY, destination, dicts, given, hints, told
from limio_async.sync_jobs.events import Mode
from limio_async.sync_jobs.ledger import QUARANTINE, other_tenant
from limio_async.sync_jobs.portal import Tenant, stepped
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import Item, Reader, child_key, summary_of, table_of
from limio_async.sync_jobs.sink import DELETED, Row
from limio_async.sync_jobs.sinks.values import refusal_for
from limio_async.sync_jobs.source import Source
from limio_async.sync_jobs.streams import Stream, stream, streams_for
from limio_async.sync_jobs.times import arguments, asked_since, is_old, newest, now, watermark

__all__ = ["limio"]

_log = logging.getLogger("limio_async")
_QUARANTINE = msgspec.structs.replace(
    QUARANTINE, columns=tuple(one for one in QUARANTINE.columns if one.name not in {"run", DELETED})
)


def limio(
    streams: Sequence[str] = (),
    *,
    client: Callable[[], Limio] = Limio.from_env,
    mode: Mode = "incremental",
    hydrate: bool = False,
    since: datetime | None = None,
    overlap: timedelta = timedelta(hours=1),
    concurrency: int = 8,
    page_size: int | None = None,
) -> DltSource:
    """One resource for each of *streams* (`limio sync --help` tells their names), merged by id; none means all.

    *client* makes the client, in the event loop of the walks, which is not dlt's; walks that run side by side share
    one. The other arguments mean what they mean to `sync_jobs.Job`: `full` asks for everything each time, `incremental` for
    what has changed since the last load, `append` adds every version of an item, once, to a table `…_history`. Where the
    tenant's filter hides items, both ask for everything, and the log says so.

    A walk that does not come to an honest end fails the pipeline, and nothing of its run is loaded. What
    cannot be decoded, stored or fetched (400, 403, 404, 410) is in the table `_limio_quarantine`. Nothing
    is marked as deleted.
    """
    if since is not None and mode == "full":
        raise JobError("a full run has no beginning in time; since= goes with incremental and append")
    choices = Choices(
        mode=mode,
        hydrate=hydrate,
        since=since,
        overlap=overlap,
        concurrency=concurrency,
        page_size=page_size,
    )
    wanted, left_out = streams_for(streams, () if streams else client().schemes)
    for name, reason in left_out.items():
        _log.warning("%s is left out: %s", name, reason)
    tenant = Tenant(client)

    @dlt.source(name="limio", max_table_nesting=0)
    def source() -> Iterable[DltResource]:
        return [_resource(one, tenant, choices) for one in wanted]

    return source()


def _resource(of: Stream, tenant: Tenant, choices: Choices) -> DltResource:
    table = table_of(of, choices.mode)

    def rows() -> Iterator[Any]:
        state = dlt.current.resource_state(table.name)
        with tenant.portal as portal, portal.wrap_async_context_manager(tenant.client()) as limio:
            yield from given(table, stepped(portal, _Walk(limio, of, choices, state).rows()))

    resource: DltResource = dlt.resource(  # pyright: ignore[reportUnknownMemberType]  # its types name pydantic's, which is not here
        rows,
        name=table.name,
        primary_key=table.key,
        write_disposition="merge",
        columns=hints(told(table)),
    )
    return resource.apply_hints(additional_table_hints=MERGES_ANY)


_VERSION = 1
"""Of what dlt keeps of a stream; 0.1 wrote the same without a version."""


class _Walk:
    """One walk of a stream. *state* is what dlt keeps of it, together with what it loads."""

    def __init__(self, limio: Limio, of: Stream, choices: Choices, state: dict[str, Any]) -> None:
        if (version := state.setdefault("version", _VERSION)) != _VERSION:
            raise JobError(
                f"what dlt keeps of {of.name} was made by a newer release of limio_async (version {version}, this one"
                f" knows {_VERSION}): update limio_async; nothing was loaded"
            )
        if state.setdefault("origin", limio.origin) != limio.origin:
            raise JobError(other_tenant(state["origin"], limio.origin))
        self._limio = limio
        self._stream = of
        self._choices = choices
        self._state = state
        self._before = moment(state.get("watermark"))
        self._since = asked_since(choices.mode, self._before, since=choices.since, overlap=choices.overlap)
        self._reader = Reader(of, choices.mode)
        self._destination = destination()
        self._source = Source(limio, of, workers=choices.concurrency)
        self._refused: list[tuple[Item, str]] = []  # whose children cannot be had, since the last page

    async def rows(self) -> AsyncGenerator[Any]:
        """Rows, page by page; the watermark moves after the last."""
        began, latest, seen = now(), None, 0
        asked = await self._asked()
        async with aclosing(
            self._children() if self._stream.parent else self._pages(self._source, asked.args)
        ) as pages:
            async for items in pages:
                refused, self._refused = self._refused, []
                seen += len(items)
                fresh: list[Item] = []
                for item in items:
                    summary = summary_of(item.raw)
                    time = summary.created if self._stream.by_creation else summary.changed
                    latest = newest(latest, time, until=began)
                    if self._stream.parent or not is_old(
                        summary, asked.passes
                    ):  # may have been refused until now
                        fresh.append(item)
                whole, lost = await self._whole(fresh)
                rows, bad = self._read(whole)
                yield rows
                if refused or lost or bad:
                    yield _quarantined(self._stream, [*refused, *lost, *bad])
        untold = timeless(self._stream, self._choices.mode, self._since, items=seen, latest=latest)
        self._tell(untold)
        if (reached := watermark(began, latest, before=self._before, since=self._since)) is not None:
            self._state["watermark"] = reached.isoformat()

    async def _asked(self) -> Asking:
        found = await asking(
            self._limio, self._stream, self._since, chosen=self._choices.since, note=lambda _: None
        )
        self._tell(found.unfiltered)
        return found

    def _tell(self, unfiltered: str | None) -> None:
        if unfiltered:
            _log.warning("%s: listed in full: %s", self._stream.name, unfiltered)

    async def _pages(self, source: Source, args: Mapping[str, Any]) -> AsyncGenerator[list[Item]]:
        size = self._choices.page_size
        pages = source.pages(args, page_size=size, unique=True, on_ambiguous="restart", restarts=3)
        async with aclosing(pages):
            async for page in pages:
                yield [Item(raw, summary_of(raw).id, page.head) for raw in page.items]

    async def _children(self) -> AsyncGenerator[list[Item]]:
        """What belongs to each object of the parent stream, whenever that has changed."""
        parent = stream(self._stream.parent or "")
        parents = self._pages(Source(self._limio, parent, workers=1), arguments(parent, None))
        async with aclosing(parents):
            async for page in parents:
                yield await self._children_of([item.id for item in page])

    async def _children_of(self, parents: Sequence[str]) -> list[Item]:
        children: list[Item] = []
        async with self._source.children(parents) as results:
            async for result in results:
                of, found = result.summary, result.full
                if found is not None:
                    children += [Item(raw, child_key(summary_of(raw).id, of), {}, of) for raw in found.items]
                if result.error is not None:
                    self._refused.append((Item(b"", child_key("", of)), _verdict(result.error)))
        return children

    async def _whole(self, items: list[Item]) -> tuple[list[Item], list[tuple[Item, str]]]:
        """The objects that these are summaries of, and those that cannot be had; the items, where they are whole."""
        if not self._choices.hydrate or self._stream.hydrates is None:
            return items, []
        whole: list[Item] = []
        lost: list[tuple[Item, str]] = []
        async with self._source.whole(items) as results:
            async for result in results:
                if result.full is not None:
                    whole.append(result.summary.holding(result.full))
                elif result.error is not None:
                    lost.append((result.summary, _verdict(result.error)))
        return whole, lost

    def _read(self, items: Iterable[Item]) -> tuple[list[Row], list[tuple[Item, str]]]:
        rows: list[Row] = []
        bad: list[tuple[Item, str]] = []
        for item in items:
            row = self._reader.row(item)
            reason = row if isinstance(row, str) else refusal_for(self._destination, self._reader.table, row)
            if isinstance(row, str) or reason:
                bad.append((item, reason or ""))
            else:
                rows.append(row)
        return rows, bad


def _verdict(error: LimioError) -> str:
    """Return why one object cannot be had. Raises an error that may be over by the next run."""
    if concerns(error) == "later":
        raise error
    return str(error)


def _quarantined(of: Stream, lost: Iterable[tuple[Item, str]]) -> Any:
    """Rows for a table beside those of the streams."""
    table = _QUARANTINE
    rows = [
        (f"{of.name}/{item.id}", of.name, item.id, reason, now(), bytes(item.raw)) for item, reason in lost
    ]
    told_of = dlt.mark.make_hints(  # pyright: ignore[reportUnknownMemberType]
        table_name=table.name,
        primary_key=table.key,
        write_disposition="merge",
        columns=hints(table.columns),
    )
    return dlt.mark.with_hints(dicts(table, rows), told_of, create_table_variant=True)
