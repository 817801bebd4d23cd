"""The targets that a URL can name, one a file; each imports its library only when it is opened.

values.py   values that every target can hold: pure
sql.py      what the databases have in common
sqlite.py   a SQLite file: the standard library
"""

from __future__ import annotations

from limio_async.sync_jobs.sinks.urls import open_sink, state_file

__all__ = ["open_sink", "state_file"]
