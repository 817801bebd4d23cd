"""What does it cost to watch a call? `python -m benchmarks.watched`

CPU of a small call over HTTP without an observer, with `Otel()` where no SDK is configured, and with one that records
every span and metric; each as a ratio to the call without. They take turns, and the least of several repetitions counts.
Needs opentelemetry-sdk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.layers import Rung, least
from benchmarks.server import CLIENT_CORE, pinned_to, serving
from benchmarks.tables import Table, printed
from limio_async import BearerToken, Limio
from limio_async.otel import Otel

__all__ = ["watched"]

CALLS = 300


class Forgetful(SpanExporter):
    """Takes spans and forgets them: what sends them is not measured."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to let go of."""


async def costs(url: str) -> Mapping[str, float]:
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(Forgetful()))
    observers = {
        "no observer": None,
        "OpenTelemetry's API only": Otel(),
        "all recorded": Otel(tracer_provider=tracers, meter_provider=meters),
    }
    async with AsyncExitStack() as held:
        rungs: dict[str, Rung] = {}
        for name, observer in observers.items():
            limio = Limio(url, auth=BearerToken("t"), observer=observer)
            await held.enter_async_context(limio)
            rungs[name] = partial(limio.subscriptions.get, "small")
        found = await least(rungs, CALLS)
    tracers.shutdown()
    return found


def rows() -> Iterator[Sequence[str]]:
    pinned_to(CLIENT_CORE)
    with serving(0) as url:
        found = asyncio.run(costs(url))
    for name, cost in found.items():
        yield name, f"{cost:.0f}", f"{cost / found['no observer']:.2f}"


def watched() -> Table:
    """For a small call, one at a time."""
    return Table("What it costs to watch a call", ("watched by", "CPU µs", "ratio"), rows())


if __name__ == "__main__":
    printed(watched())
