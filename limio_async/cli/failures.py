"""What went wrong: one line on stderr and one exit code."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable
from enum import IntEnum

import click

from limio_async import errors

__all__ = ["Code", "Failure", "code_of", "did_you_mean", "printable", "said_of", "tell"]


class Code(IntEnum):
    """The exit codes."""

    OK = 0
    API = 1
    USAGE = 2
    CREDENTIALS = 3
    INCOMPLETE = 4
    TOO_OLD = 5
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command with a line for its user and an exit code."""

    def __init__(self, message: str, code: Code = Code.USAGE) -> None:
        super().__init__(message)
        self.code = code


def said_of(error: BaseException) -> str:
    """Return what stderr says about *error*, which ends a command."""
    match error:
        case click.ClickException():
            context = click.get_current_context(silent=True)
            if isinstance(error, click.UsageError):
                context = error.ctx or context
            where = context.command_path.partition(" ")[2] if context is not None else ""
            message = error.format_message().rstrip(".")
            return f"{where}: {message[:1].lower()}{message[1:]}" if where else message
        case Failure() | errors.LimioError():
            return str(error)
        case click.Abort() | KeyboardInterrupt() | asyncio.CancelledError():
            return "interrupted"
        case OSError():
            return f"cannot write to stdout: {error.strerror or error}"
        case _:  # its words may hold anything
            return f"a bug, please report it: {type(error).__name__}"


def code_of(error: BaseException) -> Code:
    """Return the exit code that says what the user can do about *error*."""
    match error:
        case Failure():
            return error.code
        case click.ClickException():
            return Code.USAGE
        case click.Abort() | KeyboardInterrupt() | asyncio.CancelledError():
            return Code.INTERRUPTED
        case errors.MissingCredentials() | errors.Unauthorized() | errors.ApiError(operation="createToken"):
            return Code.CREDENTIALS
        case errors.ListingError():
            return Code.INCOMPLETE
        case errors.InvalidArgument() | errors.ConfigurationError() | errors.ForeignCheckpoint():
            return Code.USAGE
        case _:
            return Code.API


def tell(message: str) -> None:
    """Write one line to stderr."""
    click.echo(f"limio: {printable(message)}", err=True)


def printable(text: str) -> str:
    """*text* in one line and without anything that a terminal would obey."""
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known ones that are near it, if any."""
    near = difflib.get_close_matches(given, list(known))
    return f"; did you mean {' or '.join(near)}?" if near else ""
