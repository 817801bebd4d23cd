"""Targets to test with: a URL of each kind, and rows to put there."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from limio_async.sync_jobs.sink import Change, Column, Row, Table, Written
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.sinks.sql import SqlSink
from tests.judges.need import missing

POSTGRES = os.environ.get("LIMIO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
AT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
LATER = datetime(2026, 2, 3, tzinfo=UTC)
OFFERS = Table(
    name="offers",
    columns=(
        Column("id"),
        Column("name"),
        Column("price", "number"),
        Column("count", "integer"),
        Column("order", "boolean"),  # a word of SQL's own
        Column("updated", "time"),
        Column("deleted_at", "time"),
        Column("hash"),
        Column("raw", "json"),
    ),
    compared="hash",
)
NOTES = Table(name="_notes", columns=(Column("id"), Column("note"), Column("raw", "bytes")), published=False)


def offer(number: int, *, name: str | None = "Offer", version: str = "1", raw: bytes | None = None) -> Row:
    """A row of `OFFERS`."""
    item = raw if raw is not None else msgspec.json.encode({"id": f"o-{number}", "version": version})
    return f"o-{number}", name, number / 4, number, number % 2 == 0, AT, None, version, item


@contextmanager
def opened(url: str, *tables: Table) -> Generator[SqlSink]:
    """A sink that is open, with these tables in it."""
    sink = open_sink(url)
    assert isinstance(sink, SqlSink)
    try:
        sink.open()
        sink.prepare(tables)
        yield sink
    finally:
        sink.close()


def any_number(live: int, unseen: int) -> bool:
    """Allows however many to be marked as deleted."""
    return True


def up_to(most: float | None) -> Callable[[int, int], bool]:
    """Allows this share of the live rows to be marked as deleted."""
    return lambda live, unseen: most is None or unseen <= most * live


def write(sink: SqlSink, rows: Sequence[Row], table: Table = OFFERS) -> Written:
    (written,) = sink.apply([Change(table, rows)])
    return written


def held(sink: SqlSink, table: Table = OFFERS) -> dict[str, dict[str, Any]]:
    """The rows that are there, by id."""
    return {row["id"]: row for row in sink.rows(table)}


@contextmanager
def small_disk(size: int) -> Generator[None]:
    """No file may grow beyond *size* bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def schema_of_postgres(name: str) -> Generator[str]:
    """The URL of a schema that is dropped afterwards; skips where there is no PostgreSQL, but fails in CI."""
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        missing(f"PostgreSQL is not at {POSTGRES}, nor where LIMIO_TEST_POSTGRES says: {error}")
    with admin:
        yield f"{POSTGRES}?application_name={name}&schema={name}"
        admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'.encode())
