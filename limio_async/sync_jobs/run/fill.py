"""List → target or spool: walks the list of a stream, or the children of objects, and hands on what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from copy import copy
from math import inf
from time import perf_counter
from typing import Any

import anyio

from limio_async.core.listing import Report
from limio_async.core.listing.repeats import is_named
from limio_async.errors import CursorExpired, IncompleteListing, LimioError, ListingError, SnapshotChanged
from limio_async.sync_jobs.asking import Asking, asking
from limio_async.sync_jobs.hydrate import Hydrated
from limio_async.sync_jobs.patience import is_outage, is_stumble
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import child_key, parent_of
from limio_async.sync_jobs.run.progress import Progress
from limio_async.sync_jobs.run.quarantine import in_walk, refused_before
from limio_async.sync_jobs.source import Children, Listed
from limio_async.sync_jobs.times import arguments
from limio_async.sync_jobs.walk import Page

__all__ = ["Fill"]

RESTARTS = 3
MOST_ASKED_AGAIN = 1_000
SPOOLED_AT_MOST = 64 * 1024 * 1024
_KEEPS_UP = 1.0  # seconds for which a scroll waits for the target at most, once, before its pages are spooled
_PARENTS_AT_ONCE = 256


class Fill:
    """Walks until the end of the list, or until the job shall stop."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._asking = Asking(args=arguments(progress.stream, progress.since))
        self._restarts = 0  # that no outage explains
        self._later: set[str] = set()  # parents whose children could not be had just then
        self._refused: set[str] = set()  # keys of parents whose children could not be had before
        self._decided: dict[str, Any] = {}  # of the walk, after the last parent whose children came

    async def run(self) -> None:
        """Do it, and let the other part know that it is over, however it ends."""
        progress = self._progress
        try:
            if not progress.walk.ended:
                await progress.until_stopped(
                    self._list_children() if progress.stream.parent else self._list()
                )
        finally:
            progress.over = True
            progress.more.set()

    # --- a list

    async def _list(self) -> None:
        while True:
            try:
                await self._ask()
                await self._walk_pages()
            except LimioError as error:
                await self._go_on_after(error)
                if not self._progress.walk.ended:
                    continue
            return

    async def _ask(self) -> None:
        """Find out whether the list may be filtered."""
        progress, begun = self._progress, perf_counter()

        def note(report: Report) -> None:
            progress.count(report.requests, report.retries)

        try:
            self._asking = await asking(
                progress.context.limio,
                progress.stream,
                progress.since,
                chosen=progress.choices.since,
                note=note,
            )
        finally:
            progress.walk.network_seconds += perf_counter() - begun
        progress.report.unfiltered = self._asking.unfiltered

    async def _walk_pages(self) -> None:
        progress = self._progress
        walk, stopping = progress.walk, progress.context.stopping
        pages = progress.source.pages(
            self._asking.args, page_size=progress.choices.page_size, resume=walk.checkpoint
        )
        async with aclosing(pages):
            while not stopping.is_set():
                begun = perf_counter()
                try:
                    page = await anext(pages, None)
                finally:
                    walk.network_seconds += perf_counter() - begun
                    progress.note()
                if page is None:
                    await self._save_end()
                    return
                progress.outage.well()
                walk.expected = page.promised
                walk.commit_id = page.commit_id or walk.commit_id
                walk.checkpoint = page.checkpoint
                await self._add(page)
                await self._has_room()

    async def _go_on_after(self, error: LimioError) -> None:
        """Pause and stand where the walk can go on. Raises *error* where it cannot."""
        progress, walk = self._progress, self._progress.walk
        if (is_outage(error) or is_stumble(error)) and await progress.outage.wait(error):
            if progress.species.held_by_server or isinstance(error, ListingError):
                await self._restart(error)
            return
        if not isinstance(error, CursorExpired | SnapshotChanged | IncompleteListing):
            raise error
        ended = isinstance(error, IncompleteListing) and error.seen is not None
        await self._spool()  # what came is counted
        if ended and progress.species.promises and walk.expected == progress.report.seen:
            await self._save_end()  # as many different items as promised: one of them came twice
        elif self._restarts < RESTARTS:
            self._restarts += 1
            tenant = progress.context.tenant
            await tenant.pause(min(0.5 * 2.0 ** (self._restarts - 1), tenant.left))
            await self._restart(error)
        elif ended:
            walk.miscounted = error.said  # it came to its end, and says that it is not all
            await self._save_end()
        else:
            raise error

    async def _restart(self, error: LimioError) -> None:
        progress = self._progress
        await self._spool()  # it belongs to the walk that ends here
        progress.walk.restarts += 1
        progress.walk.checkpoint, progress.walk.commit_id = None, None
        await progress.in_spool(lambda: progress.context.spool.restart(progress.stream.name, progress.walk))
        progress.report.seen = 0
        progress.note()
        progress.context.tell("restarted", progress.report, str(error))

    async def _add(self, page: Listed) -> None:
        walk = self._progress.walk
        walk.count_page(page.items)
        since = self._asking.passes
        await self._hand_on(Page(items=page.items, walk=copy(walk), head=page.head, since=since))

    async def _hand_on(self, page: Page) -> None:
        """Give a page to the target if that keeps up, else to the spool."""
        progress = self._progress
        if progress.compares and not progress.waiting and await self._keeps_up(page):
            progress.pages.append(page)
            progress.held += page.size
        else:
            await self._spool(page)
        progress.more.set()
        progress.context.tell("listed", progress.report)

    async def _keeps_up(self, page: Page) -> bool:
        """Wait until there is room for a page, of a scroll not longer than a moment: it would expire."""
        progress = self._progress
        with anyio.move_on_after(_KEEPS_UP if progress.species.held_by_server else inf):
            while progress.held and progress.held + page.size > progress.batch_bytes:
                progress.less.clear()
                await progress.less.wait()
            return True
        return False

    async def _spool(self, *more: Page) -> None:
        """Spool the pages that wait for the target, and *more*. Those that it is being given are noted before."""
        progress = self._progress
        pages = [*progress.pages, *more]
        progress.held -= sum(page.size for page in progress.pages)
        progress.pages.clear()
        if not pages:
            await progress.in_spool(lambda: None)
            return
        await progress.noted(pages, keeps=True)
        progress.note()

    async def _save_end(self) -> None:
        progress = self._progress
        progress.walk.ended = True
        await self._hand_on(Page(items=(), walk=copy(progress.walk)))
        progress.note()

    async def _has_room(self) -> None:
        """Wait until the target catches up, where that costs the list nothing: a scroll would expire."""
        progress = self._progress
        if not progress.species.held_by_server:
            while progress.waiting > SPOOLED_AT_MOST and not progress.context.stopping.is_set():
                progress.less.clear()
                await progress.less.wait()

    # --- children of objects

    async def _list_children(self) -> None:
        progress = self._progress
        earlier = {*await progress.context.in_sink(lambda: refused_before(progress))}
        self._refused = earlier | {*await progress.context.in_sink(lambda: [*in_walk(progress)])}
        self._decide()
        while not progress.context.stopping.is_set():
            ids = await self._next_parents()
            if not ids:
                break
            await self._list_children_of([*filter(is_named, ids)], in_order=True)
            progress.walk.after = ids[-1]
            await self._has_room()
        else:
            return
        for ids in [[*self._later][:MOST_ASKED_AGAIN], *await self._not_changed_since(earlier)]:
            await self._list_children_of(ids, in_order=False)
        await self._save_end()

    async def _next_parents(self) -> list[str]:
        progress = self._progress
        return await progress.context.in_spool(
            lambda: progress.context.spool.objects(
                progress.stream.parent or "",
                progress.walk.after,
                changed=progress.choices.mode != "full",
                most=_PARENTS_AT_ONCE,
            )
        )

    async def _not_changed_since(self, earlier: Iterable[str]) -> list[list[str]]:
        """Return those parents whose children earlier runs could not have and that this run does not list anyway."""
        progress, spool = self._progress, self._progress.context.spool
        if progress.choices.mode == "full":  # which has looked at every parent there is
            return []
        refused = sorted(one for one in map(parent_of, earlier) if one is not None)
        parent = progress.stream.parent or ""
        changed = await progress.context.in_spool(lambda: spool.known(parent, refused, changed=True))
        wanted = [one for one in refused if one not in changed][:MOST_ASKED_AGAIN]
        return [wanted[at : at + _PARENTS_AT_ONCE] for at in range(0, len(wanted), _PARENTS_AT_ONCE)]

    async def _list_children_of(self, parents: Sequence[str], *, in_order: bool) -> None:
        progress, walk, begun = self._progress, self._progress.walk, perf_counter()
        try:
            async with progress.source.children(parents, again=not in_order) as results:
                async for result in results:
                    walk.network_seconds += perf_counter() - begun
                    if in_order:
                        walk.after = result.summary
                    await self._add_children(result, again=not in_order)
                    if result.ok:
                        self._decide()
                    begun = perf_counter()
        except LimioError:
            for name, value in self._decided.items():  # what was refused since is asked for again
                setattr(walk, name, value)
            progress.note()
            await self._hand_on(Page(items=(), walk=copy(walk)))
            raise

    def _decide(self) -> None:
        walk = self._progress.walk
        self._decided = {
            "after": walk.after,
            "parents": walk.parents,
            "pages": walk.pages,
            "missing": walk.missing,
        }

    async def _add_children(self, result: Hydrated[str, Children], *, again: bool) -> None:
        walk, came = self._progress.walk, result.full or Children()
        error = result.error
        walk.parents += not again
        whole = child_key("", result.summary)
        if error is None and whole in self._refused:
            self._progress.well_again.add(whole)
        if error is None and result.summary in self._later:
            walk.missing -= 1
            self._later.discard(result.summary)
        elif error is not None and concerns(error) == "later" and not again:
            walk.missing += 1
            self._later.add(result.summary)
            self._refused.add(whole)
        walk.count_page(came.items, pages=came.pages)
        refusal = None if error is None or again else str(error)  # what was refused before stays as it is
        await self._hand_on(Page(items=came.items, walk=copy(walk), parent=result.summary, refusal=refusal))
