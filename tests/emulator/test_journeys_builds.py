"""Journeys are kept by name; builds take their time, and publishing says what did not go live."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from limio_async.core.wire import Response
from limio_async.emulator import World

from .clerk import Clerk

JOURNEYS = "/api/v2/journey"
PAGES = ["/offers/Limio Campaign", "/pages/Limio Page"]


@pytest.fixture
def clerk(world: World) -> Clerk:
    return Clerk(world)


def at(name: str) -> str:
    return f"{JOURNEYS}/{quote(name, safe='')}"


def create(clerk: Clerk, name: str, **content: Any) -> Response:
    return clerk.send("createJourneyV2", "POST", JOURNEYS, {"name": name, **content})


def listed(clerk: Clerk) -> list[dict[str, Any]]:
    both = [
        clerk.do("listJourneys", "GET", "/api/journeys", who="key"),
        clerk.do("listJourneysV2", "GET", JOURNEYS, who="key"),
    ]
    assert both[0] == both[1]
    found: list[dict[str, Any]] = both[0]["journeys"]
    return found


def test_a_journey_is_created_once_and_then_taken(clerk: Clerk) -> None:
    created = create(clerk, "A/b %")
    assert msgspec.json.decode(created.body) == {"message": "Journey added successfully"}
    assert create(clerk, "A/b %").status == 409
    record = clerk.do("getJourneyV2", "GET", at("A/b %"))
    assert record["id"] == record["process_hash"] == listed(clerk)[-1]["id"]
    assert (record["record_type"], record["status"], record["mode"]) == ("journey", "active", "production")
    assert len(record["version"]) == 40


def test_what_a_journey_does_shows_in_both_lists_as_far_as_it_has_their_shape(clerk: Clerk) -> None:
    conditions = [{"id": "c", "type": "segment", "value": "/segments/1"}]
    create(clerk, "Mine", conditions=conditions, actions=[{"type": 5}])
    assert len(listed(clerk)) == 4
    assert listed(clerk)[-1]["conditions"] == conditions
    assert listed(clerk)[-1]["actions"] == []
    assert clerk.do("getJourneyV2", "GET", at("Mine"))["data"]["actions"] == [{"type": 5}]


def test_saving_creates_what_is_missing_and_keeps_what_is_not_mentioned(clerk: Clerk, world: World) -> None:
    assert clerk.do("upsertJourneyV2", "PUT", at("Mine"), {"name": "test001", "a": 1}) == {"name": "test001"}
    first = clerk.do("getJourneyV2", "GET", at("Mine"))
    world.advance(60)
    assert clerk.do("upsertJourneyV2", "PUT", at("Mine"), {"b": 2}) == {"name": "Mine"}
    second = clerk.do("getJourneyV2", "GET", at("Mine"))
    assert second["data"] == {"a": 1, "b": 2}
    assert (second["id"], second["created"]) == (first["id"], first["created"])
    assert second["updated"] > first["updated"]
    assert second["version"] != first["version"]


def test_a_deleted_journey_is_gone(clerk: Clerk) -> None:
    answer = clerk.do("deleteJourneyV2", "DELETE", at("Print Journey"))
    assert answer == {"message": "Journey deleted successfully"}
    assert len(listed(clerk)) == 2
    assert clerk.send("deleteJourneyV2", "DELETE", at("Print Journey")).status == 404
    assert clerk.send("getJourneyV2", "GET", at("Print Journey")).status == 404
    assert create(clerk, "Print Journey").status == 200


def test_a_journey_needs_a_name_and_a_token(clerk: Clerk) -> None:
    assert clerk.send("createJourneyV2", "POST", JOURNEYS, {}).status == 400
    assert clerk.send("createJourneyV2", "POST", JOURNEYS, []).status == 400
    assert clerk.send("upsertJourneyV2", "PUT", at("a"), {"name": 1}).status == 400
    assert clerk.send("createJourneyV2", "POST", JOURNEYS, {"name": "a"}, who="key").status == 401
    assert clerk.send("getJourneyV2", "GET", at("Print Journey"), who="key").status == 401
    assert clerk.send("listJourneys", "GET", "/api/journeys", who="nobody").status == 401


# ── Builds ──


def build(clerk: Clerk, *items: object) -> dict[str, Any]:
    made: dict[str, Any] = clerk.do("buildShop", "POST", "/api/shop/builds", {"items": list(items) or PAGES})
    return made


def publish(clerk: Clerk, build_id: str, *tags: object) -> tuple[dict[str, Any], dict[str, Any]]:
    body = {"tags": list(tags), "buildId": build_id, "name": "Default"}
    answer = clerk.do("publishPages", "POST", "/api/publish", body)
    assert answer["success"] is True
    return answer["publishedData"]["pages"], answer["ommitedWithError"]["pages"]


def components(clerk: Clerk, commit: str | None = None) -> Any:
    query: dict[str, object] = {} if commit is None else {"commitHash": commit}
    return clerk.do("getComponentBuilds", "GET", "/api/component/builds", query=query)


def test_a_shop_build_is_accepted_at_once_under_an_id_of_the_tenant(clerk: Clerk) -> None:
    one, other = build(clerk), build(clerk, ["/offers/a"], "/pages/b")
    assert (one["buildPaths"], one["success"]) == (PAGES, True)
    assert one["id"].startswith("build-acme-shop:")
    assert one["id"] != other["id"]
    assert other["buildPaths"] == ["/offers/a", "/pages/b"]


def test_what_is_published_before_the_build_is_over_does_not_go_live(clerk: Clerk, world: World) -> None:
    made = build(clerk)
    live, left_out = publish(clerk, made["id"], "/tags/uk/default")
    assert live == {}
    assert [(page["path"], page["pathPrefix"]) for page in left_out["/uk/default/"]] == [
        (path, "") for path in PAGES
    ]
    world.advance(world.build_seconds)
    live, left_out = publish(clerk, made["id"], "/tags/uk/default", "/tags/us/spring")
    assert left_out == {}
    assert live.keys() == {"/uk/default/", "/us/spring/"}
    pages = live["/uk/default/"]
    assert [(page["path"], page["isDefault"]) for page in pages] == [(PAGES[0], True), (PAGES[1], False)]
    assert pages[0]["pathPrefix"].startswith(f"/__v/{clerk.catalog('pages')['commitId']}_")


def test_new_routes_and_unknown_builds_are_left_out(clerk: Clerk, world: World) -> None:
    made = build(clerk)
    world.advance(world.build_seconds)
    live, left_out = publish(clerk, made["id"], "/tags/uk/default", "/tags/brand/new")
    assert (list(live), list(left_out)) == (["/uk/default/"], ["/brand/new/"])
    world.builds.open_route("/tags/brand/new")
    assert list(publish(clerk, made["id"], "/tags/brand/new")[0]) == ["/brand/new/"]
    live, left_out = publish(clerk, "build-acme-shop:unknown", "/tags/uk/default")
    assert live == {}
    assert left_out["/uk/default/"] == [{"path": "Default", "isDefault": True, "pathPrefix": ""}]


def test_a_component_build_runs_and_then_tells_how_it_went(clerk: Clerk, world: World) -> None:
    world.builds.start_component_build("a" * 40, log_errors=["warning"])
    world.builds.start_component_build("b" * 40, log_errors=["broken"], fails=True)
    running = components(clerk, "a" * 40)
    assert (running["buildStatus"], running["buildComplete"], running["logErrors"]) == (
        "IN_PROGRESS",
        False,
        [],
    )
    assert "endTime" not in running
    world.advance(world.build_seconds)
    done, failed = components(clerk, "a" * 40), components(clerk, "b" * 40)
    assert (done["buildStatus"], done["logErrors"]) == ("SUCCEEDED", ["warning"])
    assert (failed["buildStatus"], failed["logErrors"]) == ("FAILED", ["broken"])
    assert done["endTime"] > done["startTime"]
    assert [one["buildNumber"] for one in components(clerk)] == ["27", "26", "25", "24"]


def test_no_component_builds_are_not_found(clerk: Clerk, world: World) -> None:
    query: dict[str, object] = {"commitHash": "0" * 40}
    assert clerk.send("getComponentBuilds", "GET", "/api/component/builds", query=query).status == 404
    world.builds.load_component_builds([])
    assert clerk.send("getComponentBuilds", "GET", "/api/component/builds").status == 404


@pytest.mark.parametrize("body", [None, {}, {"items": "/offers/a"}, {"items": [1]}])
def test_a_body_that_names_nothing_to_build_is_a_bad_gateway_as_documented(
    clerk: Clerk, body: object
) -> None:
    assert clerk.send("buildShop", "POST", "/api/shop/builds", body).status == 502
    assert clerk.send("publishPages", "POST", "/api/publish", body).status == 502


def test_journeys_and_builds_survive_a_snapshot(clerk: Clerk, world: World) -> None:
    create(clerk, "Mine")
    made = build(clerk)
    world.builds.start_component_build("a" * 40)
    later = World(offers=230, subscriptions=120)
    later.restore(msgspec.json.decode(msgspec.json.encode(world.snapshot())))
    restored = Clerk(later)
    assert listed(restored) == listed(clerk)
    assert components(restored) == components(clerk)
    later.advance(later.build_seconds)
    assert publish(restored, made["id"], "/tags/uk/default")[0]
