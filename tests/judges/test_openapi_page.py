"""The page that FastAPI makes of the shop's API, in a real browser, Chromium: what a person reads there, and tries out.

Its scripts come from npm, as nothing is loaded from elsewhere.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.openapi.docs import get_swagger_ui_html
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from limio_async import Limio
from limio_async.emulator import World
from limio_async.testing import served

from .need import missing
from .test_window import Page as Window
from .test_window import browser as browser  # the same Chromium

pytestmark = pytest.mark.judge

ROOT = Path(__file__).parents[2]
SWAGGER = ROOT / ".cache/swagger/node_modules/swagger-ui-dist"
SCREENSHOTS = os.environ.get("LIMIO_WINDOW_SCREENSHOTS")
"""A directory to leave pictures in, for a person to look at."""


async def docs(_: Request) -> HTMLResponse:
    """FastAPI's own page, with scripts from here."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Shop",
        swagger_js_url="/swagger/swagger-ui-bundle.js",
        swagger_css_url="/swagger/swagger-ui.css",
        swagger_favicon_url="/swagger/favicon-32x32.png",
    )


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The URL of the shop, whose Limio is an emulator."""
    if not SWAGGER.exists():
        missing("Swagger UI is not installed; `make openapi` does it, with npm")
    with pytest.MonkeyPatch.context() as patch, served(world := World(offers=24, subscriptions=5)) as url:
        patch.syspath_prepend(ROOT / "examples/fastapi")
        from shop import make_app

        app = make_app(lambda: Limio.from_env(world.environ(url)))
        app.router.routes[:0] = [Route("/docs", docs), Mount("/swagger", StaticFiles(directory=SWAGGER))]
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()


class Docs:
    """The page, opened in a browser."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self.window = Window(browser, World(), url)
        self.window.log("browser")
        self.window.log("performance")
        self.window.size(1280, 1000)
        browser.get(f"{url}/docs")
        self.until(lambda: self.all(".opblock"))

    def until(self, true: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, 15, poll_frequency=0.1).until(lambda _: true())

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str, text: str = "") -> WebElement:
        found: WebElement = self.until(
            lambda: next((one for one in self.all(selector) if text in one.text), None)
        )
        return found

    def click(self, selector: str, text: str = "") -> None:
        one = self.one(selector, text)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", one)
        one.click()

    def picture(self, name: str) -> None:
        if SCREENSHOTS:
            height = self.browser.execute_script("return document.documentElement.scrollHeight")
            self.window.size(1280, height)
            Path(SCREENSHOTS, f"openapi-{name}.png").write_bytes(self.browser.get_screenshot_as_png())


@pytest.fixture
def page(browser: webdriver.Chrome, shop: str) -> Iterator[Docs]:
    page = Docs(browser, shop)
    yield page
    assert page.window.asked_for() == {"127.0.0.1"}
    assert page.window.complaints() == []
    browser.get("about:blank")


def test_every_operation_says_what_it_is_for(page: Docs) -> None:
    assert [" ".join(one.text.split("\n")[:2]) for one in page.all(".opblock")] == [
        "GET /offers",
        "GET /offers/{id}",
        "GET /subscriptions/{id}",
        "POST /orders/preview",
        "POST /orders",
    ]
    page.click(".opblock-summary-control", "POST\n/orders\n")
    opened = page.one(".opblock.is-open .opblock-body", "Look for it before you send it again")
    assert "application/problem+json" in opened.text
    page.picture("order")


def test_a_model_says_what_it_is_and_what_it_holds(page: Docs) -> None:
    page.click(".json-schema-2020-12-accordion", "Offer")
    offer = page.one(
        ".json-schema-2020-12", "An offer, by itself or as an order or subscription remembers it."
    )
    page.until(lambda: "version_date" in offer.text)
    page.click(".json-schema-2020-12-property .json-schema-2020-12-accordion", "version")
    page.until(lambda: "SHA-1 of the stored version." in offer.text)
    page.picture("offer")


def test_an_offer_is_asked_for_from_the_page(page: Docs) -> None:
    page.click(".opblock-summary-control", "GET\n/offers\n")
    page.click(".opblock.is-open .try-out__btn")
    page.one(".opblock.is-open .parameters input").send_keys("/tags/uk/default")
    page.click(".opblock.is-open .execute")
    answer = page.one(".opblock.is-open .live-responses-table .response")
    page.until(lambda: "Digital Monthly 000000" in answer.text)
    assert answer.text.startswith("200")
    assert '"amount": "1.99"' in answer.text
    page.picture("answer")
