"""What becomes of an order that is sent: every answer, every loss, every crash, on a file and in time that passes at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limio_async import errors
from limio_async.outbox import Outcome, looking, schema
from tests.outbox.processes import SETTLE, World
from tests.outbox.tenant import DROPPED, GOOD, LOST, REFUSED, Fate

NOW = {"process_immediately": True}


def order(n: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "order_type": "renew",
        "orderItems": [{"offer": {"id": f"offer-{n}", "version": "1"}}],
        **NOW,
        **more,
    }


def of(subscription: str, n: int = 0) -> dict[str, Any]:
    return {"order_type": "change_address", "forSubscription": {"id": subscription}, "n": n, **NOW}


@pytest.fixture(params=[{}], ids=[""])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path, settle=SETTLE, **request.param)
    yield one
    one.kill()


RESENDS = pytest.mark.parametrize("world", [{"when_missing": "resend"}], ids=["resend"], indirect=True)
PASSES = pytest.mark.parametrize("world", [{"hold": False}], ids=["hold=False"], indirect=True)


def meant(world: World, *orders: dict[str, Any], **options: Any) -> None:
    for n, one in enumerate(orders):
        world.do(lambda n=n, one=one: box(world).intend(f"k{n}", one, **options))  # type: ignore[misc]


def box(world: World) -> Any:
    if world.box is None:
        world.open()
    return world.box


def now(world: World, key: str = "k0") -> Outcome:
    outcome: Outcome = world.do(lambda: box(world).outcome(key))
    return outcome


def states(world: World) -> list[str]:
    return [one.state for one in world.do(lambda: box(world).list())]


# --- answers


@pytest.mark.parametrize(
    ("fate", "state", "error"),
    [
        (GOOD, "accepted", None),
        *[(Fate(makes=False, answer=status), "refused", f"{status} no: k0") for status in (400, 404, 409, 423)],
        (Fate(makes=False, answer=400, body=b"<html>no</html>"), "parked", "400"),
        (Fate(makes=False, answer=404, body=b"no such host"), "parked", "404"),
        (Fate(makes=False, answer=400, body=b'{"message": "' + b"x" * 3000 + b'"}'), "refused", "400"),
        *[(Fate(makes=False, answer=status), "parked", f"{status}") for status in (402, 405, 408, 418, 422, 301)],
        *[(Fate(makes=False, answer=status), "intended", f"{status} no: k0") for status in (401, 403)],
        (Fate(makes=False, answer=0), "intended", "no way to it"),
        *[(Fate(makes=False, answer=status), "doubt", f"{status}") for status in (429, 500, 501, 502, 503)],
        (LOST, "doubt", "gone"),
        (Fate(answer=200, body=b"<html>"), "doubt", "HTML"),
        (Fate(answer=200, body=b"{}"), "doubt", "has no id"),
    ],
)  # fmt: skip
def test_what_an_answer_means(world: World, fate: Fate, state: str, error: str | None) -> None:
    world.tenant.fates = [fate] * 99
    meant(world, order())
    world.start()
    world.passes(0.04 if fate.answer != 0 else 10.0)
    outcome = now(world)
    if fate.answer == 0:  # the client tries for a while, then the outbox does
        assert outcome.attempt > 1
        assert outcome.state in {"intended", "sending"}
        return
    assert outcome.state == state
    assert error is None or error in str(outcome.error)
    assert world.tenant.sent.count("k0") <= 1 or state == "intended"
    if state == "accepted":
        assert (outcome.order_ids, outcome.status) == (tuple(world.tenant.made("k0")), "complete")


@pytest.mark.parametrize(
    "fate", [Fate(makes=False, answer=401), Fate(makes=False, answer=0), Fate(makes=False, answer=503)]
)
def test_the_sender_pauses_and_goes_on_by_itself(world: World, fate: Fate) -> None:
    world.tenant.fates = [fate] * 3
    meant(world, *(order(n) for n in range(12)))
    world.start()
    world.passes(0.001)
    reached = len(world.tenant.sent)
    assert reached <= 4
    world.passes(3 * SETTLE.total_seconds())
    assert {"accepted"} <= {*states(world)} <= {"accepted", "parked"}


def test_an_outage_of_an_hour_parks_nothing_that_was_not_sent(world: World) -> None:
    world.tenant.fates = [Fate(makes=False, answer=0)] * 10**5
    meant(world, *(order(n) for n in range(20)))
    world.start()
    world.passes(3600)
    assert states(world) == ["intended"] * 20
    world.tenant.fates.clear()
    world.passes(120)
    assert states(world) == ["accepted"] * 20


def test_three_refusals_alike_pause_until_a_person_resumes(world: World) -> None:
    refused = Fate(makes=False, answer=400, body=b'{"message": "wrong tenant"}')
    world.tenant.fates = [refused] * 99
    meant(world, *(order(n) for n in range(30)))
    world.start()
    world.passes(3600)
    assert states(world).count("refused") <= 7  # those on the wire by then too
    assert "turned down" in world.do(lambda: box(world).stats()).paused
    world.tenant.fates.clear()
    world.do(lambda: box(world).resume())
    world.passes(60)
    assert {*states(world)[8:]} == {"accepted"}


def test_twenty_refusals_pause_whatever_their_words(world: World) -> None:
    world.tenant.fates = [
        Fate(makes=False, answer=404, body=b'{"message": "no route, request %d"}' % n) for n in range(99)
    ]
    meant(world, *(order(n) for n in range(60)))
    world.start()
    world.passes(3600)
    assert 20 <= states(world).count("refused") <= 24
    assert "turned down" in world.do(lambda: box(world).stats()).paused


def test_a_store_that_is_away_at_the_third_refusal_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, set_meta = [errors.StoreAway("away")], schema.set_meta

    def fails_once(store: Any, name: str, value: Any) -> None:
        if value and "turned down" in value and away:
            raise away.pop()
        set_meta(store, name, value)

    monkeypatch.setattr(schema, "set_meta", fails_once)
    world.tenant.fates = [Fate(makes=False, answer=400, body=b'{"message": "wrong"}')] * 3
    meant(world, *(order(n) for n in range(3)))
    world.start()
    world.passes(60)
    assert states(world) == ["refused"] * 3
    assert "turned down" in world.do(lambda: box(world).stats()).paused
    assert not away


def test_refusals_that_differ_pause_nothing(world: World) -> None:
    world.tenant.fates = [REFUSED] * 9
    meant(world, *(order(n) for n in range(12)))
    world.start()
    world.passes(60)
    assert states(world).count("refused") == 9
    assert states(world).count("accepted") == 3


def test_paused_means_nothing_is_sent_by_any_process(world: World) -> None:
    meant(world, order())
    world.do(lambda: box(world).pause())
    world.kill()
    world.drain()
    assert world.tenant.sent == []
    world.do(lambda: box(world).resume())
    world.drain()
    assert states(world) == ["accepted"]


# --- one at a time


def test_orders_of_a_subscription_go_one_at_a_time_in_order(world: World) -> None:
    world.tenant.fates = [Fate(after=5.0), Fate(after=0.1), Fate(after=1.0)]
    meant(
        world,
        of("sub-1", 1),
        of("sub-1", 2),
        {**of("sub-1", 3), "checkoutId": "b"},
        order(4, checkoutId="b"),
        order(5),
    )
    world.start()
    world.passes(0.001)
    assert world.tenant.sent == ["k0", "k4"]
    world.passes(60)
    assert [key for key in world.tenant.sent if key != "k4"] == ["k0", "k1", "k2", "k3"]
    assert states(world) == ["accepted"] * 5


def by_id(n: int) -> dict[str, Any]:
    return of("sub-1", n)


def by_reference(n: int) -> dict[str, Any]:
    return {**by_id(n), "forSubscription": {"name": "REF"}}


def by_both(n: int) -> dict[str, Any]:
    return {**by_id(n), "subscriptionRef": "REF"}


@pytest.mark.parametrize(
    "named",
    [[by_both, by_id, by_reference], [by_id, by_both, by_reference], [by_reference, by_both, by_id]],
)
def test_orders_that_share_a_name_of_a_subscription_go_one_at_a_time(world: World, named: Any) -> None:
    world.tenant.fates = [DROPPED]
    meant(world, *(by(n) for n, by in enumerate(named)))
    world.start()
    world.passes(1)
    assert world.tenant.sent == ["k0"]
    world.do(lambda: box(world).resolve("k0", "never", by="a person"))
    world.passes(60)
    assert world.tenant.sent == ["k0", "k1", "k2"]


def test_orders_whose_names_of_a_subscription_have_nothing_in_common_are_not_known_to_be_of_one(
    world: World,
) -> None:
    world.tenant.fates = [Fate(after=5.0)] * 2
    meant(world, by_id(1), by_reference(2))
    world.start()
    world.passes(0.001)
    assert world.tenant.sent == ["k0", "k1"]


def test_later_ones_wait_while_one_is_in_doubt_or_parked(world: World) -> None:
    world.tenant.fates = [DROPPED]
    meant(world, of("sub-1", 1), of("sub-1", 2), of("sub-2", 3))
    world.start()
    world.passes(1)
    assert states(world) == ["doubt", "intended", "accepted"]
    world.passes(500)
    assert states(world) == ["parked", "intended", "accepted"]
    world.do(lambda: box(world).resolve("k0", "never", by="a person"))
    world.passes(60)
    assert states(world) == ["refused", "accepted", "accepted"]


@PASSES
def test_or_pass_where_they_may(world: World) -> None:
    world.tenant.fates = [DROPPED]
    meant(world, of("sub-1", 1), of("sub-1", 2))
    world.start()
    world.passes(5)
    assert states(world) == ["doubt", "accepted"]


def test_no_more_are_on_the_wire_than_allowed(world: World) -> None:
    world.tenant.fates = [Fate(after=1.0)] * 20
    meant(world, *(order(n) for n in range(20)))
    world.drain()
    assert world.tenant.most_on_wire == 4


# --- crashes and ends


@pytest.mark.parametrize("turns", range(1, 40))
def test_killed_at_any_turn_it_is_made_once_or_looked_for(world: World, turns: int) -> None:
    meant(world, order(1), order(2))
    world.start()
    world.steps(turns)
    world.kill()
    world.drain()
    for key in ("k0", "k1"):
        made = world.tenant.made(key)
        assert len(made) <= 1
        assert now(world, key).state == ("accepted" if made else "parked")


def test_a_found_sending_is_in_doubt_under_the_next_attempt(world: World) -> None:
    world.tenant.fates = [Fate(after=100.0)]
    meant(world, order())
    world.start()
    world.passes(1)
    assert now(world).state == "sending"
    world.kill()
    world.start()
    world.passes(1)
    outcome = now(world)
    assert (outcome.state, outcome.attempt) == ("doubt", 2)
    assert len(world.tenant.sent) == 1


def test_ending_waits_for_what_is_on_the_wire(world: World) -> None:
    world.tenant.fates = [Fate(after=5.0)]
    meant(world, order(1), order(2))
    world.start()
    world.passes(0.001)
    world.stop()
    assert now(world).state == "accepted"


def test_but_no_longer_than_ten_seconds_and_then_it_is_in_doubt(world: World) -> None:
    world.tenant.fates = [Fate(after=50.0)]
    meant(world, order())
    world.start()
    world.passes(0.001)
    begun = world.now
    world.stop()
    assert 9 <= world.now - begun <= 11
    assert now(world).state == "doubt"
    world.drain()
    assert now(world).state == "accepted"
    assert len(world.tenant.orders) == 1


def test_settle_is_counted_anew_after_a_restart(world: World) -> None:
    world.tenant.fates = [LOST]
    meant(world, order())
    for _ in range(5):
        world.start()
        world.passes(SETTLE.total_seconds() - 1)
        assert now(world).state == "doubt"
        world.kill()
    world.drain()
    assert now(world).state == "accepted"


# --- looking


def doubtful(world: World, fate: Fate, *orders: dict[str, Any]) -> None:
    world.tenant.fates = [fate]
    meant(world, *(orders or (order(),)))
    world.start()
    world.passes(1)
    assert now(world).state == "doubt"


def found(world: World, lists: int = 9) -> Outcome:
    world.passes(SETTLE.total_seconds() * 4)
    return now(world)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_what_was_made_is_found(world: World, descending: bool, bare: bool) -> None:
    world.tenant.descending = descending
    for _ in range(7):
        world.tenant.another(bare=True)
    doubtful(world, Fate(answer=None, lag=50.0, bare=bare))
    outcome = found(world)
    assert (outcome.state, outcome.order_ids) == ("accepted", tuple(world.tenant.made("k0")))
    assert len(world.tenant.sent) == 1


def test_it_is_found_by_its_subscription_although_the_list_lacks_it(world: World) -> None:
    doubtful(world, LOST, of("sub-1"))
    world.tenant.orders[0].visible = world.now + 50.0
    world.passes(SETTLE.total_seconds() + 1)
    assert now(world).state == "accepted"


def test_nothing_is_looked_for_before_it_settled(world: World) -> None:
    doubtful(world, LOST)
    lists = world.tenant.lists
    world.passes(SETTLE.total_seconds() - 2)
    assert world.tenant.lists == lists
    world.passes(3)
    assert now(world).state == "accepted"


def test_a_key_s_walk_begins_where_the_cursor_stood_before_its_first_sending(world: World) -> None:
    """Messaging 1, first way: B is sent just before A is looked for, whose walk saves a cursor behind B's row."""
    settle = SETTLE.total_seconds()
    doubtful(world, Fate(answer=None, lag=1.0))  # A
    world.passes(settle - 3)
    world.tenant.fates = [Fate(answer=None, lag=settle * 0.9)]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(1)
    for _ in range(9):
        world.tenant.another()  # newer than B, and in view at once
    world.passes(2)
    assert now(world).state == "accepted"
    assert now(world, "b").state == "doubt"
    world.passes(2 * settle)
    assert now(world, "b").state == "accepted"
    assert world.tenant.sent == ["k0", "b"]


