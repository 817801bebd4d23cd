"""Deciding which Python types the schemas become. Pure."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import msgspec

from codegen.spec import Node, Overlay, Time

__all__ = [
    "Alias",
    "Choice",
    "Constant",
    "Derived",
    "Either",
    "Field",
    "Keyed",
    "Many",
    "Model",
    "ModelModule",
    "Models",
    "Plain",
    "Record",
    "Type",
    "either",
    "may_be_list",
    "models_in",
    "python_name",
    "type_of",
]

_NOTES = {"default", "deprecated", "description", "example", "examples", "format", "title"}
_LIMITS = {
    "maximum", "maxItems", "maxLength", "minimum", "minItems", "minLength", "not", "pattern", "uniqueItems",
}  # fmt: skip
_SHAPES = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "discriminator", "enum", "items", "oneOf",
    "properties", "required", "type",
}  # fmt: skip
_TAKEN = {
    "bool", "datetime", "dict", "field", "float", "int", "list", "property", "str", "to_dict", "to_json",
}  # fmt: skip  # words the class itself is written with, and what every model has


class _Value(msgspec.Struct, frozen=True):
    """A type, or a part of one."""


class Plain(_Value, frozen=True):
    """A type that is one word of Python."""

    name: str


class Choice(_Value, frozen=True):
    """One of these strings, or one not known yet."""

    values: tuple[str, ...]


class Constant(_Value, frozen=True):
    """This string."""

    value: str


class Many(_Value, frozen=True):
    """A list."""

    of: Type


class Keyed(_Value, frozen=True):
    """A dict with string keys."""

    of: Type


class Model(_Value, frozen=True):
    """A class or alias of `limio_async.api.models`."""

    name: str


class Either(_Value, frozen=True):
    """A union of other types."""

    members: tuple[Type, ...]


Type = Plain | Choice | Constant | Many | Keyed | Model | Either

ANY, STR, INT, FLOAT, BOOL = (Plain(name) for name in ("Any", "str", "int", "float", "bool"))
NONE, UNSET = Plain("None"), Plain("UnsetType")


class Field(_Value, frozen=True):
    """A field of a class; *default* is Python, empty where one must be given, *narrows* where the base has one."""

    name: str
    wire: str
    type: Type
    default: str
    doc: str
    narrows: bool = False
    secret: bool = False


class Derived(_Value, frozen=True):
    """What a class reads from its fields: a property of one of them, or the charges of an offer."""

    name: str
    of: str
    """The field, or the class of a charge."""
    kind: Literal["time", "time or in data", "amount", "charges"]


class Record(_Value, frozen=True):
    """A class; *sent* where it is part of a request."""

    name: str
    base: str | None
    doc: str
    fields: tuple[Field, ...]
    sent: bool
    derived: tuple[Derived, ...] = ()

    @property
    def names(self) -> list[str]:
        """What it defines."""
        return [*(one.name for one in self.fields), *(one.name for one in self.derived)]


class Alias(_Value, frozen=True):
    """Another name for a type; *mapping* tells the members of a union apart, by the field *told_by*."""

    name: str
    type: Type
    doc: str
    mapping: Mapping[str, str]
    told_by: str


class ModelModule(_Value, frozen=True):
    """A module of `limio_async/api/models/`."""

    name: str
    definitions: tuple[Record | Alias, ...]


def python_name(wire: str) -> str:
    """The name in Python of something on the wire: `queryMore` → `query_more`, `$ref` → `ref`, `from` → `from_`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", wire)
    name = re.sub(r"\W", "_", words).strip("_").lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def either(types: Iterable[Type]) -> Type:
    """The union of *types*: flat, each once, unset and null last, any value swallowing the rest."""
    members: dict[Type, None] = {}
    for one in types:
        members.update(dict.fromkeys(one.members if isinstance(one, Either) else (one,)))
    if ANY in members:
        return ANY
    ordered = sorted(members, key=lambda one: (one == UNSET) + 2 * (one == NONE))
    return ordered[0] if len(ordered) == 1 else Either(tuple(ordered))


