"""The entry point of `limio` and of `python -m limio_async.cli`."""

from __future__ import annotations

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any

from limio_async.cli.early import (
    ignore_signals,
    leave_on_signals,
    report_interruption,
)


def main() -> None:
    """Run the command line and exit."""
    leave_on_signals(sys.argv)
    _hold_what_is_closed()
    if os.name == "posix":  # elsewhere a console has a way of its own
        encoding = sys.stderr.encoding if sys.stderr else "utf-8"
        file = BufferedWriter(_News(2, "wb", closefd=False))
        sys.stderr = TextIOWrapper(file, encoding, "backslashreplace", line_buffering=True)
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")  # of words for people; data is written as bytes
    try:
        from limio_async.cli.app import app  # what it needs comes with an extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "platformdirs", "rich"}:
            raise
        sys.exit("limio: the command line needs its extra: pip install 'limio_async[cli]'")
    except KeyboardInterrupt:
        report_interruption(sys.argv)
        sys.exit(130)
    try:
        app.main(prog_name="limio")
    finally:
        ignore_signals()


class _News(FileIO):
    """Stderr: a message that it does not take, on a full disk or without a reader, ends no work."""

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def _hold_what_is_closed() -> None:
    """Open what whoever started this has closed: no other file may have the number of a standard stream.

    Writing to stdout then is an error that says so.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as the process


if __name__ == "__main__":
    main()
