"""The judge of the outbox can fail: outboxes written by hand that double or lose orders are caught."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.judges.outbox_server import Made, Manner, Tenant
from tests.judges.outbox_truth import Said, Verdict, judged, misled

KEYS = [f"key-{number}" for number in range(40)]


@asynccontextmanager
async def tenant_of(manner: Manner, seed: int = 1) -> AsyncIterator[Tenant]:
    tenant = Tenant(manner, seed)
    await tenant.start()
    try:
        yield tenant
    finally:
        await tenant.stop()


async def asked(
    tenant: Tenant, method: str, path: str, body: object = None
) -> tuple[int, dict[str, Any], str]:
    """What is answered, and the answer's head; raises where the connection is closed."""
    host, _, port = tenant.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(answer.lower().split("content-length: ")[1].split("\r\n")[0])
        return int(answer.split(" ")[1]), json.loads(await reader.readexactly(length)), answer
    finally:
        writer.close()


def order(key: str) -> dict[str, Any]:
    return {"external_id": key, "order_type": "new", "process_immediately": True}


async def by_hand(tenant: Tenant, *, tries: int) -> Verdict:
    """An outbox that sends what was not answered up to *tries* times, and says that all was accepted."""
    ids: dict[str, list[str]] = {key: [] for key in KEYS}
    for key in KEYS:
        for _ in range(tries):
            try:
                status, answer, _ = await asked(tenant, "POST", "/api/order", order(key))
            except (OSError, EOFError):
                continue
            if status == 200:
                ids[key] = [answer["id"]]
                break
    said = {key: Said("accepted", ids[key]) for key in KEYS}
    return judged(KEYS, tenant.made, said, parked_is_unmade=True)


def kinds(verdict: Verdict) -> set[str]:
    return {fault.partition(":")[0] for fault in verdict.faults}


async def test_what_is_resent_blindly_is_twice() -> None:
    async with tenant_of(Manner(lost=0.2, takes=0.001)) as tenant:
        verdict = await by_hand(tenant, tries=5)
    assert verdict.twice > 0
    assert verdict.missing == 0
    assert kinds(verdict) == {"twice"}


async def test_what_is_resent_after_a_502_is_twice() -> None:
    async with tenant_of(Manner(made_502=0.2, takes=0.001)) as tenant:
        verdict = await by_hand(tenant, tries=5)
    assert verdict.twice > 0


async def test_what_is_forgotten_is_missing() -> None:
    async with tenant_of(Manner(dropped=0.2, takes=0.001)) as tenant:
        verdict = await by_hand(tenant, tries=1)
    assert verdict.twice == 0
    assert "missing" in kinds(verdict)
    assert verdict.made < len(KEYS)


async def test_what_is_done_well_is_passed() -> None:
    async with tenant_of(Manner(takes=0.001)) as tenant:
        verdict = await by_hand(tenant, tries=1)
    assert verdict == (len(KEYS), len(KEYS), 0, 0, 0, 0, 0, [])


async def test_a_parked_order_that_was_made_is_told() -> None:
    async with tenant_of(Manner(takes=0.001)) as tenant:
        await by_hand(tenant, tries=1)
        said = {one.key: Said("accepted", [one.id]) for one in tenant.made} | {KEYS[0]: Said("parked")}
        assert kinds(judged(KEYS, tenant.made, said, parked_is_unmade=True)) == {"parked"}
        assert not judged(KEYS, tenant.made, said, parked_is_unmade=False).faults


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (Said("intended"), "missing"),
        (Said("doubt"), "missing"),
        (Said("accepted"), "missing"),
        (Said("accepted", ["order-1"]), "strange id"),
        (Said("parked"), None),
        (Said("refused"), None),
    ],
)
def test_what_is_said_of_an_order_that_was_not_made(said: Said, fault: str | None) -> None:
    verdict = judged(["key"], [], {"key": said}, parked_is_unmade=True)
    assert fault in kinds(verdict) if fault else not verdict.faults


def test_callbacks_that_are_told_what_is_not_so_or_nothing_are_found() -> None:
    made = [Made("a", "order-1", None, 0.0), Made("b", "order-2", None, 0.0)]
    told = {("a", "accepted"), ("a", "doubt"), ("b", "refused"), ("c", "accepted"), ("a", "doubled")}
    said = {"a": Said("accepted"), "b": Said("accepted"), "d": Said("refused"), "e": Said("parked")}
    faults = misled(told, made, said)
    assert {fault.partition(" was told")[0] for fault in faults} == {
        "doubled: a", "refused: b", "accepted: c", "untold: b is accepted", "untold: d is refused"
    }  # fmt: skip


def test_a_parked_order_is_told_where_every_one_has_to_be_made() -> None:
    verdict = judged(["key"], [], {"key": Said("parked")}, parked_is_unmade=True, none_parked=True)
    assert kinds(verdict) == {"not made"}


def test_what_waits_behind_a_parked_order_of_its_subscription_is_held() -> None:
    said = {
        "a": Said("parked", (), "sub-1"),
        "b": Said("intended", (), "sub-1"),
        "c": Said("intended", (), "sub-2"),
    }
    verdict = judged(["a", "b", "c"], [], said, parked_is_unmade=True)
    assert verdict.held == 1
    assert verdict.faults == ["missing: c stays intended"]


async def walked(tenant: Tenant) -> list[dict[str, Any]]:
    path, items = "/api/objects/limio/orders?limit=40", list[dict[str, Any]]()
    more = ""
    while True:
        _, page, _ = await asked(tenant, "GET", path + more)
        items += page["items"]
        if "queryMore" not in page:
            return items
        more = f"&queryMore={page['queryMore'].replace('+', '%2B').replace('=', '%3D')}"


@pytest.mark.parametrize("falling", [False, True])
async def test_an_order_is_in_view_at_its_place_when_its_lag_is_over(falling: bool) -> None:
    async with tenant_of(Manner(lag=0.3, takes=0.001, falling=falling, skew=3600.0)) as tenant:
        _, answer, head = await asked(tenant, "POST", "/api/order", order("key"))
        assert answer["id"] not in {one["id"] for one in await walked(tenant)}
        assert (await asked(tenant, "GET", f"/api/objects/limio/orders/{answer['id']}"))[0] == 404
        await asyncio.sleep(0.35)
        items = await walked(tenant)
        assert (await asked(tenant, "GET", f"/api/objects/limio/orders/{answer['id']}"))[0] == 200
    assert answer["id"] in {one["id"] for one in items}
    times = [one["created"] for one in items]
    assert times == sorted(times, reverse=falling)
    assert len(items) > 150
    assert "\r\nDate: " in head


async def test_a_bare_row_is_whole_by_its_id() -> None:
    async with tenant_of(Manner(bare=1.0, takes=0.001)) as tenant:
        _, answer, _ = await asked(tenant, "POST", "/api/order", order("key") | {"subscriptionId": "sub-1"})
        (row,) = (one for one in await walked(tenant) if one["id"] == answer["id"])
        _, whole, _ = await asked(tenant, "GET", f"/api/objects/limio/orders/{answer['id']}")
        _, related, _ = await asked(tenant, "GET", "/api/objects/limio/subscriptions/sub-1/related/order")
    assert "data" not in row
    assert whole["data"]["external_id"] == "key"
    assert [one["id"] for one in related["items"]] == [answer["id"]]
