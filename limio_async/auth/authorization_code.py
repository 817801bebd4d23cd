"""Signing a person in with a browser: `GET /oauth2/authorize`, then a code for a token, with PKCE (RFC 7636)."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from limio_async._frames import cut_below
from limio_async._origin import origin_of
from limio_async.auth.signed_in import SignedIn
from limio_async.auth.tokens import MemoryTokenStore, StoredToken, TokenStore, read_token, token_request
from limio_async.core.ports import Exchange
from limio_async.errors import ConfigurationError, MissingCredentials

__all__ = ["AuthorizationCode", "SignIn", "belongs_to", "challenge_of", "read_callback"]

_OPERATION = "authorize"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has begun: send the browser to `url`, then finish with what it comes back with."""

    origin: str
    url: str
    state: str
    """Comes back with the answer, which proves that it belongs to this sign-in."""
    verifier: str
    """Proves to Limio that who brings the code is who began. A secret."""

    def __repr__(self) -> str:
        return f"SignIn(origin={self.origin!r}, state='***', verifier='***')"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("origin", self.origin)]


class AuthorizationCode(SignedIn):
    """Signs a person in and serves the token, which *store* keeps (in memory by default).

        sign_in = auth.begin("https://acme.prod.limio.com")
        ...                                                  # the browser visits sign_in.url and comes back
        await auth.finish(sign_in, callback_url, exchange)

    *exchange* sends one request to Limio and gives its answer, such as `partial(transport.send, timeout=30)`
    with a transport of `limio_async.transport`. What is said of `SignedIn` is true here too.
    """

    def __init__(
        self,
        client_id: str,
        redirect_uri: str,
        *,
        store: TokenStore | None = None,
        scope: str = "openid",
        origin: str | None = None,
    ) -> None:
        if not client_id.strip() or not redirect_uri.strip():
            raise ConfigurationError("a client id and a redirect URI are needed")
        super().__init__(MemoryTokenStore() if store is None else store, origin=origin)
        self._client_id = client_id.strip()
        self._redirect_uri = redirect_uri.strip()
        self._scope = scope
        self._finished: set[str] = set()

    def begin(self, origin: str, *, plain_http: bool = False) -> SignIn:
        """A new sign-in at *origin*, a host name or a base URL as `Limio` takes it; nothing is sent yet.

        Raises `ConfigurationError` for what is none, and without *plain_http* for `http://` to another machine.
        """
        origin = origin_of(origin, plain_http=plain_http)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "state": state,
            "scope": self._scope,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        url = f"{origin}/oauth2/authorize?{urlencode(query)}"
        return SignIn(origin=origin, url=url, state=state, verifier=verifier)

    async def finish(
        self, sign_in: SignIn, callback: str | Mapping[str, str], exchange: Exchange
    ) -> StoredToken:
        """Exchange the code in *callback* (the URL the browser came back to, or its query) and store the token.

        Works once for each sign-in. Raises `MissingCredentials` if the person or Limio said no, or if the
        callback belongs to another sign-in.
        """
        try:
            return await self._finished_with(read_callback(callback, state=sign_in.state), sign_in, exchange)
        except BaseException as error:
            cut_below(error)
            raise

    async def _finished_with(self, code: str, sign_in: SignIn, exchange: Exchange) -> StoredToken:
        if sign_in.state in self._finished:
            raise _failed("this sign-in was finished before")
        self._finished.add(sign_in.state)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._client_id,
            "code_verifier": sign_in.verifier,
        }
        asked_at = time.time()
        issued = read_token(await exchange(token_request(form, retry="once")), form)  # a code works once
        token = StoredToken(
            access_token=issued.access_token, expires_at=asked_at + issued.lifetime, origin=sign_in.origin
        )
        await self._store.save(token)
        self._held = None  # the store knows better
        return token


def challenge_of(verifier: str) -> str:
    """What is shown of *verifier* at the beginning (RFC 7636, S256)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def read_callback(callback: str | Mapping[str, str], *, state: str) -> str:
    """The code in *callback*. Raises `MissingCredentials` unless it carries *state* and exactly one code."""
    given = _pairs(callback)
    if not belongs_to(callback, state):
        raise _failed("the answer belongs to another sign-in")  # and nothing it says is to be believed
    if refusal := next((value for name, value in given if name == "error" and value), None):
        raise _failed(f"refused: {_plain(_one(given, 'error_description') or refusal)}")
    code = _one(given, "code")
    if not code:
        raise _failed("the answer holds no code")
    return code


def belongs_to(callback: str | Mapping[str, str], state: str) -> bool:
    """Whether *callback* carries *state*, and no other."""
    return compare_digest(_one(_pairs(callback), "state").encode(errors="surrogatepass"), state.encode())


def _pairs(callback: str | Mapping[str, str]) -> list[tuple[str, str]]:
    return [*callback.items()] if isinstance(callback, Mapping) else _query(callback)


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        raise _failed("the answer is not a URL") from None


def _one(pairs: list[tuple[str, str]], name: str) -> str:
    """The value of *name*; empty if there is none, or several that contradict each other."""
    values = {value for key, value in pairs if key == name}
    return values.pop() if len(values) == 1 else ""


def _plain(text: str) -> str:
    line = "".join(one if one.isprintable() else " " for one in text)
    return line if len(line) <= 200 else f"{line[:199]}…"


def _failed(why: str) -> MissingCredentials:
    return MissingCredentials(f"{why}; sign in again: limio login", operation=_OPERATION)
