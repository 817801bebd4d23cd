"""Where credentials come from: one strategy a file. Write your own by following `limio_async.core.ports.Auth`.

api_key.py             the bare publishable key
bearer_token.py        a token of your own       session_token.py   a signed-in user's
client_credentials.py  a client's token, fetched and renewed
authorization_code.py  signing a person in with a browser
signed_in.py           the token of somebody who signed in
chained.py             several strategies        none.py            no credentials
tokens.py              asking for a token, and the stores that keep one
fixed.py               what the strategies with a fixed value share
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

    def __getattr__(name):
        """What only few need is loaded when it is asked for."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
