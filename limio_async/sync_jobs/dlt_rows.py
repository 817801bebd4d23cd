"""Rows as dlt takes them: dicts, or files of Parquet where the destination reads those as they are. For `dlt.py`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dlt
import msgspec
from dlt.common.configuration.container import Container
from dlt.common.data_types.typing import TDataType
from dlt.common.normalizers.utils import generate_dlt_ids
from dlt.common.pipeline import PipelineContext
from dlt.common.schema.typing import TColumnSchema
from dlt.common.schema.utils import dlt_id_column, dlt_load_id_column
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import LoadPackageStateInjectableContext, ParsedLoadJobFileName

from limio_async.core.listing.repeats import is_named
from limio_async.sync_jobs.sink import DELETED, STALE, Change, Column, Kind, Row, Table
from limio_async.sync_jobs.sinks.values import by_column

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["MERGES_ANY", "destination", "dicts", "given", "hints", "told"]

_TYPES: dict[Kind, TDataType] = {
    "text": "text",
    "number": "double",
    "integer": "bigint",
    "boolean": "bool",
    "time": "timestamp",
    "json": "json",
    "bytes": "binary",
}
_READ_PARQUET = {"duckdb"}
"""Destinations that load Parquet several times faster than what dlt makes for them of dicts."""
_ROWS_A_FILE = 20_000
_OF_DLT = {"_dlt_load_id": dlt_load_id_column(), "_dlt_id": dlt_id_column()}
"""Columns that dlt adds to dicts, but not to files."""
_SPARES = "x-stage-data-deduplicated"  # what dlt keeps `write_disposition={"deduplicated": …}` as
MERGES_ANY: dict[str, Any] = {_SPARES: False}
"""What a table is told unless a load knows better; dlt keeps what the last one told."""


def given(table: Table, walk: Generator[Any]) -> Generator[Any]:
    """Yield the rows of a walk as dlt takes them, and what else it yields as it is; close it at the end.

    Called by the resource's generator, in dlt's thread.
    """
    load_id = _load_for_files()
    with closing(walk):
        yield from _in_files(table, walk, load_id) if load_id else _in_dicts(table, walk)


def _load_for_files() -> str | None:
    """The id of the load under way, where rows may go into files.

    They do not if somebody looks at them on the way, chose a format of files or a strategy, or only iterates.
    """
    if destination() not in _READ_PARQUET or len(dlt.current.pipe()) > 1:
        return None
    resource = dlt.current.resource()
    if resource.has_dynamic_table_name or resource.has_other_dynamic_hints:
        return None
    chosen = resource.compute_table_schema().get("file_format")
    if chosen not in {None, "parquet"} or not isinstance(resource.write_disposition, str):
        return None
    if dlt.config.get("normalize.parquet_normalizer.add_dlt_id", bool):
        return None  # files have ids of their own
    try:
        import_module("limio_async.sync_jobs.sinks.arrow")  # pyarrow may not be there
        return dlt.current.load_package_state().get("load_id")
    except (ModuleNotFoundError, CurrentLoadPackageStateNotAvailable):
        return None


def _in_dicts(table: Table, walk: Iterator[Any]) -> Generator[Any]:
    for found in walk:
        yield dicts(table, found) if _is_page(found) else found


def _in_files(table: Table, walk: Iterator[Any], load_id: str) -> Generator[Any]:
    """A page is in memory at a time. dlt links or copies a file before it asks for more."""
    from limio_async.sync_jobs.sinks.arrow import arrow_table, parquet_writer

    whole = msgspec.structs.replace(table, columns=(*told(table), *map(Column, _OF_DLT)))
    required = {*table.key, *_OF_DLT}
    once = _is_alone()
    with TemporaryDirectory(prefix="limio-") as directory:
        for number in count():
            path, rows = Path(directory, f"{number}.parquet"), 0
            with path.open("wb") as to, parquet_writer(whole, to, required=required) as writer:
                for found in walk:
                    if not found or not _is_page(found):
                        yield found
                        continue
                    values = _values(table, found)
                    ids = values[0]
                    length = len(ids)
                    once = once and all(map(is_named, ids))  # a walk drops no item without id
                    values += [[load_id] * length, generate_dlt_ids(length)]
                    writer.write_table(arrow_table(whole, values, required=required))
                    rows += length
                    if rows >= _ROWS_A_FILE:
                        break
            if not rows:
                return
            more = dlt.mark.make_hints(columns=_OF_DLT, additional_table_hints={_SPARES: once})
            yield dlt.mark.with_file_import(str(path), "parquet", rows, more)
            path.unlink()


def _is_alone() -> bool:
    """Whether nothing else in this load goes into the table: then no key comes twice, and dlt need not look for such.

    It would sort all rows by key, which takes more memory than all else.
    """
    name = dlt.current.resource().table_name
    package = Container()[LoadPackageStateInjectableContext]
    jobs = package.storage.list_new_jobs(package.load_id)  # of an extraction before
    beside = [one.table_name for one in dlt.current.source().resources.values()]
    return beside.count(name) == 1 and name not in {
        ParsedLoadJobFileName.parse(one).table_name for one in jobs
    }


def _is_page(found: Any) -> TypeIs[list[Row]]:
    return isinstance(found, list)


def dicts(table: Table, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as dicts; dlt parses the text of a json column."""
    names = [one.name for one in told(table)]
    return [dict(zip(names, row, strict=True)) for row in zip(*_values(table, rows), strict=True)]


def _values(table: Table, rows: Sequence[Row]) -> list[Sequence[Any]]:
    """What dlt is told, column by column; each value as the sinks write it."""
    columns = by_column(Change(table, rows))
    return [columns[table.at(one.name)] for one in told(table)]


def told(table: Table) -> list[Column]:
    """The columns for dlt, which compares rows by their key and marks none as deleted."""
    return [one for one in table.columns if one.name in table.key or one.name not in {DELETED, STALE, "hash"}]


def hints(columns: Iterable[Column]) -> dict[str, TColumnSchema]:
    """What dlt is told of *columns*."""
    return {one.name: {"name": one.name, "data_type": _TYPES[one.kind]} for one in columns}


def destination() -> str:
    """The kind of the destination that the active pipeline loads into, such as `postgres`; empty without one."""
    context = Container()[PipelineContext]
    loads_into = context.pipeline().destination if context.is_active() else None
    return loads_into.destination_type.rpartition(".")[2] if loads_into else ""
