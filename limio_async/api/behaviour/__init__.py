"""Methods of generated classes that no operation is, written by hand: one module a noun, one mixin a module.

`NOUN.py` defines `NOUNBehaviour`, and `[behaviour]` in `openapi/overlay.toml` says `NOUN = "CLASS"`, or lists several
classes: those generated classes, resources or models, are then derived from it. A mixin has no name that its classes
have anyway; codegen holds that, and that each module here is named in the overlay.

A mixin of a resource is derived from `Resource` and sends through `self._session`; one of a model has
`__slots__ = ()`. Neither imports what is generated, which imports it: what it needs of its class, it asks of *self*
with a protocol.

catalog.py  which state of the catalog is there
charge.py   which currency a charge is in
record.py   when an item or object was changed
"""
