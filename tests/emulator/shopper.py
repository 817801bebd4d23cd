"""Somebody who orders, and looks at what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from limio_async.core.wire import Request, Response
from limio_async.emulator import World

from .judge import judge
from .visitor import Visitor


class Shopper(Visitor):
    """Answers are judged; those of a refusal are given as they are."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.token()
        published = self.published("offers", "offers2", "add_on")
        offers = self.catalog("offers", pageSize=200)["items"]
        self.offers = [one for one in offers if one["id"] in published]
        add_ons = self.catalog("add_ons", pageSize=50)["items"]
        self.add_ons = [one for one in add_ons if one["id"] in published]

    def send(
        self,
        operation: str,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        answer = self.world.answer(
            Request(
                operation=operation,
                method=method,
                target=f"/api{path}",
                headers={"Authorization": self.bearer, **(headers or {})},
                body=None if body is None else msgspec.json.encode(body),
            )
        )
        judge(operation, answer)
        return answer

    def do(self, operation: str, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The content of a good answer."""
        answer = self.send(operation, method, path, body, headers)
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body)

    def submit(self, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.do(
            "submitOrder", "POST", "/order", {"process_immediately": True, **body}
        )
        return answer

    def refused(self, **body: Any) -> int:
        return self.send("submitOrder", "POST", "/order", body).status

    def preview(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.do("previewOrder", "POST", "/order/preview", body)
        assert answer["preview"] == {"success": True}
        schedule: list[dict[str, Any]] = answer["schedule"]
        return schedule

    def get(self, path_type: str, id: str) -> dict[str, Any]:
        path = f"/objects/limio/{path_type}/{quote(id, safe='')}"
        found: dict[str, Any] = self.do("getObject", "GET", path)
        return found

    def children(self, id: str, subtype: str) -> list[dict[str, Any]]:
        path = f"/objects/limio/subscriptions/{id}/objects/{subtype}"
        items: list[dict[str, Any]] = self.do("listChildObjectsBySubtype", "GET", path)["items"]
        return items

    def related(self, id: str, record_type: str, path_type: str = "subscriptions") -> list[dict[str, Any]]:
        path = f"/objects/limio/{path_type}/{id}/related/{record_type}"
        items: list[dict[str, Any]] = self.do("listRelatedObjectsByRecordType", "GET", path)["items"]
        return items

    def events(self, id: str, path_type: str = "subscriptions") -> list[str]:
        answer = self.do("listObjectEvents", "GET", f"/objects/limio/{path_type}/{id}/events")
        assert len(answer["items"]) == len(answer["unpackedItems"])
        return [event["data"]["type"] for event in answer["items"]]

    def subscribe(self, **body: Any) -> dict[str, Any]:
        """A new subscription."""
        order = self.submit(**new(self.offers[0]), **body)
        [found] = self.do("listChildObjects", "GET", f"/objects/limio/orders/{order['id']}/objects")["items"]
        return self.get("subscriptions", found["id"])


def reference(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], "version": item["version"]}


def new(*offers: Mapping[str, Any], quantity: int = 1) -> dict[str, Any]:
    """The body of a new order."""
    return {
        "order_type": "new",
        "orderItems": [{"offer": reference(offer), "quantity": quantity} for offer in offers],
        "customerDetails": {"firstName": "First", "lastName": "Last", "email": "first.last@example.com"},
        "billingDetails": {"address1": "1 Example Street", "city": "Exampleton", "country": "GB"},
        "deliveryDetails": {"address1": "2 Example Street", "city": "Exampleton", "country": "GB"},
        "payment": {"type": "zuora", "zuora": {"refId": "ref-1", "paymentGateway": "Test Gateway"}},
        "country": "GB",
        "external_id": "EXT-1",
    }
