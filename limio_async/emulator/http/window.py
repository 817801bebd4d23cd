"""The window to look through at `/_emulator/`: a page, what it shows, and what its buttons do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import islice
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from limio_async.core.wire import UNDECODABLE, Request, Response
from limio_async.emulator.faults.kinds import KINDS
from limio_async.emulator.http.admission import is_loopback, names_this_machine
from limio_async.emulator.messages import Refused, reply
from limio_async.emulator.world import World
from limio_async.errors import ConfigurationError

__all__ = ["PREFIX", "Window", "act", "state_of"]

PREFIX = "/_emulator/"
_SHOWN = 200
_HEADER = "x-limio-emulator"
_GUARDED = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}

_EXAMPLES: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "status": {
        "401": {"code": 401},
        "429, retry after 1 s": {"code": 429, "retry_after": 1},
        "502 with HTML": {"code": 502, "html": True},
        "503": {"code": 503},
    },
    "change_cursor": {"to a strange one": {"to": "%é+ /="}},
    "wrong_hits": {"of 1": {"hits": 1}},
    "delay": {"3 s": {"seconds": 3}},
    "slow_body": {"3 s": {"seconds": 3}},
}
"""What the form offers of faults that need to be told more than their name."""

_CHOICES: Mapping[str, Mapping[str, object]] = {
    f"{do.replace('_', ' ')} {example}".strip(): {"do": do, **facts}
    for do in KINDS
    for example, facts in _EXAMPLES.get(do, {"": {}}).items()
}


class Act(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a button asks for."""

    action: Literal["advance", "expire_tokens", "expire_scrolls", "arm", "clear_faults"]
    seconds: float = 0.0
    """For `advance`."""
    fault: dict[str, Any] | None = None
    """For `arm`: as `world.faults.arm` takes it."""


class Window:
    """What the page at `/_emulator/` is given and may do. It is for browsers of this machine only."""

    def __init__(self, world: World, *, running: bool = False) -> None:
        self._world = world
        self._running = running

    def answer(self, request: Request, *, peer: str | None) -> Response:
        """The page, its data, or what comes of a button; *peer* is the address that asks."""
        try:
            _admit(request, peer)
            response = self._respond(request.method, urlsplit(request.target).path, request.body or b"")
        except Refused as refused:
            response = reply({"message": refused.message}, refused.status)
        return msgspec.structs.replace(response, headers={**_GUARDED, **response.headers})

    def _respond(self, method: str, path: str, body: bytes) -> Response:
        match method, path.removeprefix(PREFIX):
            case "GET", "":
                return _page()
            case "GET", "state":
                return reply(state_of(self._world, running=self._running))
            case "POST", "act":
                act(self._world, body)
                return reply(state_of(self._world, running=self._running))
            case _, "" | "state" | "act":
                raise Refused(405, "Method Not Allowed")
            case _:
                raise Refused(404, "Not Found")


def state_of(world: World, *, running: bool) -> dict[str, object]:
    """All that the page shows. *running* tells whether the clock runs by itself."""
    now = world.now()
    return {
        "tenant": world.tenant,
        "seed": world.seed,
        "envelope": world.envelope,
        "operations": world.operations,
        "clock": {"now": now, "running": running},
        "holdings": world.holdings(),
        "requests": {"total": world.count(), "latest": _latest(world)},
        "webhooks": {
            "to": [*world.webhooks.receivers],
            "total": world.webhooks.attempts,
            "latest": _sent(world),
        },
        "scrolls": [
            {
                "number": scroll.number,
                "list": scroll.search.shelf,
                "position": scroll.position,
                "hits": len(scroll.matches),
                "pages": scroll.pages,
                "page_size": scroll.page_size,
                "age": now - scroll.opened,
                "expires_in": scroll.last_read + world.scroll_keep_alive - now,
            }
            for scroll in islice(reversed(world.open_scrolls()), _SHOWN)
        ],
        "tokens": {
            "issued": world.tokens_issued,
            "good": [
                {"ending": token[-6:], "expires_in": until - now}
                for token, until in islice(world.good_tokens().items(), _SHOWN)
            ],
        },
        "faults": {
            "choices": [{"label": label, "fault": fault} for label, fault in _CHOICES.items()],
            "armed": [
                {
                    "number": number,
                    "text": str(armed.fault),
                    "happened": armed.fired,
                    "spent": armed.spent,
                }
                for number, armed in islice(reversed(list(enumerate(world.faults.armed))), _SHOWN)
            ],
        },
    }


def act(world: World, body: bytes) -> None:
    """Do what *body* asks for; refuses what it does not understand."""
    try:
        asked = msgspec.json.decode(body, type=Act)
    except UNDECODABLE as error:
        raise Refused(400, f"No action: {error}") from None
    match asked.action:
        case "advance":
            if not 0 < asked.seconds <= 366 * 86_400:
                raise Refused(400, "seconds must be more than 0 and at most those of a year")
            world.advance(asked.seconds)
        case "expire_tokens":
            world.expire_tokens()
        case "expire_scrolls":
            world.expire_scrolls()
        case "arm":
            try:
                world.faults.arm(asked.fault or {})
            except ConfigurationError as error:
                raise Refused(400, str(error)) from None
        case "clear_faults":
            world.be_kind()


def _latest(world: World) -> list[dict[str, object]]:
    """The latest requests, newest first, each with the number it keeps."""
    number = world.count()
    return [
        {
            "number": number - n,
            "operation": one.operation,
            "method": one.method,
            "target": one.target,
            "status": one.status,
            "at": one.at,
            "fault": one.fault,
        }
        for n, one in enumerate(world.latest_requests(_SHOWN))
    ]


def _sent(world: World) -> list[dict[str, object]]:
    """The latest webhooks that were sent or lost, newest first, each with the number it keeps."""
    number = world.webhooks.attempts
    return [
        {
            "number": number - n,
            "type": one.type,
            "url": one.url,
            "attempt": one.attempt,
            "at": one.at,
            "taken": one.taken,
            "said": one.said,
        }
        for n, one in enumerate(world.webhooks.latest(_SHOWN))
    ]


def _admit(request: Request, peer: str | None) -> None:
    """Refuses other machines, names that only pretend to be this one (DNS rebinding), and other sites' pages.

    A page of another site can neither name this Host nor, without asking first, send the header.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    host = headers.get("host", "")
    origin = headers.get("origin")
    if not is_loopback(peer or "") or not names_this_machine(headers):
        raise Refused(403, "This page is for this machine only")
    if origin is not None and origin != f"http://{host}":
        raise Refused(403, "This page answers to itself only")
    if request.method == "POST" and _HEADER not in headers:
        raise Refused(403, f"A POST needs the header {_HEADER}")


@cache
def _page() -> Response:
    """The page. It may run its own script, wear its own style and ask this server; nothing else."""
    page = files("limio_async.emulator.http").joinpath("window.html").read_bytes()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of(page, b'script')}",
            f"style-src {_hash_of(page, b'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return Response(status=200, headers=headers, body=page)


def _hash_of(page: bytes, element: bytes) -> str:
    text = page.partition(b"<%b>" % element)[2].partition(b"</%b>" % element)[0]
    return f"'sha256-{b64encode(sha256(text).digest()).decode()}'"
