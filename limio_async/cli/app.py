"""The root command: global options, the commands there are, and how a run ends."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TextIO

import click

from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.cli.early import interrupt_on_signals, report_interruption
from limio_async.cli.failures import Code, Failure, code_of, said_of, tell
from limio_async.cli.group import Group
from limio_async.cli.operation import command_for, hyphens
from limio_async.cli.output import let_go_of_stdout
from limio_async.cli.settings import Flags
from limio_async.core.wire import Endpoint
from limio_async.errors import LimioError
from limio_async.version import __version__

__all__ = ["app"]

_OWN = (
    "completion",
    "drift",
    "emulate",
    "inbox",
    "login",
    "logout",
    "operations",
    "outbox",
    "report",
    "sync",
)


class _Resource(Group):
    """The operations of one resource."""

    def __init__(self, name: str, endpoints: Iterable[Endpoint[Any]]) -> None:
        self._endpoints = {hyphens(endpoint.name): endpoint for endpoint in endpoints}
        super().__init__(name, short_help=", ".join(sorted(self._endpoints)))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._endpoints)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        endpoint = self._endpoints.get(cmd_name)
        return command_for(endpoint) if endpoint is not None else None


class _App(Group):
    """All resources, found in the endpoints, and the commands that are none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({hyphens(endpoint.resource) for endpoint in _all_endpoints()}.union(_OWN))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "sync":  # which loads more, and then says itself that it begins
            interrupt_on_signals()
        if cmd_name in _OWN:
            command: click.Command = importlib.import_module(f"limio_async.cli.{cmd_name}").command
            return command
        found = [one for one in _all_endpoints() if hyphens(one.resource) == cmd_name]
        return _Resource(cmd_name, found) if found else None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever reads has read enough
            let_go_of_stdout()
            return Code.OK

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, tell what went wrong in one line, exit with the code for it."""
        main: Callable[..., object] = super().main

        def run() -> object:
            code = main(*args, **{**extra, "standalone_mode": False})
            sys.stdout.flush()
            return code

        ended = _ended(run)
        _end_of_records()
        sys.exit(ended)


def _all_endpoints() -> Iterable[Endpoint[Any]]:
    yield from ENDPOINTS.values()
    yield from VIEWS


def _ended(run: Callable[[], object]) -> int:
    try:
        code = run()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Code.USAGE
    except (click.ClickException, Failure, LimioError, click.Abort, OSError) as error:
        if isinstance(error, Failure | LimioError):
            _end_of_records(str(error))
        tell(said_of(error))
        if isinstance(error, click.Abort):
            report_interruption(sys.argv)
        if isinstance(error, OSError):
            let_go_of_stdout()
        return code_of(error)
    return code if isinstance(code, int) else Code.OK


class _Records(logging.StreamHandler[TextIO]):
    """Records on stderr. A warning of how a call ended waits, since the command may end with the same words."""

    waiting: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.let_go()
        if record.levelno == logging.WARNING and hasattr(record, "outcome"):
            self.waiting = record
        else:
            super().emit(record)

    def let_go(self, said: str = "") -> None:
        """Say what waits, unless *said* begins with it."""
        record, self.waiting = self.waiting, None
        if record is not None and not said.startswith(record.getMessage()):
            super().emit(record)


def _end_of_records(said: str = "") -> None:
    for one in logging.getLogger("limio_async").handlers:
        if isinstance(one, _Records):
            one.let_go(said)


def _log_to_stderr(verbose: int) -> None:
    handler = _Records()
    handler.setFormatter(logging.Formatter("limio: %(message)s"))
    logger = logging.getLogger("limio_async")
    logger.handlers[:] = [handler]
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", metavar="HOST", help="The tenant, such as acme.prod.limio.com  [LIMIO_HOST]")
@click.option("--profile", metavar="NAME", help="Table of the profile file  [LIMIO_PROFILE; default]")
@click.option("--emulated", is_flag=True, help="Ask an emulator in this process; needs no settings.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Deadline of each call  [LIMIO_TIMEOUT; 60]",
)
@click.option(
    "--uvloop", is_flag=True, envvar="LIMIO_UVLOOP", help="Run on uvloop, some percent faster  [LIMIO_UVLOOP]"
)
@click.option(
    "-q", "--quiet", is_flag=True, help="No progress, no summary; limio sync is silent when all is well."
)
@click.option("-v", "--verbose", count=True, help="Log to stderr what is sent again; -vv: every request.")
@click.version_option(__version__, prog_name="limio")
@click.pass_context
def app(
    ctx: click.Context,
    host: str | None,
    profile: str | None,
    emulated: bool,
    timeout: float | None,
    uvloop: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Every operation of Limio: limio RESOURCE OPERATION [ARGUMENTS].

    Data goes to stdout, everything else to stderr. Flags win over LIMIO_* variables, those over the profile
    file (config.toml in the user's configuration directory, or LIMIO_CONFIG). Credentials are never flags:
    LIMIO_API_KEY, LIMIO_CLIENT_ID with LIMIO_CLIENT_SECRET (or LIMIO_CLIENT_SECRET_FILE), LIMIO_TOKEN,
    LIMIO_SESSION_TOKEN; or sign in with a browser: limio login. The way there is set by LIMIO_PROXY,
    LIMIO_CA_FILE and LIMIO_PLAIN_HTTP, the pace by LIMIO_REQUESTS_PER_SECOND.

    Exit codes: 0 ok, 1 the API said no, 2 usage, 3 credentials, 4 incomplete, 5 too old (limio sync --status),
    130 interrupted.
    """
    ctx.obj = Flags(
        host=host, profile=profile, emulated=emulated, timeout=timeout, uvloop=uvloop, quiet=quiet
    )
    _log_to_stderr(verbose)
