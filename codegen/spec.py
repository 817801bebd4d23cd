"""Reading the spec and its overlay; every value knows where it stands, so that a stop can name the spot."""

from __future__ import annotations

import keyword
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec
import yaml

from limio_async.core.wire import Kind

__all__ = [
    "WITHOUT_SAMPLE",
    "CannotGenerate",
    "Cursor",
    "Entry",
    "Hook",
    "Node",
    "Overlay",
    "Override",
    "Time",
    "View",
    "read",
]

SPEC = "openapi/limio.yaml"
OVERLAY = "openapi/overlay.toml"
SCHEMAS = "#/components/schemas/"

Classes: Any = str | tuple[str, ...]
T = TypeVar("T")


class CannotGenerate(Exception):
    """The spec or its overlay holds something that no code can be made of; says where and what."""

    def __init__(self, file: str, path: str, reason: str) -> None:
        super().__init__(f"{file}: {path}: {reason}")


class Node(msgspec.Struct, frozen=True):
    """A value of the spec and where it stands."""

    value: Any
    path: tuple[str, ...]
    root: Any

    def stop(self, reason: str) -> CannotGenerate:
        """The exception that names this place."""
        return CannotGenerate(SPEC, repr(self), reason)

    def __repr__(self) -> str:
        return "/".join(["#", *(step.replace("~", "~0").replace("/", "~1") for step in self.path)])

    def __contains__(self, key: str) -> bool:
        return key in self.mapping

    def __getitem__(self, key: str) -> Node:
        if key not in self.mapping:
            raise self.stop(f"needs {key}")
        return Node(self.mapping[key], (*self.path, key), self.root)

    def get(self, key: str) -> Node:
        """The value under *key*, an empty mapping where there is none."""
        return self[key] if key in self else Node({}, (*self.path, key), self.root)

    def children(self) -> Iterator[tuple[str, Node]]:
        """The members of a mapping, in the order of the file."""
        for key in self.mapping:
            yield str(key), Node(self.mapping[key], (*self.path, str(key)), self.root)

    def elements(self) -> Iterator[Node]:
        """The members of a list, if there are any."""
        for index, value in enumerate(self.value or ()):
            yield Node(value, (*self.path, str(index)), self.root)

    def text(self, key: str) -> str:
        """The text under *key* on one line, empty where there is none."""
        return " ".join(str(self.mapping.get(key, "")).split())

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The value, which must be a mapping."""
        if not isinstance(self.value, dict):
            raise self.stop(f"expected a mapping, found {self.value!r}")
        return cast("dict[str, Any]", self.value)

    @property
    def schema(self) -> str:
        """The name of the schema that `$ref` leads to."""
        name = str(self.mapping["$ref"]).removeprefix(SCHEMAS)
        if name not in self.root["components"]["schemas"]:
            raise self.stop(f"{self.mapping['$ref']} is not a schema")
        return name

    def resolved(self) -> Node:
        """What `$ref` leads to, or the node itself."""
        if "$ref" not in self:
            return self
        found = Node(self.root, (), self.root)
        for step in str(self.mapping["$ref"]).removeprefix("#/").split("/"):
            found = found[step]
        return found

    def schemas(self) -> set[str]:
        """The names of all schemas that the value refers to, at any depth."""
        match self.value:
            case {"$ref": str(ref)} if ref.startswith(SCHEMAS):
                return {self.schema}
            case dict():
                return {name for _, child in self.children() for name in child.schemas()}
            case list():
                return {name for child in self.elements() for name in child.schemas()}
            case _:
                return set()


WITHOUT_SAMPLE = {
    "recorded": "recorded answers, described only",
    "described only": "no sample, only a description",
    "a redirect": "a redirect",
    "none": "neither sample nor description",
}
"""Why there is no sample of an answer: the word in the overlay, and what the documents say."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the overlay."""


class Cursor(_Table, frozen=True, kw_only=True):
    """The fields of `limio_async.core.wire.Paging`."""

    kind: Kind
    items: str = "items"
    hits: str | None = None
    cursor: str | None = None
    sends: dict[str, str] = {}
    always: dict[str, str] = {}
    page_size: str | None = None
    default_page_size: int | None = None
    commit_id: tuple[str, ...] = ()

    @property
    def owned(self) -> list[str]:
        """The parameters that walking fills in."""
        return [*self.sends.values(), *self.always, *([self.page_size] if self.page_size else [])]


class Override(_Table, frozen=True, kw_only=True):
    """What a parameter is called in Python, and what it holds, where the spec alone would mislead."""

    name: str | None = None
    wire: str | None = None
    kind: Literal["string", "integer", "boolean", "datetime", "mapping", "item_path"] | None = None


