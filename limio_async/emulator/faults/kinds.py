"""Everything that can go wrong with one call, as data: each kind is a struct that says what becomes of the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, Paging, Request, Response
from limio_async.emulator.faults.delivery import Delivery, Framing
from limio_async.emulator.faults.walks import Cursor, Walks, cursor_in, with_cursor
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import http_date, reply
from limio_async.emulator.payload import as_object

__all__ = ["KINDS", "AnyFault", "Fault", "Later", "Moment"]

_HTML = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
_Raws = msgspec.json.Decoder(list[msgspec.Raw])
_Keys = msgspec.json.Decoder(dict[str, msgspec.Raw])

Later = Callable[..., None]


class Moment:
    """A call that is about to happen, as a fault sees it."""

    def __init__(
        self,
        endpoint: Endpoint[Any],
        request: Request,
        *,
        cursor: Cursor,
        walks: Walks,
        now: float,
        respond: Callable[[Request], Response],
        later: Later,
    ) -> None:
        self.paging = endpoint.paging or Paging(kind="whole")
        self.request = request
        self.cursor = cursor
        self.walks = walks
        self.now = now
        self.later = later
        """Do something by its name in so many seconds."""
        self._respond = respond

    def answer(self) -> Response:
        """What always comes of the call, which happens now."""
        return self._respond(self.request)

    def answer_after(self, page: Response) -> Response | None:
        """The page after *page*; None if it is the last."""
        cursor = cursor_in(self.paging, page)
        return self._respond(with_cursor(self.paging, self.request, cursor)) if cursor else None

    @property
    def before(self) -> Response | None:
        """The page before the one that is asked for."""
        return self.walks.before(self.cursor)


def _tag(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="do"
):
    """When something goes wrong; what it is, the kinds say. All that is given must hold."""

    least_page: ClassVar[int] = 0
    """The first page that it makes sense on."""

    on: str
    """An operation's id, or `*` for any."""
    page: _Positive | None = None
    from_page: _Positive | None = None
    call: _Positive | None = None
    """The n-th call of the operation, counted from when the fault is armed."""
    every: _Positive | None = None
    """Every n-th of them."""
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: int = 1
    times: _Positive | None = None
    """At most so often; by default once where a page or a call is named, else without end."""
    where: Mapping[str, str] = {}
    """Path parameters, such as `path_type`, and their values."""

    @property
    def most(self) -> float:
        """How often it happens at most."""
        once = self.page is not None or self.call is not None
        return self.times or (1 if once else float("inf"))

    def strike(self, moment: Moment) -> Delivery:
        """What becomes of the call."""
        return Delivery(answer=moment.answer())

    def __str__(self) -> str:
        said = msgspec.to_builtins(self)
        do, on = said.pop("do"), said.pop("on")
        facts = ", ".join(f"{name}={value}" for name, value in said.items())
        return f"{on}: {do}{f' ({facts})' if facts else ''}"


class _Edit(Fault, frozen=True, kw_only=True):
    """The call happens, and its answer is changed on the way."""

    def strike(self, moment: Moment) -> Delivery:
        answer = moment.answer()
        if not 200 <= answer.status < 300:
            return Delivery(answer=answer)
        try:
            return Delivery(answer=self.edited(answer, moment))
        except UNDECODABLE:  # not a page: there is nothing to change
            return Delivery(answer=answer)

    def edited(self, answer: Response, moment: Moment) -> Response:
        """*answer* as it arrives."""
        raise NotImplementedError


class ExpireScroll(Fault, frozen=True, kw_only=True, tag=_tag):
    """The cursor is not known any more, now and later; nothing happens."""

    least_page = 2
    code: Literal[400, 404, 410] = 404

    def strike(self, moment: Moment) -> Delivery:
        answer = reply({"message": "No search context found for id"}, self.code)
        moment.walks.kill(moment.cursor, answer)
        return Delivery(answer=answer)


class RepeatPage(Fault, frozen=True, kw_only=True, tag=_tag):
    """The page before comes once more; the walk does not advance."""

    least_page = 2

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.before or moment.answer())


class DropPage(Fault, frozen=True, kw_only=True, tag=_tag):
    """The page after comes instead: a page is skipped in silence."""

    def strike(self, moment: Moment) -> Delivery:
        page = moment.answer()
        after = moment.answer_after(page) if page.status == 200 else None
        return Delivery(answer=after or (_with_items(page, moment, []) if page.status == 200 else page))


class EmptyPage(_Edit, frozen=True, kw_only=True, tag=_tag):
    """No items, and a cursor. A key cursor loses nothing: what follows is the page that was asked for."""

    def edited(self, answer: Response, moment: Moment) -> Response:
        if not moment.paging.species.durable:
            return _with_items(answer, moment, [])
        param = next(iter(moment.paging.sends.values()))
        given = {param: f"{moment.cursor.get(param, '')}.again"}
        moment.walks.replace(moment.cursor, given)
        return _changed(_with_items(answer, moment, []), {moment.paging.cursor or "": given[param]})


