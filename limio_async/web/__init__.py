"""Limio in a web service: one client for the process, errors as problems, readiness. Import the module of your framework.

problems.py   what each error is to the caller of a service: a table, and one rule above it: pure
serving.py    readiness: pure; a client and its caches, opened and closed in order; the log of problems
starlette.py  for Starlette and FastAPI
aiohttp.py    for aiohttp's server
"""

from limio_async.web.problems import PROBLEMS, Problem, Told, told
from limio_async.web.serving import Cache, readiness

__all__ = ["PROBLEMS", "Cache", "Problem", "Told", "readiness", "told"]
