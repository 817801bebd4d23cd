"""What an error of PostgreSQL means to the user, in words that hold no contents of rows. Pure."""

from __future__ import annotations

import re

import psycopg

from limio_async.errors import JobError, SinkError, TargetAway, TargetBusy

__all__ = ["Contended", "meaning", "refusal", "said"]

_AGAIN = {
    "55P03": "waited too long for a lock; who holds it could not be asked",
    "55006": "another program uses it",
    "40P01": "a deadlock with another program",
    "40001": "another program changed the same rows at the same time",
    "57014": "somebody cancelled the statement",
}
_AWAY = {"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300"}
_CONNECTIONS = "limio needs two connections at once"
_HINTS = {
    "42501": "grant the user the right to it, or name another schema with ?schema=",
    "25006": "a standby or a read-only session: use the primary server",
    "53100": "make room on the server's disk; what was committed is there",
    "53300": _CONNECTIONS,
}
# A refused connection has no SQLSTATE. These are no matter of time, in the server's words and in the library's own.
_REFUSED = re.compile(
    r"authentication failed|does not exist|no pg_hba\.conf entry|not permitted to log in|permission denied for|no password"
    r"|not currently accepting connections|certificate|does not support SSL|unsupported|unrecognized|invalid",
    re.IGNORECASE,
)
_OF_A_ROW = {"22", "23", "44", "54", "P0"}
_OF_THE_SERVER = {"08", "25", "28", "3D", "53", "55", "57", "58", "F0", "XX"}
_OF_A_STATEMENT = {"0A", "26", "34", "3F", "40", "42"}  # ours, or one in a function of the user
_ANEW = {"40P01", "40001"}
_OF_POLICIES = (
    "ExecWithCheckOptions"  # the place in the server that raises it: its SQLSTATE is that of a missing right
)
_FUNCTION = "PL/"  # in every language of messages
_NAMES = re.compile(r"""("|').*?\1""")
_TOO_MANY = re.compile(r"too many|connection slots")


class Contended(TargetBusy):
    """Other transactions did something at the same time: the same may succeed at once."""


def meaning(target: str, error: Exception, *, is_lost: bool) -> JobError:
    """Return what to raise for *error* of *target*; *is_lost*: the connection ended with it."""
    state = getattr(error, "sqlstate", None) or ""
    words = said(error)
    if state in _AGAIN:
        busy = Contended if state in _ANEW else TargetBusy
        return busy(f"{target}: {_AGAIN[state]}; what was committed is there")
    hint = _HINTS.get(state, "")
    if _is_away(error, state, is_lost=is_lost):
        if is_lost:
            hint = "the connection broke; what was committed is there, run again"
        elif _TOO_MANY.search(words):
            hint = _CONNECTIONS
        return TargetAway(f"{target}: {words}" + (f" ({hint})" if hint else ""))
    of_one = state[:2] in _OF_A_STATEMENT or state[:2] in _OF_A_ROW
    return SinkError(f"{target}: {words}" + (f" ({hint})" if hint else ""), one_table=of_one)


def _is_away(error: Exception, state: str, *, is_lost: bool) -> bool:
    if state:
        return state in _AWAY or state.startswith("08") or (is_lost and state != "57P04")
    return isinstance(error, psycopg.OperationalError) and (
        is_lost or not _REFUSED.search(_NAMES.sub("", str(error)))
    )


def refusal(error: Exception, *, again: bool = False) -> str | None:
    """Return why a row was refused, where *error* is about what is in it; None where it is not.

    *again*: it was tried again, so that it is no accident what other transactions did at the same time.
    """
    if not isinstance(error, psycopg.Error) or not error.sqlstate:
        return None
    state, kind, diag = error.sqlstate, error.sqlstate[:2], error.diag
    if state in _ANEW:
        is_a_row_s = again
    elif diag.source_function == _OF_POLICIES:
        is_a_row_s = True
    elif _FUNCTION in (diag.context or ""):
        is_a_row_s = kind not in _OF_THE_SERVER
    else:
        is_a_row_s = kind in _OF_A_ROW or (
            bool(diag.context) and kind not in _OF_THE_SERVER | _OF_A_STATEMENT
        )
    return said(error) if is_a_row_s else None


def said(error: Exception) -> str:
    """Return what *error* says, without what may be contents: values, and words of somebody's triggers."""
    if not isinstance(error, psycopg.Error):
        return type(error).__name__
    state, diag = error.sqlstate, error.diag
    if state is None:  # the library's own words; those about values quote them
        return type(error).__name__ if isinstance(error, psycopg.DataError) else _line(str(error))
    if state[:2] in _OF_A_ROW or diag.context or not diag.message_primary:
        names = {"table": diag.table_name, "column": diag.column_name, "constraint": diag.constraint_name}
        facts = (f"{what} {name}" for what, name in names.items() if name)
        return ", ".join((f"{type(error).__name__} ({state})", *facts))
    return _line(diag.message_primary)


def _line(text: str) -> str:
    return " ".join(text.split())
