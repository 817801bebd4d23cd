"""The head of an answer is read up to 64 KiB a line, 512 lines and 256 KiB in all; beyond, the error says which it was."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors, models
from limio_async.transport import AiohttpTransport
from tests.wire.rawserver import Behaviour, RawServer, http, raw_server

pytestmark = pytest.mark.usefixtures("hurried_time")

ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")
KIB = 1024


def lines(count: int, size: int = 1) -> list[str]:
    """So many header lines of that many bytes each, names and values together."""
    return [f"x-{n:05}: " + "a" * (size - 7) for n in range(count)]


READ = {
    "a policy of 9 KiB": ["content-security-policy: " + "x" * 9000],
    "a cookie of 60 KiB": ["set-cookie: a=" + "x" * 60 * KIB],
    "a line of 64 KiB": lines(1, 64 * KIB),
    "a name of 9 KiB": ["x" * 9 * KIB + ": 1"],
    "many cookies": [f"set-cookie: c{n}={'x' * 500}; path=/" for n in range(200)],
    "130 lines": lines(130, 20),
    "510 lines": lines(510, 20),
    "250 KiB in all": lines(25, 10 * KIB),
    "text that is no ASCII": ["x-city: Zürich " + "ü" * 8000],
    "a reason of 60 KiB": [],
}
BEYOND = {
    "a line of 64 KiB and one byte": (lines(1, 64 * KIB + 1), "a line of more than 64 KiB"),
    "a cookie of 100 KiB": (["set-cookie: a=" + "x" * 100 * KIB], "a line of more than 64 KiB"),
    "a line of 255 KiB": (lines(1, 255 * KIB), "a line of more than 64 KiB"),
    "a line of 2 MiB": (lines(1, 2048 * KIB), "a line of more than 64 KiB"),
    "513 lines": (lines(511, 20), "more than 512 lines"),
    "1,000 lines": (lines(1000, 20), "more than 512 lines"),
    "5,000 lines": (lines(5000, 20), "more than 512 lines"),
    "260 KiB in all": (lines(26, 10 * KIB), "more than 256 KiB"),
    "500 lines of 1 KiB": (lines(500, KIB), "more than 256 KiB"),
    "300 KiB of cookies": ([f"set-cookie: c={'x' * 60 * KIB}"] * 5, "more than 256 KiB"),
}


@pytest.fixture(params=["our session", "a borrowed session"])
def lent(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "a borrowed session")


@asynccontextmanager
async def talking_to(
    *script: Behaviour, lent: bool, auth: Any = None
) -> AsyncIterator[tuple[Limio, RawServer]]:
    async with raw_server(*script) as server, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(server.url, session=session if lent else None)
        async with Limio(
            server.url, auth=auth or BearerToken("t"), transport=transport, timeout=600
        ) as limio:
            yield limio, server


@pytest.mark.parametrize("name", READ)
async def test_what_gateways_and_tenants_send_is_read(name: str, lent: bool) -> None:
    status = "200 " + "O" * 60 * KIB if name.startswith("a reason") else "200 OK"
    async with talking_to(http(b'{"id":"sub-1"}', status, *READ[name]), lent=lent) as (limio, server):
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        assert (await limio.orders.submit(ORDER)).id == "sub-1"
    assert len(server.requests) == 2


@pytest.mark.parametrize(("extra", "said"), BEYOND.values(), ids=BEYOND)
async def test_a_head_beyond_that_is_named_and_leaves_an_order_unknown(
    extra: list[str], said: str, lent: bool
) -> None:
    async with talking_to(http(b'{"id":"sub-1"}', "200 OK", *extra), lent=lent) as (limio, server):
        for call, kind in (
            (limio.subscriptions.get("sub-1"), errors.AnswerLost),
            (limio.orders.submit(ORDER), errors.UnknownOutcome),
        ):
            with pytest.raises(errors.LimioError, match=re.escape(f"the answer's head has {said}")) as caught:
                await call
            assert type(caught.value) is kind
            assert len(str(caught.value)) < 200
    assert len(server.sent("/api/order")) == 1


KNOWN = [name for name in BEYOND if name not in {"a line of 2 MiB", "5,000 lines"}]  # read far enough to tell


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", errors.BadRequest),
        ("404 Not Found", errors.NotFound),
        ("429 Slow", errors.TooManyRequests),
    ],
)
@pytest.mark.parametrize("name", KNOWN)
async def test_a_refusal_is_one_whatever_the_size_of_its_head(
    name: str, status: str, kind: type[errors.ApiError], lent: bool
) -> None:
    refusal = http(b'{"message":"quantity must be positive"}', status, *BEYOND[name][0], "retry-after: 7000")
    async with talking_to(refusal, lent=lent) as (limio, _):
        with pytest.raises(kind, match="quantity must be positive") as caught:
            await limio.orders.submit(ORDER)
    assert caught.value.retry_after == 7000


async def test_a_token_behind_a_large_head_is_one(lent: bool) -> None:
    token = http(b'{"access_token":"t","expires_in":3600}', "200 OK", *READ["a policy of 9 KiB"])
    auth = ClientCredentials("id", "secret")
    async with talking_to(token, http(b'{"id":"sub-1"}'), lent=lent, auth=auth) as (limio, _):
        assert (await limio.orders.submit(ORDER)).id == "sub-1"


async def test_a_token_s_head_beyond_all_limits_leaves_nothing_in_doubt(lent: bool) -> None:
    token = http(b'{"access_token":"t"}', "200 OK", *BEYOND["513 lines"][0])
    auth = ClientCredentials("id", "secret")
    async with talking_to(token, lent=lent, auth=auth) as (limio, server):
        with pytest.raises(errors.NeverSent, match="createToken: the answer's head has more than 512 lines"):
            await limio.orders.submit(ORDER)
    assert server.sent("/api/order") == []
