"""Who somebody is elsewhere, and who owns what: external identities and changes of owner."""

from __future__ import annotations

from collections.abc import Mapping

from limio_async.core.wire import Response
from limio_async.emulator.areas.order_effects import Effects
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_object, cookie, json_object
from limio_async.emulator.settings import Settings

__all__ = ["Identities"]

_VARIANT = "@limio/external-id"
_MOVED = {"subscription", "customer", "order", "address", "payment_method", "schedule", "user_entitlement"}


class Identities:
    """The identities of a world."""

    def __init__(self, settings: Settings, store: Store, effects: Effects) -> None:
        self._settings = settings
        self._store = store
        self._effects = effects
        self.operations: Mapping[str, Handler] = {
            "addExternalIdentity": self._add,
            "addExternalIdentityAsAdmin": self._add_as_admin,
            "removeExternalIdentity": self._remove,
            "transferOwnership": self._transfer,
        }

    def _add(self, call: Call) -> Response:
        """For the visitor whom the cookie names, at a shop's own host."""
        visitor = cookie(call, "lmo_uid")
        if not visitor or not call.headers.get("xlimiohost"):
            raise Refused(401, "Unauthorized: the cookie lmo_uid and the header xLimioHost are needed")
        issuer, subject = _token(call, status=404)
        return reply(self._external(issuer, subject, owner=visitor))

    def _add_as_admin(self, call: Call) -> Response:
        owner = self._store.get(call.path["owner"])
        if owner is None or owner["record_type"] != "identity":
            raise Refused(502, f"No identity {call.path['owner']}")
        issuer, subject = _token(call, status=502)
        return reply(self._external(issuer, subject, owner=owner["id"]))

    def _remove(self, call: Call) -> Response:
        issuer, subject = _token(call, status=404)
        if not self._store.remove(self._id(issuer, subject)):
            raise Refused(404, "No such external identity")
        return reply({})

    def _external(self, issuer: str, subject: str, *, owner: str) -> Data:
        """The identity at *issuer*: made if it is new, given to *owner* in any case."""
        known = self._store.get(self._id(issuer, subject))
        if known is not None:
            return self._store.change(known, owner=owner)
        fields: Data = {"name": subject, "record_variant": _VARIANT, "owner": owner, "data": {}}
        return self._store.create("identity", id=self._id(issuer, subject), **fields)

    def _id(self, issuer: str, subject: str) -> str:
        """Digits only, as those of external identities are."""
        return str(int(fingerprint(self._settings.seed, issuer, subject, length=20), 16)).zfill(24)[-24:]

    def _transfer(self, call: Call) -> Response:
        """Everything of one identity becomes that of another."""
        body = json_object(call, status=502)
        source, destination = (self._identity(body.get(name)) for name in ("sourceId", "destinationId"))
        message = str(body.get("message", "Owner Changed"))
        moved: dict[str, int] = {}
        for record in list(self._store.linked(source)):
            if record["record_type"] in _MOVED and record.get("owner") == source:
                self._store.change(record, owner=destination)
                moved[record["record_type"]] = moved.get(record["record_type"], 0) + 1
                if record["record_type"] == "subscription":
                    self._effects.announce(record, "owner.changed", message, source="limio")
        return reply({"result": moved, "success": True})

    def _identity(self, named: object) -> str:
        found = self._store.get(str(named))
        if found is None or found["record_type"] != "identity":
            raise Refused(502, f"No identity {named}")
        return str(found["id"])


def _token(call: Call, *, status: int) -> tuple[str, str]:
    """Issuer and subject of the identity in the body."""
    token = as_object(json_object(call, status=status).get("id_token"))
    issuer, subject = token.get("iss"), token.get("sub")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not issuer or not subject:
        raise Refused(status, "id_token must name iss and sub")
    return issuer, subject
