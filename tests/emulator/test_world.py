from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import pytest

from limio_async.core.wire import Endpoint, Scheme
from limio_async.emulator import World, reply
from limio_async.errors import AnswerLost, NeverSent

from .visitor import Visitor, ids, message


def endpoint(operation: str, method: str, path: str, *auth: Scheme) -> Endpoint[Any]:
    return Endpoint(
        operation=operation, resource="", name="", method=method, path=path, returns=dict, auth=auth
    )


def test_worlds_of_one_seed_answer_the_same_bytes_and_of_another_do_not() -> None:
    def answers(seed: int) -> list[bytes]:
        visitor = Visitor(World(seed=seed))
        visitor.token()
        paths = ["/api/offers?opt.all=true", "/api/campaigns", "/api/assets"]
        catalog = [visitor.ask(path, authorization=visitor.world.api_key).body for path in paths]
        return [*catalog, visitor.ask_objects("subscriptions").body, visitor.bearer.encode()]

    assert answers(1) == answers(1)
    assert not set(answers(1)) & set(answers(2))


def test_what_is_compiled_for_one_world_serves_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    World()
    monkeypatch.setattr("limio_async.emulator.data.seed._compiled", lambda _: pytest.fail("compiled again"))
    World(offers=3)


def test_unknown_paths_wrong_methods_and_what_is_not_emulated_are_told_apart(visitor: Visitor) -> None:
    assert visitor.ask("/api/nothing").status == 404
    assert visitor.ask("/api/offers/").status == 404
    assert visitor.ask("/api/offers", method="PATCH").status == 405
    newer = Visitor(World(endpoints={"fly": endpoint("fly", "GET", "/api/fly")}))
    answer = newer.ask("/api/fly")
    assert (answer.status, message(answer)) == (501, "fly is not emulated yet")


def test_literal_segments_beat_placeholders_and_each_segment_is_decoded_on_its_own() -> None:
    world = World(
        endpoints={
            one.operation: one
            for one in (
                endpoint("one", "GET", "/api/checkout/{basket_id}"),
                endpoint("abandoned", "GET", "/api/checkout/abandoned"),
                endpoint("update", "PUT", "/api/checkout/update"),
                endpoint("object", "GET", "/api/objects/{service}/{type}/{id}"),
                endpoint("of", "GET", "/api/objects/salesforce/identities/{id}/subscriptions"),
                endpoint("children", "GET", "/api/objects/{service}/{type}/{id}/subscriptions"),
            )
        }
    )
    visitor = Visitor(world)
    for path, operation in {
        "/api/checkout/abandoned": "abandoned",
        "/api/checkout/b%2F1": "one",
        "/api/checkout/abandon%65d": "abandoned",
        "/api/objects/salesforce/identities/1": "object",
        "/api/objects/salesforce/identities/1/subscriptions": "of",
        "/api/objects/salesforce/orders/1/subscriptions": "children",
    }.items():
        assert message(visitor.ask(path)) == f"{operation} is not emulated yet"
    assert visitor.ask("/api/checkout/update").status == 405
    assert visitor.ask("/api/checkout/").status == 404


def test_each_operation_takes_the_credentials_its_endpoint_names_and_no_others() -> None:
    schemes: tuple[Scheme, ...] = ("key", "bearer", "session")
    world = World(
        endpoints={
            "createToken": endpoint("createToken", "POST", "/oauth2/token"),
            "open": endpoint("open", "GET", "/open"),
            **{scheme: endpoint(scheme, "GET", f"/{scheme}", scheme) for scheme in schemes},
        }
    )
    visitor = Visitor(world)
    credentials = {
        "key": world.api_key,
        "bearer": visitor.token(),
        "session": f"Bearer {world.session_token}",
        "nothing": None,
        "key as token": f"Bearer {world.api_key}",
        "bare token": visitor.bearer.removeprefix("Bearer "),
        "other scheme": f"Basic {world.api_key}",
    }
    for scheme in schemes:
        accepted = [
            name
            for name, value in credentials.items()
            if visitor.ask(f"/{scheme}", authorization=value).status != 401
        ]
        assert accepted == [scheme]
    assert visitor.ask("/open").status == 501


def test_tokens_expire_on_the_worlds_clock(world: World, visitor: Visitor) -> None:
    token = visitor.token()
    world.advance(3599)
    assert visitor.ask_objects("orders").status == 200
    world.advance(1)
    assert message(visitor.ask_objects("orders")) == "Unauthorized: token expired"
    assert visitor.token() != token
    assert visitor.ask_objects("orders").status == 200
    assert world.tokens_issued == 2


