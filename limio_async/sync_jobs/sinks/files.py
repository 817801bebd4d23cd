"""Targets that are directories of files, one a table: NDJSON and CSV. What there is is kept in a SQLite store beside."""

from __future__ import annotations

import csv
import gzip
import io
import re
from abc import abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, ClassVar, Literal, cast

from limio_async._durable import PRIVATE, removed, replacing
from limio_async.errors import ConfigurationError, JobError, SinkError
from limio_async.sync_jobs.sink import DELETED, STALE, Column, Prepared, Table
from limio_async.sync_jobs.sinks.database import META
from limio_async.sync_jobs.sinks.sqlite import SqliteSink
from limio_async.sync_jobs.sinks.statements import quoted
from limio_async.sync_jobs.sinks.values import Holds

__all__ = ["Compression", "CsvSink", "FileSink", "NdjsonSink"]

Compression = Literal["gzip", "zstd"]

_WRITTEN = "written "
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SHORT_OF_A_READER = ("raw", "hash", DELETED, STALE)


class FileSink(SqliteSink):
    """Writes DIR/TABLE.… from DIR/_limio/store.db when a table is published: the rows not marked as deleted, by key.

    A file is there whole or not at all, and stays untouched where nothing has changed since it was written.
    """

    holds: ClassVar[Holds] = "files"

    def __init__(self, directory: Path, *, name: str, mode: int = PRIVATE) -> None:
        super().__init__(directory / "_limio" / "store.db", name=name, mode=mode)
        self._directory = directory

    def publish(self, table: Table) -> None:
        """Write the file of a table, unless it is as it would be written."""
        if not table.published:
            return
        file = self._directory / self._file_name(table)
        with self._failures():
            changes = self._meta(f"changes {table.name}")
            written = f"{changes} {self._layout(table)}"
            if file.is_file() and self._meta(_WRITTEN + file.name) == written:
                return
            with replacing(file, part=file.with_name(f"{file.name}.part"), mode=self._file_mode) as part:
                self._write_file(table, part)
        with self._transaction():
            self._set_meta(_WRITTEN + file.name, written)

    @abstractmethod
    def _file_name(self, table: Table) -> str:
        """What the file is called."""

    @abstractmethod
    def _write_file(self, table: Table, part: BinaryIO) -> None:
        """Write all of it."""

    def _layout(self, table: Table) -> str:
        """What a file depends on beside its rows."""
        return ",".join(column.name for column in table.columns)

    def stale_files(self) -> Sequence[str]:
        """Name the files that an earlier run wrote there, of another format or of other columns, and nobody updates any more."""
        with self._failures():
            if self._shape(META) is None:
                return []
            known = self._ask(f'SELECT "key" FROM "{META}" WHERE "key" LIKE ?', f"{_WRITTEN}%")
        names = (key.removeprefix(_WRITTEN) for (key,) in known)
        return sorted(
            name for name in names if not self._updates(name) and (self._directory / name).is_file()
        )

    def remove_stale_files(self) -> None:
        """Remove the files that `stale_files` names."""
        for name in self.stale_files():
            with self._failures():
                removed(self._directory / name)
            with self._transaction():
                self._run(f'DELETE FROM "{META}" WHERE "key" = ?', _WRITTEN + name)

    def _updates(self, name: str) -> bool:
        """Whether a run of this format writes a file of this name."""
        table, _, rest = name.partition(".")
        return self._file_name(Table(name=table, columns=())) == f"{table}.{rest}"

    def _live(self, table: Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The rows that are not marked as deleted, by key; *columns* are SQL."""
        live = f'WHERE "{DELETED}" IS NULL' if table.has(DELETED) else ""
        key = ", ".join(map(quoted, table.key))
        return self._read(f"SELECT {', '.join(columns)} FROM {quoted(table.name)} {live} ORDER BY {key}")

    def _changed(self, table: Table) -> None:
        key = f"changes {table.name}"
        self._set_meta(key, str(int(self._meta(key) or "0") + 1))

    def _failure(self, error: Exception) -> JobError:
        if isinstance(error, OSError) and not isinstance(error, FileExistsError | NotADirectoryError):
            spot = error.filename or self._directory
            return SinkError(
                f"{self.name}: {spot}: {error.strerror or error}; what was there before is untouched"
            )
        return super()._failure(error)


class NdjsonSink(FileSink):
    """DIR/TABLE.ndjson: one raw item a line, as it came; only line breaks between its tokens are spaces there."""

    def __init__(
        self, directory: Path, *, name: str, mode: int = PRIVATE, compression: Compression | None = None
    ) -> None:
        super().__init__(directory, name=name, mode=mode)
        self._compression: Compression | None = compression

    def _file_name(self, table: Table) -> str:
        return f"{table.name}.ndjson" + {None: "", "gzip": ".gz", "zstd": ".zst"}[self._compression]

    def _write_file(self, table: Table, part: BinaryIO) -> None:
        with _compressed(part, self._compression) as lines:
            for (raw,) in self._live(table, ['CAST("raw" AS BLOB)']):
                lines.write(raw.translate(_ON_ONE_LINE) if b"\n" in raw or b"\r" in raw else raw)
                lines.write(b"\n")


class CsvSink(FileSink):
    """DIR/TABLE.csv with a header. Cells that a spreadsheet would run as formulas begin with an apostrophe.

    *columns* are those to write, in this order; a table has those of them that it has. None: all but what only
    programs read.
    """

    def __init__(
        self, directory: Path, *, name: str, mode: int = PRIVATE, columns: Sequence[str] | None = None
    ) -> None:
        super().__init__(directory, name=name, mode=mode)
        self._columns = columns

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """Make the tables that are missing, add the columns that are missing."""
        known = {column.name for table in tables if table.published for column in table.columns}
        if known and (unknown := [name for name in self._columns or () if name not in known]):
            raise ConfigurationError(
                f"no table of this job has a column {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return super().prepare(tables, rewrite=rewrite)

    def publish(self, table: Table) -> None:
        """Write the file of a table that has chosen columns, unless it is as it would be written."""
        if self._chosen(table):
            super().publish(table)

    def _updates(self, name: str) -> bool:
        shape = self._shape(name.partition(".")[0])
        chosen = self._columns is None or (
            shape is not None and not {*shape.columns}.isdisjoint(self._columns)
        )
        return chosen and super()._updates(name)

    def _chosen(self, table: Table) -> list[Column]:
        if self._columns is None:
            return [column for column in table.columns if column.name not in _SHORT_OF_A_READER]
        return [column for name in self._columns for column in table.columns if column.name == name]

    def _file_name(self, table: Table) -> str:
        return f"{table.name}.csv"

    def _layout(self, table: Table) -> str:
        return ",".join(column.name for column in self._chosen(table))

    def _write_file(self, table: Table, part: BinaryIO) -> None:
        chosen = self._chosen(table)
        text = io.TextIOWrapper(part, encoding="utf-8", newline="")
        try:
            cells = csv.writer(text)
            cells.writerow([column.name for column in chosen])
            booleans = [column.kind == "boolean" for column in chosen]
            for row in self._live(table, [quoted(column.name) for column in chosen]):
                cells.writerow(map(_cell, row, booleans))
        finally:
            text.detach()


@contextmanager
def _compressed(part: BinaryIO, compression: Compression | None) -> Generator[IO[bytes]]:
    match compression:
        case None:
            yield part
        case "gzip":
            with gzip.GzipFile(filename="", mode="wb", fileobj=part, compresslevel=6, mtime=0) as packed:
                yield cast("IO[bytes]", packed)
        case "zstd":
            import zstandard

            with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(
                part, closefd=False
            ) as packed:
                yield cast("IO[bytes]", packed)


def _cell(value: Any, is_boolean: bool) -> Any:
    if is_boolean and value is not None:
        return "true" if value else "false"
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
