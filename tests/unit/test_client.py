"""Options, explanations and reading back: what a client offers around its calls."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import re
import shlex
import subprocess
import sys
from contextlib import aclosing
from itertools import permutations
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest

from limio_async import ApiKey, Auth, BearerToken, ClientCredentials, Limio, SessionToken, errors, models
from limio_async.api import Resources
from limio_async.api.endpoints import ENDPOINTS
from limio_async.auth import ChainedAuth
from limio_async.core.codec import build_request, decoder_for
from limio_async.core.session import Session
from limio_async.core.wire import ListEndpoint, Param, Request, Response, Scheme
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, answer, endpoint, listing_of, page
from tests.virtual_time import VirtualTime

SECRET = "canary-secret"
NO_NUMBERS: tuple[Any, ...] = (0, -1, -0.5, math.nan, True, False, "5", b"5", [], 1j)
LOST = errors.AnswerLost("hung up")
ORDER = models.GiftRefundOrder(subscription_id="sub-1")


def client(*script: Any) -> tuple[Limio, ScriptedTransport]:
    transport = ScriptedTransport(*script)
    auth: list[Auth] = [ApiKey(SECRET), ClientCredentials("id", SECRET), SessionToken(SECRET)]
    return Limio("limio.test", auth=auth, transport=transport), transport


def by_operation(**answers: Any) -> Any:
    def respond(request: Request) -> Response:
        if request.operation == "createToken":
            return answer({"access_token": SECRET})
        made = answers[request.operation]
        if isinstance(made, Exception):
            raise made
        assert isinstance(made, Response)
        return made

    return respond


# ------------------------------------------------------------------ explaining


def test_a_call_is_explained_as_a_command_without_being_made() -> None:
    limio, transport = client(LOST)
    said = limio.explain(limio.orders.submit, ORDER, mode="test")
    assert transport.requests == []
    assert shlex.split(str(said)) == [
        "curl", "--request", "POST", "https://limio.test/api/order",
        "--header", "accept: application/json",
        "--header", "x-limio-mode: test",
        "--header", "content-type: application/json",
        "--header", "authorization: Bearer ***",
        "--data-binary", '{"order_type":"gift_refund","subscriptionId":"sub-1"}',
    ]  # fmt: skip
    assert (said.retry, said.cursor, said.accepts) == ("once", None, ("bearer", "session"))


def test_a_listing_is_explained_by_its_first_page() -> None:
    limio, _ = client(LOST)
    said = limio.explain(limio.offers.list, tags="/tags/uk default", page_size=20)
    assert (
        said.url == "https://limio.test/api/offers?tags=%2Ftags%2Fuk%20default&opt.all=true&opt.pageSize=20"
    )
    assert said.cursor == "scroll"
    assert said.headers["authorization"] == "***"
    usual = listing_of(msgspec.structs.replace(KEY, default_page_size=7))
    assert limio.explain(limio.listing, usual, {}).url == "https://limio.test/api/things?limit=7"


OWN = endpoint(
    params=(
        Param(name="id", wire="id", place="path", required=True),
        Param(name="ticket", wire="ticket", place="query", secret=True),
    )
)


def test_no_explanation_shows_a_secret() -> None:
    limio, _ = client(LOST)
    body = {"grant_type": "client_credentials", "client_id": "id", "client_secret": SECRET}
    shown = [
        limio.explain(limio.oauth.create_token, body),
        limio.explain(limio.checkout.get_subscription, cookie=SECRET),
        limio.explain(limio.session.entitlements),
        limio.explain(
            limio.oauth.authorize,
            response_type="code",
            client_id="id",
            redirect_uri="http://localhost/",
            state=SECRET,
        ),
        limio.explain(limio.baskets.recover, basket="basket-1", recover=SECRET),
        limio.explain(limio.request, OWN, {"id": "1", "ticket": SECRET}),
        limio.explain(limio.with_options(headers={"X-Api-Key": SECRET}).session.entitlements),
    ]
    for said in shown:
        assert SECRET not in str(said) + repr(said)
    assert [said.url.partition("?")[2] for said in shown[3:6]] == [
        "response_type=code&client_id=id&redirect_uri=http%3A%2F%2Flocalhost%2F&state=***",
        "basket=basket-1&recover=***",
        "ticket=***",
    ]
    assert shown[0].body == b"grant_type=client_credentials&client_id=id&client_secret=***"


STRATEGIES: dict[Scheme, Auth] = {
    "key": ApiKey(SECRET),
    "bearer": BearerToken(SECRET),
    "session": SessionToken(SECRET),
}
ORDERS = [order for count in (1, 2, 3) for order in permutations(STRATEGIES, count)]


@pytest.mark.parametrize("accepts", ORDERS, ids="-".join)
async def test_the_credential_that_is_explained_is_the_one_that_is_sent(accepts: tuple[Scheme, ...]) -> None:
    for order in ORDERS:
        mine = [STRATEGIES[scheme] for scheme in order]
        for auth in (mine, [ChainedAuth(*mine[:2]), *mine[2:]]):
            transport = ScriptedTransport(answer({}))
            limio = Limio("limio.test", auth=auth, transport=transport)
            for prefers in (None, *accepts):
                thing = endpoint(auth=accepts, prefers=prefers)
                said = limio.explain(limio.request, thing, {"id": "1"})
                if set(accepts).isdisjoint(order):
                    with pytest.raises(errors.MissingCredentials):
                        await limio.request(thing, {"id": "1"})
                    continue
                await limio.request(thing, {"id": "1"})
                sent = transport.requests[-1].headers["authorization"].replace(SECRET, "***")
                first = prefers if prefers in order else next(one for one in order if one in accepts)
                wanted = "***" if first == "key" else "Bearer ***"
                assert (said.headers["authorization"], sent) == (wanted, wanted), (order, prefers)


def test_what_is_explained_or_reported_stays_as_it_was() -> None:
    limio, _ = client(LOST)
    said = limio.explain(limio.offers.list)
    assert str(said).startswith("curl")
    report = limio.offers.list().report
    assert not report.complete
    for one in (said, report, endpoint(), build_request(endpoint(), {"id": "1"})):
        with pytest.raises(AttributeError):
            setattr(one, type(one).__struct_fields__[0], "other")


def test_only_a_method_of_a_resource_can_be_explained() -> None:
    limio, _ = client(LOST)
    with pytest.raises(TypeError, match="method of a resource"):
        limio.explain(print)
    with pytest.raises(TypeError, match="warmup sends nothing"):
        limio.explain(limio.warmup)


def test_a_body_that_is_no_text_can_be_explained_too() -> None:
    limio = Limio("limio.test", transport=ScriptedTransport())
    said = limio.explain(limio.orders.submit, msgspec.Raw(b'{"a": "\xff"}'))
    assert said.body == b'{"a": "\xff"}'
    assert '--data-binary \'{"a": "�"}\'' in str(said)


def test_a_client_without_credentials_explains_which_a_call_would_take() -> None:
    limio = Limio("limio.test", transport=ScriptedTransport())
    assert limio.explain(limio.subscriptions.get, "sub-1").headers["authorization"] == "Bearer ***"
    assert limio.explain(limio.offers.list).headers["authorization"] == "***"


def test_a_call_of_an_endpoint_of_one_s_own_is_explained() -> None:
    limio, transport = client(LOST)
    assert limio.explain(limio.request, endpoint(), {"id": "1"}).method == "GET"
    assert "queryMore" not in limio.explain(limio.listing, listing_of(KEY), {}).url
    assert transport.requests == []


# ------------------------------------------------------------------ reading back


async def test_a_journey_that_may_have_been_created_is_read_back_by_its_name() -> None:
    record = answer({"id": "journey-1", "status": "active"})
    limio, _ = client(by_operation(createJourneyV2=LOST, getJourneyV2=record))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.journeys_v2.create(models.JourneyV2Input(name="Spring"))
    found = await caught.value.reconcile()
    assert isinstance(found, models.JourneyV2Record)
    assert found.id == "journey-1"


async def test_what_is_not_there_is_none() -> None:
    limio, transport = client(by_operation(createObject=answer({}, 502), getObject=answer({}, 404)))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.promo_codes.create({"id": "promo_code_v2-X", "name": "X", "data": {}})
    assert await caught.value.reconcile() is None
    assert transport.requests[-1].target == "/api/objects/limio/promo_codes_v2/promo_code_v2-X"


async def test_an_order_is_read_back_by_the_id_that_an_answer_gave() -> None:
    refused = answer({"message": "upstream", "id": "order-1"}, 502)
    limio, transport = client(by_operation(submitOrder=refused, getObject=answer({"id": "order-1"})))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.orders.submit(ORDER)
    assert (await caught.value.reconcile()).id == "order-1"
    assert transport.requests[-1].target == "/api/objects/limio/orders/order-1"


async def test_an_order_of_which_nothing_is_known_cannot_be_read_back() -> None:
    limio, transport = client(by_operation(submitOrder=LOST))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.orders.submit(msgspec.Raw(b'{"order_type":"renew","external_id":"e-1"}'))
    with pytest.raises(errors.UnknownOutcome) as again:
        await caught.value.reconcile()
    assert again.value is caught.value
    assert [one.operation for one in transport.requests] == ["createToken", "submitOrder"]


async def test_the_error_that_reads_back_shows_neither_body_nor_secret() -> None:
    limio, _ = client(by_operation(createJourneyV2=LOST))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.journeys_v2.create({"name": "person@example.com"})
    shown = repr(caught.value) + str(vars(caught.value))
    assert SECRET not in shown
    assert "person@example.com" not in shown


# ------------------------------------------------------------------ views and warming up


async def test_a_view_adds_headers_and_shares_the_token() -> None:
    limio, transport = client(by_operation(getObject=answer({"id": "sub-1"})))
    await limio.subscriptions.get("sub-1")
    await limio.with_options(headers={"X-Trace": "1"}, lane="background").subscriptions.get("sub-1")
    assert [one.operation for one in transport.requests] == ["createToken", "getObject", "getObject"]
    assert "x-trace" not in transport.requests[1].headers
    assert transport.requests[2].headers["x-trace"] == "1"


async def test_warming_up_gets_the_token_so_that_the_first_call_need_not() -> None:
    limio, transport = client(by_operation(getObject=answer({"id": "sub-1"})))
    decoder_for.cache_clear()
    await limio.warmup()
    assert [one.operation for one in transport.requests] == ["createToken"]
    made = decoder_for.cache_info().misses
    for one in ENDPOINTS.values():
        if not isinstance(one, ListEndpoint):
            decoder_for(one.returns)
    assert decoder_for.cache_info().misses == made
    await limio.subscriptions.get("sub-1")
    assert [one.operation for one in transport.requests] == ["createToken", "getObject"]


@pytest.mark.parametrize(
    "settings",
    [
        *({name: wrong} for name in ("timeout", "requests_per_second") for wrong in NO_NUMBERS),
        *(
            {name: wrong}
            for name in ("attempts", "max_concurrency")
            for wrong in (*NO_NUMBERS, 0.5, 2.0, math.inf, None)
        ),
        {"timeout": None},
    ],
    ids=repr,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    [(name, wrong)] = settings.items()
    with pytest.raises(errors.ConfigurationError, match=re.escape(f"{name} must be positive")):
        Limio("limio.test", **settings)
    if name in {"timeout", "attempts"} and wrong is not None:
        with pytest.raises(errors.ConfigurationError, match=f"{name} must be positive"):
            client(LOST)[0].with_options(**settings)


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
async def test_a_timeout_of_a_call_that_makes_no_sense_is_refused_and_nothing_sent(wrong: Any) -> None:
    limio, transport = client(answer({"id": "x"}))
    for call in (limio.subscriptions.get("x", timeout=wrong), limio.offers.list(timeout=wrong).first()):
        with pytest.raises(errors.InvalidArgument, match="timeout must be positive"):
            await call
    assert transport.requests == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        *(
            ({"auth": wrong}, "auth= takes a strategy")
            for wrong in ("key", b"k", 5, ApiKey, ["key"], [None], {"a": 1})
        ),
        *(({"transport": wrong}, "transport= takes a transport") for wrong in ("x", 5, ScriptedTransport)),
        *(({"plain_http": wrong}, "plain_http is True or False") for wrong in ("no", 0, None)),
        ({"session": "x"}, "session= takes an aiohttp.ClientSession"),
    ],
    ids=repr,
)
def test_what_is_of_the_wrong_kind_is_refused_at_once(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=said):
        Limio(None if "transport" in settings else "limio.test", **settings)


@pytest.mark.parametrize("auth", ["key", b"key", ApiKey])
def test_a_credential_that_is_no_strategy_is_refused(auth: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"auth= takes a strategy, such as ApiKey\(…\)"):
        Limio("limio.test", auth=auth)


def loaded_after(statements: str) -> set[str]:
    show = "import sys; print(*(name for name in sys.modules if name.startswith('limio_async.')))"
    done = subprocess.run(
        [sys.executable, "-c", f"{statements}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_resource_is_loaded_when_it_is_first_used_with_the_models_that_it_needs() -> None:
    make = "from limio_async import Limio, ApiKey\nlimio = Limio('acme.example', auth=ApiKey('k'))"
    assert not {name for name in loaded_after(make) if name.startswith("limio_async.api.")}
    used = loaded_after(f"{make}\nlimio.offers.list()")
    assert "limio_async.api.models.catalog" in used
    assert not {"limio_async.api.orders", "limio_async.api.models.orders"} & used


def test_naming_what_a_caller_gives_or_gets_loads_no_client() -> None:
    named = "Attempt, Auth, BadItem, CallOptions, Lane, ListOptions, Scheme"
    assert not {"limio_async.client", "limio_async.transport", "limio_async.api"} & loaded_after(
        f"from limio_async import {named}"
    )


def test_warming_up_loads_every_resource() -> None:
    make = "from limio_async import Limio\nfrom limio_async.emulator import World, InMemoryTransport\nimport asyncio"
    warm = "asyncio.run(Limio(transport=InMemoryTransport(World())).warmup())"
    assert {f"limio_async.api.{name}" for name in Resources.__annotations__} <= loaded_after(
        f"{make}\n{warm}"
    )


def test_the_resources_of_a_view_are_its_own() -> None:
    limio = Limio("acme.example", auth=ApiKey("k"))
    assert limio.offers is limio.offers
    view = limio.with_options(headers={"x-trace": "1"})
    assert view.offers is not limio.offers
    assert "x-trace" in view.explain(view.offers.list).headers
    assert "x-trace" not in limio.explain(limio.offers.list).headers


def test_a_resource_that_does_not_exist_is_an_attribute_that_does_not_exist() -> None:
    limio = Limio("acme.example", auth=ApiKey("k"))
    with pytest.raises(AttributeError, match="'Limio' object has no attribute 'offer'"):
        _ = limio.offer  # type: ignore[attr-defined]
    assert {"offers", "subscriptions", "aclose"} <= set(dir(limio))


async def test_the_longer_deadline_of_a_call_covers_getting_its_token(virtual_time: Any) -> None:
    async def respond(request: Request) -> Response:
        if request.operation == "createToken":
            await asyncio.sleep(0.6)
            return answer({"access_token": SECRET})
        return answer({"id": "sub-1"})

    transport = ScriptedTransport(respond)
    limio = Limio("limio.test", auth=ClientCredentials("id", SECRET), transport=transport, timeout=0.3)
    with pytest.raises(errors.DeadlineExceeded):
        await limio.subscriptions.get("sub-1")
    assert (await limio.subscriptions.get("sub-1", timeout=5)).id == "sub-1"


# ------------------------------------------------------------------ memory


def held_by(client: Limio) -> int:
    """How many objects a client leads to, but for what is the process's: modules, classes, functions, loops, tasks."""
    others = (ModuleType, type, FunctionType, asyncio.AbstractEventLoop, ScriptedTransport)
    seen: dict[int, object] = {}
    waiting: list[object] = [client]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, others):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return len(seen)


