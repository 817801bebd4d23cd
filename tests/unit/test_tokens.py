"""A stored token comes back as it was, is nobody else's to read, and is shown nowhere."""

# ruff: noqa: ASYNC240  # these files are small and nobody else waits

from __future__ import annotations

import asyncio
import errno
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

from limio_async import errors
from limio_async._durable import removed, replacing
from limio_async.auth import FileTokenStore, MemoryTokenStore, SignIn, StoredToken, TokenStore
from limio_async.auth.tokens import IssuedToken, read_token, token_request
from limio_async.core.wire import Response
from tests.disk import Disk, kept
from tests.unit.helpers import answer

SECRET = "s3cr3t-value"
TOKEN = StoredToken(access_token=SECRET, expires_at=1_700_000_000.5, origin="https://acme.prod.limio.com")
OTHER = StoredToken(access_token="other", expires_at=1.0, origin="https://acme.dev.limio.com")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b" / "token.json"


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_what_is_saved_last_is_loaded(kind: str, file: Path) -> None:
    store: TokenStore = MemoryTokenStore() if kind == "memory" else FileTokenStore(file)
    assert await store.load() is None
    for token in (TOKEN, OTHER, None, None, TOKEN):
        await store.save(token)
        assert await store.load() == token


@pytest.mark.parametrize("token", [TOKEN, IssuedToken(access_token=SECRET, lifetime=60)])
def test_a_token_stays_as_it_was_given(token: Any) -> None:
    with pytest.raises(AttributeError):
        token.access_token = "other"
    with pytest.raises(TypeError):
        type(token)(*(getattr(token, name) for name in token.__struct_fields__))


async def test_the_file_and_its_directory_are_for_their_owner_only(file: Path) -> None:
    before = os.umask(0)
    try:
        await FileTokenStore(file).save(TOKEN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert msgspec.json.decode(file.read_bytes())["version"] == 1


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
async def test_a_file_that_is_open_to_others_is_refused(file: Path, mode: int) -> None:
    store = FileTokenStore(file)
    await store.save(TOKEN)
    file.chmod(mode)
    with pytest.raises(errors.ConfigurationError, match=f"open to others; chmod 600 {file}"):
        await store.load()
    await store.save(OTHER)  # a new file takes its place
    assert await store.load() == OTHER


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"version":1}',
        b'{"version":1,"token":{"access_token":"s3cr3t-value","expires_at":"s3cr3t-value","origin":""}}',
        b'{"version":1,"token":{"access_token":"s3cr3t-value","expires_at":-1e300,"origin":""}}',
        b'{"version":1,"token":{"access_token":"s3cr3t-value\\r\\nx: y","expires_at":1,"origin":""}}',
        b"[" * 60_000,
    ],
)
async def test_a_file_of_another_kind_is_named_but_not_shown(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(errors.ConfigurationError) as caught:
        await FileTokenStore(file).load()
    assert str(caught.value).startswith(f"{file} is not a token file: ")
    assert SECRET not in str(caught.value)


async def test_a_file_of_a_later_release_is_left_alone(file: Path) -> None:
    store = FileTokenStore(file)
    await store.save(TOKEN)
    file.write_bytes(file.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(errors.ConfigurationError, match="has version 2; this release reads 1"):
        await store.load()


@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_a_save_that_fails_leaves_the_old_token_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = FileTokenStore(file)
    await store.save(TOKEN)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        where: Any = os if step == "fsync" else Path
        broken.setattr(where, step, full)
        with pytest.raises(errors.ConfigurationError, match=f"cannot write {file}: No space left on device"):
            await store.save(OTHER)
    assert await store.load() == TOKEN
    assert [one.name for one in file.parent.iterdir()] == [file.name]


async def test_what_was_saved_or_removed_is_on_the_disk(file: Path, disk: Disk) -> None:
    store = FileTokenStore(file)
    await store.save(None)  # there is no directory either
    await store.save(TOKEN)
    replaced, directory = kept(file), file.parent.stat().st_ino
    await store.save(None)
    assert disk.story == [*replaced, ("removed", file.name), ("directory", directory)]


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EACCES, ""), (errno.EINVAL, ""), (errno.EIO, "Input/output error")]
)
async def test_a_directory_that_cannot_be_synced_fails_no_save_but_a_broken_disk_does(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    fsync = os.fsync

    def of_files_only(opened: int) -> None:
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", of_files_only)
    told = pytest.raises(errors.ConfigurationError, match=message) if message else nullcontext()
    with told:
        await FileTokenStore(file).save(TOKEN)
    assert await FileTokenStore(file).load() == TOKEN


async def test_a_link_put_in_the_files_place_is_replaced_not_followed(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    file.parent.mkdir(parents=True)
    file.symlink_to(victim)
    await FileTokenStore(file).save(TOKEN)
    assert victim.read_text() == "mine"
    assert not file.is_symlink()


async def test_a_place_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigurationError, match="cannot read .*: Is a directory"):
        await FileTokenStore(tmp_path).load()
    with pytest.raises(errors.ConfigurationError, match="cannot write .*/file/token"):
        await FileTokenStore(tmp_path / "file" / "token").save(TOKEN)


async def test_who_reads_while_others_write_sees_whole_tokens(file: Path) -> None:
    store = FileTokenStore(file)
    await store.save(TOKEN)

    async def write(token: StoredToken) -> None:
        for _ in range(20):
            await store.save(token)

    writers = asyncio.gather(write(TOKEN), write(OTHER))
    while not writers.done():
        assert await store.load() in (TOKEN, OTHER)
    await writers
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("given", "lifetime"),
    [
        ("3600", 3600),
        ('"3600"', 3600),
        ("59.5", 59.5),
        ("null", 3600),
        ("0", 3600),
        ("-5", 3600),
        ('"nan"', 3600),
        ("-0.0", 3600),
        ('"-3600"', 3600),
        ("true", 3600),
        ("false", 3600),
        ('"soon"', 3600),
        ('""', 3600),
        ('" 1800 "', 1800),
        ('["3600"]', 3600),
        ('{"seconds": 60}', 3600),
        ("1", 1),
        ("0.5", 0.5),
        ("172800", 86_400),  # no longer than a day without asking
        ("1e18", 3600),
        (str(366 * 86_400), 86_400),
        (str(366 * 86_400 + 1), 3600),
        ("1764300000", 3600),  # a time of the clock
        ("1" * 400, 3600),
        ("1e999", 3600),
        ('"inf"', 3600),
        ('"\\ud800"', 3600),
    ],
)
def test_a_strange_lifetime_is_taken_sensibly(given: str, lifetime: float) -> None:
    body = f'{{"access_token": "t", "expires_in": {given}, "id_token": 1}}'.encode()
    assert read_token(answer(body)) == IssuedToken(access_token="t", lifetime=lifetime)


