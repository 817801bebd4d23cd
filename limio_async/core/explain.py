"""What a call would send, without sending it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from limio_async.core.codec import build_request
from limio_async.core.ladder import accepted
from limio_async.core.listing.head import page_query
from limio_async.core.listing.options import Options
from limio_async.core.wire import Endpoint, ListEndpoint, Scheme

__all__ = ["Explainer", "Explanation"]

_SHOWN_HEADERS = frozenset({"accept", "content-type", "x-limio-mode"})
_SECRET_FIELDS = frozenset({"client_secret", "code", "code_verifier"})
_SHOWN: dict[Scheme, str] = {"key": "***", "bearer": "Bearer ***", "session": "Bearer ***"}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The request that a call would send first, secrets left out; `str()` is a command for curl."""

    operation: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    retry: str
    """The retry class of the operation."""
    cursor: str | None
    """The kind of cursor that walks it; None if it is no listing."""
    accepts: tuple[Scheme, ...]
    """The credentials that the operation takes."""

    def __str__(self) -> str:
        words = ["curl", "--request", self.method, self.url]
        for name, value in self.headers.items():
            words += ["--header", f"{name}: {value}"]
        if self.body is not None:
            words += ["--data-binary", self.body.decode(errors="replace")]
        return shlex.join(words)


class Explainer:
    """Stands in for a session: explains calls instead of making them."""

    def __init__(
        self,
        origin: str,
        headers: Mapping[str, str],
        offers: Collection[Scheme],
        *,
        plain_item_paths: bool,
    ) -> None:
        self._origin = origin
        self._headers = headers
        self._offers = offers
        self._plain = plain_item_paths

    async def call(
        self, endpoint: Endpoint[Any], args: Mapping[str, Any], body: object = None, **options: Any
    ) -> Explanation:
        """What calling *endpoint* would send."""
        del options
        return self.explained(endpoint, args, body)

    def list(self, endpoint: ListEndpoint[Any], args: Mapping[str, Any], **options: Any) -> Explanation:
        """What walking *endpoint* would send first."""
        return self.explained(endpoint, args, options=Options(**options))

    def explained(
        self,
        endpoint: Endpoint[Any],
        args: Mapping[str, Any],
        body: object = None,
        *,
        options: Options | None = None,
    ) -> Explanation:
        """What calling or walking *endpoint* would send first."""
        paging = endpoint.paging
        size = options.page_size if options else None
        query = page_query(paging, size or paging.default_page_size) if paging else None
        request = build_request(
            endpoint, args, body, query=query, headers=self._headers, plain_item_paths=self._plain
        )
        accepts = accepted(request, self._offers)
        schemes: list[Scheme] = [one for one in self._offers if one in accepts] or [*endpoint.auth]
        shown = {name: value if name in _SHOWN_HEADERS else "***" for name, value in request.headers.items()}
        if schemes:
            shown["authorization"] = _SHOWN[schemes[0]]
        path, mark, query_sent = request.target.partition("?")
        hidden = {param.wire for param in endpoint.params if param.secret}
        sent, form = request.body, endpoint.body_format == "form"
        return Explanation(
            operation=endpoint.operation,
            method=request.method,
            url=f"{self._origin}{path}{mark}{_without(hidden, query_sent)}",
            headers=shown,
            body=_without(_SECRET_FIELDS, sent.decode()).encode() if sent and form else sent,
            retry=endpoint.retry,
            cursor=paging.kind if paging else None,
            accepts=endpoint.auth,
        )


def _without(names: Collection[str], form: str) -> str:
    """Return *form*, or a query, with the values of *names* left out."""
    pairs = (pair.partition("=") for pair in form.split("&"))
    return "&".join(f"{name}{mark}{'***' if name in names else value}" for name, mark, value in pairs)