def test_revoked_invalid_and_missing_credentials_are_refused(world: World, visitor: Visitor) -> None:
    visitor.token()
    world.revoke_tokens()
    assert message(visitor.ask_objects("orders")) == "Unauthorized: invalid token"
    assert message(visitor.ask("/api/offers")) == "Unauthorized"
    assert visitor.ask("/api/offers", authorization="public_wrong").status == 401
    for strange in ("Bearer é", "Bearer \udcff", "\udcff", " "):
        assert visitor.ask("/api/offers", authorization=strange).status == 401


def test_a_client_shows_its_secret_in_the_form_or_in_the_older_header(world: World, visitor: Visitor) -> None:
    def status(authorization: str | None = None, **form: str) -> int:
        body = urlencode(form).encode()
        return visitor.ask("/oauth2/token", method="POST", authorization=authorization, body=body).status

    grant = {"grant_type": "client_credentials"}
    header = b64encode(f"{world.client_id}:{world.client_secret}".encode()).decode()
    assert status(**grant, client_id=world.client_id, client_secret=world.client_secret) == 200
    assert status(header, **grant) == status(f"Basic {header}", **grant) == 200
    assert status(**grant, client_id=world.client_id, client_secret="wrong") == 401
    assert status("nonsense", **grant) == status("gICA", **grant) == status(**grant) == 401
    assert status(client_id=world.client_id, client_secret=world.client_secret) == 400
    assert status(grant_type="password") == 400
    assert world.tokens_issued == 3


def test_requests_are_counted_and_remembered_without_secrets(world: World, visitor: Visitor) -> None:
    visitor.catalog("offers", pageSize=3)
    visitor.token()
    visitor.ask_objects("orders")
    visitor.ask("/api/nothing")
    assert (world.count(), world.count("createToken"), world.count("listOrders")) == (4, 1, 0)
    [asked] = world.requests("listOffers")
    assert asked.query == {"opt.pageSize": "3"}
    assert [one.operation for one in world.requests()] == ["listOffers", "createToken", "listObjects", None]
    assert [one.status for one in world.requests()] == [200, 200, 200, 404]
    remembered = repr(world.requests())
    for secret in (world.api_key, world.client_secret, visitor.bearer.removeprefix("Bearer ")):
        assert secret not in remembered
        assert secret not in repr(world)


def test_memory_of_requests_is_bounded_but_counts_are_exact(world: World, visitor: Visitor) -> None:
    for _ in range(10_010):
        visitor.ask("/api/offers")
    assert len(world.requests()) == 10_000
    assert world.count("listOffers") == 10_010


def test_scripted_answers_come_one_a_call_before_normal_ones(world: World, visitor: Visitor) -> None:
    world.script("listSegments", reply({"message": "later"}, 503, headers={"retry-after": "2"}), None)
    statuses = [visitor.ask("/api/segments", authorization=world.api_key).status for _ in range(3)]
    assert statuses == [503, 200, 200]
    assert visitor.ask("/api/assets", authorization=world.api_key).status == 200


def test_a_lost_answer_has_its_effect_and_a_refused_call_has_none(world: World, visitor: Visitor) -> None:
    page = visitor.catalog("offers", all=True, pageSize=100)
    world.script("listOffers", "refused", "lost")
    with pytest.raises(NeverSent):
        visitor.ask_next("offers", page)
    assert world.count("listOffers") == 1
    with pytest.raises(AnswerLost):
        visitor.ask_next("offers", page)
    assert world.count("listOffers") == 2
    assert len(visitor.next("offers", page)["items"]) == 30


def test_tokens_that_are_expired_by_hand_are_refused_as_expired_and_new_ones_are_good(
    world: World, visitor: Visitor
) -> None:
    visitor.token()
    assert list(world.good_tokens()) == [visitor.bearer.removeprefix("Bearer ")]
    world.expire_tokens()
    answer = visitor.ask_objects("orders")
    assert (answer.status, message(answer)) == (401, "Unauthorized: token expired")
    assert not world.good_tokens()
    visitor.token()
    assert visitor.ask_objects("orders").status == 200


def test_scrolls_that_are_expired_by_hand_are_gone(world: World, visitor: Visitor) -> None:
    page = visitor.catalog("offers", all=True, pageSize=50)
    assert [scroll.position for scroll in world.open_scrolls()] == [50]
    world.expire_scrolls()
    assert visitor.ask_next("offers", page).status == 404
    assert not world.open_scrolls()


def test_holdings_count_what_the_lists_give(world: World, visitor: Visitor) -> None:
    holdings = world.holdings()
    assert holdings["Catalog"]["offers"] == visitor.catalog("offers")["hits"]["value"] == 230
    assert holdings["Objects"]["orders"] == len(ids(visitor.pages("orders")))
