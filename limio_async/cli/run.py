"""Calling or walking one endpoint, and handing on what comes back."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import click
import msgspec

from limio_async.cli.failures import Code, Failure, code_of, tell
from limio_async.cli.loop import in_loop
from limio_async.cli.output import JsonArray, JsonLines, Layout, TableOfItems, show_table, to_stdout, whole
from limio_async.cli.progress import bar, summary
from limio_async.cli.settings import Flags, open_client
from limio_async.cli.target import Target
from limio_async.client import Limio
from limio_async.core.listing import Listing, ListOptions, Verify
from limio_async.core.session import CallOptions
from limio_async.core.wire import Endpoint, ListEndpoint, Redirect
from limio_async.errors import LimioError

__all__ = ["run"]

_Output = Literal["table", "json", "ndjson"]


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is asked for."""

    endpoint: Endpoint[Any]
    args: Mapping[str, Any]
    body: object
    output: _Output
    target: Target | None
    timeout: float | None
    page_size: int | None
    read_ahead: int
    limit: int | None
    verify: Verify
    unique: bool
    restart: Literal["raise", "restart"]
    quiet: bool


def run(
    flags: Flags,
    endpoint: Endpoint[Any],
    args: Mapping[str, Any],
    *,
    output: _Output | None,
    to: Path | None,
    force: bool,
    timeout: float | None,
    body: object = None,
    page_size: int | None = None,
    limit: int | None = None,
    resume: bool = False,
    verify: Verify | None = None,
    no_read_ahead: bool = False,
    unique: bool = False,
    restart: bool = False,
    dry_run: bool = False,
) -> int:
    """Do what the command says; the exit code."""
    if to is None and (force or resume):
        raise click.UsageError("--force and --resume go with --to")
    if to is not None and output == "table":
        raise click.UsageError("--to takes -o ndjson or -o json")
    output = output or ("table" if to is None and sys.stdout.isatty() else "ndjson")
    wish = _Wish(
        endpoint=endpoint,
        args=args,
        body=body,
        output=output,
        target=None if to is None else Target(to, output=output, force=force, resume=resume),
        timeout=timeout,
        page_size=page_size,
        read_ahead=0 if no_read_ahead else 1,
        limit=limit,
        verify=verify or "raise",
        unique=unique,
        restart="restart" if restart else "raise",
        quiet=flags.quiet,
    )
    try:
        client = open_client(flags)
        return _explain(client, wish) if dry_run else in_loop(_run(client, wish), on_uvloop=flags.uvloop)
    except (LimioError, Failure, KeyboardInterrupt) as error:
        raise _told(error, wish) from None


def _explain(client: Limio, wish: _Wish) -> int:
    endpoint = wish.endpoint
    if isinstance(endpoint, ListEndpoint):
        said = client.explain(client.listing, endpoint, wish.args, page_size=wish.page_size)
    else:
        said = client.explain(client.request, endpoint, wish.args, wish.body)
    to_stdout(f"{said}\n".encode())
    cursor = f", walked by a {said.cursor} cursor" if said.cursor else ""
    tell(f"{said.operation}: not sent; retry class {said.retry}{cursor}")
    return Code.OK


async def _run(client: Limio, wish: _Wish) -> int:
    async with client:
        with wish.target.opened() if wish.target else nullcontext():
            if isinstance(wish.endpoint, ListEndpoint):
                return await _walk(client, wish.endpoint, wish)
            return await _call(client, wish)


async def _call(client: Limio, wish: _Wish) -> int:
    options: CallOptions = {"timeout": wish.timeout}
    endpoint = wish.endpoint
    if endpoint.returns is not Redirect:  # what came is handed on, also what our types do not know
        endpoint = msgspec.structs.replace(endpoint, returns=msgspec.Raw)
    answer = msgspec.json.encode(await client.request(endpoint, wish.args, wish.body, **options))
    if wish.target:
        wish.target.write(whole(answer, wish.output))
        wish.target.finish()
    elif wish.output == "table":
        show_table(answer)
    else:
        to_stdout(whole(answer, wish.output))
    return Code.OK


async def _walk(client: Limio, endpoint: ListEndpoint[Any], wish: _Wish) -> int:
    begun_at = monotonic()
    listing = _listing(client, endpoint, wish)
    seen = before = listing.checkpoint().items
    target, layout = wish.target, _layout(wish, begun=before > 0)
    if target:
        target.save(listing.checkpoint())
    try:
        with bar(endpoint.operation, shown=not wish.quiet) as shown:
            async with aclosing(_pages(listing, wish.limit, before)) as pages:
                async for items in pages:
                    with shown.hidden() if target is None else nullcontext():
                        layout.add(items)
                    seen += len(items)
                    report = listing.report
                    shown.moved(seen, _expected(report.hits, wish.limit), report.pages)
                    if target and not report.ended and seen != wish.limit:  # an end waits to be verified
                        target.save(listing.checkpoint())
        layout.end()
    except LimioError as error:
        raise Failure(str(error), Code.INCOMPLETE if seen > before else code_of(error)) from None
    if target:
        target.finish()
    return _reported(listing, wish, seen, monotonic() - begun_at)


def _listing(client: Limio, endpoint: ListEndpoint[Any], wish: _Wish) -> Listing[bytes]:
    options: ListOptions = {
        "page_size": wish.page_size,
        "read_ahead": wish.read_ahead,
        "resume": wish.target.checkpoint if wish.target else None,
        "verify": wish.verify,
        "unique": wish.unique,
        "on_ambiguous": wish.restart,
        "on_snapshot_change": wish.restart,
        "timeout": wish.timeout,
    }
    return client.listing(endpoint, wish.args, **options).raw()


async def _pages(listing: Listing[bytes], limit: int | None, seen: int) -> AsyncGenerator[list[bytes]]:
    """The items of page after page, *limit* of them with the *seen* ones before."""
    async with aclosing(listing.pages()) as pages:
        while limit is None or seen < limit:
            page = await anext(pages, None)
            if page is None:
                return
            items = page.items if limit is None else page.items[: limit - seen]
            seen += len(items)
            yield items


def _expected(hits: int | None, limit: int | None) -> int | None:
    return min((one for one in (hits, limit) if one is not None), default=None)


def _layout(wish: _Wish, *, begun: bool) -> Layout:
    write = wish.target.write if wish.target else to_stdout
    match wish.output:
        case "table":
            return TableOfItems()
        case "json":
            return JsonArray(write, begun=begun)
        case "ndjson":
            return JsonLines(write)


def _reported(listing: Listing[bytes], wish: _Wish, seen: int, seconds: float) -> int:
    report = listing.report
    stopped = wish.limit is not None and seen >= wish.limit
    if not wish.quiet:
        tell(summary(report, seen, seconds=seconds, stopped=stopped))
    return Code.OK if stopped or report.complete or wish.verify == "off" else Code.INCOMPLETE


def _told(error: BaseException, wish: _Wish) -> Failure:
    """The failure that *error* is to the user, with what is left of the file."""
    match error:
        case LimioError():
            message, code = str(error), code_of(error)
        case Failure():
            message, code = str(error), error.code
        case _:
            message, code = f"{wish.endpoint.operation}: interrupted", Code.INTERRUPTED
            if wish.endpoint.retry == "once":
                message += "; it may have happened, look before sending it again"
    kept = wish.target.kept if wish.target else ""
    return Failure(f"{message}; {kept}" if kept else message, code)
