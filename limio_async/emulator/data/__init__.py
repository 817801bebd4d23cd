"""What a world holds. Most of it is made on demand, from the seed alone; only what was created or changed is stored.

records.py      the objects: subscriptions, customers, orders, ...
store.py        what was created or changed, above the objects that records.py makes
past.py         how long ago that was, and what was there before
views.py        what is seen of the store from outside: lists and reads that may be late
relations.py    what belongs together, read off the ids in objects
seed.py         the catalog's items
templates.py    what these items look like
editions.py     what was changed in the catalog
indexed.py      what an index of the catalog knows about an item
own_data.py     lists that were exported from a tenant
"""
