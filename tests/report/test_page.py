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
        "48.6 kB", "/tags/cancel-pause", "listed in full: the filter hides 226 of 310 items",
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
    assert list(drawn) == ["kept", "changes", "seen", "offers", "subscriptions"]
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
