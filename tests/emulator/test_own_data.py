"""What was exported is served as it was."""

from __future__ import annotations

from pathlib import Path

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
        ({"tags": "/tags/x"}, ["a"]),
        ({"modifiedAfter": "2024-06-01"}, ["b"]),
        ({"attributes.label": "z"}, ["c"]),
    ):
        page = visitor.catalog("offers", **query)
        assert [one["id"] for one in page["items"]] == expected
        assert page["hits"]["value"] == 1
    assert len(visitor.catalog("products")["items"]) == 40
    assert visitor.objects("orders")["items"]
    assert visitor.ask_objects("subscriptions", queryMore="x").status == 400


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
        ("readme.txt", b"", "holds no .ndjson file"),
    ],
)
def test_what_cannot_be_served_is_named(
    world: World, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        world.read_data(tmp_path)
    assert said in str(caught.value)


def test_a_directory_that_is_none_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none: no such file or directory"):
        world.read_data(tmp_path / "none")
