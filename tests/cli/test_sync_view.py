"""What `limio sync` shows of a wait: what is waited for and how long, a line for each wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO

import msgspec
import pytest

from limio_async.cli.failures import Code
from limio_async.cli.sync_view import Shown
from limio_async.sync_jobs.events import JobReport, StreamReport, SyncEvent

AT = datetime(2026, 3, 20, 3, 15, tzinfo=UTC)
AWAY = "listOffers: 503 Service Unavailable; pausing for {} s, 600 s of patience left"
SAID = "waiting for the tenant (listOffers: 503 Service Unavailable), {} s of at most 10 min"


def event(
    kind: str, second: int, message: str = "", *, stream: str = "offers", run: str = "run-1"
) -> SyncEvent:
    report = StreamReport(run=run, stream=stream, table_name=stream, mode="full", started=AT)
    return SyncEvent(kind=kind, at=AT + timedelta(seconds=second), report=report, message=message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


WAITS = [
    event("started", 0),
    *(event("waiting", second, AWAY.format(second)) for second in (1, 2, 4, 8, 12)),
    event("restarted", 12, "page 2 was lost"),
    event("waiting", 12, AWAY.format(12)),
    event("listed", 13),
    event("waiting", 20, AWAY.format(1)),
    event("written", 32),
]


def shown(events: Sequence[SyncEvent]) -> None:
    with Shown(as_json=False, quiet=False).run() as show:
        for one in events:
            show(one)


def test_a_wait_is_one_line_and_its_end_another(capsys: pytest.CaptureFixture[str]) -> None:
    shown(WAITS)
    assert capsys.readouterr().err.splitlines() == [
        "limio: offers: started",
        f"limio: offers: {SAID.format(0)}",
        "limio: offers: resumed after 12 s",
        f"limio: offers: {SAID.format(0)}",
        "limio: offers: resumed after 12 s",
    ]


def test_streams_wait_for_themselves_and_all_of_them_for_the_target(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown(
        [
            event("waiting", 0, AWAY.format(0)),
            event("waiting", 0, AWAY.format(0), stream="orders"),
            *(
                event("waiting", second, "connection refused; pausing for 1 s", stream="target", run="")
                for second in range(3)
            ),
            event("ended", 5, stream="orders"),
            event("waiting", 9, "connection refused; pausing for 1 s", stream="target", run=""),
        ]
    )
    assert capsys.readouterr().err.splitlines() == [
        f"limio: offers: {SAID.format(0)}",
        f"limio: orders: {SAID.format(0)}",
        "limio: target: waiting for the target (connection refused), 0 s of at most 10 min",
        "limio: target: resumed after 5 s",
        "limio: orders: 0 items, nothing new, running, 0.0 s",
        "limio: target: waiting for the target (connection refused), 0 s of at most 10 min",
    ]


class Terminal(StringIO):
    """A terminal that is wide enough."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_long_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with Shown(as_json=False, quiet=False).run() as show:
        for one in WAITS[:-3]:
            show(one)
        for second in (1, 2, 3):
            show(event("waiting", second, "connection refused; pausing for 1 s", stream="target", run=""))
            show(event("waiting", second, "connection refused; pausing for 1 s", stream="target", run=""))
            show(event("ended" if second == 3 else "written", second, stream="orders"))
    said = terminal.getvalue()
    assert f"{SAID.format(11)}" in said  # the bar is drawn again when it ends
    assert "offers: waiting" not in said
    assert said.count("target: waiting for the target") == said.count("target: resumed after") == 3


def test_programs_are_told_every_step_of_a_wait(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with Shown(as_json=True, quiet=False).run() as show:
        for one in WAITS:
            show(one)
    lines = [msgspec.json.decode(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == [one.kind for one in WAITS]


WORDS = "not [/offers] [red]allowed[/red] [link=x] :bomb: [[bold]]"


def test_the_table_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    stream, target = "objects:a[/b]", "sqlite:///q [draft] [/x].db"
    report = StreamReport(
        run="r", stream=stream, table_name="objects", mode="full", started=AT, status="failed", error=WORDS
    )
    Shown(as_json=False, quiet=False).close(JobReport(target=target, streams=(report,)), Code.INCOMPLETE)
    out = capsys.readouterr().out
    assert out.startswith(f"{target}\n")
    assert out.rstrip().endswith(f"{stream}: {WORDS}")
    assert out.count(stream) == 2


def test_a_bar_shows_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    stream = "objects:a[/b][red]:bomb:"
    with Shown(as_json=False, quiet=False).run() as show:
        show(event("started", 0, stream=stream))
        show(event("waiting", 1, f"{WORDS}; pausing for 1 s", stream=stream))
    assert f"{stream} " in terminal.getvalue()
    assert WORDS in terminal.getvalue()
