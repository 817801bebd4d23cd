"""What is written, given what is known: no database, no network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from limio_async import errors
from limio_async.outbox.decide import Answer, Look, Row, answer_of, answered, concluded, found
from limio_async.outbox.order import came_of, entry_of

NEW = {"order_type": "new", "orderItems": [{"offer": {"id": "o-1", "version": "1"}}], "checkoutId": "c-1"}
CHANGE = {
    "order_type": "change_offer",
    "forSubscription": {"id": "sub-1"},
    "offer": {"id": "o-1", "version": "1"},
}


def row(**known: Any) -> Row:
    plain: dict[str, Any] = dict.fromkeys(Row.__struct_fields__)
    body = json.dumps({**NEW, "process_immediately": True})
    plain |= {
        "key": "k",
        "state": "doubt",
        "attempt": 2,
        "resent": 0,
        "order_ids": "[]",
        "answers": "[]",
        "tell": "",
        "body": body,
    }
    return Row(**{**plain, **known})


YES = Answer(kind="accepted", order_id="a", names=("a", "REF"))
NO = Answer(kind="refused", error="400 no")
CLEAR = Look(unclear=False, ascends=True, newest=10)


@pytest.mark.parametrize(
    ("state", "attempt", "answer", "becomes"),
    [
        ("sending", 2, YES, "accepted"),
        ("sending", 1, YES, None),  # another attempt is on the wire
        ("doubt", 1, YES, "accepted"),
        ("parked", 1, YES, "accepted"),
        ("missing", 1, YES, "accepted"),
        ("intended", 1, YES, "accepted"),
        ("refused", 1, YES, "accepted"),
        ("failed", 1, YES, None),
        ("sending", 2, NO, "refused"),
        ("sending", 1, NO, None),
        ("doubt", 2, NO, None),
        ("accepted", 1, NO, None),
        ("failed", 2, NO, None),
    ],
)
def test_an_answer_writes_its_own_attempt_and_a_late_yes_counts(
    state: Any, attempt: int, answer: Answer, becomes: str | None
) -> None:
    changes = answered(row(state=state), attempt, answer)
    assert changes.get("state") == becomes
    assert (json.loads(changes.get("order_ids", "[]")) == ["a"]) is (answer is YES)
    assert answer.kind in changes["answers"]  # kept beside the row


def test_a_second_order_is_doubled_and_the_same_one_is_not() -> None:
    once = found(row(), "a", "complete", ["a", "REF"])
    now = row(**once)
    assert found(now, "a", None, ["a", "REF"]).get("order_ids") is None
    assert found(now, "REF", None, ["REF"]).get("order_ids") is None  # an answer that names it otherwise
    purged = row(**{**once, "answers": "[]"})
    assert found(purged, "a", None, ["a", "REF"]).get("order_ids") is None
    assert found(row(order_ids='["REF"]', state="accepted"), "a", None, ["a", "REF"]).get("order_ids") is None
    twice = found(now, "b", None, ["b"])
    assert json.loads(twice["order_ids"]) == ["a", "b"]
    assert ",doubled," in twice["tell"]


def test_an_id_alone_and_a_reference_alone_may_be_one_order() -> None:
    def after(changes: Any) -> Row:
        return row(**{"state": "accepted", **changes})

    answered_first = after(found(row(), "REF", None, ["REF"]))
    listed = after(
        {"answers": answered_first.answers, **found(answered_first, "order-1", "active", ["order-1"])}
    )
    assert (listed.ids, listed.tell) == (["order-1"], "")
    again = found(listed, "REF", None, ["REF"]) | found(listed, "order-1", None, ["order-1", "REF"])
    assert again.get("order_ids") is None
    another = after({"answers": listed.answers, **found(listed, "order-2", "active", ["order-2"])})
    assert another.ids == ["order-1", "order-2"]
    assert ",doubled," in another.tell

    listed_first = after(found(row(), "order-1", None, ["order-1"]))
    told = found(listed_first, "REF", None, ["REF"])
    assert (told.get("order_ids"), told.get("tell", "")) == (None, "")
    other_reference = found(answered_first, "order-2", None, ["order-2", "ANOTHER"])
    assert json.loads(other_reference["order_ids"]) == ["REF", "order-2"]


def test_two_ids_are_two_orders_whatever_else_they_share() -> None:
    answers = '[{"kind":"found","names":["order-1","REF"]}]'
    now = row(state="accepted", order_ids='["order-1"]', answers=answers)
    twice = found(now, "order-2", None, ["order-2", "REF"])
    assert (json.loads(twice["order_ids"]), twice["tell"]) == (["order-1", "order-2"], ",doubled,")
    assert found(now, "REF", None, ["REF"]).get("order_ids") is None


def test_an_answer_that_is_written_again_changes_nothing_more() -> None:
    now = row(state="sending")
    for answer in (YES, NO):
        after = Row(
            **{**{name: getattr(now, name) for name in Row.__struct_fields__}, **answered(now, 2, answer)}
        )
        assert {
            name for name, value in answered(after, 2, answer).items() if value != getattr(after, name)
        } == set()


@pytest.mark.parametrize(
    ("known", "look", "options", "state"),
    [
        ({}, CLEAR, {}, "missing"),
        ({}, CLEAR, {"resend": False}, "parked"),
        ({"resent": 3}, CLEAR, {}, "parked"),
        ({"body": json.dumps(NEW)}, CLEAR, {}, "parked"),
        ({"body": None}, CLEAR, {}, "parked"),
        ({}, CLEAR, {"since": None}, "parked"),
        ({}, CLEAR, {"since": 10}, "parked"),
        ({}, Look(unclear=True, ascends=True, newest=10), {}, "parked"),
        ({}, Look(unclear=False, ascends=False, newest=10), {}, "parked"),
        ({}, CLEAR, {"since": 10, "patient": True}, None),
        ({}, Look(unclear=True, ascends=True, newest=10), {"patient": True, "resend": False}, None),
        ({}, CLEAR, {"since": 10, "patient": True, "resend": False}, "parked"),
        ({"order_ids": '["a"]'}, CLEAR, {}, "accepted"),
    ],
)
def test_missing_is_conclusive_only_if_everything_says_so(
    known: Any, look: Look, options: Any, state: str | None
) -> None:
    changes = concluded(row(**known), look, **{"resend": True, "since": 9, "patient": False, **options})
    assert changes.get("state") == state


def test_what_the_client_held_back_was_not_sent() -> None:
    held = errors.TooManyRequests("slow down", operation="submitOrder", status=429)
    held.fate = "no", True
    assert answer_of(held).kind == "unsent"
    held.fate = "unknown", False
    assert answer_of(held).kind == "doubt"
    assert answer_of(ValueError("a secret")) == Answer(kind="doubt", error="the answer was lost: ValueError")


@pytest.mark.parametrize(
    ("sent", "data", "item", "same"),
    [
        (NEW, NEW, {}, True),
        (NEW, {**NEW, "order_type": "refund"}, {}, False),
        (NEW, {"external_id": "k"}, {}, None),
        (NEW, {**NEW, "orderItems": [{"offer": {"id": "o-2"}}]}, {}, False),
        (NEW, {"order_type": "new", "orderItems": None}, {}, None),
        (CHANGE, {**CHANGE, "offer": None}, {}, True),
        (CHANGE, {**CHANGE, "forSubscription": {"id": "sub-2"}}, {}, False),
        (CHANGE, {**CHANGE, "forSubscription": {"name": "ABCDEFGHIJKL"}}, {}, None),
        (CHANGE, {"order_type": "change_offer", "subscriptionId": "sub-1"}, {}, True),
        (CHANGE, {"order_type": "change_offer"}, {"ref": "sub-1"}, True),
        (CHANGE, {"order_type": "change_offer"}, {}, None),
        (CHANGE, {"order_type": "change_offer", "offer": {"id": "o-1"}}, {}, True),
        ({"order_type": "data_capture", "data": {}}, {"order_type": "data_capture"}, {}, True),
    ],
)
def test_what_came_of_an_order(sent: Any, data: Any, item: Any, same: bool | None) -> None:
    assert came_of(entry_of("k", sent).body, {"data": data, **item}) is same


def test_what_an_order_names() -> None:
    entry = entry_of("k", {**CHANGE, "subscriptionRef": "ABCDEFGHIJKL", "checkoutId": "c-1", "owner": "id-1"})
    assert (entry.subscription, entry.reference) == ("sub-1", "ABCDEFGHIJKL")
    assert (entry.basket, entry.person) == ("c-1", "id-1")
    by_name = entry_of("k", {"order_type": "renew", "forSubscription": "ABCDEFGHIJKL"})
    assert (by_name.subscription, by_name.reference) == (None, "ABCDEFGHIJKL")
    assert entry_of("k", NEW).subscription is None
    assert "o-1" not in repr(entry) + repr(row())
