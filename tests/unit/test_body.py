from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from limio_async.transport import body
from limio_async.transport.body import Body, BrokenOff, TooLarge


@pytest.fixture(params=[zlib, isal_zlib], ids=["zlib", "isal"])
def backend(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(body, "BACKEND", request.param)
    return request.param


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    for begin, end in zip([0, *ends], ends, strict=False):
        yield data[begin:end]


def gathered(pieces: Iterator[bytes], limit: int, *, zipped: bool) -> bytes:
    one = Body(limit, zipped=zipped)
    for piece in pieces:
        one.add(piece)
    return one.whole()


@pytest.mark.parametrize("module", [zlib, isal_zlib], ids=["zlib", "isal"])
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


@pytest.mark.parametrize(
    "sent", [b"notgzip", b'{"items":[]}', gzip.compress(b"{}", mtime=0) + b"rest", zlib.compress(b"{}")]
)
def test_what_is_not_gzip_is_broken_off(backend: Any, sent: bytes) -> None:
    with pytest.raises(BrokenOff):
        gathered(iter([sent]), 10_000, zipped=True)


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
