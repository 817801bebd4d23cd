"""Which page of which walk a request asks for; cursors that faults invalidated or replaced. Of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec

from limio_async.core.wire import UNDECODABLE, Paging, Request, Response

__all__ = ["Cursor", "Walks", "cursor_in", "cursor_of", "with_cursor"]

Cursor = Mapping[str, str]
"""The query parameters that ask for a page; none for the first one."""

V = TypeVar("V")
_Key = bytes

_REMEMBERED = 10_000
_KEPT = 8
_TAIL = 4096


class Walks:
    """What is remembered of the walks in progress."""

    def __init__(self) -> None:
        self._numbers: dict[_Key, int] = {}
        self._pages: dict[_Key, Response] = {}
        self._dead: dict[_Key, Response] = {}
        self._stands_for: dict[_Key, Cursor] = {}

    def number(self, cursor: Cursor) -> int:
        """The number of the page that *cursor* asks for; 0 if it is not known."""
        return self._numbers.get(_key(cursor), 0) if cursor else 1

    def before(self, cursor: Cursor) -> Response | None:
        """The page that *cursor* came with, unless too many have come since."""
        return self._pages.get(_key(cursor))

    def note(self, paging: Paging, number: int, answer: Response) -> None:
        """Page *number* was *answer*: its cursor asks for the one after."""
        cursor = cursor_in(paging, answer)
        if cursor:
            _keep(self._numbers, _key(cursor), number + 1 if number else 0, most=_REMEMBERED)
            _keep(self._pages, _key(cursor), answer, most=_KEPT)

    def kill(self, cursor: Cursor, answer: Response) -> None:
        """From now on, whoever asks with *cursor* gets *answer*."""
        _keep(self._dead, _key(cursor), answer, most=_REMEMBERED)

    def killed(self, cursor: Cursor) -> Response | None:
        """The answer for a cursor that is dead."""
        return self._dead.get(_key(cursor)) if self._dead else None

    def replace(self, genuine: Cursor, given: Cursor) -> None:
        """Let *given* mean what *genuine* means."""
        _keep(self._stands_for, _key(given), genuine, most=_REMEMBERED)

    def genuine(self, cursor: Cursor) -> Cursor:
        """What *cursor* means."""
        return self._stands_for.get(_key(cursor), cursor) if self._stands_for else cursor


def cursor_of(paging: Paging, request: Request) -> Cursor:
    """What *request* asks with."""
    query = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
    return {param: query[param] for param in paging.sends.values() if param in query}


def with_cursor(paging: Paging, request: Request, cursor: Cursor) -> Request:
    """*request*, asking with *cursor*."""
    path, _, text = request.target.partition("?")
    pairs = parse_qsl(text, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in paging.sends.values()]
    query = urlencode([*kept, *cursor.items()])
    return msgspec.structs.replace(request, target=f"{path}?{query}" if query else path)


def cursor_in(paging: Paging, answer: Response) -> Cursor:
    """What the page after *answer* is asked with; nothing if it is the last."""
    found = _found(paging.cursor or "", answer.body)
    if isinstance(found, str):
        found = {"": found}
    if not isinstance(found, dict):
        return {}
    parts = cast("dict[str, Any]", found)
    return {param: value for part, param in paging.sends.items() if isinstance(value := parts.get(part), str)}


def _found(name: str, body: bytes) -> Any:
    """The value of a key that stands at or near the end of a page, as cursors do."""
    start = body.rfind(f'"{name}":'.encode(), max(0, len(body) - _TAIL))
    try:
        if start > 0:
            return msgspec.json.decode(b"{" + body[start:])[name]
        page = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(page[name])
    except (KeyError, *UNDECODABLE):
        return None


def _key(cursor: Cursor) -> _Key:
    """Sixteen bytes in place of a cursor, of which 10,000 would take megabytes."""
    text = "\0".join([*cursor, *cursor.values()])
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def _keep(where: dict[_Key, V], key: _Key, value: V, *, most: int) -> None:
    """Remember *value* as the newest; forget the oldest of too many."""
    where.pop(key, None)
    where[key] = value
    if len(where) > most:
        del where[next(iter(where))]
