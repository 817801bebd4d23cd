"""Lists of one's own: what was exported from a tenant is served as it was, item for item and byte for byte."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, ListEndpoint, Response
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import as_object
from limio_async.errors import ConfigurationError

__all__ = ["OwnData"]

_JSON = {"content-type": "application/json"}
_FILTERS = {"id", "path", "tags", "opt.modifiedAfter"}


class _Facts(msgspec.Struct):
    """What an item can be found by."""

    id: str | int | None = None
    path: str | None = None
    modified: str | None = None


class _Items:
    """The lines of one file."""

    def __init__(self, file: Path) -> None:
        self.lines: list[bytes] = []
        self.facts: list[_Facts] = []
        self.by_id: dict[str, int] = {}
        for number, line in enumerate(_lines_of(file), 1):
            if line.strip():
                self._add(line, f"{file}:{number}")
        self.commit = fingerprint(*self.by_id, len(self.lines), length=40)

    def _add(self, line: bytes, spot: str) -> None:
        try:
            msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            facts = _read(line)
        except UNDECODABLE as error:
            raise ConfigurationError(f"{spot}: not a JSON object: {error}") from None
        if facts.id is not None:
            self.by_id[str(facts.id)] = len(self.lines)
        self.lines.append(line)
        self.facts.append(facts)

    def matches(self, query: Mapping[str, str]) -> Sequence[int]:
        """The places of the items that a catalog list is asked for."""
        if not any(name in _FILTERS or name.startswith("attributes.") for name in query):
            return range(len(self.lines))
        exact = {name: query[name] for name in ("id", "path") if name in query}
        inner = {name: value for name, value in query.items() if name.startswith("attributes.")}
        after, tag = query.get("opt.modifiedAfter", ""), query.get("tags")
        return [
            place
            for place, facts in enumerate(self.facts)
            if all(str(getattr(facts, name)) == value for name, value in exact.items())
            and (not after or (facts.modified or "") > after)
            and ((tag is None and not inner) or _has(self.lines[place], tag, inner))
        ]


class OwnData:
    """A directory of NDJSON files, each named after a resource (`offers.ndjson`) or an operation.

    Its lists are answered from it, and single objects by their ids; whatever else is asked comes from *usual*.
    """

    def __init__(
        self, directory: Path, endpoints: Iterable[Endpoint[Any]], usual: Mapping[str, Handler]
    ) -> None:
        self._usual = usual
        self._lists = {
            one.operation: one for one in endpoints if isinstance(one, ListEndpoint) and not one.bound
        }
        self._files: dict[tuple[str, str], _Items] = {}
        named = {
            name: key for one in endpoints if (key := _key(one)) for name in (one.resource, one.operation)
        }
        for file in _files_in(directory):
            name = file.name.removesuffix(".ndjson").replace("-", "_")
            if name not in named:
                raise ConfigurationError(f"{file}: named after no resource or operation that lists")
            self._files[named[name]] = _Items(file)
        if not self._files:
            raise ConfigurationError(f"{directory}: holds no .ndjson file")
        listed: dict[str, Handler] = {operation: self._list for operation, _ in self._files}
        single: dict[str, Handler] = {"getObject": self._get} if "listObjects" in listed else {}
        self.operations: Mapping[str, Handler] = {**listed, **single}

    def _list(self, call: Call) -> Response:
        items = self._files.get((call.operation, call.path.get("path_type", "")))
        if items is None:
            return self._usual[call.operation](call)
        paging = self._lists[call.operation].paging
        scroll = paging.species.promises
        size = whole_number(call, paging.page_size or "limit", default=50)
        places = items.matches(call.query) if scroll else range(len(items.lines))
        begin = _place(call.query.get(next(iter(paging.sends.values()))))
        page = [items.lines[place] for place in places[begin : begin + size]]
        end = begin + len(page)
        answer: dict[str, object] = {paging.items: msgspec.Raw(b"[%b]" % b",".join(page))}
        if scroll:
            answer |= {"hits": {"value": len(places), "relation": "eq"}, "commitId": items.commit}
            if call.query.get("opt.all") == "true":
                answer["queryMore"] = {"from": _cursor(end), "alias": "own"}
        elif end < len(places):
            answer["queryMore"] = _cursor(end)
        return reply(answer)

    def _get(self, call: Call) -> Response:
        items = self._files.get(("listObjects", call.path.get("path_type", "")))
        place = items.by_id.get(call.path["id"]) if items else None
        if items is None or place is None:
            return self._usual[call.operation](call)
        return Response(status=200, headers=_JSON, body=items.lines[place])


def _key(endpoint: Endpoint[Any]) -> tuple[str, str] | None:
    """Which list an endpoint stands for: its operation, and of objects their type."""
    if endpoint.paging is None or endpoint.paging.cursor is None:
        return None
    if endpoint.operation == "listObjects" and "path_type" not in endpoint.bound:
        return None
    return endpoint.operation, endpoint.bound.get("path_type", "")


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(one for one in directory.iterdir() if one.suffix == ".ndjson")
    except OSError as error:
        raise ConfigurationError(f"{directory}: {(error.strerror or 'cannot be read').lower()}") from None


def _lines_of(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from None


_FACTS: Callable[[bytes], _Facts] = msgspec.json.Decoder(_Facts).decode


def _read(line: bytes) -> _Facts:
    try:
        return _FACTS(line)
    except UNDECODABLE:  # it is served all the same, and not found by what it calls an id
        return _Facts()


def _has(line: bytes, tag: str | None, inner: Mapping[str, str]) -> bool:
    try:
        item: dict[str, Any] = msgspec.json.decode(line)
    except UNDECODABLE:  # it is served all the same, and found by nothing that stands in it
        return False
    attributes = as_object(as_object(item.get("data")).get("attributes"))
    tags = [*_listed(item.get("tags")), *_listed(attributes.get("tags__limio"))]
    return (tag is None or tag in tags) and all(
        value in _listed(attributes.get(name.removeprefix("attributes."))) for name, value in inner.items()
    )


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _cursor(place: int) -> str:
    return urlsafe_b64encode(b"own data, from %d" % place).decode()


def _place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(urlsafe_b64decode(cursor).removeprefix(b"own data, from "))
    except (NotBase64, ValueError):
        raise Refused(400, "Invalid queryMore") from None
