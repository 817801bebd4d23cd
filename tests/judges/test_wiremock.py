"""The promises of the retry classes, judged by a fault server and its journal that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from limio_async import BearerToken, Limio, errors
from limio_async.core.wire import Retry
from tests.judges.wiremock import WireMock, missing, wiremock

pytestmark = [pytest.mark.judge, pytest.mark.usefixtures("hurried_time")]

CANARY = "canary-secret-value"
LONG = 600.0
SHORT = 6.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireMock]:
    if lacking := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
    with wiremock(tmp_path_factory.mktemp("wiremock")) as one:
        yield one


@pytest.fixture
def judge(running: WireMock) -> WireMock:
    running.forget()
    return running


def says(body: Any, status: int = 200, **facts: Any) -> Mapping[str, Any]:
    return {
        "status": status,
        "body": json.dumps(body),
        "headers": {"Content-Type": "application/json"},
        **facts,
    }


# ------------------------------------------------------------------ the four classes


async def get(limio: Limio) -> Any:
    return (await limio.objects.get("subscriptions", "sub-1")).id


async def walk(limio: Limio) -> Any:
    return "".join([str(offer.id) async for offer in limio.offers.list()])


async def update(limio: Limio) -> Any:
    return (await limio.objects.update("subscriptions", "sub-1", {"data": {"quantity": 2}})).id


async def order(limio: Limio) -> Any:
    return (await limio.orders.submit({"order_type": "new"})).id


class Call(NamedTuple):
    run: Callable[[Limio], Awaitable[Any]]
    method: str
    path: str
    value: str
    answer: Any
    query: Mapping[str, str | None] = {}


def page(ids: str, cursor: str) -> Any:
    return {
        "items": [{"id": one} for one in ids],
        "hits": 4,
        "queryMore": {"from": cursor, "alias": "catalog"},
    }


THING = {"id": "thing-1"}
OBJECT = "/api/objects/limio/subscriptions/sub-1"
FROM = "opt.queryMoreFrom"
CALLS: Mapping[Retry, Call] = {
    "safe": Call(get, "GET", OBJECT, "thing-1", THING),
    "scroll": Call(walk, "GET", "/api/offers", "abcd", page("cd", "s2"), {FROM: "s1"}),
    "idempotent": Call(update, "PUT", OBJECT, "thing-1", THING),
    "once": Call(order, "POST", "/api/order", "thing-1", THING),
}


def arrived(judge: WireMock, call: Call) -> int:
    """How many of the requests that the fault was meant for are in the journal."""
    return sum(
        request["method"] == call.method
        and request["url"].partition("?")[0] == call.path
        and all(f"{name}={value}" in request["url"] for name, value in call.query.items())
        for request in judge.journal()
    )


async def outcome(
    judge: WireMock, call: Call, *steps: Mapping[str, Any], timeout: float = LONG
) -> tuple[int, Any]:
    """How often the server was asked, and the value or the type of the error."""
    if call.run is walk:
        judge.answers("GET", "/api/offers", says(page("ab", "s1")), query={FROM: None})
        judge.answers("GET", "/api/offers", says(page("", "s3")), query={FROM: "s2"})
    judge.answers(call.method, call.path, *steps, query=call.query)
    async with Limio(judge.url, auth=BearerToken(CANARY), timeout=timeout) as limio:
        try:
            found = await call.run(limio)
        except errors.LimioError as error:
            found = type(error)
    await asyncio.sleep(1)  # for what might still be on its way
    return arrived(judge, call), found


# ------------------------------------------------------------------ the verdicts

Expected = Mapping[Retry, tuple[int, type[errors.LimioError] | None]]

AMBIGUOUS: Expected = {
    "safe": (2, None),
    "scroll": (1, errors.IncompleteListing),
    "idempotent": (2, None),
    "once": (1, errors.UnknownOutcome),
}
NOT_EXECUTED: Expected = {**AMBIGUOUS, "scroll": (2, None), "once": (1, errors.TooManyRequests)}

FAULTS: Mapping[str, tuple[Mapping[str, Any], Expected]] = {
    "EMPTY_RESPONSE": ({"fault": "EMPTY_RESPONSE"}, AMBIGUOUS),
    "CONNECTION_RESET_BY_PEER": ({"fault": "CONNECTION_RESET_BY_PEER"}, AMBIGUOUS),
    "MALFORMED_RESPONSE_CHUNK": ({"fault": "MALFORMED_RESPONSE_CHUNK"}, AMBIGUOUS),
    "RANDOM_DATA_THEN_CLOSE": ({"fault": "RANDOM_DATA_THEN_CLOSE"}, AMBIGUOUS),
    "503": (says({}, 503), AMBIGUOUS),
    "502 with HTML": ({"status": 502, "body": "<html>", "headers": {"Content-Type": "text/html"}}, AMBIGUOUS),
    "429": ({"status": 429, "headers": {"Retry-After": "2"}}, NOT_EXECUTED),
}


@pytest.mark.parametrize("retry", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_journal_holds_what_the_retry_class_promises(
    judge: WireMock, fault: str, retry: Retry
) -> None:
    call = CALLS[retry]
    step, expected = FAULTS[fault]
    requests, error = expected[retry]
    assert await outcome(judge, call, step, says(call.answer)) == (requests, error or call.value)


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ("safe", (3, errors.ServerError)),
        ("scroll", (1, errors.IncompleteListing)),
        ("idempotent", (3, errors.ServerError)),
        ("once", (1, errors.UnknownOutcome)),
    ],
)
async def test_a_storm_of_503_is_given_up(judge: WireMock, retry: Retry, expected: Any) -> None:
    assert await outcome(judge, CALLS[retry], says({}, 503)) == expected


@pytest.mark.parametrize("retry", CALLS)
async def test_an_answer_that_dribbles_is_waited_for(judge: WireMock, retry: Retry) -> None:
    call = CALLS[retry]
    dribbled = says(call.answer, chunkedDribbleDelay={"numberOfChunks": 5, "totalDuration": 100})
    assert await outcome(judge, call, dribbled) == (1, call.value)


@pytest.mark.parametrize("retry", CALLS)
async def test_an_answer_that_dribbles_for_too_long_is_cut_by_the_deadline(
    judge: WireMock, retry: Retry
) -> None:
    call = CALLS[retry]
    dribbled = says(call.answer, chunkedDribbleDelay={"numberOfChunks": 5, "totalDuration": 5000})
    error = errors.UnknownOutcome if retry == "once" else errors.DeadlineExceeded
    assert await outcome(judge, call, dribbled, timeout=SHORT) == (1, error)


async def test_each_order_is_in_the_journal_once(judge: WireMock) -> None:
    orders = 40
    steps = [FAULTS[fault][0] for fault in FAULTS] + [says(THING)]
    judge.answers("POST", "/api/order", *[steps[n % len(steps)] for n in range(2 * orders)])
    submitted = [f"EXT-{n}" for n in range(orders)]
    async with Limio(judge.url, auth=BearerToken(CANARY), timeout=LONG) as limio:
        unsure = 0
        for name in submitted:
            try:
                await limio.orders.submit({"order_type": "new", "external_id": name})
            except (errors.UnknownOutcome, errors.TooManyRequests):
                unsure += 1
    assert unsure == orders * len(FAULTS) // len(steps)
    assert [json.loads(request["body"])["external_id"] for request in judge.journal()] == submitted
