"""Walking a list: one page after another, every item once.

- `listing`: a list operation as its caller sees it
- `walk`: getting one page after another
- `fetch`: asking for pages, one ahead
- `reader`: reading a page to its items; `head`: what it says besides
- `page`: the values: a page, the options, the report
- `checkpoint`: where a walk stood; `repeats`: what came before
"""

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.listing import Listing
from limio_async.core.listing.page import BadItem, Options, Page, Report, Verify

__all__ = ["BadItem", "Checkpoint", "Cursor", "Listing", "Options", "Page", "Report", "Verify"]
