"""A Limio that runs anywhere: one `World` of state and behaviour, in memory or over HTTP.

Where to look:

    world.py      World: dispatch, credentials, the request log, scripted faults
    settings.py   what may be set, and the world's clock
    routes.py     which operation a method and a path mean
    oauth.py      GET /oauth2/authorize, POST /oauth2/token
    catalog.py    offers, products, campaigns, ...: filters and scroll cursors
                  seed.py makes the items, templates.py says what they look like
                  editions.py keeps what was changed, catalog_admin.py changes it
    checkout.py   baskets, which baskets.py keeps; subscription_checkout.py changes a subscription
    session.py    what the signed-in user sees
    promo_codes.py, builds.py  what their names say
    loading.py    payloads that somebody put into a world
    store.py      the objects that were created or changed, above those of records.py
    relations.py  what belongs together, read off the ids in objects
    orders.py     orders, queued or done at once, and previews
                  order_effects.py does what they ask for, pricing.py knows what it costs
    subscriptions.py  those of a Salesforce contact, timelines, news from Zuora
    identities.py     external identities and changes of owner
    partners.py       partner organisations, their users and customers
    agenda.py     what happens later on the clock
    objects.py    subscriptions, customers, orders, ...: key cursors and single objects
                  records.py makes their content
    journeys.py   cancellation journeys
    faults.py     what goes wrong, when and how often
                  mishaps.py has the kinds, delivery.py how an answer travels, walks.py which page it is
    own_data.py   lists that were exported from a tenant
    messages.py   what an area is asked and what it answers
    ids.py        ids that look random, follow from the seed and can be read back
    memory.py     InMemoryTransport
    server.py     the same World over HTTP; sending.py lets faults happen on the socket
    control.py    /_emulator/control, for programs in other languages

Each area is a class with `operations`, from operation id to a method; an operation in no area answers 501.
"""

from __future__ import annotations

from limio_async.emulator.memory import InMemoryTransport
from limio_async.emulator.messages import reply
from limio_async.emulator.world import World

__all__ = ["InMemoryTransport", "World", "reply"]
