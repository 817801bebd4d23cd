"""What items hold that the models do not know, counted. Pure.

Every JSON object is looked up by its shape (its names and the types of their values); what a shape means is
worked out once, so that an item of a known shape costs a few lookups.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from types import NoneType
from typing import Any, Literal

import msgspec
from msgspec import inspect

__all__ = ["Drift", "Finding", "Kind", "carried"]

_VERSION = 1  # another one for what is found, or named, otherwise: each item is looked through once more
_MOST_NAMES = 100
_MOST_VALUES = 50
_MOST_FINDINGS = 1_000
_MOST_SHAPES = 4_096

_KINDS: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    list: "array",
    dict: "object",
}
_NAME = re.compile(r"(?!.*\d{4})[A-Za-z_$][\w$-]{0,63}", re.ASCII)
_TOKEN = re.compile(r"(?!.*\d{4})[A-Za-z][\w-]{0,31}", re.ASCII)
_STATUSES = re.compile(r"Known status values:\s+([\w-]+(?:,\s+[\w-]+)*)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")

_FLOAT = inspect.FloatType()
_SURE = (inspect.AnyType(), inspect.StrType(), inspect.IntType(), inspect.BoolType(), inspect.NoneType())

Kind = Literal["field", "type", "value"]
"""`field`: a name that the model does not have; `type`: not of the type it says; `value`: none of those documented."""

_See = Callable[[Any], None]
_Key = tuple[str, str, Kind, str]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that items hold and a model does not know. Holds no values, except words such as `paused`."""

    model: str
    """The class that would have to change."""
    path: str
    """Where it stands in an item: `$.data.price[].value`; `{}` stands for any name."""
    kind: Kind
    found: str
    """The JSON type, of a field or where another one is expected; the value that is none of the known."""
    count: int
    """How often it was seen; more than once in an item, if it is there more than once.

    Carried over from run to run, it counts each version of an item that was looked through, and goes on counting what
    has changed or gone since: of the items that there are, it is the most that can have it.
    """
    example: str = ""
    """What the first one looked like."""


class _Count:
    """How often one thing was found."""

    __slots__ = ("example", "seen")

    def __init__(self, example: str, seen: int = 0) -> None:
        self.example = example
        self.seen = seen


class _Shape:
    """What objects of one shape have that the model does not know, where to look further, and how many were seen."""

    __slots__ = ("below", "fits", "found", "seen")

    def __init__(self) -> None:
        self.found: list[_Count] = []
        self.below: list[tuple[str, _See]] = []
        self.fits = True
        self.seen = 0

    def settle(self, seen: int) -> None:
        """Add to the counts."""
        for count in self.found:
            count.seen += seen


class _Place(msgspec.Struct, frozen=True):
    """A spot that items have: whose field it is, its path, and the type that the model says."""

    model: str
    path: str
    type: inspect.Type

    def named(self, model: str, name: str, type: inspect.Type) -> _Place:
        return _Place(model, f"{self.path}.{name}", type)

    def inside(self, mark: str, type: inspect.Type) -> _Place:
        return _Place(self.model, self.path + mark, type)


class _Known(msgspec.Struct, frozen=True):
    """What there is to know of a model."""

    type: inspect.Type
    is_plain: bool
    told: msgspec.Raw
    """All that drift depends on, as JSON."""


@lru_cache(maxsize=64)  # it takes some milliseconds, for each stream of each run
def _known(model: Hashable) -> _Known:
    kind = inspect.type_info(model)
    return _Known(kind, _is_plain(kind), msgspec.Raw(msgspec.json.encode(_told_of(kind, set()))))


