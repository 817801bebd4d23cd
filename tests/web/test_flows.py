"""What the callers of a service see while Limio misbehaves, over HTTP, in FastAPI and in aiohttp."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from limio_async import Limio
from limio_async.emulator import InMemoryTransport, World
from tests.web.serving import MAKERS, served

FRAMEWORKS = pytest.mark.parametrize("framework", sorted(MAKERS))
ORDER = {"order_type": "renew", "subscriptionId": "sub-1", "external_id": "renew-1"}


def get(limio: Limio) -> Any:
    return limio.subscriptions.get("sub-unknown")


def quick_get(limio: Limio) -> Any:
    return limio.subscriptions.get("sub-1", timeout=0.2)


def put(limio: Limio) -> Any:
    return limio.subscriptions.update("sub-1", {"data": {"quantity": 2}}, timeout=0.2)


def order(limio: Limio) -> Any:
    return limio.orders.submit(ORDER, timeout=2.0)


def quick_order(limio: Limio) -> Any:
    return limio.orders.submit(ORDER, timeout=0.2)


def walk(limio: Limio) -> Any:
    return limio.offers.list(page_size=50, restarts=0).collect(limit=1000)


Arm = Callable[[Any], Any]
# what is called, on what the fault lies, what it is, then: status, type, retryable, Retry-After
CASES: dict[str, tuple[Any, str, Arm, int, str, str | None]] = {
    "not found": (get, "-", lambda at: None, 404, "not-found", None),
    "400": (quick_get, "getObject", lambda at: at.status(400, message="secret"), 422, "invalid", None),
    "422": (order, "submitOrder", lambda at: at.status(422, message="secret"), 422, "invalid", None),
    "401": (quick_get, "getObject", lambda at: at.status(401, message="secret"), 502, "service-credentials", None),
    "403": (order, "submitOrder", lambda at: at.status(403, message="secret"), 502, "service-credentials", None),
    "409": (order, "submitOrder", lambda at: at.status(409, message="secret"), 409, "conflict", None),
    "423": (order, "submitOrder", lambda at: at.status(423, message="secret"), 409, "locked", "30"),
    "418": (order, "submitOrder", lambda at: at.status(418, message="secret"), 502, "refused", None),
    "a read that is told to wait": (quick_get, "getObject", lambda at: at.status(429, retry_after=7), 503, "pause", "7"),
    "a change that is told to wait": (put, "updateObject", lambda at: at.status(429, retry_after=7), 503, "pause", "7"),
    "an order that is told to wait": (order, "submitOrder", lambda at: at.status(429, retry_after=7), 502, "unknown-outcome", None),
    "a read that fails": (quick_get, "getObject", lambda at: at.status(502, message="secret"), 502, "upstream-failed", "1"),
    "a change that fails": (put, "updateObject", lambda at: at.status(503, message="secret"), 502, "unknown-outcome", None),
    "an order that fails": (order, "submitOrder", lambda at: at.status(502, executed=True), 502, "unknown-outcome", None),
    "an order that is answered 503": (order, "submitOrder", lambda at: at.status(503, retry_after=9), 502, "unknown-outcome", None),
    "a read whose answer is lost": (quick_get, "getObject", lambda at: at.lose_answer(), 502, "upstream-failed", "1"),
    "a change whose answer is lost": (put, "updateObject", lambda at: at.lose_answer(), 502, "unknown-outcome", None),
    "an order whose answer is lost": (order, "submitOrder", lambda at: at.lose_answer(), 502, "unknown-outcome", None),
    "an order that never left": (quick_order, "submitOrder", lambda at: at.never_sent(), 503, "unreachable", "5"),
    "a read that is late": (quick_get, "getObject", lambda at: at.delay(5), 504, "deadline", "1"),
    "a change that is late": (put, "updateObject", lambda at: at.delay(5), 502, "unknown-outcome", None),
    "an order that is late": (quick_order, "submitOrder", lambda at: at.delay(5), 502, "unknown-outcome", None),
    "a read that is a login page": (quick_get, "getObject", lambda at: at.html(), 502, "unreadable", None),
    "an order that is a login page": (order, "submitOrder", lambda at: at.html(), 502, "unknown-outcome", None),
    "a list that expires": (walk, "listOffers", lambda at: at.expire_scroll(), 503, "list-changed", "1"),
    "a list whose catalog changes": (walk, "listOffers", lambda at: at.change_commit_id(), 503, "list-changed", "1"),
    "no token": (order, "createToken", lambda at: at.status(500, message="secret"), 503, "unreachable", "5"),
    "a token that is refused": (order, "createToken", lambda at: at.status(403, message="secret"), 502, "service-credentials", None),
    "a value that cannot be sent": (lambda limio: limio.subscriptions.get(""), "-", lambda at: None, 422, "invalid", None),
}  # fmt: skip


@pytest.fixture
def world() -> World:
    return World(offers=200, subscriptions=20)


@pytest.fixture
def make(world: World) -> Callable[[], Limio]:
    transport = InMemoryTransport(world)
    return lambda: Limio.from_env(world.environ(transport.origin), transport=transport, attempts=1)


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@FRAMEWORKS
@pytest.mark.parametrize("case", CASES)
async def test_what_the_caller_sees(
    framework: str,
    case: str,
    world: World,
    make: Any,
    browser: ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "limio_async")
    call, operation, arm, status, name, wait = CASES[case]
    app = MAKERS[framework](make, {"call": call})
    arm(world.faults.on(operation, page=2) if operation == "listOffers" else world.faults.on(operation))
    async with served(app) as url, browser.post(f"{url}/call") as answer:
        body = await answer.json(content_type="application/problem+json")
    assert (answer.status, body["type"], body["status"]) == (status, name, status)
    assert (answer.headers.get("Retry-After"), body["retryable"]) == (wait, wait is not None)
    assert "WWW-Authenticate" not in answer.headers
    assert "secret" not in str(body) + str(answer.headers)
    assert "operation" in body
    [record] = [one for one in caplog.records if one.module in {"session", "serving"}]
    # of the client where an order is in doubt, else of the service
    assert record.levelname == ("WARNING" if status >= 500 else "INFO")
    assert hasattr(record, "request_id")
