"""A sign-in begins with a URL that tells nothing secret and ends once, with the answer that belongs to it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from limio_async import Limio, errors
from limio_async.auth import (
    ApiKey,
    AuthorizationCode,
    ChainedAuth,
    FileTokenStore,
    MemoryTokenStore,
    SignedIn,
    SignIn,
    StoredToken,
)
from limio_async.auth.authorization_code import challenge_of, read_callback
from limio_async.core.ports import Auth, Exchange
from limio_async.core.session import Session
from limio_async.core.wire import Credential, Request, Response, Scheme
from limio_async.emulator import InMemoryTransport, World
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

ORIGIN = "https://limio.emulated"
REDIRECT = "http://127.0.0.1:8765/callback"
SECRET = "s3cr3t-value"
BEARER = endpoint(auth=("bearer",))


@pytest.fixture
def world() -> World:
    return World(offers=0, subscriptions=3)


@pytest.fixture
def auth(world: World) -> AuthorizationCode:
    return AuthorizationCode(world.client_id, REDIRECT)


class Site:
    """An exchange with a world, and the browser of whoever signs in there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.forms: list[dict[str, str]] = []

    def visit(self, sign_in: SignIn) -> str:
        """Where the browser ends up."""
        target = sign_in.url.removeprefix(sign_in.origin)
        response = self.world.answer(Request(operation="", method="GET", target=target, headers={}))
        assert response.status == 302, response.body
        return response.headers["location"]

    async def __call__(self, request: Request) -> Response:
        self.forms.append(dict(parse_qsl((request.body or b"").decode())))
        assert request.retry == "once"
        return self.world.answer(request)


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


def stored(token: str = SECRET, *, lasts: float = 600, origin: str = ORIGIN) -> StoredToken:
    return StoredToken(access_token=token, expires_at=time.time() + lasts, origin=origin)


def test_the_challenge_is_the_one_of_the_rfc() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_sign_in_begins_with_a_url_that_holds_what_limio_asks_for(auth: AuthorizationCode) -> None:
    sign_in = auth.begin(ORIGIN)
    url = urlsplit(sign_in.url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ORIGIN}/oauth2/authorize"
    assert dict(parse_qsl(url.query)) == {
        "response_type": "code",
        "client_id": World().client_id,
        "redirect_uri": REDIRECT,
        "state": sign_in.state,
        "scope": "openid",
        "code_challenge": challenge_of(sign_in.verifier),
        "code_challenge_method": "S256",
    }
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", sign_in.verifier)
    assert sign_in.verifier not in sign_in.url
    other = auth.begin(ORIGIN)
    assert {other.state, other.verifier}.isdisjoint({sign_in.state, sign_in.verifier})


async def test_the_code_becomes_a_token_that_serves_and_is_stored(
    world: World, auth: AuthorizationCode, site: Site
) -> None:
    sign_in = auth.begin(ORIGIN)
    before = time.time()
    token = await auth.finish(sign_in, site.visit(sign_in), site)
    assert token.origin == ORIGIN
    assert before + 3600 <= token.expires_at <= time.time() + 3600
    [form] = site.forms
    assert form == {
        "grant_type": "authorization_code",
        "code": form["code"],
        "redirect_uri": REDIRECT,
        "client_id": world.client_id,
        "code_verifier": sign_in.verifier,
    }
    session = Session(InMemoryTransport(world), auth)
    orders = endpoint(operation="listOrders", path="/api/objects/limio/orders", params=(), auth=("bearer",))
    assert "items" in await session.call(orders, {})


async def test_a_callback_may_be_given_as_its_query(auth: AuthorizationCode, site: Site) -> None:
    sign_in = auth.begin(ORIGIN)
    query = dict(parse_qsl(urlsplit(site.visit(sign_in)).query))
    assert (await auth.finish(sign_in, query, site)).origin == ORIGIN


async def test_a_sign_in_works_once(world: World, auth: AuthorizationCode, site: Site) -> None:
    sign_in = auth.begin(ORIGIN)
    callback = site.visit(sign_in)
    await auth.finish(sign_in, callback, site)
    with pytest.raises(errors.MissingCredentials, match="finished before"):
        await auth.finish(sign_in, site.visit(sign_in), site)
    assert len(site.forms) == 1
    again = AuthorizationCode(world.client_id, REDIRECT)
    with pytest.raises(errors.Unauthorized, match="createToken: 400 invalid_grant"):
        await again.finish(sign_in, callback, site)


async def test_the_code_of_another_sign_in_is_of_no_use(auth: AuthorizationCode, site: Site) -> None:
    mine, other = auth.begin(ORIGIN), auth.begin(ORIGIN)
    with pytest.raises(errors.MissingCredentials, match="belongs to another sign-in"):
        await auth.finish(mine, site.visit(other), site)
    assert site.forms == []
    code = dict(parse_qsl(urlsplit(site.visit(other)).query))["code"]  # a state that leaked as well
    with pytest.raises(errors.Unauthorized, match="code_verifier"):
        await auth.finish(mine, {"code": code, "state": mine.state}, site)


