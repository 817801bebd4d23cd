"""Answers every operation with a 200 that says no, and with every sample, and judges what the client makes of it.

`python -m tests.judges.refusals` prints a table of operation, form and outcome, and fails with each wrong cell.

The server is raw asyncio (`walks_wire`), and shares no code with the client. What an operation may answer follows from
the samples (`refusals_samples`), how it is called from the public names (`refusals_calls`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from limio_async import ApiKey, BearerToken, Limio, SessionToken, errors
from tests.judges.refusals_calls import CALLS, LISTS, VIEWS, Call, Listed
from tests.judges.refusals_samples import (
    ANSWERS,
    ITEMS,
    PAGES,
    SAMPLES,
    Answer,
    unused,
    verdict,
)
from tests.judges.walks_clock import HurriedLoop
from tests.judges.walks_wire import Reply, Request, Wire

__all__ = ["NO", "Cell", "Told", "judge", "main", "verdict", "wrong_of_a_no"]

WORDS = "Task timed out after 29 seconds"
NO: Mapping[str, tuple[int, Any]] = {
    "errorMessage": (200, {"errorMessage": WORDS, "errorType": "Sandbox.Timedout"}),
    "error text": (200, {"error": WORDS}),
    "error object": (200, {"error": {"message": WORDS, "code": "TIMEOUT"}}),
    "message": (200, {"message": WORDS}),
    "{}": (200, {}),
    "null": (200, None),
    "errors": (200, {"errors": [{"message": WORDS}]}),
    "201": (201, {"errorMessage": WORDS, "errorType": "Sandbox.Timedout"}),
    "202": (202, {"errorMessage": WORDS, "errorType": "Sandbox.Timedout"}),
}
"""The forms of a no."""
BESIDE: Mapping[str, Mapping[str, Any]] = {
    name: body
    for name, (_, body) in NO.items()
    if name in {"errorMessage", "error text", "error object", "errors"}
}
"""What may stand beside an identity."""
FORMS = (*NO, "sample", "sample 201", "nested", "beside")


@dataclass
class Cell:
    """One cell of the table."""

    operation: str
    aspect: str
    """How it was asked."""
    form: str
    outcome: str
    wrong: str = ""
    """Why this may not be."""


@dataclass
class Told:
    """What came of one call."""

    value: Any = None
    error: BaseException | None = None
    sent: int = 0
    logged: Sequence[str] = ()

    @property
    def outcome(self) -> str:
        """The name of what came, and how often it was asked for where that is not once."""
        name = "success" if self.error is None else type(self.error).__name__
        return f"{name}{'' if self.sent == 1 else f' x{self.sent}'}"


class _Tenant:
    """Answers whatever is asked as it was told to, and counts."""

    def __init__(self) -> None:
        self.pages: list[Reply] = []
        self.asked = 0

    def accepts(self, connection: int) -> bool:
        return True

    def reads_body(self, request: Request) -> bool:
        return True

    def answer(self, request: Request) -> Reply:
        """The first page, or the last one to whoever has a cursor."""
        self.asked += 1
        later = request.query.keys() & {"queryMore", "opt.queryMoreFrom"}
        one = self.pages[-1 if later else 0]
        return Reply(status=one.status, body=one.body, headers=dict(one.headers))


def _reply(body: Any, status: int = 200) -> Reply:
    headers = {"Location": "https://shop.example/callback?code=c"} if status == 302 else {}
    return Reply(status=status, body=b"" if status == 302 else json.dumps(body).encode(), headers=headers)


class _Own(msgspec.Struct):
    """A type of the caller's own."""

    name: str | None = None


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _listened() -> Iterator[list[str]]:
    """What the client logs of the level of a warning or more."""
    logger, handler = logging.getLogger("limio_async"), _Log()
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


