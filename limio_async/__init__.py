"""The asyncio client for the Limio subscription-commerce API.

`Limio` is the client; strategies for credentials live in `limio_async.auth`, every exception in `limio_async.errors`, and
the types of bodies and answers in `models` (`from limio_async import models`).

Where to look, from what uses the others to what is used:

cli/           the command line: `limio`
testing.py     pytest fixtures
web/           in a web service: one client, errors as problems, readiness
report/        a page about what the sync jobs keep
drift/         what items hold that the models do not know
webhooks/      webhooks that are stored before they are answered, each handled once
outbox/        orders sent exactly as often as meant
stores/        where an outbox or inbox keeps them
sync_jobs/     a tenant in a database or in files
catalog_cache.py whole catalog types in memory, kept current
client.py      `Limio`
environment.py the settings that the environment has
auth/          where credentials come from
transport/     the client's only aiohttp
answer.py      the whole answer to a call
state.py       what a client is doing
watching.py    whoever watches a client, and the log of its calls
otel.py        OpenTelemetry: spans and metrics
pace.py        when the next request may leave
emulator/      a Limio that runs anywhere
api/           every resource, endpoint and model: generated
core/          the engine: calls, lists, retries
envelope.py    where an item says when it changed, and which tags it has
errors.py      every exception
version.py     the version
_catalog.py    one state of a catalog list in memory, and what its items are found by
_finishing.py  calls that run to their end though their caller is cancelled
_readback.py   whether a write happened whose answer was lost
_origin.py     the origin meant by a host name or a base URL, checked
_frames.py     keeps credentials out of crash reports
_durable.py    files that outlive a power failure
_lazy.py       loading the names of a package when they are first used
_deprecation.py  names that go with a later release
"""

from typing import TYPE_CHECKING

from limio_async._lazy import lazily

if TYPE_CHECKING:
    from limio_async import errors
    from limio_async.answer import Answer
    from limio_async.api import models
    from limio_async.auth import (
        ApiKey,
        AuthorizationCode,
        BearerToken,
        ChainedAuth,
        ClientCredentials,
        FileTokenStore,
        MemoryTokenStore,
        NoAuth,
        SessionToken,
        SignedIn,
        SignIn,
        StoredToken,
        TokenStore,
    )
    from limio_async.catalog_cache import CatalogCache
    from limio_async.client import ClientOptions, Limio
    from limio_async.core.explain import Explanation
    from limio_async.core.limiter import Lane
    from limio_async.core.listing import BadItem, Checkpoint, Listing, ListOptions, Page, Report
    from limio_async.core.model import Model
    from limio_async.core.ports import Auth, Called, Exchange, Observer, Pace, Transport, Watch
    from limio_async.core.session import CallOptions
    from limio_async.core.wire import (
        Attempt,
        Credential,
        Endpoint,
        ListEndpoint,
        Redirect,
        Request,
        Response,
        Scheme,
    )
    from limio_async.pace import Rate
    from limio_async.state import State
    from limio_async.transport import AiohttpTransport, ConnectionPool
from limio_async.version import __version__

__all__ = [
    "AiohttpTransport",
    "Answer",
    "ApiKey",
    "Attempt",
    "Auth",
    "AuthorizationCode",
    "BadItem",
    "BearerToken",
    "CallOptions",
    "Called",
    "CatalogCache",
    "ChainedAuth",
    "Checkpoint",
    "ClientCredentials",
    "ClientOptions",
    "ConnectionPool",
    "Credential",
    "Endpoint",
    "Exchange",
    "Explanation",
    "FileTokenStore",
    "Lane",
    "Limio",
    "ListEndpoint",
    "ListOptions",
    "Listing",
    "MemoryTokenStore",
    "Model",
    "NoAuth",
    "Observer",
    "Pace",
    "Page",
    "Rate",
    "Redirect",
    "Report",
    "Request",
    "Response",
    "Scheme",
    "SessionToken",
    "SignIn",
    "SignedIn",
    "State",
    "StoredToken",
    "TokenStore",
    "Transport",
    "Watch",
    "__version__",
    "errors",
    "models",
]

_HOMES = {
    **dict.fromkeys(
        (
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
        ),
        "auth",
    ),
    "CatalogCache": "catalog_cache",
    **dict.fromkeys(("ClientOptions", "Limio"), "client"),
    "Explanation": "core.explain",
    "Lane": "core.limiter",
    **dict.fromkeys(("BadItem", "Checkpoint", "ListOptions", "Listing", "Page", "Report"), "core.listing"),
    "Model": "core.model",
    **dict.fromkeys(("Auth", "Called", "Exchange", "Observer", "Pace", "Transport", "Watch"), "core.ports"),
    "Answer": "answer",
    "Rate": "pace",
    "State": "state",
    **dict.fromkeys(
        (
            "Attempt",
            "Credential",
            "Endpoint",
            "ListEndpoint",
            "Redirect",
            "Request",
            "Response",
            "Scheme",
        ),
        "core.wire",
    ),
    "CallOptions": "core.session",
    **dict.fromkeys(("AiohttpTransport", "ConnectionPool"), "transport"),
    "errors": "errors",
    "models": "api.models",
}

if not TYPE_CHECKING:  # a type checker shall know a wrong name from a right one
    # importing the package alone is quick, as pytest does it for its plugin
    __getattr__, __dir__ = lazily(globals(), _HOMES)
