"""Prints `limio_async/api/` from `openapi/limio.yaml` and `openapi/overlay.toml`; never shipped.

`spec.py` reads them, `beside.py` the names that are written by hand beside what is generated; `shapes.py`, `hooks.py` and `plan.py`
decide, `render.py` prints, `python -m codegen` writes and `python -m codegen --check` compares. What it does not
understand stops it, with the file and the path.

What the two files must keep to:

- An object with properties has a name under `components/schemas`; `allOf` stands there only, over one class.
- "Any value" is an empty schema that says so in its `description`; under `items` a bare `{}` is enough.
- A union that JSON alone cannot tell apart (two objects) has a `discriminator` with a whole mapping, and is a
  request body, never a property or an answer.
- Every schema that a body or an answer uses is in one module of `[models]`. Error bodies and the envelopes of
  lists may be named there too; they get no class.
- An enum stays open, except that one value in a request is a constant and its field's default.
- A default is the server's own and not sent, except that of a required parameter.
"""