@dataclass
class _Judge:
    limio: Limio
    tenant: _Tenant
    cells: list[Cell] = field(default_factory=list[Cell])

    async def hear(self, asked: Awaitable[Any]) -> Told:
        """Await a call, whatever comes of it."""
        before = self.tenant.asked
        with _listened() as logged:
            told = Told(logged=logged)
            try:
                async with asyncio.timeout(100.0):
                    told.value = await asked
            except Exception as error:  # whatever it is, it is judged
                told.error = error
        told.sent = self.tenant.asked - before
        return told

    def note(self, operation: str, aspect: str, form: str, told: Told, wrong: str) -> None:
        if told.error is not None and not isinstance(told.error, errors.LimioError):
            wrong = f"no error of ours: {told.error!r}"
        self.cells.append(Cell(operation, aspect, form, told.outcome, wrong and f"{wrong}: {_shown(told)}"))

    # calls

    async def call(self, operation: str, call: Call, aspect: str = "call") -> None:
        """Judge every form of answer to an operation that is no list."""
        answer = ANSWERS[operation]
        for form, (status, body) in NO.items():
            self.tenant.pages = [_reply(body, status)]
            told = await self.hear(call.ask(self.limio))
            allowed = verdict(operation, body)
            self.note(operation, aspect, form, told, wrong_of_a_no(call, told, allowed))
        if answer.redirect:
            self.tenant.pages = [_reply(None, 302)]
            told = await self.hear(call.ask(self.limio))
            self.note(operation, aspect, "sample", told, "" if told.error is None else "it is the answer")
            return
        for form, status, body in _yeses(answer):
            self.tenant.pages = [_reply(body, status)]
            told = await self.hear(call.ask(self.limio))
            self.note(operation, aspect, form, told, "" if told.error is None else f"{body!r:.80} is a yes")
        if answer.fields:
            await self._beside(operation, call, answer, aspect)

    async def _beside(self, operation: str, call: Call, answer: Answer, aspect: str) -> None:
        for form, more in BESIDE.items():
            self.tenant.pages = [_reply({**answer.good, **more})]
            told = await self.hear(call.ask(self.limio))
            wrong = "" if told.error is None else "it has its identity"
            shown = (
                "not shown" if operation == "createToken" else WORDS
            )  # what an answer with secrets says is one
            if told.error is None and not any(shown in line for line in told.logged):
                wrong = f"the words of its {form} were not logged: {told.logged}"
            self.note(operation, aspect, "beside", told, wrong)

    # lists

    async def walk(self, operation: str) -> None:
        """Judge every form of page, and of item, of a list."""
        listed = LISTS[operation]
        items = _items_of(operation)
        for form, (status, body) in NO.items():
            refusal = _reply(body, status)
            await self._page(operation, form, listed, [refusal], "page 1")
            await self._look(operation, form, listed, refusal)
            if listed.cursor is not None:
                await self._page(
                    operation, form, listed, [_page(listed, items, cursor=True), refusal], "page 2"
                )
            if status == 200:
                await self._item(operation, form, listed, items, body)
        if "path" in items[0]:
            await self._item(operation, "{}", listed, items, {"name": "neither id nor path"})
            bare = [{name: value for name, value in one.items() if name != "id"} for one in items]
            await self._good(operation, "path only", listed, _page(listed, bare), len(bare))
        await self._item(operation, "null", listed, items, {**items[0], "id": None, "path": None})
        for name in ("errorMessage", "error text", "error object", "errors"):
            empty = _reply({listed.items: [], **BESIDE[name]})
            await self._page(operation, name, listed, [empty], "no items")
            await self._good(
                operation, "beside", listed, _page(listed, items, more=BESIDE[name]), len(items), warns=True
            )
        await self._good(operation, "sample", listed, _page(listed, []), 0)
        await self._good(operation, "sample", listed, _page(listed, items), len(items))
        await self._good(operation, "sample 201", listed, _page(listed, items, status=201), len(items))
        stripped = [_without_nested_ids(one) for one in items]
        await self._good(operation, "nested", listed, _page(listed, stripped), len(items))
        await self._samples(operation, listed)

    async def _page(self, operation: str, form: str, listed: Listed, pages: list[Reply], aspect: str) -> None:
        """Walk into a page that is a no, in every way that there is."""
        for how in ("collect", "raw"):
            self.tenant.pages = pages
            listing = listed.walk(self.limio)
            listing = listing.raw() if how == "raw" else listing
            told = await self.hear(listing.collect(limit=100))
            wrong = "" if told.error is not None else "a list that ends there is not complete"
            if listing.report.complete:
                wrong = "it is called complete"
            self.note(operation, f"{aspect}{', raw' if how == 'raw' else ''}", form, told, wrong)

    async def _look(self, operation: str, form: str, listed: Listed, refusal: Reply) -> None:
        """Ask for one item, for one page, and for what the catalog is of."""
        asked = {"first": listed.walk(self.limio).first(), "await": self._one_page(listed)}
        if operation == "listOffersV2":
            asked["commit_id"] = self.limio.catalog.commit_id()
        for aspect, call in asked.items():
            self.tenant.pages = [refusal]
            told = await self.hear(call)
            self.note(
                operation, aspect, form, told, "" if told.error is not None else "it is called an answer"
            )

    async def _item(self, operation: str, form: str, listed: Listed, items: Sequence[Any], body: Any) -> None:
        """Put a no between two items."""
        one, other = items[:2]
        self.tenant.pages = [_page(listed, [one, body, other])]

        async def look(aspect: str, listing: Any, wrong_of: Callable[[Told], str]) -> None:
            told = await self.hear(listing.collect(limit=100))
            self.note(operation, aspect, form, told, wrong_of(told))

        await look("item", listed.walk(self.limio), _wrong_of_a_bad_item)
        await look("item, into", listed.walk(self.limio).into(_Own), _wrong_of_a_bad_item)
        skipped, yielded = [one["id"], other["id"]], [one["id"], json.dumps(body).encode(), other["id"]]
        for choice, wanted in (("skip", skipped), ("yield", yielded)):
            listing = listed.walk(self.limio, on_bad_item=choice)
            await look(f"item, {choice}", listing, partial(_wrong_of_neighbours, wanted))
        exact = [json.dumps(item).encode() for item in (one, body, other)]
        raw = listed.walk(self.limio).raw()
        await look("item, raw", raw, lambda told: "" if told.value == exact else "raw() has exact bytes")

    async def _good(
        self, operation: str, form: str, listed: Listed, page: Reply, count: int, *, warns: bool = False
    ) -> None:
        """Walk a page that is a yes."""
        self.tenant.pages = [page]
        listing = listed.walk(self.limio)
        told = await self.hear(listing.collect(limit=100))
        wrong = "" if told.error is None and len(told.value) == count else f"it holds {count} items"
        if not wrong and not listing.report.complete:
            wrong = "it is complete"
        if not wrong and warns and not any(WORDS in line for line in told.logged):
            wrong = f"the words beside the items were not logged: {told.logged}"
        self.note(operation, "list", form, told, wrong)

    async def _samples(self, operation: str, listed: Listed) -> None:
        """Ask for one page, and get the sample as it is."""
        for name in PAGES.get(operation, ()):
            body = (SAMPLES / f"{name}.json").read_bytes()
            self.tenant.pages = [Reply(body=body)]
            told = await self.hear(self._one_page(listed, verify="off"))
            count = len(json.loads(body)[listed.items])
            right = told.error is None and len(told.value.items) == count
            self.note(operation, name, "sample", told, "" if right else f"it holds {count} items")

    async def _one_page(self, listed: Listed, **options: Any) -> Any:
        return await listed.walk(self.limio, **options)


