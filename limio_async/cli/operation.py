"""The command of one endpoint: its arguments, its options, its help."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from limio_async.cli.settings import Flags
from limio_async.core.wire import SCHEMES, UNDECODABLE, Endpoint, Param, Retry

__all__ = ["command_for", "hyphens"]

_RESENT: dict[Retry, str] = {
    "safe": "Sent again whenever that may help.",
    "scroll": "A page is asked for again only if the server did not read it.",
    "idempotent": "Sent again after a fault: twice is the same as once.",
    "once": "Sent again only if it certainly never left.",
}
_KNOWN_FROM = {
    "seed": "Limio's API reference",
    "documents": "Limio's public documents",
    "observed": "published code and answers",
    "inferred": "its siblings; it is inferred",
}
_OF_THE_API = "api_"  # before the names of the endpoint's own arguments: they may be called like ours


def hyphens(name: str) -> str:
    """A Python name as the command line writes it."""
    return name.replace("_", "-")


def command_for(endpoint: Endpoint[Any]) -> click.Command:
    """The command that calls or walks *endpoint*."""
    own = [_param(one) for one in endpoint.params if one.name not in endpoint.bound]
    if endpoint.body is not None:
        own.append(_body_option(endpoint))

    @click.pass_obj
    def run(flags: Flags, /, **given: Any) -> int:
        from limio_async.cli.run import run  # --help does without a client

        args = {
            name.removeprefix(_OF_THE_API): given.pop(name)
            for name in list(given)
            if name.startswith(_OF_THE_API)
        }
        return run(flags, endpoint, {name: one for name, one in args.items() if one is not None}, **given)

    return click.Command(
        hyphens(endpoint.name),
        params=[*own, *(_list_options(endpoint) if endpoint.paging else ()), *_options()],
        callback=run,
        help=_help(endpoint),
        short_help=endpoint.summary or endpoint.operation,
    )


def _param(param: Param) -> click.Parameter:
    name = _OF_THE_API + param.name
    if param.name == "cookie":  # a secret: other users of the machine see what flags say
        return click.Option(
            ["--cookie-file", name],
            metavar="FILE",
            callback=_cookie(required=param.required),
            help=f"File with the cookie  [LIMIO_COOKIE]  {param.help}".rstrip(),
        )
    if param.place == "path" and param.default is None:
        return click.Argument([name], metavar=param.name.upper(), type=_TYPES.get(param.kind, _text))
    flag = f"--{hyphens(param.name)}"
    if param.kind == "boolean":
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=param.help)
    return click.Option(
        [flag, name],
        type=_TYPES.get(param.kind, _text),
        metavar=_METAVARS.get(param.kind, "TEXT"),
        multiple=param.kind == "mapping",
        callback=_mapping if param.kind == "mapping" else None,
        required=param.required and param.default is None,
        help=_param_help(param),
    )


def _param_help(param: Param) -> str:
    known = f"Such as {', '.join(param.choices)}." if param.choices else ""
    default = f"[default: {param.default}]" if param.default is not None else ""
    return "  ".join(part for part in (param.help, known, default) if part)


def _text(text: str) -> str:
    if text.isascii() or text.encode(errors="replace").decode() == text:
        return text
    raise click.BadParameter("not valid text")  # bytes of the command line that are no UTF-8


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a date or a time such as 2026-01-31T12:00:00Z") from None
    return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = _text(text).partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _mapping(_ctx: click.Context, _param: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> Any:
    return dict(pairs) or None


_TYPES: dict[str, Any] = {"integer": int, "datetime": _moment, "mapping": _pair}
_METAVARS = {"integer": "INTEGER", "datetime": "TIME", "mapping": "NAME=VALUE"}


def _cookie(*, required: bool) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def read(ctx: click.Context, _param: click.Parameter, file: str | None) -> str | None:
        cookie = _bytes_of(file).decode(errors="replace") if file else os.environ.get("LIMIO_COOKIE", "")
        if required and not cookie.strip() and not ctx.resilient_parsing:
            raise click.BadParameter("a cookie is required: --cookie-file or LIMIO_COOKIE")
        return cookie.strip() or None

    return read


def _body_option(endpoint: Endpoint[Any]) -> click.Option:
    form = endpoint.body_format == "form"

    def read(_ctx: click.Context, _param: click.Parameter, given: str) -> object:
        from_file = given == "-" or given.startswith("@")
        content = _bytes_of(given.removeprefix("@")) if from_file else _text(given).encode()
        try:
            content.decode()  # of what is handed on as it is, msgspec reads no text
            return msgspec.json.decode(content, type=dict[str, Any] if form else msgspec.Raw)
        except UNDECODABLE as error:
            where = f"{given} is not" if from_file else "not"
            raise click.BadParameter(f"{where} {'a JSON object' if form else 'JSON'}: {error}") from None

    return click.Option(
        ["--body"],
        metavar="JSON|@FILE|-",
        required=True,
        callback=read,
        help="The body: JSON, a file that holds it, or - for stdin. "
        + ("Sent as a form." if form else "Sent as it is."),
    )


def _bytes_of(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"cannot read {file}: {error.strerror}") from None


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Deadline of the call; of each page of a listing.",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["table", "json", "ndjson"]),
            help="[default: table on a terminal, else ndjson: exact bytes, a line each]",
        ),
        click.Option(
            ["--to"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write to FILE, which appears when it is whole; until then it is FILE.partial.",
        ),
        click.Option(
            ["--dry-run"], is_flag=True, help="Print the request as a command for curl; send nothing."
        ),
        click.Option(["--force"], is_flag=True, help="Replace FILE, or start a FILE.partial over."),
    ]


def _list_options(endpoint: Endpoint[Any]) -> list[click.Parameter]:
    size = click.Option(
        ["--page-size"], type=click.IntRange(min=1), metavar="N", help="Items that are asked for at once."
    )
    return [
        *([size] if endpoint.paging and endpoint.paging.page_size else ()),
        click.Option(["--limit"], type=click.IntRange(min=1), metavar="N", help="Stop after N items."),
        click.Option(["--resume"], is_flag=True, help="Go on with FILE.partial where it ends."),
        click.Option(
            ["--verify"],
            type=click.Choice(["raise", "warn", "off"]),
            help="What to do if items are missing or the catalog changes meanwhile.  [default: raise]",
        ),
        click.Option(["--unique"], is_flag=True, help="Drop items whose id came before."),
        click.Option(
            ["--restart"],
            is_flag=True,
            help="Walk again from the top where a page is lost or the catalog is rebuilt, repeating nothing.",
        ),
        click.Option(["--no-read-ahead"], is_flag=True, help="Ask for a page only when the last is written."),
    ]


def _help(endpoint: Endpoint[Any]) -> str:
    takes = " or ".join(SCHEMES[scheme] for scheme in endpoint.auth) or "no credentials"
    facts = [
        f"{endpoint.operation}: {endpoint.method} {endpoint.path}",
        f"Takes {takes}. {_RESENT[endpoint.retry]}",
        f"Known from {_KNOWN_FROM[endpoint.source]}.",
    ]
    parts = [endpoint.summary, "\b\n" + "\n".join(facts), *(f"Note: {note}" for note in endpoint.errata)]
    return "\n\n".join(part for part in parts if part)
