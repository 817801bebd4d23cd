"""What was listed and is not in the target yet: a job's own state, a SQLite file beside the target.

A scroll is listed into it as fast as the server gives pages, so that no slow target holds it open. It also keeps
which items a walk has seen, and where a walk can go on. Losing it loses nothing: streams are then listed anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.sync_jobs.events import Tally
from limio_async.sync_jobs.packing import pack
from limio_async.sync_jobs.rows import child_key, summary_of
from limio_async.sync_jobs.spool_file import StateFile
from limio_async.sync_jobs.times import is_old, newest

__all__ = ["Added", "SavedWalk", "Spool", "SpooledPage"]

_LONGEST_PAUSE = timedelta(days=1)
_DELETED = b"deleted"  # no digest is as short
_Known = dict[str, tuple[bytes, int, int]]


class SavedWalk(Tally, kw_only=True):
    """How far a stream's list was walked; saved with each page."""

    run: str
    started: datetime
    ended: bool = False
    """Whether the end was reached."""
    miscounted: str | None = None
    """Why the list is not whole though its end was reached; None where nothing tells so."""
    checkpoint: Checkpoint | None = None
    """Where the walk can be resumed; None where it has to begin at the top."""
    after: str = ""
    """The last object whose children were listed."""
    parent_run: str = ""
    """The run whose objects these are children of; empty where it did not list all of them."""
    newest: datetime | None = None
    """The latest change that an item told of and that lies before the walk began."""

    def count_page(self, items: Sequence[bytes], *, pages: int = 1) -> None:
        """Count what came in a page, or in several."""
        self.pages += pages
        self.listed += len(items)
        self.received += sum(map(len, items))


class Added(msgspec.Struct, frozen=True):
    """What became of the items of a page."""

    spooled: int
    """Bytes that now wait for the target."""
    seen: int
    """Different items that the walk has seen until now."""


class SpooledPage(msgspec.Struct, frozen=True):
    """Items that wait for the target."""

    seq: int
    packed: bytes
    head: Any
    parent: str | None
    refusal: str | None = None
    """Why the children of `parent` could not be had; None where they could."""