def _wrong_of_a_bad_item(told: Told) -> str:
    if not isinstance(told.error, errors.Unreadable):
        return "it has to be called unreadable"
    return "" if "[1]" in f"{told.error} {told.error.spot}" else "it does not name the item"


def _wrong_of_neighbours(wanted: Sequence[Any], told: Told) -> str:
    bad = "BadItem"
    seen = [item.raw if type(item).__name__ == bad else item.id for item in told.value or ()]
    return "" if seen == wanted else f"{wanted} became {seen}"


def wrong_of_a_no(call: Call, told: Told, allowed: str) -> str:
    """Why this may not come of a no."""
    if call.once and told.sent != 1:
        return f"it was sent {told.sent} times"
    if told.error is None:
        return "it is called a success" if allowed == "no" else ""
    if call.once and not isinstance(told.error, errors.UnknownOutcome):
        return "nobody knows whether it happened"
    if not call.once and isinstance(told.error, errors.UnknownOutcome):
        return "it may be asked again"
    return ""


def _yeses(answer: Answer) -> Iterator[tuple[str, int, Any]]:
    good = answer.good
    yield "sample", 200, good
    yield "sample 201", 201, good
    yield "nested", 200, _without_nested_ids(good)
    if answer.sample == "initiateCheckout":
        yield "sample", 200, json.loads((SAMPLES / "initiateCheckout_storefront.json").read_bytes())
    if answer.sample == "getComponentBuilds":
        yield "sample", 200, [good]
    if answer.sample == "submitOrder":
        yield "sample", 200, {"order_reference": "8HK92PL401QW"}


