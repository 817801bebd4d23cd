"""The server's public name: `serve`, `serve_answers` and `run_server` are in `http/server.py`."""

from __future__ import annotations

from limio_async.emulator.http.server import run_server, serve, serve_answers

__all__ = ["run_server", "serve", "serve_answers"]
