"""What every target promises a job."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from limio_async.drift.findings import Finding
from limio_async.errors import JobError, SinkError
from limio_async.sync_jobs import StreamReport
from limio_async.sync_jobs.ledger import (
    DRIFT,
    LEDGER,
    QUARANTINE,
    QUARANTINED,
    RUNS,
    STREAMS,
    drift_row,
    report_of,
    run_row,
    stream_row,
)
from limio_async.sync_jobs.sink import Change, Column, Row, Table, Unseen, Written
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.sinks.values import halved_pair
from tests.sync_jobs.sinks.targets import (
    AT,
    LATER,
    NOTES,
    OFFERS,
    POSTGRES,
    any_number,
    held,
    offer,
    opened,
    up_to,
    write,
)


def test_rows_are_inserted_updated_or_left_and_counted(url: str) -> None:
    with opened(url, OFFERS) as sink:
        assert write(sink, [offer(1), offer(2)]) == Written(inserted=2)
        again = [offer(1, name="not written"), offer(2, version="2", name="New"), offer(3)]
        assert write(sink, again) == Written(inserted=1, updated=1, unchanged=1)
        rows = held(sink)
    assert [rows[f"o-{number}"]["name"] for number in (1, 2, 3)] == ["Offer", "New", "Offer"]


def test_of_rows_with_one_key_the_last_counts(url: str) -> None:
    with opened(url, OFFERS) as sink:
        assert write(sink, [offer(1, version="1"), offer(2), offer(1, version="2")]) == Written(inserted=2)
        assert held(sink)["o-1"]["hash"] == "2"


def test_a_table_that_keeps_changes_nothing_that_is_there(url: str) -> None:
    kept = msgspec.structs.replace(OFFERS, name="offers_history", key=("id", "hash"), keeps=True)
    with opened(url, kept) as sink:
        assert write(sink, [offer(1)], kept) == Written(inserted=1)
        again = [offer(1, name="New"), offer(1, version="2")]
        assert write(sink, again, kept) == Written(inserted=1, unchanged=1)
        assert sorted((row["hash"], row["name"]) for row in sink.rows(kept)) == [
            ("1", "Offer"),
            ("2", "Offer"),
        ]


def test_a_table_that_compares_nothing_is_written_anew(url: str) -> None:
    with opened(url, NOTES) as sink:
        write(sink, [("a", "first", b"\0\xff")], NOTES)
        assert write(sink, [("a", "second", None)], NOTES) == Written(updated=1)
        assert held(sink, NOTES)["a"] == {"id": "a", "note": "second", "raw": None}


def test_values_come_back_as_they_were(url: str) -> None:
    rows: list[Row] = [
        (
            "ü 'quoted\" 😀",
            "=1+1",
            -0.1,
            -(2**63),
            False,
            datetime.min.replace(tzinfo=UTC),
            None,
            "1",
            b'{"a": [1]}',
        ),
        ("b", "", float("inf"), 2**63 - 1, True, datetime.max.replace(tzinfo=UTC), None, "1", b"[]"),
        ("c", None, None, None, None, None, None, None, None),
        ("d", "4", 4.0, 1, True, AT, None, "1", b"4"),
    ]
    with opened(url, OFFERS) as sink:
        assert [sink.refusal(OFFERS, row) for row in rows] == [None] * 4
        write(sink, rows)
        found = held(sink)
    assert [tuple(found[row[0]].values()) for row in rows] == rows
    assert [[*map(type, found[row[0]].values())] for row in rows] == [[*map(type, row)] for row in rows]


def test_a_key_of_six_hundred_characters_is_kept_whole(url: str) -> None:
    row = ("x" * 600, None, None, None, None, None, None, "1", b"{}")
    with opened(url, OFFERS) as sink:
        assert sink.refusal(OFFERS, row) is None
        write(sink, [row])
        assert [*held(sink)] == ["x" * 600]


def test_a_whole_number_that_a_double_holds_is_stored(url: str) -> None:
    row = ("o-1", None, 2**1024 - 2**970 - 1, None, None, None, None, "1", b"{}")
    with opened(url, OFFERS) as sink:
        assert sink.refusal(OFFERS, row) is None
        write(sink, [row])
        assert held(sink)["o-1"]["price"] == sys.float_info.max


def test_changes_and_what_is_remembered_of_them_are_one_transaction(url: str) -> None:
    with opened(url, OFFERS, NOTES) as sink:
        told: list[Written] = []

        def remember(written: list[Written]) -> list[Change]:
            told.extend(written)
            return [Change(NOTES, [("run", str(written[0].inserted), b"")])]

        sink.apply([Change(OFFERS, [offer(1)]), Change(NOTES, [])], then=remember)  # type: ignore[arg-type]
        assert told == [Written(inserted=1), Written()]
        assert held(sink, NOTES)["run"]["note"] == "1"


def test_nothing_is_written_where_remembering_fails(url: str) -> None:
    def fail(_: object) -> list[Change]:
        raise SinkError("no")

    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        with pytest.raises(SinkError, match="^no$"):
            sink.apply([Change(OFFERS, [offer(1, version="2"), offer(2)])], then=fail)
        assert {row["hash"] for row in sink.rows(OFFERS)} == {"1"}
        assert write(sink, [offer(2)]) == Written(inserted=1)


def test_one_table_may_be_written_twice_in_a_transaction(url: str) -> None:
    with opened(url, OFFERS) as sink:
        changes = [Change(OFFERS, [offer(1)]), Change(OFFERS, [offer(1, version="2"), offer(2)])]
        assert sink.apply(changes) == [Written(inserted=1), Written(inserted=1, updated=1)]


def test_rows_that_were_not_seen_are_marked_as_deleted_and_come_back(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(number) for number in range(10)])
        seen = (f"o-{number}" for number in [*range(8), 1, 99])
        assert sink.mark_unseen(OFFERS, seen, deleted_at=LATER, allows=up_to(0.2)) == Unseen(
            live=10, unseen=2, deleted=2
        )
        assert {row["id"] for row in sink.rows(OFFERS) if row["deleted_at"] == LATER} == {"o-8", "o-9"}
        assert write(sink, [offer(8)]) == Written(updated=1)
        assert held(sink)["o-8"]["deleted_at"] is None


def test_too_many_are_not_marked_as_deleted(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(number) for number in range(10)])
        few = [f"o-{number}" for number in range(7)]
        assert sink.mark_unseen(OFFERS, few, deleted_at=LATER, allows=up_to(0.2)) == Unseen(
            live=10, unseen=3, deleted=0
        )
        assert sink.mark_unseen(OFFERS, [], deleted_at=LATER, allows=any_number) == Unseen(
            live=10, unseen=10, deleted=10
        )
        assert sink.mark_unseen(OFFERS, [], deleted_at=AT, allows=up_to(0.0)) == Unseen(
            live=0, unseen=0, deleted=0
        )
        assert {row["deleted_at"] for row in sink.rows(OFFERS)} == {LATER}


def test_what_is_remembered_of_the_deletions_is_there_with_them_or_not_at_all(url: str) -> None:
    told: list[Unseen] = []

    def note(found: Unseen) -> list[Change]:
        told.append(found)
        return [Change(OFFERS, [offer(7)])]

    def fail(_: object) -> list[Change]:
        raise SinkError("no")

    with opened(url, OFFERS) as sink:
        write(sink, [offer(1), offer(2)])
        with pytest.raises(SinkError, match="^no$"):
            sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number, then=fail)
        assert held(sink)["o-2"]["deleted_at"] is None
        found = sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number, then=note)
        assert told == [found]
        assert {row["id"]: row["deleted_at"] for row in sink.rows(OFFERS)} == {
            "o-1": None, "o-2": LATER, "o-7": None,
        }  # fmt: skip
        sink.mark_unseen(OFFERS, [], deleted_at=LATER, allows=up_to(0.2), then=note)
        assert told[-1] == Unseen(live=2, unseen=2, deleted=0)


def test_a_row_leaves_the_quarantine_and_its_bytes_stay(url: str) -> None:
    rows: list[Row] = [
        (one, "r", "offers", one, "why", AT, b"\xff", None) for one in ("a", "b\0", "c" * 5000)
    ]
    with opened(url, QUARANTINE) as sink:
        write(sink, rows, QUARANTINE)
        kept = [row["id"] for row in sink.rows(QUARANTINE) if row["item_id"] != "a"]
        found = sink.mark_unseen(QUARANTINE, kept, deleted_at=LATER, allows=any_number)
        assert found == Unseen(live=3, unseen=1, deleted=1)
        assert all("raw" not in row for row in sink.rows(QUARANTINED)), "which may be large"
        assert held(sink, QUARANTINE)["a"] == {
            **dict(zip([one.name for one in QUARANTINE.columns], rows[0], strict=True)), "deleted_at": LATER
        }  # fmt: skip
        assert write(sink, rows[:1], QUARANTINE) == Written(updated=1)
        assert [row["deleted_at"] for row in sink.rows(QUARANTINE)] == [None] * 3


def test_what_is_remembered_of_runs_comes_back_as_it_was(url: str) -> None:
    given: dict[str, Any] = {"text": "t", "integer": 7, "number": 1.5, "time": AT}
    told = report_of(
        {**{one.name: given[one.kind] for one in RUNS.columns}, "mode": "append", "status": "complete"}
    )
    finding = Finding(model="Offer", path="$.a", kind="field", found="string", count=3, example="a date")
    remembered = [
        Change(RUNS, [run_row(told, '{"run":"r"}')]),
        Change(STREAMS, [stream_row(told, {})]),
        Change(DRIFT, [drift_row(finding, "run", "offers")]),
    ]
    with opened(url, *LEDGER) as sink:
        sink.apply(remembered)
        ((run,), (stream,), (drift,)) = (list(sink.rows(one.table)) for one in remembered)
    assert (run_row(report_of(run)), run["walk"]) == (run_row(told), '{"run":"r"}')
    assert None not in run_row(told)[:-1]
    told_elsewhere = {"passed", "refused"}  # by the walk, and by the run that fails
    assert {one.name for one in RUNS.columns[1:]} - {"walk"} == {
        *StreamReport.__struct_fields__
    } - told_elsewhere
    assert (stream["id"], stream["origin"], stream["watermark"], stream["ended"]) == (
        "t",
        "t",
        AT,
        AT,
    )
    assert (stream["failing_since"], stream["last_run"]) == (None, "t/t")
    assert (stream["seen"], stream["mode"]) == (7, "append")
    assert (drift["count"], drift["run"], drift["example"]) == (3, "run", "a date")


def test_nothing_is_marked_where_the_seen_cannot_be_read(url: str) -> None:
    def broken() -> object:
        yield "o-1"
        raise SinkError("the spool is gone")

    with opened(url, OFFERS) as sink:
        write(sink, [offer(1), offer(2)])
        with pytest.raises(SinkError, match="the spool"):
            sink.mark_unseen(OFFERS, broken(), deleted_at=LATER, allows=any_number)  # type: ignore[arg-type]
        assert sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number).deleted == 1


def test_what_was_written_is_there_after_it_was_closed(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        target = sink.target_id
    with opened(url, OFFERS) as sink:
        assert list(held(sink)) == ["o-1"]
        assert sink.target_id == target
        assert len(target) == 32


def test_rows_may_be_read_before_anything_is_prepared_and_left_half_read(url: str) -> None:
    with opened(url):
        pass
    sink = open_sink(url)
    sink.open()
    assert list(sink.rows(OFFERS)) == []
    sink.prepare([OFFERS])
    sink.apply([Change(OFFERS, [offer(number) for number in range(3000)])])
    reading = sink.rows(OFFERS)
    next(reading)
    sink.apply([Change(OFFERS, [offer(3000)])])
    assert sum(1 for _ in sink.rows(OFFERS)) == 3001
    reading.close()  # type: ignore[attr-defined]
    sink.close()
    sink.close()
    with opened(url) as again:
        assert len(held(again)) == 3001


def test_any_thread_may_call_one_after_another(url: str) -> None:
    with opened(url, OFFERS) as sink:
        for number in range(3):
            thread = threading.Thread(target=write, args=(sink, [offer(number)]))
            thread.start()
            thread.join()
        assert len(held(sink)) == 3


def test_a_table_of_an_older_version_gets_the_columns_that_are_missing(url: str) -> None:
    older = msgspec.structs.replace(
        OFFERS, columns=tuple(column for column in OFFERS.columns if column.name not in {"price", "order"})
    )
    with opened(url, older) as sink:
        write(sink, [("o-1", "Old", 1, AT, None, "1", b"{}")], older)
        assert held(sink)["o-1"]["price"] is None  # read by a newer one that has not prepared it yet
        sink.prepare([OFFERS])
        sink.prepare([OFFERS])
        assert write(sink, [offer(1, version="2"), offer(4)]) == Written(inserted=1, updated=1)
        prices = {one: row["price"] for one, row in held(sink).items()}
        assert (prices, type(prices["o-4"])) == ({"o-1": 0.25, "o-4": 1.0}, float)


def test_columns_of_the_users_own_stand_in_nobodys_way(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        sink._run(f'ALTER TABLE "offers" ADD COLUMN "mine" {sink.types["text"]}')
        assert write(sink, [offer(1, version="2"), offer(2)]) == Written(inserted=1, updated=1)
        assert held(sink)["o-1"]["hash"] == "2"


def test_a_table_of_somebody_elses_is_not_touched(url: str) -> None:
    with opened(url) as sink:
        sink._run(f'CREATE TABLE "offers" ("id" {sink.types["text"]}, "mine" {sink.types["text"]})')
        with pytest.raises(
            SinkError, match=r"has a table offers that limio did not make; choose another target"
        ):
            sink.prepare([NOTES, OFFERS])
        assert sink._shape("offers") is not None
        assert sink._shape(NOTES.name) is None, "all or nothing"


@pytest.mark.parametrize("missing", ["raw", "hash"])
def test_a_table_without_what_ours_have_is_somebody_elses(url: str, missing: str) -> None:
    with opened(url, OFFERS) as sink:
        sink._run(f'ALTER TABLE "offers" DROP COLUMN "{missing}"')
        with pytest.raises(SinkError, match="has a table offers that limio did not make"):
            sink.prepare([OFFERS])


def test_a_target_that_has_such_a_table_already_is_not_touched(url: str) -> None:
    """It looks like ours, but nothing says that it is."""
    with opened(url, OFFERS) as sink:
        sink._run('DROP TABLE "_limio_meta"')
        with pytest.raises(SinkError, match="has a table offers that limio did not make"):
            sink.prepare([OFFERS])
        assert sink._shape("_limio_meta") is None


def test_a_target_of_a_newer_release_is_refused(url: str) -> None:
    with opened(url, OFFERS) as sink:
        sink._run("""UPDATE "_limio_meta" SET "value" = '3' WHERE "key" = 'version'""")
        with pytest.raises(SinkError, match="made by a newer release"):
            sink.prepare([OFFERS])
        sink._run("""UPDATE "_limio_meta" SET "value" = 'what' WHERE "key" = 'version'""")
        with pytest.raises(SinkError, match="_limio_meta is not one that limio made"):
            sink.prepare([OFFERS])


def test_odd_texts_fail_no_batch(url: str) -> None:
    """Rows of a job's own tables are not asked about: what is odd in them is escaped or shortened."""
    odd = "\0 \ud800 \udfff"
    rows: list[Row] = [
        ("run/" + "x" * 5000, odd, odd, odd, odd, AT, b"\0\xff", None),
        ("run/" + "x" * 5001, "r", "s", "i", "why", AT, b"", None),
        (odd, "r", "s", "i", "why", AT, None, None),
    ]
    with opened(url, QUARANTINE) as sink:
        assert write(sink, [*rows, rows[2]], QUARANTINE) == Written(inserted=3)
        assert write(sink, rows, QUARANTINE) == Written(updated=3)
        found = held(sink, QUARANTINE)
    assert max(map(len, found)) <= 600
    assert found[r"\x00 \ud800 \udfff"]["reason"] == "why"
    assert {row["raw"] for row in found.values()} == {b"\0\xff", b"", None}


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, "a\0b", "id: holds a NUL"),
        (0, "a\ud800", "id: holds a NUL or half"),
        (0, "x" * 601, "id: 601 characters are too many"),
        (2, 2**1024 - 2**970, "price: is beyond what a double holds"),
        (3, 2**63, "count: is beyond 64 bits"),
        (3, -(2**63) - 1, "count: is beyond 64 bits"),
        (8, b'"\xff"', "raw: is not UTF-8"),
    ],
)
def test_what_no_target_can_hold_is_named(url: str, place: int, value: object, reason: str) -> None:
    row = list(offer(1))
    row[place] = value
    assert (open_sink(url).refusal(OFFERS, tuple(row)) or "").startswith(reason)


