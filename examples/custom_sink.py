"""A sink of your own, whole: a folder with one JSON file for each object, for tools that want to diff or mail them.

    LIMIO_HOST=… LIMIO_CLIENT_ID=… LIMIO_CLIENT_SECRET=… python custom_sink.py FOLDER offers subscriptions

`limio_async.sync_jobs.Sink` says what a job relies on; comments here say how a folder keeps it.
"""

from __future__ import annotations

import asyncio
import hashlib
import operator
import os
import secrets
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from limio_async import Limio
from limio_async.errors import SinkError
from limio_async.sync_jobs import (
    Change,
    Column,
    Condition,
    Job,
    Prepared,
    Row,
    Sink,
    Table,
    Unseen,
    Written,
)

TYPES: dict[str, Any] = {
    "text": str,
    "number": float,
    "integer": int,
    "boolean": bool,
    "time": datetime,
    "bytes": bytes,  # base64
}


class FolderSink:
    """FOLDER/TABLE/KEY.json: a row with its columns. Written only when it has changed, so that dates tell something."""

    def __init__(self, folder: Path) -> None:
        self.name = f"folder {folder}"
        self.folder = folder

    @property
    def target_id(self) -> str:
        """Drawn at random when the folder is made: of a folder that was deleted, no half-done walk goes on."""
        return (self.folder / "_target").read_text()

    def open(self, *, to_read: bool = False) -> None:
        """Needs no lock of its own: a job locks its state, which `main` keeps in the folder."""
        if not to_read:
            with failures(self.name):
                self.folder.mkdir(parents=True, exist_ok=True)

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """A column that is missing needs nothing: files say what they have."""
        with failures(self.name):
            if not (self.folder / "_target").exists():
                write(self.folder / "_target", secrets.token_hex(16).encode())
            for table in tables:
                (self.folder / table.name).mkdir(exist_ok=True)
            sync(self.folder)
            for name in rewrite:
                write(self.folder / name / "_salt", secrets.token_hex(8).encode())
            return {table.name: self.held(table) for table in tables}

    def held(self, table: Table) -> Prepared:
        """Rows of a folder that was emptied come back: the job asks for all of them."""
        salt = self.folder / table.name / "_salt"
        has_rows = next((self.folder / table.name).glob("*.json"), None) is not None
        return Prepared(has_rows=has_rows, salt=salt.read_text() if salt.exists() else "")

    def refusal(self, table: Table, row: Row) -> str | None:
        """JSON holds whatever JSON held."""
        return None

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        """There are no transactions, so order stands in: what *then* remembers is written when all else is on the disk.

        Killed in between, the job applies the same changes again, to the same effect.
        """
        with failures(self.name):
            written = [self.write(change) for change in changes]
            for change in then(written) if then else ():
                self.write(change)
        return written

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        allows: Callable[[int, int], bool],
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        """Keeps all ids in memory; a sink for millions would not."""
        ids = set(seen)
        live = [row for row in self.rows(table) if row["deleted_at"] is None]
        unseen = [row for row in live if row["id"] not in ids]
        gone = unseen if allows(len(live), len(unseen)) else []
        found = Unseen(live=len(live), unseen=len(unseen), deleted=len(gone))
        with failures(self.name):
            for row in gone:
                write(self.file(table, row), encoded(table, {**row, "deleted_at": deleted_at}))
            sync(self.folder / table.name)
            for change in then(found) if then else ():
                self.write(change)
        return found

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """A file that is being replaced is read as it was or as it will be."""
        with failures(self.name):
            for file in sorted((self.folder / table.name).glob("*.json")):
                row = decoded(table, file.read_bytes())
                if all(meets(row[one.column], one) for one in where):
                    yield row

    def prune(self, table: Table, where: Sequence[Condition]) -> int:
        """Files that a killed job leaves are removed by the next."""
        gone = [self.file(table, row) for row in self.rows(table, where)]
        with failures(self.name):
            for file in gone:
                file.unlink()
        return len(gone)

    def publish(self, table: Table) -> None:
        """Nothing to do: files are to be seen at once."""

    def cancel(self, *, only_blocked: bool = False) -> None:
        """Nothing here waits for anybody."""

    def close(self) -> None:
        """Nothing to let go of."""

    def write(self, change: Change) -> Written:
        """The rows of one change, the last one of each key."""
        table = change.table
        counts: dict[str, Any] = {"inserted": 0, "updated": 0, "unchanged": 0}
        names = [column.name for column in table.columns]
        stale = {*change.stale}
        for row in self.rows(table) if stale else ():
            if row["id"] in stale:
                since = row["stale_since"] or change.at
                row |= {"stale_since": since, "deleted_at": None}
                write(self.file(table, row), encoded(table, row))
        rows = [dict(zip(names, row, strict=True)) for row in change.rows]
        for file, row in {self.file(table, row): row for row in rows}.items():
            before = decoded(table, file.read_bytes()) if file.exists() else None
            what = became(before, row, table)
            counts[what] += 1
            if what != "unchanged":
                write(file, encoded(table, row))
        sync(self.folder / table.name)
        return Written(**counts)

    def file(self, table: Table, row: dict[str, Any]) -> Path:
        """Named after the key, where that makes a name."""
        key = "|".join(row[name] for name in table.key)
        name = quote(key, safe=" |@+")
        if len(name) > 200:
            name = name[:150] + hashlib.sha256(key.encode()).hexdigest()
        return self.folder / table.name / f"{name}.json"


