"""The page is one file that says what there is, asks for nothing, and lets no data be markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from limio_async.api.models import Journey
from limio_async.report.charts import charts
from limio_async.report.figures import Journeys, read
from limio_async.report.flow import branches, drawing
from limio_async.report.page import render, write
from limio_async.sync_jobs.ledger import RUNS, run_row
from tests.disk import Disk, kept

from . import made


def page(memory: made.Memory) -> str:
    return render(read(memory), target="sqlite:///limio.db", now=made.NOW)


class Tags(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Mapping[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def whole() -> str:
    return page(made.memory())


def test_it_says_what_there_is_with_separators_and_in_utc(whole: str) -> None:
    text = " ".join(Tags(whole).text.split())
    for told in (
        "acme.prod.limio.com", "sqlite:///limio.db", "2026-03-20 12:00:00", "All times are UTC",
        "18,095", "4 of 6", "listObjects: 502 upstream fault", "1 min 13 s", "8,190", "loyaltyTier", "4,012",
        "48.6 kB", "3 d ago", "failing since 2026-03-18 02:00: listObjects", "On 4 of 14 days something failed",
        "2 rows could not be refreshed and keep older values (stale_since): 2 of offers", "/tags/cancel-pause", "listed in full: the filter hides 226 of 310 items",
    ):  # fmt: skip
        assert told in text, told


def test_it_loads_nothing_and_runs_nothing(whole: str) -> None:
    tags = Tags(whole).found
    assert not {tag for tag, _ in tags} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "use",
        "image",
    }
    for tag, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "action", "data"}:
                assert str(value).startswith(("#", "data:,")), (tag, name, value)
    assert re.findall(r"url\((?!#)", whole) == []
    policy = next(attributes["content"] for _, attributes in tags if attributes.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")


def test_data_that_looks_like_markup_stays_text(whole: str) -> None:
    assert whole.count("</script") == 0
    assert Tags(whole).text.count(made.HOSTILE) > 5


def test_every_chart_has_words_and_a_table(whole: str) -> None:
    figures = read(made.memory())
    drawn = charts(figures)
    assert list(drawn) == ["runs", "kept", "changes", "seen", "offers", "subscriptions"]
    assert sum(row[2] for row in drawn["kept"].rows if isinstance(row[2], int)) == 18_095
    pictures = [attributes for tag, attributes in Tags(whole).found if tag == "svg"]
    assert len(pictures) == 2 * len(drawn) + 2
    assert all(one["role"] == "img" and len(str(one["aria-label"])) > 20 for one in pictures)
    assert len(whole) < 500_000


def test_what_is_not_there_is_said_in_a_sentence() -> None:
    empty = page(made.Memory({}))
    assert "<svg" not in empty
    for sentence in (
        "Nothing was synced to this target yet", "No table holds anything yet", "holds no offers",
        "holds no subscriptions", "holds no journeys", "Nothing is in quarantine", "No drift", "or only with <code>--mode append</code>",
    ):  # fmt: skip
        assert sentence in empty
    unpriced = page(made.Memory({"offers": [{**made.offer(1), "price_amount": None}]}))
    assert "Of 1 offer, none has a price of its own" in unpriced


def test_a_chart_of_nothing_is_a_sentence() -> None:
    """A first load and quiet nights after it: what changed is drawn of no night."""
    load, *nights = [
        made.report("offers", day, inserted=40 * (not day), updated=0, deleted=0) for day in range(8)
    ]
    figures = read(made.Memory({RUNS.name: [made.held(RUNS, run_row(one)) for one in (load, *nights)]}))
    changes = charts(figures)["changes"]
    assert (changes.wide, changes.narrow) == ("", "")
    text = Tags(render(figures, target="sqlite:///limio.db", now=made.NOW)).text
    assert "Nothing has changed in the last days." in text
    assert "The first load, 40 items, is only in the table." in text


def test_a_chart_of_a_quiet_while_is_a_sentence_on_a_narrow_screen_only() -> None:
    nights = [
        made.report("offers", day, inserted=0, updated=9 * (day < 3), deleted=0) for day in range(1, 40)
    ]
    figures = read(made.Memory({RUNS.name: [made.held(RUNS, run_row(one)) for one in nights]}))
    changes = charts(figures)["changes"]
    assert changes.narrow == "" != changes.wide


def test_journeys_that_cannot_be_read_are_a_sentence() -> None:
    rows = [{**made.journey(1), "raw": b"[]"}]
    text = page(made.Memory({"journeys_v2": rows}))
    assert "<svg" not in text
    assert "none is drawn" in text


def colours(svg: str) -> dict[str, str]:
    """The fill of each mark, by the status that its title ends with."""
    marks = re.findall(r'<path[^>]* fill="([^"]+)"[^>]*><title>[^<]* (\w+)</title>', svg)
    return {status: fill for fill, status in marks}


def test_a_colour_belongs_to_a_status_whichever_others_there_are() -> None:
    known = ["active", "pending", "cancelled", "expired", "initial"]
    others = ["paused", "lapsed", "on_hold"]

    def drawn(*statuses: str) -> dict[str, str]:
        rows = [
            {"id": f"{n} {status}", "status": status, "start_date": "2026-01-01"}
            for n, status in enumerate(statuses)
        ]
        return colours(charts(read(made.Memory({"subscriptions": rows})))["subscriptions"].wide)

    together = drawn(*known)
    assert together.keys() == {*known}
    for status in known:
        assert drawn(status, "expired", "expired")[status] == together[status]
    mixed = drawn(*others, "active")
    assert mixed["active"] == together["active"]
    for status in others:
        assert drawn(status) == {status: mixed[status]}
    assert len({*together.values(), *mixed.values()}) == len(known) + len(others)


def test_failed_and_incomplete_nights_are_seen() -> None:
    drawn = charts(read(made.memory()))
    whole = colours(drawn["runs"].wide)
    assert whole.keys() == {"complete", "interrupted", "incomplete", "failed"}
    assert whole == {status: f"var(--{status})" for status in whole}  # as in the table
    for said in ("2026-03-18: 1 failed", "2026-03-20: 1 incomplete", "2026-03-10: 2 interrupted"):
        assert f"<title>{said}</title>" in drawn["runs"].wide
    assert drawn["runs"].rows[0] == ("2026-03-20", 4, 0, 0, 1, 1)
    only = [made.report("offers", day, "failed") for day in range(5)]
    figures = read(made.Memory({RUNS.name: [made.held(RUNS, run_row(one)) for one in only]}))
    assert colours(charts(figures)["runs"].wide) == {"failed": whole["failed"]}
    assert colours(drawn["seen"].wide)["failed"] == whole["failed"]
    dots = dict(re.findall(r'style="--dot: var\(--(\w+)\)">(\w+)<', page(made.memory())))
    assert dots == {"complete": "complete", "incomplete": "incomplete", "failed": "failed"}


def test_a_night_without_a_run_is_a_gap() -> None:
    nights = [made.report("offers", day) for day in (0, 1, 2, 5, 6)]
    chart = charts(read(made.Memory({RUNS.name: [made.held(RUNS, run_row(one)) for one in nights]})))["runs"]
    assert "2 days between had no run." in chart.note
    assert ">2026-03-10<" in chart.wide


def test_a_journey_leads_over_conditions_and_actions_to_destinations() -> None:
    journeys = [msgspec.json.decode(made.journey(number)["raw"], type=Journey) for number in (1, 4)]
    first, second = branches(journeys)
    assert first.conditions == "segment: /segments/Interest/Sport 1"
    assert first.actions == [
        ("destination", [("/tags/cancel-discount", "60 %"), ("/tags/cancel-pause", "40 %")])
    ]
    assert second.conditions.endswith(" and tenure: 12")
    svg, left = drawing(Journeys("/cancel-now/", "/tags/cancel/", journeys))
    assert left == 0
    assert svg.count('class="end"') == 2  # shared by both
    assert svg.count('class="edge"') == 2 + 2 + 3
    assert 'class="end fallback"' in svg


def test_shares_stand_in_the_order_in_which_their_lines_end() -> None:
    def journey(*values: tuple[str, str]) -> Journey:
        held = [{"tag": tag, "split": split} for tag, split in values]
        return msgspec.convert({"actions": [{"type": "destination", "values": held}]}, Journey)

    first = journey(("/b", "70"), ("/a", "30"))
    svg, _ = drawing(Journeys("/", "", [journey(("/a", "")), first, journey(("/b", ""))]))
    places = {text: float(y) for y, text in re.findall(r'y="([\d.]+)"[^>]*>([^<]+)</text>', svg)}
    assert places["/a"] < places["/b"]
    assert places["30 %"] < places["70 %"]


def test_a_month_far_away_hides_no_other() -> None:
    starts = ["1970-01-01", "2026-01-01", "2026-04-01", "9999-12-31"]
    rows = [{"id": start, "status": "active", "start_date": start} for start in starts]
    chart = charts(read(made.Memory({"subscriptions": rows})))["subscriptions"]
    for month in ("1970-01", "2026-01", "2026-02", "2026-04", "9999-12"):
        assert f">{month}<" in chart.wide
    assert "A year or more without any is left out." in chart.note


@pytest.mark.parametrize(
    ("last", "told"), [("2021-01-01", False), ("2021-02-01", True), ("2021-12-01", True)]
)
def test_months_that_are_left_out_are_told(last: str, told: bool) -> None:
    rows = [{"id": start, "status": "active", "start_date": start} for start in ("2020-01-01", last)]
    chart = charts(read(made.Memory({"subscriptions": rows})))["subscriptions"]
    assert ("left out" in chart.note) is told
    assert (">2020-02<" in chart.wide) is not told


def test_odd_journeys_are_drawn_all_the_same() -> None:
    odd = [b"{}", b'{"conditions": [null, {}], "actions": [null, {}, {"values": [null, {}]}]}', b'{"conditions": [{"type": "gift", "value": true}]}']  # fmt: skip
    journeys = [msgspec.json.decode(one, type=Journey) for one in odd] * 20
    svg, left = drawing(Journeys("", "", journeys))
    assert left == 36
    assert "everybody" in svg
    assert "gift: true" in svg
    assert drawing(Journeys("", "", []))[1] == 0


def test_a_page_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, disk: Disk) -> None:
    file = tmp_path / "report.html"
    write("old", file)
    assert disk.story == kept(file)
    with pytest.raises(UnicodeEncodeError):
        write("new \ud800", file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
