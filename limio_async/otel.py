"""Spans and metrics of a client, by OpenTelemetry: `Limio(host, observer=Otel())`. The only importer of opentelemetry.

A call is a span, and so is each try to send it; the request for a token is a child of the call that needed it. No
value of the caller's gets into them: no id, query, header, body, credential, or text of an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Token
from functools import lru_cache, partial
from typing import TypeAlias
from urllib.parse import urlsplit

from limio_async.core.ports import Called, Observer, Watch
from limio_async.core.wire import Attempt
from limio_async.errors import LimioError
from limio_async.version import __version__

try:
    from opentelemetry import context, metrics, propagate, trace
except ModuleNotFoundError as error:
    said = f"limio_async.otel needs {error.name}: pip install 'limio_async[otel]'"
    raise ModuleNotFoundError(said, name=error.name) from None

__all__ = ["Otel"]

_SILENT = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation")
"""What tells other instrumentations that this request has its span."""
_Facts: TypeAlias = dict[str, str | bool | int | float]
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"})
_ERRORS = {"cut by the deadline": "DeadlineExceeded", "cancelled": "CancelledError"}
_FAILED = trace.Status(trace.StatusCode.ERROR)


class Otel(Observer):
    """An observer for OpenTelemetry. Without providers it uses the global ones, also those that are set later.

    While a request is sent, other instrumentations of HTTP clients are silent, so that it has one span and one
    `traceparent`. What the global propagator injects goes to Limio where there is an SDK or a trace: baggage too.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._theirs = tracer_provider is None and meter_provider is None
        self.tracer = trace.get_tracer("limio_async", __version__, tracer_provider)
        meter = metrics.get_meter("limio_async", __version__, meter_provider)
        seconds = partial(meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=_SECONDS)
        self.requests = seconds("http.client.request.duration", description="Of each try.")
        self.calls = seconds("limio.call.duration", description="Of calls and pages, waits included.")
        self.queue = seconds("limio.limiter.wait", description="What tries waited for a slot and the pace.")
        self.flying = meter.create_up_down_counter("limio.in_flight", "{request}", "Requests on the wire.")
        self.retries = meter.create_counter("limio.retries", "{request}", "Requests sent again after a wait.")
        self.renewals = meter.create_counter("limio.token.renewals", "{token}", "Requests for a token.")
        self.pages = meter.create_counter("limio.pages", "{page}", "Pages that walks took in hand.")
        self.items = meter.create_counter("limio.items", "{item}", "Items of those pages.")
        self.restarts = meter.create_counter("limio.restarts", "{restart}", "Walks that began again.")
        self.walks = meter.create_counter("limio.walks", "{walk}", "Walks that ended, complete or not.")
        self.unknown = meter.create_counter("limio.unknown_outcomes", "{call}", "Writes in doubt.")

    def call(self, call: Called) -> _Call | None:
        """Begin the span of a call, or of a page; None where no SDK is set and no trace is to be passed on."""
        if self._theirs and type(trace.get_tracer_provider()) is trace.ProxyTracerProvider:
            unset = type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
            if unset and not trace.get_current_span().get_span_context().is_valid:
                return None
        return _Call(self, call)

    def walk(self, walk: Called) -> _Walk:
        """Count the pages and items of a walk, and whether it is complete."""
        return _Walk(self, walk)


class _Current:
    """A span that is current from `begins` to the end of its `with` block, whatever raises there."""

    def __init__(self, span: trace.Span, parent: context.Context | None = None) -> None:
        self._span = span
        self.context = trace.set_span_in_context(span, parent)
        self._token: Token[context.Context] | None = None

    def begins(self) -> None:
        self._token = context.attach(self.context)

    def __enter__(self) -> trace.Span:
        return self._span

    def __exit__(self, *_: object) -> None:
        try:
            self._span.end()
        finally:
            if self._token and context.get_current() is self.context:  # else closed as garbage
                context.detach(self._token)


