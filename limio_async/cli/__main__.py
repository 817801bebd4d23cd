"""The entry point of `limio` and of `python -m limio_async.cli`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
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
    """Let a polite end be the same as Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