def models_in(kind: Type) -> set[str]:
    """The names of the models that a type is made of."""
    match kind:
        case Model(name):
            return {name}
        case Many(of) | Keyed(of):
            return models_in(of)
        case Either(members):
            return {name for member in members for name in models_in(member)}
        case _:
            return set()


def may_be_list(kind: Type) -> bool:
    """Whether a value of a type may be a list."""
    return any(isinstance(one, Many) for one in (kind.members if isinstance(kind, Either) else (kind,)))


def type_of(schema: Node) -> Type:
    """The type of a schema that has no name of its own."""
    check_keywords(schema)
    for key, company in (("$ref", set[str]()), ("anyOf", {"discriminator"}), ("oneOf", {"discriminator"})):
        if key in schema and "properties" not in schema:
            _check_alone(schema, {key, *company})
    match schema.value:
        case {"$ref": _}:
            return Model(schema.schema)
        case {"allOf": _} | {"properties": _}:
            raise schema.stop("unsupported: an object without a name; move it to components/schemas")
        case {"anyOf": _} | {"oneOf": _}:
            return either(type_of(member) for member in _members(schema))
        case {"const": str(value)}:
            return Choice((value,))
        case {"type": list()}:
            return either(_type_of_kind(str(kind.value), schema) for kind in schema["type"].elements())
        case {"type": str(kind)}:
            return _type_of_kind(kind, schema)
        case _:
            return _any_value(schema)


def check_keywords(schema: Node) -> None:
    """Stop at a keyword whose meaning would be lost."""
    for key in schema.mapping:
        if key not in _NOTES | _LIMITS | _SHAPES and not str(key).startswith("x-"):
            raise schema.stop(f"unsupported: {key}")


def _check_alone(schema: Node, meant: set[str]) -> None:
    """Stop where a keyword besides those in *meant* would be lost."""
    if others := sorted(set(schema.mapping) & _SHAPES - meant):
        raise schema.stop(f"unsupported: {others[0]} next to {min(meant & set(schema.mapping))}")


def _type_of_kind(kind: str, schema: Node) -> Type:
    match kind:
        case "string":
            return _strings(schema["enum"]) if "enum" in schema else STR
        case "integer" | "number" | "boolean" | "null" if "enum" in schema:
            raise schema.stop(f"unsupported: enum of {kind}")
        case "integer":
            return INT
        case "number":
            return Either((INT, FLOAT))
        case "boolean":
            return BOOL
        case "null":
            return NONE
        case "array":
            if "items" not in schema:
                raise schema.stop("unsupported: array without items; `items: {}` if they can be anything")
            return Many(type_of(schema["items"]))
        case "object":
            return _mapping(schema)
        case _:
            raise schema.stop(f"unsupported: type {kind}")


def _strings(enum: Node) -> Choice:
    for value in enum.value:
        if not isinstance(value, str):
            raise enum.stop(f"unsupported: {value!r} among strings")
    return Choice(tuple(enum.value))


def _mapping(schema: Node) -> Keyed:
    extra = schema.mapping.get("additionalProperties", True)
    if extra is False:
        raise schema.stop("unsupported: an object that can hold nothing")
    return Keyed(ANY if extra is True else type_of(schema["additionalProperties"]))


def _any_value(schema: Node) -> Plain:
    if set(schema.mapping) & (_SHAPES | _LIMITS):
        raise schema.stop("unsupported: no type")
    if schema.path[-1] != "items" and "description" not in schema:
        raise schema.stop("unsupported: no type; if it can be anything, say so in its description")
    return ANY


def _members(schema: Node) -> Iterator[Node]:
    return schema["oneOf" if "oneOf" in schema else "anyOf"].elements()


