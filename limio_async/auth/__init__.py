"""Where credentials come from: one strategy a file. Write your own by following `limio_async.core.ports.Auth`."""

from limio_async.auth.api_key import ApiKey
from limio_async.auth.authorization_code import AuthorizationCode, SignIn
from limio_async.auth.bearer_token import BearerToken
from limio_async.auth.chained import ChainedAuth
from limio_async.auth.client_credentials import ClientCredentials
from limio_async.auth.none import NoAuth
from limio_async.auth.session_token import SessionToken
from limio_async.auth.signed_in import SignedIn
from limio_async.auth.tokens import FileTokenStore, MemoryTokenStore, StoredToken, TokenStore

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
