"""Lists of your own: what was exported or recorded from a tenant is served as it was, item for item and byte for byte."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, ListEndpoint, Response
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import as_object
from limio_async.envelope import changed_at, moment, tags_of
from limio_async.errors import ConfigurationError

__all__ = ["OwnData"]

_JSON = {"content-type": "application/json"}
_FILTERS = {"id", "path", "tags", "opt.modifiedAfter"}
_SUFFIXES = (".json", ".ndjson")
_PAGED = {"hits", "queryMore"}  # of a recorded answer: what every page tells anew
_SHOWN = 3


class _Facts(msgspec.Struct):
    """What an item can be found by."""

    id: str | int | None = None
    path: str | None = None


class _Items:
    """The items of one file, and what a recorded answer has beside them."""

    def __init__(self, file: Path, name: str) -> None:
        self.lines: list[bytes] = []
        self.facts: list[_Facts] = []
        self.by_id: dict[str, int] = {}
        self.beside: dict[str, object] = {}
        if file.suffix == ".json":
            self._read_answer(file, name)
        else:
            for number, line in enumerate(_content_of(file).splitlines(), 1):
                if line.strip():
                    self._add(line, f"{file}:{number}")
        self.beside = {"commitId": fingerprint(*self.by_id, len(self.lines), length=40), **self.beside}

    def told(self) -> str:
        """How many items there are, and which ids come more than once."""
        ids = Counter(str(facts.id) for facts in self.facts if facts.id is not None)
        repeated = [one for one, times in ids.items() if times > 1]
        number = f"{len(self.lines):,} item{'' if len(self.lines) == 1 else 's'}"
        if not repeated:
            return number
        shown = ", ".join(repeated[:_SHOWN]) + (", …" if len(repeated) > _SHOWN else "")
        count = f"{len(repeated):,} id{' comes' if len(repeated) == 1 else 's come'} more than once"
        return f"{number}; {count}: {shown}"

    @cached_property
    def marks(self) -> list[tuple[datetime | None, list[str]]]:
        """When each item was changed, and its tags; looked for when a filter first asks."""
        return [(changed_at(item), tags_of(item)) for item in map(_decoded, self.lines)]

    def _read_answer(self, file: Path, name: str) -> None:
        try:
            answer = msgspec.json.decode(_content_of(file), type=dict[str, msgspec.Raw])
            items = msgspec.json.decode(answer.pop(name), type=list[msgspec.Raw])
        except KeyError:
            raise ConfigurationError(f"{file}: no recorded answer: it has no {name}") from None
        except UNDECODABLE as error:
            raise ConfigurationError(f"{file}: no recorded answer: {error}") from None
        for number, item in enumerate(items, 1):
            self._add(bytes(item), f"{file}: item {number}")
        self.beside = {key: value for key, value in answer.items() if key not in _PAGED}

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
        after, tag = _after(query), query.get("tags")
        return [
            place
            for place, facts in enumerate(self.facts)
            if all(str(getattr(facts, name)) == value for name, value in exact.items())
            and (after is None or (changed := self.marks[place][0]) is None or changed > after)
            and (tag is None or not (tags := self.marks[place][1]) or tag in tags)
            and (not inner or _has_attributes(self.lines[place], inner))
        ]


class OwnData:
    """A directory of files, each named after a resource (`offers.ndjson`) or an operation.

    An `.ndjson` file has an item in each line, a `.json` file is a recorded answer: `{"items": [...], ...}`.
    A filter leaves out what tells otherwise; an item that tells no time passes `opt.modifiedAfter`, one without tags `tags`.
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
        self.told: list[str] = []
        """One line a file: its items, and which ids it repeats."""
        for file in _files_in(directory):
            name = file.name.removesuffix(file.suffix).replace("-", "_")
            if name not in named:
                raise ConfigurationError(f"{file}: named after no resource or operation that lists")
            key = named[name]
            if key in self._files:
                raise ConfigurationError(f"{file}: another file holds this list already")
            self._files[key] = _Items(file, self._lists[key[0]].paging.items)
            self.told.append(f"{file}: {self._files[key].told()}")
        if not self._files:
            raise ConfigurationError(f"{directory}: holds no .ndjson or .json file")
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
            answer |= {"hits": {"value": len(places), "relation": "eq"}, **items.beside}
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
    species = endpoint.paging.species if endpoint.paging else None
    if species is None or not (species.advances or species.durable):  # one answer holds all of it
        return None
    if endpoint.operation == "listObjects" and "path_type" not in endpoint.bound:
        return None
    return endpoint.operation, endpoint.bound.get("path_type", "")


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(one for one in directory.iterdir() if one.suffix in _SUFFIXES)
    except OSError as error:
        raise ConfigurationError(f"{directory}: {(error.strerror or 'cannot be read').lower()}") from None


def _content_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from None


_FACTS: Callable[[bytes], _Facts] = msgspec.json.Decoder(_Facts).decode


def _read(line: bytes) -> _Facts:
    try:
        return _FACTS(line)
    except UNDECODABLE:  # it is served all the same, and not found by what it calls an id
        return _Facts()


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        item: dict[str, Any] = msgspec.json.decode(line)
    except UNDECODABLE:  # it is served all the same, and tells nothing
        return {}
    return item


def _after(query: Mapping[str, str]) -> datetime | None:
    given = query.get("opt.modifiedAfter")
    if given is not None and moment(given) is None:
        raise Refused(400, "opt.modifiedAfter must be an ISO date or date-time")
    return moment(given)


def _has_attributes(line: bytes, inner: Mapping[str, str]) -> bool:
    attributes = as_object(as_object(_decoded(line).get("data")).get("attributes"))
    return all(
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
