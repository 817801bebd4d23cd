"""A connection to PostgreSQL: made so that it can be given up, with settings of its own, ended from another thread."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress

import psycopg
from psycopg import conninfo, pq
from psycopg.rows import TupleRow

from limio_async.errors import ConfigurationError

__all__ = [
    "DEFAULTS",
    "Session",
    "connected",
    "connecting",
    "conninfo_of",
    "settle",
    "shares_its_session",
    "shut",
    "spot",
    "wrong_with",
]

_TICK = 0.1
DEFAULTS = {
    "connect_timeout": "15",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "limio",
}
_BEFORE_LOCKS = 5.0  # seconds more than the watch waits: it can name who holds a lock, the server cannot
_LONGEST = 2**31 - 1  # milliseconds that a server can wait
_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}


class Session(psycopg.Connection[TupleRow]):
    """A connection; *pid* is that of its server process, also behind a pooler."""

    pid = 0


def conninfo_of(url: str) -> tuple[str, dict[str, str]]:
    """Return how to connect to what *url* names, with our defaults, and what it says itself."""
    try:
        given = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.Error:  # quotes parts of the URL, the password too
        given = None
    is_odd = given is not None and (
        "@" in given.get("host", "")[1:] or re.search(r"[^\d,]", given.get("port", ""))
    )
    if given is None or is_odd:  # what stands there is a part of a password
        raise ConfigurationError(
            "PostgreSQL's library cannot read this URL; it is postgresql://USER@HOST:PORT/DATABASE, and what is"
            " special in a part of it is %-encoded"
        )
    return conninfo.make_conninfo("", **{**DEFAULTS, **given}), given


def connecting(info: str) -> Callable[[], Session]:
    """Return a function that connects."""
    return lambda: Session.connect(info, autocommit=True)


def connected(connect: Callable[[], Session], waits: Callable[[], bool]) -> Session | None:
    """Call *connect* in a thread of its own, for as long as *waits* says; None where it said no first."""
    made: Future[Session] = Future()

    def work() -> None:
        try:
            made.set_result(connect())
        except BaseException as error:  # whoever waits gets it
            made.set_exception(error.with_traceback(None))  # whose frames hold the password

    threading.Thread(target=work, name="limio-connect", daemon=True).start()
    try:
        while not wait((made,), _TICK).done:
            if not waits():
                made.add_done_callback(_close)
                return None
    except BaseException:
        made.add_done_callback(_close)
        raise
    return made.result()


def _close(made: Future[Session]) -> None:
    if made.exception() is None:
        made.result().close()


def shut(connection: Session) -> None:
    """Take the network from a connection, from another thread: whoever reads from it hears that it ended."""
    with suppress(OSError, psycopg.Error):
        network = socket.socket(fileno=connection.fileno())
        try:
            network.shutdown(socket.SHUT_RDWR)
        finally:
            network.detach()


def settle(session: Session, search_path: str, *, lock_wait: float) -> None:
    """Set what a database or a role may set otherwise. Never by startup options: poolers refuse them."""
    milliseconds = min(round(1000 * (lock_wait + _BEFORE_LOCKS)), _LONGEST)
    settings = {**_SETTINGS, "search_path": search_path, "lock_timeout": str(milliseconds)}
    session.execute("SET statement_timeout TO 0")  # first: it may be too short for the rest
    session.execute("SET client_encoding TO 'UTF8'")
    # what this release of the server does not know is not there
    session.execute(
        "SELECT set_config(name, wanted, false) FROM pg_settings"
        " JOIN unnest(%s::text[], %s::text[]) AS wish (name, wanted) USING (name)",
        (list(settings), list(settings.values())),
    )
    ((session.pid,),) = session.execute("SELECT pg_backend_pid()").fetchall()


def wrong_with(session: Session) -> str | None:
    """Return why nothing can be written there, and what to do; None if it can."""
    ((encoding, is_standby, is_read_only, has_temporary),) = session.execute(
        "SELECT current_setting('server_encoding'), pg_is_in_recovery(),"
        " current_setting('default_transaction_read_only')::boolean,"
        " has_database_privilege(current_database(), 'TEMPORARY')"
    ).fetchall()
    user, database = session.info.user, session.info.dbname
    if encoding != "UTF8":
        return f"its encoding is {encoding}, a database with UTF8 is needed"
    if is_standby:
        return "a standby takes no rows: use the primary server"
    if is_read_only:  # so are databases that are being moved, or whose disk is nearly full
        return f'it is set to read only: ALTER ROLE "{user}" SET default_transaction_read_only = off, if it shall write'
    if not has_temporary:
        return f'large batches need temporary tables: GRANT TEMPORARY ON DATABASE "{database}" TO "{user}"'
    return None


def shares_its_session(session: Session, connect: Callable[[], Session]) -> bool:
    """Return whether a pooler gives each transaction another session: what is set and locked in one is lost then."""
    if session.info.backend_pid == session.pid:  # nobody stands between
        return False
    name, mark = "limio.session", secrets.token_hex(8)
    session.execute("SELECT set_config(%s, %s, false)", (name, mark))
    with connect() as other:
        other.execute("SELECT set_config(%s, 'other', false)", (name,))
    return session.execute("SELECT current_setting(%s, true)", (name,)).fetchall() != [(mark,)]


def spot(given: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return host, port, database and user, as libpq finds them: in the URL, in the environment, else its defaults."""
    known = {
        one.keyword.decode(): one.val.decode() for one in pq.Conninfo.get_defaults() if one.val is not None
    }
    known.update(given)
    user = known.get("user", "")
    return known.get("host", "localhost"), known.get("port", "5432"), known.get("dbname", user), user
