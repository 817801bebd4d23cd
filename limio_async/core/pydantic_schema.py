"""How pydantic, and FastAPI with it, reads, writes and describes models. The only importer of pydantic.

It is imported when pydantic asks a model for its schema. Values are read by msgspec, as strictly as answers are, so what
pydantic is told of fields serves its JSON schema only.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn, cast, get_args

import msgspec
from msgspec import inspect as kinds
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from limio_async.envelope import at

__all__ = ["schema_of", "union_of"]

_SPOT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|\[(\.\.\.)\]|\.([^.\[]+)")
_MISSING = re.compile(r"Object missing required field `(.*)`$")

Read = Callable[[Any], Any]
Fault = tuple[tuple[str | int, ...], str]
"""Where, and what."""
Schema = Callable[[type[msgspec.Struct]], core_schema.CoreSchema]


def schema_of(kind: type[msgspec.Struct]) -> core_schema.CoreSchema:
    """Return the schema of a model, with those of all that it leads to: models may hold each other."""
    known: dict[type[msgspec.Struct], core_schema.CoreSchema] = {}
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        if one not in known:
            known[one] = _definition(one, waiting)
    return core_schema.definitions_schema(_reference(kind), list(known.values()))


def union_of(source: object, field: str, schema_of: Schema) -> core_schema.CoreSchema:
    """Return the schema of a union of models that *field* tells apart, made of what *schema_of* gives for each.

    What names no known type is the model that takes any.
    """
    members: tuple[type[msgspec.Struct], ...] = get_args(source)
    of = {one: _fields(one)[field] for one in members}
    readers = {known: _reader(one) for one in members for known in _constants(of[one].type)}
    other = next((_reader(one) for one in members if isinstance(of[one].type, kinds.StrType)), None)

    def read(value: Any, _: object) -> Any:
        if isinstance(value, members):
            return value
        if not isinstance(told := at(value, (field,)), str):
            return _refuse((field,), f"`{field}` must be a text: it tells the type")
        if (reader := readers.get(told, other)) is None:
            return _refuse((field,), f"Expected one of {', '.join(sorted(readers))}")
        return reader(value)

    def describe(schema: Any, handler: Any) -> Any:
        described = handler(schema)
        shown = dict(zip(members, described["anyOf"], strict=True))
        mapping = {known: shown[one]["$ref"] for one in members for known in _constants(of[one].type)}
        return described | {"discriminator": {"propertyName": field, "mapping": mapping}}

    union = core_schema.union_schema([schema_of(one) for one in members])
    return core_schema.no_info_wrap_validator_function(
        read, union, serialization=_WRITTEN, metadata={"pydantic_js_functions": [describe]}
    )


def _definition(kind: type[msgspec.Struct], found: list[type[msgspec.Struct]]) -> core_schema.CoreSchema:
    """Return the schema of one model; those that it holds are added to *found*."""
    told = {
        name: said for one in reversed(kind.__mro__) for name, said in _told(one.__module__, one.__name__)
    }
    fields = {
        one.encode_name: core_schema.typed_dict_field(
            _described(one.type, found),
            required=one.required,
            metadata={"pydantic_js_updates": {"description": told[one.name]}} if one.name in told else None,
        )
        for one in _fields(kind).values()
    }
    read = _reader(kind)
    said = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    return core_schema.no_info_wrap_validator_function(
        lambda value, _: read(value),
        core_schema.typed_dict_schema(fields, extra_behavior="forbid" if _is_sent(kind) else None),
        ref=_name(kind),
        serialization=_WRITTEN,
        metadata={
            "pydantic_js_updates": {
                "title": kind.__name__,
                **({"description": " ".join(said.split())} if said else {}),
            }
        },
    )


def _told(module: str, name: str) -> list[tuple[str, str]]:
    """Return what a class tells of its fields in texts below them, which only its source has."""
    body = _classes(module).get(name, [])
    return [
        (field.target.id, " ".join(inspect.cleandoc(text.value.value).split()))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    ]


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """Return the bodies of the classes of a module; none where its source is not there."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        return {}
    return {one.name: one.body for one in tree.body if isinstance(one, ast.ClassDef)}


