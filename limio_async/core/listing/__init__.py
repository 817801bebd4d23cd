"""Walking a list: one page after another, every item once.

listing.py      a list operation as its caller sees it
walk.py         gets one page after another, to an honest end
fetch.py        asks for pages: one at a time or one ahead
reader.py       reads the items of a page: pure
head.py         what a page says besides its items: pure
page.py         the values: a page, the options, the report
checkpoint.py   where a walk stood
repeats.py      what came before: pure
"""

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.listing import Listing
from limio_async.core.listing.page import BadItem, Options, Page, Report, Verify

__all__ = ["BadItem", "Checkpoint", "Cursor", "Listing", "Options", "Page", "Report", "Verify"]
