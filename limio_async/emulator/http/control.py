"""The control endpoint `/_emulator/control`: what Python does to a World, for programs in other languages.

GET tells what is armed and what happened. POST takes one action, or a list of them:

    {"action": "arm", "fault": {"on": "listOffers", "page": 2, "do": "expire_scroll"}}
    {"action": "clear_faults"}             {"action": "advance", "seconds": 7200}
    {"action": "expire_tokens"}            {"action": "expire_scrolls"}
    {"action": "add_offers", "count": 250} {"action": "snapshot"}
    {"action": "restore", "snapshot": {...}}
    {"action": "set_lists", "lists": {"late": 5, "uneven": true, "order": "newest-first", "data": "null"}}
    {"action": "set_reads", "reads": {"late": 5}}
    {"action": "set_webhooks", "webhooks": {"retries": 3, "wait": 30, "duplicates": 1, "late": 5, "uneven": true,
                                            "mixed": true, "loss": 0.1}}

`clear_faults` makes lists, reads and webhooks as they were as well.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from limio_async.core.wire import UNDECODABLE, Request, Response
from limio_async.emulator.data.views import ListManner, ReadManner
from limio_async.emulator.http.admission import names_this_machine
from limio_async.emulator.messages import Refused, reply
from limio_async.emulator.webhooks import WebhookManner
from limio_async.emulator.world import World
from limio_async.errors import ConfigurationError

__all__ = ["CONTROL", "Control"]

CONTROL = "/_emulator/control"
_Year = 366 * 86_400


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    """What is asked for."""


class _Arm(_Action, frozen=True, tag="arm"):
    fault: dict[str, Any]


class _ClearFaults(_Action, frozen=True, tag="clear_faults"):
    pass


class _Advance(_Action, frozen=True, tag="advance"):
    seconds: Annotated[float, msgspec.Meta(ge=0, le=_Year)]


class _ExpireTokens(_Action, frozen=True, tag="expire_tokens"):
    pass


class _ExpireScrolls(_Action, frozen=True, tag="expire_scrolls"):
    pass


class _AddOffers(_Action, frozen=True, tag="add_offers"):
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class _Snapshot(_Action, frozen=True, tag="snapshot"):
    pass


class _Restore(_Action, frozen=True, tag="restore"):
    snapshot: dict[str, Any]


class _SetLists(_Action, frozen=True, tag="set_lists"):
    lists: ListManner


class _SetReads(_Action, frozen=True, tag="set_reads"):
    reads: ReadManner


class _SetWebhooks(_Action, frozen=True, tag="set_webhooks"):
    webhooks: WebhookManner


_AnyAction = (
    _Arm
    | _ClearFaults
    | _Advance
    | _ExpireTokens
    | _ExpireScrolls
    | _AddOffers
    | _Snapshot
    | _Restore
    | _SetLists
    | _SetReads
    | _SetWebhooks
)
_ASKED: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[_AnyAction] | _AnyAction)


class Control:
    """Obeys programs of this machine, and where *remote* those of others; browsers are turned away."""

    def __init__(self, world: World, *, remote: bool = False) -> None:
        self._world = world
        self._remote = remote

    def answer(self, request: Request) -> Response:
        """What comes of *request*."""
        try:
            _admit(request, remote=self._remote)
            return reply(self._state() if request.method == "GET" else self._done(request.body or b""))
        except Refused as refused:
            return reply({"message": refused.message}, refused.status)
        except (*UNDECODABLE, ConfigurationError) as error:
            return reply({"message": str(error)}, 400)

    def _done(self, body: bytes) -> Any:
        asked: list[_AnyAction] | _AnyAction = _ASKED.decode(body)
        return [self._do(one) for one in asked] if isinstance(asked, list) else self._do(asked)

    def _do(self, action: _AnyAction) -> Any:
        world = self._world
        match action:
            case _Arm():
                world.faults.arm(action.fault)
            case _ClearFaults():
                world.be_kind()
            case _Advance():
                world.advance(action.seconds)
            case _ExpireTokens():
                world.expire_tokens()
            case _ExpireScrolls():
                world.expire_scrolls()
            case _AddOffers():
                return {"ids": world.add_offers(action.count)}
            case _Snapshot():
                return world.snapshot()
            case _Restore():
                self._restore(action.snapshot)
            case _SetLists():
                world.lists.manner = action.lists
            case _SetReads():
                world.reads.manner = action.reads
            case _SetWebhooks():
                world.webhooks.manner = action.webhooks
        return self._state()

    def _restore(self, snapshot: dict[str, Any]) -> None:
        try:
            self._world.restore(snapshot)
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(400, f"not a snapshot of this world: {error}") from None

    def _state(self) -> dict[str, Any]:
        world = self._world
        armed = [{"fault": one.fault, "fired": one.fired, "spent": one.spent} for one in world.faults.armed]
        return {
            "now": world.now(),
            "requests": world.count(),
            "faults": armed,
            "lists": world.lists.manner,
            "reads": world.reads.manner,
            "webhooks": world.webhooks.manner,
        }


def _admit(request: Request, *, remote: bool) -> None:
    """Refuses pages of a browser, whichever site they are from, and names that only pretend to be this machine."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if "origin" in headers or "sec-fetch-site" in headers:
        raise Refused(403, "This endpoint is for programs, not for pages")
    if request.method not in {"GET", "POST"}:
        raise Refused(405, "Method Not Allowed")
    if not remote and not names_this_machine(headers):
        raise Refused(403, "This endpoint is for this machine only")
    if request.method == "POST" and not headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "content-type must be application/json")
