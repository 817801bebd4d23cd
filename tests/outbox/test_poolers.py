"""PgBouncer before PostgreSQL: sessions may be pooled, transactions may not."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from limio_async.errors import StoreError
from limio_async.outbox import Outbox
from limio_async.webhooks import Inbox
from tests.judges.need import needed
from tests.postgres_cluster import Cluster, end_with_parent


@contextmanager
def pooled(cluster: Cluster, mode: str, size: int) -> Iterator[str]:
    """Run PgBouncer, and yield the URL of the cluster's database behind it."""
    program = needed("pgbouncer", "/usr/sbin/pgbouncer", install="pgbouncer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses root
    with TemporaryDirectory(prefix="limio-pooler-") as place, ExitStack() as stack:
        directory = Path(place)
        settings, users = directory / "pgbouncer.ini", directory / "users"
        users.write_text('"postgres" ""\n')
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={cluster.port} dbname=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {users}\npool_mode = {mode}\ndefault_pool_size = {size}\n"
        )
        directory.chmod(0o755)
        for file in (settings, users):
            file.chmod(0o644)
        process = stack.enter_context(
            subprocess.Popen([program, "-q", str(settings)], stderr=subprocess.DEVNULL, preexec_fn=end_with_parent, **user)
        )  # fmt: skip
        stack.callback(process.kill)
        url, ends = f"postgresql://postgres@127.0.0.1:{port}/postgres", monotonic() + 10
        while True:
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError:
                assert monotonic() < ends
                assert process.poll() is None
                sleep(0.02)
            else:
                break
        yield url


@pytest.mark.parametrize("made", [Inbox, Outbox])
@pytest.mark.parametrize("size", [1, 5])
async def test_a_pooler_of_transactions_is_refused(made: Any, size: int, cluster: Cluster) -> None:
    with pooled(cluster, "transaction", size) as url:
        box = made(f"{url}?schema=pooled_{uuid4().hex[:8]}")
        with pytest.raises(StoreError, match="a pooler gives each transaction another session: connect to"):
            await box.__aenter__()


@pytest.mark.parametrize("made", [Inbox, Outbox])
async def test_a_pooler_of_sessions_is_taken(made: Any, cluster: Cluster) -> None:
    with pooled(cluster, "session", 5) as url:
        async with made(f"{url}?schema=pooled_{uuid4().hex[:8]}") as box:
            assert (await box.stats()).states == {}
