"""Every strategy gives what an operation accepts, renews what was refused, and shows no secret."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
import time
import weakref
from itertools import count
from typing import Any

import pytest
from rich.console import Console
from rich.pretty import Pretty

from limio_async import errors
from limio_async.auth import ApiKey, BearerToken, ChainedAuth, ClientCredentials, NoAuth, SessionToken
from limio_async.core.session import Session
from limio_async.core.wire import Credential, Request, Response, Scheme
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

SECRET = "s3cr3t-value"


class Tenant:
    """Issues tokens that it can also revoke."""

    def __init__(self, lifetime: float | None = 3600) -> None:
        self.lifetime = lifetime
        self.numbers = count(1)
        self.valid = ""
        self.issued = 0
        self.seen: list[str | None] = []
        self.down = False

    def __call__(self, request: Request) -> Response:
        if request.operation == "createToken":
            self.issued += 1
            if self.down:
                return answer({"message": "wrong client"}, 401)
            self.valid = f"token-{next(self.numbers)}"
            return answer({"access_token": self.valid, "expires_in": self.lifetime})
        given = request.headers.get("authorization")
        self.seen.append(given)
        return (
            answer({"ok": True}) if given == f"Bearer {self.valid}" else answer({"message": "expired"}, 401)
        )


BEARER = endpoint(auth=("bearer",))
ACCEPTS: tuple[Scheme, ...] = ("bearer",)


def session_on(tenant: Any, auth: Any) -> tuple[Session, ScriptedTransport]:
    transport = ScriptedTransport(tenant)
    return Session(transport, auth), transport


async def test_the_key_travels_bare_and_tokens_behind_the_word_bearer() -> None:
    for auth, scheme, header in (
        (ApiKey(SECRET), "key", SECRET),
        (BearerToken(SECRET), "bearer", f"Bearer {SECRET}"),
        (SessionToken(SECRET), "session", f"Bearer {SECRET}"),
    ):
        session, transport = session_on(answer({}), auth)
        await session.call(endpoint(auth=(scheme,)), {"id": "1"})
        assert transport.requests[0].headers["authorization"] == header


async def test_an_operation_without_security_gets_no_credentials() -> None:
    session, transport = session_on(answer({}), ApiKey(SECRET))
    await session.call(endpoint(auth=()), {"id": "1"})
    assert "authorization" not in transport.requests[0].headers


@pytest.mark.parametrize(
    ("auth", "has"),
    [
        (NoAuth(), "no credentials"),
        (ApiKey(SECRET), "an API key"),
        (ChainedAuth(ApiKey(SECRET), SessionToken(SECRET)), "an API key or a session token"),
    ],
)
async def test_missing_credentials_are_an_error_before_anything_is_sent(auth: Any, has: str) -> None:
    session, transport = session_on(answer({}), auth)
    with pytest.raises(errors.MissingCredentials) as caught:
        await session.call(BEARER, {"id": "1"})
    assert str(caught.value) == f"getThing: takes a bearer token, the client has {has}"
    assert transport.requests == []


FIXED: dict[str, tuple[Any, str]] = {
    "key": (ApiKey, "the API key"),
    "bearer": (BearerToken, "the token"),
    "session": (SessionToken, "the session token"),
}


@pytest.mark.parametrize("scheme", FIXED)
async def test_a_credential_that_never_changes_is_not_sent_again_after_a_refusal(scheme: Scheme) -> None:
    session, transport = session_on(answer({"message": "no"}, 401), FIXED[scheme][0](SECRET))
    with pytest.raises(errors.Unauthorized):
        await session.call(endpoint(auth=(scheme,)), {"id": "1"})
    assert len(transport.requests) == 1


@pytest.mark.parametrize("scheme", FIXED)
@pytest.mark.parametrize("given", ["", " ", "a b", "ä", "a\nb", "a\x00b"])
def test_a_credential_that_no_header_can_carry_is_named(scheme: Scheme, given: str) -> None:
    kind, name = FIXED[scheme]
    with pytest.raises(errors.ConfigurationError, match=f"^{name} is empty or holds"):
        kind(given)


async def test_a_chain_picks_what_each_operation_accepts() -> None:
    chain = ChainedAuth(ApiKey("the-key"), BearerToken("the-token"))
    session, transport = session_on(answer({}), chain)
    for accepts in (("key",), ("bearer",), ("key", "bearer"), ("bearer", "session")):
        await session.call(endpoint(auth=accepts), {"id": "1"})
    given = [request.headers["authorization"] for request in transport.requests]
    assert given == ["the-key", "Bearer the-token", "the-key", "Bearer the-token"]
    of_another = Credential(scheme="session", authorization="Bearer x")
    assert not await chain.renew(of_another, session.ladder._exchange)


async def test_fifty_cold_calls_ask_for_one_token() -> None:
    tenant = Tenant()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    await asyncio.gather(*(session.call(BEARER, {"id": str(n)}) for n in range(50)))
    assert tenant.issued == 1


async def test_a_client_that_the_endpoint_does_not_know_is_unauthorized_not_a_bad_request() -> None:
    refused = ScriptedTransport(
        answer({"error": "invalid_client", "error_description": "unknown client"}, 400)
    )
    session = Session(refused, ClientCredentials("id", SECRET))
    with pytest.raises(errors.Unauthorized, match="createToken: 400 unknown client"):
        await session.call(endpoint(auth=("bearer",), retry="once"), {"id": "1"})


async def test_the_token_request_is_a_form_without_authorization() -> None:
    session, transport = session_on(Tenant(), ClientCredentials("id", "a&b"))
    await session.call(BEARER, {"id": "1"})
    asked = transport.requests[0]
    assert (asked.method, asked.target) == ("POST", "/oauth2/token")
    assert asked.body == b"grant_type=client_credentials&client_id=id&client_secret=a%26b"
    assert "authorization" not in asked.headers


async def test_a_refused_token_is_renewed_once_however_many_calls_it_hit() -> None:
    tenant = Tenant()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    await session.call(BEARER, {"id": "1"})
    tenant.valid = "revoked"
    await asyncio.gather(*(session.call(BEARER, {"id": str(n)}) for n in range(20)))
    assert tenant.issued == 2


async def test_a_token_is_renewed_before_it_expires(virtual_time: Any) -> None:
    tenant = Tenant()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    for wait, issued in ((0, 1), (3290, 1), (45, 2), (3290, 2)):
        await asyncio.sleep(wait)
        await session.call(BEARER, {"id": "1"})
        assert tenant.issued == issued
    assert "expired" not in tenant.seen


@pytest.mark.parametrize("lifetime", [10, 60, None])
async def test_short_and_unknown_lifetimes_make_no_storm(virtual_time: Any, lifetime: float | None) -> None:
    tenant = Tenant(lifetime)
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    for n in range(5):
        await session.call(BEARER, {"id": str(n)})
    assert tenant.issued == 1


async def test_401_for_ever_is_renewed_once_and_then_raised() -> None:
    refusing = ScriptedTransport(
        lambda request: (
            answer({"access_token": "t"}) if request.operation == "createToken" else answer({}, 401)
        )
    )
    session = Session(refusing, ClientCredentials("id", SECRET))
    with pytest.raises(errors.Unauthorized):
        await session.call(BEARER, {"id": "1"})
    operations = [request.operation for request in refusing.requests]
    assert operations == [
        "createToken",
        "getThing",
        "createToken",
    ]  # the same token again is no reason to resend


async def test_an_order_refused_with_401_is_sent_again_with_the_new_token() -> None:
    tenant = Tenant()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    await session.call(BEARER, {"id": "1"})
    tenant.valid = "revoked"
    order = endpoint(auth=("bearer",), retry="once", method="POST")
    assert await session.call(order, {"id": "1"}) == {"ok": True}
    assert tenant.seen[-2:] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("retry", ["safe", "scroll", "idempotent", "once"])
@pytest.mark.parametrize(
    "body",
    [
        {"message": "The incoming token has expired"},
        {"Message": "The security token included in the request is expired"},
        {"error": {"reason": "Expired Token"}},
        {"errors": ["expired access_token"]},
        {"code": "TOKEN_EXPIRED"},
        b"token expired",
    ],
    ids=str,
)
async def test_a_403_for_an_expired_token_renews_it_once_in_every_retry_class(body: Any, retry: Any) -> None:
    tenant = Tenant()
    good = tenant.valid

    def answers(request: Request) -> Response:
        nonlocal good
        answered = tenant(request)
        if request.operation == "createToken" or request.headers["authorization"] == good:
            return answered
        good = f"Bearer token-{tenant.issued + 1}" if retry_works else "none"
        return answer(body, 403)

    for retry_works in (True, False):
        session, transport = session_on(answers, ClientCredentials("id", SECRET))
        called = session.call(endpoint(auth=("bearer",), retry=retry), {"id": "1"})
        if retry_works:
            assert await called == {"ok": True}
        else:
            with pytest.raises(errors.Forbidden) as caught:
                await called
            assert [one.status for one in caught.value.attempts] == [403, 403]
        operations = [one.operation for one in transport.requests]
        assert operations == ["createToken", "getThing", "createToken", "getThing"]


@pytest.mark.parametrize("body", [{}, {"message": "not yours"}, {"message": "your trial expired"}, b"<html>"])
async def test_any_other_403_is_final(body: Any) -> None:
    def answers(request: Request) -> Response:
        return answer({"access_token": "t"}) if request.operation == "createToken" else answer(body, 403)

    session, transport = session_on(answers, ClientCredentials("id", SECRET))
    with pytest.raises(errors.Forbidden):
        await session.call(BEARER, {"id": "1"})
    assert [one.operation for one in transport.requests] == ["createToken", "getThing"]


async def test_wrong_client_credentials_fail_once_for_all_who_wait(virtual_time: Any) -> None:
    tenant = Tenant()
    tenant.down = True
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    calls = (session.call(BEARER, {"id": str(n)}) for n in range(20))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"createToken: 401 wrong client"}
    assert tenant.issued == 1
    tenant.down = False
    await asyncio.sleep(1)
    assert await session.call(BEARER, {"id": "1"}) == {"ok": True}


async def test_an_order_that_waits_for_a_lost_token_never_left(virtual_time: Any) -> None:
    lost = ScriptedTransport(errors.AnswerLost("hung up", operation="createToken"))
    session = Session(lost, ClientCredentials("id", SECRET))
    with pytest.raises(errors.NeverSent, match="no credentials: createToken: hung up"):
        await session.call(endpoint(auth=("bearer",), retry="once"), {"id": "1"})
    assert {request.operation for request in lost.requests} == {"createToken"}


async def test_cancelling_the_call_that_renews_does_not_fail_the_others() -> None:
    tenant = Tenant()

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.001)
        return tenant(request)

    session, _ = session_on(slow, ClientCredentials("id", SECRET))
    calls = [asyncio.create_task(session.call(BEARER, {"id": str(n)})) for n in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls[0].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [{"ok": True}] * 4


class Endpoint:
    """A token endpoint as a strategy sees it: an exchange. Answers in its own time, or fails."""

    def __init__(self, *, lifetime: Any = 3600, takes: float = 0.1) -> None:
        self.lifetime = lifetime
        self.takes = takes
        self.down = False
        self.name = "token-{}"
        self.asked = 0

    async def __call__(self, request: Request) -> Response:
        self.asked += 1
        number = self.asked
        await self.waits()
        if self.down:
            raise errors.NeverSent("could not connect", operation="createToken")
        return answer({"access_token": self.name.format(number), "expires_in": self.lifetime})

    async def waits(self) -> None:
        await asyncio.sleep(self.takes)


async def token(auth: ClientCredentials, endpoint: Endpoint) -> str:
    credential = await auth.credential(ACCEPTS, endpoint)
    assert credential is not None
    return credential.authorization.removeprefix("Bearer ")


def elapsed() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def renewable(virtual_time: Any) -> tuple[ClientCredentials, Endpoint]:
    """A strategy whose hour ends in four minutes: time to renew, but no hurry."""
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    assert await token(auth, endpoint) == "token-1"
    await asyncio.sleep(3600 - 240)
    return auth, endpoint


async def test_one_call_renews_early_while_all_others_go_on_with_the_valid_token(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    begun_at = elapsed()

    async def served() -> tuple[str, float]:
        return await token(auth, endpoint), round(elapsed() - begun_at, 3)

    assert (
        await asyncio.gather(*(served() for _ in range(50))) == [("token-2", 0.1)] + [("token-1", 0.0)] * 49
    )
    assert await token(auth, endpoint) == "token-2"
    assert endpoint.asked == 2


async def test_an_early_renewal_that_fails_fails_no_call_and_is_tried_again_ever_later(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    endpoint.down = True
    asked_after: list[int] = []
    for second in range(200):
        before = endpoint.asked
        assert await asyncio.gather(*(token(auth, endpoint) for _ in range(5))) == ["token-1"] * 5
        if endpoint.asked != before:
            asked_after.append(second)
        await asyncio.sleep(1 - 0.1 * (endpoint.asked - before))
    assert asked_after == [0, 5, 15, 35, 75, 135, 195]
    endpoint.down = False
    await asyncio.sleep(12)
    await token(auth, endpoint)
    assert await token(auth, endpoint) == f"token-{endpoint.asked}"


async def test_an_early_renewal_that_hangs_costs_its_call_a_second_and_nobody_else_anything(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    endpoint.takes = 600
    begun_at = elapsed()
    assert await asyncio.gather(*(token(auth, endpoint) for _ in range(5))) == ["token-1"] * 5
    assert elapsed() - begun_at == pytest.approx(1)
    assert endpoint.asked == 2


async def test_a_call_cancelled_in_its_early_renewal_leaves_the_next_try_for_later(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await token(auth, endpoint)
    assert await token(auth, endpoint) == "token-1"
    await asyncio.sleep(5)
    assert await token(auth, endpoint) == "token-3"


async def test_after_a_renewal_the_next_early_one_begins_with_short_pauses_again(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    for _ in range(2):
        endpoint.down = True
        begun_with = await token(auth, endpoint)
        await asyncio.sleep(5)
        assert await token(auth, endpoint) == begun_with
        endpoint.down = False
        await asyncio.sleep(10)
        asked = endpoint.asked
        assert await token(auth, endpoint) == f"token-{asked + 1}"
        await asyncio.sleep(3600 - 240)


async def test_while_a_refused_token_is_renewed_nobody_starts_or_awaits_an_early_renewal(
    renewable: tuple[ClientCredentials, Endpoint],
) -> None:
    auth, endpoint = renewable
    refused = Credential(scheme="bearer", authorization="Bearer token-1")
    renewal = asyncio.create_task(auth.renew(refused, endpoint))
    await asyncio.sleep(0.05)
    begun_at = elapsed()
    assert await token(auth, endpoint) == "token-1"
    assert elapsed() == begun_at
    assert await renewal
    assert endpoint.asked == 2


async def test_who_waited_for_a_token_goes_on_at_once_with_all_others() -> None:
    auth, endpoint, answered = ClientCredentials("id", SECRET), Endpoint(takes=0), asyncio.Event()

    async def exchange(request: Request) -> Response:
        await answered.wait()
        return await endpoint(request)

    calls = [asyncio.ensure_future(auth.credential(ACCEPTS, exchange)) for _ in range(200)]
    await asyncio.sleep(0.01)
    answered.set()
    for _ in range(5):  # turns of the loop
        await asyncio.sleep(0)
    assert all(call.done() for call in calls)
    assert endpoint.asked == 1


async def test_in_the_last_half_minute_everybody_waits_for_one_request(virtual_time: Any) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    await token(auth, endpoint)
    await asyncio.sleep(3600 - 29)
    assert await asyncio.gather(*(token(auth, endpoint) for _ in range(50))) == ["token-2"] * 50
    assert endpoint.asked == 2


async def test_in_the_last_half_minute_a_failure_leaves_the_valid_token_and_after_it_nothing(
    virtual_time: Any,
) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    await token(auth, endpoint)
    endpoint.down = True
    await asyncio.sleep(3600 - 29)
    assert await asyncio.gather(*(token(auth, endpoint) for _ in range(50))) == ["token-1"] * 50
    assert endpoint.asked == 2
    await asyncio.sleep(30)
    outcomes = await asyncio.gather(*(token(auth, endpoint) for _ in range(50)), return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"createToken: could not connect"}
    assert endpoint.asked == 3


async def test_while_the_endpoint_is_down_it_is_asked_once_a_second_however_many_ask(
    virtual_time: Any,
) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=0)
    endpoint.down = True
    for n in range(1000):
        with pytest.raises(errors.NeverSent, match="createToken: could not connect") as caught:
            await token(auth, endpoint)
        assert len(caught.traceback) < 10  # a kept error must not collect those who raised it
        await asyncio.sleep(1 / 128)
        assert endpoint.asked == 1 + n // 128
    endpoint.down = False
    await asyncio.sleep(1)
    assert await token(auth, endpoint) == f"token-{endpoint.asked}"


async def test_a_failure_that_all_share_keeps_its_facts() -> None:
    refusal = answer({"message": "slow down"}, 429, {"retry-after": "7", "x-request-id": "r-1"})

    async def exchange(request: Request) -> Response:
        return refusal

    auth = ClientCredentials("id", SECRET)
    calls = (auth.credential(ACCEPTS, exchange) for _ in range(3))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(outcome) for outcome in outcomes}) == 3
    for outcome in outcomes:
        assert isinstance(outcome, errors.TooManyRequests)
        assert (outcome.operation, outcome.status, outcome.words) == ("createToken", 429, "slow down")
        assert outcome.headers["x-request-id"] == "r-1"


async def test_a_kept_failure_holds_on_to_nobody_who_raised_it() -> None:
    class Held:
        pass

    seen: list[weakref.ref[Held]] = []

    async def exchange(request: Request) -> Response:
        held = Held()
        seen.append(weakref.ref(held))
        raise errors.NeverSent("could not connect", operation="createToken")

    auth = ClientCredentials("id", SECRET)
    for _ in range(2):
        with pytest.raises(errors.NeverSent):
            await auth.credential(ACCEPTS, exchange)
    gc.collect()
    assert [one() for one in seen] == [None]


@pytest.mark.parametrize("before", ["nothing", "success", "failure"])
async def test_those_behind_one_who_gave_up_do_not_wait_longer_for_it(virtual_time: Any, before: str) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    if before != "nothing":
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await token(auth, endpoint)
            await asyncio.sleep(1)
        endpoint.down = before == "failure"
        await asyncio.gather(token(auth, endpoint), return_exceptions=True)
        endpoint.down = False
        await asyncio.sleep(3600)
    begun_at, asked = elapsed(), endpoint.asked
    calls = [asyncio.create_task(token(auth, endpoint)) for _ in range(3)]
    await asyncio.sleep(0.05)
    calls[0].cancel()
    assert await asyncio.gather(*calls[1:]) == [f"token-{asked + 2}"] * 2
    assert elapsed() - begun_at == pytest.approx(0.15)


async def test_the_second_without_requests_begins_when_the_failure_is_known(virtual_time: Any) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=5)
    endpoint.down = True
    for wait, asked in ((0, 1), (0.9, 1), (0.2, 2)):
        await asyncio.sleep(wait)
        with pytest.raises(errors.NeverSent):
            await token(auth, endpoint)
        assert endpoint.asked == asked


async def test_when_nobody_waits_long_enough_for_a_token_it_is_still_asked_for_about_once_a_second(
    virtual_time: Any,
) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=600)

    async def impatient(after: float) -> None:
        await asyncio.sleep(after)
        async with asyncio.timeout(2):
            await token(auth, endpoint)

    calls = (impatient(n / 100) for n in range(1000))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}
    assert endpoint.asked <= 14


@pytest.mark.parametrize("given", [("", SECRET), (" ", SECRET), ("id", ""), ("id", "\t")])
def test_client_credentials_are_two(given: tuple[str, str]) -> None:
    with pytest.raises(errors.ConfigurationError, match="a client id and a client secret are needed"):
        ClientCredentials(*given)


@pytest.mark.parametrize("door", ["call", "warm_up"])
async def test_a_timeout_of_the_caller_s_own_strategy_is_not_taken_for_the_deadline(door: str) -> None:
    class Impatient(NoAuth):
        async def credential(self, accepts: Any, exchange: Any) -> Any:
            raise TimeoutError("the vault does not answer")

    session, transport = session_on(Tenant(), Impatient())
    with pytest.raises(TimeoutError, match="the vault"):
        await (session.call(BEARER, {"id": "1"}) if door == "call" else session.warm_up())
    assert transport.requests == []


async def test_who_waits_longer_than_those_before_gets_the_token_after_a_second_s_pause(
    virtual_time: Any,
) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await token(auth, endpoint)
    assert await token(auth, endpoint) == "token-3"
    assert virtual_time.elapsed == 0.25 + 1 + 2  # a second after the one before was asked, and its answer


@pytest.mark.parametrize("renewing", ["cold", "due", "refused"])
async def test_a_renewing_call_may_be_cancelled_at_any_step_and_fails_nobody(
    virtual_time: Any, renewing: str
) -> None:
    cancelled = 0
    for steps in range(30):
        auth, endpoint = ClientCredentials("id", SECRET), Slow()
        first = None
        if renewing != "cold":
            first = await auth.credential(ACCEPTS, endpoint)
            await asyncio.sleep(3600 - 10 if renewing == "due" else 0)

        async def call() -> str:
            if renewing == "refused" and first is not None:  # noqa: B023
                assert await auth.renew(first, endpoint)  # noqa: B023
            return await token(auth, endpoint)  # noqa: B023

        calls = [asyncio.create_task(call()) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        cancelled += calls[0].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert len(set(outcomes[1:])) == 1
        assert str(outcomes[1]).startswith("token-")
        assert isinstance(outcomes[0], asyncio.CancelledError) or outcomes[0] == outcomes[1]
        asked = endpoint.asked
        assert await token(auth, endpoint) == outcomes[1]  # the lock is free, the token is kept
        assert endpoint.asked == asked <= (1 if renewing == "cold" else 2) + 1
    assert 10 < cancelled < 30  # from before the first step to after the last


class Slow(Endpoint):
    """Answers after eleven turns of the loop."""

    async def waits(self) -> None:
        for _ in range(11):
            await asyncio.sleep(0)


async def test_an_endpoint_that_gives_the_same_token_again_is_asked_once_for_all(virtual_time: Any) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    endpoint.name = "the-same"
    await token(auth, endpoint)
    await asyncio.sleep(3600 - 10)
    assert set(await asyncio.gather(*(token(auth, endpoint) for _ in range(50)))) == {"the-same"}
    assert endpoint.asked == 2
    refused = await auth.credential(ACCEPTS, endpoint)
    assert refused is not None
    assert await asyncio.gather(*(auth.renew(refused, endpoint) for _ in range(50))) == [False] * 50
    assert endpoint.asked == 3


async def test_a_hundred_calls_refused_for_ever_ask_for_two_tokens() -> None:
    class Refusing(Tenant):
        def __call__(self, request: Request) -> Response:
            answered = super().__call__(request)
            return answered if request.operation == "createToken" else answer({"message": "too old"}, 401)

    tenant = Refusing()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    calls = (session.call(BEARER, {"id": str(n)}) for n in range(100))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"getThing: 401 too old"}
    assert tenant.issued == 2
    assert len(tenant.seen) == 200


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_a_wall_clock_that_is_set_changes_nothing(
    virtual_time: Any, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint()
    await token(auth, endpoint)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    await asyncio.sleep(3200)
    assert await token(auth, endpoint) == "token-1"
    await asyncio.sleep(200)
    assert await token(auth, endpoint) == "token-2"


async def test_a_lifetime_counts_from_when_the_token_was_asked_for(virtual_time: Any) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(lifetime=100, takes=60)
    await token(auth, endpoint)
    await asyncio.sleep(36)  # 96 of 100 seconds are over
    assert await token(auth, endpoint) == "token-2"


@pytest.mark.parametrize("lifetime", [0, -1, None, "3600", 1e12, "soon", True, [], {}])
async def test_a_strange_lifetime_makes_no_storm(virtual_time: Any, lifetime: Any) -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(lifetime=lifetime)
    for _ in range(10):
        assert await token(auth, endpoint) == "token-1"
        await asyncio.sleep(300)


async def test_a_wrong_type_from_the_token_endpoint_names_the_spot_and_says_that_nothing_was_sent() -> None:
    def answers(request: Request) -> Response:
        return answer({"access_token": 7})

    session, _ = session_on(answers, ClientCredentials("id", SECRET))
    said = r"getThing: not sent, no credentials: createToken: expected .* at \$\.access_token"
    with pytest.raises(errors.NeverSent, match=said):
        await session.call(BEARER, {"id": "1"})


def test_a_strategy_serves_one_event_loop_after_the_other_and_several_at_once() -> None:
    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=0.01)

    async def crowd() -> set[str]:
        return set(await asyncio.gather(*(token(auth, endpoint) for _ in range(10))))

    async def killed() -> None:
        asyncio.get_running_loop().call_later(0.001, asyncio.current_task().cancel)  # type: ignore[union-attr]
        await crowd()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(killed())
    before = endpoint.asked
    assert asyncio.run(crowd()) == asyncio.run(crowd()) == {f"token-{before + 1}"}
    assert endpoint.asked == before + 1

    auth, endpoint = ClientCredentials("id", SECRET), Endpoint(takes=0.01)
    threads = [threading.Thread(target=lambda: asyncio.run(crowd())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= endpoint.asked <= 4


async def test_a_callable_is_asked_again_after_a_401_and_the_request_resent_only_with_another_token() -> None:
    tokens = iter(["old", "new", "new", "new"])

    async def current() -> str:
        return next(tokens, "new")

    tenant = Tenant()
    tenant.valid = "new"
    session, _ = session_on(tenant, BearerToken(current))
    assert await session.call(BEARER, {"id": "1"}) == {"ok": True}
    tenant.valid = "newer"
    with pytest.raises(errors.Unauthorized):
        await session.call(BEARER, {"id": "1"})
    assert tenant.seen == ["Bearer old", "Bearer new", "Bearer new"]


@pytest.mark.parametrize("secret", ["", "  ", "a\r\nx: y", "two words", "naïve", "a\tb", "a\x7f", "\0"])
def test_a_secret_that_no_header_can_carry_is_refused_when_it_is_given(secret: str) -> None:
    for strategy in (ApiKey, BearerToken, SessionToken):
        with pytest.raises(errors.ConfigurationError) as caught:
            strategy(secret)
        assert not secret.strip() or secret not in str(caught.value)


def test_nothing_shows_a_secret() -> None:
    chain = ChainedAuth(
        ApiKey(SECRET), BearerToken(SECRET), SessionToken(SECRET), ClientCredentials("id", SECRET)
    )
    assert SECRET not in repr(chain)
    request = Request(
        operation="x", method="GET", target=f"/t?key={SECRET}", headers={"a": SECRET}, body=SECRET.encode()
    )
    response = Response(status=200, headers={"set-cookie": SECRET}, body=SECRET.encode())
    credential = Credential(scheme="key", authorization=SECRET)
    file = io.StringIO()
    console = Console(file=file, width=200)
    for value in (request, response, credential, chain):
        console.print(Pretty(value))
        assert SECRET not in repr(value)
    assert file.getvalue().splitlines() == [
        "Request(operation='x', method='GET')",
        "Response(status=200)",
        "Credential(scheme='key')",
        "ChainedAuth(ApiKey('***'), BearerToken('***'), SessionToken('***'), ClientCredentials('id', '***'))",
    ]


async def test_a_credential_says_of_which_scheme_it_is() -> None:
    async def token() -> str:
        return SECRET

    given: list[Any] = [
        ApiKey(SECRET),
        BearerToken(SECRET),
        BearerToken(token),
        SessionToken(SECRET),
        ClientCredentials("id", SECRET),
    ]
    found = [await one.credential(("key", "bearer", "session"), Endpoint()) for one in given]
    schemes = [one and one.scheme for one in found]
    assert schemes == ["key", "bearer", "bearer", "session", "bearer"]


async def test_no_credentials_are_none_and_cannot_be_renewed() -> None:
    strategy = NoAuth()
    refused = Credential(scheme="bearer", authorization="Bearer other")
    assert await strategy.credential(ACCEPTS, never) is None
    assert await strategy.renew(refused, never) is False
    assert tuple(strategy.offers) == ()


async def test_a_token_that_never_changes_is_not_renewed_whoever_was_refused() -> None:
    refused = Credential(scheme="bearer", authorization="Bearer other")
    assert await BearerToken(SECRET).renew(refused, never) is False


async def never(request: Request) -> Response:
    raise AssertionError(request)


async def test_a_token_of_a_callable_that_no_header_can_carry_is_named() -> None:
    async def token() -> str:
        return "a\nb"

    with pytest.raises(errors.ConfigurationError, match="the token") as caught:
        await BearerToken(token).credential(ACCEPTS, Endpoint())
    assert "a\nb" not in str(caught.value)
