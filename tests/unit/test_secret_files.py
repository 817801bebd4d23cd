"""A secret in a file is read when it is needed first and when it is refused: it can be rotated under a running client."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from limio_async import ApiKey, Auth, BearerToken, ClientCredentials, Limio, errors
from limio_async.auth import client_credentials
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer

CANARY = "canary-secret"


class Tenant:
    """Knows one secret at a time, for the token endpoint or for its calls."""

    def __init__(self, secret: str, refuses_with: int = 401) -> None:
        self.secret = secret
        self.refuses_with = refuses_with
        self.issued: list[bool] = []
        self.calls: list[bool] = []
        self.valid = 0
        self.on_refusal: Callable[[], object] = lambda: None

    def __call__(self, request: Request) -> Response:
        if request.operation == "createToken":
            given = parse_qs((request.body or b"").decode())["client_secret"] == [self.secret]
            self.issued.append(given)
            if not given:
                self.on_refusal()
                return answer({"error": "invalid_client"}, self.refuses_with)
            return answer({"access_token": f"token-{self.valid}", "expires_in": 3600})
        known = {self.secret, f"Bearer {self.secret}", f"Bearer token-{self.valid}"}
        self.calls.append(request.headers["authorization"] in known)
        if not self.calls[-1]:
            self.on_refusal()
        return answer({"id": "x", "items": []}) if self.calls[-1] else answer({"message": "no"}, 401)

    def rotate(self, secret: str) -> None:
        self.secret = secret
        self.valid += 1


FROM_FILE: dict[str, Callable[[Path], Auth]] = {
    "ApiKey": ApiKey.from_file,
    "BearerToken": BearerToken.from_file,
    "ClientCredentials": lambda path: ClientCredentials.from_file("id", path),
    "LIMIO_CLIENT_SECRET_FILE": lambda path: (
        Limio.from_env(
            {"LIMIO_HOST": "x", "LIMIO_CLIENT_ID": "id", "LIMIO_CLIENT_SECRET_FILE": str(path)}
        )._session._auth
    ),
}


@pytest.fixture(params=FROM_FILE)
def made(request: pytest.FixtureRequest) -> Callable[[Path], Auth]:
    return FROM_FILE[request.param]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("first\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def write_unnoticed(file: Path, content: bytes) -> None:
    times = file.stat()
    write(file, content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def remove(file: Path) -> None:
    file.unlink()


def open_to_others(file: Path) -> None:
    file.chmod(0o644)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def client(auth: Auth, tenant: Tenant) -> Limio:
    return Limio(auth=auth, transport=ScriptedTransport(tenant))


def call(limio: Limio) -> Any:
    """A call that takes what there is."""
    return limio.offers.list().first() if "key" in limio.schemes else limio.subscriptions.get("x")


async def test_a_secret_that_is_rotated_fails_no_call(made: Any, file: Path) -> None:
    tenant = Tenant("first")
    async with client(made(file), tenant) as limio:
        await call(limio)
        for secret in ("second", "third"):
            write(file, f"\n {secret}\r\n".encode())
            tenant.rotate(secret)
            await asyncio.gather(*(call(limio) for _ in range(20)))
    assert tenant.issued.count(False) in {0, 2}
    assert tenant.issued.count(True) in {0, 3}


async def test_the_file_is_not_looked_at_as_long_as_nobody_refuses(made: Any, file: Path) -> None:
    tenant = Tenant("first")
    auth = made(file)
    remove(file)
    async with client(auth, tenant) as limio:
        for _ in range(5):
            await call(limio)
        assert False not in tenant.calls + tenant.issued


async def test_it_is_read_again_beside_the_event_loop(
    made: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = Tenant("first")
    async with client(made(file), tenant) as limio:
        await call(limio)
        threads: list[threading.Thread] = []
        opened = Path.open

        def noticing(path: Path, *args: Any, **options: Any) -> Any:
            threads.append(threading.current_thread())
            return opened(path, *args, **options)

        monkeypatch.setattr(Path, "open", noticing)
        write(file, b"\xef\xbb\xbfsecond")  # as Windows writes UTF-8
        threads.clear()
        tenant.rotate("second")
        await call(limio)
    assert threads
    assert threading.main_thread() not in threads


async def test_a_secret_that_is_still_the_old_one_is_unauthorized_after_one_more_look(
    made: Any, file: Path
) -> None:
    tenant = Tenant("other")
    async with client(made(file), tenant) as limio:
        with pytest.raises(errors.Unauthorized):
            await call(limio)
    assert len(tenant.calls + tenant.issued) == 1


@pytest.mark.parametrize("status", [400, 401])
async def test_each_way_to_refuse_a_client_counts(file: Path, status: int) -> None:
    tenant = Tenant("second", status)
    auth = ClientCredentials.from_file("id", file)
    write(file, b"second")
    async with client(auth, tenant) as limio:
        await call(limio)
    assert tenant.issued == [False, True]


def test_a_rotated_secret_fails_no_call_of_a_second_event_loop(file: Path) -> None:
    auth = ClientCredentials.from_file("id", file)
    write(file, b"second")
    both_were_refused, one_has_a_token = threading.Barrier(2, timeout=5), threading.Event()

    async def call_in_a_loop(*, late: bool) -> None:
        async def exchange(request: Request) -> Response:
            if b"second" in (request.body or b""):
                return answer({"access_token": "t", "expires_in": 3600})
            await asyncio.to_thread(both_were_refused.wait)
            if late:
                await asyncio.to_thread(one_has_a_token.wait, 5)
            raise errors.Unauthorized("no", operation="createToken", status=401)

        assert await auth.credential(auth.offers, exchange)
        one_has_a_token.set()

    with ThreadPoolExecutor(2) as loops:
        running = [loops.submit(asyncio.run, call_in_a_loop(late=late)) for late in (False, True)]
        for one in running:
            one.result(10)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda path: path.unlink(), "cannot read the secret file {path}: No such file"),
    "empty": (lambda path: path.write_bytes(b" \n"), "the secret file {path} is empty"),
    "no text": (
        lambda path: path.write_bytes(CANARY.encode() + b"\xff"),
        "the secret file {path} is not UTF-8",
    ),
    "large": (
        lambda path: path.write_bytes(CANARY.encode() * 9999),
        "the secret file {path} holds more than 64 KiB",
    ),
    "a folder": (replace_by_folder, "cannot read the secret file {path}: Is a dir"),
}


def with_locals(error: BaseException) -> str:
    """What a crash reporter shows of our frames."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format())


