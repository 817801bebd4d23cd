"""The tenant of a night behind a port: a process that refuses connections, hangs and breaks off, and may be killed.

`python -m tests.judges.nights_server SEED PORT BEGUN LASTS` goes on as the same tenant whenever it is started again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

from aiohttp import web

from tests.judges.nights_tenant import KINDS, NightTenant

__all__ = ["PATIENCE", "made"]

PATIENCE = 60.0
_KINDS = tuple(
    "killed" if kind == "dns" else kind for kind in KINDS
)  # a host that is gone is a port that is gone
_CLOSED = {"refused", "killed"}
_OFTEN = 0.05


def made(seed: int, lasts: float) -> NightTenant:
    """Return the tenant of a night of so many seconds."""
    return NightTenant(seed, seconds=lasts, pace=1.0, patience=PATIENCE, size=60, longest=40.0, kinds=_KINDS)


class _Server:
    def __init__(self, tenant: NightTenant, port: int, begun: float) -> None:
        self._tenant = tenant
        self._port = port
        self._begun = begun

    def now(self) -> float:
        """Seconds since the night began."""
        return time.time() - self._begun

    async def run(self) -> None:
        """Serve until killed; nobody is let in while connections are refused."""
        app = web.Application(client_max_size=2**20)
        app.router.add_route("*", "/{tail:.*}", self.serve)
        runner: web.AppRunner | None = None
        while True:
            outage = self._tenant.outage(self.now())
            is_open = outage is None or outage.kind not in _CLOSED
            if is_open and runner is None:
                runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
                await runner.setup()
                with suppress(OSError):
                    await web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True).start()
            elif not is_open and runner is not None:
                app, runner = await self._closed(runner), None
            await asyncio.sleep(_OFTEN)

    async def _closed(self, runner: web.AppRunner) -> web.Application:
        await runner.cleanup()
        app = web.Application(client_max_size=2**20)
        app.router.add_route("*", "/{tail:.*}", self.serve)
        return app

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as the tenant says, or break off."""
        await request.read()
        reply = self._tenant.answer(self.now(), request.rel_url.raw_path, dict(request.query))
        if reply.fault == "timeout":
            while (outage := self._tenant.outage(self.now())) and outage.kind == "timeout":  # noqa: ASYNC110
                await asyncio.sleep(_OFTEN)
        elif not reply.fault:
            await asyncio.sleep(reply.delay)
        headers = {"Content-Type": "application/json", **reply.headers}
        if reply.fault == "cut":
            whole = web.StreamResponse(headers={**headers, "Content-Length": "1000"})
            await whole.prepare(request)
            await whole.write(b'{"items":[{"id":"half')
        if reply.fault:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(body=reply.body, status=reply.status, headers=headers)


if __name__ == "__main__":
    seed, port, begun, lasts = sys.argv[1:]
    asyncio.run(_Server(made(int(seed), float(lasts)), int(port), float(begun)).run())
