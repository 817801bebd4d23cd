"""The yardstick of `limio sync`: offers into a database, by hand and for one purpose.

`python -m benchmarks.peers.by_hand_sync URL sqlite|postgres|duckdb PLACE PAGE_SIZE` keeps the id, a hash and the bytes of each
offer, writes what has another hash than the database, a page in one transaction, and marks what was not listed. Nothing is
read of an offer but its id, nothing is asked again, and nothing goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec

from benchmarks.peers.asked import KEY, OFFERS, query

BATCH = 5_000  # offers that DuckDB takes at once
LIVE = "SELECT id FROM offers WHERE deleted_at IS NULL"


class Page(msgspec.Struct):
    items: list[msgspec.Raw]
    queryMore: dict[str, str] | None = None  # noqa: N815  # as it is on the wire


class Named(msgspec.Struct):
    id: str


class Offer(NamedTuple):
    id: str
    hash: bytes
    raw: msgspec.Raw

    @property
    def text(self) -> str:
        return str(self.raw, "utf-8")


class Target(Protocol):
    at_once: int
    """Offers to write in one transaction; a page where it is less than that."""

    def hashes(self, offers: Sequence[Offer]) -> Mapping[str, bytes]:
        """Of those that are there and not marked."""

    def write(self, offers: Sequence[Offer]) -> None: ...

    def live(self) -> list[tuple[str]]: ...

    def mark(self, gone: Sequence[tuple[datetime, str]]) -> None: ...

    def close(self) -> None: ...


async def pages(url: str, size: int) -> AsyncIterator[list[Offer]]:
    page, named = msgspec.json.Decoder(Page), msgspec.json.Decoder(Named)
    cursor = None
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/api{OFFERS}", params=query(size, cursor), headers=KEY) as answer:
                answer.raise_for_status()
                came = page.decode(await answer.read())
            if not came.items:
                return
            yield [
                Offer(named.decode(raw).id, blake2b(raw, digest_size=16).digest(), raw) for raw in came.items
            ]
            cursor = came.queryMore


async def sync(url: str, target: Target, size: int) -> Counter[str]:
    done: Counter[str] = Counter(written=0, unchanged=0, deleted=0)
    seen: set[str] = set()
    batch: list[Offer] = []

    def flush() -> None:
        known = target.hashes(batch)
        changed = [one for one in batch if known.get(one.id) != one.hash]
        if changed:
            target.write(changed)
        done["written"] += len(changed)
        done["unchanged"] += len(batch) - len(changed)
        batch.clear()

    async for offers in pages(url, size):
        seen.update(one.id for one in offers)
        batch += offers
        if len(batch) >= target.at_once:
            flush()
    if batch:
        flush()
    now = datetime.now(UTC)
    if gone := [(now, one) for (one,) in target.live() if one not in seen]:
        target.mark(gone)
    done["deleted"] = len(gone)
    return done


class Sqlite:
    at_once = 0

    def __init__(self, file: str) -> None:
        self._db = sqlite3.connect(file)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS offers"
            " (id TEXT PRIMARY KEY, hash BLOB NOT NULL, raw TEXT NOT NULL, deleted_at TEXT)"
        )

    def hashes(self, offers: Sequence[Offer]) -> Mapping[str, bytes]:
        marks = ", ".join("?" * len(offers))
        found = self._db.execute(
            f"SELECT id, hash FROM offers WHERE deleted_at IS NULL AND id IN ({marks})",  # noqa: S608
            [one.id for one in offers],
        )
        return dict(found.fetchall())

    def write(self, offers: Sequence[Offer]) -> None:
        with self._db:
            self._db.executemany(
                "INSERT INTO offers (id, hash, raw) VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET hash = excluded.hash, raw = excluded.raw, deleted_at = NULL",
                ((one.id, one.hash, one.text) for one in offers),
            )

    def live(self) -> list[tuple[str]]:
        return self._db.execute(LIVE).fetchall()

    def mark(self, gone: Sequence[tuple[datetime, str]]) -> None:
        with self._db:
            self._db.executemany(
                "UPDATE offers SET deleted_at = ? WHERE id = ?", ((at.isoformat(), one) for at, one in gone)
            )

    def close(self) -> None:
        self._db.close()


class Postgres:
    at_once = 0

    def __init__(self, place: str) -> None:
        import psycopg

        self._db = psycopg.connect(place, autocommit=True)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS offers"
            " (id text PRIMARY KEY, hash bytea NOT NULL, raw jsonb NOT NULL, deleted_at timestamptz)"
        )
        self._db.execute("CREATE TEMPORARY TABLE page (id text, hash bytea, raw jsonb) ON COMMIT DELETE ROWS")

    def hashes(self, offers: Sequence[Offer]) -> Mapping[str, bytes]:
        found = self._db.execute(
            "SELECT id, hash FROM offers WHERE deleted_at IS NULL AND id = ANY (%s)",
            [[one.id for one in offers]],
            binary=True,
        )
        return dict(found.fetchall())

    def write(self, offers: Sequence[Offer]) -> None:
        with self._db.transaction(), self._db.cursor() as cursor:
            with cursor.copy("COPY page (id, hash, raw) FROM STDIN") as copy:
                for one in offers:
                    copy.write_row((one.id, one.hash, one.text))
            cursor.execute(
                "INSERT INTO offers (id, hash, raw) SELECT id, hash, raw FROM page ON CONFLICT (id)"
                " DO UPDATE SET hash = excluded.hash, raw = excluded.raw, deleted_at = NULL"
            )

    def live(self) -> list[tuple[str]]:
        return self._db.execute(LIVE, binary=True).fetchall()

    def mark(self, gone: Sequence[tuple[datetime, str]]) -> None:
        with self._db.transaction(), self._db.cursor() as cursor:
            cursor.executemany("UPDATE offers SET deleted_at = %s WHERE id = %s", gone)

    def close(self) -> None:
        self._db.close()


class Duckdb:
    """Batches are joined with the table: a key would need an index that fits into memory."""

    at_once = BATCH

    def __init__(self, file: str) -> None:
        import duckdb
        import pyarrow

        self._arrow = pyarrow
        self._db = duckdb.connect(file)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS offers"
            " (id VARCHAR NOT NULL, hash BLOB NOT NULL, raw JSON NOT NULL, deleted_at TIMESTAMPTZ)"
        )

    def hashes(self, offers: Sequence[Offer]) -> Mapping[str, bytes]:
        found = self._joined(
            {"id": [one.id for one in offers]},
            "SELECT offers.id, offers.hash FROM offers JOIN batch USING (id) WHERE deleted_at IS NULL",
        )
        return dict(found)

    def write(self, offers: Sequence[Offer]) -> None:
        last = {one.id: one for one in offers}.values()  # of one id in two pages
        columns: dict[str, list[Any]] = {
            "id": [one.id for one in last],
            "hash": [one.hash for one in last],
            "raw": [one.text for one in last],
        }
        self._joined(
            columns,
            "MERGE INTO offers USING batch ON offers.id = batch.id"
            " WHEN MATCHED THEN UPDATE SET hash = batch.hash, raw = batch.raw, deleted_at = NULL"
            " WHEN NOT MATCHED THEN INSERT (id, hash, raw) VALUES (batch.id, batch.hash, batch.raw)",
        )

    def live(self) -> list[tuple[str]]:
        return self._db.execute(LIVE).fetchall()

    def mark(self, gone: Sequence[tuple[datetime, str]]) -> None:
        self._joined(
            {"id": [one for _, one in gone], "at": [at for at, _ in gone]},
            "UPDATE offers SET deleted_at = batch.at FROM batch WHERE offers.id = batch.id",
        )

    def close(self) -> None:
        self._db.close()

    def _joined(self, columns: Mapping[str, list[Any]], statement: str) -> list[Any]:
        self._db.register("batch", self._arrow.table(dict(columns)))
        try:
            return self._db.execute(statement).fetchall()
        finally:
            self._db.unregister("batch")


TARGETS: Mapping[str, Callable[[str], Target]] = {
    "sqlite": Sqlite,
    "postgres": Postgres,
    "duckdb": Duckdb,
}


def main(url: str, kind: str, place: str, size: str) -> None:
    with closing(TARGETS[kind](place)) as target:
        done = asyncio.run(sync(url, target, int(size)))
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