def _items_of(operation: str) -> list[dict[str, Any]]:
    """Two items that differ, made of the sample."""
    name, shape = ITEMS[operation]
    if name:
        sample = json.loads((SAMPLES / f"{name}.json").read_bytes())
        shape = sample[LISTS[operation].items][0]
    return [{**shape, "id": f"{shape['id']}-{n}"} for n in range(2)]


def _page(
    listed: Listed,
    items: Sequence[Any],
    *,
    cursor: bool = False,
    status: int = 200,
    more: Mapping[str, Any] | None = None,
) -> Reply:
    page: dict[str, Any] = {listed.items: list(items), **(more or {})}
    if isinstance(listed.cursor, dict):
        page["hits"] = {"value": len(items) + cursor, "relation": "eq"}
    if cursor:
        page["queryMore"] = listed.cursor
    return _reply(page, status)


def _without_nested_ids(value: Any, depth: int = 0) -> Any:
    """The same without any id and path but those at the top."""
    if isinstance(value, list):
        return [_without_nested_ids(one, depth) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without_nested_ids(one, depth + 1)
        for name, one in value.items()
        if depth == 0 or name not in {"id", "path"}
    }


def _shown(told: Told) -> str:
    return f"{told.error!r}" if told.error is not None else f"{told.value!r:.120}"


@asynccontextmanager
async def _served() -> AsyncIterator[_Judge]:
    tenant = _Tenant()
    wire = Wire(tenant)
    await wire.start()
    try:
        auth: list[Any] = [ApiKey("key"), BearerToken("token"), SessionToken("session")]
        async with Limio(wire.url, auth=auth, timeout=60.0) as limio:
            yield _Judge(limio, tenant)
    finally:
        await wire.stop()


async def judge(*operations: str) -> list[Cell]:
    """Judge these operations, or all."""
    cells: list[Cell] = []
    for operation in operations or (*CALLS, *LISTS):
        async with _served() as one:
            if operation in LISTS:
                await one.walk(operation)
            else:
                await one.call(operation, CALLS[operation])
            for viewed, name, call in VIEWS:
                if viewed == operation:
                    await one.call(operation, call, name)
        cells += one.cells
    return cells


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """The cells as a table; what is wrong is in capitals."""
    yield "| operation | asked | " + " | ".join(FORMS) + " |"
    yield "| --- | --- |" + " --- |" * len(FORMS)
    rows: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for cell in cells:
        rows.setdefault((cell.operation, cell.aspect), {}).setdefault(cell.form, []).append(cell)
    for (operation, aspect), forms in rows.items():
        shown = [" ".join(sorted({_short(cell) for cell in forms.get(form, ())})) for form in FORMS]
        yield f"| {operation} | {aspect} | " + " | ".join(shown) + " |"


def _short(cell: Cell) -> str:
    return f"**WRONG: {cell.outcome}**" if cell.wrong else cell.outcome


def main() -> int:
    """Print the table, and tell whether all of it is right."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        cells = runner.run(judge(*sys.argv[1:]))
    cells += [Cell(name, "sample", "sample", "unused", "nothing answers with it") for name in unused()]
    wrong = [cell for cell in cells if cell.wrong]
    lines = [f"{one.operation}, {one.aspect}, {one.form}: {one.wrong}" for one in wrong]
    print(*table(cells), "", *lines, sep="\n")  # noqa: T201
    print(f"{len(cells):,} cells, {len(wrong):,} wrong")  # noqa: T201
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
