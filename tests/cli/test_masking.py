"""What is recorded tells nobody's name and lets nobody in."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async.cli.masking import masked
from limio_async.core.wire import Request
from limio_async.emulator import World

PERSONAL = {
    "firstName": "Ada",
    "last_name__limio": "Lovelace",
    "email": "ada@lovelace.example",
    "phone": "+44 1234 567890",
    "dateOfBirth": "1815-12-10",
    "address1": "12 St James's Square",
    "postalCode": "SW1Y 4JH",
    "buildingNumber": 12,
    "CreditCardMaskNumber": "************1234",
    "access_token": "abc123secret",
    "cardHolderName": "A. Lovelace",
}


def test_personal_data_and_secrets_go_and_the_shape_stays() -> None:
    found = masked({"id": "cus-1", "data": PERSONAL, "status": "active"})
    assert found["id"] == "cus-1"
    assert found["status"] == "active"
    assert found["data"].keys() == PERSONAL.keys()
    said = msgspec.json.encode(found).decode()
    for value in PERSONAL.values():
        assert str(value) not in said
    assert found["data"]["buildingNumber"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "sent to ada@lovelace.example today",
        "call +44 (0)1234 567890",
        "Bearer abcdefghijkl",
        "eyJhbGciOi.eyJzdWIi.c2lnbmF0",
    ],
)
def test_what_stands_in_the_middle_of_text_goes_as_well(text: str) -> None:
    for shape in (text, [text], {"message": text}, {text: 1}):
        said = msgspec.json.encode(masked(shape)).decode()
        for part in ("ada@", "567890", "abcdefghijkl", "eyJhbGci"):
            assert part not in said


def test_a_name_is_personal_beside_an_e_mail_only() -> None:
    assert masked({"name": "Digital Monthly", "path": "/offers/Digital"})["name"] == "Digital Monthly"
    assert masked({"name": "Ada", "email": "x"})["name"] == "Masked"
    assert masked({"state": "London", "city": "x"}) == {"state": "Masked", "city": "Masked"}
    assert masked({"state": "done"}) == {"state": "done"}


@pytest.mark.parametrize(
    ("envelope", "personal"), [("live", {}), ("documented", {"user": "masked@example.com"})]
)
def test_what_is_not_personal_is_left_as_it_is(
    envelope: Literal["live", "documented"], personal: dict[str, str]
) -> None:
    world = World(offers=30, envelope=envelope)
    ask = Request(operation="", method="GET", target="/api/offers", headers={"authorization": world.api_key})
    page: dict[str, Any] = msgspec.json.decode(world.answer(ask).body)
    assert len(page["items"]) == 30
    for item in page["items"]:
        assert masked(item) == {**item, **personal}


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PERSONAL, "id", "x"]), inner),
    )
)
def test_masking_twice_is_masking_once(value: Any) -> None:
    assert masked(masked(value)) == masked(value)
