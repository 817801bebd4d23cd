"""Every strategy gives what an operation accepts, renews what was refused, and shows no secret."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from limio_async import errors
from limio_async.auth import ApiKey, BearerToken, ChainedAuth, ClientCredentials, NoAuth, SessionToken
from limio_async.core.session import Session
from limio_async.core.wire import Request, Response
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


async def test_a_chain_picks_what_each_operation_accepts() -> None:
    chain = ChainedAuth(ApiKey("the-key"), BearerToken("the-token"))
    session, transport = session_on(answer({}), chain)
    for accepts in (("key",), ("bearer",), ("key", "bearer"), ("bearer", "session")):
        await session.call(endpoint(auth=accepts), {"id": "1"})
    given = [request.headers["authorization"] for request in transport.requests]
    assert given == ["the-key", "Bearer the-token", "the-key", "Bearer the-token"]


async def test_fifty_cold_calls_ask_for_one_token() -> None:
    tenant = Tenant()
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    await asyncio.gather(*(session.call(BEARER, {"id": str(n)}) for n in range(50)))
    assert tenant.issued == 1


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
    for wait, issued in ((0, 1), (3500, 1), (45, 2), (3500, 2)):
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


async def test_wrong_client_credentials_fail_once_for_all_who_wait() -> None:
    tenant = Tenant()
    tenant.down = True
    session, _ = session_on(tenant, ClientCredentials("id", SECRET))
    calls = (session.call(BEARER, {"id": str(n)}) for n in range(20))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"createToken: 401 wrong client"}
    assert tenant.issued == 1
    tenant.down = False
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


@pytest.mark.parametrize("secret", ["", "  ", "a\r\nx: y", "two words", "naïve"])
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
    assert SECRET not in repr(request)