class RepeatCursor(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The cursor that was asked with comes back."""

    least_page = 2

    def edited(self, answer: Response, moment: Moment) -> Response:
        return _with_cursor_value(answer, moment, moment.cursor)


class ChangeCursor(_Edit, frozen=True, kw_only=True, tag=_tag):
    """Another text stands for the cursor and is understood, however long or strange."""

    to: str

    def edited(self, answer: Response, moment: Moment) -> Response:
        genuine = cursor_in(moment.paging, answer)
        if not genuine:
            return answer
        given = {**genuine, next(iter(genuine)): self.to}
        moment.walks.replace(genuine, given)
        return _with_cursor_value(answer, moment, given)


class EndEarly(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The cursor is `absent`, `null` or `empty` text, as after a last page."""

    cursor: Literal["absent", "null", "empty"] = "absent"

    def edited(self, answer: Response, moment: Moment) -> Response:
        name = moment.paging.cursor or ""
        if self.cursor != "absent":
            return _changed(answer, {name: None if self.cursor == "null" else ""})
        page = _Keys.decode(answer.body)
        page.pop(name, None)
        return _with_body(answer, msgspec.json.encode(page))


class ChangeCommitId(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The page belongs to another build of the index; with `from_page`, all pages from there on."""

    def edited(self, answer: Response, moment: Moment) -> Response:
        page: dict[str, Any] = dict(_Keys.decode(answer.body))
        for place in moment.paging.commit_id:
            top, _, inner = place.partition(".")
            if top not in page:
                continue
            found = msgspec.json.decode(page[top])
            other = fingerprint("rebuilt", msgspec.json.encode(found).decode(), length=40)
            page[top] = {**found, inner: other} if inner else other
        return _with_body(answer, msgspec.json.encode(page))


class WrongHits(_Edit, frozen=True, kw_only=True, tag=_tag):
    """`hits` is *hits*."""

    hits: int

    def edited(self, answer: Response, moment: Moment) -> Response:
        name = moment.paging.hits or "hits"
        now = msgspec.json.decode(_Keys.decode(answer.body).get(name, b"0"))
        return _changed(answer, {name: {**now, "value": self.hits} if isinstance(now, dict) else self.hits})


class BadItem(_Edit, frozen=True, kw_only=True, tag=_tag):
    """An item, or a *field* of it, is *value*, which is of a wrong type."""

    at: Annotated[int, msgspec.Meta(ge=0)] = 0
    field: str | None = None
    value: Any = 7

    def edited(self, answer: Response, moment: Moment) -> Response:
        items: list[Any] = list(_items(answer, moment))
        if self.at < len(items):
            whole = msgspec.json.decode(items[self.at]) if self.field else None
            items[self.at] = {**whole, self.field: self.value} if isinstance(whole, dict) else self.value
        return _with_items(answer, moment, items)


class DuplicateItems(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The last *count* items of the page before come once more, first."""

    least_page = 2
    count: _Positive = 1

    def edited(self, answer: Response, moment: Moment) -> Response:
        again = _items(moment.before, moment)[-self.count :] if moment.before else []
        return _with_items(answer, moment, [*again, *_items(answer, moment)])


class DropItems(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The first *count* items are missing."""

    count: _Positive = 1

    def edited(self, answer: Response, moment: Moment) -> Response:
        return _with_items(answer, moment, _items(answer, moment)[self.count :])


class PageLimit(Fault, frozen=True, kw_only=True, tag=_tag):
    """An answer of more than *bytes* bytes becomes *code*, as AWS Lambda does it with 6 MB."""

    bytes: _Positive = 6_291_556
    code: Literal[413, 500, 502, 504] = 502

    def strike(self, moment: Moment) -> Delivery:
        answer = moment.answer()
        if len(answer.body) <= self.bytes:
            return Delivery(answer=answer)
        said = f"Response payload size exceeded maximum allowed payload size ({self.bytes} bytes)."
        return Delivery(answer=reply({"message": said}, self.code))


class Status(Fault, frozen=True, kw_only=True, tag=_tag):
    """Another status. Nothing happens unless *executed*: then the call does, and its answer is this one."""

    code: Annotated[int, msgspec.Meta(ge=200, le=599)]
    message: str | None = None
    html: bool = False
    body: str | None = None
    """Instead of a message: any text."""
    content_type: str | None = None
    retry_after: float | str | None = None
    """Seconds; or any text, which is sent as it is."""
    as_date: bool = False
    """Whether *retry_after* is sent as an HTTP date, on the world's clock, beside a `Date`."""
    location: str | None = None
    executed: bool = False

    def strike(self, moment: Moment) -> Delivery:
        if self.executed:
            moment.answer()
        said = self.message or _phrase(self.code)
        text = self.body
        if text is None:
            text = _HTML.format(said) if self.html else msgspec.json.encode({"message": said}).decode()
        kind = self.content_type or ("text/html; charset=utf-8" if self.html else "application/json")
        headers = {"content-type": kind, **self._hint(moment.now)}
        if self.location is not None:
            headers["location"] = self.location
        return Delivery(answer=Response(status=self.code, headers=headers, body=text.encode()))

    def _hint(self, now: float) -> dict[str, str]:
        if self.retry_after is None:
            return {}
        if isinstance(self.retry_after, str):
            return {"retry-after": self.retry_after}
        if not self.as_date:
            return {"retry-after": f"{self.retry_after:.15g}"}
        return {"retry-after": http_date(now + self.retry_after), "date": http_date(now)}


class FailLater(_Edit, frozen=True, kw_only=True, tag=_tag):
    """The call happens. The order that it made is accepted, and fails *seconds* later for what *plugin* says."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)] = 30.0
    plugin: str = "zuora"
    message: str = "Payment declined"

    def edited(self, answer: Response, moment: Moment) -> Response:
        order = as_object(msgspec.json.decode(answer.body)).get("id")
        if isinstance(order, str):
            moment.later(self.seconds, "orders.fail", order=order, plugin=self.plugin, message=self.message)
        return answer


class Html(Fault, frozen=True, kw_only=True, tag=_tag):
    """200 and a page for people, such as a login page; nothing happens."""

    def strike(self, moment: Moment) -> Delivery:
        headers = {"content-type": "text/html; charset=utf-8"}
        return Delivery(answer=Response(status=200, headers=headers, body=_HTML.format("Sign in").encode()))


class ContentType(Fault, frozen=True, kw_only=True, tag=_tag):
    """The answer says that it is of another type than it is."""

    type: str = "text/plain"

    def strike(self, moment: Moment) -> Delivery:
        answer = moment.answer()
        headers = {**answer.headers, "content-type": self.type}
        return Delivery(answer=msgspec.structs.replace(answer, headers=headers))


class NeverSent(Fault, frozen=True, kw_only=True, tag=_tag):
    """The request does not arrive: nothing happens, nothing is counted. Over HTTP the connection is reset."""

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=Response(status=0, headers={}, body=b""), way="never sent")


class LoseAnswer(Fault, frozen=True, kw_only=True, tag=_tag):
    """The call happens; the connection is reset before the head of the answer."""

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="lost")


class Reset(Fault, frozen=True, kw_only=True, tag=_tag):
    """The call happens; the connection is reset within the body of the answer."""

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="reset")


class TruncateBody(Fault, frozen=True, kw_only=True, tag=_tag):
    """The call happens; half of the body comes, then a polite end of the connection."""

    framing: Framing = "length"

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="truncated", framing=self.framing)


class Delay(Fault, frozen=True, kw_only=True, tag=_tag):
    """The answer comes *seconds* later."""

    seconds: _Seconds

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), delay=self.seconds)


class SlowBody(Fault, frozen=True, kw_only=True, tag=_tag):
    """The body comes piece by piece over *seconds*."""

    seconds: _Seconds

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="slow", delay=self.seconds)


class GzipBomb(Fault, frozen=True, kw_only=True, tag=_tag):
    """A small answer that inflates to *megabytes*."""

    megabytes: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="gzip bomb", megabytes=self.megabytes)


class NotHttp(Fault, frozen=True, kw_only=True, tag=_tag):
    """The call happens; what comes back is not HTTP."""

    def strike(self, moment: Moment) -> Delivery:
        return Delivery(answer=moment.answer(), way="not http")


AnyFault = (
    ExpireScroll
    | RepeatPage
    | DropPage
    | EmptyPage
    | RepeatCursor
    | ChangeCursor
    | EndEarly
    | ChangeCommitId
    | WrongHits
    | BadItem
    | DuplicateItems
    | DropItems
    | PageLimit
    | Status
    | FailLater
    | Html
    | ContentType
    | NeverSent
    | LoseAnswer
    | Reset
    | TruncateBody
    | Delay
    | SlowBody
    | GzipBomb
    | NotHttp
)
KINDS: Mapping[str, type[Fault]] = {_tag(kind.__name__): kind for kind in get_args(AnyFault)}
"""Every kind by the name that a script gives it."""


def _items(page: Response, moment: Moment) -> list[msgspec.Raw]:
    return _Raws.decode(_Keys.decode(page.body).get(moment.paging.items, msgspec.Raw(b"[]")))


def _with_items(page: Response, moment: Moment, items: list[Any]) -> Response:
    return _changed(page, {moment.paging.items: items})


def _with_cursor_value(page: Response, moment: Moment, cursor: Cursor) -> Response:
    parts = {part: cursor[param] for part, param in moment.paging.sends.items() if param in cursor}
    return _changed(page, {moment.paging.cursor or "": parts.get("", parts)})


def _changed(page: Response, values: Mapping[str, Any]) -> Response:
    return _with_body(page, msgspec.json.encode({**_Keys.decode(page.body), **values}))


def _with_body(answer: Response, body: bytes) -> Response:
    return msgspec.structs.replace(answer, body=body)


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Fault"
