"""Intents: stored once, for good, or with the caller's own transaction; refused in words, and nothing half-stored."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from limio_async import Limio, models
from limio_async.errors import InvalidArgument
from limio_async.outbox import KeyReused, Outbox, Outcome, StoreError, TooManyWaiting, UnknownKey
from tests.outbox.tenant import Tenant

ORDER: dict[str, Any] = {
    "order_type": "renew",
    "forSubscription": {"id": "sub-1"},
    "items": [{"n": 1}],
    "amount": 5,
}


def other(**changes: Any) -> dict[str, Any]:
    return {**ORDER, **changes}


async def test_a_known_key_with_an_equal_body_changes_nothing(box: Outbox) -> None:
    first = await box.intend("k", ORDER)
    reordered = dict(reversed([*other(amount=5.0, external_id="k").items()]))
    assert await box.intend("k", reordered) == first
    assert first.state == "intended"
    assert await box.order("k") == {**ORDER, "external_id": "k"}


async def test_another_body_is_refused_and_the_paths_are_named(box: Outbox) -> None:
    await box.intend("k", ORDER)
    with pytest.raises(KeyReused) as caught:
        await box.intend("k", other(items=[{"n": True}], note="secret"))
    assert caught.value.paths == ("$.items[0].n", "$.note")
    assert "secret" not in str(caught.value)
    assert await box.order("k") == {**ORDER, "external_id": "k"}


async def test_fifty_at_once_are_one(box: Outbox, url: str) -> None:
    async with Outbox(url) as second:
        await asyncio.gather(*((box, second)[n % 2].intend("k", ORDER) for n in range(50)))
    assert [one.key for one in await box.list()] == ["k"]


async def test_those_that_wait_together_share_a_commit(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    commit = type(box._store)._commit

    def counted(store: Any) -> None:
        nonlocal commits
        commits += 1
        commit(store)

    monkeypatch.setattr(type(box._store), "_commit", counted)
    await asyncio.gather(*(box.intend(f"k{n}", other(n=n)) for n in range(200)))
    assert len(await box.list()) == 200
    assert commits < 50


async def test_one_that_is_refused_takes_no_other_with_it(box: Outbox) -> None:
    await box.intend("known", ORDER)
    calls = [box.intend(f"k{n}", other(n=n)) for n in range(5)] + [box.intend("known", other(n=1))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one).__name__ for one in results] == ["Outcome"] * 5 + ["KeyReused"]
    assert len(await box.list()) == 6


@pytest.mark.parametrize(
    ("key", "order", "said"),
    [
        ("k", other(external_id="other"), "external_id"),
        ("k", other(amount=float("nan")), "amount is nan"),
        ("k", other(amount=Decimal("Infinity")), "amount is Infinity"),
        ("k", other(amount=object()), "amount"),
        ("k", other(name="\ud800"), "name"),
        ("k", {"items": []}, "order_type"),
        ("", ORDER, "1 to 255 printable"),
        ("a\0b", ORDER, "1 to 255 printable"),
        ("k" * 256, ORDER, "1 to 255 printable"),
    ],
)
async def test_what_cannot_be_sent_is_not_stored(
    box: Outbox, key: str, order: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        await box.intend(key, order)
    assert await box.list() == []


async def test_a_model_is_an_order_like_the_json_that_it_is(box: Outbox) -> None:
    model = models.CancelSubscriptionOrder(subscription_id="sub-1")
    await box.intend("k", model)
    outcome = await box.intend("k", {"order_type": "cancel_subscription", "subscriptionId": "sub-1"})
    assert outcome.subscription == "sub-1"


async def test_numbers_come_out_as_they_went_in(box: Outbox) -> None:
    order = other(amount=0.1, large=2**70, small=1e-7, whole=2.0**60)
    await box.intend("k", order)
    assert await box.order("k") == {**order, "external_id": "k"}


async def test_too_many_that_wait_are_refused_in_words(box: Outbox) -> None:
    for n in range(2):
        await box.intend(f"k{n}", other(n=n), most_waiting=2)
    with pytest.raises(TooManyWaiting, match="2 orders wait already"):
        await box.intend("k2", ORDER, most_waiting=2)
    assert (await box.intend("k1", other(n=1), most_waiting=2)).key == "k1"
    assert len(await box.list()) == 2


async def test_an_unknown_key_is_a_lookup_error_in_words(box: Outbox) -> None:
    for call in (box.outcome("k"), box.failed("k"), box.order("k"), box.erase(key="k")):
        with pytest.raises(LookupError, match="'k'") as caught:
            await call
        assert isinstance(caught.value, UnknownKey)


# --- the caller's own transaction


def connected(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    return psycopg.connect(url.partition("?")[0], row_factory=psycopg.rows.dict_row)


@pytest.mark.parametrize("commits", [True, False])
async def test_it_exists_if_and_only_if_the_transaction_commits(box: Outbox, url: str, commits: bool) -> None:
    tx = connected(url)
    tx.execute("CREATE TEMPORARY TABLE mine (n integer)")
    tx.execute("INSERT INTO mine VALUES (1)")
    assert (await box.intend("k", ORDER, tx=tx)).state == "intended"
    assert await box.list() == []
    tx.commit() if commits else tx.rollback()
    tx.close()
    assert [one.key for one in await box.list()] == ["k"] * commits


async def test_a_reused_key_leaves_the_transaction_usable(box: Outbox, url: str) -> None:
    await box.intend("k", ORDER)
    tx = connected(url)
    tx.execute("CREATE TEMPORARY TABLE mine (n integer)")
    with pytest.raises(KeyReused):
        await box.intend("k", other(n=1), tx=tx)
    await box.intend("k", ORDER, tx=tx)
    await box.intend("l", other(n=1), tx=tx)
    tx.commit()
    tx.close()
    assert [one.key for one in await box.list()] == ["k", "l"]


@pytest.mark.parametrize("commits", [True, False])
async def test_an_async_connection_too(cluster: Any, commits: bool) -> None:
    async with Outbox(cluster.url + f"?schema=own_{commits}") as box:
        async with await psycopg.AsyncConnection.connect(cluster.url) as tx:
            await tx.execute("SET synchronous_commit TO off")
            await box.intend("k", ORDER, tx=tx)
            (firm,) = await (await tx.execute("SHOW synchronous_commit")).fetchone() or ("",)
            assert firm == "on"  # whatever the session says
            await (tx.commit() if commits else tx.rollback())
        async with await psycopg.AsyncConnection.connect(cluster.url, autocommit=True) as tx:
            with pytest.raises(ValueError, match="not in a transaction"):
                await box.intend("l", ORDER, tx=tx)
            async with tx.transaction():
                await box.intend("m", other(n=1), tx=tx)
        assert [one.key for one in await box.list()] == [*(["k"] * commits), "m"]


async def test_autocommit_and_strangers_are_refused(box: Outbox, url: str, tmp_path: Path) -> None:
    tx = connected(url)
    tx.rollback()
    if url.startswith("sqlite"):
        tx.isolation_level = None
    else:
        tx.autocommit = True
    with pytest.raises(ValueError, match="not in a transaction"):
        await box.intend("k", ORDER, tx=tx)
    tx.close()
    elsewhere = f"{tmp_path}/other.db" if url.startswith("sqlite") else ""
    with closing(sqlite3.connect(elsewhere) if elsewhere else connected(url)) as stranger:
        box._id = "another" if not elsewhere else box._id
        with pytest.raises(ValueError, match="another database"):
            await box.intend("k", ORDER, tx=stranger)
    with pytest.raises(ValueError, match="not a str"):
        await box.intend("k", ORDER, tx="a string")
    assert await box.list() == []


@pytest.mark.parametrize("style", ["numeric_dollar", "qmark", "format", "pyformat", "named"])
async def test_the_statement_intends_by_any_driver(box: Outbox, url: str, style: Any) -> None:
    is_sqlite = url.startswith("sqlite")
    if style in (
        {"numeric_dollar", "format", "pyformat"} if is_sqlite else {"qmark", "named", "numeric_dollar"}
    ):
        sql, _ = box.statement("k", ORDER, style)
        assert {
            "numeric_dollar": "$6",
            "qmark": "?, ?",
            "format": "%s, %s",
            "pyformat": "%(key)s",
            "named": ":key",
        }[style] in sql
        return
    tx = connected(url)
    for _ in range(2):
        tx.execute(*box.statement("k", ORDER, style))
    tx.commit()
    assert (await box.intend("k", ORDER)).state == "intended"
    with pytest.raises((sqlite3.IntegrityError, psycopg.DataError)) as caught:
        tx.execute(*box.statement("k", other(note="secret"), style))
    assert "secret" not in str(caught.value)
    assert "sub-1" not in str(caught.value)
    assert "KeyReused" in str(caught.value)
    tx.rollback()
    tx.close()


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_transaction_that_reused_a_key_cannot_commit(url: str, box: Outbox, swallows: bool) -> None:
    await box.intend("k", ORDER)
    style: Any = "qmark" if url.startswith("sqlite") else "format"
    with closing(connected(url)) as tx:
        tx.execute("CREATE TEMP TABLE sales (id int)")
        tx.commit()
        tx.execute("INSERT INTO sales VALUES (1)")
        with pytest.raises((sqlite3.IntegrityError, psycopg.DataError)):
            tx.execute(*box.statement("k", other(note="secret"), style))
        tx.commit() if swallows else tx.rollback()
        assert tx.execute("SELECT * FROM sales").fetchall() == []


# --- what is kept, and what is emptied


async def settled(box: Outbox, limio: Limio) -> None:
    await box.intend("k", other(owner="id-1", email="a@b.example"))
    await box.run(limio, until_idle=True)


async def test_what_is_noted_after_a_purge_is_purged_too(box: Outbox, limio: Limio) -> None:
    await settled(box, limio)
    await box.purge(before=datetime.now(UTC) + timedelta(seconds=5))
    await box.failed("k", {"email": "a@b.example"})
    assert await box.purge(before=datetime.now(UTC) + timedelta(seconds=5)) == 1
    assert await box.answers("k") == []


@pytest.mark.parametrize("event", [object(), "\ud800", {1: {2: object()}}])
async def test_an_event_that_cannot_be_kept_is_refused(box: Outbox, event: Any) -> None:
    await box.intend("k", ORDER)
    with pytest.raises(InvalidArgument, match="the event cannot be encoded"):
        await box.failed("k", event)
    assert (await box.outcome("k")).state == "intended"


@pytest.mark.parametrize("key", ["", "a" * 256, "a\nb", "a\0b", " a", "a ", 5, b"a", None])
async def test_what_is_no_key(box: Outbox, key: Any) -> None:
    with pytest.raises(InvalidArgument, match="a key is"):
        await box.intend(key, ORDER)


async def test_an_external_id_that_is_null_is_none(box: Outbox) -> None:
    await box.intend("k", {**ORDER, "external_id": None})
    assert (await box.order("k") or {})["external_id"] == "k"
    assert (await box.intend("k", ORDER)).key == "k"


async def test_mistakes_are_said(box: Outbox) -> None:
    with pytest.raises(InvalidArgument, match="most_waiting is at least 1"):
        await box.intend("k", ORDER, most_waiting=-1)
    with pytest.raises(InvalidArgument, match="takes a coroutine function"):
        box.on("accepted")(lambda outcome, tx: None)  # type: ignore[arg-type,return-value]


async def test_a_closed_outbox_says_so(url: str) -> None:
    async with Outbox(url) as box:
        pass
    with pytest.raises(StoreError, match="it is closed; use it inside of `async with`"):
        await box.intend("k", ORDER)


async def test_keys_outlive_bodies(box: Outbox, limio: Limio, tenant: Tenant) -> None:
    await settled(box, limio)
    assert await box.purge(before=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await box.purge(before=datetime.now(UTC) + timedelta(seconds=5)) == 1
    assert await box.order("k") is None
    assert (await box.intend("k", other(owner="id-1", email="a@b.example"))).state == "accepted"
    with pytest.raises(KeyReused, match="body was purged"):
        await box.intend("k", ORDER)
    await box.run(limio, until_idle=True)
    assert len(tenant.orders) == 1


async def test_erased_means_empty(box: Outbox, limio: Limio) -> None:
    await settled(box, limio)
    assert await box.erase(owner="id-1") == 1
    assert await box.order("k") is None
    assert (await box.outcome("k")).state == "accepted"


@pytest.mark.parametrize("length", [1, 50_000])
async def test_erased_means_gone_from_the_files(
    tmp_path: Path, limio: Limio, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def as_most_are_built(*args: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*args, **options)
        made.execute("PRAGMA secure_delete = OFF")
        return made

    def told() -> list[str]:
        return [one.name for one in tmp_path.iterdir() if b"a@b.example" in one.read_bytes()]

    monkeypatch.setattr(sqlite3, "connect", as_most_are_built)
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        await box.intend("k", other(owner="id-1", email="a@b.example" * length))
        await box.run(limio, until_idle=True)
        await box._store.do_after(lambda store: store.scrub())  # what the journal holds is in the file too
        assert told() == ["orders.db"]
        assert await box.erase(owner="id-1") == 1
        assert told() == []


async def test_what_is_open_is_erased_only_where_it_is_cancelled(
    box: Outbox, limio: Limio, tenant: Tenant
) -> None:
    await box.intend("k", other(owner="id-1"))
    with pytest.raises(Exception, match="'k' is intended: with cancel"):
        await box.erase(owner="id-1")
    assert await box.erase(owner="id-1", cancel=True) == 1
    await box.run(limio, until_idle=True)
    assert tenant.orders == []
    assert (await box.outcome("k")).state == "refused"
    await box.intend("doubtful", ORDER, maybe_sent=True)
    with pytest.raises(Exception, match="may be on its way"):
        await box.erase(key="doubtful", cancel=True)


async def test_a_doubt_is_told_of_what_may_have_been_sent(box: Outbox, limio: Limio) -> None:
    doubts: list[str] = []

    @box.on("doubt")
    async def doubted(outcome: Outcome, tx: Any) -> None:
        doubts.append(outcome.key)

    await box.intend("waits", ORDER)
    before = (await box.outcome("waits")).changed_at
    for key in ("waits", "new"):
        assert (await box.intend(key, ORDER, maybe_sent=True)).state == "doubt"
    assert (await box.outcome("waits")).changed_at != before
    await box.run(limio, until_idle=True)
    assert sorted(doubts) == ["new", "waits"]


async def test_lists_go_on_behind_a_key(box: Outbox) -> None:
    for n in range(5):
        await box.intend(f"k{n}", other(n=n))
    assert [one.key for one in await box.list(limit=2)] == ["k0", "k1"]
    assert [one.key for one in await box.list("intended", after="k2")] == ["k3", "k4"]
    assert await box.list("parked") == []
    stats = await box.stats()
    assert (stats.states, stats.paused) == ({"intended": 5}, None)
    assert stats.oldest_waiting is not None
    assert re.match("20", f"{stats.oldest_waiting:%Y}")
