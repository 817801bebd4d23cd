"""Walking a list: one page after another, every item once, and a verdict that holds.

listing.py       a list operation as its caller sees it
options.py       what the caller may choose
walk.py          getting one page after another: read-ahead, restarts, the honest end
place.py         where a walk stands, and what it passes over
checkpoint.py    that as a value that can be stored
completeness.py  whether a walk is complete
following.py     what was created since a walk that was judged well
trail.py         the newest of what was handed out
rows.py          what items say of themselves: id and created
choice.py        which items of a page are handed out
repeats.py       ids, pages and cursors that came before
peek.py          the first items, without a cursor
fetch.py         asking for pages, one ahead
page_size.py     how many items a page is asked for
reader.py        reading a page to its items
head.py          what a page says besides its items
beside.py        the same read once, where the next page says it again
page.py          what is handed out: a page, a bad item, the report
"""

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.listing import Listing
from limio_async.core.listing.options import ListOptions, Options, Verify
from limio_async.core.listing.page import BadItem, Page, Report

__all__ = ["BadItem", "Checkpoint", "Cursor", "ListOptions", "Listing", "Options", "Page", "Report", "Verify"]