@pytest.mark.parametrize("fault", SPOILT)
def test_a_file_that_cannot_be_used_is_told_when_the_client_is_made(
    made: Any, file: Path, fault: str
) -> None:
    spoil, said = SPOILT[fault]
    spoil(file)
    with pytest.raises(errors.ConfigurationError) as caught:
        made(file)
    assert said.format(path=file) in str(caught.value)
    assert CANARY not in with_locals(caught.value)


@pytest.mark.parametrize("fault", sorted(SPOILT.keys() - {"empty"}))
async def test_a_file_that_is_spoilt_later_is_told_by_the_call_that_needs_it(
    made: Any, file: Path, fault: str
) -> None:
    spoil, said = SPOILT[fault]
    tenant = Tenant("first")
    async with client(made(file), tenant) as limio:
        await call(limio)
        spoil(file)
        tenant.rotate("second")
        with pytest.raises(errors.ConfigurationError) as caught:
            await call(limio)
    assert said.format(path=file) in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_a_file_that_is_empty_while_it_is_rewritten_leaves_the_old_secret_in_use(
    made: Any, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_credentials, "_PAUSE", 0.0)  # before the token endpoint is asked again
    tenant = Tenant("first")
    async with client(made(file), tenant) as limio:
        await call(limio)
        write(file, b"")
        tenant.rotate("second")
        with pytest.raises(errors.Unauthorized):
            await call(limio)
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert record.message == f"the secret file {file} is empty; the secret that it held stays in use"
        tenant.rotate("first")
        await call(limio)
        write(file, b"third")
        tenant.rotate("third")
        await call(limio)