async def test_a_client_holds_no_more_after_many_calls_and_walks(virtual_time: VirtualTime) -> None:
    pages = [page("1", cursor="a", hits=None), page("2", cursor="b", hits=None), page("3", hits=None)]
    token = answer({"access_token": "t", "expires_in": 3600})

    async def never() -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    def served(request: Request) -> Any:
        if request.target == "/oauth2/token":
            return token
        if request.target.endswith("late"):
            return never()
        if "queryMore" in request.target:
            return pages[1 if "=a" in request.target else 2]
        return pages[0] if request.operation == "listThings" else answer({"id": "1"})

    transport = ScriptedTransport(served)
    limio = Limio("limio.test", auth=ClientCredentials("id", "secret"), transport=transport)
    held: list[int] = []
    for rounds in (5, 50):
        for _ in range(rounds):
            await limio.request(endpoint(auth=("bearer",)), {"id": "1"})
            assert len([one async for one in limio.listing(listing_of(KEY, auth=("bearer",)), {})]) == 3
            async with aclosing(limio.listing(listing_of(KEY, auth=("bearer",)), {}).pages()) as walk:
                async for _page in walk:
                    break
            with pytest.raises(errors.DeadlineExceeded):
                await limio.request(endpoint(auth=("bearer",)), {"id": "late"}, timeout=1)
        held.append(held_by(limio))
        await asyncio.sleep(4000)  # so that the token is renewed
    assert held[1] < held[0] + 10
    await limio.aclose()


