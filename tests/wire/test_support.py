"""What support asks for is on every error that had an answer, also where only its head came."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors
from limio_async.core.wire import Attempt
from tests.wire.rawserver import broken, hang_up, http, raw_server

HEAD = "x-amzn-RequestId: req-1"
BROKEN = broken(http(b"{", "200 OK", HEAD, length=99))
PLAIN = http(b"{}", "200 OK", HEAD, "content-encoding: br")
ORDER: Any = {"order_type": "new"}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (http(b"{}", "404 No", HEAD), errors.NotFound),
        (http(b"{}", "503 No", HEAD), errors.ServerError),
        (http(b"{", "200 OK", HEAD), errors.Unreadable),
        (PLAIN, errors.Unreadable),
        (BROKEN, errors.AnswerLost),
    ],
    ids=["404", "503", "unreadable", "encoding", "broken off"],
)
async def test_a_read_and_an_order_tell_the_request_id(said: Any, kind: type[errors.LimioError]) -> None:
    async with raw_server(said) as server, Limio(server.url, auth=BearerToken("t"), attempts=1) as limio:
        with pytest.raises(kind) as caught:
            await limio.subscriptions.get("sub-1")
        assert caught.value.request_id == "req-1"
        assert [one.request_id for one in caught.value.attempts] == ["req-1"]
        trace: list[Attempt] = []
        with pytest.raises(kind if kind is errors.NotFound else errors.UnknownOutcome) as caught:
            await limio.orders.submit(ORDER, trace=trace)
    assert caught.value.request_id == "req-1"
    assert caught.value.headers["x-amzn-requestid"] == "req-1"
    assert [one.request_id for one in trace] == ["req-1"]


async def test_the_first_name_of_a_request_counts_and_none_is_none() -> None:
    script = (
        http(b"{}", "404 No", "X-Amz-Cf-Id: cf", "X-REQUEST-ID: ours", HEAD),
        http(b"{}", "404 No"),
        hang_up,
    )
    ids: list[str | None] = []
    async with raw_server(*script) as server, Limio(server.url, auth=BearerToken("t"), attempts=1) as limio:
        for _ in script:
            with pytest.raises(errors.LimioError) as caught:
                await limio.subscriptions.get("sub-1")
            ids.append(caught.value.request_id)
    assert ids == ["ours", None, None]


async def test_secrets_of_an_answer_are_not_kept() -> None:
    said = http(b"{}", "404 No", "set-cookie: session=1", HEAD)
    async with raw_server(said) as server, Limio(server.url, auth=BearerToken("t")) as limio:
        with pytest.raises(errors.NotFound) as caught:
            await limio.subscriptions.get("sub-1")
    assert "set-cookie" not in caught.value.headers


async def test_an_attempt_tells_when_it_left_and_how_long_its_answer_took() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(http(b"{}", "404 No", HEAD))
        await writer.drain()

    async with raw_server(late) as server, Limio(server.url, auth=BearerToken("t")) as limio:
        with pytest.raises(errors.NotFound) as caught:
            await limio.subscriptions.get("sub-1")
    (only,) = caught.value.attempts
    assert 0.09 < only.duration < 1


@pytest.mark.parametrize(
    ("said", "retryable"),
    [
        (http(b'{"error": "invalid_client"}', "400 No", HEAD), False),
        (http(b'{"error": "invalid_client"}', "200 OK", HEAD), False),
        (http(b"{}", "401 No", HEAD), False),
        (http(b"{}", "403 No", HEAD), False),
        (http(b"{", "200 OK", HEAD), False),
        (http(b"{}", "503 No", HEAD), True),
    ],
    ids=["400", "200 with an error", "401", "403", "unreadable", "503"],
)
async def test_what_the_token_endpoint_answered_has_its_request_id(said: Any, retryable: bool) -> None:
    auth = ClientCredentials("id", "secret")
    async with raw_server(said) as server, Limio(server.url, auth=auth, attempts=1) as limio:
        with pytest.raises(errors.LimioError) as caught:
            await limio.warmup()
        assert caught.value.request_id == "req-1"
        assert (caught.value.happened, caught.value.retryable) == ("no", retryable)


@pytest.mark.parametrize("status", ["401 No", "403 No", "404 No", "503 No"])
async def test_a_refusal_that_repeats_the_credential_does_not_bring_it_into_the_error(status: str) -> None:
    said = http(b'{"message": "no access for Bearer c4n4ry-token"}', status)
    async with (
        raw_server(said) as server,
        Limio(server.url, auth=BearerToken("c4n4ry-token"), attempts=1) as limio,
    ):
        for call in (limio.subscriptions.get("sub-1"), limio.orders.list().first()):
            with pytest.raises(errors.ApiError, match="no access for Bearer") as caught:
                await call
            error = caught.value
            assert "c4n4ry" not in f"{error}{error.words}{error.body!r}{pickle.dumps(error)!r}"


async def test_an_order_that_was_put_off_is_a_warning_since_nobody_knows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        raw_server(http(b"{}", "429 Slowly", HEAD)) as server,
        Limio(server.url, auth=BearerToken("t"), attempts=1) as limio,
    ):
        with pytest.raises(errors.TooManyRequests):
            await limio.orders.submit(ORDER)
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert vars(record)["outcome"] == "TooManyRequests"
    assert vars(record)["request_id"] == "req-1"