class Reads:
    """Counts how often a file is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        opened = Path.open

        def counting(path: Path, *args: Any, **options: Any) -> Any:
            self.count += 1
            return opened(path, *args, **options)

        monkeypatch.setattr(Path, "open", counting)


async def refusals(auth: Auth, tenant: Tenant, calls: int) -> None:
    async with client(auth, tenant) as limio:
        for _ in range(calls):
            with pytest.raises(errors.Unauthorized):
                await call(limio)


@pytest.mark.parametrize("content", [b"first", b""])
async def test_a_file_that_did_not_change_is_not_read_for_every_refusal(
    file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for from_file in (ApiKey.from_file, BearerToken.from_file):
        write(file, b"first")
        auth = from_file(file)
        write(file, content)
        await asyncio.sleep(
            0.2
        )  # what was written just now may be written again at the same time of the clock
        reads = Reads(monkeypatch)
        await refusals(auth, Tenant("second"), 20)
        assert reads.count == 1


async def test_a_change_is_seen_that_leaves_size_and_time_as_they_were(made: Any, file: Path) -> None:
    tenant = Tenant("first")
    write(file, b"first")
    async with client(made(file), tenant) as limio:
        await call(limio)
        for secret in ("again", "thrid", "fifth"):
            write_unnoticed(file, secret.encode())
            tenant.rotate(secret)
            await call(limio)


async def test_an_order_that_was_refused_is_in_no_doubt_where_the_file_is_spoilt(file: Path) -> None:
    for auth in (BearerToken.from_file(file), ClientCredentials.from_file("id", file)):
        tenant = Tenant("first")
        async with client(auth, tenant) as limio:
            await limio.subscriptions.get("x")
            tenant.rotate("second")
            remove(file)
            with pytest.raises(errors.ConfigurationError, match="cannot read"):
                await limio.orders.submit({"order_type": "new"})
        write(file, b"first")


def test_a_header_that_cannot_carry_the_secret_names_its_file(file: Path) -> None:
    file.write_text("two words", encoding="utf-8")
    for from_file, what in ((ApiKey.from_file, "the API key"), (BearerToken.from_file, "the token")):
        with pytest.raises(errors.ConfigurationError, match=f"{what} in {file} is empty or holds"):
            from_file(file)


@pytest.mark.skipif(os.name != "posix", reason="a mode is of POSIX")
async def test_a_file_that_others_can_read_is_warned_of_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [from_file(file) for from_file in FROM_FILE.values()]
    assert caplog.records == []
    open_to_others(file)
    made = [from_file(file) for from_file in FROM_FILE.values()]
    tenant = Tenant("first")
    async with client(made[1], tenant) as limio:
        for secret in ("second", "third"):
            write(file, secret.encode())
            tenant.rotate(secret)
            await call(limio)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == f"{file} holds a secret and others can read it; chmod 600 {file}"


def test_no_secret_is_shown(made: Any, file: Path) -> None:
    file.write_text(CANARY, encoding="utf-8")
    auth = made(file)
    assert CANARY not in repr(auth)


async def test_a_call_does_not_wait_beyond_its_deadline_for_a_file_that_hangs(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    file.write_text("first", encoding="utf-8")
    file.chmod(0o600)
    auth = BearerToken.from_file(file)
    file.unlink()
    os.mkfifo(pipe, 0o600)
    pipe.rename(file)
    async with client(auth, Tenant("second")) as limio:
        with pytest.raises(errors.DeadlineExceeded):
            await limio.subscriptions.get("x", timeout=0.1)
    with file.open("wb") as let_go:  # the thread that reads
        let_go.write(b"second")
