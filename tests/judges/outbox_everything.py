"""A program that does everything with an outbox, forked again and again, and killed at the line that it is told.

It reads commands from stdin, one JSON line each, see `Command`, and answers each with one line, see `Report`. A process
that has imported everything and forks costs no start of an interpreter for each kill.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec
import psycopg

import limio_async
from limio_async import BearerToken, Limio
from limio_async.outbox import KeyReused, Outbox, Outcome
from limio_async.sync_jobs.sinks.urls import file_of, server_of
from tests.judges.outbox_child import order_of
from tests.judges.outbox_faults import plant

__all__ = ["KEYS", "LATE", "ROOT", "SENT", "Command", "Report", "restored"]

ROOT = Path(limio_async.__file__).parent
WATCHED = (str(ROOT / "outbox") + os.sep, str(ROOT / "stores") + os.sep)
SENT, LATE = 8, 8  # keys that are sent at first; the one that is intended when all others are settled
KEYS = [f"key-{number}" for number in range(LATE + 1)]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does, and where it is killed: when it comes to *line* for the *nth* time."""

    url: str
    host: str
    when_missing: Literal["park", "resend"]
    settle: float
    line: str | None = None
    nth: int = 1
    records: bool = False
    plant: str = ""
    """The name of a fault that is planted."""


class Report(msgspec.Struct, kw_only=True):
    """What came of it; `lines` are how often each was come to, if they were recorded."""

    killed: bool = False
    code: int = 0
    said: list[tuple[str, str, list[str], str | None]] = []
    told: list[tuple[str, str]] = []
    lines: dict[str, int] = {}
    errors: str = ""


def traced(command: Command, lines: dict[str, int]) -> Callable[..., Any]:
    """Return a trace function that counts *lines*, and kills this process at the one of *command*."""
    name, _, number = (command.line or ":0").rpartition(":")
    target, left = int(number), command.nth

    def local(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if event == "line":
            if command.records:
                where = f"{frame.f_code.co_filename[len(str(ROOT)) + 1 :]}:{frame.f_lineno}"
                lines[where] = lines.get(where, 0) + 1
            elif frame.f_lineno == target and frame.f_code.co_filename.endswith(name):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        return local

    def called(frame: FrameType, event: str, _: object) -> Any:
        return local if frame.f_code.co_filename.startswith(WATCHED) else None

    return called


@contextmanager
def own_transaction(url: str) -> Generator[Any]:
    """A transaction of the user's own, in the outbox's database."""
    if url.startswith("sqlite"):
        db = sqlite3.connect(file_of(url, "sqlite")[0], timeout=20)
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                yield db
        finally:
            db.close()
    else:
        with psycopg.connect(server_of(url)[0]) as connection:
            yield connection


def table_of(url: str) -> str:
    """Return what the user's own table is called in a transaction."""
    return "told" if url.startswith("sqlite") else f"{server_of(url)[1]}.told"


def restored(url: str) -> None:
    """Make the database one that goes on from another history than it did."""
    prefix = "" if url.startswith("sqlite") else f"{server_of(url)[1]}."
    other = f"UPDATE {prefix}_limio_outbox_meta SET value = 'another/{0:020d}' WHERE name = 'generation'"  # noqa: S608
    with own_transaction(url) as tx:
        if tx.execute(other).rowcount != 1:
            raise LookupError("the outbox keeps its generation elsewhere")


def others_order(host: str, how: str) -> None:
    """Say to the tenant whether anybody else orders there."""
    with closing(HTTPConnection(host.removeprefix("http://"), timeout=20)) as tenant:
        tenant.request("POST", f"/judge/{how}", body=b"")
        tenant.getresponse().read()


async def everything(command: Command) -> Report:
    """Intend, send, decide and tidy up, whatever a process before has done of that."""
    url, report, now = command.url, Report(), datetime.now(UTC)
    others_order(command.host, "busy")
    if not url.startswith("sqlite"):
        with own_transaction(url) as tx:
            tx.execute(f"CREATE SCHEMA IF NOT EXISTS {server_of(url)[1]}")
    mark = "?" if url.startswith("sqlite") else "%s"
    box = Outbox(url, when_missing=command.when_missing, settle=timedelta(seconds=command.settle))

    async def tell(outcome: Outcome, tx: Any) -> None:
        text = f"INSERT INTO {table_of(url)} VALUES ({mark}, 'accepted')"  # noqa: S608
        tx.execute(text, (outcome.key,))

    async def listen(outcome: Outcome, tx: Any) -> None:
        pass

    box.on("accepted")(tell)
    for event in ("refused", "failed", "doubt", "doubled"):
        box.on(event)(listen)
    async with box, Limio(command.host, auth=BearerToken("e30.e30.e30"), plain_http=True) as limio:
        with own_transaction(url) as tx:
            tx.execute(f"CREATE TABLE IF NOT EXISTS {table_of(url)} (key text, event text)")
        await asyncio.gather(*(box.intend(KEYS[number], order_of(number)) for number in range(SENT - 2)))
        with own_transaction(url) as tx:
            await box.intend(KEYS[SENT - 2], order_of(SENT - 2), tx=tx)
        with own_transaction(url) as tx:
            tx.execute(
                *box.statement(KEYS[SENT - 1], order_of(SENT - 1), "qmark" if mark == "?" else "format")
            )
        with suppress(KeyReused):
            await box.intend(KEYS[1], order_of(2))
        await box.pause()
        await box.resume()
        await box.run(limio, until_idle=True)
        if (
            await box.outcome(KEYS[6])
        ).state == "accepted":  # not where it was on its way at the kill, and lost
            await box.failed(KEYS[6], {"message": "it ended badly"})
        for number, one in enumerate(await box.list("parked")):
            again = bool(number % 2)
            await box.resolve(one.key, None if again else "never", send_again=again, by="judge")
        await box.pause()
        with suppress(KeyReused):  # its body may be emptied already
            await box.intend(KEYS[LATE], order_of(LATE), most_waiting=1000)
            await box.doubt(since=now - timedelta(hours=1))
        others_order(command.host, "quiet")  # a list that shows nothing later
        await box.resume()
        await box.run(limio, until_idle=True)
        await box.stats()
        report.said = [(one.key, one.state, [*one.order_ids], one.error) for one in await box.list()]
        await box.order(KEYS[0])
        await box.purge(before=datetime.now(UTC) - timedelta(days=1))
        await box.erase(key=KEYS[SENT - 1], cancel=True)
    with own_transaction(url) as tx:
        report.told = tx.execute(f"SELECT key, event FROM {table_of(url)}").fetchall()  # noqa: S608
    return report


def _forked(command: Command, pipe: int) -> None:
    lines: dict[str, int] = {}
    plant(command.plant)
    if command.line or command.records:
        trace = traced(command, lines)
        threading.settrace(trace)
        sys.settrace(trace)
    try:
        report = asyncio.run(everything(command))
    except BaseException:
        report = Report(errors=traceback.format_exc(), code=1)
    sys.settrace(None)
    report.lines = lines
    with os.fdopen(pipe, "wb") as stream:
        stream.write(msgspec.json.encode(report))


def main() -> None:
    for text in sys.stdin.buffer:
        command = msgspec.json.decode(text, type=Command)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            os.dup2(2, 1)
            _forked(command, write)
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            answer = stream.read()
        _, status = os.waitpid(child, 0)
        report = msgspec.json.decode(answer, type=Report) if answer else Report(code=status)
        report.killed = os.WIFSIGNALED(status)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
