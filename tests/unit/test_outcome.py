"""What came of a request: who says so, and that credentials never do."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

import limio_async
from limio_async import errors
from limio_async.auth import BearerToken, ClientCredentials, NoAuth
from limio_async.core.listing import Listing
from limio_async.core.listing.page import Page
from limio_async.core.ports import Exchange
from limio_async.core.session import Session
from limio_async.core.wire import Credential, Paging, Redirect, Request, Response, Retry, Scheme
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, SCROLL, Item, answer, endpoint, listing_of, scroll_page

READ = endpoint(auth=("bearer",))
ORDER = endpoint(operation="submitThing", auth=("bearer",), retry="once")
PUT = endpoint(operation="putThing", auth=("bearer",), retry="idempotent")
OK = answer({"ok": True})


def test_one_file_makes_unknown_outcomes() -> None:
    package = Path(limio_async.__file__).parent
    makers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "UnknownOutcome"
    }
    assert makers == {"core/outcome.py"}


# ------------------------------------------------------------------ the status that was answered

SUCCESSES = [200, 201, 202, 206]
NAMED = endpoint(identity=("id",))
ELSEWHERE = endpoint(returns=Redirect)


@pytest.mark.parametrize("status", SUCCESSES)
@pytest.mark.parametrize("body", [b"<html>", b'{"ok":', b'{"error":"no"}', b'["no"]'])
@pytest.mark.parametrize("retry", ["safe", "idempotent", "once"])
async def test_an_answer_that_says_yes_in_garbage_tells_its_status(
    status: int, body: bytes, retry: Retry
) -> None:
    kind: Any = errors.UnknownOutcome if retry == "once" else errors.Unreadable
    for which in (READ, NAMED, *([] if body == b"<html>" else [ELSEWHERE])):
        session = Session(ScriptedTransport(answer(body, status)), BearerToken("t"))
        with pytest.raises(kind) as caught:
            await session.call(msgspec.structs.replace(which, retry=retry), {"id": "1"})
        assert (caught.value.status, [one.status for one in caught.value.attempts]) == (status, [status])


BAD_PAGES: dict[str, Any] = {
    "HTML": b"<html>",
    "no items": {"message": "hello"},
    "an error": {"items": None, "error": "no"},
    "items that are no list": {"items": "many"},
    "an item of another shape": {"items": [{"id": None}]},
    "an item that is an error": {"items": [{"errorMessage": "no"}]},
    "a cursor of another shape": {"items": [], "queryMore": 7},
}


@pytest.mark.parametrize("status", SUCCESSES)
@pytest.mark.parametrize("bad", BAD_PAGES)
@pytest.mark.parametrize("paging", [KEY, SCROLL], ids=lambda one: one.kind)
async def test_a_page_that_cannot_be_read_tells_its_status(paging: Paging, bad: str, status: int) -> None:
    which = listing_of(paging, identity=("id",))
    session = Session(ScriptedTransport(answer(BAD_PAGES[bad], status)), NoAuth())
    ways: list[Callable[[Listing[Any]], Any]] = [lambda it: it.first(), lambda it: it.into(Item)]
    for way in ways if "an item " in bad else [*ways, lambda it: it.raw()]:
        with pytest.raises(errors.Unreadable) as caught:
            await way(session.list(which, {}))
        assert (caught.value.status, [one.status for one in caught.value.attempts]) == (status, [status])


@pytest.mark.parametrize("status", SUCCESSES)
async def test_a_page_that_is_lost_for_what_it_says_tells_the_status_in_its_cause(status: int) -> None:
    session = Session(ScriptedTransport(scroll_page("1"), answer(b"<html>", status)), NoAuth())
    with pytest.raises(errors.IncompleteListing) as caught:
        await session.list(listing_of(SCROLL), {}).collect(limit=9)
    assert isinstance(caught.value.__cause__, errors.Unreadable)
    assert caught.value.__cause__.status == status
    assert [one.status for one in caught.value.attempts] == [status]


async def test_a_page_read_as_what_it_is_not_tells_the_status_it_came_with() -> None:
    session = Session(ScriptedTransport(answer({"items": []}, 206)), NoAuth())
    with pytest.raises(errors.Unreadable) as caught:
        (await session.list(listing_of(KEY), {})).read(int)
    assert caught.value.status == 206
    with pytest.raises(errors.Unreadable) as caught:
        Page[Item](items=[], number=1, hits=None, body=b"{}").read(int)
    assert (caught.value.status, caught.value.operation) == (None, "page")


@pytest.mark.parametrize("status", [201, 202, 206])
@pytest.mark.parametrize("body", [b"<html>", b'{"access_token":7}', b'{"access_token":""}'])
async def test_garbage_of_the_token_endpoint_tells_its_status(status: int, body: bytes) -> None:
    session = Session(ScriptedTransport(answer(body, status)), ClientCredentials("id", "secret"))
    with pytest.raises(errors.Unreadable) as caught:
        await session.warm_up()
    assert caught.value.status == status


# ------------------------------------------------------------------ strategies that fail

WHAT_ANY_STRATEGY_MAY_RAISE: list[tuple[errors.LimioError, type[errors.LimioError]]] = [
    (errors.NeverSent("no route", operation="vault"), errors.NeverSent),
    (errors.AnswerLost("hung up", operation="vault"), errors.NeverSent),
    (errors.DeadlineExceeded("too slow", operation="vault"), errors.NeverSent),
    (errors.TransportError("broken", operation="vault"), errors.NeverSent),
    (errors.UnknownOutcome("perhaps", operation="vault"), errors.NeverSent),
    (errors.UnknownOutcome("perhaps", operation="submitThing"), errors.NeverSent),
    (errors.Unreadable("garbage", operation="vault"), errors.NeverSent),
    (errors.Unreadable("too large", operation="submitThing", too_large=True), errors.NeverSent),
    (errors.ServerError("down", operation="vault", status=503), errors.NeverSent),
    (errors.BadGateway("down", operation="vault", status=502), errors.NeverSent),
    (errors.Unauthorized("who?", operation="vault", status=401), errors.Unauthorized),
    (errors.Forbidden("no", operation="vault", status=403), errors.Unauthorized),
    (errors.NotFound("no such page", operation="vault", status=404), errors.NeverSent),
    (errors.BadRequest("no", operation="vault", status=400), errors.NeverSent),
    (errors.Conflict("no", operation="vault", status=409), errors.NeverSent),
    (errors.Locked("no", operation="vault", status=423), errors.NeverSent),
    (errors.ApiError("elsewhere", operation="vault", status=302), errors.NeverSent),
    (errors.TooManyRequests("slowly", operation="vault", status=429), errors.TooManyRequests),
    (errors.MissingCredentials("nobody is signed in"), errors.MissingCredentials),
    (errors.ConfigurationError("no such file"), errors.ConfigurationError),
    (errors.ClientClosed("closed"), errors.ClientClosed),
]


class Failing:
    """Hands out a credential once if *at* is `renew`, and raises *error* there."""

    offers: tuple[Scheme, ...] = ("bearer",)

    def __init__(self, error: errors.LimioError, at: str) -> None:
        self._error = error
        self._at = at

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        if self._at == "credential":
            raise self._error
        return Credential(scheme="bearer", authorization="Bearer old")

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        raise self._error


@pytest.mark.parametrize("which", [READ, ORDER, PUT], ids=lambda which: which.retry)
@pytest.mark.parametrize("at", ["credential", "renew"])
@pytest.mark.parametrize(
    ("raised", "comes"), WHAT_ANY_STRATEGY_MAY_RAISE, ids=lambda one: getattr(one, "said", "")
)
async def test_what_a_strategy_raises_is_never_taken_for_what_came_of_the_request(
    virtual_time: Any, raised: errors.LimioError, comes: type[errors.LimioError], at: str, which: Any
) -> None:
    transport = ScriptedTransport(answer({}, 401))
    session = Session(transport, Failing(raised, at))
    with pytest.raises(errors.LimioError) as caught:
        await session.call(which, {"id": "1"})
    assert type(caught.value) is comes
    assert raised.said in str(caught.value)
    if comes is errors.NeverSent:
        again = " again" if at == "renew" else ""
        assert f"{which.operation}: not sent{again}, no credentials: " in str(caught.value)
    assert bool(transport.requests) == (at == "renew")


async def test_a_lost_answer_is_not_forgotten_when_credentials_fail_later(virtual_time: Any) -> None:
    """A write that may be repeated: its first attempt left, whatever became of the second."""

    class Once(Failing):
        async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
            self._at, before = "credential", self._at
            if before == "credential":
                raise self._error
            return Credential(scheme="bearer", authorization="Bearer old")

    lost = errors.AnswerLost("hung up", operation="putThing")
    session = Session(ScriptedTransport(lost), Once(errors.NeverSent("no route"), "renew"))
    with pytest.raises(errors.AnswerLost, match="an attempt before this one left"):
        await session.call(PUT, {"id": "1"})


@pytest.mark.parametrize("first", [errors.AnswerLost("hung up"), answer({}, 503), answer({}, 502)])
async def test_a_write_whose_first_attempt_left_is_not_called_never_sent(
    virtual_time: Any, first: Any
) -> None:
    refused = errors.NeverSent("could not connect")
    session = Session(ScriptedTransport(first, refused), NoAuth())
    with pytest.raises(errors.AnswerLost, match="could not connect; an attempt before this one left"):
        await session.call(endpoint(operation="putThing", retry="idempotent"), {"id": "1"})


@pytest.mark.parametrize("first", [errors.NeverSent("could not connect"), answer({}, 429)])
async def test_a_write_that_was_refused_before_is_still_never_sent(virtual_time: Any, first: Any) -> None:
    refused = errors.NeverSent("could not connect")
    session = Session(ScriptedTransport(first, refused), NoAuth())
    with pytest.raises(errors.NeverSent):
        await session.call(endpoint(operation="putThing", retry="idempotent"), {"id": "1"})


# ------------------------------------------------------------------ deadlines


async def hanging(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


def token_then(renewed: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A tenant that refuses the first token; *renewed* is what it does when asked for another."""
    asked = 0

    def answers(request: Request) -> Any:
        nonlocal asked
        if request.operation != "createToken":
            return answer({}, 401)
        asked += 1
        return answer({"access_token": "t", "expires_in": 3600}) if asked == 1 else renewed(request)

    return answers