class Models:
    """The classes and aliases of all schemas that requests or answers use."""

    def __init__(self, schemas: Node, overlay: Overlay, requested: set[str], answered: set[str]) -> None:
        self._schemas = schemas
        self._overlay = overlay
        self._requested = self.reachable(requested)
        self._answered = self.reachable(answered)
        self._read: set[str] = set()
        self.module_of = self._places()

    def reachable(self, names: Iterable[str]) -> set[str]:
        """*names* and every schema that they lead to."""
        seen: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self._schemas[name].schemas()
        return seen

    def modules(self) -> tuple[ModelModule, ...]:
        """Every module, its definitions in the overlay's order but each after what it is made of."""
        self._check_cycles()
        found = tuple(
            ModelModule(module, tuple(self._definition(name) for name in self._ordered(used)))
            for module, names in sorted(self._overlay.models.items())
            if (used := [name for name in names if name in self.module_of])
        )
        self._check_derived(
            [one for module in found for one in module.definitions if isinstance(one, Record)]
        )
        return found

    def check_decodable(self, kind: Type, at: Node) -> None:
        """Stop at a union whose members JSON cannot tell apart."""
        match kind:
            case Either(members):
                shapes = [shape for member in members for shape in self._shapes(member)]
                for shape in ("object", "array"):
                    if shapes.count(shape) > 1:
                        raise at.stop(f"unsupported: a union of several {shape}s without discriminator")
                for member in members:
                    self.check_decodable(member, at)
            case Many(of) | Keyed(of):
                self.check_decodable(of, at)
            case Model(name) if self._shapes(kind).count("object") > 1:
                raise at.stop(f"unsupported: {name} is a union of objects; only a request body can be one")
            case _:
                pass

    def body(self, schema: Node) -> Type:
        """The type of a request body, which may be a union with a discriminator."""
        kind = type_of(schema)
        if not isinstance(kind, Model):
            self.check_decodable(kind, schema)
        return kind

    def answer(self, schema: Node) -> Type:
        """The type of an answer."""
        kind = type_of(schema)
        self.check_decodable(kind, schema)
        return kind

    def properties(self, name: str) -> dict[str, Node]:
        """All properties of a class, those of its bases first."""
        base = self._base(name)
        inherited = self.properties(base) if base else {}
        return inherited | {
            wire: node for part in self._parts(name) for wire, node in part.get("properties").children()
        }

    def _places(self) -> dict[str, str]:
        places: dict[str, str] = {}
        for module, names in self._overlay.models.items():
            for name in names:
                if name not in self._schemas:
                    raise self._overlay.stop(f"models.{module}", f"{name} is not a schema of the spec")
                if name in places:
                    raise self._overlay.stop(f"models.{module}", f"{name} is in {places[name]} too")
                places[name] = module
        used = self._requested | self._answered
        for name in sorted(used - set(places)):
            raise self._schemas[name].stop("is in no module of the overlay's [models]")
        return {name: module for name, module in places.items() if name in used}

    def _check_cycles(self) -> None:
        needs: dict[str, set[str]] = {module: set() for module in self.module_of.values()}
        for name, module in self.module_of.items():
            needs[module] |= {self.module_of[other] for other in self._schemas[name].schemas()} - {module}
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise self._overlay.stop("models", f"modules import each other: {circle}") from None

    def _ordered(self, names: list[str]) -> list[str]:
        ordered: dict[str, None] = {}

        def place(name: str) -> None:
            for needed in self._made_of(name):
                if needed in names and needed not in ordered:
                    place(needed)
            ordered[name] = None

        for name in names:
            place(name)
        return list(ordered)

    def _made_of(self, name: str) -> list[str]:
        if self._is_class(name):
            base = self._base(name)
            return [base] if base else []
        return sorted(self._schemas[name].schemas())

    def _is_class(self, name: str) -> bool:
        return "properties" in self._schemas[name] or "allOf" in self._schemas[name]

    def _base(self, name: str) -> str | None:
        bases = [part for part in self._schemas[name].get("allOf").elements() if "$ref" in part]
        if len(bases) > 1:
            raise bases[1].stop("unsupported: allOf over two schemas")
        if bases and not self._is_class(bases[0].schema):
            raise bases[0].stop(f"unsupported: allOf over {bases[0].schema}, which is not a class")
        return bases[0].schema if bases else None

    def _parts(self, name: str) -> list[Node]:
        schema = self._schemas[name]
        if "allOf" not in schema:
            return [schema]
        return [part for part in schema["allOf"].elements() if "$ref" not in part]

    def _shapes(self, kind: Type) -> list[str]:
        match kind:
            case Model(name) if self._is_class(name):
                return ["object"]
            case Model(name):
                return self._shapes(type_of(self._schemas[name]))
            case Either(members):
                return [shape for member in members for shape in self._shapes(member)]
            case Keyed():
                return ["object"]
            case Many():
                return ["array"]
            case _:
                return []

    def _definition(self, name: str) -> Record | Alias:
        schema = self._schemas[name]
        check_keywords(schema)
        if "allOf" in schema:
            _check_alone(schema, {"allOf", "type"})
        if "description" not in schema:
            raise schema.stop("needs a description, which becomes its docstring")
        return self._record(name) if self._is_class(name) else self._alias(name)

    def _alias(self, name: str) -> Alias:
        schema = self._schemas[name]
        kind = type_of(schema)
        mapping = self._mapping_of(schema)
        if not mapping:
            self.check_decodable(kind, schema)
        elif set(mapping.values()) != models_in(kind):
            raise schema["discriminator"].stop("its mapping must lead to every member, and no other")
        told_by = schema.get("discriminator").text("propertyName")
        if mapping and not told_by:
            raise schema["discriminator"].stop("needs propertyName")
        return Alias(name, kind, schema.text("description"), mapping, told_by)

    def _mapping_of(self, schema: Node) -> dict[str, str]:
        targets = schema.get("discriminator").get("mapping")
        return {
            value: Node({"$ref": ref.value}, ref.path, ref.root).schema for value, ref in targets.children()
        }

    def _record(self, name: str) -> Record:
        base = self._base(name)
        inherited = self._fields(base) if base else {}
        own: list[Field] = []
        for wire, field in self._fields(name).items():
            before = inherited.get(wire)
            if before and (before.type, before.default) == (field.type, field.default):
                continue
            if before and not self._narrows(field.type, before.type):
                raise self.properties(name)[wire].stop(f"unsupported: does not fit {wire} of {base}")
            narrows = before is not None and bool(before.default) and not field.default
            own.append(msgspec.structs.replace(field, narrows=narrows))
        doc = self._schemas[name].text("description")
        return Record(name, base, doc, tuple(own), name in self._requested, tuple(self._derived(name, own)))

    def _derived(self, name: str, own: Iterable[Field]) -> Iterator[Derived]:
        """What the class *name* reads from the fields that are its *own*."""
        overlay = self._overlay
        for field in own:
            for table in ("times", "amounts"):
                entries: Mapping[str, Time | str] = getattr(overlay, table)
                key = next((key for key in (f"{name}.{field.wire}", field.wire) if key in entries), None)
                if key is None or field.type == ANY:
                    continue
                self._read.add(f"{table}.{key}")
                members = set(field.type.members if isinstance(field.type, Either) else (field.type,))
                if members - {STR, NONE, UNSET, *((INT, FLOAT) if table == "amounts" else ())}:
                    raise overlay.stop(f"{table}.{key}", f"{name}.{field.wire} cannot be read so")
                match entries[key]:
                    case Time(name=called, or_in_data=classes):
                        yield Derived(called, field.name, "time or in data" if name in classes else "time")
                    case str(called):
                        yield Derived(called, field.name, "amount")
        yield from (
            Derived("charges", of, "charges") for of, names in overlay.charges.items() if name in names
        )

    def _check_derived(self, records: Iterable[Record]) -> None:
        """Stop at a property that hides a field, and at an entry of the overlay that reads nothing."""
        known = {one.name: one for one in records}
        for table in ("times", "amounts"):
            for key in getattr(self._overlay, table):
                if f"{table}.{key}" not in self._read:
                    raise self._overlay.stop(f"{table}.{key}", "no class has such a field")
        for of, names in self._overlay.charges.items():
            if unknown := sorted({of, *names} - set(known)):
                raise self._overlay.stop(f"charges.{of}", f"there is no class {unknown[0]}")
        for one in known.values():
            fields = {field.name for field in self._fields(one.name).values()}
            base: str | None = one.name
            names_: list[str] = []
            while base:
                names_ += [derived.name for derived in known[base].derived]
                base = known[base].base
            for called in names_:
                if called in fields or not called.isidentifier() or names_.count(called) > 1:
                    raise self._schemas[one.name].stop(
                        f"{called} cannot be a property too: the name is taken"
                    )

    def _fields(self, name: str) -> dict[str, Field]:
        """Every field of a class by its name on the wire, inherited ones as this class sees them."""
        properties = self.properties(name)
        base = self._base(name)
        fields = self._fields(base) if base else {}
        required = {str(wire) for part in self._parts(name) for wire in part.mapping.get("required", ())}
        for wire in sorted(required - set(properties)):
            raise self._schemas[name].stop(f"requires {wire}, which is not among its properties")
        for part in self._parts(name):
            _check_part(part)
            for wire, schema in part.get("properties").children():
                must = wire in required or (wire in fields and not fields[wire].default)
                fields[wire] = self._field(name, wire, schema, required=must)
        for wire in required:
            fields[wire] = self._field(name, wire, properties[wire], required=True)
        _check_names(self._schemas[name], fields.values())
        return fields

    def _field(self, owner: str, wire: str, schema: Node, *, required: bool) -> Field:
        kind, default = type_of(schema), ""
        self.check_decodable(kind, schema)
        sent, read = owner in self._requested, owner in self._answered
        match kind:
            case Choice((value,)) if sent:
                kind, default = Constant(value), repr(value)
            case _ if required:
                pass
            case _ if sent:
                kind, default = either((kind, NONE, UNSET) if read else (kind, UNSET)), "UNSET"
            case _:
                kind, default = either((kind, NONE)), "None"
        secret = schema.mapping.get("format") == "password"
        return Field(python_name(wire), wire, kind, default, schema.text("description"), secret=secret)

    def _narrows(self, kind: Type, wider: Type) -> bool:
        allowed = wider.members if isinstance(wider, Either) else (wider,)
        members = kind.members if isinstance(kind, Either) else (kind,)
        return all(ANY in allowed or any(self._fits(one, other) for other in allowed) for one in members)

    def _fits(self, one: Type, other: Type) -> bool:
        match one, other:
            case (Choice() | Constant(), Plain("str")):
                return True
            case Constant(value), Choice(values):
                return value in values
            case Model(name), Model() if self._is_class(name):
                base = self._base(name)
                return one == other or (base is not None and self._fits(Model(base), other))
            case _:
                return one == other


def _check_part(part: Node) -> None:
    """Stop where an object is more than its properties; `anyOf` may say which of them go together."""
    check_keywords(part)
    _check_alone(part, {"properties", "required", "type", "additionalProperties", "anyOf", "oneOf"})
    for name in ("anyOf", "oneOf"):
        for branch in part.get(name).elements():
            if set(branch.mapping) != {"required"}:
                raise branch.stop(f"unsupported: {name} next to properties")
    if part.mapping.get("type", "object") != "object":
        raise part["type"].stop("unsupported: properties of what is not an object")
    if isinstance(part.mapping.get("additionalProperties"), dict):
        raise part["additionalProperties"].stop("unsupported: typed additional properties next to named ones")


def _check_names(schema: Node, fields: Iterable[Field]) -> None:
    wires: dict[str, str] = {}
    for field in fields:
        if not field.name.isidentifier() or field.name in _TAKEN:
            raise schema.stop(f"{field.wire} cannot be the name of a field")
        if (other := wires.setdefault(field.name, field.wire)) != field.wire:
            raise schema.stop(f"{other} and {field.wire} are both {field.name} in Python")
