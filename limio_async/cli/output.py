"""How answers and items look: NDJSON of exact bytes, a JSON array, a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Protocol, cast

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from limio_async.cli.failures import Code, Failure, printable
from limio_async.core.codec import raw_items
from limio_async.core.tolerant import mended
from limio_async.core.wire import UNDECODABLE

__all__ = [
    "JsonArray",
    "JsonLines",
    "Layout",
    "TableOfItems",
    "columns_of",
    "console",
    "let_go_of_stdout",
    "show_table",
    "to_stdout",
    "whole",
]

Write = Callable[[bytes], object]

_FIRST = (
    "id",
    "name",
    "status",
    "path",
    "record_type",
    "reference",
    "email",
    "created",
    "modified",
    "updated",
)
_MOST_COLUMNS = 7
_FEWEST_COLUMNS = 4
_UNLIMITED = 100_000
_WIDEST = 48


class Layout(Protocol):
    """Where the items of a listing go, page by page."""

    def add(self, items: Sequence[bytes]) -> None:
        """Write the items of a page."""
        ...

    def end(self) -> None:
        """Write what follows the last item."""
        ...


class JsonLines:
    """Each item on a line, its bytes as they came."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, items: Sequence[bytes]) -> None:
        """Write the items of a page."""
        self._write(b"".join(_line(item) for item in items))

    def end(self) -> None:
        """Nothing follows the last line."""


class JsonArray:
    """One array of all items, an item to a line; *begun* if some are already written."""

    def __init__(self, write: Write, *, begun: bool) -> None:
        self._write = write
        self._before = b",\n" if begun else b"[\n"

    def add(self, items: Sequence[bytes]) -> None:
        """Write the items of a page."""
        if items:
            self._write(self._before + b",\n".join(item.strip() for item in items))
            self._before = b",\n"

    def end(self) -> None:
        """Close the array."""
        self._write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class TableOfItems:
    """A table whose columns follow from the first page, unless they are named; later pages continue it."""

    def __init__(self, *columns: str) -> None:
        self._names = columns
        self._widths: list[int] = []

    def add(self, items: Sequence[bytes]) -> None:
        """Print the items of a page."""
        if not items:
            return
        read = [_read(item) for item in items]
        header = not self._widths
        if header:
            self._names = self._names or columns_of([row for row, bad in read if not bad])
        rows = [{self._names[0]: row} if bad else row for row, bad in read]
        if header:
            self._widths = _fitted([_width(name, rows) for name in self._names], _room())
        table = _table(header=header)
        for name, width in zip(self._names, self._widths, strict=False):
            table.add_column(name, width=width, no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(_field(row, name)) for name in self._names[: len(self._widths)]))
        _stdout().print(table)

    def end(self) -> None:
        """Nothing follows the last row."""


def whole(answer: bytes, output: str) -> bytes:
    """One answer as NDJSON or as JSON to be read."""
    if output == "json":
        with suppress(*UNDECODABLE):  # then as it came
            return msgspec.json.format(answer, indent=2) + b"\n"
    return _line(answer)


def to_stdout(data: bytes) -> None:
    """Write to stdout at once. Raises `BrokenPipeError` if nobody reads any more."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"cannot write to stdout: {error.strerror or error}", Code.API) from None


def let_go_of_stdout() -> None:
    """Keep the interpreter from flushing into a broken pipe or a full disk when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Console(Console):
    """A console that leaves it to its caller what a reader means who has read enough."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console(*, stderr: bool = False, width: int | None = None, soft_wrap: bool = False) -> Console:
    """Return a console that shows words as they are: what stands in brackets or between colons is no markup."""
    return _Console(
        stderr=stderr, width=width, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False
    )


def show_table(answer: bytes) -> None:
    """Print one answer: an object as names and values, a list as rows."""
    value, _ = _read(answer)
    if isinstance(value, list) and value:
        TableOfItems().add([bytes(one) for one in raw_items(answer)])
    elif isinstance(value, dict) and value:
        table = _table(header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, one in cast("dict[str, Any]", value).items():
            table.add_row(_cell(name), _cell(one))
        _stdout().print(table)
    else:
        _stdout().print(_cell(value))


def columns_of(rows: Sequence[Any]) -> tuple[str, ...]:
    """The fields to show: those that tell things apart first, then other plain ones of the first row."""
    names = {name: None for row in rows if isinstance(row, dict) for name in cast("dict[str, Any]", row)}
    if not names:
        return ("value",)
    first = [name for name in _FIRST if name in names]
    plain = [name for name in names if name not in first and any(_is_plain(row, name) for row in rows)]
    return (*first, *plain, *(() if first or plain else names))[:_MOST_COLUMNS]


def _read(item: bytes) -> tuple[Any, bool]:
    """What an item says, or its text where it cannot be decoded; and whether that is so."""
    try:
        return msgspec.json.decode(mended(item)), False
    except UNDECODABLE:
        return item.decode(errors="replace"), True


def _is_plain(row: Any, name: str) -> bool:
    return isinstance(_field(row, name), str | int | float)


def _field(row: Any, name: str) -> Any:
    return cast("dict[str, Any]", row).get(name) if isinstance(row, dict) else row


def _width(name: str, rows: Sequence[Any]) -> int:
    longest = max(len(name), *(_cell(_field(row, name)).cell_len for row in rows))
    return min(longest, _WIDEST) if _is_terminal() else longest


def _fitted(widths: list[int], room: int) -> list[int]:
    """*widths* made to fit: the last columns go, down to four; then the widest shrink."""
    fitted = list(widths)
    while sum(fitted) + 3 * len(fitted) > room:
        if len(fitted) > _FEWEST_COLUMNS:
            fitted.pop()
        elif (widest := max(fitted)) > 1:
            fitted[fitted.index(widest)] -= 1
        else:
            break
    return fitted


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _room() -> int:
    return _stdout().width if _is_terminal() else _UNLIMITED


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, str):
        return Text(printable(value))
    try:
        text = msgspec.json.encode(value).decode()
    except RecursionError:
        text = "(too deep to be shown)"
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def _line(item: bytes) -> bytes:
    if b"\n" in item or b"\r" in item:  # JSON allows them between its tokens, NDJSON does not
        try:
            item = msgspec.json.format(item, indent=-1)
        except UNDECODABLE:
            item = item.replace(b"\r", b" ").replace(b"\n", b" ")
    return item + b"\n"


def _table(*, header: bool) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_header=header, header_style="cyan", show_edge=False)


def _stdout() -> Console:
    return console(width=None if _is_terminal() else _UNLIMITED)  # whoever reads a pipe wants all of it
