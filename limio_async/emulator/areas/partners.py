"""Partner organisations, their users and their customers. Partners' orders are in orders.py."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from limio_async.core.wire import UNDECODABLE, Response
from limio_async.emulator.data.records import summarized
from limio_async.emulator.data.store import Place, Store
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import Data, json_object, require
from limio_async.emulator.settings import Settings

__all__ = ["Partners"]

_MOST = 100
_FIELDS = {"zuoraAccountId": str, "isZuoraInvoiceOwner": bool, "salesforceAccountId": str, "logo": str}


class Partners:
    """The partners of a world."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.operations: Mapping[str, Handler] = {
            "listPartnerOrganisations": self._list,
            "createPartnerOrganisation": self._create,
            "createPartnerUser": self._create_user,
            "searchPartnerCustomers": self._search,
        }

    def _list(self, call: Call) -> Response:
        place = self._place(call, status=400)
        limit = whole_number(call, "limit", default=20, most=_MOST)
        items, place = self._store.read("partner_org", "limio", place, limit)
        more = {} if self._store.is_end("partner_org", "limio", place) else {"queryMore": _cursor(place)}
        return reply({"items": [_organisation(item) for item in items], **more})

    def _create(self, call: Call) -> Response:
        body = json_object(call)
        require(body, ["name", "zuoraAccountId", "isZuoraInvoiceOwner"])
        data = {name: body[name] for name in _FIELDS if body.get(name) is not None}
        wrong = [name for name, value in data.items() if not isinstance(value, _FIELDS[name])]
        if wrong or not isinstance(body["name"], str):
            raise Refused(400, f"Wrong type: {', '.join(wrong or ['name'])}")
        return reply(_organisation(self._store.create("partner_org", name=body["name"], data=data)))

    def _create_user(self, call: Call) -> Response:
        organisation = self._store.get(call.path["partner_organisation_id"])
        if organisation is None or organisation["record_type"] != "partner_org":
            raise Refused(404, f"No partner organisation {call.path['partner_organisation_id']}")
        email = json_object(call).get("email")
        if not isinstance(email, str) or "@" not in email:
            raise Refused(400, "email must be an e-mail address")
        user = self._store.create(
            "partner_user", name=email, partner_org=organisation["id"], related=organisation["id"], data={}
        )
        return reply(user)

    def _search(self, call: Call) -> Response:
        """Customers in whose name or address the filter occurs, oldest first."""
        wanted = call.query.get("filter", "").casefold()
        start = self._place(call, status=502)
        try:
            limit = whole_number(call, "limit", default=40, most=_MOST)
        except Refused as refused:
            raise Refused(502, refused.message) from None
        if not wanted:
            items, place = self._store.read("customer", "limio", start, limit)
            return self._found(items, self._store.count("customer"), place)
        matches = list(self._matching(wanted))
        page = list(islice(matches, start.number, start.number + limit))
        return self._found(page, len(matches), Place(start.number + len(page)), len(matches))

    def _found(self, items: list[Data], hits: int, place: Place, end: int | None = None) -> Response:
        """A page of customers; of *end* matches, or of all there are."""
        is_end = self._store.is_end("customer", "limio", place) if end is None else place.number >= end
        return reply(
            {
                "items": [summarized(item) for item in items],
                "hits": hits if self._settings.hits_form == "number" else {"value": hits, "relation": "eq"},
                **({} if is_end else {"queryMore": _cursor(place)}),
            }
        )

    def _matching(self, wanted: str) -> Iterator[Data]:
        for customer in self._store.every("customer"):
            told = [customer.get("name"), *customer["data"].values()]
            if any(isinstance(text, str) and wanted in text.casefold() for text in told):
                yield customer

    def _place(self, call: Call, *, status: int) -> Place:
        if "queryMore" not in call.query:
            return Place()
        try:
            generated, added = msgspec.json.decode(
                urlsafe_b64decode(call.query["queryMore"]), type=tuple[int, int]
            )
        except (ValueError, *UNDECODABLE):
            raise Refused(status, "Invalid queryMore") from None
        return Place(max(generated, 0), max(added, 0))


def _organisation(record: Data) -> Data:
    names = ("id", "name", "data", "record_type", "service", "created")
    return {name: record[name] for name in names} | {"modified": record["updated"]}


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode((place.generated, place.added))).decode()