class Drift:
    """Counts what items hold beyond *model*: names, types, and values of fields whose values are documented.

    Bounded: of more than 100 unknown names in an object, 50 unknown values of a field or 1,000 findings, the
    rest is counted together, as `{}` and `(other values)` and `(other findings)`. So are names and values that
    might be somebody's or something's own.
    """

    def __init__(self, model: Any) -> None:
        self._counts = _Counts(getattr(model, "__name__", str(model)))
        self._model = _known(model)
        self._see = _fitting(_Place(self._counts.model, "$", self._model.type), self._counts)

    @property
    def digest(self) -> str:
        """A short text that is another one where *model*, or what counts as drift, is another one.

        Findings can be carried over while it stays: then only items that are new or have changed need to be seen.
        """
        limits = (_VERSION, _MOST_NAMES, _MOST_VALUES, _MOST_FINDINGS, _NAME.pattern, _TOKEN.pattern)
        told = msgspec.json.encode((limits, self._model.told))
        return blake2b(told, digest_size=8).hexdigest()

    def see(self, item: Any) -> bool:
        """Count what is in a decoded item; return whether it is surely one that the model takes."""
        counts = self._counts
        counts.fits = self._model.is_plain
        self._see(item)
        return counts.fits

    def findings(self) -> list[Finding]:
        """What was found, those loaded included, by model and path."""
        return self._counts.findings()

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count on from rows of findings, before anything is seen: of a run that is resumed, or of earlier ones with the same `digest`."""
        self._counts.load(rows)


def carried(rows: Iterable[Mapping[str, Any]], *, run: str, same: bool) -> list[Mapping[str, Any]]:
    """Return the rows of a stream's findings that *run* counts on from: its own, where it is resumed, else those of the last run.

    The last run's only where its `digest` was the *same*. Runs are named by when they began.
    """
    noted = list(rows)
    names = {row["run"] for row in noted}
    last = run if run in names or not same else max(names, default=run)
    return [row for row in noted if row["run"] == last]


class _Counts:
    """All that was found, and no more of it than there is room for."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._found: dict[_Key, _Count] = {}
        self._distinct: Counter[tuple[str, str]] = Counter()
        self._shapes: list[_Shape] = []
        self.fits = True
        """Whether what was seen of an item is what its model says."""

    def field(self, above: str, model: str, name: str, value: Any) -> _Count:
        key: _Key = (model, f"{above}.{name}", "field", _kind(value))
        named = _NAME.fullmatch(name) and (key in self._found or self._distinct["field", above] < _MOST_NAMES)
        return self._at(key if named else (model, f"{above}.{{}}", "field", key[3]), value)

    def type(self, place: _Place, value: Any) -> _Count:
        self.fits = False
        return self._at((place.model, place.path, "type", _kind(value)), value)

    def value(self, place: _Place, value: str) -> _Count:
        key: _Key = (place.model, place.path, "value", value)
        room = key in self._found or self._distinct["value", place.path] < _MOST_VALUES
        named = _TOKEN.fullmatch(value) and room
        return self._at(key if named else (place.model, place.path, "value", "(other values)"), value)

    def keep(self, shape: _Shape) -> bool:
        """Count what has this shape by how often it is seen; False where no more shapes can be kept."""
        if len(self._shapes) >= _MOST_SHAPES:
            return False
        self._shapes.append(shape)
        return True

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._put(
                (row["model"], row["path"], row["kind"], row["found"]),
                _Count(row["example"] or "", int(row["count"])),
            )

    def findings(self) -> list[Finding]:
        for shape in self._shapes:
            seen, shape.seen = shape.seen, 0
            shape.settle(seen)
        return [
            Finding(model=model, path=path, kind=kind, found=found, count=count.seen, example=count.example)
            for (model, path, kind, found), count in sorted(self._found.items())
        ]

    def _at(self, key: _Key, value: Any) -> _Count:
        if key not in self._found and len(self._found) >= _MOST_FINDINGS:
            key = (self.model, "$", key[2], "(other findings)")
        found = self._found.get(key)
        return self._put(key, _Count(_looks(value))) if found is None else found

    def _put(self, key: _Key, count: _Count) -> _Count:
        self._found[key] = count
        _, path, kind, _ = key
        self._distinct[kind, path.rpartition(".")[0] if kind == "field" else path] += 1
        return count


