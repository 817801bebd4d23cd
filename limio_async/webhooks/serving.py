"""A receiver as a server of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from typing import Any

from aiohttp import web

from limio_async.errors import ConfigurationError
from limio_async.webhooks.receiver import Receiver

__all__ = ["serve"]


class _Discreet(logging.LoggerAdapter[logging.Logger]):
    """Logs which error it was and not its words: those of a header that cannot be read hold the header."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        error = kwargs.pop("exc_info", None)
        return (f"{msg} ({type(error).__name__})" if isinstance(error, BaseException) else msg), kwargs


async def serve(receiver: Receiver, host: str, port: int, listens: Callable[[str], None]) -> None:
    """Serve `/hooks/{type}` until cancelled; *listens* is told where. Raises `ConfigurationError` where nobody can listen."""
    app = web.Application()
    app.add_routes([receiver.every_path()])
    runner = web.AppRunner(
        app,
        access_log=None,  # one line a delivery would say nothing that the inbox does not
        auto_decompress=False,  # else what is encoded in an unknown way is refused before it shows its credentials
        logger=_Discreet(logging.getLogger("limio_async")),
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"nobody can listen at {host}:{port}: {error.strerror}") from None
        for address in runner.addresses:
            listens(f"http://{address[0]}:{address[1]}/hooks/{{type}}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
