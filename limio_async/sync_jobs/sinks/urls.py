"""From a URL to the sink that it names, and to where a job keeps its own state."""

from __future__ import annotations

import difflib
from pathlib import Path

from limio_async.errors import ConfigurationError
from limio_async.sync_jobs.tables import Sink

__all__ = ["open_sink", "state_file"]

_EXAMPLES = {"sqlite": "sqlite:///limio.db"}


def open_sink(url: str) -> Sink:
    """The sink that *url* names; constructed only, nothing is read or written before its `open`.

    Raises `ConfigurationError` where the URL names none.
    """
    from limio_async.sync_jobs.sinks.sqlite import SqliteSink

    _scheme_of(url)
    return SqliteSink(_file_of(url), name=url)


def state_file(url: str) -> Path:
    """Where a job into this target keeps its own state: beside the file."""
    file = _file_of(url)
    return file.with_name(f"{file.name}.state")


def _scheme_of(url: str) -> str:
    scheme = url.partition(":")[0]
    if scheme not in _EXAMPLES:
        near = difflib.get_close_matches(scheme, list(_EXAMPLES))
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigurationError(
            f"no target is called {scheme}:{hint} Known are {', '.join(_EXAMPLES.values())}"
        )
    return scheme


def _file_of(url: str) -> Path:
    return Path(url.partition(":///")[2]).expanduser()
