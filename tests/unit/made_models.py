"""Models of every kind: those of the documented samples, and any that a strategy builds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as kinds

from limio_async import models
from limio_async.core.model import Model
from tests.unit.test_samples import ANSWERS, BODIES, read, sample

MODELS = sorted(
    (
        kind
        for name in models.__all__
        if isinstance(kind := getattr(models, name), type) and issubclass(kind, Model)
    ),
    key=lambda kind: kind.__name__,
)

_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def sampled() -> Iterator[Model]:
    """Yield what each documented sample is read as, answers and bodies."""
    for name, operation in ANSWERS:
        value = read(operation, sample(name))
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Model))
    for name, kind in BODIES.items():
        plain = msgspec.json.decode(sample(name))
        yield cast("Model", msgspec.convert(plain, kind or models.ORDER_REQUEST_BY_TYPE[plain["order_type"]]))


def built(kind: type[Model]) -> st.SearchStrategy[Model]:
    """Any model of a kind."""
    return _plain(kind).map(lambda plain: msgspec.convert(plain, kind))


@cache
def _plain(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = cast("kinds.StructType", kinds.type_info(kind)).fields
    return st.fixed_dictionaries(
        {one.encode_name: _value(one.type) for one in fields if one.required},
        optional={one.encode_name: _value(one.type) for one in fields if not one.required},
    )


def _value(kind: kinds.Type) -> st.SearchStrategy[Any]:
    match kind:
        case kinds.StructType():
            return st.deferred(lambda: _plain(kind.cls))
        case kinds.ListType():
            return st.lists(_value(kind.item_type), max_size=2)
        case kinds.DictType():
            return st.dictionaries(st.text(max_size=5), _value(kind.value_type), max_size=2)
        case kinds.UnionType():
            return st.one_of(*(_value(one) for one in reversed(kind.types)))
        case kinds.LiteralType():
            return st.sampled_from(kind.values)
        case kinds.NoneType():
            return st.none()
        case kinds.BoolType():
            return st.booleans()
        case kinds.IntType():
            return st.integers(-(2**53), 2**53)
        case kinds.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case kinds.StrType():
            return st.text(max_size=8)
        case _:
            return _ANY
