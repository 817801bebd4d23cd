"""SQL that the databases have in common. Pure."""

from __future__ import annotations

from collections.abc import Collection

from limio_async.sync_jobs.sink import DELETED, STALE, Table

__all__ = ["MARKS", "and_not_marked", "checked", "or_marked", "quoted", "upsert"]

MARKS = (DELETED, STALE)
"""Columns that say what became of a row, not what it holds."""


def quoted(name: str) -> str:
    """A name as SQL takes it, reserved words too."""
    return '"' + name.replace('"', '""') + '"'


def upsert(table: Table, source: str, *, differs: str, without: Collection[str] = ()) -> str:
    """The statement that writes rows of *source*, for SQLite and PostgreSQL; *differs* is how each compares with NULL.

    Columns that the database computes are left out: *without*.
    """
    names = ", ".join(quoted(column.name) for column in table.columns if column.name not in without)
    key = ", ".join(map(quoted, table.key))
    return f"INSERT INTO {quoted(table.name)} ({names}) {source} ON CONFLICT ({key}) DO {_on_conflict(table, differs, without)}"


def _on_conflict(table: Table, differs: str, without: Collection[str]) -> str:
    if table.keeps:
        return "NOTHING"
    names = [column.name for column in table.columns if column.name not in without]
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in table.key)
    if table.compared is None:
        return f"UPDATE SET {sets}"
    own, compared = quoted(table.name), quoted(table.compared)
    changed = f"{own}.{compared} {differs} excluded.{compared}"
    return f"UPDATE SET {sets} WHERE {changed}{or_marked(table)}"


def checked(table: Table) -> list[str]:
    """The columns that tell, besides the key, whether a row is there as it was sent; JSON and bytes are not looked at."""
    if table.keeps:
        return []
    if table.compared is not None:
        return [table.compared]
    return [
        one.name for one in table.columns if one.name not in table.key and one.kind not in {"json", "bytes"}
    ]


def or_marked(table: Table) -> str:
    """The rest of a condition: or the row that is there is marked as deleted or stale."""
    own = quoted(table.name)
    return "".join(f" OR {own}.{quoted(name)} IS NOT NULL" for name in MARKS if table.has(name))


def and_not_marked(table: Table) -> str:
    """The rest of a condition: and the row that is there is marked neither as deleted nor as stale, where that matters."""
    own = quoted(table.name)
    return "".join(
        f" AND {own}.{quoted(name)} IS NULL" for name in MARKS if table.has(name) and table.compared
    )
