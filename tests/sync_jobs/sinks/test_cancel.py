"""Every target ends soon what it does when it is cancelled, and is of use when it is opened again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from limio_async.errors import SinkError, TargetBusy
from limio_async.sync_jobs.sinks.duckdb import DuckdbSink
from tests.sync_jobs.sinks.targets import LATER, OFFERS, any_number, held, offer, opened, write


def without_end() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"x-{number}"


def test_what_is_under_way_ends_and_nothing_begins_until_it_is_opened_again(url: str, kind: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(1), offer(2)])
        timer = threading.Timer(0.3, sink.cancel)
        timer.start()
        began = monotonic()
        with pytest.raises(SinkError, match="cancelled$"):
            sink.mark_unseen(OFFERS, without_end(), deleted_at=LATER, allows=any_number)
        assert monotonic() - began < 5
        timer.join()
        with pytest.raises(SinkError, match="cancelled$"):
            write(sink, [offer(3)])
        sink.close()
        sink.open()
        sink.prepare([OFFERS])
        assert {one["id"] for one in held(sink).values() if one["deleted_at"] is None} == {"o-1", "o-2"}
        sink.cancel(only_blocked=True)
        assert write(sink, [offer(3)]).inserted == 1, "it waits for nobody"


def test_a_long_statement_of_duckdb_is_interrupted(tmp_path: Path) -> None:
    with opened(f"duckdb:///{tmp_path}/limio.duckdb", OFFERS) as sink:
        assert isinstance(sink, DuckdbSink)
        timer = threading.Timer(0.3, sink.cancel)
        timer.start()
        began = monotonic()
        with pytest.raises(SinkError, match="cancelled$"), sink._failures():
            sink._run("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7")
        assert monotonic() - began < 5
        timer.join()


@pytest.mark.parametrize(("only_blocked", "kind"), [(True, TargetBusy), (False, SinkError)])
def test_a_wait_for_another_program_in_sqlite_can_be_given_up(
    tmp_path: Path, only_blocked: bool, kind: type[Exception]
) -> None:
    with (
        opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink,
        closing(sqlite3.connect(tmp_path / "limio.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, sink.cancel, kwargs={"only_blocked": only_blocked})
        timer.start()
        began = monotonic()
        with pytest.raises(kind):
            write(sink, [offer(1)])
        assert monotonic() - began < 3
        timer.join()
        other.execute("ROLLBACK")


def test_another_program_in_sqlite_is_waited_for(tmp_path: Path) -> None:
    with (
        opened(f"sqlite:///{tmp_path}/limio.db", OFFERS) as sink,
        closing(
            sqlite3.connect(tmp_path / "limio.db", isolation_level=None, check_same_thread=False)
        ) as other,
    ):
        other.execute("BEGIN IMMEDIATE")

        def let_go() -> None:
            sleep(0.6)
            other.execute("COMMIT")

        thread = threading.Thread(target=let_go)
        thread.start()
        assert write(sink, [offer(1)]).inserted == 1
        thread.join()
