"""What judges need that pip does not bring: without it a judge is skipped here and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import Never

import pytest

__all__ = ["missing", "needed"]


def needed(*names: str, install: str) -> str:
    """The path of the first program of *names* that is here."""
    for name in names:
        if path := shutil.which(name):
            return path
    return missing(f"{names[0]} is not on this machine (Debian: apt-get install {install})")


def missing(what: str) -> Never:
    """Skip with *what* as the reason, or fail where CI is true."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
