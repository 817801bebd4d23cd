"""The oldest releases that pyproject.toml allows are read from it, never written down again."""

from __future__ import annotations

import pytest

from tests.legs.requirements import Unbounded, at_lowest, extras, name_of, of_leg, runtime, tools


@pytest.mark.parametrize(
    ("allowed", "lowest"),
    [
        ("anyio>=4.8", "anyio==4.8"),
        ("aiohttp>=3.14.3,<4", "aiohttp==3.14.3"),
        ("psycopg[binary]>=3.2.2", "psycopg[binary]==3.2.2"),
        ("uvloop>=0.21; sys_platform != 'win32'", "uvloop==0.21; sys_platform != 'win32'"),
    ],
)
def test_the_oldest_release_that_is_allowed_is_the_one_that_is_installed(allowed: str, lowest: str) -> None:
    assert at_lowest(allowed) == lowest


@pytest.mark.parametrize("requirement", ["anyio", "anyio<5", "anyio~=4.8", "anyio<5,>=4.8"])
def test_a_requirement_without_a_lowest_release_is_refused(requirement: str) -> None:
    with pytest.raises(Unbounded, match=f"{requirement} does not begin with the oldest release"):
        at_lowest(requirement)


def test_the_lowest_leg_pins_all_that_package_extras_and_tests_ask_for() -> None:
    asked = {name_of(one) for one in (*runtime(), *extras(), *tools())}
    assert {"aiohttp", "anyio", "backoff", "click", "isal", "msgspec", "pytest"} <= asked
    assert {one.partition("==")[0].partition("[")[0] for one in of_leg("lowest") if "==" in one} == asked


def test_the_bare_leg_names_only_what_runs_the_tests() -> None:
    assert {name_of(one) for one in of_leg("bare")} == {
        "aioresponses",
        "hypothesis",
        "pytest",
        "pytest-asyncio",
    }
