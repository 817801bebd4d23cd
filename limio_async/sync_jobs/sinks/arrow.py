"""Rows as Arrow tables, for the targets that take them. The only importer of pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as pyarrow_parquet  # pyright: ignore[reportMissingTypeStubs]

from limio_async.sync_jobs.sink import Kind, Table

__all__ = ["arrow_table", "parquet_writer"]

_arrow: Any = pyarrow  # it tells no types
_parquet: Any = pyarrow_parquet
_TYPES: Mapping[Kind, Any] = {
    "text": _arrow.string(),
    "number": _arrow.float64(),
    "integer": _arrow.int64(),
    "boolean": _arrow.bool_(),
    "time": _arrow.timestamp("us", "UTC"),
    "json": _arrow.string(),
    "bytes": _arrow.binary(),
}


def arrow_table(table: Table, columns: Sequence[Sequence[Any]], *, required: Collection[str] = ()) -> Any:
    """Values, column by column, as a `pyarrow.Table`; the *required* columns say that they have no NULL."""
    schema = _schema(table, required)
    arrays = [_arrow.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return _arrow.Table.from_arrays(arrays, schema=schema)


def parquet_writer(table: Table, to: BinaryIO, *, required: Collection[str] = ()) -> Any:
    """A `pyarrow.parquet.ParquetWriter` of tables of this kind; a context manager."""
    return _parquet.ParquetWriter(to, _schema(table, required), compression="zstd")


def _schema(table: Table, required: Collection[str]) -> Any:
    return _arrow.schema(
        [
            _arrow.field(column.name, _TYPES[column.kind], column.name not in required)
            for column in table.columns
        ]
    )
