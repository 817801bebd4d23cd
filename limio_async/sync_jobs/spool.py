"""What was listed and is not in the target yet: a job's own state, a SQLite file beside the target.

Where the target does not keep up with a list, pages wait in it, so that no slow target holds a scroll open. It also keeps
which items a walk has seen, and where a walk can go on. Losing it loses nothing: streams are then listed anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import msgspec

from limio_async.sync_jobs.packing import pack
from limio_async.sync_jobs.rows import Item, Summary, child_key, summary_of
from limio_async.sync_jobs.spool_file import StateFile
from limio_async.sync_jobs.times import is_old, newest
from limio_async.sync_jobs.walk import Noted, Page, SavedWalk, SpooledPage

__all__ = ["Spool"]

_LONGEST_PAUSE = timedelta(days=1)
_DELETED = b"deleted"  # no digest is as short
_LOST = b""
_Told = Mapping[str, tuple[Summary, bytes]]
_Known = dict[str, tuple[bytes, int, int, int]]


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

    def rewind(self, stream: str, delivered: int, position: SavedWalk | None) -> SavedWalk | None:
        """Forget the first page that was only in memory when a run came to its end, and those that follow it.

        Gives the walk behind the last page before it: *position*, which the target has. None where no page was lost.
        """
        with self._transaction() as db:
            number, left = db.execute("SELECT id, walk FROM walks WHERE stream = ?", (stream,)).fetchone()
            ((lost,),) = db.execute(
                "SELECT min(seq) FROM pages WHERE walk = ? AND seq > ? AND items IS NULL", (number, delivered)
            )
            if lost is None:
                return None
            own = msgspec.json.decode(left, type=SavedWalk)
            # one of a walk that began at the top again since tells nothing of this one
            is_own = position is not None and position.restarts == own.restarts
            walk = position if position is not None and is_own else own.begun()
            db.execute("DELETE FROM pages WHERE walk = ? AND seq >= ?", (number, lost))
            # they count as seen all the same: rather a row too many than one that is marked as deleted
            db.execute("UPDATE seen SET content = ? WHERE walk = ? AND page >= ?", (_LOST, number, lost))
            db.execute("UPDATE walks SET walk = ? WHERE id = ?", (msgspec.json.encode(walk), number))
            return walk

    def note(
        self,
        stream: str,
        walk: SavedWalk,
        pages: Sequence[Page],
        *,
        keeps: bool,
        apart: bool = False,
        delivered: int = 0,
        by_creation: bool = False,
    ) -> Noted:
        """Note the items of *pages* as seen. Gives those that were not noted before as they are now; it *keeps* them, or
        does not, each in a page of its own where they shall be *apart*.

        What says that it was not changed after the page's `since` is only noted. *walk* is told what the items tell: how
        many were passed over, and `newest`, of the changes or, with *by_creation*, of when items came. Pages up to
        *delivered* are in the target.
        """
        summaries = [_summaries(page) for page in pages]
        fresh: list[Item] = []
        seq = size = 0
        saved = b""
        with self._transaction() as db:
            number, seen, epoch = db.execute(
                "SELECT id, seen, epoch FROM walks WHERE stream = ?", (stream,)
            ).fetchone()
            for page, told in zip(pages, summaries, strict=True):
                seq = db.execute("INSERT INTO pages (walk) VALUES (?)", (number,)).lastrowid or 0
                notes, new = _notes(db, (number, epoch, seq), page, told)
                seen += new
                items = [_item(page, key, *told[key]) for key, spooled in notes.items() if spooled]
                walk.passed += sum(not spooled for spooled in notes.values())
                for summary, _ in told.values():
                    time = summary.created if by_creation else summary.changed
                    walk.newest = newest(walk.newest, time, until=walk.started)
                page.walk.passed, page.walk.newest = walk.passed, walk.newest
                saved = msgspec.json.encode(page.walk)
                fresh += items
                if keeps:
                    size += _keep(db, number, page, items, saved, apart=apart)
                    db.execute("DELETE FROM pages WHERE seq = ?", (seq,))
            db.execute("UPDATE walks SET seen = ?, walk = ? WHERE id = ?", (seen, saved, number))
            if delivered:
                _forget(db, number, delivered)
        return Noted(seq=seq, seen=seen, walk=saved.decode(), fresh=fresh, spooled=size)

    def restart(self, stream: str, walk: SavedWalk) -> None:
        """The walk begins again at the top: what it has seen until now counts only when it comes again."""
        with self._transaction() as db:
            db.execute(
                "UPDATE walks SET walk = ?, seen = 0, epoch = epoch + 1 WHERE stream = ?",
                (msgspec.json.encode(walk), stream),
            )

    def next_batch(self, stream: str, after: int, *, items: int, size: int) -> list[SpooledPage]:
        """The pages that are kept after page *after*, about *items* items and *size* bytes of them, at least one page if there is one."""
        with self._failures():
            rows = self._db.execute(
                "SELECT seq, items, head, parent, refusal, count, walk_after FROM pages"
                " WHERE walk = (SELECT id FROM walks WHERE stream = ?) AND seq > ? AND items IS NOT NULL ORDER BY seq",
                (stream, after),
            )
            batch: list[SpooledPage] = []
            with closing(rows):
                for seq, packed, head, parent, refusal, count, walk in rows:
                    items, size = items - count, size - len(packed)
                    if batch and (items < 0 or size < 0):
                        break
                    batch.append(SpooledPage(seq, packed, msgspec.json.decode(head), parent, refusal, walk))
        return batch

    def forget(self, stream: str, upto: int) -> None:
        """The target has the items up to this page."""
        with self._transaction() as db:
            (number,) = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            _forget(db, number, upto)

    def waiting(self, stream: str, after: int) -> int:
        """How many bytes of a stream's items wait for the target, which has those up to page *after*."""
        with self._failures():
            ((size,),) = self._db.execute(
                "SELECT coalesce(sum(length(items)), 0) FROM pages WHERE walk = (SELECT id FROM walks WHERE stream = ?)"
                " AND seq > ?",
                (stream, after),
            )
        return int(size)

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
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?, 0)", notes)

    def known(self, stream: str, ids: Sequence[str], *, changed: bool) -> set[str]:
        """Return those of *ids* that the walk has seen since it last began at the top; only those that it spooled if *changed*."""
        with self._failures():
            row = self._db.execute("SELECT id, epoch FROM walks WHERE stream = ?", (stream,)).fetchone()
            found = _known(self._db, row[0], [*ids]) if row else {}
        return {
            one
            for one, (_, epoch, spooled, _) in found.items()
            if epoch == row[1] and spooled >= int(changed)
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
        "SELECT seen.id, content, epoch, spooled, page FROM json_each(?) AS wanted CROSS JOIN seen"
        " ON seen.walk = ? AND seen.id = wanted.value",
        (msgspec.json.encode(ids).decode(), walk),
    )
    return {one: (content, epoch, spooled, page) for one, content, epoch, spooled, page in found}


