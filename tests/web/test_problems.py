"""What each error is to the caller of a service: no write that may have happened is called retryable."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from typing import Any

import pytest

from limio_async import BearerToken, ClientCredentials, errors
from limio_async.core.session import Session
from limio_async.core.wire import Request, Response
from limio_async.errors import LimioError
from limio_async.state import State
from limio_async.web import PROBLEMS, Problem, readiness, told
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

SECRET = "jane@example.com owes 7 at acme.prod.limio.com"

# written by hand, from what the caller of a service can do; not from the table of the package
EXPECTED: dict[str, tuple[int, str]] = {
    "AnswerLost": (502, "unknown-outcome"),  # no call has raised it: that counts as an order
    "ApiError": (502, "refused"),
    "BadGateway": (502, "unknown-outcome"),
    "BadRequest": (422, "invalid"),
    "CatalogUnavailable": (503, "unreachable"),
    "ClientClosed": (503, "closing"),
    "ConfigurationError": (500, "internal"),
    "Conflict": (409, "conflict"),
    "CursorExpired": (503, "list-changed"),
    "CursorLoop": (502, "unreadable"),
    "DeadlineExceeded": (504, "deadline"),
    "Forbidden": (502, "service-credentials"),
    "ForeignCheckpoint": (422, "foreign-checkpoint"),
    "InboxError": (500, "internal"),
    "IncompleteListing": (503, "list-changed"),
    "InvalidArgument": (422, "invalid"),
    "JobError": (500, "internal"),
    "KeyReused": (409, "key-reused"),
    "LimioError": (500, "internal"),
    "ListingError": (502, "unreadable"),
    "Locked": (409, "locked"),
    "MissingCredentials": (502, "service-credentials"),
    "NeverSent": (503, "unreachable"),
    "NotFound": (404, "not-found"),
    "OutboxError": (500, "internal"),
    "ServerError": (502, "unknown-outcome"),
    "SinkError": (500, "internal"),
    "SnapshotChanged": (503, "list-changed"),
    "StoreAway": (503, "database-away"),
    "StoreError": (500, "internal"),
    "TargetAway": (503, "database-away"),
    "TargetBusy": (503, "busy"),
    "TooManyRequests": (502, "unknown-outcome"),
    "TooManyWaiting": (503, "busy"),
    "TransportError": (502, "unknown-outcome"),
    "Unauthorized": (502, "service-credentials"),
    "UnknownEvent": (404, "not-found"),
    "UnknownKey": (404, "not-found"),
    "UnknownOutcome": (502, "unknown-outcome"),
    "Unreadable": (502, "unknown-outcome"),
}
OF_A_READ = {
    "AnswerLost": (502, "upstream-failed"),
    "BadGateway": (502, "upstream-failed"),
    "ServerError": (502, "upstream-failed"),
    "TooManyRequests": (503, "pause"),
    "TransportError": (502, "upstream-failed"),
    "Unreadable": (502, "unreadable"),
}
OPERATIONS = {
    "safe": "getObject",
    "scroll": "listOffers",
    "idempotent": "updateObject",
    "once": "submitOrder",
}
ALL = product(errors.__all__, OPERATIONS, [False, True])


def made(name: str, operation: str = "") -> LimioError:
    kind: Any = getattr(errors, name)
    if issubclass(kind, errors.ApiError):
        refused: LimioError = kind(SECRET, operation=operation, status=418, body=SECRET.encode())
        return refused
    error: LimioError = kind(SECRET, operation=operation)
    return error


def body_of(error: LimioError, *table: Any) -> dict[str, Any]:
    said = told(error, *table)
    body: dict[str, Any] = json.loads(said.body)
    assert said.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == said.status
    assert body["retryable"] == ("Retry-After" in said.headers)
    assert {"type", "title", "status", "retryable"} <= body.keys() <= {"type", "title", "status", "retryable", "detail", "operation"}  # fmt: skip
    assert SECRET not in said.body.decode() + repr(said.headers)
    assert "limio.com" not in said.body.decode()
    return body


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_decided(name: str) -> None:
    body = body_of(made(name))
    assert (body["status"], body["type"]) == EXPECTED[name]


@pytest.mark.parametrize("name", OF_A_READ)
def test_a_read_that_fails_is_no_unknown_outcome(name: str) -> None:
    error = made(name, "getObject")
    errors.judge(error, "safe", left=True)
    body = body_of(error)
    assert (body["status"], body["type"]) == OF_A_READ[name]
    assert body["retryable"] == (name != "Unreadable")


@pytest.mark.parametrize(("name", "retry", "left"), list(ALL))
def test_what_may_have_happened_is_never_called_retryable(name: str, retry: Any, left: bool) -> None:
    """Whatever the error, the class of its call and the table: 38 errors, 4 classes, left or not."""
    error = made(name, OPERATIONS[retry])
    if isinstance(error, errors.DeadlineExceeded):
        error.left = left
    errors.judge(error, retry, left=left)
    careless = dict.fromkeys(PROBLEMS, Problem(503, "again", "Again", 1.0))
    for table in (PROBLEMS, careless):
        body = body_of(error, table)
        assert body["operation"] == OPERATIONS[retry]
        if error.happened == "unknown" and retry in {"idempotent", "once"}:
            assert not body["retryable"]
            if table is PROBLEMS and not isinstance(error, errors.StoreError | errors.JobError):
                assert (body["status"], body["type"]) == (502, "unknown-outcome")
        elif not error.retryable:
            assert not body["retryable"]
        if retry in {"safe", "scroll"} and table is PROBLEMS:
            assert (body["type"] == "unknown-outcome") == isinstance(error, errors.UnknownOutcome)
        assert not body["retryable"] or error.happened == "no" or retry in {"safe", "scroll"}


@pytest.mark.parametrize("name", ["Unauthorized", "Forbidden", "MissingCredentials"])
def test_the_credentials_of_the_service_are_not_those_of_its_caller(name: str) -> None:
    said = told(made(name, "getObject"))
    assert said.status == 502
    assert set(said.headers) == {"Content-Type"}


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, "5"), (0.0, "1"), (0.2, "1"), (7, "7"), (7.01, "8"), (1e9, "3600"), (float("inf"), "3600"), (float("nan"), "1")],
)  # fmt: skip
def test_the_wait_is_in_whole_seconds_and_bounded(asked: float | None, seconds: str) -> None:
    error = errors.TooManyRequests("", operation="getObject", status=429, retry_after=asked)
    errors.judge(error, "safe", left=False)
    assert told(error).headers["Retry-After"] == seconds


def test_a_user_changes_what_is_told() -> None:
    conflict = Problem(400, "https://shop.test/problems/taken", "Taken")
    table = {**PROBLEMS, errors.Conflict: conflict, errors.ApiError: Problem(500, "other", "Other")}
    assert body_of(made("Conflict"), table)["type"] == conflict.type
    assert body_of(made("ApiError"), table)["type"] == "other"
    assert body_of(made("NotFound"), table)["type"] == "not-found"
    assert body_of(made("NotFound"), {errors.Conflict: conflict})["type"] == "not-found"
    with pytest.raises(TypeError):
        PROBLEMS[errors.Conflict] = conflict  # type: ignore[index]  # nobody changes it for everybody


def test_an_error_of_ones_own_is_that_of_its_base() -> None:
    class Sold(errors.Conflict):
        pass

    assert told(Sold("", operation="createObject", status=409)).status == 409


@pytest.mark.parametrize("retry", ["idempotent", "once"])
async def test_an_operation_of_ones_own_counts_as_a_write(retry: Any, virtual_time: Any) -> None:
    session = Session(ScriptedTransport(errors.AnswerLost("hung up")), BearerToken("t"), attempts=1)
    with pytest.raises(LimioError) as caught:
        await session.call(endpoint(operation="doThing", retry=retry), {"id": "1"})
    assert body_of(caught.value)["type"] == "unknown-outcome"


async def test_a_write_that_ends_for_want_of_a_token_is_judged_as_the_write_it_is(virtual_time: Any) -> None:
    def tenant(request: Request) -> Response:
        if request.operation == "createToken":
            tokens.append(request)
            return answer({"access_token": "t", "expires_in": 3600}) if len(tokens) == 1 else answer({}, 429)
        writes.append(request)
        return answer({}, 502 if len(writes) == 1 else 401)

    tokens: list[Request] = []
    writes: list[Request] = []
    session = Session(ScriptedTransport(tenant), ClientCredentials("id", "secret"), attempts=3)
    update = endpoint(operation="updateObject", retry="idempotent", auth=("bearer",))
    with pytest.raises(errors.TooManyRequests) as caught:
        await session.call(update, {"id": "1"})
    assert caught.value.happened == "unknown"
    assert body_of(caught.value)["type"] == "unknown-outcome"


async def test_a_delete_that_was_lost_before_it_was_not_found_may_have_happened(virtual_time: Any) -> None:
    first: Response = answer({}, 502)
    session = Session(ScriptedTransport(first, answer({}, 404)), BearerToken("t"), attempts=2)
    with pytest.raises(errors.NotFound) as caught:
        await session.call(endpoint(operation="deleteObject", retry="idempotent"), {"id": "1"})
    assert body_of(caught.value)["type"] == "unknown-outcome"


# ------------------------------------------------------------------ readiness


class Kept:
    def __init__(self, usable: bool, age: float | None) -> None:
        self.usable, self.age = usable, age

    async def __aenter__(self) -> Kept:
        return self

    async def __aexit__(self, *_: object) -> None:
        return


def state(*, open: bool = True, pause: float = 0.0) -> State:
    return State(
        open=open, used=0, allowed=16, interactive=0, background=0, pause=pause, quota=500, most_quota=500, token=None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "usable", "status"),
    [
        (state(), True, 200),
        (state(pause=30.0), True, 200),  # all replicas would leave at once
        (state(), False, 503),
        (state(open=False), True, 503),
        (None, True, 503),
    ],
)
def test_a_service_is_ready_when_it_can_answer(known: State | None, usable: bool, status: int) -> None:
    said = readiness(known, {"offers": Kept(usable, 12.5), "pages": Kept(True, 1.0)})
    body = json.loads(said.body)
    assert (said.status, body["ready"]) == (status, status == 200)
    assert said.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    assert body["caches"]["offers"] == {"usable": usable, "age": 12.5}
    assert (body["limio"] or {}).get("pause") == (known and known.pause)


# ------------------------------------------------------------------ what is imported

LOADED = "import sys, {}; print(*sorted({{'aiohttp.web', 'fastapi', 'starlette', 'pydantic'}} & sys.modules.keys()))"


@pytest.mark.parametrize(
    ("module", "loaded"),
    [("limio_async.web", ""), ("limio_async.web.aiohttp", "aiohttp.web"), ("limio_async.web.starlette", "starlette")],
)  # fmt: skip
def test_only_the_framework_that_is_used_is_imported(module: str, loaded: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED.format(module)], capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split() == loaded.split()


def test_no_error_is_left_out() -> None:
    assert EXPECTED.keys() == set(errors.__all__)
