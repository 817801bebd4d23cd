"""Where credentials come from: one strategy a file. Write your own by following `limio_async.core.ports.Auth`."""

from typing import TYPE_CHECKING

from limio_async._lazy import lazily
from limio_async.auth.api_key import ApiKey
from limio_async.auth.bearer_token import BearerToken
from limio_async.auth.chained import ChainedAuth
from limio_async.auth.client_credentials import ClientCredentials
from limio_async.auth.none import NoAuth
from limio_async.auth.session_token import SessionToken
from limio_async.auth.tokens import FileTokenStore, MemoryTokenStore, StoredToken, TokenStore

if TYPE_CHECKING:
    from limio_async.auth.authorization_code import AuthorizationCode, SignIn
    from limio_async.auth.signed_in import SignedIn

__all__ = [
    "ApiKey",
    "AuthorizationCode",
    "BearerToken",
    "ChainedAuth",
    "ClientCredentials",
    "FileTokenStore",
    "MemoryTokenStore",
    "NoAuth",
    "SessionToken",
    "SignIn",
    "SignedIn",
    "StoredToken",
    "TokenStore",
]

_LATER = {"AuthorizationCode": "authorization_code", "SignIn": "authorization_code", "SignedIn": "signed_in"}

if not TYPE_CHECKING:  # a type checker shall know a wrong name from a right one
    __getattr__, __dir__ = lazily(globals(), _LATER)