def _summaries(page: Page) -> _Told:
    """The items of a page by their keys; of those with the same, the last."""
    told = ((summary_of(raw), raw) for raw in page.items)
    if page.parent is None:
        return {one.id: (one, raw) for one, raw in told}
    return {child_key(one.id, page.parent): (one, raw) for one, raw in told}


def _item(page: Page, key: str, summary: Summary, raw: bytes) -> Item:
    return Item(raw, key, page.head or {}, page.parent, summary.content)


def _notes(
    db: sqlite3.Connection, spot: tuple[int, int, int], page: Page, told: _Told
) -> tuple[dict[str, bool], int]:
    """Note the items of a page. Return those that the walk did not know as they are, each with whether the target
    has to be told of it, and how many of all the walk had not seen."""
    number, epoch, seq = spot
    notes = {key: not is_old(summary, page.since) for key, (summary, _) in told.items()}
    rows = [(number, key, told[key][0].content, epoch, int(spooled), seq) for key, spooled in notes.items()]
    before = db.total_changes
    db.execute("SAVEPOINT page")
    db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?, ?)", rows)
    if db.total_changes - before == len(rows):
        db.execute("RELEASE page")
        return notes, len(rows)
    db.execute("ROLLBACK TO page")
    db.execute("RELEASE page")
    known, new = _known(db, number, [*told]), len(told)
    rows.clear()
    for key, (summary, _) in told.items():
        content, last, spooled, page_of = known.get(key, (_LOST, 0, 0, 0))
        new -= last == epoch
        if content == summary.content:
            del notes[key]
        else:
            notes[key] = notes[key] or content == _DELETED or (content == _LOST and bool(spooled))
            spooled, page_of = int(notes[key]), seq
        rows.append((number, key, summary.content, epoch, spooled, page_of))
    db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)", rows)
    return notes, new


def _keep(
    db: sqlite3.Connection, number: int, page: Page, items: Sequence[Item], saved: bytes, *, apart: bool
) -> int:
    """Keep items until the target has them, and return their size."""
    parts = [[one] for one in items] if apart else [items] if items or page.refusal else []
    head, size = msgspec.json.encode(page.head), 0
    rows: list[tuple[Any, ...]] = []
    for part in parts:
        packed = pack([item.raw for item in part])
        size += len(packed)
        # what is kept is not lost, so no walk begins again behind one of several
        walk = None if apart else saved.decode()
        rows.append((number, packed, len(part), head, page.parent, page.refusal, walk))
    db.executemany(
        "INSERT INTO pages (walk, items, count, head, parent, refusal, walk_after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return size


def _forget(db: sqlite3.Connection, number: int, upto: int) -> None:
    db.execute("DELETE FROM pages WHERE walk = ? AND seq <= ?", (number, upto))
    db.execute("UPDATE walks SET forgotten = max(forgotten, ?) WHERE id = ?", (upto, number))
