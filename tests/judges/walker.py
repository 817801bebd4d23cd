"""Somebody who asks a world for anything that is described, with ids and cursors that came before, and oddities."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from limio_async.core.wire import Request, Response
from limio_async.emulator import World
from tests.judges.spec import OPERATIONS, Operation, Parameter

__all__ = ["BODIES", "Walker"]

_SAMPLES = Path(__file__).parents[1] / "samples"
_KINDS = [
    "subscriptions", "customers", "orders", "identities", "address", "schedules", "payment_methods",
    "subscription_offers", "user_entitlements", "gift_code", "promo_codes_v2", "events", "process",
]  # fmt: skip
_RECORD_TYPES = [
    "offers", "offers2", "product", "add_on", "page", "campaign", "segment", "discount", "subscription",
    "customer", "order", "identity", "address", "schedule", "payment_method", "event",
]  # fmt: skip
_CHOICES: Mapping[str, list[str]] = {
    "service": ["limio", "limio", "limio", "limio", "zuora", "salesforce", "elsewhere"],
    "path_type": [*_KINDS, "subscription", "nothings"],
    "record_type": _RECORD_TYPES,
    "subtype": _RECORD_TYPES,
    "opt.pageSize": ["1", "2", "5", "7", "0", "many"],
    "limit": ["1", "3", "5", "-1"],
    "opt.all": ["true", "false"],
    "reducedData": ["true", "false"],
    "offersSource": ["catalog", "published", "elsewhere"],
    "opt.modifiedAfter": ["2024-06-01", "2024-06-01T10:00:00Z", "soon"],
    "createdAfter": ["2024-06-01", "2024-06-01T10:00:00Z", "soon"],
    "response_type": ["code", "token"],
    "redirect_uri": ["http://127.0.0.1:8765/callback", "https://elsewhere.example/"],
    "recover": ["true", "checkout"],
}
_REFERENCES: Mapping[str, str] = {
    "forSubscription.id": "subscriptions",
    "forSubscription.name": "subscriptions named",
    "subscriptionId": "subscriptions",
    "offer.id": "v2",
    "sourceId": "identities",
    "destinationId": "identities",
    "owner": "identities",
    "basket": "id",
}
"""Where a body names a thing: what it is then."""
_ODD: list[Any] = [None, "", 0, -1, True, [], {}, "\u0000", "é" * 40, 1e300, [None], {"id": None}]


def _body_samples() -> Mapping[str, list[Any]]:
    """Documented bodies by the name of their schema, and plain ones where none is documented."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for file in sorted(_SAMPLES.glob("*_request*.json")):
        body, name = json.loads(file.read_bytes()), file.name.partition("_request")[0]
        operation = {"addObjectRelationship": "addRelatedObject", "createPromoCode": "createObject"}.get(
            name, name
        )
        found[OPERATIONS[operation].body_schema].append(body)
    found["OAuthTokenRequest"] += [{"grant_type": "client_credentials"}]
    found["JourneyV2Input"] += [
        {"name": name, "journeys": []} for name in ("Digital Journey", "Print", "a/b")
    ]
    found["CreateObjectRequest"] += [{"name": "made", "data": {"quantity": 1}}]
    found["JobRequest"] += [
        {"jobType": "creation", "updatePath": "/limio/catalogs/1/tree/offers2",
         "itemData": {"name": "Made", "path": "/offers2/Made", "record_type": "offers2"}},
        {"jobType": "indexer", "indexerType": "published_items"},
        {"jobType": "indexer", "indexerType": "catalog"},
    ]  # fmt: skip
    found["SubscriptionCheckoutUpdate"] += [{"orderItemActions": []}]
    found["PartnerOrganisationInput"] += [
        {"name": "Partner", "zuoraAccountId": "A-1", "isZuoraInvoiceOwner": True}
    ]
    found["PartnerUserInput"] += [{"email": "someone@partner.example"}]
    return dict(found)


BODIES = _body_samples()