def _described(kind: kinds.Type, found: list[type[msgspec.Struct]]) -> core_schema.CoreSchema:
    match kind:
        case kinds.StructType():
            found.append(kind.cls)
            return _reference(kind.cls)
        case kinds.ListType():
            return core_schema.list_schema(_described(kind.item_type, found))
        case kinds.DictType():
            return core_schema.dict_schema(core_schema.str_schema(), _described(kind.value_type, found))
        case kinds.UnionType():
            return core_schema.union_schema([_described(one, found) for one in kind.types])
        case kinds.LiteralType():
            return core_schema.literal_schema(list(kind.values))
        case kinds.NoneType():
            return core_schema.none_schema()
        case kinds.BoolType():
            return core_schema.bool_schema()
        case kinds.IntType():
            return core_schema.int_schema()
        case kinds.FloatType():
            return core_schema.float_schema()
        case kinds.StrType():
            return core_schema.str_schema()
        case _:
            return core_schema.any_schema()


def _reference(kind: type[msgspec.Struct]) -> core_schema.CoreSchema:
    return core_schema.definition_reference_schema(_name(kind))


def _name(kind: type[msgspec.Struct]) -> str:
    """Return what a schema is called by; pydantic shows the class's own name of it."""
    return f"{kind.__module__}.{kind.__qualname__}:{id(kind)}"


def _fields(kind: type[msgspec.Struct]) -> dict[str, kinds.Field]:
    """Return the fields of a model by their names on the wire."""
    return {one.encode_name: one for one in cast("kinds.StructType", kinds.type_info(kind)).fields}


def _constants(kind: kinds.Type) -> Iterator[str]:
    """Return the texts that a field is known to hold."""
    for one in kind.types if isinstance(kind, kinds.UnionType) else (kind,):
        if isinstance(one, kinds.LiteralType):
            yield from map(str, one.values)


def _reader(kind: type[msgspec.Struct]) -> Read:
    """Return what reads a model from plain data, as if it had come as JSON."""
    decoder = msgspec.json.Decoder(kind)

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            model = decoder.decode(msgspec.json.encode(value))
            if (lost := _lost(value, model)) is None:
                return model
        except msgspec.ValidationError as error:
            said = str(error)
        except (TypeError, ValueError, OverflowError):
            return _refuse((), "It holds what JSON cannot hold")
        except RecursionError:
            return _refuse((), "It is nested too deeply")
        else:
            return _refuse(*lost)
        return _refuse(*_spot(said))

    return read


def _is_sent(kind: type[msgspec.Struct]) -> bool:
    """Whether a model is of a body: what it does not hold would be lost on the way to Limio."""
    return not kind.__struct_config__.omit_defaults


def _lost(value: Any, read: Any) -> Fault | None:
    """Return where *value* has what the body that was *read* of it does not hold; None where all is there."""
    pairs: Iterator[tuple[str | int, Any, Any]]
    if isinstance(read, msgspec.Struct) and isinstance(value, Mapping):
        told = cast("Mapping[str, Any]", value)
        names = dict(zip(read.__struct_encode_fields__, read.__struct_fields__, strict=True))
        if (
            _is_sent(type(read))
            and (odd := next((one for one in told if one not in names), None)) is not None
        ):
            return (odd,), f"{type(read).__name__} has no field of this name"
        pairs = ((one, told[one], getattr(read, name)) for one, name in names.items() if one in told)
    elif isinstance(read, list) and isinstance(value, list):
        both = zip(cast("list[object]", value), cast("list[object]", read), strict=True)
        pairs = ((n, *one) for n, one in enumerate(both))
    else:
        return None
    found = ((step, lost) for step, one, other in pairs if (lost := _lost(one, other)) is not None)
    return next(((((step, *loc)), said) for step, (loc, said) in found), None)


def _spot(said: str) -> Fault:
    """Return where msgspec found a fault, and its words without the place."""
    found = _SPOT.search(said)
    steps = _STEP.findall(found[1]) if found else []
    loc: tuple[str | int, ...] = tuple(int(index) if index else any_ or name for index, any_, name in steps)
    said = _SPOT.sub("", said)
    missing = _MISSING.search(said)
    return (*loc, missing[1]) if missing else loc, said


def _refuse(loc: tuple[str | int, ...], said: str) -> NoReturn:
    """Raise pydantic's error. It shows no value, which may be a credential or somebody's."""
    error = InitErrorDetails(type=PydanticCustomError("limio_model", cast("Any", said)), loc=loc, input=None)
    raise ValidationError.from_exception_data("limio_async.models", [error], hide_input=True)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)


_WRITTEN = core_schema.plain_serializer_function_ser_schema(_plain)
