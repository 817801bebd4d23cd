"""A PostgreSQL cluster of a test's own, which the test may stop, kill and configure. Never the machine's server."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

import psycopg

from tests.judges.need import missing

__all__ = ["Cluster", "end_with_parent", "own_cluster", "own_standby", "program"]

_PROGRAMS = Path("/usr/lib/postgresql")  # where Debian keeps them, by version
_LONGEST = 30.0
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_PR_SET_PDEATHSIG = 1


class Cluster:
    """A server on 127.0.0.1 with a port of its own; `postgres` owns it and needs no password.

    It keeps its port and its data over `stop` and `start`. It ends with the thread that started it.
    """

    def __init__(self, directory: Path, port: int, settings: Sequence[str] = ()) -> None:
        self.port = port
        self._data = directory / "data"
        self._log = directory / "log"
        self._settings = (
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={directory}",
            "fsync=off",
            "shared_buffers=16MB",
            "max_wal_size=64MB",
            *settings,
        )
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its database `postgres`, without a query."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def runs(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.poll() is None

    @property
    def log(self) -> str:
        """What the server has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self, *, wait: bool = True) -> None:
        """Start the server, and unless *wait* is false return when it lets clients in."""
        command = [program("postgres"), "-D", str(self._data), "-p", str(self.port)]
        command += [part for one in self._settings for part in ("-c", one)]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                command, stdout=log, stderr=log, user=_user(), group=_user(), preexec_fn=end_with_parent
            )  # fmt: skip
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when the server lets clients in."""
        ends = monotonic() + _LONGEST
        while True:
            with suppress(psycopg.OperationalError), self.admin():
                return
            if monotonic() > ends or not self.runs:
                raise AssertionError(f"the cluster does not start:\n{self.log[-2000:]}")
            sleep(0.02)

    def stop(self, how: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """End the server: `immediate` is a crash, `fast` ends connections with 57P01. Nothing if it does not run."""
        if self._server is not None and self.runs:
            self._server.send_signal(_SIGNALS[how])
            try:
                self._server.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._server = None

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Let no process of the server do anything until the block ends."""
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children")
        pids = [
            self._server.pid,
            *map(int, children.read_text().split()),
        ]  # the first one: no more are started
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def restart(self, how: Literal["smart", "fast", "immediate"] = "immediate", *, away: float = 0.0) -> None:
        """Stop, stay away for so many seconds, start."""
        self.stop(how)
        sleep(away)
        self.start()

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection of the superuser, in autocommit."""
        url = f"{self.url.rpartition('/')[0]}/{database}"
        return psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="admin")

    def terminate(self, name: str = "%") -> int:
        """End the connections whose application_name is like *name*, but for the superuser's own; how many they were."""
        with self.admin() as admin:
            ended = admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND application_name LIKE %s AND application_name <> 'admin'",
                (name,),
            )
            return len(ended.fetchall())


@contextmanager
def own_cluster(*settings: str) -> Generator[Cluster]:
    """A new cluster that runs, with *settings* such as `max_connections=5`; it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="limio-cluster-", dir="/tmp"))  # where another user may go
    if user := _user():
        shutil.chown(directory, user)
    cluster = Cluster(directory, _free_port(), settings)
    try:
        data, options = (
            str(directory / "data"),
            ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        )
        command = [program("initdb"), "-D", data, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, group=user)
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def own_standby(primary: Cluster) -> Generator[Cluster]:
    """A standby of *primary* that follows it asynchronously and lets clients read; it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="limio-standby-", dir="/tmp"))
    if user := _user():
        shutil.chown(directory, user)
    standby = Cluster(directory, _free_port())
    try:
        command = [
            program("pg_basebackup"),
            "-d",
            primary.url,
            "-D",
            str(directory / "data"),
            "-R",
            "--no-sync",
        ]
        command += ["--checkpoint=fast", "--wal-method=stream"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, group=user)
        standby.start()
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(directory, ignore_errors=True)


def program(name: str) -> str:
    """Where the newest of PostgreSQL's programs of that name is."""

    def version(path: Path) -> int:
        return int(re.sub(r"\D", "", path.parents[1].name) or 0)

    found = sorted(_PROGRAMS.glob(f"*/bin/{name}"), key=version)
    return str(found[-1]) if found else shutil.which(name) or missing(f"{name} of PostgreSQL is not here")


def _user() -> str | None:
    """Who runs the server: it refuses root."""
    return "postgres" if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def end_with_parent(how: signal.Signals = signal.SIGQUIT) -> None:
    if sys.platform == "linux":  # also where a test run is killed
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