async def test_an_answer_lost_with_the_token_is_not_asked_for_twice(auth: AuthorizationCode) -> None:
    lost = ScriptedTransport(errors.AnswerLost("hung up", operation="createToken"))

    async def exchange(request: Request) -> Response:
        return await lost.send(request, timeout=60)

    sign_in = auth.begin(ORIGIN)
    with pytest.raises(errors.AnswerLost):
        await auth.finish(sign_in, {"code": "c", "state": sign_in.state}, exchange)
    assert len(lost.requests) == 1


STATE = "the-state"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("code=c", "belongs to another sign-in"),
        ("code=c&state=other", "belongs to another sign-in"),
        ("code=c&state=", "belongs to another sign-in"),
        ("code=c&state=the-state&state=other", "belongs to another sign-in"),
        ("error=access_denied", "belongs to another sign-in"),
        ("error=access_denied&state=the-state", "refused: access_denied"),
        ("error=x&error_description=not%0A%1b[2Jyou&state=the-state&code=c", "refused: not  [2Jyou"),
        ("state=the-state", "holds no code"),
        ("state=the-state&code=", "holds no code"),
        ("state=the-state&code=a&code=b", "holds no code"),
        ("", "belongs to another sign-in"),
    ],
)
def test_any_other_answer_is_refused_and_says_what_to_do(query: str, said: str) -> None:
    with pytest.raises(errors.MissingCredentials) as caught:
        read_callback(f"{REDIRECT}?{query}", state=STATE)
    assert str(caught.value).startswith("authorize: ")
    assert said in str(caught.value)
    assert str(caught.value).endswith("; sign in again: limio login")


def read(callback: str | Mapping[str, str]) -> str | None:
    try:
        return read_callback(callback, state=STATE)
    except errors.MissingCredentials:
        return None


texts = st.text(st.characters())  # surrogates too
pairs = st.lists(st.tuples(st.sampled_from(["code", "state", "error", "x"]) | texts, texts | st.just(STATE)))


@given(texts | st.builds(lambda rest: f"{REDIRECT}?{rest}", texts))
@example("https://[")
def test_no_text_is_taken_for_an_answer(text: str) -> None:
    assert read(text) is None


@given(pairs)
def test_a_code_counts_only_with_the_one_state_and_without_an_error(given: list[tuple[str, str]]) -> None:
    def values(name: str) -> set[str]:
        return {value for key, value in given if key == name}

    good = values("state") == {STATE} and len(values("code")) == 1 and values("error") <= {""}
    encoded = f"{REDIRECT}?{urlencode(given, errors='surrogatepass')}"
    if any("\ud800" <= character <= "\udfff" for pair in given for character in "".join(pair)):
        read(encoded)  # percent-decoding replaces them
        return
    assert read(encoded) == (min(values("code")) or None if good else None)


@given(
    st.dictionaries(st.sampled_from(["code", "state", "error", "error_description"]), texts | st.just(STATE))
)
def test_a_query_that_was_already_read_obeys_the_same_rules(query: dict[str, str]) -> None:
    good = query.get("state") == STATE and not query.get("error")
    assert read(query) == (query.get("code") or None if good else None)


@pytest.mark.parametrize("given", [("", REDIRECT), ("id", " ")])
def test_a_strategy_without_id_or_redirect_is_refused_when_it_is_made(given: tuple[str, str]) -> None:
    with pytest.raises(errors.ConfigurationError):
        AuthorizationCode(*given)


def session_on(tenant: Any, auth: Any) -> tuple[Session, ScriptedTransport]:
    transport = ScriptedTransport(tenant)
    transport.origin = ORIGIN
    return Session(transport, auth), transport


@pytest.mark.parametrize("chained", [False, True])
async def test_a_token_goes_to_no_other_origin_than_it_was_got_from(chained: bool) -> None:
    store = MemoryTokenStore(stored(origin="https://acme.test"))
    signed_in: Any = ChainedAuth(ApiKey("k"), SignedIn(store)) if chained else SignedIn(store)
    said = "the sign-in is for https://acme.test, not for https://limio.emulated; sign in: limio login"
    session, transport = session_on(answer({}), signed_in)
    with pytest.raises(errors.MissingCredentials, match=said):
        await session.call(BEARER, {"id": "1"})
    assert transport.requests == []
    own = ScriptedTransport(answer({}))
    own.origin = "https://acme.test"
    assert await Session(own, signed_in).call(BEARER, {"id": "1"}) == {}