def test_seen_ids_may_be_odd(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        seen = ["o-1", "a\0b", "\ud800", "x" * 5000, "o-1"]
        assert sink.mark_unseen(OFFERS, seen, deleted_at=LATER, allows=any_number) == Unseen(
            live=1, unseen=0, deleted=0
        )


def test_closing_what_was_never_open_is_nothing(url: str) -> None:
    open_sink(url).close()


def test_looking_needs_no_lock_and_makes_nothing(url: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        if url.startswith("duckdb"):  # lets one process in; it may be this one
            sink.close()
        look = open_sink(url)
        try:
            look.open(to_read=True)
            assert [row["id"] for row in look.rows(OFFERS)] == ["o-1"]
            assert list(look.rows(NOTES)) == []
            with pytest.raises(JobError):
                look.apply([Change(NOTES, [("n", "note", b"")])])
        finally:
            look.close()


def test_looking_at_a_target_that_is_not_there_makes_none(url: str, kind: str, tmp_path: Path) -> None:
    for place in (url, url.replace("/limio.", "/no/such/limio.")):
        look = open_sink(place)
        with nullcontext() if kind == "postgresql" else pytest.raises(SinkError):
            look.open(to_read=True)
            assert list(look.rows(OFFERS)) == []
        look.close()
    assert list(tmp_path.iterdir()) == []
    if kind == "postgresql":
        with psycopg.connect(POSTGRES) as admin:
            schemas = admin.execute("SELECT nspname FROM pg_namespace").fetchall()
        assert (url.rpartition("=")[2],) not in schemas


def test_nothing_of_a_batch_stays_in_a_duckdb_target(tmp_path: Path) -> None:
    with opened(f"duckdb:///{tmp_path}/limio.duckdb", OFFERS) as sink:
        write(sink, [offer(1), offer(2)])
        sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number)
        looked: Any = sink
        views = looked._db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert views == []


def test_a_time_is_the_same_instant_whatever_its_zone(url: str) -> None:
    table = Table(name="moments", columns=(Column("id"), Column("at", "time")))
    zones = [timezone(timedelta(hours=hours)) for hours in (-11, 0, 2, 14)]
    with opened(url, table) as sink:
        write(sink, [(f"m-{n}", AT.astimezone(zone)) for n, zone in enumerate(zones)], table)
        rows = list(sink.rows(table))
    assert [row["at"] for row in rows] == [AT] * len(zones)


@pytest.mark.parametrize(
    ("raw", "half"),
    [(rb'"\ud83d\ude00"', False), (rb'"\ud83d"', True), (rb'"\ude00\ud83d"', True), (rb'"\\ud83d"', False)],
)
def test_half_a_surrogate_pair_is_told_from_a_whole_one(raw: bytes, half: bool) -> None:
    assert halved_pair(raw) is half
