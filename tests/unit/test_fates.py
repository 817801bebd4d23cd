"""Each error says whether its call happened and may be made again, and what support asks for."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any, cast

import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors
from limio_async.core.session import Session
from limio_async.core.wire import Retry
from tests.conftest import ScriptedTransport
from tests.unit.helpers import SCROLL, answer, endpoint, listing_of, scroll_page

SUPPORT = {"x-amzn-requestid": "req-1", "date": "Sat, 28 Nov 2026 17:00:00 GMT"}
NO, LATER, OPEN, REPEAT = ("no", False), ("no", True), ("unknown", False), ("unknown", True)

# written by hand, from what each status and loss means; not from the table of the package
EXPECTED: dict[str, tuple[tuple[str, bool], ...]] = {
    # safe, scroll, idempotent, once
    "AnswerLost": (LATER, OPEN, REPEAT, OPEN),
    "ApiError": (NO, NO, NO, NO),
    "BadGateway": (LATER, OPEN, REPEAT, OPEN),
    "BadRequest": (NO, NO, NO, NO),
    "CatalogUnavailable": (LATER, LATER, LATER, LATER),
    "ClientClosed": (NO, NO, NO, NO),
    "ConfigurationError": (NO, NO, NO, NO),
    "Conflict": (NO, NO, NO, NO),
    "CursorExpired": (LATER, LATER, LATER, LATER),
    "CursorLoop": (NO, NO, NO, NO),
    "DeadlineExceeded": (LATER, LATER, LATER, LATER),
    "Forbidden": (NO, NO, NO, NO),
    "ForeignCheckpoint": (NO, NO, NO, NO),
    "IncompleteListing": (LATER, LATER, LATER, LATER),
    "InvalidArgument": (NO, NO, NO, NO),
    "JobError": (NO, NO, NO, NO),
    "LimioError": (NO, NO, NO, NO),
    "ListingError": (NO, NO, NO, NO),
    "Locked": (LATER, LATER, LATER, LATER),
    "MissingCredentials": (NO, NO, NO, NO),
    "NeverSent": (LATER, LATER, LATER, LATER),
    "NotFound": (NO, NO, NO, NO),
    "ServerError": (LATER, OPEN, REPEAT, OPEN),
    "KeyReused": (NO, NO, NO, NO),
    "OutboxError": (NO, NO, NO, NO),
    "InboxError": (NO, NO, NO, NO),
    "UnknownEvent": (NO, NO, NO, NO),
    "StoreAway": (REPEAT, REPEAT, REPEAT, REPEAT),
    "StoreError": (NO, NO, NO, NO),
    "TooManyWaiting": (LATER, LATER, LATER, LATER),
    "UnknownKey": (NO, NO, NO, NO),
    "SinkError": (NO, NO, NO, NO),
    "SnapshotChanged": (LATER, LATER, LATER, LATER),
    "TargetAway": (REPEAT, REPEAT, REPEAT, REPEAT),
    "TargetBusy": (LATER, LATER, LATER, LATER),
    "TooManyRequests": (LATER, LATER, LATER, OPEN),
    "TransportError": (LATER, OPEN, REPEAT, OPEN),
    "Unauthorized": (NO, NO, NO, NO),
    "UnknownOutcome": (OPEN, OPEN, OPEN, OPEN),
    "Unreadable": (NO, OPEN, OPEN, OPEN),
}
CLASSES: tuple[Retry, ...] = ("safe", "scroll", "idempotent", "once")


@pytest.mark.parametrize("name", errors.__all__)
def test_what_an_error_says_of_a_call_of_each_class(name: str) -> None:
    kind = getattr(errors, name)
    assert tuple(kind.fates[retry] for retry in CLASSES) == EXPECTED[name]


def test_an_error_that_no_call_has_raised_says_what_holds_for_an_order() -> None:
    assert errors.AnswerLost("lost").happened == "unknown"
    assert not errors.AnswerLost("lost").retryable
    assert errors.NeverSent("refused").retryable


# ------------------------------------------------------------------ as calls raise them

LOST = errors.AnswerLost("hung up")
NEVER = errors.NeverSent("refused")
REFUSED = [300, 302, 400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 451, 501]
UNCLEAR = [500, 502, 503, 504, 520, 522, 524, 529, 530, 599]
THROTTLED = [408, 425, 429]
SAID: list[tuple[str, Any, tuple[tuple[str, bool], ...]]] = [
    *((str(one), answer({}, one, headers=SUPPORT), (NO, NO, NO, NO)) for one in REFUSED),
    *((str(one), answer({}, one, headers=SUPPORT), (LATER, OPEN, REPEAT, OPEN)) for one in UNCLEAR),
    *((str(one), answer({}, one, headers=SUPPORT), (LATER, LATER, LATER, OPEN)) for one in THROTTLED),
    ("423", answer({}, 423, headers=SUPPORT), (LATER, LATER, LATER, LATER)),
    ("unreadable", answer(b"{", 200, headers=SUPPORT), (NO, OPEN, OPEN, OPEN)),
    ("an error told with 200", answer({"error": "no"}, 200, headers=SUPPORT), (NO, OPEN, OPEN, OPEN)),
    ("lost", LOST, (LATER, OPEN, REPEAT, OPEN)),
    ("never sent", NEVER, (LATER, LATER, LATER, LATER)),
]


def calling(retry: Retry) -> Any:
    return endpoint(operation="doThing", retry=retry, identity=("id",))


@pytest.mark.parametrize(("name", "outcome", "fates"), SAID, ids=[one for one, _, _ in SAID])
@pytest.mark.parametrize("retry", CLASSES)
async def test_what_a_call_came_to(
    name: str, outcome: Any, fates: Any, retry: Retry, virtual_time: Any
) -> None:
    session = Session(ScriptedTransport(outcome), BearerToken("t"), attempts=1)
    with pytest.raises(errors.LimioError) as caught:
        await session.call(calling(retry), {"id": "1"})
    error = caught.value
    assert (error.happened, error.retryable) == fates[CLASSES.index(retry)]
    assert isinstance(error, errors.UnknownOutcome) == (
        retry == "once" and fates[3] == OPEN and name not in {"408", "425", "429"}
    )
    if outcome not in (LOST, NEVER):
        assert error.request_id == "req-1"
        assert error.headers["date"].startswith("Sat")
    there = pickle.loads(pickle.dumps(error))  # noqa: S301
    for other in (there, copy.copy(error)):
        assert (other.happened, other.retryable, other.request_id) == (
            error.happened, error.retryable, error.request_id,
        )  # fmt: skip


@pytest.mark.parametrize("retry", CLASSES)
@pytest.mark.parametrize("left", [False, True])
async def test_a_deadline_says_whether_anything_had_left(retry: Retry, left: bool, virtual_time: Any) -> None:
    transport = ScriptedTransport(lambda _: asyncio.sleep(60))
    session = Session(transport, BearerToken("t"), max_concurrency=1)
    before = asyncio.create_task(session.call(calling("safe"), {"id": "1"}, timeout=50))
    await asyncio.sleep(0)
    other = session if not left else Session(transport, BearerToken("t"))
    with pytest.raises(errors.LimioError) as caught:
        await other.call(calling(retry), {"id": "1"}, timeout=5)
    expected = (LATER, OPEN, REPEAT, OPEN) if left else (LATER,) * 4
    assert (caught.value.happened, caught.value.retryable) == expected[CLASSES.index(retry)]
    assert isinstance(
        caught.value, errors.UnknownOutcome if left and retry == "once" else errors.DeadlineExceeded
    )
    before.cancel()


@pytest.mark.parametrize(
    "last", [answer({}, 404), answer({}, 403), NEVER, answer({}, 429), answer({}, 501)], ids=str
)
@pytest.mark.parametrize("first", [answer({}, 502), LOST, answer({}, 522)], ids=str)
async def test_an_attempt_before_that_may_have_happened_is_not_forgotten(
    first: Any, last: Any, virtual_time: Any
) -> None:
    session = Session(ScriptedTransport(first, last), BearerToken("t"), attempts=2)
    with pytest.raises(errors.LimioError) as caught:
        await session.call(calling("idempotent"), {"id": "1"})
    assert caught.value.happened == "unknown"
    session = Session(ScriptedTransport(first, last), BearerToken("t"), attempts=2)
    with pytest.raises(errors.LimioError) as caught:
        await session.call(calling("safe"), {"id": "1"})
    assert caught.value.happened == "no"


async def test_what_the_token_endpoint_says_is_not_said_of_the_order(virtual_time: Any) -> None:
    for status, retryable in ((401, False), (429, True), (503, True)):
        transport = ScriptedTransport(answer({}, status, headers=SUPPORT))
        async with Limio(
            "https://limio.test", auth=ClientCredentials("a", "b"), transport=transport
        ) as limio:
            with pytest.raises(errors.LimioError) as caught:
                await limio.orders.submit({"order_type": "new"})
        assert (caught.value.happened, caught.value.retryable) == ("no", retryable)


async def test_an_order_that_the_client_holds_back_was_not_sent(virtual_time: Any) -> None:
    transport = ScriptedTransport(answer({}, 429, headers={"retry-after": "50"}))
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        with pytest.raises(errors.TooManyRequests) as caught:
            await limio.orders.submit({"order_type": "new"})
        assert caught.value.happened == "unknown"
        with pytest.raises(errors.TooManyRequests, match="not sent") as caught:
            await limio.orders.submit({"order_type": "new"}, timeout=5)
    assert (caught.value.happened, caught.value.retryable) == ("no", True)
    assert len(transport.requests) == 1


# ------------------------------------------------------------------ of lists

LISTED: list[tuple[str, list[Any], type[errors.LimioError]]] = [
    ("the first page", [answer({}, 404, headers=SUPPORT)], errors.NotFound),
    ("the first page cannot be read", [answer(b"<", headers=SUPPORT)], errors.Unreadable),
    ("expired", [scroll_page("a", hits=2), answer({}, 404, headers=SUPPORT)], errors.CursorExpired),
    ("lost", [scroll_page("a", hits=2), answer({}, 502, headers=SUPPORT)], errors.IncompleteListing),
    ("unreadable", [scroll_page("a", hits=2), answer(b"{", headers=SUPPORT)], errors.IncompleteListing),
    (
        "another catalog",
        [scroll_page("a", hits=2), answer({"items": [{"id": "b"}], "commitId": "c2"}, headers=SUPPORT)],
        errors.SnapshotChanged,
    ),
]


@pytest.mark.parametrize(("name", "pages", "kind"), LISTED, ids=[one for one, _, _ in LISTED])
async def test_an_error_of_a_page_has_what_support_asks_for(
    name: str, pages: list[Any], kind: type[errors.LimioError], virtual_time: Any
) -> None:
    session = Session(ScriptedTransport(*pages), BearerToken("t"), attempts=1)
    with pytest.raises(kind) as caught:
        await session.list(listing_of(SCROLL), {}, restarts=0).collect(limit=9)
    assert type(caught.value) is kind
    assert caught.value.request_id == "req-1"
    assert caught.value.attempts
    assert caught.value.happened == "no"


async def test_a_page_that_is_lost_on_the_way_tells_its_attempts(virtual_time: Any) -> None:
    session = Session(ScriptedTransport(scroll_page("a", hits=2), LOST), BearerToken("t"))
    with pytest.raises(errors.IncompleteListing) as caught:
        await session.list(listing_of(SCROLL), {}).collect(limit=9)
    assert [one.reason for one in cast("Any", caught.value.attempts)] == ["AnswerLost"]


def test_no_error_is_left_out() -> None:
    assert EXPECTED.keys() == set(errors.__all__)
