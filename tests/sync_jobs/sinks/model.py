"""What every sink promises, in the fewest lines: tables as dicts. Tests hold the sinks against it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from limio_async.sync_jobs.sink import Row, Table, Unseen, Written


class Model:
    """One table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}

    def apply(self, rows: Sequence[Row]) -> Written:
        counts: dict[str, Any] = {"inserted": 0, "updated": 0, "unchanged": 0}
        names = [column.name for column in self.table.columns]
        last: dict[tuple[Any, ...], dict[str, Any]] = {}
        for values in rows:
            row = {name: stored(value) for name, value in zip(names, values, strict=True)}
            last[tuple(row[name] for name in self.table.key)] = row
        for key, row in last.items():
            became = self._became(self.rows.get(key), row)
            counts[became] += 1
            if became != "unchanged":
                self.rows[key] = row
        return Written(**counts)

    def _became(self, before: dict[str, Any] | None, row: dict[str, Any]) -> str:
        if before is None:
            return "inserted"
        same = self.table.compared is not None and before[self.table.compared] == row[self.table.compared]
        return "unchanged" if self.table.keeps or (same and before["deleted_at"] is None) else "updated"

    def mark_unseen(self, seen: Iterable[str], deleted_at: datetime, most: float | None) -> Unseen:
        ids = set(seen)
        live = [row for row in self.rows.values() if row["deleted_at"] is None]
        unseen = [row for row in live if row["id"] not in ids]
        deletes = most is None or len(unseen) <= most * len(live)
        for row in unseen if deletes else ():
            row["deleted_at"] = deleted_at
        return Unseen(live=len(live), unseen=len(unseen), deleted=len(unseen) if deletes else 0)


def stored(value: Any) -> Any:
    """What a target gives back of a value."""
    if isinstance(value, str):
        return re.sub(
            "[\0\ud800-\udfff]", lambda odd: rf"\{'x00' if odd[0] == chr(0) else f'u{ord(odd[0]):x}'}", value
        )
    return None if value != value else value  # NaN is not itself
