"""What is a repeat of an earlier delivery, and what is an event of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async.errors import StoreAway
from limio_async.stores import store
from limio_async.webhooks import Inbox
from limio_async.webhooks.decide import Earlier, is_repeat
from tests.postgres_cluster import Cluster
from tests.webhooks.conftest import deliver

A = {"id": "sub-1", "record_type": "subscription", "status": "active"}
B = {**A, "status": "cancelled"}


def earlier(
    *, interrupted: bool = False, held: bool = False, dropped: bool = False, age: float = 1.0
) -> Earlier:
    return Earlier(interrupted=interrupted, held=held, dropped=dropped, age=age)


def test_what_says_which_change_it_tells_of_is_a_repeat_whatever_came_between() -> None:
    assert is_repeat(earlier(interrupted=True, held=True), dated=True)


def test_what_does_not_is_one_only_if_nothing_came_between_and_it_is_with_no_handler() -> None:
    assert is_repeat(earlier(), dated=False)
    assert not is_repeat(earlier(interrupted=True), dated=False)
    assert not is_repeat(earlier(held=True), dated=False)
    assert not is_repeat(earlier(dropped=True), dated=False)
    assert not is_repeat(None, dated=False)


def test_equal_bodies_of_two_occurrences_are_told_apart_by_time() -> None:
    assert is_repeat(earlier(age=59.0), dated=False, within=60.0)
    assert not is_repeat(earlier(age=61.0), dated=False, within=60.0)
    assert is_repeat(earlier(age=59.0), dated=True, within=60.0)
    assert not is_repeat(
        earlier(age=61.0), dated=True, within=60.0
    )  # whoever attempts it twice changes no object
    assert not is_repeat(earlier(age=1.0, interrupted=True), dated=False, within=60.0)


async def test_a_b_a_without_updated_are_three_events(inbox: Inbox) -> None:
    assert [await deliver(inbox, "customer_updated", one) for one in (A, B, A)] == [True, True, True]


async def test_a_a_is_one_whatever_the_order_of_its_keys(inbox: Inbox) -> None:
    assert await deliver(inbox, "customer_updated", A)
    assert not await deliver(inbox, "Customer_Updated/", dict(reversed(A.items())))
    (event,) = await inbox.list()
    assert event.seen == 2
    assert (await inbox.stats()).repeats == 1


async def test_what_carries_updated_is_one_whatever_came_between(inbox: Inbox) -> None:
    first, then = {**A, "updated": "2026-01-01T00:00:00Z"}, {**B, "updated": "2026-01-02T00:00:00Z"}
    found = [await deliver(inbox, "customer_updated", one) for one in (first, then, first, then, first)]
    assert found == [True, True, False, False, False]


async def test_another_type_is_another_event_and_does_not_come_between_as_the_same_body(inbox: Inbox) -> None:
    types = ("customer_created", "customer_updated", "customer_created", "customer_updated")
    assert [await deliver(inbox, one, A) for one in types] == [True, True, False, False]


async def test_a_repeat_that_came_later_comes_between(inbox: Inbox) -> None:
    dated = {**A, "updated": "2026-01-01T00:00:00Z"}
    found = [await deliver(inbox, "customer_updated", one) for one in (dated, B, dated, B)]
    assert found == [True, True, False, True]


async def test_a_type_may_say_how_long_an_equal_body_is_a_repeat(url: str) -> None:
    async with Inbox(url, dedupe={"cancel_attempted": timedelta(seconds=0.2)}) as inbox:
        event = {"id": "event-1", "record_type": "event"}
        found = [await deliver(inbox, "cancel_attempted", event) for _ in range(2)]
        await asyncio.sleep(0.3)
        found.append(await deliver(inbox, "cancel_attempted", event))
    assert found == [True, False, True]


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '{"id": 7}', "3", '"x"', '{"id": "x", "record_type": "y"}']
)
async def test_what_is_odd_is_stored_and_parked(inbox: Inbox, text: str) -> None:
    assert await inbox.receive("what_is_this", text.encode())
    (event,) = await inbox.list("parked")
    assert event.body == json.loads(text)
    assert event.error is not None
    assert event.error.startswith("unreadable: ")


async def test_an_unknown_type_of_a_known_object_is_open(inbox: Inbox) -> None:
    assert await deliver(inbox, "subscription_renewed", A)
    (event,) = await inbox.list()
    assert (event.type, event.object, event.key, event.state) == (
        "subscription_renewed",
        "subscription",
        "sub-1",
        "open",
    )


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"NaN", b"[" * 100_000, b'{"a":1}x'])
async def test_what_is_no_json_is_refused_in_words(inbox: Inbox, text: bytes) -> None:
    with pytest.raises(ValueError, match="the body is n"):
        await inbox.receive("order_submitted", text)
    assert await inbox.list() == []


@pytest.mark.parametrize(
    "text",
    [
        rb'{"id": "order-1", "record_type": "order", "name": "\ud800 \u0000"}',
        b'{"id": "order-1", "record_type": "order", "n": 1e999}',
        b'{"id": "order-1", "record_type": "order", "n": 123456789012345678901234567890}',
        b'\xef\xbb\xbf{"id": "order-1", "record_type": "order"}',
    ],
)
async def test_what_other_languages_take_for_json_is_stored(inbox: Inbox, text: bytes) -> None:
    assert await inbox.receive("order_submitted", text)
    assert not await inbox.receive("order_submitted", text)
    (event,) = await inbox.list("open")
    assert event.id == "order-1"


async def test_many_at_once_are_each_stored_once(inbox: Inbox) -> None:
    bodies = [
        {"id": f"sub-{n % 7}", "record_type": "subscription", "updated": f"2026-01-01T00:00:{n:02}Z"}
        for n in range(50)
    ]
    found = await asyncio.gather(*(deliver(inbox, "subscription_created", one) for one in bodies * 4))
    assert sum(found) == 50
    assert (await inbox.stats()).repeats == 150


async def test_two_receivers_store_it_once(url: str) -> None:
    async with Inbox(url) as one, Inbox(url) as two:
        bodies = [{**A, "id": f"sub-{n}"} for n in range(40)]
        pairs = [(box, body) for body in bodies for box in (one, two)]
        found = await asyncio.gather(*(deliver(box, "customer_updated", body) for box, body in pairs))
        assert sum(found) == 40
        assert (await one.stats()).states == {"open": 40}


BODIES = [{"id": "sub-1", "record_type": "subscription", "n": n, **more} for n, more in itertools.product(range(3), ({}, {"updated": "2026-01-01"}))]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(["customer_updated", "customer_created"]), st.sampled_from(BODIES)),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_the_rule_holds_for_every_sequence(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[Any]
) -> None:
    """Said in another way: what is stored is what a list of all deliveries says."""
    directory: Path = tmp_path_factory.mktemp("inbox")

    async def stored() -> list[bool]:
        async with Inbox(f"sqlite:///{directory}/inbox.db") as inbox:
            return [await deliver(inbox, kind, body) for kind, body in deliveries]

    expected = []
    for number, (kind, body) in enumerate(deliveries):
        same = [n for n, one in enumerate(deliveries[:number]) if one == (kind, body)]
        between = [one for _, one in deliveries[same[-1] + 1 : number] if one != body] if same else []
        expected.append(not same or ("updated" not in body and bool(between)))
    assert asyncio.run(stored()) == expected


async def test_what_was_dropped_and_comes_again_is_an_event_of_its_own(inbox: Inbox) -> None:
    assert await deliver(inbox, "customer_updated", A)
    await inbox.drop(1)
    assert await deliver(inbox, "customer_updated", A)


async def test_what_came_at_the_same_time_came_between(tmp_path: Path) -> None:
    async with Inbox(f"sqlite:///{tmp_path}/inbox.db") as inbox:
        for one in (A, B):
            assert await deliver(inbox, "customer_updated", one)
        with closing(sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)) as db:
            db.execute(
                "UPDATE _limio_inbox SET came = 1"
            )  # as two receivers do that see nothing of each other
        assert await deliver(inbox, "customer_updated", A)


async def test_many_bodies_of_an_object_are_not_sorted_for_each_that_comes(tmp_path: Path) -> None:
    async with Inbox(f"sqlite:///{tmp_path}/inbox.db") as inbox:
        for n in range(4):
            await deliver(inbox, "customer_updated", (A, B)[n % 2])
        asked: list[str] = []
        await inbox._store.do(lambda store: store._db.set_trace_callback(asked.append))  # type: ignore[attr-defined]
        await deliver(inbox, "customer_updated", A)
    (found,) = [one for one in asked if one.startswith("SELECT (SELECT came")]
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {found}")]
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN t")], plan


async def test_a_key_that_is_locked_stops_no_other(cluster: Cluster) -> None:
    schema = f"locked_{uuid4().hex[:8]}"
    async with Inbox(f"{cluster.url}?schema={schema}") as inbox:
        await deliver(inbox, "customer_updated", A)
        with psycopg.connect(cluster.url) as db:
            db.execute(f"SELECT 1 FROM {schema}._limio_inbox_keys FOR UPDATE".encode())  # noqa: S608
            held = asyncio.create_task(deliver(inbox, "customer_updated", B))
            async with asyncio.timeout(0.8):
                others = [deliver(inbox, "customer_updated", {**A, "id": f"other-{n}"}) for n in range(5)]
                assert await asyncio.gather(*others) == [True] * 5
            assert not held.done()
            db.rollback()
        assert await held


async def test_closing_waits_for_no_server_that_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_CLOSES_WITHIN", 0.2, raising=False)
    async with Inbox(f"{cluster.url}?schema=silent_{uuid4().hex[:8]}") as inbox:
        silent = asyncio.create_task(inbox._store.do(lambda one: one.ask("SELECT pg_sleep(8)"), alone=True))
        await asyncio.sleep(0.2)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 3.0
    with pytest.raises(StoreAway):
        await silent
