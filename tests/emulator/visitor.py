"""Asking a world directly, without any client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from limio_async.core.wire import Request, Response
from limio_async.emulator import World


class Visitor:
    """Somebody with a key and, once `token()` was called, with a token."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bearer = ""

    def ask(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
        authorization: str | None = None,
        body: bytes | None = None,
    ) -> Response:
        headers = {} if authorization is None else {"Authorization": authorization}
        target = f"{path}?{urlencode(query)}" if query else path
        return self.world.answer(
            Request(operation="test", method=method, target=target, headers=headers, body=body)
        )

    def catalog(self, name: str, /, **query: object) -> dict[str, Any]:
        """A page of a catalog list; `all=True` and the like become `opt.all=true`."""
        named = {
            f"opt.{key}" if key in OPTIONS else key: str(value).lower() if value is True else value
            for key, value in query.items()
        }
        return self.json(self.ask(f"/api/{name}", named, authorization=self.world.api_key))

    def published(self, *record_types: str) -> set[str]:
        """The ids of what was published: an item itself does not tell."""
        found: set[str] = set()
        for record_type in record_types:
            query = {"record_type": record_type, "opt.pageSize": 1000}
            answer = self.ask(
                "/api/published_catalog_items", query, authorization=self.bearer or self.token()
            )
            found |= {item["id"] for item in self.json(answer)["items"]}
        return found

    def walk(self, name: str, /, **query: object) -> Iterator[dict[str, Any]]:
        """Every page of a scroll, the empty one at its end included."""
        page = self.catalog(name, all=True, **query)
        yield page
        while page["items"]:
            page = self.next(name, page)
            yield page

    def next(self, name: str, page: dict[str, Any]) -> dict[str, Any]:
        return self.json(self.ask_next(name, page))

    def ask_next(self, name: str, page: dict[str, Any]) -> Response:
        more = page["queryMore"]
        query = {"opt.all": "true", "opt.queryMoreFrom": more["from"], "opt.queryMoreAlias": more["alias"]}
        return self.ask(f"/api/{name}", query, authorization=self.world.api_key)

    def token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.world.client_id,
            "client_secret": self.world.client_secret,
        }
        answer = self.ask("/oauth2/token", method="POST", body=urlencode(form).encode())
        self.bearer = f"Bearer {self.json(answer)['access_token']}"
        return self.bearer

    def objects(self, path_type: str, /, **query: object) -> dict[str, Any]:
        return self.json(self.ask_objects(path_type, **query))

    def ask_objects(self, path_type: str, /, **query: object) -> Response:
        return self.ask(f"/api/objects/limio/{path_type}", query, authorization=self.bearer or self.token())

    def ask_object(self, path_type: str, id: str) -> Response:
        path = f"/api/objects/limio/{path_type}/{quote(id, safe='')}"
        return self.ask(path, authorization=self.bearer or self.token())

    def pages(self, path_type: str, /, **query: object) -> Iterator[dict[str, Any]]:
        page = self.objects(path_type, **query)
        yield page
        while "queryMore" in page:
            page = self.objects(path_type, **query, queryMore=page["queryMore"])
            yield page

    @staticmethod
    def json(answer: Response) -> dict[str, Any]:
        assert answer.status == 200, answer.body[:300]
        payload: dict[str, Any] = msgspec.json.decode(answer.body)
        return payload


OPTIONS = {"all", "pageSize", "modifiedAfter"}


def ids(pages: Iterator[dict[str, Any]]) -> list[str]:
    return [item["id"] for page in pages for item in page["items"]]


def message(answer: Response) -> str:
    """What a refusal says."""
    said: str = msgspec.json.decode(answer.body)["message"]
    return said
