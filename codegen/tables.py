"""Tables in the documents that are made of what the generator knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from codegen.plan import Operation, Plan
from codegen.spec import WITHOUT_SAMPLE, CannotGenerate
from limio_async import errors
from limio_async.core.wire import SPECIES, Kind, Retry, Species

__all__ = ["PAGES", "with_tables"]

_END = "<!-- end of what is generated -->\n"
_FAULT = "`IncompleteListing`"
_WARNING = "a warning"


def with_tables(page: Path, text: str, plan: Plan) -> str:
    """Return *text* of *page* with each of its tables between its marks. Raises `CannotGenerate` without them."""
    for name, table in PAGES[page].items():
        begin = f"<!-- generated: {name} -->\n"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(_END)
        if not (found and ended):
            raise CannotGenerate(str(page), name, f"no table between {begin.strip()} and {_END.strip()}")
        text = f"{before}{begin}\n{table(plan)}\n\n{_END}{after}"
    return text


def _retry_classes(plan: Plan) -> str:
    """What may be sent again of every operation."""
    rows: list[list[str]] = []
    for one in _sorted(plan):
        if one.view_of is None:
            how = one.reads_back
            back = how.operation if how else ""
            back += f", else through {how.listed_by}" if how and how.listed_by else ""
            call = f"`{one.resource}.{one.name}` ({one.id})"
            rows.append([call, one.method, one.retry, one.cursor_kind or "", back])
    return _table(["operation", "method", "class", "cursor", "read back by"], rows)


def _identities(plan: Plan) -> str:
    """What a success of every operation has, and where that was seen."""
    rows: list[list[str]] = []
    for one in _sorted(plan):
        if one.view_of is None:
            has = " or ".join(f"`{name}`" for name in one.identity) or "nothing in particular"
            has += f", with the word {one.says}" if one.says else ""
            rows.append(
                [f"`{one.resource}.{one.name}`", "each item" if one.cursor else "the answer", has, _seen(one)]
            )
    return _table(["operation", "judged", "has", "seen in"], rows)


def _seen(one: Operation) -> str:
    """The sample that tells what a success has, or why none does."""
    return f"`{one.sample}`" if one.sample.endswith(".json") else WITHOUT_SAMPLE[one.sample]


def _promises(plan: Plan) -> str:
    """What each kind of cursor promises, and which lists have it."""
    rows = [
        [f"`{kind}`", *_promise(species).values(), _lists(plan, kind)] for kind, species in SPECIES.items()
    ]
    return _table(["cursor", *_promise(SPECIES["key"]), "lists"], rows)


def _promises_in_short(plan: Plan) -> str:
    """The same for whoever only wants to know whether a list can be trusted."""
    asked = ("a page is requested", "resumes", "a page that comes twice", "`hits` that do not match")
    rows = [
        [f"`{kind}`", *(_promise(species)[name] for name in asked), _lists(plan, kind)]
        for kind, species in SPECIES.items()
    ]
    return _table(["cursor", *asked, "lists"], rows)


def _promise(species: Species) -> dict[str, str]:
    """What a kind of cursor means to whoever walks a list, by the heading it goes under."""
    held = "expires on the server" if species.held_by_server else "cannot be stored"
    return {
        "cursor lives": "can be stored for weeks" if species.durable else held,
        "a page is requested": "once, but for the first"
        if species.advances
        else "again if its answer is lost",
        "resumes": "in the middle" if species.durable else "from the top, passing over by count",
        "a list that changed before it is resumed": "`SnapshotChanged`"
        if species.advances
        else "is searched for the last item; without it, items come again and it is not complete",
        "ends with": "an empty page, or one without a cursor"
        if species.ends_empty
        else "a page without a cursor",
        "a page that comes twice": _FAULT if species.never_repeats else _WARNING,
        "`hits` that do not match": _FAULT if species.promises else _WARNING,
    }


def _fates(_: Plan) -> str:
    """What every error says of a call of each retry class."""
    rows = [
        [f"`{name}`{beside}", *(_fate(*fates[retry]) for retry in get_args(Retry))]
        for name, beside, fates in _errors()
    ]
    return _table(["error", *(f"`{retry}`" for retry in get_args(Retry))], rows)


def _errors() -> Iterator[tuple[str, str, Mapping[str, errors.Fate]]]:
    for name in errors.__all__:
        kind: type[errors.LimioError] = getattr(errors, name)
        match kind:
            case errors.DeadlineExceeded:
                yield name, ", nothing had left", kind.fates
                yield name, ", `left`", errors.AnswerLost.fates
            case errors.ServerError:
                yield name, ", 501", errors.LimioError.fates
                yield name, "", kind.fates
            case _:
                yield name, "", kind.fates


def _fate(happened: str, again: bool) -> str:
    return f"{happened}, retryable" if again else happened


def _lists(plan: Plan, kind: Kind) -> str:
    """The lists that have a kind of cursor, and the resources that have views of them."""
    with_kind: dict[str | None, list[Operation]] = {}
    for one in _sorted(plan):
        with_kind.setdefault(one.cursor_kind, []).append(one)
    operations = with_kind.get(kind, [])
    named = ", ".join(f"`{one.resource}.{one.name}`" for one in operations if one.view_of is None)
    views = sorted({one.resource for one in operations if one.view_of is not None})
    return f"{named}; views on {', '.join(f'`{one}`' for one in views)}" if views else named


def _sorted(plan: Plan) -> list[Operation]:
    return sorted(plan.operations, key=lambda one: (one.resource, one.name))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


PAGES: Mapping[Path, Mapping[str, Callable[[Plan], str]]] = {
    Path("docs/reliability.md"): {
        "what each kind of cursor promises": _promises,
        "the retry classes": _retry_classes,
        "what a success has": _identities,
        "what an error says of a call": _fates,
    },
    Path("README.md"): {"what each kind of cursor promises": _promises_in_short},
}
"""The tables of each document, by what their marks call them."""
