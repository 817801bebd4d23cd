"""The emulator's window in a real browser, Chromium, which sees what a person would see."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from limio_async.emulator import World
from limio_async.emulator.server import serve

from .need import needed

pytestmark = pytest.mark.judge

SCREENSHOTS = os.environ.get("LIMIO_WINDOW_SCREENSHOTS")
"""A directory to leave pictures in, for a person to look at."""

HOSTILE = "<img src=x onerror=\"document.title='broken into'\">"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Page:
    """The window, opened in a browser."""

    def __init__(self, browser: webdriver.Chrome, world: World, url: str) -> None:
        self.browser = browser
        self.world = world
        self.url = url

    def open(self) -> None:
        self.browser.get(f"{self.url}/_emulator/")
        self.until(lambda: self.text("live") == "live")

    def until(self, true: Callable[[], object]) -> None:
        WebDriverWait(self.browser, 15, poll_frequency=0.1).until(lambda _: true())

    def get(self, id: str) -> WebElement:
        return self.browser.find_element(By.ID, id)

    def text(self, id: str) -> str:
        return self.get(id).text

    def click(self, selector: str) -> None:
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def size(self, width: int, height: int) -> None:
        """The width of the page itself: a headless window cannot be as narrow as a phone."""
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, name: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": name}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def call(self, path: str) -> int:
        """What the status of a call by some client of the emulator is."""
        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": self.world.api_key})
            return connection.getresponse().status

    def asked_for(self) -> set[str]:
        """The hosts that the browser asked anything of."""
        entries = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        urls = [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]
        return {
            urlsplit(url).hostname or "" for url in urls if not url.startswith(("data:", "chrome:", "about:"))
        }

    def complaints(self) -> list[str]:
        return [f"{entry['level']}: {entry['message']}" for entry in self.log("browser")]

    def log(self, name: str) -> list[dict[str, Any]]:
        """What the browser noted since it was last asked."""
        entries: list[dict[str, Any]] = cast("Any", self.browser).get_log(name)
        return entries


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium = needed("chromium", "chromium-browser", install="chromium")
    driver = needed("chromedriver", install="chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    running.set_page_load_timeout(30)
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture
def page(browser: webdriver.Chrome) -> Iterator[Page]:
    world = World(offers=1_250, subscriptions=300)
    opened, closing = threading.Event(), threading.Event()
    url = ""

    async def run() -> None:
        nonlocal url
        async with serve(world, port=0, real_time=True, window=True) as url:
            opened.set()
            await asyncio.to_thread(closing.wait)

    server = threading.Thread(target=asyncio.run, args=(run(),))
    server.start()
    try:
        assert opened.wait(10)
        page = Page(browser, world, url)
        for log in ("performance", "browser"):
            page.log(log)
        page.size(1280, 1000)
        page.open()
        yield page
        assert page.asked_for() == {"127.0.0.1"}
        assert page.complaints() == []
    finally:
        browser.get("about:blank")
        closing.set()
        server.join(10)


def test_it_says_what_the_world_holds(page: Page) -> None:
    page.until(lambda: "1,250" in page.text("holdings"))
    shown = page.text("holdings").split()
    for counts in page.world.holdings().values():
        for name, count in counts.items():
            assert name.partition("_")[0] in shown
            assert f"{count:,}" in shown
    assert page.text("tenant") == "acme"


def advanced(page: Page, until: float) -> bool:
    return page.world.now() >= until


def test_a_click_advances_the_clock(page: Page) -> None:
    for seconds in (60, 3_600, 86_400):
        before = page.world.now()
        page.click(f"[data-advance='{seconds}']")
        page.until(partial(advanced, page, before + seconds))
        assert page.world.now() < before + seconds + 30
    page.until(lambda: "16 January 2025" in page.text("date"))


def test_requests_appear_newest_first_with_operation_method_and_status(page: Page) -> None:
    assert "No request yet" in page.browser.page_source
    assert page.call("/api/products") == 200
    assert page.call("/api/nothing/here") == 404
    page.until(lambda: page.text("total") == "2")
    newest, first = page.get("log").find_elements(By.TAG_NAME, "tr")
    assert [cell for cell in first.text.split() if cell in {"GET", "200", "listProducts"}] == [
        "GET",
        "listProducts",
        "200",
    ]
    assert "404" in newest.text
    assert "no operation" in newest.text
    page.get("filter").send_keys("listprod")
    page.until(lambda: len(page.get("log").find_elements(By.TAG_NAME, "tr")) == 1)


def test_open_scrolls_and_good_tokens_are_shown_and_end_by_a_click(page: Page) -> None:
    assert page.call("/api/offers?opt.all=true&opt.pageSize=250") == 200
    page.until(lambda: "offers: 250 of 1,250" in page.text("cursors"))
    assert "ends in" in page.text("cursors")
    page.click("[data-act='expire_scrolls']")
    page.until(lambda: not page.world.open_scrolls() and "None" in page.text("cursors"))
    page.click("[data-act='expire_tokens']")
    page.until(lambda: "Every token is over" in page.text("said"))


def test_an_armed_fault_makes_the_next_call_fail_and_no_other(page: Page) -> None:
    Select(page.get("operation")).select_by_visible_text("listSegments")
    Select(page.get("what")).select_by_visible_text("status 502 with HTML")
    page.click("#arm button")
    page.until(lambda: "listSegments" in page.text("armed"))
    assert page.call("/api/products") == 200
    assert [page.call("/api/segments") for _ in range(2)] == [502, 200]
    page.until(lambda: "502" in page.text("log") and "happened" in page.text("armed"))
    assert "status" in page.get("log").text


def test_webhooks_appear_with_what_was_answered(page: Page) -> None:
    assert "Nobody listens" in page.text("webhooks")
    page.world.webhooks.to("http://me:pass@127.0.0.1:9/hooks/{type}")
    page.until(lambda: "None was sent yet" in page.text("webhooks"))
    for status, said in ((202, ""), (None, "no answer in 2 s")):
        page.world.webhooks.ring("order_submitted", {"id": HOSTILE})
        [sending] = page.world.webhooks.take()
        page.world.webhooks.answered(sending, status, said)
    page.until(lambda: page.text("webhook-count") == "2 sent")
    late, taken = page.get("webhooks").find_elements(By.TAG_NAME, "li")
    assert late.text.split("\n") == ["order_submitted", "no answer in 2 s"]
    assert taken.text.split("\n") == ["order_submitted", "answered 202"]
    assert "me:pass" not in page.browser.page_source
    assert page.browser.title == "Limio emulator"


def test_faults_that_were_cleared_do_not_happen(page: Page) -> None:
    Select(page.get("operation")).select_by_visible_text("listSegments")
    page.click("#arm button")
    page.until(lambda: "listSegments" in page.text("armed"))
    page.click("[data-act='clear_faults']")
    page.until(lambda: "None is armed" in page.text("armed"))
    assert page.call("/api/segments") == 200


def test_data_that_looks_like_markup_stays_text(page: Page) -> None:
    assert page.call(f"/api/offers?path={quote(HOSTILE, safe='<>=')}") == 200
    assert page.call("/<script>document.title='broken'</script>") == 404
    page.until(lambda: page.text("total") == "2")
    assert "onerror" in page.text("log")
    assert "<script>" in page.text("log")
    assert page.browser.title == "Limio emulator"
    assert not page.browser.find_elements(By.CSS_SELECTOR, "main img, main script")


def test_it_says_when_the_emulator_does_not_answer_and_when_it_does_again(page: Page) -> None:
    page.browser.execute_script(
        "window.real = window.fetch; window.fetch = () => Promise.reject(TypeError())"
    )
    page.until(lambda: page.text("live") == "not reachable")
    page.browser.execute_script("window.fetch = window.real")
    page.until(lambda: page.text("live") == "live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_its_width_and_stays_in_place_while_it_updates(page: Page, width: int, scheme: str) -> None:
    page.size(width, 1000)
    page.scheme(scheme)
    page.open()
    places = "return ['log', 'clock', 'cursors', 'armed'].map(id => document.getElementById(id).offsetTop)"
    before = page.browser.execute_script(places)
    for path in (
        "/api/offers?opt.all=true&opt.pageSize=500",
        "/api/products?opt.all=true",
        "/api/campaigns?reducedData=true",
        "/api/objects/limio/subscriptions",
        f"/api/offers/v2?path={'/offers2/Digital' * 20}",
        "/api/nothing",
    ) * 3:
        page.call(path)
    Select(page.get("operation")).select_by_visible_text("listSegments")
    page.click("#arm button")
    page.until(lambda: page.text("total") == "18")
    assert page.browser.execute_script(places) == before
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
    unnamed = page.browser.execute_script(
        "return [...document.querySelectorAll('input, select')].filter(one => !one.labels.length).length"
    )
    assert unnamed == 0
    if SCREENSHOTS:
        height = page.browser.execute_script("return document.documentElement.scrollHeight")
        page.size(width, height)
        Path(SCREENSHOTS, f"window-{width}-{scheme}.png").write_bytes(page.browser.get_screenshot_as_png())