@RESENDS
def test_the_own_cursor_of_a_key_is_enough_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where walks overlap by nothing and the shared cursor moves to whatever was newest."""
    monkeypatch.setattr(looking, "_WALK", -SETTLE)
    monkeypatch.setattr(looking.Looker, "_next_cursor", lambda _, ended, began: ended.checkpoint().to_json())
    settle = SETTLE.total_seconds()
    world.tenant.another()
    doubtful(world, LOST)  # what is found moves the shared cursor for the first time
    world.passes(settle + 5)
    assert now(world).state == "accepted"
    world.tenant.fates = [LOST, Fate(answer=None, lag=settle * 0.9)]
    world.do(lambda: box(world).intend("a", order(1)))
    world.passes(settle - 3)
    world.do(lambda: box(world).intend("b", order(2)))
    for _ in range(9):
        world.passes(0.2)
        world.tenant.another()  # newer than B, and in view at once
    world.passes(5)
    assert now(world, "a").state == "accepted"
    assert now(world, "b").state == "doubt"
    world.passes(settle / 2)
    world.tenant.another()
    world.passes(2 * settle)
    assert now(world, "b").state == "accepted"
    assert world.tenant.sent == ["k0", "a", "b"]


def test_later_walks_are_short(world: World) -> None:
    for _ in range(300):
        world.tenant.another()
        world.now += 60.0
    doubtful(world, LOST)
    world.passes(100)
    first = world.tenant.lists
    world.tenant.fates = [LOST]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(100)
    assert now(world, "b").state == "accepted"
    assert first > 100
    assert world.tenant.lists - first < 30


@pytest.mark.parametrize("descending", [False, True])
def test_a_row_from_the_future_moves_no_cursor_past_what_is_to_come(world: World, descending: bool) -> None:
    world.tenant.descending = descending
    ahead = world.tenant.another()
    ahead.created += 7200.0  # two hours: longer than any walk
    doubtful(world, LOST)
    world.passes(100)
    assert now(world).state == "accepted"
    world.tenant.fates = [LOST]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(100)
    assert now(world, "b").state == "accepted"


@RESENDS
def test_missing_is_sent_again_where_that_is_conclusive(world: World) -> None:
    world.tenant.another()
    doubtful(world, DROPPED)
    world.passes(2)
    world.tenant.another()
    outcome = found(world)
    assert (outcome.state, world.tenant.sent) == ("accepted", ["k0", "k0"])
    assert outcome.order_ids == tuple(world.tenant.made("k0"))


SAYS = {
    "default": "it is not in the list of orders",
    "later": "it may be processed later",
    "nothing newer": "nothing later is there",
    "no date": "nothing later is there",
    "descending": "not in the order of created",
    "unreadable": "cannot be read",
    "bare": "cannot be read",
}


@pytest.mark.parametrize("what", SAYS)
def test_else_it_is_parked_for_a_person(tmp_path: Path, what: str) -> None:
    world = World(tmp_path, settle=SETTLE, when_missing="park" if what == "default" else "resend")
    world.tenant.dates = what != "no date"
    world.tenant.descending = what == "descending"
    world.tenant.another()
    world.now += 1
    world.tenant.another()
    doubtful(world, DROPPED, {**order(), "process_immediately": what != "later"})
    world.passes(2)
    if what != "nothing newer":
        world.tenant.another(bare=what == "bare", key="" if what == "bare" else "another")
    if what in {"bare", "unreadable"}:
        world.tenant.orders[-1].readable = 1e9
    if what == "unreadable":
        world.tenant.orders[-1].bare = True
        world.tenant.orders[-1].id = None  # type: ignore[assignment]
    outcome = found(world)
    assert (outcome.state, world.tenant.sent) == ("parked", ["k0"])
    assert SAYS[what] in str(outcome.error)
    world.kill()


@RESENDS
def test_it_is_sent_again_three_times_at_most(world: World) -> None:
    world.tenant.another()
    world.tenant.fates = [Fate(makes=False, answer=502)] * 9
    meant(world, order())
    world.start()
    for _ in range(12):
        world.passes(SETTLE.total_seconds() + 5)
        world.tenant.another()
    assert world.tenant.sent == ["k0"] * 4
    assert now(world).state == "parked"
    assert "bad order" in str(now(world).error)


@RESENDS
def test_a_502_that_executed_is_one_order(world: World) -> None:
    world.tenant.another()
    doubtful(world, Fate(answer=502, lag=SETTLE.total_seconds() * 0.9))
    world.tenant.another()
    assert found(world).state == "accepted"
    assert len(world.tenant.made("k0")) == 1


@RESENDS
@pytest.mark.parametrize("data", [{"order_type": "refund"}, {"orderItems": [{"offer": {"id": "offer-9"}}]}])
def test_another_order_with_our_key_is_not_ours(world: World, data: dict[str, Any]) -> None:
    world.tenant.another()
    doubtful(world, DROPPED)
    world.tenant.another(key="k0", data={**order(), "external_id": "k0", **data})
    outcome = found(world)
    assert (outcome.state, outcome.order_ids) == ("parked", ())


def test_a_parked_order_that_the_list_shows_later_becomes_accepted(world: World) -> None:
    doubtful(world, Fate(answer=None, lag=5 * SETTLE.total_seconds()))
    world.passes(SETTLE.total_seconds() * 4)
    assert now(world).state == "parked"
    world.passes(SETTLE.total_seconds() * 2)
    world.tenant.fates = [LOST]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(SETTLE.total_seconds() * 4)
    assert now(world).state == "accepted"


def test_a_parked_order_is_looked_for_ever_more_rarely(world: World) -> None:
    settle = SETTLE.total_seconds()
    doubtful(world, Fate(answer=None, lag=20 * settle))
    later = {**order(), "forSubscription": {"id": "sub-1"}}
    world.do(lambda: box(world).intend("b", later))
    world.passes(settle * 4)
    assert now(world).state == "parked"
    world.passes(settle * 12)
    early = world.tenant.lists
    world.passes(settle * 30)
    assert now(world).state == "accepted"
    assert world.tenant.sent.count("k0") == 1
    assert early < 12
    world.passes(86400)
    assert world.tenant.lists < early + 12


def test_a_walk_that_finds_nothing_parked_is_never_asked_for(world: World) -> None:
    meant(world, order())
    world.start()
    world.passes(1)
    lists = world.tenant.lists
    world.passes(86400)
    assert (now(world).state, world.tenant.lists) == ("accepted", lists)


@RESENDS
def test_two_orders_of_one_key_are_told(world: World) -> None:
    told: list[str] = []
    world.tenant.another()
    world.open()

    @box(world).on("doubled")  # type: ignore[untyped-decorator]
    async def doubled(outcome: Outcome, tx: Any) -> None:
        told.append(outcome.key)

    doubtful(world, Fate(answer=None, lag=4 * SETTLE.total_seconds()))
    world.passes(2)
    world.tenant.another()
    world.passes(SETTLE.total_seconds() * 3)
    assert (
        len(world.tenant.made("k0")) == 2
    )  # longer than `settle`, and different for each row: nobody could know
    world.tenant.fates = [LOST]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(SETTLE.total_seconds() * 5)
    assert now(world).doubled
    assert {*now(world).order_ids} == {*world.tenant.made("k0")}
    assert told == ["k0"]


def test_a_list_that_is_away_parks_nothing(world: World) -> None:
    doubtful(world, DROPPED)
    world.tenant.refuses_lists = 10**9
    world.passes(3600)
    assert now(world).state == "doubt"
    world.tenant.refuses_lists = 0
    world.passes(200)
    assert now(world).state == "parked"


@pytest.mark.parametrize(
    "refusal",
    [(400, b'{"message": "no"}'), (404, b"{}"), (501, b""), (200, b"<html>"), (200, b'{"items": ['), (200, b"[]")],
)  # fmt: skip
def test_a_list_that_can_never_be_read_is_looked_through_three_times(
    world: World, refusal: tuple[int, bytes]
) -> None:
    doubtful(world, DROPPED)
    world.tenant.refusal, world.tenant.refuses_lists = refusal, 10**9
    world.passes(SETTLE.total_seconds() * 4)
    assert now(world).state == "parked"
    assert "cannot be read whole" in str(now(world).error)
    world.tenant.refuses_lists = 0
    assert world.tenant.sent.count("k0") == 1


@pytest.mark.parametrize("answer", [400, 404, 410, 500, 503])
def test_a_cursor_that_is_taken_no_more_is_left(world: World, answer: int) -> None:
    world.tenant.page_size = 100
    for _ in range(5):
        world.tenant.another()
    doubtful(world, LOST)
    world.passes(SETTLE.total_seconds() + 5)
    assert now(world).state == "accepted"
    world.tenant.takes_cursors = answer
    for _ in range(5):
        world.tenant.another()
    world.tenant.fates = [LOST]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(SETTLE.total_seconds() + 60)
    assert now(world, "b").state == "accepted"


def test_what_is_found_is_written_before_the_walk_has_ended(world: World) -> None:
    doubtful(world, LOST)
    for _ in range(20):
        world.tenant.another()
    world.tenant.takes_cursors = 503
    world.passes(SETTLE.total_seconds() + 20)
    assert now(world).state == "accepted"


@pytest.mark.parametrize("answer", [400, 403, 404, 423, 500, 502])
def test_an_order_of_others_that_cannot_be_read_ends_no_look(world: World, answer: int) -> None:
    world.tenant.refuses_reads = answer
    world.tenant.another(lag=1.0)
    doubtful(world, LOST)
    world.tenant.another(bare=True)
    world.tenant.fates = [DROPPED]
    world.do(lambda: box(world).intend("b", order(2)))
    world.passes(SETTLE.total_seconds() + 120)
    assert now(world).state == "accepted"
    world.passes(4 * SETTLE.total_seconds())
    assert now(world, "b").state == "parked"
    assert "cannot be read whole" in str(now(world, "b").error)


def test_an_answer_to_another_order_is_none(world: World) -> None:
    body = b'{"id": "order-999", "status": "complete", "external_id": "quite another"}'
    doubtful(world, Fate(body=body))
    assert "another order" in str(now(world).error)
    assert found(world).order_ids == tuple(world.tenant.made("k0"))


def test_subscriptions_that_hang_hold_up_the_list_for_a_minute_at_most(world: World) -> None:
    world.tenant.related_after = 50.0
    world.tenant.fates = [LOST] * 40
    meant(world, *(of(f"sub-{n}") for n in range(40)))
    world.start()
    world.passes(2 * SETTLE.total_seconds() + 120)
    assert {*states(world)} == {"accepted"}


def test_a_sending_that_lies_ahead_by_the_clock_rules_out_no_bare_row(world: World) -> None:
    world.start()
    world.passes(1)
    world.tenant.ahead = 7200.0
    world.tenant.fates = [Fate(answer=502, bare=True)]
    world.kill()
    meant(world, order())
    world.start()
    world.passes(1)
    world.kill()
    world.tenant.ahead = 0.0
    world.start()
    assert found(world).state == "accepted"


def test_a_list_that_contradicts_itself_is_looked_through_three_times(world: World) -> None:
    for _ in range(5):
        world.tenant.another()
    world.tenant.loops = True
    doubtful(world, DROPPED)
    world.drain()
    assert now(world).state == "parked"
    assert "cannot be read whole" in str(now(world).error)


def test_what_may_have_been_sent_before_is_looked_for_first(world: World) -> None:
    made = world.tenant.another(key="k0", data=order())
    meant(world, order(), maybe_sent=True)
    world.drain()
    assert now(world).order_ids == (made.id,)
    assert world.tenant.sent == []


def test_a_key_that_waits_is_looked_for_if_it_may_have_been_sent(world: World) -> None:
    made = world.tenant.another(key="k0", data=order())
    meant(world, order())
    meant(world, order(), maybe_sent=True)
    assert now(world).state == "doubt"
    world.drain()
    assert now(world).order_ids == (made.id,)
    assert world.tenant.sent == []
    meant(world, order(), maybe_sent=True)
    assert now(world).state == "accepted"


# --- another history


def test_yesterday_s_file_put_back_makes_nothing_twice(world: World) -> None:
    meant(world, order(1), order(2), order(3))
    world.back_up()
    world.start()
    world.passes(30)
    assert states(world) == ["accepted"] * 3
    world.restore()
    world.do(lambda: box(world).intend("new", order(4)))
    assert states(world) == ["doubt", "doubt", "doubt", "intended"]
    world.drain()
    assert states(world) == ["accepted"] * 4
    assert sorted(world.tenant.sent) == ["k0", "k1", "k2", "new"]


def test_a_backup_of_the_same_run_is_noticed_too(world: World) -> None:
    meant(world, order(1))
    world.drain()
    world.do(lambda: box(world).intend("b", order(2)))
    world.back_up()
    world.drain()
    world.restore()
    assert now(world, "b").state == "doubt"
    world.drain()
    assert world.tenant.sent == ["k0", "b"]


def test_a_copy_without_the_file_beside_it_is_another_history(world: World) -> None:
    meant(world, order(1))
    world.kill()
    world.file.with_name("orders.db.outbox").unlink()
    assert now(world).state == "doubt"


def test_a_restore_that_brought_both_back_is_told_by_a_person(world: World) -> None:
    from datetime import UTC, datetime

    meant(world, order(1))
    world.back_up()
    beside = world.file.with_name("orders.db.outbox")
    kept = beside.read_bytes()
    world.drain()
    world.restore()
    beside.write_bytes(kept)
    assert now(world).state == "intended"
    assert world.do(lambda: box(world).doubt(since=datetime.now(UTC))) == 1
    world.drain()
    assert world.tenant.sent == ["k0"]
    assert now(world).state == "accepted"


# --- told, and decided by hand


def test_a_callback_that_raises_is_called_again_and_the_order_is_not_sent_again(world: World) -> None:
    calls: list[str] = []
    world.open()
    box(world)._store._db.execute("CREATE TABLE mine (key text)")

    @box(world).on("accepted")  # type: ignore[untyped-decorator]
    async def accepted(outcome: Outcome, tx: Any) -> None:
        tx.execute("INSERT INTO mine VALUES (?)", (outcome.key,))
        calls.append(outcome.key)
        if len(calls) < 3:
            raise ValueError("not now")

    meant(world, order())
    world.start()
    world.passes(120)
    assert calls == ["k0"] * 3
    assert box(world)._store._db.execute("SELECT key FROM mine").fetchall() == [("k0",)]
    assert world.tenant.sent == ["k0"]


def test_a_run_until_idle_waits_for_a_callback_that_is_called_again(world: World) -> None:
    calls: list[str] = []
    meant(world, order())

    @box(world).on("accepted")  # type: ignore[untyped-decorator]
    async def accepted(outcome: Outcome, tx: Any) -> None:
        calls.append(outcome.key)
        if len(calls) < 3:
            raise ValueError

    world.start(until_idle=True)
    world.passes(120)
    assert len(calls) == 3
    assert world.idle


def test_but_not_for_one_that_never_works(world: World) -> None:
    meant(world, order())

    @box(world).on("accepted")  # type: ignore[untyped-decorator]
    async def accepted(outcome: Outcome, tx: Any) -> None:
        raise ValueError

    world.start(until_idle=True)
    world.passes(120)
    assert world.idle


def test_failed_is_told_once_and_stays(world: World) -> None:
    meant(world, order())
    world.drain()
    for _ in range(2):
        outcome = world.do(lambda: box(world).failed("k0", {"eventId": "event-1"}))
        assert outcome.state == "failed"
    world.drain()
    assert now(world).state == "failed"
    assert now(world).order_ids == tuple(world.tenant.made("k0"))


def test_failed_while_it_is_on_the_wire_stays_too(world: World) -> None:
    world.tenant.fates = [Fate(after=5.0)]
    meant(world, order())
    world.start()
    world.passes(1)
    world.do(lambda: box(world).failed("k0"))
    world.passes(10)
    assert (now(world).state, now(world).order_ids) == ("failed", tuple(world.tenant.made("k0")))


def test_a_person_decides(world: World) -> None:
    world.tenant.fates = [LOST, DROPPED, DROPPED]
    meant(world, order(1), order(2), order(3))
    world.start()
    world.passes(1)

    async def resolved(key: str, **how: Any) -> Outcome:
        from limio_async import BearerToken, Limio

        async with Limio(auth=BearerToken("t"), transport=world.tenant) as limio:
            outcome: Outcome = await box(world).resolve(key, by="ann", limio=limio, **how)
            return outcome

    (made,) = world.tenant.made("k0")
    with pytest.raises(Exception, match="not the order of 'k1'"):
        world.do(lambda: resolved("k1", as_=f"accepted:{made}"))
    outcome = world.do(lambda: resolved("k0", as_=f"accepted:{made}"))
    assert (outcome.state, outcome.order_ids) == ("accepted", (made,))
    assert "by ann, 20" in str(outcome.resolved)
    assert world.do(lambda: resolved("k1", as_="never")).state == "refused"
    assert world.do(lambda: resolved("k2", send_again=True)).state == "intended"
    world.passes(30)
    assert now(world, "k2").state == "accepted"
    with pytest.raises(Exception, match="is accepted: only"):
        world.do(lambda: resolved("k0", as_="never"))
    for wrong in ({}, {"as_": "sent"}, {"as_": "never", "send_again": True}):
        with pytest.raises(Exception, match="resolve takes"):
            world.do(lambda wrong=wrong: resolved("k0", **wrong))  # type: ignore[misc]