class Walker:
    """Keeps what answers told: ids to ask for, cursors to follow."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: defaultdict[str, list[str]] = defaultdict(list)
        self.cursors: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
        self.cookies: dict[str, str] = {}
        self.token = ""

    def ask(self, operation: str, random: Random, *, odd: float = 0.1) -> Response:
        """What comes of *operation*, *odd* of the times asked for in a way that it should refuse."""
        described = OPERATIONS[operation]
        headers = {"host": "limio.emulated", **self._authorization(described, random, odd)}
        target, body = self._target(described, random, odd), None
        for parameter in described.parameters:
            if parameter.place == "header" and (parameter.required or random.random() < 0.3):
                headers[parameter.name.lower()] = self._header(parameter)
        if described.body is not None:
            headers["content-type"] = described.body
            body = self._body(described, random, odd)
        response = self.world.answer(
            Request(operation=operation, method=described.method, target=target, headers=headers, body=body)
        )
        self._learn(operation, target, response)
        return response

    def _authorization(self, described: Operation, random: Random, odd: float) -> dict[str, str]:
        if not described.credentials or random.random() < odd / 2:
            return {}
        if random.random() < odd / 2:
            return {"authorization": random.choice(["Bearer nonsense", "nonsense", "Basic YTpi"])}
        match random.choice(described.credentials):
            case "apiKeyAuth":
                return {"authorization": self.world.api_key}
            case "sessionAuth":
                return {"authorization": f"Bearer {self.world.session_token}"}
            case _:
                return {"authorization": f"Bearer {self.good_token()}"}

    def good_token(self) -> str:
        """A token that is good now."""
        if self.token not in self.world.good_tokens():
            form = {
                "grant_type": "client_credentials",
                "client_id": self.world.client_id,
                "client_secret": self.world.client_secret,
            }
            answer = self.world.answer(
                Request(
                    operation="createToken",
                    method="POST",
                    target="/oauth2/token",
                    headers={"content-type": "application/x-www-form-urlencoded"},
                    body=urlencode(form).encode(),
                )
            )
            self.token = json.loads(answer.body)["access_token"]
        return self.token

    def _target(self, described: Operation, random: Random, odd: float) -> str:
        path = described.path
        query: dict[str, str] = {}
        kind = ""
        for parameter in described.parameters:
            if parameter.place == "path":
                value = self._value(parameter.name, random, odd)
                if parameter.name == "id" and self.known[kind] and random.random() > odd:
                    value = random.choice(self.known[kind])
                kind, value = value, quote(value, safe="")
                path = path.replace(f"{{{parameter.name}}}", value or "-")
            elif (
                parameter.place == "query"
                and "queryMore" not in parameter.name
                and random.random() < (1 - odd / 4 if parameter.required else 0.25)
            ):
                query[parameter.name] = self._value(parameter.name, random, odd)
        if self.cursors[described.id] and random.random() < 0.5:
            query |= random.choice(self.cursors[described.id])
        elif random.random() < odd / 4:
            query |= {"queryMore": "nonsense", "opt.queryMoreFrom": "nonsense"}
        return f"{path}?{urlencode(query)}" if query else path

    def _value(self, name: str, random: Random, odd: float) -> str:
        if random.random() < odd / 2:
            return random.choice(["nonsense", "é/ %", "0", "-1", "null"])
        if name in _CHOICES:
            return random.choice(_CHOICES[name])
        if name == "client_id":
            return self.world.client_id
        known = self.known.get(_REFERENCES.get(name, name)) or self.known.get("id")
        if name == "itemPath":
            return random.choice(self.known.get("path") or ["/offers2/x"]).lstrip("/")
        if name == "journeyName":
            return random.choice(["Digital Journey", "Print", "a/b"])
        if name in {"basket", "basketId", "jobId", "commitHash", "path", "tags"}:
            known = self.known.get(name) or known
        return random.choice(known) if known else "nothing"

    def _header(self, parameter: Parameter) -> str:
        if parameter.name != "Cookie":
            return "test" if parameter.name == "x-limio-mode" else "limio.emulated"
        jar = {"lmo_session": self.world.session_token, "lmo_uid": "visitor-1", **self.cookies}
        return "; ".join(f"{name}={value}" for name, value in jar.items())

    def _body(self, described: Operation, random: Random, odd: float) -> bytes:
        if random.random() < odd / 4:
            return random.choice([b"", b"{", b"[]", b"null", b'"text"', b"\xff"])
        body = copy.deepcopy(random.choice(BODIES[described.body_schema]))
        if described.body != "application/json":
            body |= {"client_id": self.world.client_id, "client_secret": self.world.client_secret}
            return urlencode(body).encode()
        return json.dumps(self._changed(body, random, odd / 8)).encode()

    def _changed(self, value: Any, random: Random, odd: float, key: str = "") -> Any:
        """*value* with ids of things that are there, and seldom a part that is gone or of another type."""
        if random.random() < odd:
            return random.choice(_ODD)
        match value:
            case dict():
                return {
                    name: self._changed(
                        part, random, odd, f"{key}.{name}" if name in {"id", "name"} else name
                    )
                    for name, part in value.items()
                    if random.random() >= odd
                }
            case list():
                return [self._changed(part, random, odd, key) for part in value]
            case str() if (known := self.known.get(_REFERENCES.get(key, key))) and random.random() < 0.7:
                return random.choice(known)
            case _:
                return value

    def _learn(self, operation: str, target: str, response: Response) -> None:
        if kept := response.headers.get("set-cookie"):
            name, _, value = kept.partition(";")[0].partition("=")
            self.cookies[name] = value
        if response.status != 200 or not response.body.startswith((b"{", b"[")):
            return
        answer = json.loads(response.body)
        match answer:
            case {"queryMore": {"from": str(cursor), "alias": str(alias)}}:
                self._remember_cursor(operation, {"opt.queryMoreFrom": cursor, "opt.queryMoreAlias": alias})
            case {"queryMore": str(cursor)}:
                self._remember_cursor(operation, {"queryMore": cursor})
            case _:
                pass
        self._collect(answer)
        if operation in {"listObjects", "createObject", "listOffersV2"}:
            kind = target.partition("?")[0].rpartition("/")[2]
            for item in answer.get("items", [answer])[:5]:
                self.known[kind] = [*self.known[kind][-20:], item["id"]]
                if isinstance(item.get("name"), str):
                    self.known[f"{kind} named"] = [*self.known[f"{kind} named"][-20:], item["name"]]

    def _remember_cursor(self, operation: str, cursor: Mapping[str, str]) -> None:
        self.cursors[operation] = [*self.cursors[operation][-3:], cursor]

    def _collect(self, value: Any, depth: int = 0) -> None:
        match value:
            case dict():
                for name, part in value.items():
                    if isinstance(part, str) and (name in {"id", "path", "name"} or name.endswith("Id")):
                        self.known[name] = [*self.known[name][-30:], part]
                    elif depth < 4:
                        self._collect(part, depth + 1)
            case list():
                for part in value[:5]:
                    self._collect(part, depth + 1)
            case _:
                pass
