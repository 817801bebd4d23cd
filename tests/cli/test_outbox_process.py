"""`limio outbox run` as a process of its own, against an emulator over HTTP: stopped, killed, started twice."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from limio_async.emulator import World
from limio_async.outbox import Outbox, Outcome
from tests.cli.conftest import command_line

BOX = "sqlite:///orders.db"
ORDER = {"order_type": "data_capture", "process_immediately": True, "data": {"note": "hello"}}


@pytest.fixture(autouse=True)
def _box(tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIO_OUTBOX", BOX)


def intend(*keys: str) -> None:
    async def work() -> None:
        async with Outbox(BOX) as outbox:
            for key in keys:
                await outbox.intend(key, ORDER)

    asyncio.run(work())


def known() -> list[Outcome]:
    async def work() -> list[Outcome]:
        async with Outbox(BOX) as outbox:
            return await outbox.list()

    return asyncio.run(work())


@contextmanager
def running(*options: str) -> Generator[subprocess.Popen[str]]:
    args = command_line("outbox", "run", *options)
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_orders(world: World, count: int) -> None:
    ends = time.monotonic() + 20
    while world.count("submitOrder") < count:
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_polite_end_waits_for_what_is_on_the_wire(world: World) -> None:
    world.faults.on("submitOrder").delay(0.5)
    intend("a")
    with running() as process:
        wait_for_orders(world, 1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.startswith("limio: stopping: waiting for what is on the wire; again to stop at once\n")
    assert said.endswith("limio: outbox run: interrupted; the same command resumes\n")
    assert [(one.state, one.attempt) for one in known()] == [("accepted", 1)]


def test_the_second_signal_ends_it_at_once(world: World) -> None:
    world.faults.on("submitOrder").delay(10)
    intend("a")
    with running() as process:
        wait_for_orders(world, 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert process.wait(20) == 130
        assert process.stderr.read() == "limio: outbox run: interrupted; the same command resumes\n"
    assert time.monotonic() - begun < 5
    assert known()[0].state == "sending"


SIGNALLED_WHILE_IT_SPEAKS = """
import os, signal
from limio_async.cli import __main__ as cli
write = cli._News.write
def interrupted(self, data):
    written = write(self, data)
    if b"stopping" in bytes(data):
        os.kill(os.getpid(), signal.SIGTERM)
    return written
cli._News.write = interrupted
cli.main()
"""


def test_the_second_signal_ends_it_also_while_it_says_what_the_first_did(world: World) -> None:
    world.faults.on("submitOrder").delay(10)
    intend("a")
    args = [sys.executable, "-c", SIGNALLED_WHILE_IT_SPEAKS, "outbox", "run"]
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as process:
        wait_for_orders(world, 1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == (
        "limio: stopping: waiting for what is on the wire; again to stop at once\n"
        "limio: outbox run: interrupted; the same command resumes\n"
    )


def test_what_was_on_the_wire_at_a_kill_is_looked_for_and_never_sent_again(world: World) -> None:
    world.faults.on("submitOrder").delay(10)
    intend("a")
    with running() as process:
        wait_for_orders(world, 1)
        process.kill()
        process.wait(20)
    assert known()[0].state == "sending"
    with running("--until-idle", "--settle", "0s", "--json") as process:
        told, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert [json.loads(line)["state"] for line in told.splitlines()] == ["doubt", "accepted"]
    assert world.count("submitOrder") == 1


def test_a_second_process_on_one_file_is_refused_in_words(world: World) -> None:
    world.faults.on("submitOrder").delay(10)
    intend("a")
    with running() as first:
        wait_for_orders(world, 1)
        with running() as second:
            _, said = second.communicate(timeout=30)
        assert second.returncode == 1
        assert said == "limio: sqlite:///orders.db: another process is sending from this file; wait for it, or stop it\n"  # fmt: skip
        assert first.poll() is None


def test_orders_are_sent_although_nobody_reads_what_is_told(world: World) -> None:
    intend("a", "b", "c")
    with running("--json", "--until-idle", "--at-once", "1") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 0, said
    assert said.count("no more lines are written") == 1
    assert {one.state for one in known()} == {"accepted"}


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("command", [("list",), ("show", "a"), ("stats",), ("run", "--dry-run")])
def test_a_reader_that_has_read_enough_is_no_failure(command: tuple[str, ...], form: tuple[str, ...]) -> None:
    intend("a")
    args = command_line("outbox", *command, *form)
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert (process.wait(20), "cannot write" in said) == (0, False), said