async def test_a_sign_in_elsewhere_meanwhile_is_not_sent_here() -> None:
    store = MemoryTokenStore(stored("old"))
    session, transport = session_on(answer({}, 401), SignedIn(store))
    with pytest.raises(errors.Unauthorized):
        await session.call(BEARER, {"id": "1"})
    await store.save(stored("new", origin="https://acme.test"))
    with pytest.raises(errors.MissingCredentials, match="not for https://limio.emulated"):
        await session.call(BEARER, {"id": "1"})
    assert [one.headers["authorization"] for one in transport.requests] == ["Bearer old"]


@pytest.mark.parametrize("spelled", ["https://acme.test", "https://ACME.test/"])
async def test_a_sign_in_at_an_origin_serves_it_however_it_was_spelled(world: World, spelled: str) -> None:
    auth = AuthorizationCode(world.client_id, REDIRECT)
    sign_in = auth.begin(spelled)
    site = Site(world)
    await auth.finish(sign_in, site.visit(sign_in), site)
    transport = ScriptedTransport(answer({}))
    transport.origin = "https://acme.test"
    assert await Session(transport, auth).call(BEARER, {"id": "1"}) == {}


SPELLINGS = (
    "https://acme.test",
    "ACME.test",
    "https://acme.test/",
    "https://acme.test:443",
    "https://acme.test/api/",
)


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_sign_in_begins_at_the_origin_that_a_client_of_that_host_has(
    auth: AuthorizationCode, spelled: str
) -> None:
    sign_in = auth.begin(spelled)
    assert sign_in.origin == Limio(spelled).origin == "https://acme.test"
    assert sign_in.url.startswith("https://acme.test/oauth2/authorize?")


@pytest.mark.parametrize(
    "host",
    ["", "http://acme.test", "ftp://acme.test", "https://u:s3cr3t@acme.test", "https://acme.test/shop", None],
)
def test_a_host_that_no_client_takes_is_refused_where_a_token_is_for_it(
    auth: AuthorizationCode, host: Any
) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        auth.begin(host)
    assert "s3cr3t" not in str(caught.value)
    if host not in {None, "http://acme.test"}:  # to expect plain http sends nothing
        with pytest.raises(errors.ConfigurationError):
            SignedIn(MemoryTokenStore(), origin=host)
        with pytest.raises(errors.ConfigurationError):
            AuthorizationCode("id", REDIRECT, origin=host)


def test_a_sign_in_over_plain_http_has_to_be_asked_for(auth: AuthorizationCode) -> None:
    assert auth.begin("http://limio:8642", plain_http=True).url.startswith(
        "http://limio:8642/oauth2/authorize?"
    )


@pytest.mark.parametrize("kept", SPELLINGS)
@pytest.mark.parametrize("expected", [None, *SPELLINGS])
async def test_a_token_serves_its_origin_however_it_is_spelled(kept: str, expected: str | None) -> None:
    transport = ScriptedTransport(answer({}), answer({}, 401))
    transport.origin = "https://acme.test"
    session = Session(transport, SignedIn(MemoryTokenStore(stored(origin=kept)), origin=expected))
    assert await session.call(BEARER, {"id": "1"}) == {}
    with pytest.raises(errors.Unauthorized, match="sign in again"):
        await session.call(BEARER, {"id": "1"})
    assert len(transport.requests) == 2


async def test_a_stored_token_serves_in_another_process(tmp_path: Path) -> None:
    await FileTokenStore(tmp_path / "token").save(stored())
    session, transport = session_on(answer({}), SignedIn(FileTokenStore(tmp_path / "token"), origin=ORIGIN))
    await session.call(BEARER, {"id": "1"})
    await session.call(BEARER, {"id": "1"})
    assert [one.headers["authorization"] for one in transport.requests] == [f"Bearer {SECRET}"] * 2


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "nobody is signed in; sign in: limio login"),
        (stored(lasts=-1), "the sign-in ended at 2"),
        (stored(origin="https://evil.example"), "for https://evil.example, not for https://limio.emulated"),
    ],
)
async def test_a_token_that_will_not_do_is_not_sent_and_says_what_to_do(
    token: StoredToken | None, said: str
) -> None:
    session, transport = session_on(answer({}), SignedIn(MemoryTokenStore(token), origin=ORIGIN))
    with pytest.raises(errors.MissingCredentials) as caught:
        await session.call(BEARER, {"id": "1"})
    assert said in str(caught.value)
    assert "limio login" in str(caught.value)
    assert transport.requests == []


async def test_a_refused_token_gives_way_to_the_one_of_a_later_sign_in() -> None:
    store = MemoryTokenStore(stored("old"))

    def tenant(request: Request) -> Response:
        return answer({}) if request.headers["authorization"] == "Bearer new" else answer({}, 401)

    session, transport = session_on(tenant, SignedIn(store))
    with pytest.raises(
        errors.Unauthorized, match="401 the sign-in is not accepted; sign in again: limio login"
    ):
        await session.call(BEARER, {"id": "1"})
    assert len(transport.requests) == 1
    await store.save(stored("new"))
    assert await session.call(BEARER, {"id": "1"}) == {}