class _Call(Watch):
    def __init__(self, to: Otel, call: Called) -> None:
        self._to = to
        self._call = call
        self._operation = {"limio.operation": call.operation}
        given: _Facts = {**self._operation, "limio.resource": call.resource, "limio.lane": call.lane}
        given |= {} if call.path_type is None else {"limio.path_type": call.path_type}
        given |= {} if call.page is None else {"limio.page": call.page}
        self._current = _Current(to.tracer.start_span(f"limio {call.operation}", attributes=given))
        self._current.begins()
        self._begun = asyncio.get_running_loop().time()
        self._try: _Try | None = None
        self._attempts = 0
        self._waited: dict[str, float] = {}

    def queued(self, seconds: float) -> None:
        self._waits("limio.queued", seconds)
        self._to.queue.record(seconds, {"limio.lane": self._call.lane})

    def token(self, seconds: float) -> None:
        self._waits("limio.token_wait", seconds)

    def sends(self, attempt: int) -> Mapping[str, str]:
        self._attempts = attempt
        self._try = _Try(self._to, self._call, self._current.context, attempt)
        return self._try.begins()

    def came_to(self, attempt: Attempt, size: int) -> None:
        tried, self._try = self._try, None
        if tried is not None:
            tried.ends(attempt, size)

    def waits(self, seconds: float, why: str) -> None:
        self._waits("limio.paused", seconds)
        self._to.retries.add(1, {**self._operation, "limio.reason": why})

    def ended(self, error: BaseException | None) -> None:
        with self._current as span:
            if self._try is not None:
                self._try.ends(None, 0)
            found: _Facts = {} if error is None else {"error.type": type(error).__name__}
            result = {**self._operation, **found}
            self._to.calls.record(asyncio.get_running_loop().time() - self._begun, result)
            if self._call.resource == "auth":
                self._to.renewals.add(1, result)
            doubt = error if isinstance(error, LimioError) else error and error.__cause__
            happened = self._attempts and isinstance(doubt, LimioError) and doubt.happened
            if happened == "unknown" and self._call.retry in {"once", "idempotent"}:
                self._to.unknown.add(1, self._operation)
            if span.is_recording():
                span.set_attributes({"limio.attempts": self._attempts, **self._waited, **found})
                if error is not None:
                    span.set_status(_FAILED)

    def _waits(self, why: str, seconds: float) -> None:
        if seconds >= 0.001:
            self._waited[why] = self._waited.get(why, 0.0) + seconds


class _Try:
    def __init__(self, to: Otel, call: Called, parent: context.Context, attempt: int) -> None:
        self._to = to
        host, port = _address(call.origin)
        method = call.method if call.method in _METHODS else "_OTHER"
        self._facts: _Facts = {"http.request.method": method, "server.address": host, "server.port": port}
        given: _Facts = {**self._facts, "url.full": call.origin + call.path}
        given |= {"http.request.resend_count": attempt - 1} if attempt > 1 else {}
        quiet = context.set_value(_SILENT, True, parent)
        name = f"{method} {call.path}".rstrip()
        self._current = _Current(to.tracer.start_span(name, parent, trace.SpanKind.CLIENT, given), quiet)
        to.flying.add(1)

    def begins(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        propagate.inject(headers, self._current.context)
        self._current.begins()
        return headers

    def ends(self, attempt: Attempt | None, size: int) -> None:
        with self._current as span:
            self._to.flying.add(-1)
            if attempt is None:  # nobody can say what came of it
                return
            found: _Facts = {"http.response.status_code": attempt.status} if attempt.status else {}
            answered = attempt.reason == f"status {attempt.status}"
            wrong = not answered or (attempt.status or 0) >= 400
            if wrong:
                reason = str(attempt.status) if answered else attempt.reason
                found["error.type"] = _ERRORS.get(reason, reason)
            self._to.requests.record(attempt.duration, {**self._facts, **found})
            if span.is_recording():
                span.set_attributes({**found, "limio.response.size": size})
                if wrong:
                    span.set_status(_FAILED)


class _Walk(Watch):
    def __init__(self, to: Otel, walk: Called) -> None:
        self._to = to
        self._operation = {"limio.operation": walk.operation}

    def page(self, items: int) -> None:
        self._to.pages.add(1, self._operation)
        self._to.items.add(items, self._operation)

    def restarts(self, why: Exception) -> None:
        self._to.restarts.add(1, {**self._operation, "error.type": type(why).__name__})

    def ended(self, error: BaseException | None) -> None:
        result: _Facts = {**self._operation, "limio.complete": error is None}
        if error is not None:
            result["error.type"] = type(error).__name__
        self._to.walks.add(1, result)


@lru_cache(maxsize=64)
def _address(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
