"""A name that goes with a later release works until then, and warns whoever uses it, where it is used."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from limio_async._deprecation import deprecated

INIT = """
from limio_async._lazy import lazily
__all__ = ["New"]
__getattr__, __dir__ = lazily(globals(), {"New": "new"}, deprecated={"Old": ("New", "0.3")})
"""
USES = {"attribute": "import stall\nfound = stall.Old\n", "import": "\nfrom stall import Old as found\n"}


@pytest.fixture
def stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "stall"
    package.mkdir()
    (package / "__init__.py").write_text(INIT)
    (package / "new.py").write_text("class New: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in ("stall", "stall.new"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_an_old_name_is_its_successor_and_warns_each_caller_once(stall: Path, use: str) -> None:
    for caller in ("first.py", "second.py"):
        names: dict[str, object] = {"__name__": caller}
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            exec(compile(use, caller, "exec"), names)  # noqa: S102
        assert names["found"] is vars(sys.modules["stall.new"])["New"]
        (one,) = heard
        assert (one.category, one.filename, one.lineno) == (DeprecationWarning, caller, 2)
        assert str(one.message) == "stall.Old is deprecated and goes with 0.3: use New"


def test_whoever_makes_errors_of_warnings_gets_one(stall: Path) -> None:
    for use in USES.values():
        with pytest.raises(DeprecationWarning, match="use New"):
            exec(use, {"__name__": "strict"})  # noqa: S102


def test_an_old_name_is_not_offered(stall: Path) -> None:
    names: dict[str, object] = {"__name__": "star"}
    exec("import stall\nfrom stall import *\nlisted = dir(stall)", names)  # noqa: S102
    assert "Old" not in names
    assert "Old" not in vars(sys.modules["stall"])
    assert "Old" not in str(names["listed"])


class Desk:
    @deprecated("Desk.sell", "0.3")
    def trade(self, price: int) -> int:
        """Sell."""
        return price

    @deprecated("Desk.sell", "0.3")
    async def later(self) -> str:
        return "sold"


async def test_an_old_method_works_and_warns_its_caller() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"Desk\.trade\(\) is deprecated and goes with 0\.3: use Desk\.sell"
    ) as heard:
        assert Desk().trade(price=7) == 7
    assert [one.filename for one in heard] == [__file__]
    with pytest.warns(DeprecationWarning, match=r"Desk\.later\(\)") as heard:
        assert await Desk().later() == "sold"
    assert [one.filename for one in heard] == [__file__]
    assert Desk.trade.__doc__ == "Sell."


async def test_an_old_coroutine_function_is_still_one() -> None:
    assert inspect.iscoroutinefunction(Desk.later)
    assert not inspect.iscoroutinefunction(Desk.trade)
    with pytest.warns(DeprecationWarning, match="use Desk.sell"):
        assert await asyncio.create_task(Desk().later()) == "sold"


def test_an_old_field_is_a_property_and_an_old_class_a_name_of_its_module() -> None:
    with pytest.warns(DeprecationWarning, match=r"Price\.value\(\)") as heard:
        assert Price(amount=7).value == 7
    assert [one.filename for one in heard] == [__file__]
    with pytest.raises(TypeError, match="lazily"):
        deprecated("Desk", "0.3")(Desk)


class Price(msgspec.Struct):
    amount: int

    @property
    @deprecated("Price.amount", "0.3")
    def value(self) -> int:
        return self.amount


def test_nothing_of_it_is_loaded_where_nothing_is_old() -> None:
    show = "import limio_async, sys; limio_async.Limio; print('limio_async._deprecation' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
