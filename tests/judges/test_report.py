"""A page of `limio report` in a real browser, Chromium, which sees what a person would see."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from limio_async.report.figures import read
from limio_async.report.page import render, write
from tests.report import made

from .test_window import browser as browser  # the same Chromium

pytestmark = pytest.mark.judge

SCREENSHOTS = os.environ.get("LIMIO_WINDOW_SCREENSHOTS")
"""A directory to leave pictures in, for a person to look at."""


class Look:
    """A page, opened in a browser."""

    def __init__(self, browser: webdriver.Chrome, file: Path) -> None:
        self.browser = browser
        self.file = file

    def open(self, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        self.browser.get(self.file.as_uri())

    def ask(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(f"return {script}", *values)

    def asked_for(self) -> list[str]:
        """The addresses that the browser asked for."""
        entries = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        urls = [
            one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "about:", "chrome:"))]

    def log(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = cast("Any", self.browser).get_log(name)
        return entries


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write(render(read(made.memory()), target="sqlite:///limio.db", now=made.NOW), file)
    return file


@pytest.fixture
def look(browser: webdriver.Chrome, file: Path) -> Look:
    look = Look(browser, file)
    browser.get("about:blank")
    for log in ("performance", "browser"):
        look.log(log)
    return look


def test_it_asks_nobody_for_anything_and_runs_nothing(look: Look) -> None:
    look.open()
    assert set(look.asked_for()) == {look.file.as_uri()}
    assert look.log("browser") == []
    assert look.ask("document.scripts.length") == 0
    assert look.browser.title == "Limio sync: acme.prod.limio.com"


def test_data_that_looks_like_markup_is_read_as_text(look: Look) -> None:
    look.open()
    assert made.HOSTILE in look.browser.find_element(By.ID, "runs").text
    assert made.HOSTILE in look.browser.find_element(By.ID, "journeys").text
    assert not look.browser.find_elements(By.CSS_SELECTOR, "img, script")
    assert "broken" not in look.browser.title


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 390])
def test_it_fits_its_width(look: Look, width: int, scheme: str) -> None:
    look.open(width, scheme)
    assert look.ask("document.documentElement.scrollWidth") <= width
    drawn = look.ask(
        "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect())"
        ".filter(one => one.width).map(one => [one.left, one.right, one.height])"
    )
    assert len(drawn) == (6 if width < 720 else 8)
    assert all(left >= 0 and right <= width and height > 40 for left, right, height in drawn)
    if SCREENSHOTS:
        size = {"x": 0, "y": 0, "width": width, "height": look.ask("document.documentElement.scrollHeight")}
        look.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": size["height"], "deviceScaleFactor": 1, "mobile": width < 600},
        )
        Path(SCREENSHOTS, f"report-{width}-{scheme}.png").write_bytes(look.browser.get_screenshot_as_png())


def test_no_column_of_the_runs_is_cut_off_on_a_desk(browser: webdriver.Chrome, tmp_path: Path) -> None:
    look = Look(browser, tmp_path / "report.html")
    write(render(read(made.crowded()), target="sqlite:///limio.db", now=made.NOW), look.file)
    for width, scheme in ((1280, "light"), (390, "dark")):
        look.open(width, scheme)
        if SCREENSHOTS:
            Path(SCREENSHOTS, f"crowded-{width}-{scheme}.png").write_bytes(browser.get_screenshot_as_png())
        assert look.ask("document.documentElement.scrollWidth") <= width
        held, shown = look.ask(
            "(one => [one.scrollWidth, one.clientWidth])(document.querySelector('#runs .scroll'))"
        )
        assert held <= shown or width < 720  # where a finger pushes it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(look: Look, scheme: str) -> None:
    look.open(scheme=scheme)
    contrasts = look.ask(
        """(() => {
        const lightness = colour => {
          const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
            .map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
          return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
        };
        const ground = element => {
          for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
          }
        };
        return [...document.querySelectorAll('p, td, th, dd, dt, h1, h2, h3, summary, a, footer, text')]
          .filter(one => one.getBoundingClientRect().width && !one.closest('.flow .start') && getComputedStyle(one).opacity > 0)
          .map(one => {
            const style = getComputedStyle(one);
            const pair = [lightness(one.tagName === 'text' ? style.fill : style.color), lightness(ground(one))];
            return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
          });
        })()"""
    )
    assert len(contrasts) > 100
    assert min(contrasts) >= 4.5


def test_all_is_reached_by_keyboard_and_told_in_words(look: Look) -> None:
    look.open()
    assert look.ask("[...document.querySelectorAll('svg')].every(one => one.getAttribute('role') === 'img' && one.ariaLabel)")  # fmt: skip
    assert look.ask("[...document.querySelectorAll('nav a')].every(one => document.querySelector(one.hash))")
    unreached = look.ask(
        "[...document.querySelectorAll('.scroll')].filter(one => one.tabIndex !== 0 || !(one.ariaLabel"
        " || document.getElementById(one.getAttribute('aria-labelledby')))).length"
    )
    assert unreached == 0
    summary = look.browser.find_element(By.CSS_SELECTOR, "#offers summary")
    summary.send_keys("\n")
    assert (
        "12 months, charged every month" in look.browser.find_element(By.CSS_SELECTOR, "#offers table").text
    )


def test_marks_say_what_they_stand_for(look: Look) -> None:
    look.open()
    titles = look.ask(
        "[...document.querySelectorAll('#kept .wide svg path title')].map(one => one.textContent)"
    )
    assert "orders: 8,786 live" in titles
    assert "2026-03-20: 12 quarantined" in titles


def test_it_prints_dark_on_white(look: Look) -> None:
    look.open(scheme="dark", media="print")
    assert look.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert look.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    printed = look.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 20_000


def test_no_column_is_cut_off_on_paper(look: Look) -> None:
    look.open(width=718, media="print")  # A4 with the margins of the browser
    cut = look.ask(
        "[...document.querySelectorAll('.scroll')].filter(one => one.getBoundingClientRect().width)"
        ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.getAttribute('aria-labelledby'))"
    )
    assert cut == []
