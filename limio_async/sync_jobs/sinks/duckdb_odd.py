"""Which rows of a batch a table of DuckDB will not take, asked in one statement: each trial would cost milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from limio_async.sync_jobs.sink import Table
from limio_async.sync_jobs.sinks.statements import or_marked, quoted

__all__ = ["COLUMNS", "RULES", "differs", "odd_rows"]

COLUMNS = (
    "SELECT column_name, data_type, is_nullable FROM duckdb_columns()"
    " WHERE database_name = current_database() AND schema_name = current_schema() AND table_name = ?"
)
RULES = (
    "SELECT expression FROM duckdb_constraints() WHERE database_name = current_database()"
    " AND schema_name = current_schema() AND table_name = ? AND constraint_type = 'CHECK'"
)


def odd_rows(table: Table, batch: str, columns: Sequence[tuple[str, str, bool]], rules: Iterable[str]) -> str:
    """Return the query for places and reasons of rows in *batch* that break a type, a NOT NULL or one of *rules*.

    *columns* are name, type and whether it may be NULL. What a row excludes by a unique index is not looked at.
    """
    own, sent = quoted(table.name), quoted(batch)
    kinds = {name: kind for name, kind, _ in columns if table.has(name)}
    cast = ", ".join(f"TRY_CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in kinds.items())
    lost = " ".join(
        f"WHEN {quoted(name)} IS NOT NULL AND TRY_CAST({quoted(name)} AS {kind}) IS NULL"
        f" THEN {_text(f'ConversionException, column {name}')}"
        for name, kind in kinds.items()
    )
    broken = [
        f"WHEN {quoted(name)} IS NULL"
        f" THEN {_text(f'ConstraintException (NOT NULL constraint failed: {table.name}.{name})')}"
        for name, _, may_be_null in columns
        if name in kinds and not may_be_null
    ]
    broken += [
        f"WHEN NOT CAST({rule} AS BOOLEAN) THEN {_text(f'ConstraintException (CHECK constraint failed: {table.name})')}"
        for rule in rules
    ]
    breaks = f"CASE {' '.join(broken)} END" if broken else "NULL"
    same = " AND ".join(f"{own}.{quoted(name)} = {sent}.{quoted(name)}" for name in table.key)
    other = "" if table.keeps else differs(table, batch).replace(" AND ", " AND NOT ", 1) or " AND false"
    return (
        f"SELECT _limio_n, coalesce(_limio_lost, {breaks}) AS reason FROM ("
        f"SELECT _limio_n, CASE {lost} END AS _limio_lost, {cast} FROM {sent}"
        f" WHERE NOT EXISTS (SELECT 1 FROM {own} WHERE {same}{other})"  # what stays is not written
        f") WHERE reason IS NOT NULL"
    )


def differs(table: Table, batch: str) -> str:
    """The rest of a condition: and the row that is there is another than the one in *batch*."""
    if table.compared is None:
        return ""
    own, compared = quoted(table.name), quoted(table.compared)
    condition = f"{own}.{compared} IS DISTINCT FROM {quoted(batch)}.{compared}"
    return f" AND ({condition}{or_marked(table)})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
