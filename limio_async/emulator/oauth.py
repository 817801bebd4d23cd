"""POST /oauth2/token: tokens for client credentials, which expire on the world's clock."""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.settings import Settings

__all__ = ["OAuth"]


class OAuth:
    """The tokens that were issued, and until when each is good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._good_until: dict[str, float] = {}
        self.issued = 0
        self.operations: Mapping[str, Handler] = {"createToken": self._create_token}

    def check(self, token: str) -> None:
        """Refuses a token that was never issued, was revoked or has expired."""
        if token not in self._good_until:
            raise Refused(401, "Unauthorized: invalid token")
        if self._good_until[token] <= self._settings.now():
            raise Refused(401, "Unauthorized: token expired")

    def revoke(self) -> None:
        """Forget every token."""
        self._good_until.clear()

    def _create_token(self, call: Call) -> Response:
        form = dict(parse_qsl(call.body.decode(errors="replace")))
        if "grant_type" not in form:
            raise Refused(400, "grant_type is required")
        if form["grant_type"] != "client_credentials":
            raise Refused(400, f"grant_type {form['grant_type']} is not supported")
        settings = self._settings
        if _client(form, call.headers) != (settings.client_id, settings.client_secret):
            raise Refused(401, "Unauthorized: unknown client or wrong secret")
        lifetime = settings.token_lifetime
        return reply({"access_token": self._issue(), "token_type": "Bearer", "expires_in": int(lifetime)})

    def _issue(self) -> str:
        self.issued += 1
        now = self._settings.now()
        until = now + self._settings.token_lifetime
        claims = {"sub": self._settings.client_id, "iat": int(now), "exp": int(until), "jti": self.issued}
        signature = fingerprint(self._settings.seed, "token", self.issued, length=64)
        token = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}.{signature}"
        self._good_until[token] = until
        return token


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """Id and secret from the form, or as older guides have it from the header, with or without `Basic`."""
    if "client_secret" in form or "authorization" not in headers:
        return form.get("client_id", ""), form.get("client_secret", "")
    encoded = headers["authorization"].removeprefix("Basic ")
    try:
        name, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _part(claims: Mapping[str, object]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=").decode()
