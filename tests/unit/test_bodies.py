"""Bodies: what JSON cannot hold and what is another operation's is refused by name, before anything is sent."""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import BearerToken, Limio, errors, models
from limio_async.api.endpoints import ENDPOINTS
from limio_async.core.bodies import payload_of
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer

UPDATE, ORDER = ENDPOINTS["updateObject"], ENDPOINTS["submitOrder"]
NAN, INF = float("nan"), float("inf")


class Own(msgspec.Struct, rename={"amount": "theAmount"}):
    data: Any = None
    amount: float = 0


@dataclass
class Plain:
    data: Any


class OwnUpdate(models.UpdateObjectRequest, frozen=True, kw_only=True):
    pass


NO_JSON: list[tuple[Any, str]] = [
    (models.UpdateObjectRequest(data={"quantity": NAN}), "data.quantity is nan"),
    (OwnUpdate(data={"quantity": -INF}), "data.quantity is -inf"),
    ({"data": {"prices": [1, {"amount": INF}]}}, "data.prices[1].amount is inf"),
    ({"data": {"prices": (1, 2, NAN)}}, "data.prices[2] is nan"),
    ({"data": {"amount": Decimal("NaN")}}, "data.amount is NaN"),
    ({"data": {"amount": Decimal("-Infinity")}}, "data.amount is -Infinity"),
    (Own(amount=NAN), "theAmount is nan"),
    (Plain(data={"a": {"b": NAN}}), "data.a.b is nan"),
    (OrderedDict(data=None, name=NAN), "name is nan"),
    ({"data": {"fine": None, "a b": NAN}}, "data.a b is nan"),
    ({"data": {"fine": 1, NAN: 1}}, "data has a key that is nan"),
    ({-INF: 1}, "the body has a key that is -inf"),
    ({"data": [{Decimal("NaN"): None}]}, "data[0] has a key that is NaN"),
    ({"data": Decimal("sNaN")}, "data is sNaN"),
]


@pytest.mark.parametrize(("body", "said"), NO_JSON)
async def test_a_number_that_json_cannot_hold_is_refused_by_its_field_and_nothing_is_sent(
    body: Any, said: str
) -> None:
    transport = ScriptedTransport(answer({"id": "sub-1"}))
    limio = Limio(auth=BearerToken("t"), transport=transport)
    with pytest.raises(errors.InvalidArgument) as caught:
        await limio.subscriptions.update("sub-1", body)
    assert str(caught.value) == f"updateObject: {said}, which JSON cannot hold"
    assert transport.requests == []


async def test_an_order_of_no_quantity_is_not_sent() -> None:
    transport = ScriptedTransport(answer({"id": "order-1"}))
    limio = Limio(auth=BearerToken("t"), transport=transport)
    with pytest.raises(errors.InvalidArgument, match="submitOrder: quantity is nan"):
        await limio.orders.submit(models.AddOfferOrder(quantity=NAN))
    with pytest.raises(errors.InvalidArgument, match="submitOrder: quantity is nan"):
        limio.explain(limio.orders.submit, models.AddOfferOrder(quantity=NAN))
    assert transport.requests == []


def test_what_only_looks_like_it_is_sent() -> None:
    for body in ({"a": None, "b": "NaN", "c": "Infinity"}, {"null": [None, 0.0, Decimal("1.50")]}):
        assert json.loads(payload_of(UPDATE, body) or b"") == json.loads(json.dumps(body, default=str))
    assert payload_of(UPDATE, msgspec.Raw(b'{"a": null}')) == b'{"a": null}'
    assert payload_of(UPDATE, {"a": msgspec.Raw(b"null")}) == b'{"a":null}'


def circles() -> list[tuple[Any, str]]:
    one: dict[str, Any] = {"data": {}}
    one["data"]["all"] = [one]
    other: list[Any] = []
    other.append(other)
    own = Own()
    own.data = {"me": own}
    return [(one, "data.all[0]"), ({"data": other}, "data[0]"), (own, "data.me")]


