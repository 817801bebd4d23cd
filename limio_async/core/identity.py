"""Whether an answer that came with a success says yes: it has what tells it from a refusal. Pure.

Limio's gateway answers `200` with `{"errorMessage": …}` or `{"message": …}` where something behind it failed. So the
absence of a failure is no success: each endpoint names the fields of which a success has at least one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

import msgspec

from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE

__all__ = ["Judge", "fields_of", "no_in", "says_yes", "signs_of_no", "tells_of_error", "told_beside"]

_NOTHING = re.compile(rb"null|false|\"\s*\"|\[\s*\]|\{\s*\}")
_NO = re.compile(rb"false|\"\s*false\s*\"", re.IGNORECASE)
_FAILED = re.compile(rb"\"?\s*[45][0-9]{2}(?:\.0+)?\s*\"?")
_ERRORS = ("error", "fault", "exception")  # what names begin with that tell of one
_STATUS = frozenset({"status", "statuscode", "httpstatus", "httpstatuscode"})
_SUCCESS = frozenset({"ok", "success"})
_MAY_SAY_NO = re.compile(
    rb'"(?:%b|(?:%b)"\s*:\s*"?\s*f|(?:%b)"\s*:\s*"?\s*[45])'
    % tuple("|".join(sorted(names)).encode() for names in (_ERRORS, _SUCCESS, _STATUS)),
    re.IGNORECASE,
)
"""Matches wherever a key may say no, as `_says_no` decides; also where it stands deeper, or in a text."""
_SHORT = 1024  # bytes of an answer that is looked at as a text before it is read
_WORDS = frozenset({"message", "detail"})
_BESIDE_WORDS = frozenset({
    *_WORDS, *_STATUS, "body", "code", "headers", "instance", "path", "request_id", "requestid", "timestamp", "title",
    "type",
})  # fmt: skip
"""What stands beside the words of an error that has no other sign: where there is more, it is an answer."""
_LONGEST_LINE = 200
_MOST_KEYS = 64  # of an object whose keys are remembered
_FIELDS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def says_yes(identity: tuple[str, ...], value: object, *, several: bool = False) -> bool:
    """Return whether *value*, decoded or raw, has one of the fields in *identity*; of *several* in a list, whether each has.

    A field that is null, false or empty text is none.
    """
    if isinstance(value, msgspec.Struct):
        first, others = _getters(type(value), identity)
        return _is_told(first(value)) or any(_is_told(get(value)) for get in others)
    if isinstance(value, msgspec.Raw):
        raw = bytes(value)
        try:
            value = msgspec.json.decode(mended(raw))
        except UNDECODABLE:  # such as text in Latin-1
            found = fields_of(raw)
            return not found or any(
                name in found and not _NOTHING.fullmatch(found[name]) for name in identity
            )
    if isinstance(value, list):
        each = cast("list[object]", value)
        return several and all(one is None or says_yes(identity, one) for one in each)
    fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return any(_is_told(fields.get(name)) for name in identity)


def _is_told(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in {"", "false"}
    return value is not None and value is not False and value is not msgspec.UNSET


class Judge:
    """Tells whether the items of pages, decoded to *kind*, say yes.

    Where *kind* has some of the fields and an item has one of those, nothing else is looked at.
    """

    def __init__(self, kind: Any, identity: tuple[str, ...]) -> None:
        self._identity = () if kind is msgspec.Raw else identity  # bytes are for whoever asked for them
        names = _names(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else {}
        own = [attrgetter(names[wire]) for wire in identity if wire in names]
        self._first = own[0] if own else None
        self._own = tuple(own)
        self._probe = (
            None if names.keys() >= set(identity) else _probe(identity)
        )  # what it is decoded to besides

    def all_say_yes(self, items: list[Any], decoded: Callable[[Any], list[Any]]) -> bool:
        """Return whether each item of a page does; *decoded* gives its items as another type."""
        if not self._identity or (self._first is not None and all(map(self._first, items))):
            return True
        if self._probe is None:
            return all(map(self._tells, items))
        try:
            probes = decoded(self._probe)
        except UNDECODABLE:
            return False
        return all(map(_FIRST, probes)) or all(says_yes(self._identity, one) for one in probes)

    def says_yes(self, item: Any, raw: msgspec.Raw) -> bool:
        """Return whether an item does, which was decoded from *raw*."""
        if not self._identity or self._tells(item):
            return True
        try:
            return self._probe is not None and says_yes(
                self._identity, msgspec.json.decode(raw, type=self._probe)
            )
        except UNDECODABLE:
            return False

    def _tells(self, item: Any) -> bool:
        return any(_is_told(get(item)) for get in self._own)


def signs_of_no(fields: Mapping[str, msgspec.Raw]) -> list[str]:
    """Return the keys, in whatever case, of fields that tell of an error, of a status of one, or of no success."""
    keys = tuple(fields)
    suspects = _suspects(keys) if len(keys) <= _MOST_KEYS else _suspects.__wrapped__(keys)
    return [key for key, name in suspects if _says_no(name, fields[key])] if suspects else []


@lru_cache(maxsize=256)
def _suspects(keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return those of an object's keys that may say no, each also in lower case. Answers of an operation have the same keys."""
    named = ((key, key.lower()) for key in keys)
    return tuple((k, n) for k, n in named if n in _SUCCESS or n in _STATUS or n.startswith(_ERRORS))


