"""What a world answers, one file a noun. Each area is a class with `operations`, from operation id to a method.

catalog.py           offers, products, campaigns, ...: filters and scroll cursors
catalog_admin.py     what editors do to the catalog
objects.py           subscriptions, customers, orders, ...: key cursors and single objects
subscriptions.py     those of a Salesforce contact, timelines, news from Zuora
checkout.py          checkouts of new orders
baskets.py           the baskets of these checkouts
subscription_checkout.py   checkouts that change a subscription
orders.py            orders, queued or done at once, and previews
order_effects.py     what orders do to the objects
pricing.py           what an offer costs and for how long
promo_codes.py       promo codes
partners.py          partner organisations, their users and customers
identities.py        external identities and changes of owner
session.py           what the signed-in user sees
journeys.py          cancellation journeys
builds.py            builds of the shop and of its components, and what of them is published
oauth.py             GET /oauth2/authorize, POST /oauth2/token
"""
