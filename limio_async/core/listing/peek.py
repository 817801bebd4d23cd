"""The first items of a list that is switched to a cursor by a parameter: one page without it opens none.

A scroll is held by the server until it expires, and a search cluster has only so many
(https://github.com/elastic/elasticsearch/issues/26433). So a look at the first items does not ask for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.core.listing.options import Options
from limio_async.core.listing.page_size import SERVERS_OWN
from limio_async.core.listing.walk import TWO_WALKERS, Walk
from limio_async.core.wire import ListEndpoint

__all__ = ["peeked"]

T = TypeVar("T")
replace = msgspec.structs.replace


async def peeked(
    walk: Walk[T],
    n: int,
    endpoint: ListEndpoint[Any],
    options: Options,
    start: Callable[[ListEndpoint[Any], Options], Walk[T]],
) -> tuple[list[T], Checkpoint] | None:
    """Return the first *n* items by one page without a cursor, and where a walk from the top resumes behind them.

    None where only a walk can tell: it has begun, the list has no switch, *n* are more than a page, or fewer came
    and the answer does not say that these are all.
    """
    size = options.page_size or endpoint.paging.default_page_size or SERVERS_OWN
    if not endpoint.paging.always or n > size or not _is_fresh(walk):
        return None
    without = replace(endpoint, paging=replace(endpoint.paging, always={}))
    peek = start(without, replace(options, page_size=n, verify="off", resume=None))
    if walk.turning:
        raise RuntimeError(TWO_WALKERS)
    walk.turning = True  # what the page has is handed out once: nobody may ask for it meanwhile
    try:
        page = await peek.in_hand()
    finally:
        walk.turning = False
        walk.fetcher.requests += peek.fetcher.requests
        walk.fetcher.retries += peek.fetcher.retries
    place, found = peek.place, peek.completeness
    items = page.items[:n]
    if len(items) < n and not (found.exact and found.hits == place.sent):
        return None
    place.taken, place.ended = len(items), False  # whether it is the end, only a walk can tell
    walk.tally = peek.tally
    return items, peek.checkpoint()


def _is_fresh(walk: Walk[Any]) -> bool:
    at = walk.place.saved
    return walk.place.in_hand is None and not (at.items or at.cursor or at.ended or walk.fetcher.requests)
