"""The targets that a URL can name, one a file; each imports its library only when it is opened.

urls.py       from a URL to a sink
values.py     values that every target can hold: pure
database.py   what a sink asks of its database
statements.py SQL that the databases have in common: pure
writing.py    which rows an `apply` writes, and which the database does not take
sql.py        what the databases have in common besides: tables, and what is gone
sound.py      which rows of a batch a target takes: pure
sqlite.py     a SQLite file: the standard library
postgres.py   a schema of a PostgreSQL database: psycopg
postgres_rows.py   rows on their way into a table: pure
postgres_session.py  its connections: settings, rights, an end from another thread
postgres_watch.py    how long it waits: locks that others hold, cancelling, a server that is silent
postgres_errors.py   what its errors mean: pure
duckdb.py     a DuckDB file: duckdb, pyarrow
duckdb_odd.py which rows a table there will not take: pure
files.py      a directory of files: NDJSON (zstd: zstandard) and CSV
parquet.py    a directory of Parquet files: pyarrow
arrow.py      rows as Arrow tables
"""

from __future__ import annotations

from limio_async.sync_jobs.sinks.urls import is_server, open_sink, state_file

__all__ = ["is_server", "open_sink", "state_file"]
