"""Values to requests, answers to values or the right error. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import quote

import msgspec

from limio_async import errors
from limio_async.core.bodies import payload_of
from limio_async.core.identity import says_yes, tells_of_error
from limio_async.core.outcome import error_for, refused, unreadable
from limio_async.core.splitter import elements
from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE, Endpoint, Param, Redirect, Request, Response, Retry
from limio_async.core.words import words_of

__all__ = [
    "build_request",
    "checked_headers",
    "decode",
    "decode_as",
    "decoder_for",
    "items_decoder",
    "raw_items",
    "read_response",
]

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset(
    {"authorization", "connection", "content-length", "content-type", "cookie", "host", "transfer-encoding"}
)
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")  # nothing in it needs to be escaped
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<")
_NO_NAME = re.compile(r"^\.{0,2}$")


def build_request(
    endpoint: Endpoint[Any],
    args: Mapping[str, Any],
    body: object = None,
    *,
    query: Mapping[str, str] | None = None,
    retry: Retry | None = None,
    headers: Mapping[str, str] | None = None,
    plain_item_paths: bool = False,
) -> Request:
    """The request that calls *endpoint* with *args*; *query* is added as it is, as are slashes of *plain_item_paths*.

    Raises `InvalidArgument` for a value that cannot go where it belongs: a path segment that is empty or
    climbs (`..`), a control character, something that is not JSON.
    """
    segments = dict(endpoint.bound)
    pairs: list[tuple[str, str]] = []
    sent = {"accept": "application/json", **headers} if headers else {"accept": "application/json"}
    for param in endpoint.params:
        value = args.get(param.name)
        if value is None:
            if param.required and param.default is None:
                raise errors.InvalidArgument(f"{param.name} is required", operation=endpoint.operation)
            value = param.default if param.required else None
        if value is None:
            continue
        if param.place == "path":
            segments[param.name] = _segment(endpoint, param, value, plain=plain_item_paths)
        elif param.place == "query":
            pairs.extend(_pairs(param, value))
        else:
            sent[param.wire.lower()] = _header(endpoint.operation, param.name, value)
    if query:
        pairs.extend(query.items())
    payload = payload_of(endpoint, body)
    if payload is not None:
        form = endpoint.body_format == "form"
        sent["content-type"] = "application/x-www-form-urlencoded" if form else "application/json"
    target = endpoint.path.format_map(segments)
    if pairs:
        target = f"{target}?{_query(endpoint, pairs)}"
    return Request(
        operation=endpoint.operation,
        method=endpoint.method,
        target=target,
        headers=sent,
        body=payload,
        retry=retry or endpoint.retry,
        accepts=endpoint.auth,
        prefers=endpoint.prefers,
    )


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of the caller's own, lower-case. Raises `InvalidArgument` for those that are not theirs to set."""
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise errors.InvalidArgument(f"the header {name!r} cannot be set")
        checked[name.lower()] = _header("", name, value)
    return checked


def read_response(endpoint: Endpoint[T], response: Response) -> T:
    """The answer's value, or the error that tells what the caller can do now.

    A success that lacks the endpoint's identity, or that nothing but an error is told in, is no success: `Unreadable`.
    """
    operation, identity = endpoint.operation, endpoint.identity
    if not 200 <= response.status < 300 and not (endpoint.returns is Redirect and response.status < 400):
        raise error_for(operation, response, endpoint.retry)
    if endpoint.returns is Redirect:
        location = response.headers.get("location")
        if response.status < 300 and location is None and not _PAGE.match(response.body):
            raise refused(operation, response.body, ("location",), status=response.status)
        return cast("T", Redirect(location=location))
    try:
        value = decode(operation, response.body, decoder_for(endpoint.returns))
    except errors.Unreadable as error:
        if identity and not says_yes(identity, msgspec.Raw(response.body), several=endpoint.several):
            raise refused(operation, response.body, identity, status=response.status) from None
        error.status = response.status
        raise
    if identity:
        yes = says_yes(identity, value, several=endpoint.several)
    else:
        yes = not tells_of_error(response.body)
    if not yes or (endpoint.says and not re.search(rf"\b{endpoint.says}", words_of(response.body).lower())):
        raise refused(operation, response.body, identity, says=endpoint.says, status=response.status)
    return cast("T", value)


def decode(operation: str, body: Any, decoder: msgspec.json.Decoder[T], *, at: str = "$") -> T:
    """*body* as the decoder's type, half surrogates as U+FFFD, without a mark before it; *at* is where in the answer it was found.

    As `msgspec.Raw`, it is the exact bytes. Raises `Unreadable`.
    """
    try:
        return decoder.decode(body)
    except UNDECODABLE:
        raw = bytes(body)
    try:
        value = decoder.decode(mended(raw.removeprefix(BOM)))
    except UNDECODABLE as error:
        raise unreadable(operation, raw, str(error), at) from None
    return cast("T", msgspec.Raw(raw.removeprefix(BOM).strip())) if isinstance(value, msgspec.Raw) else value


def decode_as(operation: str, body: bytes, kind: type[T]) -> T:
    """*body* as a type. Raises `Unreadable`."""
    return cast("T", decode(operation, body, decoder_for(cast("Any", kind))))


@lru_cache(maxsize=512)
def decoder_for(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type; building one costs more than using it."""
    return msgspec.json.Decoder(kind)


def items_decoder(kind: Any) -> msgspec.json.Decoder[list[Any] | None]:
    """The decoder of a page's items; null is an empty page."""
    return decoder_for(list[kind] | None)


def raw_items(items: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the elements of an array, each as its exact bytes; of null, none. Raises what msgspec does if it is neither."""
    try:
        return items_decoder(msgspec.Raw).decode(items) or []
    except UNDECODABLE:
        text = bytes(items)
        if (found := elements(text)) is None:
            raise
        return [msgspec.Raw(text[begin:end]) for begin, end in found]


def _segment(endpoint: Endpoint[Any], param: Param, value: Any, *, plain: bool) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    if param.kind == "item_path":
        text = text.removeprefix("/")
    if _NO_NAME.match(text) or _CONTROL.search(text) or ".." in text.split("/"):
        raise errors.InvalidArgument(
            f"{param.name}: {text!r} cannot be a path segment", operation=endpoint.operation
        )
    try:
        return quote(text, safe="/" if plain and param.kind == "item_path" else "")
    except UnicodeEncodeError:
        raise errors.InvalidArgument(
            f"{param.name} is not valid text", operation=endpoint.operation
        ) from None


def _query(endpoint: Endpoint[Any], pairs: list[tuple[str, str]]) -> str:
    try:
        return "&".join([f"{_escaped_name(name)}={_escaped(value)}" for name, value in pairs])
    except UnicodeEncodeError:
        raise errors.InvalidArgument(
            "a query parameter is not valid text", operation=endpoint.operation
        ) from None


def _escaped(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")


_escaped_name = lru_cache(maxsize=256)(_escaped)


def _pairs(param: Param, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in cast("Mapping[str, Any]", value).items():
            yield param.wire + key, _text(one)
    else:
        yield param.wire, _text(value)


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            aware = value.tzinfo is not None
            return (
                (value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z") if aware else value.isoformat()
            )
        case _:
            return str(value)


def _header(operation: str, name: str, value: Any) -> str:
    text = _text(value)
    if _CONTROL.search(text) or not text.isascii():
        raise errors.InvalidArgument(
            f"{name} holds a character that a header cannot carry", operation=operation
        )
    return text
