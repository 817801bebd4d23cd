"""A tenant for a night: lists with odd items, objects that are refused, outages by the clock. It shares no code with the package.

Everything follows from a seed and from the seconds since the night began, so a process that is killed and started again goes on
as the same tenant; it only forgets its scrolls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

__all__ = [
    "CATALOGS",
    "CHILDREN",
    "KINDS",
    "OBJECTS",
    "STREAMS",
    "NightTenant",
    "Odd",
    "Outage",
    "Reply",
    "Truth",
]

CATALOGS = ("offers", "products", "campaigns", "segments", "add_ons")
OBJECTS = ("subscriptions", "orders")
CHILDREN = "subscriptions.events"
STREAMS = (*CATALOGS, *OBJECTS, CHILDREN)
_PAGE, _FEW = 20, 3
_REFUSALS = (403, 400, 404, 410)
_SOON = 15.0  # seconds until the first outage: what has never answered is not waited for
_WELL_AFTER = 65.0
_LONGEST_PAUSE = 30.0
_SHARE = 0.8  # of the patience
KINDS = ("503", "504", "502", "429", "refused", "dns", "timeout", "reset", "cut")


@dataclass(frozen=True)
class Outage:
    """From one second of the night to another, nobody gets an answer."""

    begins: float
    ends: float
    kind: str


@dataclass(frozen=True)
class Reply:
    """What a request meets."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """`refused`, `dns`, `timeout`, `reset` or `cut` in place of an answer."""
    delay: float = 0.0


@dataclass(frozen=True)
class Odd:
    """What no table can hold, or no model reads."""

    kind: str
    raws: tuple[bytes, ...]
    """One of these is what the quarantine has."""
    storable: bool = False
    """Whether some targets hold it as a row."""


@dataclass
class Truth:
    """What a target must hold of a stream after a complete run."""

    well: dict[str, bytes] = field(default_factory=dict)
    """Exact bytes by key; rows that live and are fresh."""
    odd: list[Odd] = field(default_factory=list)
    refused: dict[str, bytes] = field(default_factory=dict)
    """The bytes in quarantine by key."""
    stale: dict[str, bytes] = field(default_factory=dict)
    """Rows that live and could not be refreshed."""
    gone: set[str] = field(default_factory=set)
    """Keys of rows that are marked as deleted."""


@dataclass
class _Object:
    """One object of a list of objects."""

    id: str
    summary: bytes
    whole: bytes
    status: int = 200
    odd: str = ""
    children: list[bytes] = field(default_factory=list)
    children_status: int = 200


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _ends(at: str, tail: bytes) -> Callable[[str], bytes]:
    return lambda name: b'{"id":%b,%b' % (_dumped(at + name), tail)


_ODD: Mapping[str, tuple[Callable[[str], bytes], bool]] = {
    "NUL in the id": (lambda name: b'{"id":"nul\\u0000%b","path":"/x"}' % name.encode(), False),
    "half a surrogate pair": (_ends("half", b'"name":"\\ud800"}'), False),
    "half a surrogate pair in a key": (_ends("halfkey", b'"data":{"\\udc00":1}}'), False),
    "a number beyond a double": (_ends("long", b'"data":{"amount":1e400}}'), False),
    "a number of 5,000 digits": (_ends("digits", b'"data":{"amount":%b}}' % (b"7" * 5_000)), False),
    "a name that is an object": (_ends("typed", b'"name":{"en":"a"},"data":5}'), False),
    "an id that is a list": (lambda name: b'{"id":["%b"],"name":"a"}' % name.encode(), False),
    "a text": (lambda name: _dumped(f"only {name}"), False),
    "a list": (lambda name: b"[1,%b]" % _dumped(name), False),
    "no id": (lambda name: b'{"name":"%b"}' % name.encode(), False),
    "nested 3,000 deep": (_ends("deep", b'"data":%b%b}' % (b"[" * 3_000, b"]" * 3_000)), False),
    "not UTF-8": (_ends("bytes", b'"name":"\xff\xfe"}'), False),
    "NUL in a text": (_ends("nultext", b'"name":"a\\u0000b"}'), True),
    "a number of 300 digits": (_ends("big", b'"data":{"amount":%b}}' % (b"7" * 300)), True),
}
"""Odd items by what is odd: how each is made of a name, and whether some targets hold it."""


class NightTenant:
    """Answers requests. *seconds* is how long its outages go on, *pace* how slow it is, in seconds an object."""

    def __init__(self, seed: int, *, seconds: float, pace: float, patience: float, size: int = 100, longest: float = 40.0, long: float = 0.0, kinds: Sequence[str] = KINDS) -> None:  # fmt: skip
        self._random = Random(seed)
        self._luck = Random(f"{seed} answers")  # one of its own: what there is does not depend on who asks
        self._pace = pace
        self.happened: Counter[str] = Counter()
        """Outages, losses and refusals that somebody met."""
        self.outages = [*_outages(self._random, kinds, seconds, patience, longest, long)]
        self.moments = sorted(self._random.uniform(0, seconds) for _ in range(int(seconds / 90)))
        """When a catalog is rebuilt, or all scrolls are lost, by turns."""
        self.catalogs = {name: self._catalog(name, size) for name in CATALOGS}
        self.objects = {name: self._objects(name, size * (4 if name == "subscriptions" else 2)) for name in OBJECTS}  # fmt: skip
        self._odd_summaries: dict[str, list[tuple[str, bytes]]] = {}
        for name in OBJECTS:
            kinds = ("no id", "a text", "an id that is a list")
            self._odd_summaries[name] = [(kind, _ODD[kind][0](f"{name}-summary")) for kind in kinds]
        self._scrolls: dict[str, tuple[str, float, list[bytes], int]] = {}
        self._made = 0
        self._before: dict[str, Truth] = {}

    # --- what there is

    def _catalog(self, name: str, size: int) -> list[tuple[str, str, bytes]]:
        """Items in their order: key, what is odd, bytes."""
        found = [(f"{name}-{number}", "", self._well(f"{name}-{number}")) for number in range(size)]
        for kind in self._random.sample([*_ODD], max(4, size // 10)) if size >= 40 else ():
            raw = _ODD[kind][0](f"{name}-odd")
            found.insert(self._random.randrange(len(found)), (f"{name}-odd-{kind}", kind, raw))
        twice = self._random.choice([one for one in found[: size // 2] if not one[1]])
        found.append(twice)
        return found

    def _well(self, name: str, **more: Any) -> bytes:
        text = self._random.choice(
            ("plain", "ümläut", "emoji 😀", 'quote " \\ slash', "new\nline", "0", "\u2028")
        )
        data = {"cost": self._random.choice((1.5, 0, -3, 1e-9, 2**53)), "text": text}
        return _dumped({"id": name, "name": f"{name} {text}", "path": f"/x/{name}", "data": data, "modified": "2026-01-01T10:00:00Z", **more})  # fmt: skip

    def _objects(self, name: str, size: int) -> list[_Object]:
        chance = self._random
        made = [self._object(name, f"{name}-{number}") for number in range(size)]
        made.append(self._object(name, f"{name}/with a slash"))
        rest = chance.sample(made, 26)
        for one, status in zip(
            rest[:6], (*_REFUSALS, 403, 401 if name == "subscriptions" else 404), strict=True
        ):
            one.status = status
        for one, status in zip(rest[6:11], (*_REFUSALS, 403), strict=True):
            one.children_status = status
        kinds = [
            kind
            for kind in _ODD
            if kind not in {"a text", "a list", "no id", "an id that is a list", "NUL in the id"}
        ]
        for one, kind in zip(rest[11:], chance.sample(kinds, 5), strict=False):
            one.odd = kind
            one.whole = _ODD[kind][0](one.id).replace(b'{"id":', b'{"id":%b,"was":' % _dumped(one.id))
        for one in rest[16:20]:
            one.children.append(
                _ODD[chance.choice([kind for kind in _ODD if kind != "nested 3,000 deep"])][0](one.id)
            )
        return made

    def _object(self, name: str, own: str) -> _Object:
        record = {"record_type": name.rstrip("s"), "updated": "2026-01-01T10:00:00Z"}
        summary = _dumped({"id": own, **record})
        whole = _dumped({"id": own, **record, "data": {"note": self._random.choice(("a", "ß", "😀")), "at": self._random.random()}})  # fmt: skip
        children = [
            _dumped({"id": f"e{number}", "of": own}) for number in range(self._random.choice((0, 1, 1, 2, 7)))
        ]
        return _Object(own, summary, whole, children=children if name == "subscriptions" else [])

    def truth(self) -> Mapping[str, Truth]:
        """What a target must hold now, by stream."""
        found = {name: self._truth_of_catalog(name) for name in CATALOGS}
        for name in OBJECTS:
            found[name] = self._truth_of_objects(name)
        found[CHILDREN] = self._truth_of_children()
        for name, before in self._before.items():
            now = found[name]
            had = {**before.stale, **before.well}
            unseen = {key for key in had if key not in now.well}
            for key in unseen:
                (now.stale.update({key: had[key]}) if self._is_kept(name, key, now) else now.gone.add(key))
            now.gone |= {key for key in before.gone if key not in now.well}
        return found

    def _is_kept(self, name: str, key: str, now: Truth) -> bool:
        """Whether a row whose item did not come well stays."""
        if name in CATALOGS:
            return False
        objects = {quote(one.id, safe=" ") if name == CHILDREN else one.id: one for one in self.objects["subscriptions" if name == CHILDREN else name]}  # fmt: skip
        if name != CHILDREN:
            return key in objects
        parent = objects.get(key.rpartition("/")[0])
        return parent is not None and parent.children_status != 200

    def _truth_of_catalog(self, name: str) -> Truth:
        truth = Truth()
        for key, odd, raw in self.catalogs[name]:
            if odd:
                truth.odd.append(Odd(odd, (raw,), storable=_ODD[odd][1]))
            else:
                truth.well[key] = raw
        return truth

    def _truth_of_objects(self, name: str) -> Truth:
        truth = Truth()
        for kind, raw in self._odd_summaries[name]:
            truth.odd.append(Odd(kind, (raw,)))
        for one in self.objects[name]:
            if one.status != 200:
                truth.refused[one.id] = one.summary
            elif one.odd:
                truth.odd.append(Odd(one.odd, (one.whole, one.summary), storable=_ODD[one.odd][1]))
            else:
                truth.well[one.id] = one.whole
        return truth

    def _truth_of_children(self) -> Truth:
        truth = Truth()
        for one in self.objects["subscriptions"]:
            parent = one.id.replace("%", "%25").replace("/", "%2F")
            if one.children_status != 200:
                truth.refused[f"{parent}/"] = b""
                continue
            for raw in one.children:
                if raw.startswith(b'{"id":"e') and raw.endswith(b"}") and b'"of"' in raw:
                    truth.well[f"{parent}/{json.loads(raw)['id']}"] = raw
                else:
                    storable = b"\\u0000b" in raw or (b"7" * 300 in raw and b"7" * 301 not in raw)
                    truth.odd.append(Odd("child", (raw,), storable=storable))
        return truth

    def next_night(self) -> None:
        """Let a day pass: some things change, are refused or mend, appear and disappear."""
        self._before = dict(self.truth())
        chance = self._random
        for name in CATALOGS:
            items = self.catalogs[name]
            well = [one for one in items if not one[1] and items.count(one) == 1]
            for key, _, raw in chance.sample(well, 4):
                items[items.index((key, "", raw))] = (key, "", self._well(key, changed=True))
            items.remove(chance.choice([one for one in items if not one[1] and items.count(one) == 1]))
            items.append((f"{name}-new", "", self._well(f"{name}-new")))
        for name in OBJECTS:
            fine = [one for one in self.objects[name] if one.status == 200 and not one.odd]
            for one in self.objects[name]:
                if one.status != 200 and chance.random() < 0.5:
                    one.status = 200
            refused, *changed = chance.sample(fine, 9)
            refused.status = 403
            for one in changed:
                again = self._object(name, one.id)
                one.whole, one.children = again.whole, again.children

    # --- what it answers

    def outage(self, now: float) -> Outage | None:
        """The outage at this second."""
        return next((one for one in self.outages if one.begins <= now < one.ends), None)

    def answer(self, now: float, path: str, query: Mapping[str, str]) -> Reply:
        """Return what a GET of *path*, escaped as it came, meets at this second; of `/oauth2/token` a POST."""
        if (outage := self.outage(now)) is not None:
            self.happened[f"met {outage.kind}"] += 1
            return self._away(outage)
        if path == "/oauth2/token":
            return Reply(
                _dumped({"access_token": f"t{self._made}", "token_type": "Bearer", "expires_in": 3600})
            )
        if self._luck.random() < 0.002:
            self.happened["met one 503"] += 1
            return Reply(
                b'{"message":"just once"}', 503, {"Retry-After": "2"} if self._luck.random() < 0.3 else {}
            )
        _, api, *rest = path.split("/")
        if api == "api" and len(rest) == 1 and (name := rest[0].replace("-", "_")) in CATALOGS:
            return self._catalog_page(now, name, query)
        if rest[:2] == ["objects", "limio"] and rest[2] in OBJECTS:
            return self._object_or_list(rest[2], rest[3:], query)
        return Reply(b'{"message":"not here"}', 404)

    def _away(self, outage: Outage) -> Reply:
        match outage.kind:
            case "503" | "504":
                return Reply(b'{"message":"Service Unavailable"}', int(outage.kind))
            case "502":
                return Reply(b"<html><h1>502 Bad Gateway</h1></html>", 502, {"Content-Type": "text/html"})
            case "429":
                after = (
                    {"Retry-After": str(self._luck.choice((1, 2, 5)))} if self._luck.random() < 0.7 else {}
                )
                return Reply(b'{"message":"Too Many Requests"}', 429, after)
            case _:
                return Reply(fault=outage.kind, delay=0.02)

    def _catalog_page(self, now: float, name: str, query: Mapping[str, str]) -> Reply:
        size = int(query.get("opt.pageSize", _PAGE))
        items = [raw for _, _, raw in self.catalogs[name]]
        different = len({*items})
        passed = sum(one <= now for one in self.moments)
        cursor = query.get("opt.queryMoreFrom")
        if cursor is None:
            self._made += 1
            cursor, begun, at = f"{name}-{self._made}-{self._luck.random()}", now, 0
        elif cursor not in self._scrolls:
            return self._lost()
        else:
            _, begun, items, at = self._scrolls[cursor]
            since = [number for number, one in enumerate(self.moments) if begun < one <= now]
            if since and since[-1] % 2:
                del self._scrolls[cursor]
                return self._lost()
            if since:
                self.happened["met a rebuilt catalog"] += 1
        page = items[at : at + size]
        more = at + size < len(items)
        self._scrolls[cursor] = (name, begun, items, at + size)
        head = b'"hits":{"value":%d,"relation":"eq"},"commitId":"c%d"' % (different, passed // 2)
        tail = (
            b',"queryMore":{"from":%b,"alias":"a"}' % _dumped(cursor)
            if more and query.get("opt.all")
            else b""
        )
        return Reply(b'{%b,"items":[%b]%b}' % (head, b",".join(page), tail), delay=self._pace / 5)

    def _lost(self) -> Reply:
        self.happened["met a lost scroll"] += 1
        return Reply(b'{"message":"no search context found"}', 404)

    def _object_or_list(self, name: str, rest: Sequence[str], query: Mapping[str, str]) -> Reply:
        at = int(query.get("queryMore", 0))
        if not rest:
            size = int(query.get("limit", _PAGE))
            odd = [raw for _, raw in self._odd_summaries[name]]
            every = [one.summary for one in self.objects[name]]
            items = [*every[:10], *odd, *every[10:]]
            return self._listed(items, at, size)
        found = next((one for one in self.objects[name] if quote(one.id, safe="") == rest[0]), None)
        if found is None:
            return Reply(b'{"message":"no such object"}', 404)
        status = found.status if len(rest) == 1 else found.children_status
        delay = self._pace * self._luck.uniform(0.5, 1.5)
        if status != 200:
            self.happened[f"met a refusal, {status}"] += 1
            return Reply(b'{"message":"not for you"}', status, delay=delay)
        if len(rest) == 1:
            return Reply(found.whole, delay=delay)
        return self._listed(found.children, at, _FEW, delay=delay)

    def _listed(self, items: Sequence[bytes], at: int, size: int, *, delay: float = 0.0) -> Reply:
        more = b',"queryMore":"%d"' % (at + size) if at + size < len(items) else b""
        return Reply(
            b'{"items":[%b]%b}' % (b",".join(items[at : at + size]), more), delay=delay or self._pace / 5
        )


def _outages(
    chance: Random, kinds: Sequence[str], seconds: float, patience: float, longest: float, long: float
) -> Iterator[Outage]:
    """Outages that a job of this patience rides out, and a *long* one.

    Those less than a minute apart count together, and each may cost the pause besides in which it ends.
    """
    at, spent = _SOON + chance.random(), 0.0
    while at < seconds:
        lasts = longest ** chance.random()
        costs = lasts + min(lasts, _LONGEST_PAUSE) + 1
        if spent and spent + costs > patience * _SHARE:
            at, spent = at + _WELL_AFTER + _LONGEST_PAUSE, 0.0
        if long and at > seconds / 9:
            yield Outage(at, at + long, chance.choice(("503", "refused", "dns", "timeout")))
            at, long = at + long + _WELL_AFTER + _LONGEST_PAUSE, 0.0
            continue
        yield Outage(at, at + lasts, chance.choice(kinds))
        at, spent = at + lasts + chance.uniform(5, min(_WELL_AFTER, patience / 3)), spent + costs
