"""Orders sent to Limio exactly as often as meant: `Outbox`.

outbox.py   Outbox: intend, run, ask, decide by hand
sending.py  one run: what is sent, and when it pauses
telling.py  callbacks and observers
looking.py  what is in doubt, looked for in lists of orders
decide.py   what is written, given what is known: pure
order.py    an order as it is stored, and what came of it: pure
table.py    the rows, and one transaction for each thing done with them
clerk.py    what a person asks of them: lists, figures, emptying
schema.py   the tables: version, tenant, history
outcome.py  what is known of an order
"""

from limio_async.errors import KeyReused, OutboxError, StoreAway, StoreError, TooManyWaiting, UnknownKey
from limio_async.outbox.outbox import Outbox
from limio_async.outbox.outcome import Outcome, Stats
from limio_async.outbox.telling import Tx

__all__ = [
    "KeyReused",
    "Outbox",
    "OutboxError",
    "Outcome",
    "Stats",
    "StoreAway",
    "StoreError",
    "TooManyWaiting",
    "Tx",
    "UnknownKey",
]
