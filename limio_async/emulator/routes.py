"""Which operation a method and a path mean. A literal segment beats a placeholder, as on AWS API Gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from limio_async.core.wire import Endpoint
from limio_async.emulator.messages import Refused

__all__ = ["Routes"]

_Shape = tuple[str | None, ...]  # the segments of a path; None is a placeholder


def _is_placeholder(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _shape(template: str) -> _Shape:
    return tuple(None if _is_placeholder(segment) else segment for segment in template.split("/"))


def _fits(shape: _Shape, segments: list[str]) -> bool:
    return all(
        bool(segment) if part is None else part == segment
        for part, segment in zip(shape, segments, strict=True)
    )


class Routes:
    """The map from requests to operations."""

    def __init__(self, endpoints: Iterable[Endpoint[Any]]) -> None:
        self._methods: dict[_Shape, dict[str, Endpoint[Any]]] = {}
        self._items: list[list[str]] = []  # what comes before the path of an item
        for endpoint in endpoints:
            if _ends_in_item_path(endpoint):
                self._items.append(endpoint.path.split("/")[:-1])
            self._methods.setdefault(_shape(endpoint.path), {})[endpoint.method.upper()] = endpoint
        self._by_length: dict[int, list[_Shape]] = {}
        for shape in sorted(self._methods, key=lambda shape: [part is None for part in shape]):
            self._by_length.setdefault(len(shape), []).append(shape)

    def find(self, method: str, path: str) -> tuple[Endpoint[Any], Mapping[str, str]]:
        """The endpoint and its path arguments, each segment decoded on its own; refuses with 404 or 405."""
        segments = self._joined([unquote(segment) for segment in path.split("/")])
        for shape in self._by_length.get(len(segments), ()):
            if _fits(shape, segments):
                endpoint = self._methods[shape].get(method.upper())
                if endpoint is None:
                    raise Refused(405, "Method Not Allowed")
                return endpoint, _arguments(endpoint.path, segments)
        raise Refused(404, "Not Found")

    def _joined(self, segments: list[str]) -> list[str]:
        """*segments*, those of an item's path as one: its slashes may come as they are."""
        for prefix in self._items:
            if segments[: len(prefix)] == prefix and len(segments) > len(prefix):
                return [*prefix, "/".join(segments[len(prefix) :])]
        return segments


def _ends_in_item_path(endpoint: Endpoint[Any]) -> bool:
    last = endpoint.path.rpartition("/")[2]
    return any(last == f"{{{param.name}}}" and param.kind == "item_path" for param in endpoint.params)


def _arguments(template: str, segments: list[str]) -> dict[str, str]:
    pairs = zip(template.split("/"), segments, strict=True)
    return {part[1:-1]: segment for part, segment in pairs if _is_placeholder(part)}
