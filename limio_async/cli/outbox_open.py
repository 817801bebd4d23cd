"""Finding the outbox that a command of `limio outbox` is about. None is made by looking."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from limio_async.cli.failures import Failure, printable
from limio_async.cli.loop import in_loop
from limio_async.cli.settings import Flags

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.outbox import Outbox, Outcome
    from limio_async.stores import Store

__all__ = ["in_outbox", "of_outbox", "pages"]

T = TypeVar("T")
_PAGE = 1000
_UNTEXT = re.compile("[\ud800-\udfff]")
"""Bytes of a command line that are no UTF-8."""
_MAKES = "limio outbox run makes one, and so does the application that intends"


def of_outbox(decorated: Callable[..., int]) -> Callable[..., Any]:
    """Give a command the options that all have, and the flags."""
    url = click.option("--outbox", "url", required=True, envvar="LIMIO_OUTBOX", metavar="URL", help="Where the orders are  [LIMIO_OUTBOX]")  # fmt: skip
    as_json = click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")

    @wraps(decorated)
    def checked(flags: Flags, /, **given: Any) -> int:
        for value in given.values():
            if isinstance(value, str) and _UNTEXT.search(value):
                raise click.UsageError(f"{printable(value)} is not text in UTF-8")
        return decorated(flags, **given)

    return url(as_json(click.pass_obj(checked)))


def in_outbox(flags: Flags, url: str, work: Callable[[Outbox], Awaitable[T]]) -> T:
    """Return what *work* does with an outbox that is there. Raises `Failure`, and makes nothing, where none is."""

    async def within() -> T:
        from limio_async.outbox import Outbox

        await _look(url)
        async with Outbox(url) as outbox:
            return await work(outbox)

    return in_loop(within(), on_uvloop=flags.uvloop)


async def pages(
    outbox: Outbox, *states: Any, limit: int | None = None, after: str | None = None
) -> AsyncGenerator[list[Outcome]]:
    """Yield orders page after page; each is read to its end before it is shown."""
    while limit is None or limit > 0:
        page = await outbox.list(*states, limit=_PAGE if limit is None else min(limit, _PAGE), after=after)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = page[-1].key
        limit = None if limit is None else limit - len(page)


async def _look(url: str) -> None:
    from limio_async.stores import store_of
    from limio_async.sync_jobs.sinks.urls import file_of

    store = store_of(url)
    if not url.startswith("sqlite:"):
        known = await _server_has_one(store)
    elif (file := file_of(url, "sqlite")[0]).exists():
        known = _file_has_one(f"file:{quote(str(file.absolute()))}?mode=ro")
    else:
        raise Failure(f"--outbox {printable(url)}: there is no {printable(str(file))}; {_MAKES}")
    if not known:
        raise Failure(f"--outbox {printable(store.name)}: there is no outbox in it; {_MAKES}")


async def _server_has_one(store: Store) -> bool:
    from limio_async.outbox.schema import META

    try:
        await store.open()
        return await store.do(lambda store: store.has(META), reads=True)
    finally:
        await store.close()


def _file_has_one(uri: str) -> bool:
    """Return whether there is an outbox in the file, or what is wrong with it, which opening it says."""
    from limio_async.outbox.schema import META

    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            return bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (META,)).fetchall())
    except sqlite3.Error:
        return True
