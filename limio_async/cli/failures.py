"""What went wrong: one line on stderr and one exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

import click

from limio_async import errors

__all__ = ["Code", "Failure", "code_of", "did_you_mean", "printable", "tell"]


class Code(IntEnum):
    """The exit codes."""

    OK = 0
    API = 1
    USAGE = 2
    CREDENTIALS = 3
    INCOMPLETE = 4
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command with a line for its user and an exit code."""

    def __init__(self, message: str, code: Code = Code.USAGE) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: errors.LimioError) -> Code:
    """The exit code that tells what the user can do about *error*."""
    match error:
        case errors.MissingCredentials() | errors.Unauthorized() | errors.ApiError(operation="createToken"):
            return Code.CREDENTIALS
        case errors.ListingError():
            return Code.INCOMPLETE
        case errors.InvalidArgument() | errors.ConfigurationError() | errors.ForeignCheckpoint():
            return Code.USAGE
        case _:
            return Code.API


def tell(message: str) -> None:
    """Say one line on stderr."""
    click.echo(f"limio: {printable(message)}", err=True)


def printable(text: str) -> str:
    """*text* in one line and without anything that a terminal would obey."""
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known ones that are near it, if any."""
    near = difflib.get_close_matches(given, list(known))
    return f"; did you mean {' or '.join(near)}?" if near else ""