class Spool(StateFile):
    """What the streams of a job have in its state. Called from one thread at a time; only `seen_ids` opens a connection of its own."""

    # --- one stream's walk

    def begin(self, stream: str, bound: str, fresh: SavedWalk) -> tuple[SavedWalk, int, int]:
        """The walk that was left unfinished, if it is still worth going on with, else *fresh*.

        *bound* says with which mode and arguments. Also: how many items it has seen, the last page whose
        items the target was said to have.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT id, bound, walk, seen, forgotten FROM walks WHERE stream = ?", (stream,)
            ).fetchone()
            if row is not None and row[1] == bound:
                walk = msgspec.json.decode(row[2], type=SavedWalk)
                if fresh.started - walk.started < _LONGEST_PAUSE and walk.parent_run == fresh.parent_run:
                    return walk, row[3], row[4]
            if row is not None:
                self._drop(db, row[0])
            db.execute(
                "INSERT INTO walks (stream, bound, walk) VALUES (?, ?, ?)",
                (stream, bound, msgspec.json.encode(fresh)),
            )
            return fresh, 0, 0

    def last_page(self) -> int:
        """The number of the last page that was ever spooled."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pages'").fetchone()
        return row[0] if row else 0

    def add(
        self,
        stream: str,
        walk: SavedWalk,
        items: Sequence[bytes],
        *,
        head: Any = None,
        parent: str | None = None,
        refusal: str | None = None,
        since: datetime | None = None,
        by_creation: bool = False,
    ) -> Added:
        """Spool those of a page's items that were not spooled before as they are now, and save the walk.

        What says that it was not changed after *since* is only noted as seen. The walk's `newest` is that of the
        changes; with *by_creation*, of when items came.
        """
        with self._transaction() as db:
            number, seen, epoch = db.execute(
                "SELECT id, seen, epoch FROM walks WHERE stream = ?", (stream,)
            ).fetchone()
            told = ((summary_of(raw), raw) for raw in items)
            summaries = {child_key(one.id, parent): (one, raw) for one, raw in told}
            known = _known(db, number, list(summaries))
            notes: list[tuple[int, str, bytes, int, int]] = []
            waiting: list[bytes] = []
            for key, (summary, raw) in summaries.items():
                content, last, spooled = known.get(key, (b"", 0, 0))
                seen += last != epoch
                if content != summary.content:
                    spooled = int(content == _DELETED or not is_old(summary, since))
                    walk.passed += not spooled
                    if spooled:
                        waiting.append(raw)
                time = summary.created if by_creation else summary.changed
                walk.newest = newest(walk.newest, time, until=walk.started)
                notes.append((number, key, summary.content, epoch, spooled))
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", notes)
            size = 0
            if waiting or refusal:
                packed = pack(waiting)
                size = len(packed)
                db.execute(
                    "INSERT INTO pages (walk, items, count, head, parent, refusal) VALUES (?, ?, ?, ?, ?, ?)",
                    (number, packed, len(waiting), msgspec.json.encode(head), parent, refusal),
                )
            db.execute(
                "UPDATE walks SET seen = ?, walk = ? WHERE id = ?", (seen, msgspec.json.encode(walk), number)
            )
        return Added(size, seen)

    def save(self, stream: str, walk: SavedWalk) -> None:
        """Save how far the walk is."""
        with self._transaction() as db:
            db.execute("UPDATE walks SET walk = ? WHERE stream = ?", (msgspec.json.encode(walk), stream))

    def restart(self, stream: str, walk: SavedWalk) -> None:
        """The walk begins again at the top: what it has seen until now counts only when it comes again."""
        with self._transaction() as db:
            db.execute(
                "UPDATE walks SET walk = ?, seen = 0, epoch = epoch + 1 WHERE stream = ?",
                (msgspec.json.encode(walk), stream),
            )

    def next_batch(self, stream: str, after: int, *, items: int, size: int) -> list[SpooledPage]:
        """The pages after page *after*, about *items* items and *size* bytes of them, at least one page if there is one."""
        with self._failures():
            rows = self._db.execute(
                "SELECT seq, items, head, parent, refusal, count FROM pages WHERE walk = (SELECT id FROM walks WHERE stream = ?)"
                " AND seq > ? ORDER BY seq",
                (stream, after),
            )
            batch: list[SpooledPage] = []
            with closing(rows):
                for seq, packed, head, parent, refusal, count in rows:
                    items, size = items - count, size - len(packed)
                    if batch and (items < 0 or size < 0):
                        break
                    batch.append(SpooledPage(seq, packed, msgspec.json.decode(head), parent, refusal))
        return batch

    def forget(self, stream: str, upto: int, *, rest: Sequence[msgspec.Raw] = ()) -> None:
        """The target has the items up to this page, and those of the next one but *rest*, where there is any."""
        with self._transaction() as db:
            (number,) = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            db.execute("DELETE FROM pages WHERE walk = ? AND seq <= ?", (number, upto))
            db.execute("UPDATE walks SET forgotten = ? WHERE id = ?", (upto, number))
            if rest:
                db.execute(
                    "UPDATE pages SET items = ?, count = ? WHERE seq = (SELECT min(seq) FROM pages WHERE walk = ?)",
                    (pack(rest), len(rest), number),
                )

    def seen(self, stream: str) -> int:
        """How many different items the walk has seen since it last began at the top."""
        with self._failures():
            row = self._db.execute("SELECT seen FROM walks WHERE stream = ?", (stream,)).fetchone()
            return row[0] if row else 0

    def seen_ids(self, stream: str, *, changed: bool = False) -> Iterator[str]:
        """The ids that the walk has seen since it last began at the top, over a connection of its own.

        Only those that it spooled if *changed*.
        """
        with self._failures(), closing(sqlite3.connect(self._file, check_same_thread=False)) as own:
            for (one,) in own.execute(
                "SELECT seen.id FROM seen JOIN walks ON walks.id = seen.walk AND walks.epoch = seen.epoch"
                " WHERE walks.stream = ? AND seen.spooled >= ?",
                (stream, int(changed)),
            ):
                yield one

    def objects(self, stream: str, after: str, *, changed: bool, most: int) -> list[str]:
        """The next *most* ids after *after*, in their order, that a walk has seen; only those that it spooled if *changed*."""
        with self._failures():
            return [
                one
                for (one,) in self._db.execute(
                    "SELECT seen.id FROM seen JOIN walks ON walks.id = seen.walk AND walks.epoch = seen.epoch"
                    " WHERE walks.stream = ? AND seen.id > ? AND seen.spooled >= ? ORDER BY seen.id LIMIT ?",
                    (stream, after, int(changed), most),
                )
            ]

    def expect(self, stream: str, deleted: Iterable[str]) -> None:
        """Spool these ids whenever they come: the target has their rows marked as deleted."""
        with self._transaction() as db:
            (number,) = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            notes = ((number, one, _DELETED, 0, 0) for one in deleted)
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)", notes)

    def known(self, stream: str, ids: Sequence[str], *, changed: bool) -> set[str]:
        """Return those of *ids* that the walk has seen since it last began at the top; only those that it spooled if *changed*."""
        with self._failures():
            row = self._db.execute("SELECT id, epoch FROM walks WHERE stream = ?", (stream,)).fetchone()
            found = _known(self._db, row[0], [*ids]) if row else {}
        return {
            one for one, (_, epoch, spooled) in found.items() if epoch == row[1] and spooled >= int(changed)
        }

    def drop(self, stream: str) -> None:
        """The run is done with this stream."""
        with self._transaction() as db:
            row = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            if row is not None:
                self._drop(db, row[0])

    @staticmethod
    def _drop(db: sqlite3.Connection, number: int) -> None:
        for table in ("pages", "seen"):
            db.execute(f"DELETE FROM {table} WHERE walk = ?", (number,))  # noqa: S608  # our own names
        db.execute("DELETE FROM walks WHERE id = ?", (number,))


def _known(db: sqlite3.Connection, walk: int, ids: list[str]) -> _Known:
    found = db.execute(
        "SELECT seen.id, content, epoch, spooled FROM json_each(?) AS wanted CROSS JOIN seen"
        " ON seen.walk = ? AND seen.id = wanted.value",
        (msgspec.json.encode(ids).decode(), walk),
    )
    return {one: (content, epoch, spooled) for one, content, epoch, spooled in found}
