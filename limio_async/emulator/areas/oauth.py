"""/oauth2: tokens for client credentials and for codes; both expire on the world's clock."""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.settings import Settings

__all__ = ["OAuth"]

_CODE_LIFETIME = 60.0
_REMEMBERED = 1_000
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

V = TypeVar("V")


class _Code(msgspec.Struct, frozen=True, kw_only=True):
    """What a code is bound to."""

    client_id: str
    redirect_uri: str
    challenge: str | None
    good_until: float


class OAuth:
    """The codes and tokens that were issued, and until when each is good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._good_until: dict[str, float] = {}
        self._codes: dict[str, _Code] = {}
        self._codes_issued = 0
        self.issued = 0
        self.operations: Mapping[str, Handler] = {
            "authorize": self._authorize,
            "createToken": self._create_token,
        }

    def check(self, token: str) -> None:
        """Refuses a token that was never issued, was revoked or has expired."""
        if token not in self._good_until:
            raise Refused(401, "Unauthorized: invalid token")
        if self._good_until[token] <= self._settings.now():
            raise Refused(401, "Unauthorized: token expired")

    def good_until(self) -> Mapping[str, float]:
        """The tokens that are good now, and until when."""
        now = self._settings.now()
        return {token: until for token, until in self._good_until.items() if until > now}

    def expire(self) -> None:
        """Let the time of every token be over."""
        self._good_until = dict.fromkeys(self._good_until, self._settings.now())

    def revoke(self) -> None:
        """Forget every token."""
        self._good_until.clear()

    def _authorize(self, call: Call) -> Response:
        """Somebody is always signed in and agrees: the browser goes back with a code at once."""
        query = call.query
        if query.get("response_type") != "code":
            raise Refused(400, "response_type must be code")
        if query.get("client_id") != self._settings.client_id:
            raise Refused(400, "client_id is unknown")
        redirect_uri = query.get("redirect_uri", "")
        if redirect_uri not in self._settings.redirect_uris and not _is_loopback(redirect_uri):
            raise Refused(400, "redirect_uri is not registered")
        challenge = query.get("code_challenge")
        if challenge is not None and query.get("code_challenge_method") != "S256":
            raise Refused(400, "code_challenge_method must be S256")
        self._codes_issued += 1
        code = fingerprint(self._settings.seed, "code", self._codes_issued, length=48)
        self._codes[code] = _Code(
            client_id=query["client_id"],
            redirect_uri=redirect_uri,
            challenge=challenge,
            good_until=self._settings.now() + _CODE_LIFETIME,
        )
        _forget_oldest(self._codes, lambda issued: issued.good_until <= self._settings.now())
        answer = {"code": code, **({"state": query["state"]} if "state" in query else {})}
        location = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(answer)}"
        return Response(status=302, headers={"location": location}, body=b"")

    def _create_token(self, call: Call) -> Response:
        form = dict(parse_qsl(call.body.decode(errors="replace")))
        match form.get("grant_type"):
            case None:
                raise Refused(400, "grant_type is required")
            case "client_credentials":
                settings = self._settings
                if _client(form, call.headers) != (settings.client_id, settings.client_secret):
                    raise Refused(401, "Unauthorized: unknown client or wrong secret")
            case "authorization_code":
                self._redeem(form)
            case other:
                raise Refused(400, f"grant_type {other} is not supported")
        lifetime = self._settings.token_lifetime
        return reply({"access_token": self._issue(), "token_type": "Bearer", "expires_in": int(lifetime)})

    def _redeem(self, form: Mapping[str, str]) -> None:
        """Refuses a code that is unknown, used, too old or not for whoever brings it; it is spent in any case."""
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.good_until <= self._settings.now():
            raise Refused(400, "invalid_grant: the code is unknown, used or expired")
        if (form.get("client_id"), form.get("redirect_uri")) != (code.client_id, code.redirect_uri):
            raise Refused(400, "invalid_grant: the code is for another client_id or redirect_uri")
        if code.challenge is not None and _challenge(form.get("code_verifier", "")) != code.challenge:
            raise Refused(400, "invalid_grant: code_verifier does not match code_challenge")

    def _issue(self) -> str:
        self.issued += 1
        now = self._settings.now()
        until = now + self._settings.token_lifetime
        claims = {"sub": self._settings.client_id, "iat": int(now), "exp": int(until), "jti": self.issued}
        signature = fingerprint(self._settings.seed, "token", self.issued, length=64)
        token = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}.{signature}"
        self._good_until[token] = until
        _forget_oldest(self._good_until, lambda good_until: good_until <= now)
        return token


def _forget_oldest(issued: dict[str, V], is_over: Callable[[V], bool]) -> None:
    """Forget what is over, from the oldest on, where more than a thousand were issued."""
    while len(issued) > _REMEMBERED and is_over(issued[oldest := next(iter(issued))]):
        del issued[oldest]


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """Id and secret from the form, or as older guides have it from the header, with or without `Basic`."""
    if "client_secret" in form or "authorization" not in headers:
        return form.get("client_id", ""), form.get("client_secret", "")
    encoded = headers["authorization"].removeprefix("Basic ")
    try:
        name, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:  # neither base64 nor text
        return "", ""
    return name, secret


def _is_loopback(uri: str) -> bool:
    try:
        url = urlsplit(uri)
    except ValueError:
        return False
    return url.scheme == "http" and url.hostname in _LOOPBACK and not url.fragment and uri.isprintable()


def _challenge(verifier: str) -> str:
    return _unpadded(hashlib.sha256(verifier.encode()).digest())


def _part(claims: Mapping[str, object]) -> str:
    return _unpadded(msgspec.json.encode(claims))


def _unpadded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
