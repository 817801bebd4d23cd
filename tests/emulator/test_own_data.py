"""What was exported is served as it was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from limio_async.emulator import World
from limio_async.errors import ConfigurationError

from .visitor import Visitor

OFFERS = [
    b'{"id":"a","path":"/offers/A","modified":"2024-01-01","tags":["/tags/x"],"price":1.50}',
    b'{ "id" : "b", "path": "/offers/B", "modified": "2025-01-01", "big": 12345678901234567890 }',
    '{"id":"c","path":"/offers/é","data":{"attributes":{"label":["z"]}}}'.encode(),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "offers.ndjson").write_bytes(b"\n".join(OFFERS) + b"\n")
    (tmp_path / "subscriptions.ndjson").write_bytes(
        b"\n".join(b'{"id":"sub-%d","n":1.0}' % n for n in range(7)) + b"\n\n"
    )
    (tmp_path / "offers.ndjson.partial").write_bytes(b"{")
    return tmp_path


def test_items_come_byte_for_byte_by_either_cursor(world: World, visitor: Visitor, data: Path) -> None:
    world.read_data(data)
    pages = list(visitor.walk("offers", pageSize=2))
    assert [len(page["items"]) for page in pages] == [2, 1, 0]
    whole = visitor.ask("/api/offers", authorization=world.api_key).body
    assert all(offer in whole for offer in OFFERS)
    assert [len(page["items"]) for page in visitor.pages("subscriptions", limit=3)] == [3, 3, 1]
    assert b'{"id":"sub-0","n":1.0}' in visitor.ask_objects("subscriptions").body
    assert visitor.ask_object("subscriptions", "sub-6").body == b'{"id":"sub-6","n":1.0}'
    assert visitor.ask_object("subscriptions", "sub-9").status == 404


def test_filters_filter_and_all_else_is_as_always(world: World, visitor: Visitor, data: Path) -> None:
    world.read_data(data)
    for query, expected in (
        ({"id": "b"}, ["b"]),
        ({"path": "/offers/é"}, ["c"]),
        ({"tags": "/tags/x"}, ["a", "b", "c"]),
        ({"tags": "/tags/y"}, ["b", "c"]),
        ({"modifiedAfter": "2024-06-01"}, ["b", "c"]),
        ({"modifiedAfter": "2026-01-01"}, ["c"]),
        ({"attributes.label": "z"}, ["c"]),
    ):
        page = visitor.catalog("offers", **query)
        assert [one["id"] for one in page["items"]] == expected
        assert page["hits"]["value"] == len(expected)
    assert len(visitor.catalog("products")["items"]) == 40
    assert visitor.objects("orders")["items"]
    assert visitor.ask_objects("subscriptions", queryMore="x").status == 400
    assert (
        visitor.ask("/api/offers", {"opt.modifiedAfter": "soon"}, authorization=world.api_key).status == 400
    )


NOON = "2025-06-01T12:00:00Z"
BEFORE, AFTER = "2025-06-01T13:59:59+02:00", "2025-06-01T14:00:01+02:00"


@pytest.mark.parametrize(
    ("item", "passes"),
    [
        ({"updated": AFTER}, True),
        ({"updated": BEFORE, "data": {"modified": AFTER}}, False),
        ({"modified": AFTER, "data": {"modified": BEFORE}}, True),
        ({"data": {"modified": BEFORE, "version_date": AFTER}}, False),
        ({"data": {"version_date": AFTER}}, True),
        ({"data": {"version_date": BEFORE}}, False),
        ({"version_date": "2025-06-01T12:00:00.001Z"}, True),
        ({"created": BEFORE}, True),
        ({"modified": "yesterday", "data": None}, True),
    ],
)
def test_times_are_compared_as_instants_wherever_they_stand(
    world: World, visitor: Visitor, tmp_path: Path, item: dict[str, object], passes: bool
) -> None:
    (tmp_path / "offers.ndjson").write_bytes(msgspec.json.encode({"id": "a", **item}))
    world.read_data(tmp_path)
    assert len(visitor.catalog("offers", modifiedAfter=NOON)["items"]) == passes


@pytest.mark.parametrize(
    ("item", "passes"),
    [
        ({"tags": ["/tags/x"]}, True),
        ({"tags": ["/tags/y"]}, False),
        ({"data": {"tags": ["/tags/y", "/tags/x"]}}, True),
        ({"data": {"attributes": {"tags__limio": ["/tags/x"]}}}, True),
        ({"tags": ["/tags/y"], "data": {"attributes": {"tags__limio": ["/tags/x"]}}}, True),
        ({"data": {"tags": []}}, True),
    ],
)
def test_tags_count_wherever_they_stand(
    world: World, visitor: Visitor, tmp_path: Path, item: dict[str, object], passes: bool
) -> None:
    (tmp_path / "pages.ndjson").write_bytes(msgspec.json.encode({"id": "a", **item}))
    world.read_data(tmp_path)
    assert len(visitor.catalog("pages", tags="/tags/x")["items"]) == passes


def test_recorded_answers_are_served_as_files_of_lines_are(
    world: World, visitor: Visitor, tmp_path: Path
) -> None:
    items = b",\n ".join([*OFFERS, OFFERS[0], OFFERS[0]])
    (tmp_path / "offers.json").write_bytes(
        b'{"items":[ %b ],"hits":{"value":99,"relation":"eq"},"indexName":"published_1","commitId":"1"}'
        % items
    )
    (tmp_path / "pages.json").write_bytes(b'{"items":[{"id":"p"}],"queryMore":{"from":"x","alias":"y"}}')
    (tmp_path / "orders.json").write_bytes(
        b'{"items":[%b]}' % b",".join(b'{"id":"order-%d"}' % (n % 5) for n in range(10))
    )
    assert world.read_data(tmp_path) == [
        f"{tmp_path}/offers.json: 5 items; 1 id comes more than once: a",
        f"{tmp_path}/orders.json: 10 items; 5 ids come more than once: order-0, order-1, order-2, …",
        f"{tmp_path}/pages.json: 1 item",
    ]
    body = visitor.ask("/api/offers", authorization=world.api_key).body
    assert all(offer in body for offer in OFFERS)
    page = visitor.catalog("offers")
    assert (page["commitId"], page["indexName"], page["hits"]["value"]) == ("1", "published_1", 5)
    assert "queryMore" not in visitor.catalog("pages")
    assert [len(page["items"]) for page in visitor.walk("offers", pageSize=2)] == [2, 3, 0]
    assert visitor.ask_object("orders", "order-4").body == b'{"id":"order-4"}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "offers.ndjson",
            b'{"id":1}\n{"id":',
            "offers.ndjson:2: not a JSON object: Input data was truncated",
        ),
        ("offers.ndjson", b"[1]", "offers.ndjson:1: not a JSON object: Expected `object`"),
        ("ofers.ndjson", b"{}", "ofers.ndjson: named after no resource"),
        ("readme.txt", b"", "holds no .ndjson or .json file"),
        ("offers.json", b"[{}]", "offers.json: no recorded answer: Expected `object`, got `array`"),
        ("offers.json", b'{"hits": 1}', "offers.json: no recorded answer: it has no items"),
        ("offers.json", b'{"items": [{}, 1]}', "offers.json: item 2: not a JSON object: Expected `object`"),
    ],
)
def test_what_cannot_be_served_is_named(
    world: World, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        world.read_data(tmp_path)
    assert said in str(caught.value)


def test_one_list_has_one_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "offers.json").write_bytes(b'{"items":[]}')
    (tmp_path / "offers.ndjson").write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="offers.ndjson: another file holds this list already"):
        world.read_data(tmp_path)


def test_a_directory_that_is_none_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none: no such file or directory"):
        world.read_data(tmp_path / "none")
