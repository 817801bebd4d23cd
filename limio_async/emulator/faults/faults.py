"""What goes wrong, when and how often: faults are armed by a script in Python, a TOML file, or plain data.

world.faults.on("listOffers", page=2).expire_scroll()
world.faults.on("submitOrder", probability=0.1, seed=3).status(502)
world.faults.on("getObject").status(503).then().lose_answer()

[[fault]]
on = "listOffers"
page = 2
do = "expire_scroll"
"""

from __future__ import annotations

import difflib
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from limio_async.core.wire import Endpoint, Request, Response
from limio_async.emulator.faults import kinds
from limio_async.emulator.faults.delivery import Delivery, Framing
from limio_async.emulator.faults.kinds import KINDS, AnyFault, Fault, Later, Moment
from limio_async.emulator.faults.walks import Walks, cursor_of, with_cursor
from limio_async.errors import ConfigurationError

__all__ = ["Armed", "Fault", "Faults", "On"]


class Armed:
    """A fault that waits for its call."""

    def __init__(self, fault: Fault, faults: Faults, after: Armed | None) -> None:
        self.fault = fault
        self.fired = 0
        """How often it happened."""
        self._faults = faults
        self._after = after
        self._most = fault.most
        self._calls = 0
        self._chance = random.Random(fault.seed)  # noqa: S311  # shall be repeatable

    @property
    def spent(self) -> bool:
        """Whether it will not happen any more."""
        return self.fired >= self._most

    @property
    def waits(self) -> bool:
        """Whether it may happen now: not spent, and nothing comes before it."""
        return not self.spent and (self._after is None or self._after.spent)

    def strikes(self, arguments: Mapping[str, str], page: int) -> bool:
        """Whether this call, of page number *page*, is one that it is for."""
        fault = self.fault
        if any(arguments.get(name) != value for name, value in fault.where.items()):
            return False
        self._calls += 1
        return (
            fault.call in {None, self._calls}
            and (fault.every is None or self._calls % fault.every == 0)
            and fault.page in {None, page}
            and page >= max(fault.least_page, fault.from_page or 0)
            and (fault.probability is None or self._chance.random() < fault.probability)
        )

    def then(
        self,
        *,
        page: int | None = None,
        from_page: int | None = None,
        call: int | None = None,
        every: int | None = None,
        probability: float | None = None,
        seed: int = 1,
        times: int = 1,
    ) -> On:
        """What happens on the same operation after this one did, which then happens once if not told otherwise."""
        if self._most == float("inf"):
            self._most = 1
        conditions: dict[str, Any] = {
            "on": self.fault.on,
            "where": self.fault.where,
            "page": page,
            "from_page": from_page,
            "call": call,
            "every": every,
            "probability": probability,
            "seed": seed,
            "times": times,
        }
        return On(self._faults, conditions, self)

    def __repr__(self) -> str:
        return f"<Armed {self.fault}, fired {self.fired} times>"