def _is_plain(kind: inspect.Type) -> bool:
    """Whether a decoded value is surely of a type if all in it are of the Python types that `_fits` tells, and no known
    word or required field is missing."""
    held: set[type] = set()

    def sure(one: inspect.Type) -> bool:
        match one:
            case inspect.UnionType(types):
                kinds = {type(each) for each in types}
                has_float_alone = inspect.FloatType in kinds and inspect.IntType not in kinds
                return not has_float_alone and all(each == _FLOAT or sure(each) for each in types)
            case inspect.StructType(cls=cls, fields=fields):
                if cls in held:
                    return True
                held.add(cls)
                odd = one.tag is not None or one.array_like or one.forbid_unknown_fields
                return not (odd or hasattr(cls, "__post_init__")) and all(sure(each.type) for each in fields)
            case inspect.ListType(item_type=inner):
                return one == inspect.ListType(inner) and sure(inner)
            case inspect.DictType(value_type=inner):
                return one == inspect.DictType(inspect.StrType(), inner) and sure(inner)
            case inspect.LiteralType(values):
                return all(isinstance(value, str) for value in values)
            case _:
                return one in _SURE

    return sure(kind)


def _told_of(kind: inspect.Type, models: set[type]) -> Any:
    """All of a type that drift depends on, as JSON. *models* were told before."""
    match kind:
        case inspect.UnionType(types):
            return [_told_of(one, models) for one in types]
        case inspect.ListType(item_type=held):
            return {"list": _told_of(held, models)}
        case inspect.DictType(value_type=held):
            return {"dict": _told_of(held, models)}
        case inspect.LiteralType(values):
            return {"words": sorted(map(str, values))}
        case inspect.StructType(cls=model):
            if model in models:
                return {"model": model.__name__}
            models.add(model)
            return {
                "model": model.__name__,
                "statuses": sorted(_known_statuses(model)),
                "fields": {
                    one.encode_name: (one.required, _told_of(one.type, models)) for one in kind.fields
                },
            }
        case _:
            return type(kind).__name__


# --- what sees a value of a type


def _fitting(place: _Place, counts: _Counts) -> _See:
    """What sees values at a place, whatever they are."""
    fits, deeper = _fits(place.type), _deeper(place, counts)

    def see(value: Any) -> None:
        kind = value.__class__
        if kind in deeper:
            deeper[kind](value)
        elif fits is not None and kind not in fits:
            counts.type(place, value).seen += 1

    return see


def _fits(expected: inspect.Type) -> frozenset[type] | None:
    """The Python types that a decoded value may have; None where all may."""
    match expected:
        case inspect.UnionType(types):
            members = [_fits(one) for one in types]
            return None if None in members else frozenset[type]().union(*(one for one in members if one))
        case inspect.StrType() | inspect.LiteralType():
            return frozenset({str})
        case inspect.IntType():
            return frozenset({int})
        case inspect.FloatType():
            return frozenset({float, int})
        case inspect.BoolType():
            return frozenset({bool})
        case inspect.NoneType():
            return frozenset({NoneType})
        case inspect.ListType():
            return frozenset({list})
        case inspect.StructType() | inspect.DictType():
            return frozenset({dict})
        case _:
            return None


def _deeper(place: _Place, counts: _Counts) -> dict[type, _See]:
    """What looks into values of a type, for the types that there is something to look into."""
    members = place.type.types if isinstance(place.type, inspect.UnionType) else (place.type,)
    found: dict[type, _See] = {}
    for member in members:
        match member:
            case inspect.StructType():
                found[dict] = _Object(place, member, counts).see
            case inspect.DictType(value_type=held) if _fits(held) is not None:
                found[dict] = _values(place.inside("{}", held), counts)
            case inspect.ListType(item_type=held) if _fits(held) is not None:
                found[list] = _elements(place.inside("[]", held), counts)
            case inspect.LiteralType(values):
                found[str] = _words(place, frozenset(map(str, values)), counts, are_all=True)
            case _:
                pass
    return found


