"""Targets that cannot be used: what is said, and that nothing of what was there is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from limio_async.errors import SinkError, TargetBusy
from limio_async.sync_jobs.sink import Written
from limio_async.sync_jobs.sinks import open_sink, sqlite
from limio_async.sync_jobs.sinks.sql import SqlSink
from tests.sync_jobs.sinks.conftest import FILES
from tests.sync_jobs.sinks.targets import LATER, OFFERS, any_number, held, offer, opened, small_disk, write

DATABASES = ["sqlite", "duckdb"]
DIRECTORIES = ["ndjson", "csv", "parquet"]


def refused(url: str, *, to_read: bool = False) -> str:
    """What is said where the target cannot be opened; nothing stays open."""
    sink = open_sink(url)
    try:
        with pytest.raises(SinkError) as caught:
            sink.open(to_read=to_read)
    finally:
        sink.close()
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", DATABASES)
def test_a_directory_where_a_file_should_be(tmp_path: Path, kind: str) -> None:
    assert "is there a directory in its place" in refused(f"{kind}:///{tmp_path}")


@pytest.mark.parametrize("kind", FILES)
def test_a_file_where_a_directory_should_be(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    assert "there is a file where" in refused(FILES[kind].format(tmp_path / "file"))


@pytest.mark.parametrize("kind", DATABASES)
def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"id,name\n" * 1000)
    for to_read in (False, True):
        said = refused(f"{kind}:///{file}", to_read=to_read)
        assert "choose another file, or move this one away" in said
    assert file.read_bytes() == b"id,name\n" * 1000


def test_a_database_of_the_other_kind(tmp_path: Path) -> None:
    for kind, other in (DATABASES, DATABASES[::-1]):
        file = tmp_path / kind
        with opened(f"{kind}:///{file}", OFFERS):
            pass
        assert "choose another file" in refused(f"{other}:///{file}").lower()


@pytest.mark.parametrize("kind", FILES)
def test_a_place_where_nobody_may_write(kind: str) -> None:
    refused(FILES[kind].format("/proc/limio"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user that owns nothing, where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may enter."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    for spot in (made, *made.rglob("*")):
        spot.chmod(0o755)
    shutil.rmtree(made)


@pytest.mark.parametrize("kind", FILES)
def test_a_target_that_may_only_be_read(kind: str, public: Path) -> None:
    url = FILES[kind].format(public)
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        sink.publish(OFFERS)
    for spot in public.rglob("*"):
        spot.chmod(0o555 if spot.is_dir() else 0o444)
    public.chmod(0o555)
    with as_nobody():
        refused(url)
    public.chmod(0o755)
    with opened(url) as sink:
        assert list(held(sink)) == ["o-1"]


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_directory_whose_files_may_not_be_replaced(kind: str, public: Path) -> None:
    url = FILES[kind].format(public)
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        public.joinpath(kind).chmod(0o555)
        public.joinpath(kind, "_limio").chmod(0o777)
        with as_nobody(), pytest.raises(SinkError, match=r"offers\..*: Permission denied"):
            sink.publish(OFFERS)


def test_a_database_that_another_program_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_WAIT", 0.01)
    busy = "another program is writing to it; wait for it, or stop it"
    url = f"sqlite:///{tmp_path}/limio.db"
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1)])
        other = sqlite3.connect(tmp_path / "limio.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TargetBusy, match=busy):
            write(sink, [offer(2)])
        sink.close()  # our own lock would answer first
        late = open_sink(url)
        with pytest.raises(TargetBusy, match=busy):
            late.open()
        late.close()
        other.execute("ROLLBACK")
        other.close()
    with opened(url, OFFERS) as sink:
        write(sink, [offer(2)])
        assert len(held(sink)) == 2


def test_a_program_that_writes_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    with (
        opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink,
        closing(
            sqlite3.connect(tmp_path / "limio.db", isolation_level=None, check_same_thread=False)
        ) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        timer.start()
        assert write(sink, [offer(1)]) == Written(inserted=1)
        timer.join()


def test_no_other_program_writes_to_a_database_while_a_transaction_looks_at_it(tmp_path: Path) -> None:
    def seen() -> Iterator[str]:
        yield "o-1"
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM offers")

    with (
        opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink,
        closing(sqlite3.connect(tmp_path / "limio.db", timeout=0, isolation_level=None)) as other,
    ):
        write(sink, [offer(1), offer(2)])
        assert sink.mark_unseen(OFFERS, seen(), deleted_at=LATER, allows=any_number).deleted == 1


def test_a_database_that_another_program_has_to_itself_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a journal of our kind nothing would tell that it changes meanwhile."""
    monkeypatch.setattr(sqlite, "_WAIT", 0.01)
    with opened(f"sqlite:///{tmp_path}/limio.db", OFFERS):
        pass
    with closing(sqlite3.connect(tmp_path / "limio.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        look = open_sink(f"sqlite:///{tmp_path}/limio.db")
        with pytest.raises(TargetBusy, match="another program is writing to it"):
            look.open(to_read=True)
        look.close()


@pytest.mark.parametrize("journal", ["whole", "empty"])
def test_a_journal_that_cannot_be_read_is_not_passed_over(tmp_path: Path, journal: str) -> None:
    """What was committed is in it; a read-only disk takes no index of it."""
    with opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink:
        write(sink, [offer(1)])
        for name in ("limio.db", "limio.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"copy of {name}")
    if journal == "empty":
        shutil.copy(tmp_path / "limio.db", tmp_path / "copy of limio.db")
        (tmp_path / "copy of limio.db-wal").write_bytes(b"")
    (tmp_path / "copy of limio.db-shm").symlink_to("nowhere/index")
    look = open_sink(f"sqlite:///{tmp_path}/copy of limio.db")
    refused = pytest.raises(SinkError, match="unable to open") if journal == "whole" else nullcontext()
    with refused:
        look.open(to_read=True)
        assert [row["id"] for row in look.rows(OFFERS)] == ["o-1"]
    look.close()


def test_a_duckdb_file_that_another_program_has_open(tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path}/limio.duckdb"
    code = f"import duckdb; c = duckdb.connect('{tmp_path}/limio.duckdb'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TargetBusy, match="another program has it open; DuckDB lets one in at a time"):
            open_sink(url).open()
        other.communicate(b"\n")
    with opened(url, OFFERS):
        pass


def batch(number: int) -> list[tuple[object, ...]]:
    raw = os.urandom(1500).hex().encode()
    return [offer(number * 100 + place, version=str(number), raw=b'"%b"' % raw) for place in range(100)]


@pytest.mark.parametrize("kind", FILES)
def test_a_full_disk_costs_nothing_that_was_written(kind: str, tmp_path: Path) -> None:
    url = FILES[kind].format(tmp_path)
    done = 0
    with opened(url, OFFERS) as sink, small_disk(8 * 1024 * 1024), pytest.raises(SinkError, match="disk"):
        for number in range(1000):
            write(sink, batch(number))
            done += 1
    assert done > 5
    with opened(url, OFFERS) as sink:
        assert len(held(sink)) == done * 100
        write(sink, batch(done))
        sink.publish(OFFERS)
        assert len(held(sink)) == done * 100 + 100


def test_a_full_disk_of_sqlite_s_own_measure(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink:
        write(sink, batch(0))
        ((pages,),) = sink._ask("PRAGMA page_count")
        sink._run(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(SinkError, match=r"database or disk is full \(make room on the disk"):
            write(sink, batch(1))
        sink._run("PRAGMA max_page_count = 1000000")
        write(sink, batch(1))
        assert len(held(sink)) == 200


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_disk_that_is_full_when_a_file_is_written(kind: str, tmp_path: Path) -> None:
    with opened(FILES[kind].format(tmp_path), OFFERS) as sink:
        write(sink, batch(0))
        sink.publish(OFFERS)
        before = _published(tmp_path / kind)
        write(sink, batch(1))
        with small_disk(2000), pytest.raises(SinkError, match="what was there before is untouched"):
            sink.publish(OFFERS)
        assert _published(tmp_path / kind) == before
        sink.publish(OFFERS)
        assert _published(tmp_path / kind) != before


def _published(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def test_a_target_that_is_gone_meanwhile_is_another_target(tmp_path: Path) -> None:
    targets: list[str] = []
    for _ in range(2):
        with opened(f"ndjson:{tmp_path}/here", OFFERS) as sink:
            assert isinstance(sink, SqlSink)
            targets.append(sink.target_id)
        shutil.rmtree(tmp_path / "here")
    assert targets[0] != targets[1]