def test_a_session_has_the_defaults_of_the_client_that_makes_it() -> None:
    ours = {name: one.default for name, one in inspect.signature(Limio.__init__).parameters.items()}
    inner = {name: one.default for name, one in inspect.signature(Session.__init__).parameters.items()}
    shared = ours.keys() & inner.keys() - {"self", "auth", "transport"}
    assert shared == {
        "timeout", "attempts", "max_concurrency", "plain_item_paths"
    }  # fmt: skip
    assert {name: ours[name] for name in shared} == {name: inner[name] for name in shared}


@pytest.mark.parametrize("lane", ["interactive", "background", None])
async def test_a_view_takes_either_lane(lane: Any) -> None:
    limio, transport = client(page("1"))
    await limio.with_options(lane=lane).offers.list().first()
    assert len(transport.requests) == 1
    with pytest.raises(errors.ConfigurationError, match="no lane 'fast'"):
        limio.with_options(lane="fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_client_that_is_closed_sends_nothing_whatever_its_transport_would_do() -> None:
    """One's own transport may go on."""
    transport = ScriptedTransport(answer({"id": "sub-1"}))
    limio = Limio("limio.test", auth=BearerToken(SECRET), transport=transport)
    await limio.aclose()
    transport.closed = 0
    for call in (lambda: limio.subscriptions.get("sub-1"), lambda: limio.offers.list().first()):
        with pytest.raises(errors.ClientClosed, match="was closed"):
            await call()
    assert transport.requests == []


async def test_an_attempt_after_which_nothing_waited_says_so() -> None:
    limio = Limio(
        "limio.test", auth=BearerToken(SECRET), transport=ScriptedTransport(answer({"id": "sub-1"}))
    )
    trace: list[Any] = []
    await limio.subscriptions.get("sub-1", trace=trace)
    assert [(one.status, one.reason, one.waited) for one in trace] == [(200, "status 200", 0.0)]


@pytest.mark.parametrize("auth", [ApiKey(SECRET), BearerToken(SECRET), ClientCredentials("id", SECRET)])
async def test_a_client_that_is_closed_is_not_warmed_up(auth: Auth) -> None:
    limio = Limio("limio.test", auth=auth, transport=ScriptedTransport(answer({})))
    await limio.aclose()
    with pytest.raises(errors.ClientClosed):
        await limio.warmup()