@pytest.mark.parametrize(
    ("body", "spot"),
    [
        ({"access_token": 1}, "$.access_token"),
        ({"access_token": f"{SECRET}\r\nx: y"}, "$.access_token"),
        ({"access_token": ""}, "$.access_token"),
        ({"token": SECRET}, "$"),
        ([], "$"),
        (b"<html>", "$"),
        (b"[" * 50_000, "$"),
        (b"", "$"),
    ],
)
def test_an_answer_that_holds_no_token_names_operation_and_spot_and_nothing_secret(
    body: Any, spot: str
) -> None:
    with pytest.raises(errors.Unreadable) as caught:
        read_token(answer(body))
    assert str(caught.value).startswith("createToken: ")
    assert str(caught.value).endswith(f"at {spot}") or spot == "$"
    assert caught.value.spot == spot
    assert SECRET not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [200, 201, 203])
def test_a_token_counts_with_any_status_of_success(status: int) -> None:
    assert read_token(answer({"access_token": "t"}, status)) == IssuedToken(access_token="t", lifetime=3600)


@pytest.mark.parametrize(
    "nothing",
    [
        {"error": None},
        {"error": ""},
        {"error": " "},
        {"errors": []},
        {"errorMessage": None},
        {"error": False},
        {"error": 0},
        {"errorCode": 0},
        {"message": "welcome"},
        {"Error": {}},
    ],
)
def test_an_error_that_says_nothing_is_none(nothing: dict[str, Any]) -> None:
    assert read_token(answer({"access_token": "t", **nothing})).access_token == "t"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "invalid_client"}, "invalid_client"),
        ({"error": "invalid_client", "error_description": "no such client"}, "no such client"),
        ({"error": {"code": 7, "reason": "locked"}}, "locked"),
        ({"errors": [{"message": "client is disabled"}]}, "client is disabled"),
        ({"errors": ["client is disabled"]}, "client is disabled"),
        ({"errorMessage": "Task timed out"}, "Task timed out"),
        ({"Error": "locked"}, "locked"),
        ({"Message": "User is not authorized"}, "User is not authorized"),
        ({"detail": "upstream is down"}, "upstream is down"),
        ({"success": False, "access_token": SECRET}, "no token"),
        ({"statusCode": 502}, "no token"),
        ({"error": True}, "no token"),
        ({"error": 7}, "no token"),
        ({"error": "refused", "access_token": SECRET}, "refused"),
        ({"error": f"for {SECRET}", "access_token": SECRET}, "for ***"),
        ({"error": f"{SECRET} is the wrong secret"}, "*** is the wrong secret"),
        ({"errorMessage": "x" * 190 + SECRET}, "x" * 190 + "***"),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_that_tells_of_an_error_is_a_refusal_in_its_words_and_shows_no_secret(
    body: dict[str, Any], words: str, status: int
) -> None:
    with pytest.raises(errors.Unauthorized) as caught:
        read_token(answer(body, status), {"client_id": "id", "client_secret": SECRET})
    assert str(caught.value) == f"createToken: {status} {words}"
    assert SECRET not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("odd", [b"NaN", b"-Infinity", b"Infinity"])
