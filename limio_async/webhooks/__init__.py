"""Webhooks of Limio: stored before they are answered, each handled once: `Inbox`.

inbox.py     Inbox: receive, run, ask, decide by hand
receiver.py  an ASGI app, and a handler for aiohttp
serving.py   a server of its own
door.py      who may come in, and what they may bring
batch.py     what shares a commit
working.py   one run: what is taken, and how it ends
handling.py  one event: what is fetched, called, marked, tried again
handlers.py  which functions an event is for, and what they get
fresh.py     objects as they are now
decide.py    repeats, failures, waits: pure
event.py     a delivery as it is stored, an event as a handler gets it: pure
types.py     what a body is, whom it concerns, whether two are equal; `Event`: pure
table.py     the rows, and one transaction for each thing done with them
clerk.py     what a person asks of them
schema.py    the tables: version, tenant
"""

from limio_async.errors import InboxError, StoreAway, StoreError, UnknownEvent
from limio_async.stores import Tx
from limio_async.webhooks.event import Stats
from limio_async.webhooks.inbox import Inbox
from limio_async.webhooks.receiver import Receiver
from limio_async.webhooks.types import Event

__all__ = [
    "Event",
    "Inbox",
    "InboxError",
    "Receiver",
    "Stats",
    "StoreAway",
    "StoreError",
    "Tx",
    "UnknownEvent",
]
