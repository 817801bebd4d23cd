"""Where credentials come from, one strategy a file. To write your own, follow `limio_async.core.ports.Auth`.

api_key.py              the publishable key: read-only access to the catalog
bearer_token.py         a token that you obtain yourself
client_credentials.py   tokens for a client id and secret
authorization_code.py   tokens for a person who signs in with a browser
session_token.py        the token of a signed-in user, from checkout or login
signed_in.py            the token of a person who signed in before, from the store that keeps it
chained.py              several strategies; each operation uses the first that it accepts
none.py                 no credentials at all
fixed.py                a credential that stays as it is, for the strategies that have one
secret_file.py          a secret in a file, read again when it is refused
tokens.py               requests for tokens, and the stores that keep them
"""

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
