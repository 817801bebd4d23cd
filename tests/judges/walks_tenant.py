"""A tenant that holds one list, walks it by its kind of cursor, goes wrong as the scenario says, and logs what it sent.

Its log is what the verdict follows from; nothing in it comes from the client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import parse_qs

from tests.judges.walks_list import Item, Snapshot, grown, made, page_of
from tests.judges.walks_refuse import beside, refusal
from tests.judges.walks_scenario import Scenario
from tests.judges.walks_wire import LOST, ROTTEN, Reply, Request

__all__ = ["EXPIRED", "Entry", "ListTenant", "Pass", "spoil_token"]

EXPIRED = (400, 404, 410)
ENDLESS = 250
"""So many requests no part of a walk needs."""
_DEEP = b"[" * 20_000 + b"]" * 20_000


@dataclass(eq=False)
class Pass:
    """One way through the list within one part, from its top (or where a resume asked) on."""

    snapshot: Snapshot
    part: int
    at: int = 0
    """Where the server stands."""
    size: int = 0
    gone: bool = False
    first_end: int = 0
    """Where its first page ended."""


@dataclass(eq=False)
class Entry:
    """One line of the log."""

    part: int
    what: str
    target: str
    reply: Reply
    note: str = ""
    items: Sequence[Item] = ()
    snapshot: Snapshot | None = None
    walk: Pass | None = None
    end: bool = False
    opens: bool = False
    """Whether it asks for a scroll to be opened."""
    alone: bool = False
    """Whether it asks for one page of a catalog, without a scroll."""

    def __str__(self) -> str:
        sent = {None: "not sent", False: "not whole", True: "whole"}[self.reply.whole]
        names = " ".join(item.name for item in self.items) if self.what == "page" else ""
        return (
            f"part {self.part}: {self.what:5} {self.target:40} {'one page ' if self.alone else ''}-> "
            f"{self.reply.status} "
            f"{self.reply.fault or self.reply.style} {sent} {self.note} [{names}] {'END' if self.end else ''}"
        )


class ListTenant:
    """Answers the requests of one walk."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.log: list[Entry] = []
        self.part = 0
        """The number of the part that is walked."""
        self.benign = False
        """Whether it answers well from now on, and logs nothing: the walk is over."""
        self.single: Item | None = None
        """What is answered to whoever asks for a single object."""
        self.lied: list[str] = []
        self.odd = False
        """Whether something was sent that a client may read or refuse."""
        self.snapshots = [made(scenario, 0)]
        self._passes: list[Pass] = []
        self._requests = 0
        self._begun_at = 0
        self._faults = 0
        self._serial = 10_000
        self._tokens: dict[str, int] = {}

    def begin_part(self) -> None:
        """Another client, or another resume, comes next."""
        self.part += 1
        self._begun_at = self._requests

    @property
    def endless(self) -> bool:
        """Whether more was asked than any walk needs."""
        return self._requests - self._begun_at > ENDLESS

    def accepts(self, connection: int) -> bool:
        """Serve every connection."""
        return True

    def reads_body(self, request: Request) -> bool:
        """Read every body."""
        return True

    def answer(self, request: Request) -> Reply:
        """Answer a page, a token, or a simple call."""
        if request.path == "/oauth2/token":
            return self._token(request)
        if self.single is not None and self._authorized(request):
            return Reply(body=self.single.raw)
        if self.single is not None:
            return Reply(status=401, body=b"{}")
        if self.benign:
            return Reply(body=b'{"id":"x","name":"x"}')
        self._requests += 1
        if self.endless:
            return Reply(status=403, body=b"{}")
        r = Random(f"{self.scenario.seed}/{self._requests}")
        self._rebuild()
        entry = self._page(request, r)
        self.log.append(entry)
        return entry.reply

    # the token endpoint

    def _token(self, request: Request) -> Reply:
        s, n = self.scenario, len(self._tokens)
        form = parse_qs(request.body.decode("latin-1"))
        r = Random(f"{s.seed}/token/{n}")
        token = f"token-{n}"
        self._tokens[token] = s.token_life
        good = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        reply = Reply(body=json.dumps(good).encode())
        entry = Entry(self.part, "token", "/oauth2/token", reply)
        if form.get("client_secret") != ["secret"]:
            reply.status, entry.note = 401, "no secret"
        elif not self.benign and r.random() < s.token_rate:
            spoil_token(reply, r)
            entry.note = "token fault"
        if not self.benign:
            self.log.append(entry)
        return reply

    def _authorized(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.scenario.auth == "static":
            return given in {"token", "key"}
        left = self._tokens.get(given, 0)
        self._tokens[given] = left - 1
        return left > 0

    # pages

    def _page(self, request: Request, r: Random) -> Entry:
        s, query = self.scenario, request.query
        shown = ", ".join(f"{name}={value}" for name, value in query.items() if name != "opt.all")
        entry = Entry(self.part, "page", f"({shown})", Reply(style=_style(r)))
        if not self._authorized(request):
            return self._refused(entry, 401, "token expired")
        cursor = query.get("opt.queryMoreFrom") or query.get("queryMore")
        entry.alone = s.kind == "scroll" and cursor is None and query.get("opt.all") != "true"
        entry.opens = s.kind == "scroll" and cursor is None and not entry.alone
        walk = self._find(cursor)
        size = max(1, int(query.get("opt.pageSize") or query.get("limit") or s.page))
        if cursor is not None and (walk is None or walk.gone):
            return self._refused(entry, EXPIRED[s.seed % 3], "expired")
        if s.expiry and self._requests == s.expiry and cursor is not None and walk is not None:
            walk.gone = True
            return self._refused(entry, EXPIRED[s.seed % 3], "expires")
        if s.kind == "whole":
            size = 1 << 30
        elif s.remembers and walk is not None:
            size = walk.size
        if s.cap and size > s.cap and self._requests > s.cap_from:
            return self._refused(entry, s.cap_status, "too large")
        if walk is None:
            walk = Pass(self.snapshots[-1], self.part, size=size) if entry.alone else None
            walk = walk or self._begun(self.snapshots[-1], size)
        fault = self._fault(r)
        if fault == "status":
            entry.reply.headers = {"Retry-After": "0"} if r.random() < 0.3 else {}
            status = r.choice(s.statuses)
            if status >= 500 and s.remembers and r.random() < 0.5:
                walk.at += size  # it was executed all the same
            return self._refused(entry, status, "fault")
        start = walk.at if s.remembers or cursor is None else _position(walk.snapshot, cursor)
        passed = cursor is not None and cursor.endswith("passed")  # an empty page led here
        self._fill(entry, walk, start, size, r, passed=passed)
        self._spoil(entry, fault, r)
        if not fault:
            self._refuse(entry, walk, start)
        if fault in {"items null", "no items"} and r.random() < 0.5:
            walk.at = start
        return entry

    def _refused(self, entry: Entry, status: int, note: str) -> Entry:
        entry.reply.status, entry.note = status, note
        entry.reply.body = json.dumps({"message": note}).encode()
        if status == 302:
            entry.reply.headers = {"Location": "/elsewhere"}
        return entry

    def _fault(self, r: Random) -> str:
        s = self.scenario
        if r.random() >= s.rate or self._faults >= s.most:
            return ""
        self._faults += 1
        return r.choice(s.faults)

    def _begun(self, snapshot: Snapshot, size: int) -> Pass:
        walk = Pass(snapshot, self.part, size=size)
        self._passes.append(walk)
        return walk

    def _find(self, cursor: str | None) -> Pass | None:
        """The pass that goes on with this cursor; None for the top, and for a cursor that nobody knows."""
        if cursor is None:
            return None
        number = cursor[1:].partition("-")[0]
        if not number.isdigit():
            return None
        if self.scenario.remembers:
            return self._passes[int(number)] if int(number) < len(self._passes) else None
        snapshot, last = self.snapshots[int(number)], self._passes[-1]
        same = last.snapshot is snapshot and last.part == self.part
        return last if same else self._begun(snapshot, 0)

    def _fill(self, entry: Entry, walk: Pass, start: int, size: int, r: Random, *, passed: bool) -> None:
        """Put the page from *start* into the answer, or what the server lies instead, and move on."""
        s, all_items = self.scenario, walk.snapshot.items
        if entry.alone:
            self._fill_alone(entry, walk, size, r)
            return
        items: Sequence[Item] = all_items[start : start + size]
        following = start + len(items)
        if not passed and start > 0 and following < len(all_items) and r.random() < s.empties:
            items, following = (), start
        if s.lie == "wrong hits":
            self.lied.append(s.lie)
        if items and self._lies_now(start, following, len(all_items)):
            items, following = self._lie(entry, walk, items, start, following)
        walk.first_end = walk.first_end or following
        last = following >= len(all_items)
        more = not last or (s.kind == "scroll" and s.ends_empty and bool(items))
        entry.walk, entry.snapshot, entry.items = walk, walk.snapshot, items
        entry.end = not more or (s.kind == "scroll" and not items)
        walk.at = following
        cursor = self._next(walk, following, more=more, empty=not items)
        entry.reply.body = page_of(s, walk.snapshot, items, cursor, r)

    def _fill_alone(self, entry: Entry, walk: Pass, size: int, r: Random) -> None:
        """Put the first page into the answer, and no cursor."""
        s = self.scenario
        if s.lie == "wrong hits":
            self.lied.append(s.lie)
        entry.walk, entry.snapshot, entry.items = walk, walk.snapshot, walk.snapshot.items[:size]
        entry.end = size >= len(walk.snapshot.items)
        entry.reply.body = page_of(s, walk.snapshot, entry.items, ..., r)

    def _next(self, walk: Pass, following: int, *, more: bool, empty: bool) -> Any:
        s = self.scenario
        if not more:
            return {"absent": ..., "null": None, "empty": "" if s.kind != "scroll" else None}[s.end]
        if s.kind != "scroll":
            number = self._passes.index(walk) if s.remembers else walk.snapshot.number
            before = walk.snapshot.items[following - 1].serial if following else "top"
            return f"c{number}-{before}-{'passed' if empty else 'listed'}"
        number = self._passes.index(walk)
        text = f"c{number}" if s.cursor == "same" else f"c{number}-{len(self.log)}"
        return {"from": text, "alias": "catalog_test"}

    def _lies_now(self, start: int, following: int, total: int) -> bool:
        """Whether this page is the one to lie on; all but the loop lie once."""
        s = self.scenario
        if s.lie in {"", "wrong hits"} or (self.lied and s.lie not in {"loop", "comes back"}) or not total:
            return False
        if s.lie == "item twice":
            return following > s.lie_at * total
        return start > 0 and following > s.lie_at * total

    def _lie(
        self, entry: Entry, walk: Pass, items: Sequence[Item], start: int, following: int
    ) -> tuple[Sequence[Item], int]:
        s, total = self.scenario, len(walk.snapshot.items)
        before = self._before(walk, start)
        told: tuple[Sequence[Item], int] | None = None
        match s.lie:
            case "page twice" if before:
                told = before, start
            case "page instead of the next" if before:
                told = before, following
            case "page left out" if following < total:
                told = walk.snapshot.items[following : following + len(items)], following + len(items)
                told = told[0], min(told[1], total)
            case "item twice":
                told = (*items[:1], *items), following
            case "loop" if before:
                told = before, start
            case "comes back" if walk.first_end and following < total:
                told = items, walk.first_end
            case _:
                pass
        if told is None:
            return items, following
        self.lied.append(s.lie)
        entry.note = s.lie
        return told

    def _before(self, walk: Pass, start: int) -> Sequence[Item]:
        """The page that was sent whole before *start*, on the same way through the list."""
        wanted = walk.snapshot.items[start - 1].serial
        for entry in reversed(self.log):
            same = entry.snapshot is walk.snapshot and entry.reply.whole and entry.items
            if self.scenario.remembers and entry.walk is not walk:
                continue
            if same and entry.items[-1].serial == wanted:
                return entry.items
        return ()

    def _spoil(self, entry: Entry, fault: str, r: Random) -> None:
        """Let the answer go wrong; what it held was not sent then."""
        reply, error = entry.reply, r.choice(('"error"', '"errorMessage"', '"errors"'))
        if fault in LOST or fault in ROTTEN:
            reply.fault = fault
        elif fault in {"items null", "no items"}:
            head = '"items":null,"subscriptions":null,' if fault == "items null" else ""
            value = '["the index is down"]' if error == '"errors"' else '"the index is down"'
            reply.body = f"{{{head}{error}:{value}}}".encode()
            entry.items, entry.end, entry.note = (), False, fault
        elif fault in {"deep", "not utf-8"}:
            self.odd = True
            rest = _DEEP if fault == "deep" else b'"\xff\xfe"'
            reply.body = reply.body[:-1] + b',"more":' + rest + b"}"
        if fault:
            entry.note = f"{entry.note} {fault}".strip()

    def _refuse(self, entry: Entry, walk: Pass, start: int) -> None:
        """Answer a page that would be good with a no, or put an error beside its items."""
        r = Random(f"{self.scenario.seed}/refusals/{self._requests}")
        if r.random() >= self.scenario.refuses:
            return
        if entry.items and r.random() < 0.3:
            entry.reply.body = beside(entry.reply.body, r)
            return
        entry.reply.status, entry.reply.body = refusal(r)
        entry.items, entry.end, entry.note = (), False, "says no"
        if r.random() < 0.5:
            walk.at = start

    # the list itself

    def _rebuild(self) -> None:
        """Let time pass: a catalog that is built anew, an item that comes to the top of a list."""
        s = self.scenario
        if not s.rebuild or self._requests != s.rebuild_at:
            return
        last = self.snapshots[-1]
        if s.rebuild == "newest first":
            self._serial += 1
            self.snapshots.append(grown(last, self._serial))
            return
        self.snapshots.append(made(s, last.version + 1))
        for walk in self._passes:
            if s.rebuild == "expire":
                walk.gone = True
            elif s.rebuild == "switch":
                walk.snapshot = self.snapshots[-1]


def _position(snapshot: Snapshot, cursor: str) -> int:
    """Where a cursor points that says so itself."""
    after = cursor.split("-")[1]
    return snapshot.after(int(after)) if after.isdigit() else 0


def _style(r: Random) -> str:
    return r.choices(("length", "chunked", "gzip", "close"), (80, 7, 8, 5))[0]


def spoil_token(reply: Reply, r: Random) -> None:
    """Let an answer of a token endpoint go wrong."""
    match r.choice(("status", "body", "wire")):
        case "status":
            reply.status = r.choice((500, 502, 503, 400, 403, 404, 429))
            reply.body = b"<html>down</html>"
        case "body":
            reply.fault = r.choice(ROTTEN)
        case _:
            reply.fault = r.choice(
                ("reset before", "reset within", "cut", "no http", "bad chunk", "bad gzip")
            )
