"""`public.txt` holds all public names; what changed since the last release is in the changelog, and nothing goes unannounced."""

from __future__ import annotations

import shutil
from difflib import unified_diff
from pathlib import Path

import pytest

from .changes import changed, marks, read, refused, release, said_before, spoken, unsaid
from .public import PUBLIC, RELEASED, ROOT, listed, written

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASED_NAMES = read(RELEASED.read_text(encoding="utf-8"))
WRITTEN = written()
LAST = (0, 1)
BEFORE = {
    "p.Old": "class()",
    "p.Old.run": "(self)",
    "p.models.Offer": "class(Struct)",
    "p.models.Offer.id": ": str",
}


def log(words: str) -> str:
    return f"# Changelog\n\n## [Unreleased]\n\n### Added\n- {words} (#21)\n\n## [0.1.0]\n- `Early.bird` and `p.Fresh`\n"


def test_public_txt_is_what_the_source_says() -> None:
    stands, now = PUBLIC.read_text(encoding="utf-8"), WRITTEN
    diff = unified_diff(stands.splitlines(), now.splitlines(), "public.txt", "the source", n=0, lineterm="")
    assert stands == now, "run `make public` and name the changes in CHANGELOG.md:\n" + "\n".join(diff)


def test_what_changed_since_the_last_release_is_in_the_changelog() -> None:
    missing = unsaid(read(WRITTEN), RELEASED_NAMES, CHANGELOG, said_before(RELEASED.read_text("utf-8")))
    assert missing == [], "name these in backticks under [Unreleased] of CHANGELOG.md"


def test_no_name_goes_before_a_release_has_deprecated_it() -> None:
    assert refused(read(WRITTEN), RELEASED_NAMES, release(RELEASED.read_text(encoding="utf-8"))) == []


# --- what the rule is


@pytest.mark.parametrize(
    ("now", "missing"),
    [
        ({"p.Fresh": "class()", "p.Fresh.go": "(self)"}, ["p.Fresh", "p.Fresh.go"]),
        ({"p.Old.run": "(self, fast: bool)"}, ["p.Old.run"]),
        ({"p.models.Offer.created_at": "property -> datetime"}, ["p.models.Offer.created_at"]),
    ],
)
def test_what_the_changelog_does_not_name_is_missing(now: dict[str, str], missing: list[str]) -> None:
    assert (
        unsaid({**BEFORE, **now}, BEFORE, log("`run` is faster, `Offer` too, and `*` and `*.go` is nothing."))
        == missing
    )


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"p.Fresh": "class()", "p.Fresh.go": "(self)", "p.Fresh.__init__": "(self)"}, "`Fresh` is new."),
        ({"p.Fresh": "class()"}, "`p.Fresh(…)` is new."),
        ({"p.Old.run": "(self, fast: bool)"}, "`Old.run(fast=True)`"),
        ({"p.Old.run": "(self, fast: bool)"}, "`await old.run(fast=True)`"),
        ({"p.Old.__init__": "(self, fast: bool)"}, "`Old(fast=True)`"),
        ({"p.models.Offer.created_at": "property -> datetime"}, "`models.*_at`"),
        ({"p.models.Offer.created_at": "property -> datetime"}, "`Offer.created_at`"),
    ],
)
def test_what_the_changelog_names_is_said(now: dict[str, str], words: str) -> None:
    assert changed({**BEFORE, **now}, BEFORE)
    assert unsaid({**BEFORE, **now}, BEFORE, log(words)) == []


def test_what_earlier_releases_said_does_not_count() -> None:
    assert spoken(log("`One.two`, and `await three()`")) == {"one.two", "three"}


def test_what_an_earlier_change_said_of_a_name_does_not_count() -> None:
    then = log("`Old.run()` is new.")
    released = said_before(f"# Public names of limio_async 0.1\n{marks(then)}p.Old class()\n")
    now = then.replace("(#21)", "(#21)\n- `Other.thing` is new. (#22)")
    assert spoken(now, released) == {"other.thing"}
    changed_now = {**BEFORE, "p.Old.run": "(self, fast: bool)"}
    assert unsaid(changed_now, BEFORE, now, released) == ["p.Old.run"]
    told = now.replace("(#22)", "(#22)\n- `Old.run(fast=True)` (#23)")
    assert unsaid(changed_now, BEFORE, told, released) == []