def _says_no(name: str, value: msgspec.Raw) -> bool:
    if name in _SUCCESS:
        return _NO.fullmatch(value) is not None
    if name in _STATUS:
        return _FAILED.fullmatch(value) is not None
    if name not in {"error", "errors"} and bytes(value) == b"0":
        return False  # such as a count of them, or a code
    return not _NOTHING.fullmatch(value)


def no_in(fields: Mapping[str, msgspec.Raw], *, some: bool) -> str:
    """Return the key that says no where there should be something else; empty where none does.

    With *some* of what should be there, a message tells of none.
    """
    signs = signs_of_no(fields)
    words = (
        name for name, value in fields.items() if name.lower() in _WORDS and not _NOTHING.fullmatch(value)
    )
    return signs[0] if signs else "" if some else next(words, "")


def tells_of_error(body: bytes) -> bool:
    """Return whether an answer that nothing vouches for is the text of an error."""
    fields = fields_of(body)
    found = no_in(fields, some=False)
    if found.lower() not in _WORDS:
        return found != ""
    return _BESIDE_WORDS.issuperset(n.lower() for n, value in fields.items() if not _NOTHING.fullmatch(value))


def told_beside(answer: bytes | Mapping[str, msgspec.Raw]) -> str:
    """Return what of a success says no, as one short line of JSON; empty where nothing does."""
    if isinstance(answer, bytes):
        plain = len(answer) <= _SHORT and answer.isascii() and b"\\" not in answer
        if plain and not _MAY_SAY_NO.search(answer):
            return ""
        fields = fields_of(answer)
    else:
        fields = answer
    if not (signs := signs_of_no(fields)):
        return ""
    told = msgspec.json.encode({name: fields[name] for name in signs})
    line = " ".join(told.decode(errors="replace").split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def fields_of(body: bytes) -> Mapping[str, msgspec.Raw]:
    """Return the fields at the top of an answer, each as its bytes; none of what is no object of JSON."""
    try:
        return _FIELDS.decode(body)
    except UNDECODABLE:
        with suppress(*UNDECODABLE):
            return _FIELDS.decode(mended(body.removeprefix(BOM)))
    return {}


def _names(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the names of a class's fields, by those on the wire. (`msgspec.structs.fields` takes half a millisecond.)"""
    return dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))


@lru_cache(maxsize=512)
def _getters(
    kind: type[msgspec.Struct], identity: tuple[str, ...]
) -> tuple[Callable[[object], object], tuple[Callable[[object], object], ...]]:
    """Return what gets the fields in *identity* of a class: the first, the others."""
    names = _names(kind)
    first, *others = (attrgetter(names[wire]) for wire in identity if wire in names)
    return first, tuple(others)


_FIRST = attrgetter("field_0")  # of a probe


@lru_cache(maxsize=64)
def _probe(identity: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a class of nothing but the fields in *identity*."""
    fields = [
        (f"field_{number}", Any, msgspec.field(name=name, default=None))
        for number, name in enumerate(identity)
    ]
    return msgspec.defstruct("Probe", fields)
