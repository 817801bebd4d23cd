"""Walking a list: one page after another, every item once, and a verdict that holds.

- `listing`: a list operation as its caller sees it
- `options`: what the caller may choose
- `walk`: getting one page after another
- `place`: where a walk stands; `checkpoint`: that as a value that can be stored
- `completeness`: whether a walk is complete; `repeats`: ids, pages and cursors that came before
- `fetch`: asking for pages, one ahead; `page_size`: how large they are
- `reader`: reading a page to its items; `head`: what it says besides
- `page`: what is handed out: a page, a bad item, the report
"""

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.listing import Listing
from limio_async.core.listing.options import ListOptions, Options, Verify
from limio_async.core.listing.page import BadItem, Page, Report

__all__ = ["BadItem", "Checkpoint", "Cursor", "ListOptions", "Listing", "Options", "Page", "Report", "Verify"]
