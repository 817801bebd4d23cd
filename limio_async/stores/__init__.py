"""Where what must not be lost is kept: a SQLite file or a PostgreSQL database, committed for good.

store.py     one thread for one connection; what waits together shares a commit
sqlite.py    a file, and beside it what tells of a restored backup
postgres.py  a schema of a database; needs psycopg 3
"""

from limio_async.errors import ConfigurationError
from limio_async.stores.store import Plan, Store

__all__ = ["Plan", "Store", "store_of"]


def store_of(url: str) -> Store:
    """Return the store that *url* names; nothing is opened yet. Raises `ConfigurationError` where it names none."""
    match url.partition(":")[0]:
        case "sqlite":
            from limio_async.stores.sqlite import SqliteStore

            return SqliteStore(url)
        case "postgresql" | "postgres":
            from limio_async.stores.postgres import PostgresStore

            return PostgresStore(url)
        case scheme:
            raise ConfigurationError(
                f"an outbox is sqlite:///FILE or postgresql://HOST/DATABASE, not {scheme!r}"
            )
