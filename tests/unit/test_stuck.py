"""A list whose cursor is an object gives its page, and then says that no other can be had."""

from __future__ import annotations

from typing import Any

import pytest

from limio_async import errors
from limio_async.core.session import Session
from tests.conftest import ScriptedTransport
from tests.unit.helpers import OPAQUE, answer, listing_of
from tests.unit.test_identity import NoCredentials

OBJECTS = [{}, {"from": "a", "alias": "b"}, {"id": "basket-2"}, {"key": {"id": 1}}, {"from": None}]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("cursor", OBJECTS)
async def test_a_page_whose_cursor_is_an_object_is_handed_out_and_the_list_never_complete(
    cursor: Any, resumed: bool
) -> None:
    transport = ScriptedTransport(answer({"items": [{"id": "a"}, {"id": "b"}], "queryMore": cursor}))
    listing = Session(transport, NoCredentials()).list(listing_of(OPAQUE), {})
    seen: list[str] = []
    for _ in range(3 if resumed else 1):
        with pytest.raises(
            errors.IncompleteListing,
            match=r"queryMore.* is an object.*no page after this one can be asked for",
        ):
            async for item in listing:
                seen.append(item.id)
        assert not listing.report.complete
        kept = listing.checkpoint()
        listing = Session(transport, NoCredentials()).list(listing_of(OPAQUE), {}, resume=kept.to_json())
    assert seen == ["a", "b"]
    assert all("queryMore" not in request.target for request in transport.requests)


async def test_what_is_on_the_page_can_be_taken() -> None:
    transport = ScriptedTransport(answer({"items": [{"id": "a"}, {"id": "b"}], "queryMore": {}}))
    listing = Session(transport, NoCredentials()).list(listing_of(OPAQUE), {})
    assert [item.id for item in await listing.take(2)] == ["a", "b"]
    with pytest.raises(errors.IncompleteListing):
        await listing.take(1)
