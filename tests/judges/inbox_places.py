"""Databases for inboxes, each with a table of the handlers' own, that the judge reads by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.judges.inbox_truth import Effect
from tests.postgres_cluster import Cluster, own_cluster

__all__ = ["Place", "Places"]

_MADE = "CREATE TABLE effects (place {}, name text, get bigint, key text, seq bigint)"
_COUNTED = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "bigint GENERATED ALWAYS AS IDENTITY",
}
_ASKED = "SELECT name, get, key, seq FROM effects ORDER BY place"
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
    " WHERE schemaname IN ('inbox', 'public')",
}
_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Place:
    """A database with a directory beside it."""

    def __init__(self, directory: Path, cluster: Cluster | None, name: str) -> None:
        self.directory, self._cluster, self._name = directory, cluster, name
        if cluster is None:
            self.url = f"sqlite:///{directory}/inbox.db"
            with closing(sqlite3.connect(directory / "inbox.db")) as file:
                file.execute(_MADE.format(_COUNTED["sqlite"]))
            return
        self.url = f"{cluster.url.rpartition('/')[0]}/{name}?schema=inbox"
        with cluster.admin() as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
        with cluster.admin(name) as own:
            own.execute(_MADE.format(_COUNTED["postgresql"]).encode())

    def effects(self) -> list[Effect]:
        """Return what handlers wrote, in the order in which they did."""
        if self._cluster is None:
            with closing(sqlite3.connect(self.directory / "inbox.db")) as file:
                return [Effect(*row) for row in file.execute(_ASKED)]
        with self._cluster.admin(self._name) as own:
            return [Effect(*row) for row in own.execute(_ASKED.encode()).fetchall()]

    @contextmanager
    def old_transaction(self) -> Generator[None]:
        """Look at every table, in a transaction that stays open."""
        if self._cluster is None:
            with closing(
                sqlite3.connect(self.directory / "inbox.db", isolation_level=None, check_same_thread=False)
            ) as file:
                file.execute("BEGIN")
                for (table,) in file.execute(_TABLES["sqlite"]).fetchall():
                    file.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608
                yield
            return
        with closing(self._cluster.admin(self._name)) as own:
            own.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ")
            for (table,) in own.execute(_TABLES["postgresql"].encode()).fetchall():
                own.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()  # noqa: S608
            own.execute(b"SELECT pg_current_xact_id()")
            yield

    def end_sessions(self) -> int:
        """End the sessions by which workers are known to live; return how many they were."""
        assert self._cluster is not None
        with self._cluster.admin(self._name) as own:
            return len(own.execute(_SESSIONS.encode()).fetchall())

    def restart(self, away: float) -> None:
        """Let the server crash, and be away for so many seconds."""
        assert self._cluster is not None
        self._cluster.restart(away=away)


class Places:
    """Makes them; a cluster begins with the first that needs one."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._made = directory, 0
        self._owned = own_cluster()
        self._cluster: Cluster | None = None

    def __enter__(self) -> Self:
        self._cluster = self._owned.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.__exit__(kind, error, trace)

    def new(self, case: str) -> Place:
        """Return an empty one for a case."""
        self._made += 1
        directory = self._directory / str(self._made)
        directory.mkdir()
        return Place(directory, None if case.startswith("SQLite") else self._cluster, f"inbox_{self._made}")
