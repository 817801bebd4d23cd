"""`Limio`: opens a transport, makes the session, hangs the resources on it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from math import isnan
from ssl import SSLContext
from types import TracebackType
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

from limio_async._finishing import Finishing
from limio_async._frames import cut_below
from limio_async._readback import reader
from limio_async.answer import Answer, Answering
from limio_async.api import Resources
from limio_async.auth import ChainedAuth, NoAuth
from limio_async.core.explain import Explanation
from limio_async.core.limiter import Lane
from limio_async.core.listing import Listing, ListOptions
from limio_async.core.ports import Auth, Observer, Pace, Transport
from limio_async.core.session import CallOptions, Resource, Session
from limio_async.core.wire import Endpoint, ListEndpoint, Scheme
from limio_async.environment import auth_from, options_from
from limio_async.errors import ConfigurationError, InvalidArgument
from limio_async.pace import PacedLimiter, Rate
from limio_async.state import State, state_of
from limio_async.transport import AiohttpTransport, ClientSession, agreed_origin
from limio_async.watching import Watchers

__all__ = ["ClientOptions", "Limio", "auth_from"]

T = TypeVar("T")
P = ParamSpec("P")


class ClientOptions(TypedDict, total=False):
    """The arguments of `Limio`."""

    host: str | None
    auth: Auth | Sequence[Auth] | None
    timeout: float
    attempts: int
    max_concurrency: int
    requests_per_second: float | None
    plain_http: bool
    plain_item_paths: bool
    session: ClientSession | None
    proxy: str | None
    ssl: SSLContext | None
    transport: Transport | None
    observer: Observer | Sequence[Observer] | None
    pace: Pace | None


class Limio(Resources):
    """A client of one Limio tenant; one for a whole process, shared by all its tasks.

    *host* is the tenant's host name or a base URL (plain `http://` for this machine only, or with
    *plain_http*, which sends credentials for anyone to read, and logs a warning). *auth* is a
    strategy of `limio_async.auth`, or several, of which each operation gets the first that it accepts.
    *timeout* is the deadline of a call in seconds, all its attempts and waits included; *attempts* how often
    a request is sent at most; *max_concurrency* how many are on the wire at once, at most: fewer while the
    server is overloaded; *requests_per_second* how many leave. *plain_item_paths* sends the slashes in the path of a
    catalog item as they are, for a tenant that does not find `%2F`.

    *session* is an `aiohttp.ClientSession` of your own, which is used and never closed. *proxy* is a URL such as
    `http://user:password@proxy.internal:3128`; `HTTPS_PROXY` is not read. *ssl* says which certificates are
    trusted, such as `ssl.create_default_context(cafile="ca.pem")`. *transport* replaces the network, such as by
    an emulator; its origin is where requests go, so *host* can be left out, and must not be another.

    *observer* is told of every call and page, or several are. *pace* says when the next request may leave,
    besides *requests_per_second*.

    Making one does no I/O. Connections open with the first call and close with `aclose()` or the end of
    `async with`.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        auth: Auth | Sequence[Auth] | None = None,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
        requests_per_second: float | None = None,
        plain_http: bool = False,
        plain_item_paths: bool = False,
        session: ClientSession | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        transport: Transport | None = None,
        observer: Observer | Sequence[Observer] | None = None,
        pace: Pace | None = None,
    ) -> None:
        _check(timeout=timeout, attempts=attempts, max_concurrency=max_concurrency)
        if requests_per_second is not None:
            _check(requests_per_second=requests_per_second)
        if transport is None:
            if host is None:
                raise ConfigurationError('which host? Limio("acme.prod.limio.com", …)')
            transport = AiohttpTransport(host, session=session, proxy=proxy, ssl=ssl, plain_http=plain_http)
        elif not (session is None and proxy is None and ssl is None):
            raise ConfigurationError("session=, proxy= and ssl= go without transport=, which has its own way")
        if not callable(getattr(transport, "send", None)) or isinstance(transport, type):
            raise ConfigurationError("transport= takes a transport, such as AiohttpTransport(…)")
        self._transport = transport
        checked = plain_http or isinstance(transport, AiohttpTransport)
        origin = agreed_origin(host, transport.origin, plain_http=checked)
        observers = _several(observer)
        if pace is not None and (isinstance(pace, type) or not callable(getattr(pace, "take", None))):
            raise ConfigurationError("pace= takes a pace, such as Rate(10)")
        rate = [Rate(requests_per_second)] if requests_per_second else []
        paces: list[Pace] = [*rate, *([] if pace is None else [pace])]
        self._session = Session(
            transport,
            _one(auth),
            origin=origin,
            timeout=timeout,
            attempts=attempts,
            max_concurrency=max_concurrency,
            limiter=PacedLimiter(max_concurrency, paces) if paces else None,
            watching=Watchers(observers, origin),
            observed=bool(observers),
            plain_item_paths=plain_item_paths,
            endpoints=_endpoints,
            reader=reader,
        )
        self._finishing = Finishing()
        super().__init__(self._session)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Unpack[ClientOptions]) -> Self:
        """Return a client made of the settings in the environment; a keyword, as `Limio` takes it, wins over them.

        `LIMIO_HOST` is needed, credentials mostly: `LIMIO_API_KEY`, `LIMIO_CLIENT_ID` with `LIMIO_CLIENT_SECRET`
        or `LIMIO_CLIENT_SECRET_FILE`, `LIMIO_TOKEN`, `LIMIO_SESSION_TOKEN`; several may be given. Then there are
        `LIMIO_TIMEOUT`, `LIMIO_REQUESTS_PER_SECOND`, `LIMIO_PROXY`, `LIMIO_CA_FILE`, `LIMIO_OTEL` and `LIMIO_PLAIN_HTTP`
        (`docs/settings.md`). A *transport* goes its own way, but to `LIMIO_HOST` where that is set.
        Raises `ConfigurationError` naming what is missing or wrong.
        """
        try:
            return cls._made_of(os.environ if environ is None else environ, options)
        except BaseException as error:
            cut_below(error)
            environ, options = None, {}  # no variable of a traceback holds a secret
            raise

    @classmethod
    def _made_of(cls, settings: Mapping[str, str], options: ClientOptions) -> Self:
        chosen = {name: value for name, value in options.items() if name != "host" or value is not None}
        its_own = ("proxy", "ssl") if options.get("transport") is not None else ()
        given: dict[str, Any] = {**options_from(settings, but=(*chosen, *its_own)), **chosen}
        host = given.pop("host", None)
        if host is None and not its_own:
            raise ConfigurationError(
                "LIMIO_HOST is not set; it names the tenant, such as acme.prod.limio.com"
            )
        return cls(host, **given)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        attempts: int | None = None,
        headers: Mapping[str, str] | None = None,
        lane: Lane | None = None,
    ) -> Self:
        """A view of this client with other options, sharing connections, tokens and limits; closing one closes all.

        *headers* are added to every request. Calls of *lane* `background` (a sync job, say) leave room for
        interactive ones, which go first when both wait.
        """
        given = {"timeout": timeout, "attempts": attempts}
        _check(**{name: value for name, value in given.items() if value is not None})
        if lane not in {None, "interactive", "background"}:
            raise ConfigurationError(f"there is no lane {lane!r}, only interactive and background")
        view = copy.copy(self)
        view._session = self._session.with_options(
            timeout=timeout, attempts=attempts, headers=headers, lane=lane
        )
        Resources.__init__(view, view._session)
        return view

    async def warmup(self) -> None:
        """Do now what the first call would wait for: a token, its connection, the decoders."""
        await self._session.warm_up()

    def explain(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What a call would send, secrets left out, without sending it.

        `limio.explain(limio.orders.submit, order)`; `print` shows it as a command for curl.
        """
        explainer = cast("Session", self._session.explainer())
        explained = _made_through(explainer, call, "explain")(*args, **kwargs)
        if isinstance(explained, Explanation):
            return explained
        try:
            explained.send(None)  # a coroutine that waits for nothing
        except StopIteration as stop:
            return cast("Explanation", stop.value)
        raise TypeError(f"{call.__name__} cannot be explained")

    async def answer(
        self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Answer[T]:
        """Make a call and return its whole answer: value, status, headers, request id, exact bytes, attempts.

        `await limio.answer(limio.subscriptions.get, "sub-1")`. Raises what the call raises. A listing is many
        answers, which its `pages()` hold.
        """
        owner: Any = getattr(call, "__self__", None)
        answering = Answering(getattr(owner, "_session", self._session))
        made: Any = _made_through(answering, call, "answer")(*args, **kwargs)
        if isinstance(made, Listing):
            raise TypeError(
                f"{call.__name__}() is a listing: its pages() hold the answers, body and attempts too"
            )
        return await answering.answer(made)

    def state(self) -> State:
        """What the client is doing just now: slots, queue, pause, retry quota, token. `print` says it in words."""
        return state_of(self._session)

    async def request(
        self,
        endpoint: Endpoint[T],
        args: Mapping[str, Any],
        body: object = None,
        **options: Unpack[CallOptions],
    ) -> T:
        """Call any endpoint, also one of your own; *args* by the names of its parameters."""
        return await self._session.call(endpoint, args, body, **options)

    def listing(
        self, endpoint: ListEndpoint[T], args: Mapping[str, Any], **options: Unpack[ListOptions]
    ) -> Listing[T]:
        """Walk any list endpoint, also one of your own; *args* by the names of its parameters."""
        return self._session.list(endpoint, args, **options)

    @property
    def origin(self) -> str:
        """Scheme, host and port that all requests go to."""
        return self._session.origin

    @property
    def schemes(self) -> Collection[Scheme]:
        """The kinds of credentials that this client has."""
        return self._session.schemes

    async def finish(
        self,
        call: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        on_outcome: Callable[[Any], object] | None = None,
        **kwargs: Any,
    ) -> T:
        """Make a call that runs to its end though the caller is cancelled: `await limio.finish(limio.orders.submit, order)`.

        Returns or raises what the call does; its deadline holds. Where the caller is cancelled while it waits,
        `CancelledError` is raised at once, and *on_outcome* gets the value or the error as soon as there is
        one: a function, or a coroutine function. What it raises is logged and no more. It is not called
        where the caller still waits. `aclose()` waits for all of this.
        """
        running = call(*args, **kwargs)
        if not asyncio.iscoroutine(running):
            raise TypeError(
                "finish() takes one call, such as limio.orders.submit; a listing is many: walk its pages()"
            )
        return await self._finishing.run(running, on_outcome)

    async def aclose(self, grace: float = 10.0) -> None:
        """End read-ahead and close the connections; may be called more than once.

        Waits at most *grace* seconds for calls of `finish()`, then cancels them; their `on_outcome` has a second more.
        """
        if not isinstance(grace, int | float) or isinstance(grace, bool) or isnan(grace):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(f"grace is a number of seconds, not {grace!r}")
        try:
            if not self._session.ladder.lifetime.forked:  # else they are the parent's
                await self._finishing.end(grace)
        finally:
            await self._session.aclose()

    async def __aenter__(self) -> Self:
        self._session.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = self.state()
        doing = f"{state.used} of {state.allowed} slots in use" if state.open else "closed"
        return f"<Limio {self._session.origin}, {doing}>"


def _endpoints() -> Mapping[str, Endpoint[Any]]:
    from limio_async.api.endpoints import ENDPOINTS  # all there is: few calls need to know

    return ENDPOINTS


def _check(**settings: object) -> None:
    """Raise `ConfigurationError` unless each of *settings*, as far as it is given, is a number above 0."""
    for name, value in settings.items():
        whole = name in {"attempts", "max_concurrency"}
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not (right and cast("float", value) > 0):
            kind = "whole number" if whole else "number"
            raise ConfigurationError(f"{name} must be positive, a {kind} above 0, not {value!r}")


def _made_through(session: Session, call: Callable[..., object], what: str) -> Callable[..., Any]:
    """Return the operation that *call* is, sent by *session*. Raises `TypeError` where *what* cannot take it."""
    owner, name = getattr(call, "__self__", None), getattr(call, "__name__", str(call))
    if getattr(call, "__module__", "").startswith("limio_async.api.behaviour"):
        raise TypeError(f"{name} is no operation: pass {what}() the one that it calls")
    stand_in: Resource | Limio
    if isinstance(owner, Resource):
        stand_in = type(owner)(session)
    elif isinstance(owner, Limio) and name in {"request", "listing"}:
        stand_in = copy.copy(owner)
        stand_in._session = session  # pyright: ignore[reportPrivateUsage]
    elif isinstance(owner, Limio):
        raise TypeError(f"{name} sends nothing that {what}() could show")
    else:
        raise TypeError(f"{what}() takes a method of a resource, such as limio.orders.submit")
    method: Callable[..., Any] = getattr(stand_in, name)
    return method


def _one(auth: Auth | Sequence[Auth] | None) -> Auth:
    if auth is None:
        return NoAuth()
    strategies = auth if isinstance(auth, Sequence) else [auth]
    if isinstance(auth, str | bytes) or not all(_is_strategy(one) for one in strategies):
        raise ConfigurationError("auth= takes a strategy, such as ApiKey(…) or ClientCredentials(…)")
    return strategies[0] if len(strategies) == 1 else ChainedAuth(*strategies)


def _is_strategy(one: object) -> bool:
    return callable(getattr(one, "credential", None)) and not isinstance(one, type)


def _several(observer: Observer | Sequence[Observer] | None) -> Sequence[Observer]:
    if observer is None:
        return ()
    observers = list(observer) if isinstance(observer, Sequence) else [observer]
    for one in observers:
        call = getattr(one, "call", None)
        if isinstance(one, type) or not callable(call) or inspect.iscoroutinefunction(call):
            raise ConfigurationError(
                "observer= takes observers, such as Otel(), whose methods are synchronous"
            )
    return observers