class Faults:
    """The faults of a world. At most one happens to a call: of those that fit, the one that was armed first."""

    def __init__(self, operations: Iterable[str]) -> None:
        self._operations = frozenset(operations)
        self._walks = Walks()
        self.armed: list[Armed] = []

    def on(
        self,
        operation: str,
        *,
        page: int | None = None,
        from_page: int | None = None,
        call: int | None = None,
        every: int | None = None,
        probability: float | None = None,
        seed: int = 1,
        times: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> On:
        """When: calls of *operation* (`*` for any) for which all that is given holds; say what on the result.

        *page* counts within each walk; *call* and *every* count calls from now on. *times* is how often at
        most: once where a page or a call is named, else without end. *where* are path parameters.
        """
        conditions: dict[str, Any] = {
            "on": operation,
            "page": page,
            "from_page": from_page,
            "call": call,
            "every": every,
            "probability": probability,
            "seed": seed,
            "times": times,
            "where": where or {},
        }
        return On(self, conditions)

    def arm(self, fault: Fault | Mapping[str, Any], *, after: Armed | None = None) -> Armed:
        """Arm a fault that is a value or plain data. Raises `ConfigurationError` for what it does not know."""
        armed = Armed(self._checked(fault), self, after)
        self.armed.append(armed)
        return armed

    def read(self, path: str | Path) -> list[Armed]:
        """Arm all `[[fault]]` of a TOML file, or none: `ConfigurationError` names the file and the line."""
        text = _text_of(Path(path))
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from None
        for name in tables:
            if name != "fault":
                line = _line_of(text, rf"(\[+\s*)?{re.escape(name)}\b")
                raise ConfigurationError(f"{path}:{line}: unknown name {name!r}; faults are [[fault]] tables")
        entries: Any = tables.get("fault", [])
        if not isinstance(entries, list):
            raise ConfigurationError(f"{path}: write [[fault]], not [fault]")
        found: list[Fault] = []
        for number, entry in enumerate(cast("list[object]", entries)):
            try:
                found.append(self._checked(entry))
            except _Wrong as wrong:
                line = _line_in_entry(text, number, wrong.name)
                raise ConfigurationError(f"{path}:{line}: fault {number + 1}: {wrong}") from None
        return [self.arm(fault) for fault in found]

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self.armed.clear()

    @property
    def hits(self) -> Mapping[str, int]:
        """Which faults happened, and how often."""
        return {str(one.fault): one.fired for one in self.armed if one.fired}

    def deliver(
        self,
        endpoint: Endpoint[Any],
        arguments: Mapping[str, str],
        request: Request,
        *,
        now: float,
        respond: Callable[[Request], Response],
        later: Later,
    ) -> Delivery:
        """What comes of a call that *respond* would answer, if nothing goes wrong."""
        paging = endpoint.paging
        if paging is None or not paging.sends:
            moment = Moment(
                endpoint, request, cursor={}, walks=self._walks, now=now, respond=respond, later=later
            )
            return self._struck(endpoint.operation, arguments, 1, moment)
        cursor = cursor_of(paging, request)
        genuine = self._walks.genuine(cursor)
        if genuine is not cursor:
            request, cursor = with_cursor(paging, request, genuine), genuine
        if dead := self._walks.killed(cursor):
            return Delivery(answer=dead)
        page = self._walks.number(cursor)
        moment = Moment(
            endpoint, request, cursor=cursor, walks=self._walks, now=now, respond=respond, later=later
        )
        delivery = self._struck(endpoint.operation, arguments, page, moment)
        self._walks.note(paging, page, delivery.answer)
        return delivery

    def _struck(self, operation: str, arguments: Mapping[str, str], page: int, moment: Moment) -> Delivery:
        waiting = [one for one in self.armed if one.fault.on in {operation, "*"} and one.waits]
        striking = [one for one in waiting if one.strikes(arguments, page)]
        if not striking:
            return Delivery(answer=moment.answer())
        first = striking[0]
        first.fired += 1
        return msgspec.structs.replace(first.fault.strike(moment), fault=str(first.fault))

    def _checked(self, fault: object) -> Fault:
        given = msgspec.to_builtins(fault) if isinstance(fault, Fault) else fault
        if not isinstance(given, Mapping):
            raise _Wrong("a fault is a table of names and values")
        data = dict(cast("Mapping[str, Any]", given))
        kind = KINDS.get(str(data.get("do", "")))
        if kind is None:
            raise _Wrong(_unknown("do", data.get("do"), KINDS), "do")
        known = {*kind.__struct_fields__, "do"}
        for name in data:
            if name not in known:
                raise _Wrong(f"{data['do']} {_unknown('has', name, known)}", name)
        try:
            checked = cast("Fault", msgspec.convert(data, type=AnyFault))
        except msgspec.ValidationError as error:
            said, _, spot = str(error).partition(" - at `$.")
            name = re.split(r"\W", spot)[0]
            raise _Wrong(f"{name}: {said}" if name else said, name) from None
        if checked.on != "*" and checked.on not in self._operations:
            raise _Wrong(_unknown("on", checked.on, self._operations), "on")
        return checked


class On:
    """Says what goes wrong. Each method arms one fault and gives it back."""

    def __init__(self, faults: Faults, conditions: dict[str, Any], after: Armed | None = None) -> None:
        self._faults = faults
        self._conditions = {
            name: value for name, value in conditions.items() if value is not None and value != {}
        }
        self._after = after

    def _arm(self, kind: type[Fault], **facts: Any) -> Armed:
        given = {name: value for name, value in facts.items() if value is not None}
        return self._faults.arm(kind(**self._conditions, **given), after=self._after)

    def expire_scroll(self, *, code: Literal[400, 404, 410] = 404) -> Armed:
        """The cursor is not known any more, now and later."""
        return self._arm(kinds.ExpireScroll, code=code)

    def repeat_page(self) -> Armed:
        """The page before comes once more; the walk does not advance."""
        return self._arm(kinds.RepeatPage)

    def drop_page(self) -> Armed:
        """The page after comes instead."""
        return self._arm(kinds.DropPage)

    def empty_page(self) -> Armed:
        """No items, and a cursor."""
        return self._arm(kinds.EmptyPage)

    def repeat_cursor(self) -> Armed:
        """The cursor that was asked with comes back."""
        return self._arm(kinds.RepeatCursor)

    def change_cursor(self, to: str) -> Armed:
        """Another text stands for the cursor and is understood, however long or strange."""
        return self._arm(kinds.ChangeCursor, to=to)

    def end_early(self, cursor: Literal["absent", "null", "empty"] = "absent") -> Armed:
        """The cursor is missing, null or empty text, as after a last page."""
        return self._arm(kinds.EndEarly, cursor=cursor)

    def change_commit_id(self) -> Armed:
        """The page belongs to another build of the index; with `from_page=`, all pages from there on."""
        return self._arm(kinds.ChangeCommitId)

    def wrong_hits(self, hits: int) -> Armed:
        """`hits` is *hits*."""
        return self._arm(kinds.WrongHits, hits=hits)

    def bad_item(self, *, at: int = 0, field: str | None = None, value: object = 7) -> Armed:
        """An item, or a *field* of it, is *value*, which is of a wrong type."""
        fault = kinds.BadItem(**self._conditions, at=at, field=field, value=value)
        return self._faults.arm(fault, after=self._after)

    def duplicate_items(self, count: int = 1) -> Armed:
        """The last *count* items of the page before come once more."""
        return self._arm(kinds.DuplicateItems, count=count)

    def drop_items(self, count: int = 1) -> Armed:
        """The first *count* items are missing."""
        return self._arm(kinds.DropItems, count=count)

    def page_limit(self, bytes: int = 6_291_556, *, code: Literal[413, 500, 502, 504] = 502) -> Armed:
        """An answer of more than *bytes* bytes becomes *code*."""
        return self._arm(kinds.PageLimit, bytes=bytes, code=code)

    def status(
        self,
        code: int,
        *,
        message: str | None = None,
        html: bool = False,
        body: str | None = None,
        content_type: str | None = None,
        retry_after: float | str | None = None,
        as_date: bool = False,
        location: str | None = None,
        executed: bool = False,
    ) -> Armed:
        """Another status. Nothing happens unless *executed*: then the call does, and its answer is this one.

        *retry_after* is seconds (*as_date*: sent as an HTTP date) or any text. *body* is any text.
        """
        return self._arm(
            kinds.Status,
            code=code,
            message=message,
            html=html,
            body=body,
            content_type=content_type,
            retry_after=retry_after,
            as_date=as_date,
            location=location,
            executed=executed,
        )

    def fail_later(
        self, seconds: float = 30.0, *, plugin: str = "zuora", message: str = "Payment declined"
    ) -> Armed:
        """An order is accepted as always, and fails *seconds* later: its status says so, and its process what *plugin* said."""
        return self._arm(kinds.FailLater, seconds=seconds, plugin=plugin, message=message)

    def html(self) -> Armed:
        """200 and a page for people, such as a login page."""
        return self._arm(kinds.Html)

    def content_type(self, type: str = "text/plain") -> Armed:
        """The answer says that it is of another type than it is."""
        return self._arm(kinds.ContentType, type=type)

    def never_sent(self) -> Armed:
        """The request does not arrive: nothing happens, nothing is counted."""
        return self._arm(kinds.NeverSent)

    def lose_answer(self) -> Armed:
        """The call happens; the connection is reset before the head of the answer."""
        return self._arm(kinds.LoseAnswer)

    def reset(self) -> Armed:
        """The call happens; the connection is reset within the body of the answer."""
        return self._arm(kinds.Reset)

    def truncate_body(self, framing: Framing = "length") -> Armed:
        """The call happens; half of the body comes, then a polite end of the connection."""
        return self._arm(kinds.TruncateBody, framing=framing)

    def delay(self, seconds: float) -> Armed:
        """The answer comes *seconds* later."""
        return self._arm(kinds.Delay, seconds=seconds)

    def slow_body(self, seconds: float) -> Armed:
        """The body comes piece by piece over *seconds*."""
        return self._arm(kinds.SlowBody, seconds=seconds)

    def gzip_bomb(self, megabytes: int = 64) -> Armed:
        """A small answer that inflates to *megabytes*."""
        return self._arm(kinds.GzipBomb, megabytes=megabytes)

    def not_http(self) -> Armed:
        """The call happens; what comes back is not HTTP."""
        return self._arm(kinds.NotHttp)


class _Wrong(ConfigurationError):
    """A fault that cannot be armed, and the name that is to blame."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    if given is None:
        return f"{what} is missing; one of {', '.join(sorted(known))}"
    near = difflib.get_close_matches(str(given), sorted(known), n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{what} unknown {given!r}{hint}" if what == "has" else f"{what}: unknown {given!r}{hint}"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None


def _line_of(text: str, pattern: str, start: int = 0) -> int:
    """The number of the first line at or after *start* that begins with *pattern*; else that of *start*."""
    found = re.compile(rf"^[ \t]*{pattern}", re.MULTILINE).search(text, start)
    return text.count("\n", 0, found.start() if found else start) + 1


def _line_in_entry(text: str, number: int, name: str) -> int:
    """The line of *name* in the n-th `[[fault]]`, or of the entry's beginning."""
    starts = [found.start() for found in re.finditer(r"^[ \t]*\[\[\s*fault\s*\]\]", text, re.MULTILINE)]
    if number >= len(starts):  # written in another way that TOML has
        return 1
    end = starts[number + 1] if number + 1 < len(starts) else len(text)
    entry = text[:end]
    begin = starts[number] + 1 if name else starts[number]
    return _line_of(entry, rf'"?{re.escape(name)}"?\s*[=.]', begin) if name else _line_of(text, "", begin)
