"""Items wait in the spool as their exact bytes, whatever these are."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async.sync_jobs.packing import pack, unpack


@given(
    st.lists(st.binary() | st.sampled_from([b"", b",", b"]", b'{"id":"5" nail"}', b'{"id":1', b"\x00\x01"]))
)
def test_any_bytes_come_back_as_they_were(items: list[bytes]) -> None:
    assert [bytes(one) for one in unpack(pack(items))] == items


def test_pages_of_0_1_are_read_too() -> None:
    assert [bytes(one) for one in unpack(b'[{"id":1},{"x":NaN}]')] == [b'{"id":1}', b'{"x":NaN}']
    assert unpack(b"[]") == []


@given(st.lists(st.binary(), min_size=1), st.data())
def test_a_page_that_is_cut_or_too_long_is_refused(items: list[bytes], data: st.DataObject) -> None:
    whole = pack(items)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    for one in (cut, whole + b"x"):
        with pytest.raises(msgspec.DecodeError):
            unpack(one)
