"""`limio operations`: what there is."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from limio_async.api.endpoints import ENDPOINTS
from limio_async.cli.operation import hyphens
from limio_async.core.wire import Endpoint

__all__ = ["command"]


@click.command("operations")
@click.argument("word", required=False)
@click.option("--json", "as_json", is_flag=True, help="An array of records, for programs.")
def command(word: str | None, as_json: bool) -> None:
    """All operations of the API, or those that WORD occurs in."""
    records = [_record(endpoint) for endpoint in ENDPOINTS.values()]
    if word is not None:
        records = [one for one in records if _plain(word) in _plain(str([*one.values()]))]
    from limio_async.cli import output  # rich, which --help does without

    columns = ("resource", "name", "method", "path", "auth", "retry", "cursor", "source", "operation")
    layout = output.JsonArray(output.to_stdout, begun=False) if as_json else output.TableOfItems(*columns)
    layout.add([msgspec.json.encode(one if as_json else _row(one)) for one in records])
    layout.end()


def _plain(text: str) -> str:
    return hyphens(text.casefold())


def _record(endpoint: Endpoint[Any]) -> dict[str, Any]:
    return {
        "operation": endpoint.operation,
        "resource": endpoint.resource,
        "name": endpoint.name,
        "method": endpoint.method,
        "path": endpoint.path,
        "auth": endpoint.auth,
        "retry": endpoint.retry,
        "cursor": endpoint.paging.kind if endpoint.paging else None,
        "source": endpoint.source,
    }


def _row(record: dict[str, Any]) -> dict[str, str]:
    """The record as a person types and reads it."""
    shown = {name: value or "none" for name, value in record.items()}
    names = {name: hyphens(record[name]) for name in ("resource", "name")}
    return {**shown, **names, "auth": ", ".join(record["auth"]) or "none"}
