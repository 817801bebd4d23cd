"""`limio sync` ends when it is told to, whatever its target does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
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


WHERE_NOTHING_IS_RAISED = """
import signal, sys
class Signals:
    def find_spec(self, name, *_):
        if name == "limio_async.cli.{}":
            Dies()  # an exception in __del__ is only printed
class Dies:
    def __del__(self):
        signal.raise_signal(signal.{})
sys.meta_path.insert(0, Signals())
from limio_async.cli.__main__ import main
main()
"""
AT_THE_LAST = """
import builtins, os, signal
from limio_async.cli.__main__ import main
class Dies:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, signal.{})
builtins.kept = Dies()  # until the interpreter has given up its handlers of signals
main()
"""
SIGNALS = ["SIGINT", "SIGTERM"]


def reports(*command: str) -> tuple[int, list[int], str]:
    """The exit code of a sync with --json, that of each of its reports, and what stderr says."""
    argv = [sys.executable, "-c", *command, "--emulated", "sync", "offers", "--to", "sqlite:///limio.db", "--json"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [one["exit_code"] for one in lines if one["kind"] == "report"], done.stderr


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("loading", ["app", "sync", "sync_view"])
def test_a_signal_while_it_starts_ends_it_in_a_report_wherever_it_comes(loading: str, number: str) -> None:
    assert reports(WHERE_NOTHING_IS_RAISED.format(loading, number)) == (130, [130], "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_process_ends_changes_no_exit_code(number: str) -> None:
    code, reported, _ = reports(AT_THE_LAST.format(number))
    assert (code, reported) == (0, [0])


SOON_AFTER = """
import os, signal
from limio_async.cli import sync_view
from limio_async.cli.__main__ import main
close = sync_view.Shown.close
def then_signalled(*args):
    close(*args)
    for _ in range({}):
        os.kill(os.getpid(), signal.{})
sync_view.Shown.close = then_signalled
main()
"""


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_report_changes_no_exit_code(times: int, number: str) -> None:
    code, reported, _ = reports(SOON_AFTER.format(times, number))
    assert (code, reported) == (0, [0])


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
