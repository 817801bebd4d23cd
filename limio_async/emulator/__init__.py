"""A Limio that runs anywhere: one `World` of state and behaviour, in memory or over HTTP.

Where to look, from what uses the others to what is used:

server.py     `serve`, `run_server`, ...: the public name of http/server.py
http/         the same World over HTTP: the server, the window, the control endpoint
memory.py     InMemoryTransport
world.py      World: dispatch, credentials, the request log, scripted faults
loading.py    payloads that somebody put into a world
areas/        what a world answers, one file a noun: catalog, orders, ...
faults/       what goes wrong, when and how often
data/         what a world holds: objects, catalog items, lists that were exported from a tenant
webhooks.py   what is sent to receivers of webhooks, and when
received.py   the log of requests that arrived
agenda.py     what happens later on the clock
routes.py     which operation a method and a path mean
payload.py    reading what was sent
messages.py   what an area is asked and what it answers
settings.py   what may be set, and the world's clock
ids.py        ids that look random, follow from the seed and can be read back

Imports point down this list: `http`, then the world, then `areas` or `faults`, which know nothing of each other,
then `data`. An operation that no area knows answers 501.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limio_async._lazy import lazily
from limio_async.emulator.memory import InMemoryTransport
from limio_async.emulator.messages import reply
from limio_async.emulator.world import World

if TYPE_CHECKING:
    from limio_async.emulator.http.apps import Courier

__all__ = ["Courier", "InMemoryTransport", "World", "reply"]

if not TYPE_CHECKING:  # a type checker shall know a wrong name from a right one
    __getattr__, __dir__ = lazily(globals(), {"Courier": "http.apps"})
