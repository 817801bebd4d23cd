"""Somebody with every credential who asks a world by operation and has each answer judged by the API description."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from limio_async.core.wire import Request, Response
from limio_async.emulator import World

from .judge import OPERATIONS, validator
from .visitor import Visitor


class Clerk(Visitor):
    """Paths are whole; *who* is `bearer`, `session`, `key` or nobody. Tokens that expired are renewed."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.token()

    def send(
        self,
        operation: str,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, object] | None = None,
        cookie: str | None = None,
        who: str = "bearer",
    ) -> Response:
        if self.bearer.removeprefix("Bearer ") not in self.world.good_tokens():
            self.token()
        credentials = {
            "bearer": self.bearer,
            "session": f"Bearer {self.world.session_token}",
            "key": self.world.api_key,
        }
        headers = {"Authorization": credentials[who]} if who in credentials else {}
        if cookie is not None:
            headers["Cookie"] = f"lang=en; limio_state={cookie}"
        answer = self.world.answer(
            Request(
                operation=operation,
                method=method,
                target=f"{path}?{urlencode(query)}" if query else path,
                headers=headers,
                body=None if body is None else msgspec.json.encode(body),
            )
        )
        assert self.world.requests()[-1].operation == operation
        check(operation, answer)
        return answer

    def do(self, *args: Any, **options: Any) -> Any:
        """The content of a good answer."""
        answer = self.send(*args, **options)
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body)


def check(operation: str, answer: Response) -> None:
    """A documented status and content that fits it; refusals that are not documented by number are errors too."""
    documented = OPERATIONS[operation]["responses"]
    status = str(answer.status) if str(answer.status) in documented else f"{answer.status // 100}XX"
    assert status in documented, f"{operation}: {answer.status} {answer.body[:300]!r}"
    if answer.status == 302:
        return
    for error in validator(operation, status).iter_errors(msgspec.json.decode(answer.body)):
        raise AssertionError(f"{operation} {answer.status}: {error.json_path} {error.message[:300]}")