class Elsewhere(MemoryTokenStore):
    """A store that takes its time, as files and databases do."""

    async def load(self) -> StoredToken | None:
        token = await super().load()
        await asyncio.sleep(0)
        return token


class HasNone:
    """A strategy for tokens that has none just now."""

    offers: tuple[Scheme, ...] = ("bearer",)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        return None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        return False


@pytest.mark.parametrize("before", [(), (ApiKey("the-key"),), (HasNone(),)], ids=["alone", "a key", "none"])
async def test_a_token_that_is_refused_is_replaced_by_the_one_that_was_stored_meanwhile(
    before: tuple[Auth, ...],
) -> None:
    store = Elsewhere(stored("old"))
    valid = "Bearer old"

    def tenant(request: Request) -> Response:
        return answer({}, 200 if request.headers["authorization"] == valid else 401)

    signed_in = SignedIn(store)
    session, transport = session_on(tenant, ChainedAuth(*before, signed_in) if before else signed_in)
    await session.call(BEARER, {"id": "1"})
    valid = "Bearer new"
    await store.save(stored("new"))
    await asyncio.gather(*(session.call(BEARER, {"id": str(n)}) for n in range(3)))
    await session.call(BEARER, {"id": "1"})
    sent = [one.headers["authorization"] for one in transport.requests]
    assert sent == ["Bearer old"] * 4 + ["Bearer new"] * 4


async def test_who_comes_late_with_a_refused_token_is_served_with_the_one_that_is_held(site: Site) -> None:
    store = MemoryTokenStore(stored("new"))
    signed_in = SignedIn(store)
    held = await signed_in.credential(signed_in.offers, site)
    await store.save(None)
    assert await signed_in.renew(Credential(scheme="bearer", authorization="Bearer old"), site)
    assert await signed_in.credential(signed_in.offers, site) == held


async def test_a_second_sign_in_serves_the_second_token(auth: AuthorizationCode, site: Site) -> None:
    session, transport = session_on(answer({}), auth)
    tokens: list[str] = []
    for _ in range(2):
        sign_in = auth.begin(ORIGIN)
        token = await auth.finish(sign_in, site.visit(sign_in), site)
        await session.call(BEARER, {"id": "1"})
        tokens.append(f"Bearer {token.access_token}")
    assert [one.headers["authorization"] for one in transport.requests] == tokens
    assert tokens[0] != tokens[1]


async def test_a_token_that_expires_gives_way_to_the_one_of_a_later_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryTokenStore(stored("old"))
    session, transport = session_on(answer({}), SignedIn(store))
    await session.call(BEARER, {"id": "1"})
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(errors.MissingCredentials, match="sign in again: limio login"):
        await session.call(BEARER, {"id": "1"})
    await store.save(stored("new"))
    await session.call(BEARER, {"id": "1"})
    assert [one.headers["authorization"] for one in transport.requests] == ["Bearer old", "Bearer new"]


async def test_a_sign_in_serves_where_a_bearer_token_does_and_last_in_a_chain() -> None:
    chain = ChainedAuth(ApiKey("the-key"), SignedIn(MemoryTokenStore(stored())))
    session, transport = session_on(answer({}), chain)
    await session.call(endpoint(auth=("key", "bearer")), {"id": "1"})
    await session.call(BEARER, {"id": "1"})
    assert [one.headers["authorization"] for one in transport.requests] == ["the-key", f"Bearer {SECRET}"]
    with pytest.raises(errors.MissingCredentials, match="takes a session token"):
        await session.call(endpoint(auth=("session",)), {"id": "1"})


async def test_nothing_shows_a_secret(auth: AuthorizationCode) -> None:
    sign_in = auth.begin(ORIGIN)
    signed_in = AuthorizationCode("id", REDIRECT, store=MemoryTokenStore(stored()))
    for one in (sign_in, signed_in, SignedIn(MemoryTokenStore(stored()))):
        for shown in (repr(one), pretty_repr(one), str(one)):
            assert SECRET not in shown
            assert sign_in.verifier not in shown
            assert sign_in.state not in shown


@pytest.mark.parametrize(("length", "shown"), [(1, 1), (200, 200), (201, 200), (5_000, 200)])
def test_of_a_long_refusal_the_beginning_is_shown(length: int, shown: int) -> None:
    with pytest.raises(errors.MissingCredentials) as caught:
        read_callback({"error": "x" * length, "state": "s"}, state="s")
    said = str(caught.value)
    assert said.count("x") == shown - (length > shown)
    assert ("…" in said) is (length > shown)
