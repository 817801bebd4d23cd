"""Where credentials come from: one strategy a file. Write your own by following `limio_async.core.ports.Auth`."""

from limio_async.auth.api_key import ApiKey
from limio_async.auth.bearer_token import BearerToken
from limio_async.auth.chained import ChainedAuth
from limio_async.auth.client_credentials import ClientCredentials
from limio_async.auth.none import NoAuth
from limio_async.auth.session_token import SessionToken

__all__ = ["ApiKey", "BearerToken", "ChainedAuth", "ClientCredentials", "NoAuth", "SessionToken"]
