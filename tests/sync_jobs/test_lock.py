"""A lock is held by one at a time, and leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from limio_async.errors import SinkError, TargetBusy
from limio_async.sync_jobs.lock import locked

TURNS = 300


def take_turns(directory: Path, until: float) -> None:
    """Hold the lock again and again; whoever finds somebody else inside says so."""
    inside, mine, turns = directory / "inside", directory / str(os.getpid()), 0
    while turns < TURNS and time.monotonic() < until:
        try:
            lock = locked(directory / "lock")
        except TargetBusy:
            continue
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            inside.unlink()
            mine.touch()  # takes a number that may be free
            mine.unlink()
        except FileExistsError:
            (directory / "broken").touch()
        lock.close()
        turns += 1
    (directory / f"turns-{os.getpid()}").write_text(str(turns))


def test_of_many_processes_one_at_a_time_holds_it(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    runners = [spawn.Process(target=take_turns, args=(tmp_path, time.monotonic() + 60)) for _ in range(4)]
    for one in runners:
        one.start()
    for one in runners:
        one.join(70)
    assert not (tmp_path / "broken").exists()
    assert [int(one.read_text()) for one in tmp_path.glob("turns-*")] == [TURNS] * 4
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(("times", "is_held"), [(1, True), (49, True), (50, False)])
def test_a_file_that_reads_badly_is_tried_again(
    times: int, is_held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, left = sqlite3.connect, [times]

    class Gone(sqlite3.Connection):
        def execute(self, *args: Any) -> Any:
            if left[0]:
                left[0] -= 1
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSTAT
                raise error
            return super().execute(*args)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more, factory=Gone))
    if is_held:
        locked(tmp_path / "lock").close()
    else:
        with pytest.raises(SinkError, match="disk I/O error"):
            locked(tmp_path / "lock")


def test_a_file_that_its_last_holder_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was open already when the holder let go."""
    file = tmp_path / "lock"
    first, connect = locked(file), sqlite3.connect

    def connect_and_lose(*args: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **named)
        monkeypatch.setattr(sqlite3, "connect", connect)
        first.close()
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_lose)
    second = locked(file)
    with pytest.raises(TargetBusy):
        locked(file)
    second.close()
    locked(file).close()


def test_a_file_with_the_number_of_one_that_was_removed_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is a third one, which nobody sees any more. Here numbers are given again at once."""
    file, connect = tmp_path / "lock", sqlite3.connect
    other: list[Any] = []
    numbers: list[bool] = []

    def connect_to_another(*args: Any, **named: Any) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite3, "connect", connect)
        wanted = file.stat().st_ino
        file.unlink()
        (filler := tmp_path / "filler").touch()  # has the number
        connection: sqlite3.Connection = connect(*args, **named)
        file.unlink()
        filler.unlink()
        other.append(locked(file))
        numbers.append(file.stat().st_ino == wanted)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_to_another)
    with pytest.raises(TargetBusy):
        locked(file)
    assert numbers == [False]  # else its number says nothing
    other[0].close()
    locked(file).close()


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), sqlite3.DatabaseError("file is not a database")]
)
def test_a_file_that_cannot_be_a_lock_raises_and_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: sqlite3.Error
) -> None:
    opened: list[sqlite3.Connection] = []

    class Broken(sqlite3.Connection):
        def execute(self, *_: Any) -> Any:
            raise error

    def connect(*args: Any, **named: Any) -> sqlite3.Connection:
        opened.append(Broken(*args, **named))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(SinkError, match=f"{tmp_path / 'lock'}: {error}") as caught:
        locked(tmp_path / "lock")
    assert ("remove it" in str(caught.value)) is not isinstance(error, sqlite3.OperationalError)
    (one,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        one.cursor()
