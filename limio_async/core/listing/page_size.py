"""How many items a page is asked for: fewer where one was too large, more again when all goes well."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

from limio_async.core.retry import LATE
from limio_async.core.wire import Paging
from limio_async.errors import ApiError, LimioError, Unreadable

__all__ = ["SERVERS_OWN", "TOO_LARGE", "PageSize"]

_log = logging.getLogger("limio_async")

TOO_LARGE = {413, 502} | LATE
"""What a server answers that may have had too much to send."""

SERVERS_OWN = 50
"""Items per page where none are asked for, by the documents."""
_GROWS_AFTER = 3


class PageSize:
    """The page size of one walk. *known* remembers by operation what worked, for the walks after it."""

    def __init__(
        self, operation: str, paging: Paging, wanted: int | None, known: MutableMapping[str, int]
    ) -> None:
        self._operation = operation
        self._paging = paging
        self._known = known
        self._wanted = wanted or paging.default_page_size
        self._good_pages = 0
        self.now = self._wanted
        """Items per page to ask for; None leaves it to the server."""
        if (worked := known.get(operation)) is not None:
            self._wanted = self._wanted or SERVERS_OWN
            self.now = min(worked, self._wanted)

    def shrinks(self, error: LimioError, *, again: bool) -> bool:
        """Ask for smaller pages if *error* may come of one that was too large; return whether it was.

        *again* tells whether the page may be asked for again.
        """
        too_large = isinstance(error, Unreadable) and error.too_large
        if isinstance(error, ApiError):
            too_large = error.status in TOO_LARGE
        size = self.now or SERVERS_OWN
        if not (too_large and again and self._paging.page_size and size > 1):
            return False
        self._wanted = self._wanted or size
        self.now = size // 2
        self._good_pages = 0
        _log.info("%s; asking for pages of %d", error, self.now)
        return True

    def grow(self, *, ended: bool) -> None:
        """Try larger pages after some that were no problem; a list whose cursor advances keeps its size."""
        self._good_pages += 1
        size, wanted = self.now, self._wanted
        if not size or not wanted or size >= wanted:
            return
        if self._good_pages < _GROWS_AFTER and not ended:
            self._known[self._operation] = (
                size  # a page of it worked: what an outage made it, no walk inherits
            )
            return
        self._good_pages = 0
        larger = min(wanted, size * 2)
        if not self._paging.species.advances:
            self.now = larger
        if larger < wanted:
            self._known[self._operation] = larger
        else:
            self._known.pop(self._operation, None)