def test_a_name_that_goes_without_a_word_is_refused() -> None:
    now = {name: said for name, said in BEFORE.items() if not name.startswith("p.Old")}
    assert refused(now, BEFORE, LAST) == [
        "p.Old is gone, and no release deprecated it",
        "p.Old.run is gone, and no release deprecated it",
    ]
    assert refused({**BEFORE, "p.New": "class()"}, BEFORE, LAST) == []


def test_what_moves_to_a_public_base_is_not_gone() -> None:
    base = {
        "p.models.Record": "class(Struct)",
        "p.models.Record.id": ": str",
        "p.models.Offer": "class(Record, kw_only=True)",
    }
    now = {**BEFORE, **base}
    del now["p.models.Offer.id"]
    assert refused(now, BEFORE, LAST) == []
    assert unsaid(now, BEFORE, log("`Offer` is a `Record`.")) == []


def test_what_a_class_no_longer_inherits_is_gone() -> None:
    then = {"p.Record": "class(Struct)", "p.Record.id": ": str", "p.Offer": "class(Record, kw_only=True)"}
    assert refused(then, then, LAST) == []
    now = {**then, "p.Offer": "class(Struct, kw_only=True)"}
    assert refused(now, then, LAST) == ["p.Offer.id is gone, and no release deprecated it"]


def test_a_name_goes_a_minor_release_after_it_was_deprecated() -> None:
    said = {**BEFORE, "p.New": "class()", "p.Old": "deprecated until 0.3 for New"}
    del said["p.Old.run"]  # is what New has
    assert refused(said, BEFORE, LAST) == []
    gone = {name: one for name, one in said.items() if name != "p.Old"}
    assert refused(gone, said, (0, 2)) == []
    assert refused(gone, said, (0, 1)) == ["p.Old is gone too early: it was promised until 0.3"]


def test_a_name_cannot_go_with_the_release_that_deprecates_it() -> None:
    said = {**BEFORE, "p.Old": "deprecated until 0.2 for New"}
    assert refused(said, BEFORE, LAST) == [
        "p.Old has to last longer than the release that deprecates it, 0.2"
    ]


def test_an_alias_may_go_but_not_change_in_silence() -> None:
    then = {**BEFORE, "p.words.Mood": "alias = Literal['high']", "p.words.Low": "alias = int"}
    now = {**then, "p.words.Mood": "alias = Literal['low']"}
    del now["p.words.Low"]
    assert refused(now, then, LAST) == []
    assert unsaid(now, then, log("`Other`")) == ["p.words.Mood"]
    assert unsaid(now, then, log("`words.Mood`")) == []


