"""A PostgreSQL server that restarts, hangs or vanishes: it is waited for by who calls again, and nothing waits for ever."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from time import monotonic
from typing import Any, Literal

import pytest

from limio_async.errors import SinkError, TargetAway
from limio_async.sync_jobs.sink import Change
from limio_async.sync_jobs.sinks import postgres_watch
from limio_async.sync_jobs.sinks.postgres import PostgresSink
from tests.postgres_cluster import Cluster
from tests.sync_jobs.sinks.targets import LATER, OFFERS, any_number, held, offer, write


@pytest.fixture
def sink(cluster: Cluster) -> Iterator[PostgresSink]:
    """A sink with one row in a new schema."""
    sink = PostgresSink(cluster.url, schema=f"away_{secrets.token_hex(4)}")
    sink.open()
    sink.prepare([OFFERS])
    write(sink, [offer(1)])
    yield sink
    sink.close()


def test_a_server_that_is_away_is_told_by_each_call_until_it_is_back(
    cluster: Cluster, sink: PostgresSink
) -> None:
    other = PostgresSink(cluster.url, schema="other")
    cluster.stop()
    calls = (
        other.open,
        lambda: sink.prepare([OFFERS]),
        lambda: write(sink, [offer(2)]),
        lambda: sink.mark_unseen(OFFERS, [], deleted_at=LATER, allows=any_number),
        lambda: held(sink),
    )
    for call in calls:
        with pytest.raises(TargetAway):
            call()
    cluster.start()
    assert held(sink).keys() == {"o-1"}
    assert write(sink, [offer(1), offer(2)]).inserted == 1
    other.open()
    other.close()


@pytest.mark.parametrize("how", ["immediate", "fast"])
def test_a_restart_in_the_middle_of_a_batch_undoes_it(
    cluster: Cluster, sink: PostgresSink, how: Literal["immediate", "fast"]
) -> None:
    def restart(_: object) -> list[Change]:
        cluster.restart(how)
        return []

    with pytest.raises(TargetAway):
        sink.apply([Change(OFFERS, [offer(2)])], then=restart)
    assert held(sink).keys() == {"o-1"}
    assert write(sink, [offer(2)]).inserted == 1


def test_a_looker_on_connects_again(cluster: Cluster, sink: PostgresSink) -> None:
    looker = PostgresSink(cluster.url, schema=sink._schema)
    looker.open(to_read=True)
    cluster.restart()
    assert held(looker).keys() == {"o-1"}
    looker.close()


def test_a_role_without_connections_left_is_told_how_many_it_needs(cluster: Cluster) -> None:
    with cluster.admin() as admin:
        admin.execute("DROP ROLE IF EXISTS crowded")
        admin.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    with pytest.raises(TargetAway, match="limio needs two connections at once"):
        PostgresSink(cluster.url.replace("postgres@", "crowded@"), schema="x").open()


@pytest.mark.parametrize("spot", ["postgres@{}/no_such", "nobody@{}/postgres"])
def test_a_wrong_database_or_user_is_no_matter_of_time(cluster: Cluster, spot: str) -> None:
    url = f"postgresql://{spot.format(f'127.0.0.1:{cluster.port}')}"
    with pytest.raises(SinkError, match="does not exist") as caught:
        PostgresSink(url, schema="x").open()
    assert not isinstance(caught.value, TargetAway)


class Proxy:
    """A way to the server on which the answer to COMMIT is lost, once."""

    def __init__(self, port: int) -> None:
        self._server = port
        self.loses = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._sockets = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._sockets += [client, server]
                lost = threading.Event()
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._carry, args=(*pair, lost), daemon=True).start()

    def _carry(self, come: socket.socket, go: socket.socket, is_asked: bool, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := come.recv(65536):
                if is_asked and self.loses and b"COMMIT" in data:
                    lost.set()
                if not is_asked and lost.is_set():
                    self.loses = False
                    break
                go.sendall(data)
        _shut(come, go)

    def close(self) -> None:
        _shut(*self._sockets)
        for one in self._sockets:
            one.close()


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def test_a_lost_answer_to_a_commit_is_told_though_it_took_effect(cluster: Cluster) -> None:
    with closing(Proxy(cluster.port)) as proxy:
        schema = f"lost_{secrets.token_hex(4)}"
        sink = PostgresSink(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", schema=schema)
        with closing(sink):
            sink.open()
            sink.prepare([OFFERS])
            proxy.loses = True
            with pytest.raises(TargetAway):
                write(sink, [offer(1)])
            assert held(sink).keys() == {"o-1"}
            assert write(sink, [offer(1)]).unchanged == 1


def frozen(cluster: Cluster, sink: PostgresSink) -> int:
    """Stop the server process of the sink, and the one that lets clients in, as a machine that hangs; return the first."""
    pid = sink._db.pid
    assert cluster._server is not None
    for one in (pid, cluster._server.pid):
        os.kill(one, signal.SIGSTOP)
    return pid


def thawed(cluster: Cluster, pid: int) -> None:
    assert cluster._server is not None
    for one in (pid, cluster._server.pid):
        os.kill(one, signal.SIGCONT)


@pytest.mark.skipif(os.geteuid() != 0, reason="stops processes of another user")
def test_a_server_that_is_silent_counts_as_away(
    cluster: Cluster, sink: PostgresSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_watch, "_SILENCE", 0.5)
    monkeypatch.setattr(postgres_watch, "_MOMENT", 0.2)
    pid = frozen(cluster, sink)
    try:
        began = monotonic()
        with (
            pytest.raises(TargetAway, match="the server does not answer any more"),
            sink._watch.over(sink._db),
        ):
            sink._ask("SELECT 1")
        assert monotonic() - began < 5
    finally:
        thawed(cluster, pid)
    assert write(sink, [offer(2)]).inserted == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="stops processes of another user")
def test_a_silent_server_keeps_nobody_who_cancels(cluster: Cluster, sink: PostgresSink) -> None:
    pid = frozen(cluster, sink)
    try:
        threading.Timer(0.1, sink.cancel).start()
        began = monotonic()
        with pytest.raises(SinkError, match="cancelled$"):
            write(sink, [offer(2)])
        assert monotonic() - began < 4
    finally:
        thawed(cluster, pid)


@pytest.mark.parametrize(("how", "kind"), [({}, SinkError), ({"only_blocked": True}, TargetAway)])
def test_a_connection_that_is_never_answered_can_be_given_up(
    how: dict[str, Any], kind: type[SinkError]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        sink = PostgresSink(f"postgresql://me:secret@127.0.0.1:{hole.getsockname()[1]}/x", schema="x")
        threading.Timer(0.2, sink.cancel, kwargs=how).start()
        began = monotonic()
        with pytest.raises(SinkError) as caught:
            sink.open()
        assert type(caught.value) is kind
        assert monotonic() - began < 3


def test_a_terminated_connection_is_away_whoever_ended_it(cluster: Cluster, sink: PostgresSink) -> None:
    timer = threading.Timer(0.3, cluster.terminate, ("limio",))
    timer.start()
    with pytest.raises(TargetAway, match="the connection broke"), sink._transaction():
        sink._ask("SELECT pg_sleep(20)")
    timer.join()
    assert write(sink, [offer(2)]).inserted == 1
