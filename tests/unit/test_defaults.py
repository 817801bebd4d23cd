"""Every default is what the documents say it is, and the same wherever it can be set."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from benchmarks import goals
from limio_async import ApiKey, CatalogCache, Limio, catalog_cache, emulator, errors
from limio_async.api.endpoints import ENDPOINTS
from limio_async.cli import loop as cli_loop
from limio_async.cli import settings
from limio_async.cli import sync as cli_sync
from limio_async.cli.app import app
from limio_async.cli.emulate import command as emulate
from limio_async.cli.inbox import command as inbox
from limio_async.cli.outbox import command as outbox
from limio_async.cli.settings import Flags, open_client
from limio_async.cli.sync import command as sync
from limio_async.cli.times import Duration
from limio_async.core import ladder, limiter, outcome, retry, words
from limio_async.core.limiter import Limiter
from limio_async.core.listing import checkpoint, head, page_size, reader, repeats, trail
from limio_async.core.listing.options import Options
from limio_async.core.session import Session
from limio_async.drift import findings
from limio_async.emulator import World, received
from limio_async.emulator.areas import catalog
from limio_async.emulator.data.views import ListManner, Lists
from limio_async.emulator.faults import kinds
from limio_async.emulator.faults.faults import Faults, On
from limio_async.emulator.webhooks import TIME_LIMIT, WebhookManner, Webhooks
from limio_async.outbox import Outbox, decide, sending
from limio_async.sync_jobs import Job, hydrated, ledger, spool
from limio_async.sync_jobs.dlt import limio as source
from limio_async.sync_jobs.run import drain, fill, progress, whole
from limio_async.sync_jobs.sinks import duckdb, parquet, postgres, postgres_watch, sqlite
from limio_async.transport import AiohttpTransport, ConnectionPool, aiohttp, body
from limio_async.web import aiohttp as web_aiohttp
from limio_async.web import problems
from limio_async.webhooks import Inbox, door, working
from limio_async.webhooks import decide as hooks_decide
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer
from tests.virtual_time import VirtualTime

ROOT = Path(__file__).parents[2]
KIB, MIB = 1024, 1024 * 1024
TIMES: dict[Any, str] = {1: "once", 2: "twice", 3: "three times", 4: "four times"}

README = "README.md"
SECURITY = "SECURITY.md"
RELIABILITY = "docs/reliability.md"
PERFORMANCE = "docs/performance.md"
SYNC = "docs/sync-jobs.md"
OUTBOX = "docs/outbox.md"
CATALOG = "docs/catalog-cache.md"
WEBHOOKS = "docs/webhooks.md"
WEB = "docs/web.md"
REPORT = "docs/report.md"
TESTING = "docs/testing.md"
PLATFORMS = "docs/platforms.md"
OPTIONS = "limio_async/core/listing/options.py"  # whose docstrings are what an editor shows

HELD: set[tuple[str, str]] = set()
"""What a row of a table holds: who takes it, and the name of the argument."""


def default(owner: Any, name: str) -> Any:
    """Return the default that *owner*, a function, a class or a command, has for an argument, and mark it as held."""
    HELD.add((owner_name(owner), name))
    return defaults(owner)[name]


def defaults(owner: Any) -> dict[str, Any]:
    """Return the defaults that say something: of what is there, and not only off or not given."""
    if isinstance(owner, click.Command):
        needed = [f"{one.opts[0]}=sqlite:///limio.db" for one in owner.params if one.required]
        given = owner.make_context("limio", needed)
        found = {name: value for name, value in given.params.items() if was_left(given, name)}
    else:
        found = {name: one.default for name, one in inspect.signature(owner).parameters.items()}
    return {
        name: value
        for name, value in found.items()
        if value and isinstance(value, int | float | str | timedelta) and not isinstance(value, bool)
    }


def was_left(given: click.Context, name: str) -> bool:
    return given.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE


def owner_name(owner: Any) -> str:
    return str(getattr(owner, "__qualname__", getattr(owner, "name", "")))


def purged_after() -> timedelta:
    """Return how long ago an order was settled that `limio outbox purge` empties."""
    [before] = [one for one in outbox.commands["purge"].params if one.name == "before"]
    return Duration().convert(before.default, None, None)


def in_words(words: dict[Any, str], value: Any) -> Any:
    """Return how a page writes *value*; the value itself if that is another one than the page knows."""
    return words.get(value, value)


class Told(NamedTuple):
    """A sentence of a page, and what the code has for each of its gaps."""

    page: str
    sentence: str
    values: tuple[Any, ...]


def told(page: str, sentence: str, *values: Any) -> Told:
    return Told(page, sentence, values)


def longest_wait(resend: int, status: int) -> float:
    return retry.wait_before_resend(resend, answer(status=status), jitter=lambda ceiling: ceiling)


def longest_told() -> int:
    """Return the most seconds that the caller of a service is told to wait."""
    asks = errors.TooManyRequests("", operation="getObject", status=429, retry_after=1e9)
    errors.judge(asks, "safe", left=False)
    return int(problems.told(asks).headers["Retry-After"])


def left_to_others() -> float:
    """Return the share of the slots that background calls do not take."""
    shared = Limiter(16)
    taken = [shared.acquire_at_once("background") for _ in range(16)]
    return taken.count(False) / 16


TABLE = [
    # a client
    told(README, "**All {} operations** as typed coroutines", len(ENDPOINTS)),
    told(RELIABILITY, "one deadline (`timeout=`, {:g} seconds unless you say otherwise)", default(Limio, "timeout")),
    told(RELIABILITY, "A request is sent at most {} (`attempts=`)", in_words(TIMES, default(Limio, "attempts"))),
    told(RELIABILITY, "`await limio.aclose(grace={0:g})`, and the end of `async with`, wait at most {0:g} seconds", default(Limio.aclose, "grace")),
    told(RELIABILITY, "at most `max_concurrency` requests are on the wire ({}), at most", default(Limio, "max_concurrency")),
    told(PERFORMANCE, "`max_concurrency` ({}) is the ceiling of requests on the wire", default(Limio, "max_concurrency")),
    told(
        RELIABILITY,
        "a random time below a ceiling that doubles from {:g} s (from {:g} s after a 429) up to {:g} s.",
        longest_wait(1, 503),
        longest_wait(1, 429),
        longest_wait(60, 503),
    ),
    told(RELIABILITY, "| {}, {}, {} | 500, 502, 503, {}, 520 to 524, 529, 530 |", *sorted(retry.THROTTLED), min(retry.LATE)),
    told(
        RELIABILITY,
        "for a server that they cannot reach ({}) is treated as a 504.",
        in_words({frozenset({*range(520, 525), 529, 530}): "520 to 524, 529, 530"}, retry.LATE - {504}),
    ),
    told(RELIABILITY, "no other call of the client is sent either, for at most {}.", in_words({60: "a minute"}, ladder._LONGEST_CLOSURE)),
    told(
        RELIABILITY,
        "Resends are paid from a quota of {} per client: one costs {} ({} after a 429)",
        retry.RetryQuota.capacity,
        retry.RetryQuota().spend(answer(status=503)),
        retry.RetryQuota().spend(answer(status=429)),
    ),
    told(RELIABILITY, "halves what is allowed, at most {};", in_words({1: "once a second"}, limiter._CALM)),
    told(RELIABILITY, '`limio.with_options(lane="background")` leaves {} of the slots to everybody else', in_words({0.25: "a quarter"}, left_to_others())),
    told(RELIABILITY, "in one line of at most {} characters", words._LONGEST),
    told(SECURITY, "the message shows at most {} characters of what the server says", words._LONGEST),
    told(SECURITY, "at most the first {} KiB of an answer's body", outcome._KEPT_BODY // KIB),
    told(
        RELIABILITY,
        "is read up to {} KiB a line, {} lines and {} KiB in all",
        aiohttp._LONGEST_LINE // KIB,
        aiohttp._MOST_LINES,
        aiohttp._LARGEST_HEAD // KIB,
    ),
    told(RELIABILITY, "as far as {} KiB a line and {} lines", aiohttp._LONGEST_LINE_SEEN // KIB, aiohttp._MOST_LINES_SEEN),
    told("limio_async/transport/translation.py", '"a line of more than {} KiB"', aiohttp._LONGEST_LINE // KIB),
    told("limio_async/transport/translation.py", '"more than {} lines"', aiohttp._MOST_LINES),
    told(PLATFORMS, "- `limit` ({}) is the most connections that are open at once", default(ConnectionPool, "limit")),
    told(PLATFORMS, "waits for one as long as connecting may take: {:.0f} s, or half of its deadline", aiohttp._LONGEST_CONNECT),
    told(PLATFORMS, "which closes those that are idle for {:.0f} to 30 s", max(aiohttp._LONGEST_IDLE.values())),
    told(SECURITY, "A body is read up to {} MiB after decompression", default(AiohttpTransport, "largest_body") // MIB),
    told(SECURITY, "a cursor is at most {} KiB.", head._LONGEST_CURSOR // KIB),
    told(PERFORMANCE, "A read buffer of {} MiB instead of aiohttp's 64 KiB", aiohttp._READ_AT_ONCE // MIB),
    told("limio_async/transport/body.py", "another member or up to {} KiB of anything else may follow", body._MOST_JUNK // KIB),
    told("limio_async/cli/app.py", "Deadline of each call [LIMIO_TIMEOUT; {:g}]", default(Limio, "timeout")),
    # a list
    told(OPTIONS, "Pages fetched while the caller works on one: {} (the default, from", default(Options, "read_ahead")),
    told(OPTIONS, "seconds or a timedelta, {:g} minutes by default.", default(Options, "overlap") / 60),
    told(RELIABILITY, "seconds or a timedelta; {:g} minutes is the default", default(Options, "overlap") / 60),
    told(OPTIONS, "or sees the catalog change: `{}` (default), `warn`, `off`.", default(Options, "verify")),
    told(OPTIONS, "An item that cannot be decoded: `{}` (default), `skip` and", default(Options, "on_bad_item")),
    told(OPTIONS, "A page of a scroll that was lost on its way: `{}` (default), or", default(Options, "on_ambiguous")),
    told(OPTIONS, "A catalog that is rebuilt meanwhile: `{}` (default), or", default(Options, "on_snapshot_change")),
    told(OPTIONS, "begin again at the top (default {}); after", default(Options, "restarts")),
    told(RELIABILITY, "passes over what was handed out, at most {} (`restarts=`); then", in_words(TIMES, default(Options, "restarts"))),
    told(RELIABILITY, "beyond {} KiB it is decoded in slices of {} KiB", reader._LARGE // KIB, reader._SLICE // KIB),
    told(RELIABILITY, "a page is too large (413, 502, 504, over {} MiB)", default(AiohttpTransport, "largest_body") // MIB),
    told(RELIABILITY, "is too large ({}, {}, {}, over", *sorted(page_size.TOO_LARGE)),
    told(RELIABILITY, "the first {} KiB and the last {} KiB of their bytes", repeats._PRINTED_FIRST // KIB, repeats._PRINTED_LAST // KIB),
    told(RELIABILITY, "the fingerprints of the last {} pages of an object list", checkpoint.PAGES_KEPT),
    told(RELIABILITY, "the first of the two is more than {} pages back", checkpoint.PAGES_KEPT),
    told(RELIABILITY, "**Checkpoints have version {}.**", checkpoint.VERSION),
    told(RELIABILITY, "holds up to {:,} ids** of {} bytes each", trail.MOST_KNOWN, trail._RECORD.size * 4 // 3),
    # many objects, and jobs
    told(PERFORMANCE, "{} workers and {} requests at once by default", default(hydrated, "workers"), default(Limio, "max_concurrency")),
    told(SYNC, "| | `{}` (the default) | `incremental` | `append` |", default(sync, "mode")),
    told(SYNC, "the watermark less `--overlap` ({:g} h), or since", default(sync, "overlap") / timedelta(hours=1)),
    told(SYNC, "**`--concurrency`** ({}): requests on the wire at once", default(sync, "concurrency")),
    told(SYNC, "**`--patience`** ({:g} min): how long", default(sync, "patience") / timedelta(minutes=1)),
    told(SYNC, "**`--lock-wait`** ({:g} s): how long", default(sync, "lock_wait") / timedelta(seconds=1)),
    told(SYNC, "**`--keep-runs`** ({} days): older", default(sync, "keep_runs").days),
    told(SYNC, "together; {} streams run side by side.", in_words({4: "four"}, default(Job, "streams_at_once"))),
    told(SYNC, "unless these are more than a {} of all that live", in_words({0.2: "fifth"}, default(Job, "most_deleted"))),
    told(SYNC, "… rows were not seen, more than {:.0%}`", default(Job, "most_deleted")),
    told(SYNC, "from the top, {} times", fill.RESTARTS),
    told(SYNC, "the catalog was rebuilt before page …` | {} in one run", in_words(TIMES, fill.RESTARTS + 1)),
    told(
        SYNC,
        "in batches of about {:,} items or {} MiB. DuckDB takes {} MiB. With `--hydrate`, objects are written {} at a time",
        drain.BATCH_ITEMS,
        progress.BATCH_BYTES // MIB,
        duckdb.DuckdbSink.batch_bytes // MIB,
        whole.WRITTEN_AT_ONCE,
    ),
    told(SYNC, "Other lists wait for the target at {} MiB.", fill.SPOOLED_AT_MOST // MIB),
    told(SYNC, "For {}, a run with the same mode", in_words({timedelta(days=1): "a day"}, spool._LONGEST_PAUSE)),
    told(SYNC, "more than {} minutes before a run that the target knows", in_words({timedelta(minutes=5): "five"}, ledger.CLOCKS_DIFFER)),
    told("limio_async/sync_jobs/sinks/parquet.py", "ends after {:,} rows or {} MiB.", parquet._ROWS, parquet._BYTES // MIB),
    told(SYNC, "a transaction in SQLite that lasted longer than {:g} seconds", sqlite._WAIT),
    told(SYNC, "(PostgreSQL is waited for {:g} seconds, since", postgres._PATIENCE),
    told(SYNC, "that somebody holds is waited for {:g} seconds", default(postgres.PostgresSink, "lock_wait")),
    told(SYNC, "The second ends the command within {:g} seconds.", cli_sync._TO_END),
    told(SYNC, "counts as away after about {}", in_words({60.0: "a minute"}, postgres_watch._SILENCE)),
    told(SYNC, '`mode="{}"`, the default', default(source, "mode")),
    told(
        REPORT,
        "So is what exceeds {} names in an object, {} values of a field, or {:,} findings of a stream.",
        findings._MOST_NAMES,
        findings._MOST_VALUES,
        findings._MOST_FINDINGS,
    ),
    # an outbox
    told(CATALOG, "Every `every` seconds ({:.0f}), up to a tenth sooner", default(CatalogCache, "every")),
    told(CATALOG, "for `stale` seconds ({:,.0f}: a day)", default(CatalogCache, "stale")),
    told(CATALOG, "at most once in {} minutes", in_words({10: "ten"}, catalog_cache._QUIET / 60)),
    told(OUTBOX, "**Looking** begins `settle` ({:g} minutes) after the doubt was seen", default(Outbox, "settle").total_seconds() / 60),
    told(OUTBOX, 'never sent again with `when_missing="{}"`, the default', default(Outbox, "when_missing")),
    told(OUTBOX, "sends an order that is conclusively missing again, at most {}", in_words(TIMES, decide._MOST_RESENT)),
    told(OUTBOX, "{} answers in a row that turn orders down in the same words, or {} in any", in_words({3: "Three"}, sending._ALIKE), sending._MOST),
    told(OUTBOX, "SIGTERM waits up to {:g} seconds for what is on the wire", sending._GRACE),
    told(OUTBOX, "settled {} days ago or earlier", purged_after().days),
    # an inbox
    told(WEBHOOKS, "read again for up to `grace` ({:g} minutes). That", default(Inbox, "grace").total_seconds() / 60),
    told(WEBHOOKS, "at most {:g} minutes, and after {} `attempts` the event is parked", hooks_decide.wait_after(99) / 60, default(Inbox, "attempts")),
    told(WEBHOOKS, "is parked after `give_up` ({:g} hours)", default(Inbox, "give_up").total_seconds() / 3600),
    told(WEBHOOKS, "bodies for `keep` ({} days)", default(Inbox, "keep").days),
    told(WEBHOOKS, "the later ones {}, or with", in_words({"go_on": "go on"}, default(Inbox, "after_park"))),
    told(WEBHOOKS, "`await inbox.run(limio, workers={})` handles", default(Inbox.run, "workers")),
    told(WEBHOOKS, "gives the functions {:g} seconds", working._ENDING),
    told(WEBHOOKS, "{} objects that fail in a row", in_words({5: "Five"}, hooks_decide._IN_A_ROW)),
    told(WEBHOOKS, "after waits of up to {:g} minutes, or as long as Limio asks for, up to {:g} minutes", hooks_decide._LONGEST_PAUSE / 60, hooks_decide.LONGEST_WAIT / 60),
    told(WEBHOOKS, "is free after {:g} to 4 seconds", working._SURELY),
    told(WEBHOOKS, "has those {:g} seconds to get another", working._SURELY),
    told(WEBHOOKS, "`limio inbox work` ends {:g} seconds later", cli_loop._LATE),
    told(WEBHOOKS, "whose process ended {} is parked", in_words(TIMES, hooks_decide.CRASHES)),
    told(WEBHOOKS, "more than {} MiB, as sent or as unpacked", door._LARGEST // MIB),
    told(WEBHOOKS, "within {:g} seconds, or the body took more than {:g} seconds", door._STORE_WITHIN, door._READ_WITHIN),
    # a web service
    told(WEB, "in whole seconds, from 1 to {}.", longest_told()),
    told(WEB, "have `grace` seconds ({:g} by default) to end", default(web_aiohttp.cleanup_ctx, "grace")),
    told(WEB, "Without it, a call has {:g} seconds", default(Limio, "timeout")),
    # an emulator
    told(README, "keeps a whole emulated tenant, {:,} offers and all", default(World, "offers")),
    told(README, "$ limio emulate --port {} ", default(emulate, "port")),
    told(TESTING, "$ curl localhost:{}/_emulator/control --json", default(emulate, "port")),
    told(TESTING, "| | `{}` (default) | `documented` |", default(World, "envelope")),
    told(TESTING, '`World(modified_filter="{}")`, the default', default(World, "modified_filter")),
    told(
        TESTING,
        "Kept are the last {:,} requests (fewer where they are more than {} MiB) and {:,} open scrolls",
        received.MOST_REQUESTS,
        received.MOST_BYTES // MIB,
        catalog.MOST_SCROLLS,
    ),
    told(TESTING, "by default {} where a page or a call is named, else always", in_words(TIMES, int(kinds.NeverSent(on="*", page=3).most))),
    told(TESTING, "by default {} where a page or a call is named", in_words(TIMES, int(kinds.NeverSent(on="*", call=3).most))),
    told(TESTING, "| {} (or `code=413`) for a larger answer |", default(On.page_limit, "code")),
    told(TESTING, "a body that inflates to {} MB; no HTTP at all", default(On.gzip_bomb, "megabytes")),
    told(TESTING, "the body ends early (`{}`, `chunked` or `none` told where it should)", default(On.truncate_body, "framing")),
    told(TESTING, "the cursor is `{}`, `null` or `empty` |", default(On.end_early, "cursor")),
    told(TESTING, "| `fail_later({:g}, ", default(On.fail_later, "seconds")),
    told(TESTING, '| `limio_world.lists.bare("{}")` |', default(Lists.bare, "data")),
    told(TESTING, "each once, never again, and a receiver has {:g} seconds to answer", TIME_LIMIT),
    told(TESTING, "| `limio_world.webhooks.retry({}, wait={:g})` |", default(Webhooks.retry, "times"), default(Webhooks.retry, "wait")),
    told(TESTING, "| `.duplicate({})` |", default(Webhooks.duplicate, "times")),
    told(SECURITY, "The emulator is for tests. It listens on {} only", in_words({"127.0.0.1": "this machine"}, default(emulate, "host"))),
    # our own speed
    told(PERFORMANCE, "fails where a ratio is {} worse than its goal", in_words({1.5: "half again"}, goals.MARGIN)),
    told(PERFORMANCE, "costs more than {:g} of what it did at commit", goals.SLOWER),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.page}: {row.sentence}")
def test_a_page_says_what_the_code_has(row: Told) -> None:
    page = " ".join((ROOT / row.page).read_text(encoding="utf-8").split())
    assert row.sentence.format(*row.values) in page


def both(first: Any, others: tuple[Any, ...], *names: str) -> Iterator[Any]:
    for other in others:
        for name in names:
            label = f"{owner_name(first)} and {owner_name(other)}: {name}"
            yield pytest.param(default(first, name), default(other, name), id=label)


SAME = [
    *both(Limio, (Session,), "timeout", "attempts", "max_concurrency"),
    *both(Job, (sync, source), "overlap", "concurrency"),
    *both(Job, (sync,), "mode", "patience", "lock_wait", "keep_runs"),
    *both(Outbox, (outbox.commands["run"],), "when_missing", "settle", "at_once"),
    *both(Inbox.run, (inbox.commands["work"],), "workers"),
    *both(World, (emulate,), "offers", "subscriptions", "envelope", "modified_filter", "seed"),
    (default(emulate, "list_order"), default(ListManner, "order")),
    (default(emulate, "webhook_wait"), default(WebhookManner, "wait")),
    (default(emulate, "list_data"), default(ListManner, "data")),
    *both(kinds.FailLater, (On.fail_later,), "seconds", "plugin", "message"),
    *both(kinds.PageLimit, (On.page_limit,), "bytes", "code"),
    *both(kinds.GzipBomb, (On.gzip_bomb,), "megabytes"),
    *both(kinds.TruncateBody, (On.truncate_body,), "framing"),
    *both(kinds.EndEarly, (On.end_early,), "cursor"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_an_argument_has_one_default_wherever_it_is_taken(one: Any, other: Any) -> None:
    assert one == other


OWNERS = (
    Limio,
    ConnectionPool,
    Limio.from_env,
    CatalogCache,
    Session,
    Options,
    Job,
    source,
    hydrated,
    Outbox,
    outbox.commands["run"],
    Inbox,
    inbox.commands["work"],
    sync,
    emulate,
)
OF_TRANSPORTS = (AiohttpTransport,)
OF_FAULTS = (On.status, On.page_limit, Faults.on)
OF_INBOX = (Inbox.on, Inbox.receiver, Inbox.run)
OF_OUTBOX = (Outbox.intend, Outbox.statement, Outbox.run, Outbox.resolve)
OF_WEBHOOKS = (Webhooks.to, Webhooks.retry, Webhooks.late)
OF_WEB = (problems.Problem, web_aiohttp.cleanup_ctx)
OF_OTHERS = {
    "gc",
    "handler_cancellation",
    "left",
    "synchronous",
}  # of msgspec, aiohttp's, an error's, SQLite's


@pytest.mark.parametrize("owner", OWNERS, ids=owner_name)
def test_every_default_is_held(owner: Any) -> None:
    assert {(owner_name(owner), name) for name in defaults(owner)} <= HELD


def test_every_argument_that_a_page_names_is_one_whose_default_is_held() -> None:
    pages = [ROOT / README, ROOT / SECURITY, *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    taken = {
        name
        for one in (*OWNERS[:-3], *OF_TRANSPORTS, *OF_OUTBOX, *OF_INBOX, *OF_FAULTS, *OF_WEBHOOKS, *OF_WEB)
        for name in inspect.signature(one).parameters
    }
    assert set(re.findall(r"`([a-z_]+)=", text)) - OF_OTHERS <= taken
    commands = (app, *OWNERS[-2:], *inbox.commands.values(), *outbox.commands.values())
    flags = {flag for command in commands for one in command.params for flag in one.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) - {"--dry-run", "--force", "--spec"} <= flags


# --- what a signature does not tell


@pytest.fixture
def silent() -> ScriptedTransport:
    """Takes every request and answers none."""
    return ScriptedTransport(lambda _: asyncio.Event().wait())


def left_alone(transport: ScriptedTransport) -> Limio:
    """A client that nothing was chosen for."""
    return Limio("limio.test", auth=ApiKey("key"), transport=transport)


async def test_a_call_ends_after_a_minute(virtual_time: VirtualTime, silent: ScriptedTransport) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await left_alone(silent).offers.list().first()
    assert virtual_time.elapsed == 60


async def test_a_request_is_sent_three_times(virtual_time: VirtualTime) -> None:
    transport = ScriptedTransport(answer(status=503))
    with pytest.raises(errors.ServerError):
        await left_alone(transport).catalog.commit_id()
    assert len(transport.requests) == 3


async def test_sixteen_requests_are_on_the_wire_at_once(silent: ScriptedTransport) -> None:
    limio = left_alone(silent)
    calls = [asyncio.create_task(limio.catalog.commit_id()) for _ in range(20)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(silent.requests) == 16
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


def test_plain_http_is_for_who_asks_for_it() -> None:
    assert Limio("http://limio.internal:8080", plain_http=True).origin == "http://limio.internal:8080"
    with pytest.raises(errors.ConfigurationError):
        Limio("http://limio.internal:8080")


@pytest.mark.parametrize("given", [{}, {"timeout": 1.5, "attempts": 5, "max_concurrency": 2}])
def test_a_client_from_the_environment_passes_on_what_was_chosen(given: dict[str, Any]) -> None:
    class Watched(Limio):
        def __init__(self, _: str, **options: Any) -> None:
            self.options = options

    options = Watched.from_env({"LIMIO_HOST": "limio.test"}, **given).options
    assert {name: value for name, value in options.items() if name != "auth"} == given


@pytest.mark.parametrize(
    "flags", [Flags(emulated=True), Flags(host="limio.test")], ids=["emulated", "tenant"]
)
def test_a_command_has_the_deadline_of_a_call(flags: Flags, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LIMIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "Limio", lambda **options: options)
    monkeypatch.setattr(emulator, "World", lambda: World(offers=0, subscriptions=0))
    options: Any = open_client(flags)
    usual = defaults(Limio)
    assert options.get("timeout", usual["timeout"]) == usual["timeout"] == 60
    assert options["max_concurrency"] == usual["max_concurrency"]