# --- what is read from the source


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package with one class that is exported, from a module that is private."""
    package = tmp_path / "limio_async"
    package.mkdir()
    (package / "version.py").write_text('__version__ = "0.1.0"\n')
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from limio_async._lazy import lazily\n"
        "if TYPE_CHECKING:\n    from limio_async.inner import Shop\n"
        '__all__ = ["Shop"]\n'
        '__getattr__, __dir__ = lazily(globals(), {"Shop": "inner"}, deprecated={"Store": ("Shop", "0.3")})\n'
    )
    (package / "inner.py").write_text(
        "from msgspec import Struct\n"
        "from limio_async.words import Mood\n"
        "_DEAREST = 7\n"
        "class _Base:\n    def close(self) -> None: ...\n"
        "class Shop(_Base):\n"
        "    name: str = 'shop'\n"
        "    _key: str = ''\n"
        "    def __init__(self, path: str) -> None:\n        self.path = path\n"
        "    @property\n    def open(self) -> bool: ...\n"
        '    @deprecated("Shop.sell", "0.3")\n    async def trade(self, *, price: int = _DEAREST) -> str: ...\n'
        "    def __str__(self) -> str: ...\n"
        "    def mood(self) -> Mood: ...\n"
        "class Price(Struct, frozen=True):\n    amount: str\n    _hidden: int = 0\n    currency: str = 'GBP'\n"
        "class Named(Struct, kw_only=True):\n    amount: str\n"
        "def helper() -> None: ...\n"
    )
    (package / "words.py").write_text(
        "from typing import Literal, TypeVar\n"
        "T = TypeVar('T')\n"
        "_Low = Literal['low']\n"
        "Mood = Literal['high'] | _Low | T\n"
    )
    return tmp_path


SHOP = {
    "limio_async.Shop": "class()",
    "limio_async.Shop.__init__": "(self, path: str) -> None",
    "limio_async.Shop.__str__": "(self) -> str",
    "limio_async.Shop.close": "(self) -> None",
    "limio_async.Shop.mood": "(self) -> Mood",
    "limio_async.Shop.name": ": str = 'shop'",
    "limio_async.Shop.open": "property -> bool",
    "limio_async.Shop.path": ": str",
    "limio_async.Shop.trade": "deprecated until 0.3 for Shop.sell async (self, *, price: int=7) -> str",
    "limio_async.Store": "deprecated until 0.3 for Shop",
    "limio_async.words.Mood": "alias = Literal['high'] | _Low | T",
    "limio_async.words._Low": "alias = Literal['low']",
}


def test_a_name_is_listed_with_all_that_a_caller_sees_of_it(project: Path) -> None:
    assert listed(project) == SHOP


def test_what_a_page_names_is_public(project: Path) -> None:
    (project / "docs").mkdir()
    (project / "docs/page.md").write_text("Call `limio_async.inner.helper()`.\n")
    inner = project / "limio_async/inner.py"
    inner.write_text(inner.read_text() + '__all__ = ["Shop", "helper"]\n')
    assert listed(project) == {**SHOP, "limio_async.inner.helper": "() -> None"}


def test_the_order_of_arguments_of_a_struct_is_listed(project: Path) -> None:
    export(project, "Price", "Named")
    names = listed(project)
    assert names["limio_async.inner.Price.amount"] == ": str, argument 1"
    assert names["limio_async.inner.Price.currency"] == ": str = 'GBP', argument 3"
    assert names["limio_async.inner.Named.amount"] == ": str"


def test_the_value_of_a_constant_is_listed_and_any_change_of_a_long_one_is_seen(project: Path) -> None:
    inner = project / "limio_async/inner.py"
    export(project, "RATES", "SHORT")
    stands = inner.read_text()
    inner.write_text(f"{stands}SHORT: int = 404\nRATES: dict[int, str] = {dict.fromkeys(range(200), 'a')}\n")
    before = listed(project)
    assert before["limio_async.inner.SHORT"] == ": int = 404"
    assert len(before["limio_async.inner.RATES"]) < 400
    inner.write_text(inner.read_text().replace("199: 'a'", "199: 'b'"))
    assert changed(listed(project), before) == ["limio_async.inner.RATES"]


def export(project: Path, *names: str) -> None:
    """Make *names* of the private module public: a page names it."""
    (project / "README.md").write_text("See `limio_async.inner`.\n")
    inner = project / "limio_async/inner.py"
    inner.write_text(f"{inner.read_text()}__all__ = {[*names]}\n")


def test_the_pages_of_a_checkout_are_not_those_of_another(project: Path) -> None:
    shutil.copy(ROOT / "README.md", project)
    assert listed(project) == SHOP


def test_everything_that_is_exported_is_found() -> None:
    names = read(WRITTEN)
    assert [name for name, said in names.items() if said == "?"] == []
    for one in (
        "Limio.orders.submit",
        "models.CatalogRecord.id",
        "errors.NotFound",
        "webhooks.Inbox.receive",
        "otel.Otel",
    ):
        assert f"limio_async.{one}" in names