def check_names(resource: str, name: str) -> None:
    """Raise `ValueError` if a resource or its method cannot be called this."""
    for one in (resource, name):
        if not one.isidentifier() or keyword.iskeyword(one) or one.startswith("_"):
            raise ValueError(f"{one!r} cannot be a name in Python")


class ReadsBack(_Table, frozen=True, kw_only=True):
    """The fields of `limio_async.core.wire.ReadsBack`."""

    operation: str
    args: dict[str, str]
    listed_by: str | None = None
    listed_with: dict[str, str] = {}
    same: tuple[str, ...] = ()


class Entry(_Table, frozen=True, kw_only=True):
    """Where an operation is found, and how it may be sent and walked."""

    resource: str
    name: str
    retry: Literal["safe", "scroll", "idempotent", "once"]
    cursor: str | None = None
    item: str | None = None
    beside: str | None = None
    """The schema of what a page of a list holds beside its items."""
    reads: bool = False
    """Whether it changes nothing although its method is not GET."""
    reads_back: ReadsBack | None = None
    prefers: Literal["key", "bearer", "session"] | None = None
    """The credential that is sent where the client has it."""
    identity: tuple[str, ...] = ()
    """Fields of which a success, of a list each item, has at least one."""
    says: str = ""
    """A word in every success, in lower case."""
    sample: str = "none"
    """The recorded answer or sample that tells so, or a word for why there is none."""
    errata: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.cursor is None) != (self.item is None):
            raise ValueError("a cursor needs an item, and an item a cursor")
        check_names(self.resource, self.name)


class View(_Table, frozen=True, kw_only=True):
    """Operations on any object, offered for one kind of object."""

    path_type: str
    record_type: str
    """What its objects say they are."""
    item: str
    key: str = "object"
    """The rule, of the table `keys`, for what its events have in common."""
    operations: tuple[str, ...]


class Hook(_Table, frozen=True, kw_only=True):
    """The object that a webhook tells of."""

    resource: str
    """The view that has it."""
    inside: str = ""
    """Where it stands in the body, dotted; empty where it is the body."""


class Time(_Table, frozen=True, kw_only=True):
    """The property that reads a field as a time."""

    name: str
    or_in_data: tuple[str, ...] = ()
    """Classes whose `data` may hold it instead."""


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What a spec cannot say."""

    cursors: dict[str, Cursor]
    models: dict[str, tuple[str, ...]]
    params: dict[str, Override]
    operations: dict[str, Entry]
    views: dict[str, View]
    behaviour: dict[str, str | tuple[str, ...]]
    """The class, or classes, that get the mixin of each module in `limio_async/api/behaviour/`."""
    times: dict[str, Time]
    """Fields that hold a date or a time, by the name on the wire, with the class before it where others differ."""
    amounts: dict[str, str]
    """The property that reads each field as a decimal, by the field's name as in `times`."""
    charges: dict[str, tuple[str, ...]]
    """The classes that have `charges()`, by the class of a charge."""
    keys: dict[str, tuple[str, ...]]
    """Rules for what the events of one object have in common: places in a body, dotted."""
    webhooks: dict[str, Hook]

    def stop(self, path: str, reason: str) -> CannotGenerate:
        """The exception that names a place of the overlay."""
        return CannotGenerate(OVERLAY, path, reason)


def read(root: Path) -> tuple[Node, Overlay]:
    """The spec and its overlay, of the repository at *root*."""
    text = (root / SPEC).read_text(encoding="utf-8")
    try:
        spec = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # either is safe
    except yaml.YAMLError as error:
        raise CannotGenerate(SPEC, "YAML", " ".join(str(error).split())) from None
    try:
        tables = tomllib.loads((root / OVERLAY).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CannotGenerate(OVERLAY, "TOML", str(error)) from None
    if unknown := sorted(set(tables) - set(Overlay.__struct_fields__)):
        raise CannotGenerate(OVERLAY, unknown[0], "unknown table")
    return Node(spec, (), spec), Overlay(
        cursors=_entries(tables, "cursors", Cursor),
        models=_entries(tables, "models", tuple[str, ...]),
        params=_entries(tables, "params", Override),
        operations=_entries(tables, "operations", Entry),
        views=_entries(tables, "views", View),
        behaviour=_entries(tables, "behaviour", Classes),
        times=_entries(tables, "times", Time),
        amounts=_entries(tables, "amounts", str),
        charges=_entries(tables, "charges", tuple[str, ...]),
        keys=_entries(tables, "keys", tuple[str, ...]),
        webhooks=_entries(tables, "webhooks", Hook),
    )


def _entries(tables: Mapping[str, Any], table: str, kind: type[T]) -> dict[str, T]:
    entries: dict[str, T] = {}
    for key, value in tables.get(table, {}).items():
        try:
            entries[key] = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise CannotGenerate(OVERLAY, f"{table}.{key}", str(error)) from error
    return entries
