"""Signing in at the emulator: a code for a browser, a token for the code, and for nobody else's."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from limio_async.core.wire import Response
from limio_async.emulator import World

from .visitor import Visitor, message

REDIRECT = "http://127.0.0.1:8765/callback"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def authorize(visitor: Visitor, **changes: str | None) -> Response:
    query = {
        "response_type": "code",
        "client_id": visitor.world.client_id,
        "redirect_uri": REDIRECT,
        "state": "a b&c",
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return visitor.ask("/oauth2/authorize", {name: one for name, one in query.items() if one is not None})


def code(visitor: Visitor, **changes: str | None) -> str:
    return came_back(authorize(visitor, **changes))["code"]


def came_back(response: Response) -> dict[str, str]:
    assert response.status == 302, response.body
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def redeem(visitor: Visitor, **changes: str) -> Response:
    form = {
        "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
        "client_id": visitor.world.client_id,
        "code_verifier": VERIFIER,
        **changes,
    }
    return visitor.ask("/oauth2/token", method="POST", body=urlencode(form).encode())


def test_a_browser_comes_back_with_a_code_that_becomes_a_token(visitor: Visitor) -> None:
    answer = authorize(visitor)
    assert answer.headers["location"].startswith(f"{REDIRECT}?code=")
    assert came_back(answer)["state"] == "a b&c"
    token = Visitor.json(redeem(visitor, code=came_back(answer)["code"]))
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    bearer = f"Bearer {token['access_token']}"
    assert visitor.ask("/api/objects/limio/orders", authorization=bearer).status == 200


def test_a_query_of_the_redirect_uri_is_kept_and_a_state_is_not_invented(visitor: Visitor) -> None:
    back = came_back(authorize(visitor, redirect_uri=f"{REDIRECT}?a=1", state=None))
    assert back.keys() == {"a", "code"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"response_type": None}, "response_type must be code"),
        ({"response_type": "token"}, "response_type must be code"),
        ({"client_id": "somebody"}, "client_id is unknown"),
        ({"client_id": None}, "client_id is unknown"),
        ({"redirect_uri": None}, "redirect_uri is not registered"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri is not registered"),
        ({"redirect_uri": "http://127.0.0.1.evil.example/"}, "redirect_uri is not registered"),
        ({"redirect_uri": "http://127.0.0.1@evil.example/"}, "redirect_uri is not registered"),
        ({"redirect_uri": "http://["}, "redirect_uri is not registered"),
        ({"redirect_uri": "http://localhost/\r\nset-cookie: a"}, "redirect_uri is not registered"),
        ({"code_challenge_method": None}, "code_challenge_method must be S256"),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
    ],
)
def test_a_wrong_question_sends_no_browser_anywhere(
    visitor: Visitor, changes: dict[str, Any], said: str
) -> None:
    answer = authorize(visitor, **changes)
    assert (answer.status, message(answer)) == (400, said)
    assert "location" not in answer.headers


def test_a_registered_redirect_uri_need_not_be_on_this_machine() -> None:
    visitor = Visitor(World(offers=0, subscriptions=0, redirect_uris=("https://shop.example/back",)))
    assert code(visitor, redirect_uri="https://shop.example/back")
    assert authorize(visitor, redirect_uri="https://shop.example/back/2").status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "somebody"},
        {"redirect_uri": f"{REDIRECT}2"},
        {"code_verifier": "w" * 43},
        {"code_verifier": CHALLENGE},
        {"code_verifier": ""},
        {"code": "0" * 48},
        {"code": ""},
    ],
)
def test_a_code_is_for_whoever_began_and_a_wrong_try_spends_it(
    visitor: Visitor, changes: dict[str, str]
) -> None:
    good = code(visitor)
    refused = redeem(visitor, **{"code": good, **changes})
    assert refused.status == 400
    assert message(refused).startswith("invalid_grant")
    assert redeem(visitor, code=good).status == (200 if "code" in changes else 400)


def test_a_code_works_once_and_for_a_minute(world: World, visitor: Visitor) -> None:
    once = code(visitor)
    assert redeem(visitor, code=once).status == 200
    assert redeem(visitor, code=once).status == 400
    old, fresh = code(visitor), code(visitor)
    world.advance(59)
    assert redeem(visitor, code=fresh).status == 200
    world.advance(1)
    assert redeem(visitor, code=old).status == 400
    assert world.tokens_issued == 2


def test_a_client_that_knows_no_challenges_needs_none(visitor: Visitor) -> None:
    plain = code(visitor, code_challenge=None, code_challenge_method=None)
    assert redeem(visitor, code=plain, code_verifier="").status == 200


def test_no_code_is_remembered(world: World, visitor: Visitor) -> None:
    known = code(visitor)
    redeem(visitor, code=known)
    assert known not in repr(world.requests())
    assert VERIFIER not in repr(world.requests())