@pytest.mark.parametrize("which", [READ, ORDER], ids=lambda which: which.retry)
@pytest.mark.parametrize("script", [hanging, token_then(hanging)], ids=["first token", "renewal"])
async def test_a_deadline_that_strikes_while_the_token_is_fetched_tells_nothing_of_the_order(
    virtual_time: Any, script: Any, which: Any
) -> None:
    transport = ScriptedTransport(script)
    session = Session(transport, ClientCredentials("id", "secret"), timeout=2)
    with pytest.raises(errors.DeadlineExceeded, match=f"{which.operation}: not finished after 2 s") as caught:
        await session.call(which, {"id": "1"})
    assert "cut by the deadline" not in {one.reason for one in caught.value.attempts}
    assert caught.value.left is False


async def test_a_deadline_tells_whether_the_request_had_left(virtual_time: Any) -> None:
    session = Session(ScriptedTransport(hanging), NoAuth(), timeout=2)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await session.call(endpoint(operation="putThing", retry="idempotent"), {"id": "1"})
    assert caught.value.left is True


async def test_warming_up_ends_with_an_error_of_ours(virtual_time: Any) -> None:
    session = Session(ScriptedTransport(hanging), ClientCredentials("id", "secret"), timeout=2)
    with pytest.raises(errors.DeadlineExceeded, match="createToken: not finished after 2 s"):
        await session.warm_up()
