"""Short ways to say requests, answers and endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from limio_async.core.wire import Endpoint, ListEndpoint, Paging, Param, Response

SCROLL = Paging(
    kind="scroll",
    hits="hits",
    cursor="queryMore",
    sends={"from": "opt.queryMoreFrom", "alias": "opt.queryMoreAlias"},
    always={"opt.all": "true"},
    page_size="opt.pageSize",
    commit_id=("commitId", "header.commitId"),
)
KEY = Paging(kind="key", cursor="queryMore", sends={"": "queryMore"}, page_size="limit")
OPAQUE = Paging(kind="opaque", cursor="queryMore", sends={"": "queryMore"}, page_size="limit")
WHOLE = Paging(kind="whole")


class Item(msgspec.Struct):
    id: str


def endpoint(**facts: Any) -> Endpoint[Any]:
    return Endpoint(**_facts(**facts))


def _facts(**facts: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "operation": "getThing",
        "resource": "things",
        "name": "get",
        "method": "GET",
        "path": "/api/things/{id}",
        "returns": dict[str, Any],
        "auth": (),
        "params": (Param(name="id", wire="id", place="path", required=True),),
    }
    return {**defaults, **facts}


def listing_of(paging: Paging, **facts: Any) -> ListEndpoint[Item]:
    """An endpoint that lists items, walked as *paging* says."""
    retry = "safe" if paging.kind in {"key", "whole"} else "scroll"
    defaults: dict[str, Any] = {
        "operation": "listThings",
        "name": "list",
        "path": "/api/things",
        "returns": Item,
        "params": (Param(name="tags", wire="tags", place="query"),),
        "retry": retry,
        "paging": paging,
    }
    return ListEndpoint(**_facts(**{**defaults, **facts}))


def answer(body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(status=status, headers=headers or {}, body=encoded)


def page(*ids: str, cursor: Any = None, **more: Any) -> Response:
    """A page of items with these ids."""
    body: dict[str, Any] = {"items": [{"id": one} for one in ids], **more}
    if cursor is not None:
        body["queryMore"] = cursor
    return answer(body)


def scroll_page(*ids: str, hits: int | None = None, commit: str = "c1", scroll: str = "s1") -> Response:
    """A page of a scroll; without ids, the one that ends it."""
    more: dict[str, Any] = {"commitId": commit}
    if hits is not None:
        more["hits"] = {"value": hits, "relation": "eq"}
    return page(*ids, cursor={"from": scroll, "alias": "catalog_test"}, **more)
