"""`limio sync` ends when it is told to, whatever its target does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from time import monotonic, sleep

import psycopg
import pytest

from limio_async.emulator import World
from limio_async.sync_jobs.ledger import LEDGER
from limio_async.sync_jobs.sinks import open_sink
from limio_async.testing import served
from tests.cli.conftest import command_line
from tests.postgres_cluster import own_cluster


@contextmanager
def syncing(target: str) -> Generator[subprocess.Popen[str]]:
    """`limio sync` of a small tenant into *target*, which is killed at last."""
    world = World(offers=3, subscriptions=0)
    command = command_line("sync", "offers", "--to", target)
    with (
        served(world) as url,
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **world.environ(url)},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_connection_that_nobody_answers(number: signal.Signals) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as hole,
        syncing(f"postgresql://me@127.0.0.1:{hole.getsockname()[1]}/x") as process,
    ):
        connection, _ = hole.accept()
        began = monotonic()
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for what is under way
            process.wait(0.2)
        process.send_signal(number)
        assert process.wait(10) == 130
        assert monotonic() - began < 6
        assert "Traceback" not in told(process)
        connection.close()


def test_a_second_signal_ends_a_wait_for_a_lock_and_leaves_the_target_as_it_was() -> None:
    with own_cluster() as cluster:
        target = f"{cluster.url}?schema=kept"
        with closing(open_sink(target)) as sink:
            sink.open()
            sink.prepare(LEDGER)
        with psycopg.connect(cluster.url) as other, cluster.admin() as admin:
            other.execute("LOCK TABLE kept._limio_runs")
            with syncing(target) as process:
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                ends = monotonic() + 30
                while admin.execute(waits).fetchone() == (0,) and monotonic() < ends:
                    sleep(0.05)
                began = monotonic()
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)
                assert process.wait(10) == 130
                assert monotonic() - began < 6
                assert "Traceback" not in told(process)
            other.rollback()
        with syncing(target) as process:
            assert process.wait(60) == 0
