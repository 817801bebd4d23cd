"""Answers with a status of success that say no: what a server puts where an order, a page or an item should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

__all__ = ["beside", "refusal", "refused_item"]

_FORMS: Sequence[Callable[[str], object]] = (
    lambda words: {"errorMessage": words, "errorType": "Sandbox.Timedout"},
    lambda words: {"error": words},
    lambda words: {"error": {"message": words, "code": "TIMEOUT"}},
    lambda words: {"message": words},
    lambda words: {},
    lambda words: None,
    lambda words: {"errors": [{"message": words}]},
)
_ERRORS = ('"error":"late"', '"errors":["late"]', '"errorMessage":"late"', '"error":{"message":"late"}')


def refusal(r: Random) -> tuple[int, bytes]:
    """A status and a body that hold nothing of what was asked for."""
    body = r.choice(_FORMS)("the index is down")
    return r.choice((200, 200, 200, 200, 201, 202)), json.dumps(body).encode()


def beside(body: bytes, r: Random) -> bytes:
    """The same object with an error beside what it holds."""
    return body[:-1] + b"," + r.choice(_ERRORS).encode() + b"}"


def refused_item(name: str, r: Random) -> bytes:
    """What stands in a list where the item *name* should be."""
    return json.dumps(r.choice([form for form in _FORMS if form(name)])(name)).encode()