@pytest.mark.parametrize("token", [b"", b'"access_token":"t",'])
def test_an_odd_lifetime_hides_no_error(odd: bytes, token: bytes) -> None:
    with pytest.raises(errors.Unauthorized, match="locked"):
        read_token(answer(b'{%b"error":"locked","expires_in":%b}' % (token, odd)))


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_no_status_shows_a_secret_that_was_sent(status: int) -> None:
    with pytest.raises(errors.ApiError, match=f"createToken: {status} \\*\\*\\* is wrong") as caught:
        read_token(answer({"error": f"{SECRET} is wrong"}, status), {"client_secret": SECRET})
    assert SECRET not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [302, 400, 401, 429, 503])
def test_any_other_status_is_an_error_of_the_token_endpoint(status: int) -> None:
    with pytest.raises(errors.ApiError, match=f"createToken: {status}"):
        read_token(answer({"error": "no"}, status))


def test_nothing_shows_a_token() -> None:
    assert SECRET not in repr(token_request({"client_secret": SECRET}))
    for one in (IssuedToken(access_token=SECRET, lifetime=1.0), TOKEN, MemoryTokenStore(TOKEN)):
        assert SECRET not in repr(one)
        assert SECRET not in pretty_repr(one)


@pytest.mark.parametrize(
    "lifetime", ["NaN", "-Infinity", " Infinity", '"soon"', "null", "[]", "{}", "true", "-1"]
)
def test_a_lifetime_that_is_none_counts_as_an_hour(lifetime: str) -> None:
    body = f'{{"access_token":"t","expires_in":{lifetime},"token_type":"Bearer"}}'.encode()
    assert read_token(Response(status=200, headers={}, body=body)).lifetime == 3600


@pytest.mark.parametrize("token", ["", ',"access_token":null'])
def test_a_message_in_the_place_of_a_token_is_a_refusal(token: str) -> None:
    body = f'{{"message":"Client is disabled"{token}}}'.encode()
    with pytest.raises(errors.Unauthorized, match="^createToken: 200 Client is disabled$"):
        read_token(Response(status=200, headers={}, body=body))
    greeted = b'{"message":"Welcome","access_token":"t"}'
    assert read_token(Response(status=200, headers={}, body=greeted)).access_token == "t"


@pytest.mark.parametrize("status", [200, 400])
def test_an_empty_secret_hides_nothing_of_what_is_said(status: int) -> None:
    body = {"error": "invalid_client", "error_description": "no secret was sent"}
    with pytest.raises(errors.Unauthorized) as caught:
        read_token(answer(body, status), {"client_id": "id", "client_secret": "", "code": ""})
    assert caught.value.words == "no secret was sent"


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_file_has_the_rights_that_the_user_wants_and_a_private_one_is_the_owner_s(
    tmp_path: Path, mask: int
) -> None:
    before = os.umask(mask)
    try:
        for name, rights in (("open", {}), ("private", {"private": True})):
            with replacing(tmp_path / name, part=tmp_path / f"{name}.part", **rights) as file:
                file.write(b"x")
    finally:
        os.umask(before)
    found = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    assert found == {"open": 0o666 & ~mask, "private": 0o600 & ~mask}


def test_what_a_killed_process_left_half_written_is_in_the_way_of_a_private_file_only(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"left by another process, and longer")
    with pytest.raises(FileExistsError), replacing(tmp_path / "private", part=part, private=True):
        pass
    assert part.read_bytes().startswith(b"left")
    with replacing(tmp_path / "open", part=part) as file:
        file.write(b"new")
    assert (tmp_path / "open").read_bytes() == b"new"


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="open files are counted where Linux lists them"
)
def test_files_that_are_replaced_leave_nothing_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    for _ in range(20):
        with replacing(tmp_path / "file", part=tmp_path / "part") as file:
            file.write(b"x")
        removed(tmp_path / "file")
    assert opened() <= before + 2


def test_what_is_printed_of_tokens_is_all_but_the_token() -> None:
    signing_in = SignIn(origin="https://a.test", url="https://a.test/?state=s", state="s", verifier="v")
    shown = [pretty_repr(one) for one in (TOKEN, IssuedToken(access_token="t", lifetime=60.0), signing_in)]
    assert shown == [
        f"StoredToken(expires_at={TOKEN.expires_at!r}, origin={TOKEN.origin!r})",
        "IssuedToken(lifetime=60.0)",
        "SignIn(origin='https://a.test')",
    ]
