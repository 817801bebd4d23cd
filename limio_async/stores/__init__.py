"""Where what must not be lost is kept: a SQLite file or a PostgreSQL database, committed for good.

store.py        one thread for one connection; what waits together shares a commit
sqlite.py       a file, and beside it what tells of a restored backup
recorded.py     a handler's transaction in a file: statements that are executed when it returns
postgres.py     a schema of a database; needs psycopg 3
postgres_tx.py  a handler's transaction there: a connection that begins with its first statement
"""

from typing import Literal

from limio_async.errors import ConfigurationError
from limio_async.stores.store import Do, Plan, Rows, Store, Tx
from limio_async.sync_jobs.sinks.urls import shown

__all__ = ["Do", "Plan", "Rows", "Store", "Tx", "store_of"]


def store_of(url: str, use: Literal["outbox", "inbox"] = "outbox") -> Store:
    """Return the store that *url* names, for that *use*; nothing is opened yet. Raises `ConfigurationError` where it names none."""
    match url.partition(":")[0]:
        case "sqlite":
            from limio_async.stores.sqlite import SqliteStore

            return SqliteStore(url, use)
        case "postgresql" | "postgres":
            from limio_async.stores.postgres import PostgresStore

            return PostgresStore(url)
        case scheme:
            raise ConfigurationError(
                f"an {use} is sqlite:///FILE or postgresql://HOST/DATABASE, not {shown(scheme)!r}"
            )
