"""The entry point of `limio` and of `python -m limio_async.cli`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.stdout is None:  # closed by whoever started this: writing to it shall be an error that says so
        sys.stdout = Path(os.devnull).open()  # noqa: SIM115  # lives as long as the process
    try:
        from limio_async.cli.app import app  # what it needs comes with an extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "platformdirs", "rich"}:
            raise
        sys.exit("limio: the command line needs its extra: pip install 'limio_async[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    app.main(prog_name="limio")


def _interrupt(_signal: int, _frame: object) -> None:
    """Let a polite end be the same as Ctrl-C, also for a job in the background, which ignores Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
