"""How a target holds its tables: rows by condition, what changes with a column, who may read its files, older targets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE

import msgspec
import pytest

from limio_async.sync_jobs.ledger import LEDGER, RUNS
from limio_async.sync_jobs.sink import STALE, Change, Column, Condition, Prepared, Table
from limio_async.sync_jobs.sinks.files import FileSink
from limio_async.sync_jobs.spool import Spool
from tests.sync_jobs.sinks.targets import AT, LATER, OFFERS, held, offer, opened, write

WIDER = msgspec.structs.replace(OFFERS, columns=(*OFFERS.columns, Column("more")))
MARKED = msgspec.structs.replace(OFFERS, columns=(*OFFERS.columns, Column(STALE, "time")))


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_rows_are_read_and_pruned_by_condition(url: str) -> None:
    with opened(url, OFFERS) as sink:
        rows = [(*offer(n)[:5], AT + timedelta(days=n), None, "1", b"{}") for n in range(5)]
        write(sink, [*rows, (*offer(5, name=None)[:5], None, LATER, "1", b"{}")])

        def found(*where: Condition) -> list[str]:
            return sorted(row["id"] for row in sink.rows(OFFERS, where))

        day = AT + timedelta(days=2)
        assert found(Condition("updated", ">=", day)) == ["o-2", "o-3", "o-4"]
        assert found(Condition("updated", "<", day)) == ["o-0", "o-1"]
        assert found(Condition("id", "in", ["o-1", "o-4", "o-9"]), Condition("updated", "<", day)) == ["o-1"]
        assert found(Condition("count", "in", [1, 3])) == ["o-1", "o-3"]
        assert found(Condition("count", "=", 3)) == ["o-3"]
        assert found(Condition("id", "in", [])) == []
        assert found(Condition("deleted_at", "set")) == ["o-5"]
        assert [*sink.rows(WIDER, [Condition("more", "set")])] == []
        assert sink.prune(OFFERS, [Condition("updated", "<", day), Condition("name", "=", "Offer")]) == 2
        assert found() == ["o-2", "o-3", "o-4", "o-5"]
        assert sink.prune(WIDER, [Condition("more", "set")]) == 0


def test_a_table_that_was_made_anew_or_emptied_has_no_rows(url: str) -> None:
    with opened(url) as sink:
        assert sink.prepare([OFFERS]) == {"offers": Prepared(has_rows=False)}
        assert sink.prepare([OFFERS]) == {"offers": Prepared(has_rows=False)}
        write(sink, [offer(1)])
        assert sink.prepare([OFFERS]) == {"offers": Prepared(has_rows=True)}
        sink._run("ALTER TABLE offers RENAME TO others")
        assert not sink.prepare([OFFERS])["offers"].has_rows


def test_rows_get_another_salt_when_a_column_is_added_or_they_shall_be_written_anew(url: str) -> None:
    with opened(url, OFFERS) as sink:
        assert sink.prepare([WIDER])["offers"].salt == "", "there were no rows"
        write(sink, [(*offer(1), "x")], WIDER)
        assert sink.prepare([MARKED])["offers"].salt == "", "a mark is no data"
        sink._run("ALTER TABLE offers DROP COLUMN name")
        salts = [sink.prepare([WIDER])["offers"].salt for _ in range(2)]
        salts += [
            sink.prepare([WIDER], rewrite=["offers"])["offers"].salt,
            sink.prepare([WIDER])["offers"].salt,
        ]
    assert "" not in salts
    assert (salts[0] == salts[1], salts[1] == salts[2], salts[2] == salts[3]) == (True, False, True)


def test_versions_that_are_kept_have_no_salt(url: str) -> None:
    kept = msgspec.structs.replace(OFFERS, key=("id", "hash"), keeps=True)
    with opened(url, kept) as sink:
        write(sink, [offer(1)], kept)
        wider = msgspec.structs.replace(kept, columns=(*kept.columns, Column("more")))
        assert sink.prepare([wider], rewrite=["offers"])["offers"].salt == ""


def test_a_target_of_version_1_is_taken_over_in_place(url: str) -> None:
    with opened(url, OFFERS, *LEDGER) as sink:
        write(sink, [offer(1)])
        sink._run("""UPDATE "_limio_meta" SET "value" = '1' WHERE "key" = 'version'""")
        if sink.keyed:
            sink._run('DROP INDEX "_limio_runs_started"')
        before = held(sink)
    with opened(url, MARKED, *LEDGER) as sink:
        assert held(sink) == before
        assert sink._meta("version") == "2"
        if sink.keyed:
            sink._run('DROP INDEX "_limio_runs_started"')
        assert write(sink, [(*offer(1), None)], MARKED).unchanged == 1


def test_the_runs_that_began_lately_are_found_without_reading_all(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/a.db", *LEDGER) as sink:
        condition, bound = sink._where(RUNS, [Condition("started", ">=", AT)])
        ((*_, plan),) = sink._ask(f"EXPLAIN QUERY PLAN SELECT * FROM _limio_runs{condition}", *bound)  # noqa: S608
    assert "_limio_runs_started" in plan


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "ndjson", "csv", "parquet"])
@pytest.mark.parametrize(("asked", "mode"), [("", 0o600), ("?mode=640", 0o640)])
def test_only_their_owner_may_read_the_files_whatever_the_umask(
    tmp_path: Path, url: str, asked: str, mode: int
) -> None:
    with opened(url + asked, OFFERS) as sink:
        for number in range(2):
            write(sink, [offer(number)])
            sink.publish(OFFERS)
            files = [file for file in tmp_path.rglob("*") if file.is_file() and ".lock" not in file.name]
            assert files
            assert {file.name: S_IMODE(file.stat().st_mode) for file in files} == {
                file.name: mode for file in files
            }
    assert all(S_IMODE(one.stat().st_mode) == mode for one in tmp_path.rglob("*") if one.is_file())


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "ndjson", "parquet"])
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, url: str) -> None:
    for version in "12":
        with opened(url, OFFERS) as sink:
            write(sink, [offer(1, version=version)])
            sink.publish(OFFERS)
            found = {file: S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*.*") if file.is_file()}
            wanted = 0o600 if version == "1" else 0o644
            assert {mode for file, mode in found.items() if ".lock" not in file.name} == {wanted}
        for file in tmp_path.rglob("*"):
            if file.is_file():
                file.chmod(0o644)


@pytest.mark.usefixtures("_umask")
def test_only_its_owner_may_read_the_state_of_a_job(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state")
    spool.lock()
    spool.open(target="t", origin="o")
    assert S_IMODE((tmp_path / "state").stat().st_mode) == 0o600
    spool.close()


def test_files_of_another_format_are_named_and_only_they_are_removed(tmp_path: Path) -> None:
    orders = msgspec.structs.replace(
        OFFERS, name="orders", columns=tuple(c for c in OFFERS.columns if c.name != "name")
    )

    def run(url: str, *tables: Table) -> list[str]:
        with opened(url, *tables) as sink:
            assert isinstance(sink, FileSink)
            for table in tables:
                sink.apply([Change(table, [tuple(offer(1)[OFFERS.at(c.name)] for c in table.columns)])])
                sink.publish(table)
            return [*sink.stale_files()]

    (tmp_path / "mine.csv").write_text("")
    assert run(f"csv:{tmp_path}", OFFERS, orders) == []
    assert run(f"csv:{tmp_path}", OFFERS) == [], "another job may write the other one"
    assert run(f"csv:{tmp_path}?columns=name", OFFERS, orders) == ["orders.csv"]
    assert run(f"ndjson:{tmp_path}", OFFERS) == ["offers.csv", "orders.csv"]
    assert run(f"ndjson:{tmp_path}?compress=gzip", OFFERS) == ["offers.csv", "offers.ndjson", "orders.csv"]
    (tmp_path / "orders.csv").unlink()
    with opened(f"ndjson:{tmp_path}?compress=gzip", OFFERS) as sink:
        assert isinstance(sink, FileSink)
        sink.remove_stale_files()
        assert sink.stale_files() == []
    assert {file.name for file in tmp_path.iterdir()} == {"_limio", "mine.csv", "offers.ndjson.gz"}
