"""What may be left out of a body and what is said to be nothing, what may be new, and what never changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from limio_async import models

STRUCTS = [
    kind
    for name in models.__all__
    if isinstance(kind := getattr(models, name), type) and issubclass(kind, msgspec.Struct)
]
BODIES = [kind for kind in STRUCTS if any(one.default is UNSET for one in msgspec.structs.fields(kind))]


def sent(body: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body))


def test_what_is_not_given_is_not_sent() -> None:
    assert sent(models.UpdateObjectRequest(data={"quantity": 2})) == {"data": {"quantity": 2}}
    assert sent(models.PromoCodeUsage()) == {}
    assert sent(models.SubscriptionRef(id="sub-1")) == {"id": "sub-1"}


def test_none_is_sent_as_null_where_it_means_something() -> None:
    assert sent(models.PromoCodeUsage(available_quantity=None)) == {"availableQuantity": None}
    checkout = models.CheckoutOrder(order_items=[], subscription_id=None)
    assert sent(checkout) == {"orderItems": [], "subscriptionId": None}


def test_false_zero_and_empty_are_sent() -> None:
    order = models.AddOfferOrder(process_immediately=False, quantity=0, change_type="", user_details={})
    assert sent(order) == {
        "order_type": "add_offer",
        "process_immediately": False,
        "quantity": 0,
        "change_type": "",
        "userDetails": {},
    }


def test_none_within_data_is_sent() -> None:
    body = models.UpdateObjectRequest(data={"promoExpiryDate": None})
    assert sent(body) == {"data": {"promoExpiryDate": None}}


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
def test_no_optional_field_of_a_body_is_sent_unasked(kind: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(kind)
    given = {one.name: None for one in fields if one.required}
    always = {one.encode_name for one in fields if one.default is not UNSET}
    assert sent(kind(**given)).keys() == always


@pytest.mark.parametrize("kind", sorted(models.ORDER_REQUEST_BY_TYPE))
def test_an_order_says_its_type_by_itself_where_there_is_only_one(kind: str) -> None:
    model = models.ORDER_REQUEST_BY_TYPE[kind]
    shared = [one for one in models.ORDER_REQUEST_BY_TYPE.values() if one is model]
    default = next(one for one in msgspec.structs.fields(model) if one.name == "order_type").default
    assert default == (kind if len(shared) == 1 and model is not models.OtherOrder else msgspec.NODEFAULT)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (models.ChangeOfferOrder, {"order_type": "swap", "offer": {"id": "8a51", "version": "4dd3"}}),
        (models.ChangePaymentOrder, {"order_type": "change_payment_v2"}),
        (models.OtherOrder, {"order_type": "renew_early"}),
        (models.ChangeAddressOrder, {"order_type": "change_address", "type": "invoice"}),
        (models.SubscriptionUpdate, {"type": "replace", "id": "8a51", "record_type": "bundle"}),
        (models.OrderItemAction, {"orderItemActionType": "replace"}),
        (models.AddRelationshipRequest, {"id": "identity-1", "service": "hubspot"}),
        (models.OAuthTokenRequest, {"grant_type": "refresh_token"}),
        (models.TimelineField, {"label": "When", "type": "datetime"}),
        (models.Payment, {"type": "apple_pay"}),
    ],
)
def test_a_choice_that_limio_adds_later_can_be_sent_today(kind: type[msgspec.Struct], body: Any) -> None:
    assert sent(msgspec.convert(body, kind)) == body


def test_an_answer_may_say_what_no_document_knows() -> None:
    answer = (
        b'{"id":"sub-1","record_type":"usage","status":"paused","service":"hubspot","mode":"staging","new":1}'
    )
    assert msgspec.json.decode(answer, type=models.Subscription) == models.Subscription(
        id="sub-1", record_type="usage", status="paused", service="hubspot", mode="staging"
    )


def test_a_field_whose_wire_name_is_no_python_name_is_sent_under_it() -> None:
    assert sent(models.OtherOrder(order_type="renew", spec_version="2")) == {
        "order_type": "renew",
        "__spec_version": "2",
    }
    assert sent(models.EntitlementRef(ref="/entitlements/Digital")) == {"$ref": "/entitlements/Digital"}


def test_a_misspelt_field_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="forSubscription"):
        models.ChangeAddressOrder(forSubscription=None)  # type: ignore[call-arg]


def test_a_required_field_cannot_be_forgotten() -> None:
    with pytest.raises(TypeError, match="data"):
        models.UpdateObjectRequest()  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_model_is_frozen_and_takes_keywords_only(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen
    with pytest.raises(TypeError, match="positional"):
        kind(*(None for _ in msgspec.structs.fields(kind)), None)


def test_a_change_makes_a_new_value() -> None:
    offer = models.OfferRef(id="8a51")
    with pytest.raises(AttributeError):
        offer.id = "9a85"  # type: ignore[misc]
    assert msgspec.structs.replace(offer, version="4dd3") == models.OfferRef(id="8a51", version="4dd3")
    assert offer == models.OfferRef(id="8a51")
