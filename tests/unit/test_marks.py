"""One byte order mark before the JSON of an answer is dropped (RFC 8259, section 8.1), two are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from limio_async import errors
from limio_async._readback import read_back_args
from limio_async.auth.none import NoAuth
from limio_async.auth.tokens import read_token
from limio_async.core.codec import read_response
from limio_async.core.session import Session
from limio_async.core.wire import Response
from limio_async.transport.workarounds import is_cut_short
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, SCROLL, WHOLE, Item, answer, endpoint, listing_of

MARK = b"\xef\xbb\xbf"


def marked(body: Any) -> Response:
    return answer(MARK + msgspec.json.encode(body))


@pytest.mark.parametrize("returns", [Item, dict[str, Any], object, msgspec.Raw])
def test_one_answer(returns: Any) -> None:
    value = read_response(endpoint(returns=returns), marked({"id": "a"}))
    assert value == {Item: Item("a"), msgspec.Raw: msgspec.Raw(b'{"id":"a"}')}.get(returns, {"id": "a"})
    with pytest.raises(errors.Unreadable):
        read_response(endpoint(returns=returns), answer(MARK * 2 + b'{"id":"a"}'))


def test_half_a_surrogate_after_it() -> None:
    assert read_response(endpoint(returns=Item), answer(MARK + rb'{"id":"a\ud800"}')) == Item("a\ufffd")


@pytest.mark.parametrize("paging", [KEY, SCROLL, WHOLE], ids=lambda paging: paging.kind)
@pytest.mark.parametrize("raw", [False, True])
async def test_a_page(paging: Any, raw: bool) -> None:
    session = Session(ScriptedTransport(marked({"items": [{"id": "a"}]}), answer({"items": []})), NoAuth())
    listing = session.list(listing_of(paging), {"tags": None})
    items = [item async for item in listing.raw()] if raw else [item async for item in listing]
    assert items == ([b'{"id":"a"}'] if raw else [Item("a")])


def test_a_token() -> None:
    assert read_token(marked({"access_token": "t", "expires_in": 60})).lifetime == 60
    with pytest.raises(errors.Unauthorized, match="200 no"):
        read_token(marked({"error": "no"}))


def test_an_answer_by_which_a_write_is_read_back() -> None:
    how = {"id": "answer:id"}
    assert read_back_args(how, {}, {}, marked({"id": "a"}).body) == {"id": "a"}


@pytest.mark.parametrize(("rest", "cut"), [(b'{"id":"a"}', False), (b'{"id":"a', True), (b'{"id":"a"', True)])
def test_an_answer_without_a_length(rest: bytes, cut: bool) -> None:
    assert is_cut_short(answer(MARK + rest)) is cut
