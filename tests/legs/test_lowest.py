"""With the oldest releases that pyproject.toml allows. `make lowest` runs this beside tests that a release may break."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.version import Version

from tests.legs.requirements import extras, least, name_of, runtime, tools

pytestmark = pytest.mark.leg


@pytest.mark.parametrize("requirement", [*runtime(), *extras(), *tools()], ids=name_of)
def test_this_is_the_oldest_release_that_is_allowed(requirement: str) -> None:
    assert Version(version(name_of(requirement))) == Version(least(requirement))