def became(before: dict[str, Any] | None, row: dict[str, Any], table: Table) -> str:
    """What a row is to the one that was there."""
    if before is None:
        return "inserted"
    marked = before.get("deleted_at") or before.get("stale_since")
    same = table.compared is not None and before[table.compared] == row[table.compared]
    return "unchanged" if table.keeps or (same and not marked) else "updated"


def meets(value: Any, condition: Condition) -> bool:
    """Whether a value is as a condition wants it; None never is."""
    if value is None or condition.is_ == "set":
        return value is not None
    if condition.is_ == "in":
        return value in condition.value
    tests = {"=": operator.eq, ">=": operator.ge, "<": operator.lt}
    return bool(tests[condition.is_](value, condition.value))


def encoded(table: Table, row: dict[str, Any]) -> bytes:
    """A row as the content of its file."""
    json = {column.name for column in table.columns if column.kind == "json"}
    told = {name: msgspec.Raw(value) if name in json and value else value for name, value in row.items()}
    return msgspec.json.encode(told)


def decoded(table: Table, content: bytes) -> dict[str, Any]:
    """A row, with the columns that the table has by now."""
    found = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    told = {column.name: bytes(found.get(column.name, b"null")) for column in table.columns}
    return {column.name: value_of(column, told[column.name]) for column in table.columns}


def value_of(column: Column, told: bytes) -> Any:
    """A value in the type that its column has; JSON stays the text that it is."""
    if column.kind == "json":
        return None if told == b"null" else told
    return msgspec.json.decode(told, type=TYPES[column.kind] | None)


def write(file: Path, content: bytes) -> None:
    """Replace a file, whole or not at all, and have it on the disk."""
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)


def sync(folder: Path) -> None:
    """Have the names of a folder's files on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def failures(name: str) -> Generator[None]:
    """Turn what the system says into what ends a job in one line."""
    try:
        yield
    except OSError as error:
        spot = error.filename or name
        raise SinkError(f"{spot}: {error.strerror}; mend it and run again, nothing is lost") from None


async def main(folder: Path, streams: Sequence[str]) -> int:
    """Keep *streams* in *folder*; the exit code."""
    sink: Sink = FolderSink(folder)
    async with Limio.from_env() as limio:
        report = await Job(limio, to=sink, state=folder / "_state.db", streams=streams).run()
    print(*(f"{one.stream}: {one.status}, {one.written} written" for one in report.streams), sep="\n")
    return 0 if report.complete else 4


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2:])))
