"""A target that is a directory of Parquet files, one a table; needs pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from limio_async.sync_jobs.sink import Kind, Table
from limio_async.sync_jobs.sinks.arrow import arrow_table, parquet_writer
from limio_async.sync_jobs.sinks.files import FileSink
from limio_async.sync_jobs.sinks.statements import quoted

__all__ = ["ParquetSink"]

_ROWS = 20_000  # of a row group, at most
_BYTES = 32 * 1024 * 1024


class ParquetSink(FileSink):
    """DIR/TABLE.parquet: the table's columns, typed, and the raw item beside; zstd.

    A row group ends after 20,000 rows or 32 MiB.
    """

    def _file_name(self, table: Table) -> str:
        return f"{table.name}.parquet"

    def _write_file(self, table: Table, part: BinaryIO) -> None:
        with parquet_writer(table, part) as writer:
            for rows in _grouped(self._live(table, [quoted(column.name) for column in table.columns])):
                columns = [
                    _typed(values, column.kind)
                    for column, values in zip(table.columns, zip(*rows, strict=True), strict=True)
                ]
                writer.write_table(arrow_table(table, columns))


def _grouped(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    group: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(group) == _ROWS or size >= _BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _typed(values: Sequence[Any], kind: Kind) -> Sequence[Any]:
    """Values of the store in Python's types."""
    parse: dict[Kind, Callable[[Any], Any]] = {"time": datetime.fromisoformat, "boolean": bool}
    if kind not in parse:
        return values
    return [None if value is None else parse[kind](value) for value in values]
