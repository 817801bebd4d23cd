"""Databases that cannot be used: locked, full, read-only, of another tenant or version, none at all. Words, and nothing half-stored."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from limio_async import BearerToken, Limio
from limio_async.errors import ConfigurationError, SinkError
from limio_async.outbox import Outbox, StoreAway, StoreError
from limio_async.stores import sqlite
from tests.outbox.tenant import Tenant
from tests.outbox.test_stores import order
from tests.postgres_cluster import Cluster


async def test_another_tenant_is_refused_in_words(box: Outbox, limio: Limio) -> None:
    await box.run(limio, until_idle=True)
    async with Limio(auth=BearerToken("t"), transport=Tenant(origin="https://other.test")) as other:
        with pytest.raises(
            StoreError, match=r"sends to https://tenant.test, the client to https://other.test"
        ):
            await box.run(other, until_idle=True)
    await box.run(limio, until_idle=True)


async def test_a_refused_tenant_keeps_no_lock(tmp_path: Path, limio: Limio) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    async with Outbox(url) as box, Outbox(url) as beside:
        await box.run(limio, until_idle=True)
        async with Limio(auth=BearerToken("t"), transport=Tenant(origin="https://other.test")) as other:
            with pytest.raises(StoreError, match="one outbox a tenant"):
                await box.run(other, until_idle=True)
        await beside.run(limio, until_idle=True)


async def test_a_file_that_was_moved_away_is_said(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    async with Outbox(f"sqlite:///{file}") as box:
        await box.intend("k", order())
        file.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreError, match=r"moved away or removed .* start again"):
            await box.intend("k2", order())
        file.write_bytes(b"")
        with pytest.raises(StoreError, match=r"moved away or removed .* start again"):
            await box.outcome("k")


async def test_a_backup_that_is_put_back_while_the_file_is_opened_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, backup, connect = tmp_path / "orders.db", tmp_path / "backup.db", sqlite3.connect
    async with Outbox(f"sqlite:///{file}") as box:
        await box.intend("k", order())
    backup.write_bytes(file.read_bytes())

    def connect_and_restore(*args: Any, **named: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*args, **named)
        if backup.exists():
            backup.rename(file)
        return db

    monkeypatch.setattr(sqlite3, "connect", connect_and_restore)
    with pytest.raises(StoreError, match="moved away or removed"):
        async with Outbox(f"sqlite:///{file}") as box:
            await box.intend("k2", order())


async def test_a_lock_that_cannot_be_made_is_nobody_s(
    tmp_path: Path, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path) -> None:
        raise SinkError(f"the lock of the target, {file}: database or disk is full")

    monkeypatch.setattr(sqlite, "locked", full)
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        with pytest.raises(StoreError, match=r"disk is full \(make room"):
            await box.run(limio, until_idle=True)


async def test_whoever_reads_waits_for_no_other_program(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    async with Outbox(url) as box:
        await box.intend("k", order())
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(5), Outbox(url) as box:
            assert (await box.outcome("k")).state == "intended"


async def test_a_newer_version_is_refused_in_words(url: str, box: Outbox) -> None:
    await box._store.do(
        lambda store: store.run("UPDATE _limio_outbox_meta SET value = '2' WHERE name = 'version'")
    )
    with pytest.raises(StoreError, match="is of version 2, this release reads 1"):
        async with Outbox(url):
            pass


async def test_a_file_that_is_locked_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limio_async.stores.sqlite._WAIT", 0.05)
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreAway, match="another program is writing to it"):
                await box.intend("k", order())
            assert await box.list() == []
        await box.intend("k", order())


async def test_a_full_disk_is_said_and_stores_nothing(tmp_path: Path) -> None:
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        await box.intend("k", order())
        await box._store.do_after(lambda store: store.ask("PRAGMA max_page_count = 20"))
        with pytest.raises(StoreAway, match="full.*make room"):
            await box.intend("l", order(note="x" * 200_000))
        assert [one.key for one in await box.list()] == ["k"]
        await box.intend("m", order(1))


async def test_what_was_committed_is_not_told_as_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter beside the file is written after the commit."""
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:

        def fails(store: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(type(box._store), "_committed", fails)
            with pytest.raises(StoreAway, match="No space left"):
                await box.intend("k", order())
        assert [one.key for one in await box.list()] == ["k"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "make room on the server's disk"),
        ("25006", "a standby or a read-only session"),
        ("42501", "grant"),
    ],
    ids=["full", "read-only", "no right"],
)
async def test_a_server_that_cannot_store_says_why_and_stores_nothing(
    server: str, cluster: Cluster, state: str, said: str
) -> None:
    schema = server.partition("=")[2]
    async with Outbox(server) as box:
        await box.intend("k", order())
        with cluster.admin() as admin:
            raises = f"BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END"
            admin.execute(
                f"CREATE FUNCTION {schema}.no() RETURNS trigger LANGUAGE plpgsql AS $${raises}$$".encode()
            )
            admin.execute(
                f"CREATE TRIGGER no AFTER INSERT ON {schema}._limio_outbox EXECUTE FUNCTION {schema}.no()".encode()
            )
        with pytest.raises(StoreAway if state == "53100" else StoreError, match=said):
            await box.intend("l", order(1))
        with cluster.admin() as admin:
            admin.execute(f"DROP FUNCTION {schema}.no CASCADE".encode())
        assert [one.key for one in await box.list()] == ["k"]
        await box.intend("l", order(1))


