"""Bodies of requests: what may be sent, and which field is wrong where it may not. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, cast, get_args, get_origin
from urllib.parse import urlencode

import msgspec

from limio_async import errors
from limio_async.core.wire import UNDECODABLE, Endpoint

__all__ = ["json_of", "payload_of"]

_DEEPEST = 200
_SHOWN = 3  # names of a long list
_SUSPECT = (b"null", b"NaN", b'nfinity"', b'nan"', b'inf"')
"""What stands in JSON where a number that it cannot hold was: msgspec writes null, and a `Decimal` as text."""


def payload_of(endpoint: Endpoint[Any], body: object) -> bytes | None:
    """Return a body as it is sent; None where the operation takes none.

    Raises `InvalidArgument`, naming the field, for what JSON cannot hold (NaN, infinity, what contains itself), and
    for a model of this package that is another operation's: a whole answer is no body. JSON goes as it is given.
    """
    if endpoint.body is None:
        return None
    if body is None:
        raise _refused(endpoint, "a body is required")
    if isinstance(body, msgspec.Raw):
        payload = bytes(body)
    else:
        _check_kind(endpoint, body)
        try:
            if endpoint.body_format == "form":
                return urlencode(msgspec.to_builtins(body)).encode()
            payload = msgspec.json.encode(body)
        except RecursionError:
            raise _refused(
                endpoint, _fault(body, deepest=_DEEPEST) or "the body is nested too deeply"
            ) from None
        except (TypeError, ValueError, OverflowError, *UNDECODABLE) as error:
            raise _refused(endpoint, _fault(body, each=True) or f"body: {error}") from None
        if fault := _no_number_in(body, payload):
            raise _refused(endpoint, fault)
    if not payload.lstrip().startswith(b"{"):
        raise _refused(endpoint, "body: not a JSON object")
    return payload


def json_of(value: object) -> bytes:
    """Return *value* as JSON. Raises `TypeError` or `ValueError` for what JSON cannot hold; of NaN it names the field."""
    written = msgspec.json.encode(value)
    if fault := _no_number_in(value, written):
        raise ValueError(fault)
    return written


def _no_number_in(value: object, written: bytes) -> str | None:
    return _fault(value) if any(suspect in written for suspect in _SUSPECT) else None


def _check_kind(endpoint: Endpoint[Any], body: object) -> None:
    body_kind = get_args(endpoint.body)[0] if get_origin(endpoint.body) is Annotated else endpoint.body
    taken = get_args(body_kind) or (body_kind,)
    kind = type(body)
    if isinstance(body, taken) or _package(kind) not in {_package(one) for one in taken}:
        return
    names = sorted(one.__name__ for one in taken)
    shown = ", ".join([*names[:_SHOWN], *(["…"] if names[_SHOWN:] else [])])
    raise _refused(
        endpoint,
        f"takes {shown}, not {kind.__name__}; pass fields of yours as a mapping, or JSON as msgspec.Raw",
    )


def _package(kind: type) -> str:
    """Return the package that a class is defined in; of the caller's own, a word that no model has."""
    package, dot, _ = kind.__module__.rpartition(".")
    return package if dot and issubclass(kind, msgspec.Struct) else "<none>"


def _fault(body: object, *, deepest: float = math.inf, each: bool = False) -> str | None:
    """Return what JSON cannot hold, and where in a body; None where there is nothing of the kind.

    With *each*, every value is tried by itself.
    """
    path: list[tuple[int, object]] = []  # from the body to what is looked at: who, under which key
    waiting: list[tuple[int, object, object]] = [(0, "", body)]
    while waiting:
        depth, key, value = waiting.pop()
        del path[depth:]
        if _is_no_number(value):
            return f"{_spot(path, key)} is {value}, which JSON cannot hold"
        if (wrong := _wrong_key(value)) is not None:
            return f"{_spot(path, key)} has a key that is {wrong}, which JSON cannot hold"
        children = list(_children(value))
        if not children:
            if each and (reason := _unsendable(value)):
                return f"{_spot(path, key)}: {reason}"
            continue
        if any(id(value) == known for known, _ in path):
            return f"{_spot(path, key)} contains itself"
        if depth > deepest:
            return f"{_spot(path[:8], '…')} is nested too deeply"
        path.append((id(value), key))
        waiting += [(depth + 1, name, child) for name, child in reversed(children)]
    return None


def _unsendable(value: object) -> str:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, *UNDECODABLE) as error:
        return str(error)
    return ""


def _wrong_key(value: object) -> object:
    keys = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else ()
    return next(filter(_is_no_number, keys), None)


def _is_no_number(value: object) -> bool:
    if isinstance(value, Decimal):
        return not value.is_finite()
    return isinstance(value, float) and not math.isfinite(value)


def _children(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return ((wire, getattr(value, name)) for wire, name in names)
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).items()
    if isinstance(value, list | tuple | set | frozenset):
        return enumerate(cast("Iterable[object]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
    return ((name, child) for name, child in vars(value).items()) if hasattr(value, "__attrs_attrs__") else ()


def _spot(path: list[tuple[int, object]], key: object) -> str:
    spot = ""
    for step in (*(name for _, name in path[1:]), key):
        spot += f"[{step}]" if isinstance(step, int) else f".{step}"
    return spot.removeprefix(".") or "the body"


def _refused(endpoint: Endpoint[Any], said: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(said, operation=endpoint.operation)
