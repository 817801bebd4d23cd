from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async.transport import body
from limio_async.transport.body import Body, BrokenOff, NotGzip, TooLarge

BACKENDS = [pytest.param(one, id=one.__name__) for one in dict.fromkeys((zlib, body.BACKEND))]
"""The standard library's, and isal where it is installed."""


@pytest.fixture(params=BACKENDS)
def backend(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(body, "BACKEND", request.param)
    return request.param


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    for begin, end in zip([0, *ends], ends, strict=False):
        yield data[begin:end]


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def gathered(pieces: Iterator[bytes], limit: int, *, zipped: bool) -> bytes:
    one = Body(limit, zipped=zipped)
    for piece in pieces:
        one.add(piece)
    return one.whole()


@pytest.mark.parametrize("module", BACKENDS)
@given(
    members=st.lists(st.binary(max_size=3000) | st.integers(0, 90_000).map(bytes), max_size=3),
    places=st.lists(st.integers(0, 10_000), max_size=5),
    zipped=st.booleans(),
    spare=st.integers(-2, 2),
)
def test_a_body_is_the_same_however_it_is_cut_and_is_held_to_its_limit(
    module: Any, members: list[bytes], places: list[int], zipped: bool, spare: int
) -> None:
    whole = b"".join(members)
    sent = b"".join(map(gzip.compress, members)) if zipped else whole
    limit = max(0, len(whole) + spare)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(body, "BACKEND", module)
        if limit < len(whole):
            with pytest.raises(TooLarge):
                gathered(cut(sent, places), limit, zipped=zipped)
        else:
            assert gathered(cut(sent, places), limit, zipped=zipped) == whole


@pytest.mark.parametrize("missing", [1, 8, 20])
def test_gzip_that_ends_too_early_is_broken_off(backend: Any, missing: int) -> None:
    sent = gzip.compress(b'{"items":[]}' * 100)[:-missing]
    with pytest.raises(BrokenOff):
        gathered(iter([sent]), 10_000, zipped=True)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    "sent", [b"notgzip", b'{"items":[]}', b"5", b"\x1f\x8c", zlib.compress(b"{}"), b"\0" * 9]
)
def test_what_is_not_gzip_is_said_to_be_none(backend: Any, sent: bytes, size: int) -> None:
    with pytest.raises(NotGzip, match="announced as gzip and is none"):
        gathered(pieces_of(sent, size), 10_000, zipped=True)


JUNK = {
    "nothing": b"",
    "zeros": bytes(8),
    "zeros up to a block": bytes(64 * 1024),
    "a newline": b"\r\n",
    "text": b"tail",
    "half of a magic number": b"\x1f",
    "another magic number": b"\x1f\x8c\x08",
    "zeros and text": bytes(3) + b"tail",
    "text and gzip": b"tail" + gzip.compress(b"never read"),
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_what_follows_the_end_of_gzip_is_dropped(backend: Any, junk: bytes, size: int) -> None:
    sent = gzip.compress(b'{"id":') + gzip.compress(b'"sub-1"}') + junk
    assert gathered(pieces_of(sent, size), 10_000, zipped=True) == b'{"id":"sub-1"}'


@given(
    members=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    zeros=st.integers(0, 20),
    junk=st.binary(max_size=3000).filter(lambda junk: not junk.lstrip(b"\0").startswith(b"\x1f\x8b")),
    places=st.lists(st.integers(0, 10_000), max_size=5),
)
def test_members_are_one_body_whatever_follows_and_however_it_is_cut(
    members: list[bytes], zeros: int, junk: bytes, places: list[int]
) -> None:
    sent = bytes(zeros).join(map(gzip.compress, members)) + junk
    assert gathered(cut(sent, places), 10_000, zipped=True) == b"".join(members)


@pytest.mark.parametrize("size", [999, 1_000_000])
@pytest.mark.parametrize("junk", [bytes(64 * 1024 + 1), b"x" * (64 * 1024 + 1), b"\0x" * 40_000])
def test_more_than_64_kib_after_the_end_is_broken_off(backend: Any, junk: bytes, size: int) -> None:
    with pytest.raises(BrokenOff, match="more than 64 KiB follow the end of the answer's gzip"):
        gathered(pieces_of(gzip.compress(b"{}") + junk, size), 10_000, zipped=True)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("kept", [2, 3, 9, 15, 27])
def test_a_second_member_that_ends_too_early_is_broken_off(backend: Any, kept: int, size: int) -> None:
    sent = gzip.compress(b"{}") + gzip.compress(b"more" * 100)[:kept]
    with pytest.raises(BrokenOff):
        gathered(pieces_of(sent, size), 10_000, zipped=True)


def test_a_changed_byte_is_noticed(backend: Any) -> None:
    sent = bytearray(gzip.compress(b'{"price":"75"}', compresslevel=0))
    sent[sent.index(b"75")] = ord("9")
    with pytest.raises(BrokenOff):
        gathered(iter([bytes(sent)]), 10_000, zipped=True)


def test_of_a_bomb_no_more_than_the_limit_comes_into_being(backend: Any) -> None:
    bomb = gzip.compress(bytes(100 * 1024 * 1024))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        gathered(iter([bomb]), 1024 * 1024, zipped=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 1024 * 1024


def test_no_body_at_all_is_an_empty_one(backend: Any) -> None:
    assert gathered(iter([]), 10, zipped=True) == gathered(iter([]), 10, zipped=False) == b""


def test_nobody_is_kept_busy_by_members_without_end(backend: Any) -> None:
    with pytest.raises(BrokenOff):
        gathered(iter([gzip.compress(b"") * 50_000]), 10_000, zipped=True)
    assert gathered(iter([gzip.compress(b"a") * 1_000]), 10_000, zipped=True) == b"a" * 1_000