@pytest.mark.parametrize(("body", "spot"), circles())
def test_what_contains_itself_is_refused_by_its_field(body: Any, spot: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        payload_of(UPDATE, body)
    assert str(caught.value) == f"updateObject: {spot} contains itself"


def test_what_is_too_deep_is_refused_by_where_it_begins() -> None:
    body: dict[str, Any] = {}
    inner = body
    for _ in range(20_000):
        inner["child"] = {}
        inner = inner["child"]
    with pytest.raises(errors.InvalidArgument, match=r"^updateObject: child\.child\..* is nested too deeply"):
        payload_of(UPDATE, body)


def test_what_is_too_deep_for_the_place_of_the_call_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_deep(_: object) -> bytes:  # as msgspec does where the stack is nearly used up
        raise RecursionError

    monkeypatch.setattr(msgspec.json, "encode", too_deep)
    with pytest.raises(errors.InvalidArgument, match="^updateObject: the body is nested too deeply$"):
        payload_of(UPDATE, {"child": {}})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        ("\ud800", "surrogates not allowed"),
        (1j, "complex"),
        (lambda: None, "function"),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_its_field(value: Any, said: str) -> None:
    with pytest.raises(
        errors.InvalidArgument, match=rf"^updateObject: data\.prices\[1\]\.amount.*: .*{said}"
    ):
        payload_of(UPDATE, {"data": {"prices": [1, {"amount": [value]}]}})


def test_the_same_value_twice_is_no_circle() -> None:
    shared = {"a": None}
    assert payload_of(UPDATE, {"x": shared, "y": [shared, shared]}) is not None
    with pytest.raises(errors.InvalidArgument, match="y is nan"):
        payload_of(UPDATE, {"x": shared, "z": [shared], "y": NAN})


OTHERS = [
    (UPDATE, models.Subscription(id="sub-1"), "takes UpdateObjectRequest, not Subscription"),
    (UPDATE, models.AddOfferOrder(), "takes UpdateObjectRequest, not AddOfferOrder"),
    (ORDER, models.UpdateObjectRequest(data={}), "takes AddOfferOrder, CancelIntentOrder, CancelSubscriptionOrder, …, not UpdateObjectRequest"),
    (ORDER, models.Order(id="order-1"), "not Order"),
    (ENDPOINTS["publishPages"], models.BuildResponse(id="build-1"), "takes PublishRequest, not BuildResponse"),
    (ENDPOINTS["createObject"], models.CreateObjectResponse(id="p"), "takes CreateObjectRequest, not CreateObjectResponse"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "body", "said"), OTHERS)
def test_a_model_of_another_operation_is_refused_by_name(endpoint: Any, body: Any, said: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=said):
        payload_of(endpoint, body)


@pytest.mark.parametrize(
    "body",
    [
        Own(data={"a": 1}),
        Plain({"a": 1}),
        OwnUpdate(data={"a": 1}),
        {"data": {"a": 1}},
        msgspec.Raw(b'{"data":{"a":1}}'),
    ],
)
def test_types_of_the_caller_s_own_are_sent_as_they_are(body: Any) -> None:
    assert json.loads(payload_of(UPDATE, body) or b"")["data"] == {"a": 1}


@pytest.mark.parametrize(
    "order", sorted({*models.ORDER_REQUEST_BY_TYPE.values()}, key=str), ids=lambda one: one.__name__
)
@pytest.mark.parametrize(
    "operation", ["submitOrder", "submitOrderAsAdmin", "previewOrder", "submitPartnerOrder"]
)
def test_every_kind_of_order_is_an_order(operation: str, order: Any) -> None:
    fields = {
        one.name: "x" for one in msgspec.structs.fields(order) if one.required and one.name != "order_type"
    }
    needs_type = any(one.required and one.name == "order_type" for one in msgspec.structs.fields(order))
    made = order(**fields, **({"order_type": "renew"} if needs_type else {}))
    assert payload_of(ENDPOINTS[operation], made) is not None


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
BODIES = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | FLOATS | st.sampled_from(["null", "NaN", ""]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


def holds(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(holds, inner))


@given(BODIES)
def test_whatever_is_sent_says_what_it_was(body: dict[str, Any]) -> None:
    if holds(body):
        assert json.loads(payload_of(UPDATE, body) or b"") == body
        return
    with pytest.raises(errors.InvalidArgument, match="which JSON cannot hold"):
        payload_of(UPDATE, body)


async def test_the_documents_way_to_change_one_field_keeps_what_no_model_knows() -> None:
    stored = {
        "id": "sub-1",
        "data": {"quantity": 1, "giftMessage": "hi", "price": {"amount": 5, "taxCode": "T"}},
    }
    transport = ScriptedTransport(answer(stored))
    limio = Limio(auth=BearerToken("t"), transport=transport)
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = page.partition("### Changing one field")[2].partition("\n## ")[0]
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        names: dict[str, Any] = {"__name__": "docs"}
        exec(code, names)  # noqa: S102  # our own document
        (shown,) = (one for name, one in names.items() if name.startswith("change_"))
        await shown(limio)
    sent = [json.loads(one.body) for one in transport.requests if one.body is not None]
    assert sent == [{"data": {"quantity": 2}}, {"data": {"price": {"amount": 7, "taxCode": "T"}}}]