async def test_a_server_where_another_program_holds_the_rows_is_away(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limio_async.stores.postgres._LOCK_WAIT", 0.2)
    async with Outbox(server) as box:
        async with await psycopg.AsyncConnection.connect(server.partition("?")[0]) as other:
            await other.execute(f"LOCK TABLE {server.partition('=')[2]}._limio_outbox".encode())
            with pytest.raises(StoreAway, match="waited too long for a lock"):
                await box.intend("k", order())
        assert await box.list() == []
        await box.intend("k", order())


async def test_a_file_that_is_read_only_is_said(tmp_path: Path) -> None:
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        await box._store.do_after(lambda store: store.ask("PRAGMA query_only = ON"))
        with pytest.raises(StoreError, match="readonly database .you may not write to it"):
            await box.intend("k", order())
        assert await box.list() == []


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 9])
async def test_what_is_no_database_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "orders.db").write_bytes(content)
    with pytest.raises(StoreError, match="not a database.*choose another file"):
        async with Outbox(f"sqlite:///{tmp_path}/orders.db"):
            pass
    assert (tmp_path / "orders.db").read_bytes() == content


@pytest.mark.parametrize("url", ["mysql://h/d", "orders.db", "sqlite:///", "duckdb:///orders.db"])
def test_urls_that_name_no_outbox(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Outbox(url)


async def test_a_server_that_is_not_there_is_away_and_its_password_untold() -> None:
    with pytest.raises(StoreAway, match=r"postgresql://127.0.0.1:1/d") as caught:
        async with Outbox("postgresql://u:secret@127.0.0.1:1/d"):
            pass
    assert "secret" not in str(caught.value)


@pytest.fixture
async def limited(cluster: Cluster) -> AsyncIterator[str]:
    with cluster.admin() as admin:
        admin.execute("CREATE ROLE clerk LOGIN")
        admin.execute("CREATE SCHEMA clerk AUTHORIZATION clerk")
    yield cluster.url.replace("postgres@", "clerk@") + "?schema=clerk"
    with cluster.admin() as admin:
        admin.execute("DROP SCHEMA clerk CASCADE")
        admin.execute("DROP ROLE clerk")


async def test_a_role_without_special_rights_is_enough(limited: str, limio: Limio) -> None:
    async with Outbox(limited) as box:
        await box.intend("k", order())
        await box.run(limio, until_idle=True)
        assert (await box.outcome("k")).state == "accepted"
