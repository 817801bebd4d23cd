"""Rows on their way into a table of PostgreSQL, as texts: whatever its columns have become, an error is a row's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from limio_async.sync_jobs.sink import Kind, Table
from limio_async.sync_jobs.sinks.database import Shape
from limio_async.sync_jobs.sinks.statements import and_not_marked, checked, quoted, upsert

__all__ = ["NEW", "Statements", "are_few", "as_texts"]

NEW = "_limio_new"
_FEW, _SHORT = 500, 1_000_000


class Statements:
    """What is asked of *table*, which has *shape*, about rows to write: a *few* that each statement takes, or those in `NEW`."""

    def __init__(self, table: Table, shape: Shape, types: Mapping[Kind, str], *, few: bool) -> None:
        own, new = quoted(table.name), quoted(NEW)
        names = ", ".join(quoted(column.name) for column in table.columns)
        kinds = {column.name: shape.types.get(column.name, types[column.kind]) for column in table.columns}

        def sent(name: str) -> str:
            return f"CAST({new}.{quoted(name)} AS {kinds[name]})"

        def among(taken: Sequence[str]) -> str:
            arrays = ", ".join("%s::text[]" for _ in taken)
            listed = ", ".join(map(quoted, taken))
            return f"unnest({arrays}) WITH ORDINALITY AS {new} ({listed}, _limio_n)" if few else new

        self.looked_at = [*table.key, *checked(table)]
        """The columns that `held` and `lost` take; `write` takes all."""
        part = "true" if few else "_limio_n > %s AND _limio_n <= %s"
        same = " AND ".join(f"{own}.{quoted(name)} = {new}.{quoted(name)}" for name in table.key)
        equal = " AND ".join(
            [same, *(f"{own}.{quoted(name)} IS NOT DISTINCT FROM {sent(name)}" for name in checked(table))]
        )
        if (
            table.compared is not None and not table.keeps
        ):  # its cast could fail, and is no matter of one row here
            compared = quoted(table.compared)
            equal = f"{same} AND CAST({own}.{compared} AS text) IS NOT DISTINCT FROM {new}.{compared}"
        well = f"{equal}{and_not_marked(table)}"
        stays = "true" if table.keeps else "false" if table.compared is None else well
        self.written = [*table.key, *([table.compared] if table.compared and not table.keeps else [])]
        """The columns that `write` returns of the rows that it has changed, as texts."""
        self.table = (
            f"CREATE TEMPORARY TABLE {new} (_limio_n integer PRIMARY KEY,"
            f" {', '.join(f'{quoted(column.name)} text' for column in table.columns)})"
        )
        self.copy = f"COPY {new} (_limio_n, {names}) FROM STDIN"
        self.held = f"SELECT _limio_n, {stays} FROM {among(self.looked_at)} JOIN {own} ON {same} WHERE {part}"
        """The places of keys that are there, and whether what is there may stay."""
        cast = ", ".join(sent(name) for name in kinds if name not in shape.computed)
        statement = upsert(
            table,
            f"SELECT {cast} FROM {among([*kinds])} WHERE {part}",
            differs="IS DISTINCT FROM",
            without=shape.computed,
        )
        returned = ", ".join(f"CAST({own}.{quoted(name)} AS text)" for name in self.written)
        self.write = f"{statement} RETURNING {returned}"
        self.lost = f"SELECT _limio_n FROM {among(self.looked_at)} WHERE {part} AND NOT EXISTS (SELECT 1 FROM {own} WHERE {well})"
        """The places of rows that are not there as they were sent."""


def are_few(columns: Sequence[Sequence[str | None]]) -> bool:
    """Return whether rows are sent with each statement more cheaply than through a table."""
    return (
        len(columns[0]) <= _FEW and sum(len(value or "") for values in columns for value in values) <= _SHORT
    )


def as_texts(table: Table, columns: Sequence[Sequence[Any]]) -> list[Sequence[str | None]]:
    """Return values as PostgreSQL reads them, column by column."""
    return [
        values if column.kind in {"text", "json"} else [_text(value) for value in values]
        for column, values in zip(table.columns, columns, strict=True)
    ]


def _text(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case bytes():
            return rf"\x{value.hex()}"
        case datetime():
            return value.isoformat(" ")
        case _:
            return str(value)
