"""A token endpoint that misbehaves: nobody takes what it answers for what came of the request that waits for a token."""

from __future__ import annotations

import gzip
from typing import Any, NamedTuple

import pytest

from limio_async import ClientCredentials, Limio, errors
from tests.wire.rawserver import Behaviour, RawServer, broken, hang_up, http, raw_server, reset, silence, slow
from tests.wire.test_faults import BOMB, CALLS, CANARY, HTML, LONG, SHORT, head

pytestmark = pytest.mark.usefixtures("hurried_time")

GOOD = http(b'{"access_token":"good","token_type":"Bearer","expires_in":3600}')
CUT = b'{"access_token":"good","expires'


class Trouble(NamedTuple):
    """What the token endpoint does, and what the caller of another operation is told."""

    behaviour: Behaviour
    error: type[errors.LimioError] = errors.NeverSent
    timeout: float = LONG


TROUBLES = {
    # --- an answer that is none
    "200 with HTML": Trouble(http(HTML)),
    "200 with text": Trouble(http(b"OK")),
    "200 with nothing": Trouble(http(b"")),
    "200 with null": Trouble(http(b"null")),
    "200 with a list": Trouble(http(b'["good"]')),
    "200 without a token": Trouble(http(b"{}")),
    "200 with a token that is null": Trouble(http(b'{"access_token":null}')),
    "200 with a token that no header can carry": Trouble(http(b'{"access_token":"a\\r\\nx: y"}')),
    "200 with an empty token": Trouble(http(b'{"access_token":""}')),
    "200 with half a surrogate": Trouble(http(b'{"access_token":"\\ud800"}')),
    "200 that is no UTF-8": Trouble(http(b'{"access_token":"\xff"}')),
    "200 too deep": Trouble(http(b'{"access_token":"good","scope":' + b"[" * 100_000)),
    "200 cut short": Trouble(http(CUT)),
    "200 too large": Trouble(http(BOMB, "200 OK", "content-encoding: gzip")),
    "200 in an encoding of its own": Trouble(http(b"\x01", "200 OK", "content-encoding: br")),
    # --- an answer that breaks off
    "truncated, with its length": Trouble(broken(head("content-length: 80") + CUT)),
    "truncated, without a length": Trouble(broken(head() + CUT)),
    "truncated, compressed": Trouble(broken(head("content-encoding: gzip") + gzip.compress(CUT)[:-9])),
    "a bad chunk": Trouble(broken(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n")),
    "hangs up": Trouble(hang_up),
    "reset": Trouble(broken(end=reset)),
    "not HTTP": Trouble(broken(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    # --- trouble that may pass
    "500": Trouble(http(b'{"message":"no"}', "500 Internal")),
    "500 with HTML": Trouble(http(HTML, "500 Internal")),
    "501": Trouble(http(b"{}", "501 Not Implemented")),
    "502 with HTML": Trouble(http(HTML, "502 Bad Gateway")),
    "503 for 2 s": Trouble(http(b"{}", "503 Busy", "retry-after: 2")),
    "504": Trouble(http(b"", "504 Gateway Timeout")),
    "522": Trouble(http(HTML, "522 Origin")),
    # --- no
    "200 with an error": Trouble(http(b'{"error":"invalid_client"}'), errors.Unauthorized),
    "200 with errors": Trouble(http(b'{"errors":[{"message":"no"}]}'), errors.Unauthorized),
    "200 with the error of a function": Trouble(http(b'{"errorMessage":"timed out"}'), errors.Unauthorized),
    "201 with an error": Trouble(http(b'{"error":"no"}', "201 Created"), errors.Unauthorized),
    "400": Trouble(http(b'{"error":"invalid_client"}', "400 Bad Request"), errors.Unauthorized),
    "401": Trouble(http(b"{}", "401 Unauthorized"), errors.Unauthorized),
    "401 with HTML": Trouble(http(HTML, "401 Unauthorized"), errors.Unauthorized),
    "403": Trouble(http(b"{}", "403 Forbidden"), errors.Unauthorized),
    "404": Trouble(http(b"{}", "404 Not Found")),
    "409": Trouble(http(b"{}", "409 Conflict")),
    "423": Trouble(http(b"{}", "423 Locked")),
    "429": Trouble(http(b"{}", "429 Too Many"), errors.TooManyRequests),
    "408": Trouble(http(b"{}", "408 Request Timeout"), errors.TooManyRequests),
    "425": Trouble(http(b"{}", "425 Too Early"), errors.TooManyRequests),
    "302": Trouble(http(b"", "302 Found", "location: https://evil.invalid/")),
    # --- time
    "silence": Trouble(silence, errors.DeadlineExceeded, SHORT),
    "a slow head": Trouble(slow(head(), b"{}", pause=2 * SHORT), errors.DeadlineExceeded, SHORT),
    "a dripping body": Trouble(
        slow(head("content-length: 99"), *[b" "] * 99, pause=SHORT / 9), errors.DeadlineExceeded, SHORT
    ),
}


@pytest.mark.parametrize("retry", ["safe", "once", "idempotent", "scroll"])
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_a_request_without_a_token_never_left_and_its_error_says_so(
    trouble: Trouble, retry: Any
) -> None:
    async with raw_server(http(b'{"id":"thing-1","items":[]}')) as server:
        server.tokens = [trouble.behaviour]
        error = await failed(server, trouble, retry)
    assert {request.split(b" ")[1] for request in server.requests} == {b"/oauth2/token"}
    assert type(error) is trouble.error
    assert error.attempts == ()
    if trouble.error is not errors.DeadlineExceeded:
        assert "createToken" in str(error)


@pytest.mark.parametrize("retry", ["safe", "once"])
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_a_request_refused_with_401_did_not_happen_when_no_new_token_comes(
    trouble: Trouble, retry: Any
) -> None:
    async with raw_server(http(b"{}", "401 Unauthorized")) as server:
        server.tokens = [GOOD, trouble.behaviour]
        error = await failed(server, trouble, retry)
    refusals = [one for one in server.requests if not one.startswith(b"POST /oauth2/token ")]
    assert type(error) is trouble.error
    assert [one.status for one in error.attempts] == [401] * len(refusals)
    assert refusals


@pytest.mark.parametrize("status", [408, 425, 429, 504, 520, 524, 529, 530])
@pytest.mark.parametrize("retry", CALLS)
async def test_a_token_is_asked_for_again_where_it_was_not_issued_for_now(status: int, retry: Any) -> None:
    call = CALLS[retry]
    async with raw_server(*call.before, call.answer, *call.after) as server:
        server.tokens = [http(b"{}", f"{status} Later"), GOOD]
        async with Limio(server.url, auth=ClientCredentials("id", CANARY), timeout=LONG) as limio:
            assert await call.run(limio) == call.value
    assert len(server.sent("/oauth2/token")) == 2


@pytest.mark.parametrize("before", [[], [GOOD]], ids=["at first", "after a 401"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 500, 503])
@pytest.mark.parametrize("body", [b"{}", b'{"error":"no"}', b'{"access_token":"two words"}', b"<html>"])
async def test_an_error_about_the_token_tells_what_the_support_asks_for(
    status: int, before: list[Behaviour], body: bytes
) -> None:
    trouble = Trouble(http(body, f"{status} No", "x-request-id: token-1", "retry-after: 0"))
    async with raw_server(http(b"{}", "401 Unauthorized", "x-request-id: call-1")) as server:
        server.tokens = [*before, trouble.behaviour]
        error = await failed(server, trouble, "safe")
    assert error.request_id == "token-1"
    assert error.headers["retry-after"] == "0"
    if isinstance(error, errors.ApiError):
        assert error.retry_after == 0


async def failed(server: RawServer, trouble: Trouble, retry: Any) -> errors.LimioError:
    auth = ClientCredentials("id", CANARY)
    async with Limio(server.url, auth=auth, timeout=trouble.timeout) as limio:
        with pytest.raises(errors.LimioError) as caught:
            await CALLS[retry].run(limio)
    assert CANARY not in f"{caught.value} {caught.value!r} {vars(caught.value)!r}"
    assert "<html" not in str(caught.value)
    if type(caught.value) is errors.NeverSent:
        again = " again" if caught.value.attempts else ""
        assert f": not sent{again}, no credentials: createToken: " in str(caught.value)
    return caught.value
