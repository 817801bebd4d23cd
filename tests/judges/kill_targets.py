"""Targets of a sync job, read by other means than the job's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psycopg
from psycopg import sql

from tests.postgres_cluster import own_cluster

__all__ = ["TROUBLES", "FilesTarget", "PostgresTarget", "SqliteTarget", "Stored", "Target"]

TROUBLES = ("restarted", "killed and restarted", "connections terminated")
"""What befalls a PostgreSQL cluster."""


class Stored(msgspec.Struct, frozen=True):
    """A row of a stream's table."""

    id: str
    raw: bytes
    hash: str
    deleted: bool


class Target(Protocol):
    """Where a job is told to keep a tenant."""

    name: str
    url: str
    troubles: Mapping[str, Callable[[], Awaitable[None]]]
    """What may befall it."""
    exact: bool
    """Whether it keeps JSON byte for byte; else `hash` tells of the bytes, and JSON is kept by its meaning."""

    def stored(self, table: str) -> list[Stored]:
        """All rows of a table, those marked as deleted too."""
        ...

    def runs(self) -> Mapping[str, str]:
        """The status of each stream's last run, by `_limio_runs`."""
        ...

    def is_publishing(self) -> bool:
        """Whether a killed run left a file half written."""
        ...

    def drop(self) -> None:
        """Leave nothing behind, outside of the directory."""
        ...


class SqliteTarget:
    name = "SQLite"
    troubles: Mapping[str, Callable[[], Awaitable[None]]] = {}
    exact = True

    def __init__(self, directory: Path) -> None:
        self.file = directory / "limio.db"
        self.url = f"sqlite:///{self.file}"

    def stored(self, table: str) -> list[Stored]:
        rows = self._ask(f'SELECT id, CAST(raw AS BLOB), hash, deleted_at IS NOT NULL FROM "{table}"')  # noqa: S608
        return [Stored(own, raw, digest, bool(deleted)) for own, raw, digest, deleted in rows]

    def runs(self) -> Mapping[str, str]:
        return dict(self._ask("SELECT stream, status FROM _limio_runs ORDER BY started"))

    def is_publishing(self) -> bool:
        return False

    def drop(self) -> None:
        pass

    def _ask(self, statement: str) -> Iterator[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True)) as db:
            yield from db.execute(statement)


class FilesTarget(SqliteTarget):
    """NDJSON. What is live stands in the files; what was deleted is known to the store beside them."""

    name = "NDJSON"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "files"
        self.file = self._directory / "_limio" / "store.db"
        self.url = f"ndjson:{self._directory}"

    def stored(self, table: str) -> list[Stored]:
        known = super().stored(table)
        digests = {one.id: one.hash for one in known}
        lines = (self._directory / f"{table}.ndjson").read_bytes().splitlines()
        live = [(str(msgspec.json.decode(line)["id"]), line) for line in lines]
        return [
            *(Stored(own, line, digests.get(own, ""), deleted=False) for own, line in live),
            *(one for one in known if one.deleted),
        ]

    def is_publishing(self) -> bool:
        return any(self._directory.glob("*.part"))


class PostgresTarget:
    name = "PostgreSQL"
    exact = False

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._cluster = self._ends.enter_context(own_cluster())
        self._schema = "killed"
        self.url = f"{self._cluster.url}?schema={self._schema}"
        happens = (self._restart, self._crash, self._terminate)
        self.troubles: Mapping[str, Callable[[], Awaitable[None]]] = dict(zip(TROUBLES, happens, strict=True))

    def stored(self, table: str) -> list[Stored]:
        rows = self._ask(
            sql.SQL("SELECT id, raw::text, hash, deleted_at IS NOT NULL FROM {}").format(
                sql.Identifier(self._schema, table)
            )
        )
        return [Stored(own, raw.encode(), digest, deleted) for own, raw, digest, deleted in rows]

    def runs(self) -> Mapping[str, str]:
        runs = sql.Identifier(self._schema, "_limio_runs")
        return dict(self._ask(sql.SQL("SELECT stream, status FROM {} ORDER BY started").format(runs)))

    def is_publishing(self) -> bool:
        return False

    def drop(self) -> None:
        self._ends.close()

    async def _restart(self) -> None:
        self._cluster.stop("fast")
        await self._start()

    async def _crash(self) -> None:
        self._cluster.stop("immediate")
        await self._start()

    async def _start(self) -> None:
        self._cluster.start(wait=False)  # in this thread, with which it ends
        await asyncio.to_thread(self._cluster.wait)

    async def _terminate(self) -> None:
        await asyncio.to_thread(self._cluster.terminate, "limio%")

    def _ask(self, statement: sql.Composed) -> Iterator[tuple[Any, ...]]:
        with psycopg.connect(self._cluster.url) as db:
            yield from db.execute(statement)