def _elements(place: _Place, counts: _Counts) -> _See:
    fits, deeper, fitting = _fits(place.type) or frozenset(), _deeper(place, counts), _fitting(place, counts)
    sees = deeper.get

    def see(values: list[Any]) -> None:
        if not values:
            return
        if deeper or not fits.issuperset(map(type, values)):
            for value in values:
                sees(value.__class__, fitting)(value)

    return see


def _values(place: _Place, counts: _Counts) -> _See:
    elements = _elements(place, counts)

    def see(values: dict[str, Any]) -> None:
        elements(list(values.values()))

    return see


def _words(place: _Place, known: frozenset[str], counts: _Counts, *, are_all: bool = False) -> _See:
    def see(value: str) -> None:
        if value not in known:
            counts.value(place, value).seen += 1
            if are_all:
                counts.fits = False

    return see


class _Object:
    """Sees the objects at one place."""

    def __init__(self, place: _Place, model: inspect.StructType, counts: _Counts) -> None:
        self._place = place
        self._name = model.cls.__name__
        self._fields = {field.encode_name: field.type for field in model.fields}
        self._statuses = _known_statuses(model.cls)
        self._counts = counts
        self._below: dict[tuple[str, type[Any]], _See | None] = {}
        self._required = {field.encode_name for field in model.fields if field.required}
        self._shapes: dict[tuple[Any, ...], _Shape] = {}

    def see(self, item: dict[str, Any]) -> None:
        key = (*item, *map(type, item.values()))
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shape(item)
            if self._counts.keep(shape):
                self._shapes[key] = shape
            else:
                shape.settle(1)
        shape.seen += 1
        if not shape.fits:
            self._counts.fits = False
        for name, look in shape.below:
            look(item[name])

    def _shape(self, item: dict[str, Any]) -> _Shape:
        shape = _Shape()
        shape.fits = self._required <= item.keys()
        for name, value in item.items():
            expected = self._fields.get(name)
            if expected is None:
                shape.found.append(self._counts.field(self._place.path, self._name, name, value))
                continue
            place = self._place.named(self._name, name, expected)
            fits = _fits(expected)
            if fits is not None and type(value) not in fits:
                shape.found.append(self._counts.type(place, value))
                shape.fits = False
            elif see := self._looking(place, name, value.__class__):
                shape.below.append((name, see))
        return shape

    def _looking(self, place: _Place, name: str, kind: type[Any]) -> _See | None:
        if (name, kind) not in self._below:  # made when needed: models may hold themselves
            if name == "status" and kind is str and self._statuses:
                self._below[name, kind] = _words(place, self._statuses, self._counts)
            else:
                self._below[name, kind] = _deeper(place, self._counts).get(kind)
        return self._below[name, kind]


def _known_statuses(model: type) -> frozenset[str]:
    """The values that a model's docstring tells of its status; empty where it tells none."""
    match = _STATUSES.search(model.__doc__ or "")
    return frozenset(re.split(r",\s+", match[1])) if match else frozenset()


def _kind(value: Any) -> str:
    kind = value.__class__
    return _KINDS.get(kind, kind.__name__)


def _looks(value: Any) -> str:
    """What a value looks like, without what it says."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case "":
            return "an empty string"
        case str() if _DATE.match(value):
            return "a date" if len(value) == 10 else "a date and time"
        case str():
            return f"a string of {_counted(len(value), 'character')}" + (
                ", all digits" if value.isdecimal() else ""
            )
        case _ if _kind(value) == "array":
            return f"a list of {len(value):,}"
        case _:
            return f"an object of {_counted(len(value), 'member')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
