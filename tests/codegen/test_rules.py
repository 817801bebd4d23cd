"""What becomes of a spec: each rule once, on a small API."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import msgspec
import pytest

from codegen import tables
from codegen.__main__ import API, ROOT, generate, main, planned, stale
from codegen.shapes import python_name
from codegen.spec import CannotGenerate
from limio_async.core.wire import SPECIES
from tests.codegen import toy


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    texts = generate(toy.write(tmp_path_factory.mktemp("toy")))
    return {path.relative_to(API).as_posix(): text for path, text in texts.items()}


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("queryMore", "query_more"),
        ("listOffersV2", "list_offers_v2"),
        ("subscriptionID", "subscription_id"),
        ("price__limio", "price__limio"),
        ("__spec_version", "spec_version"),
        ("$ref", "ref"),
        ("from", "from_"),
        ("x-limio-mode", "x_limio_mode"),
        ("opt.pageSize", "opt_page_size"),
    ],
)
def test_a_wire_name_becomes_a_python_name(wire: str, name: str) -> None:
    assert python_name(wire) == name


@pytest.mark.parametrize(
    "line",
    [
        "class Offer(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):",
        "    id: str",
        '    name: str\n    """Its name."""',
        '    from_: str | None = field(name="from", default=None)',
        '    ref: str | None = field(name="$ref", default=None)',
        "    price: str | int | float | None = None",
        "    count: int | None = None",
        '    kind: Literal["item", "dir"] | str | None = None',
        '    record_type: Literal["offer"] | str | None = None',
        "    created: str | None = None",
        "    lines: list[str | None] | None = None",
        "    bare: list[Any] | None = None",
        "    pages: dict[str, bool] | None = None",
        "    anything: Any = None",
        "    attributes: Attributes | None = None",
        'Attributes = dict[str, Any]\n"""Keys of templates."""',
    ],
)
def test_what_is_only_answered_takes_null_for_missing(files: dict[str, str], line: str) -> None:
    assert f"{line}\n" in files["models/catalog.py"]


@pytest.mark.parametrize(
    "line",
    [
        "class OrderBase(Model, frozen=True, kw_only=True):",
        "    order_type: str",
        '    spec_version: str | UnsetType = field(name="__spec_version", default=UNSET)',
        '    order_type: Literal["new"] = "new"\n    place: Place  # pyright: ignore[reportGeneralTypeIssues]',
        'class OtherOrder(OrderBase, frozen=True, kw_only=True):\n    """Does more."""',
        'OrderRequest = Annotated[NewOrder | OtherOrder, ByType("order_type")]',
        '    "renew": OtherOrder,',
    ],
)
def test_what_is_sent_tells_missing_from_null(files: dict[str, str], line: str) -> None:
    assert f"{line}\n" in files["models/orders.py"]


def test_what_is_sent_and_answered_takes_all_three(files: dict[str, str]) -> None:
    assert "    city: str | UnsetType | None = UNSET\n" in files["models/orders.py"]


@pytest.mark.parametrize(
    "lines",
    [
        """
    @property
    def created_at(self) -> datetime | None:
        \"""`created` in UTC, here or in `data`; None where neither holds a time.\"""
        return moment_of(self, "created")
""",
        """
    @property
    def amount(self) -> Decimal | None:
        \"""`price` as a decimal, a text to the digit; None where it is no number.\"""
        return decimal_of(self.price)
""",
        """
    def charges(self) -> list[Build]:
""",
        "\nclass Build(RecordBehaviour, Model, frozen=True, kw_only=True, omit_defaults=True, gc=False):\n",
    ],
)
def test_a_field_gets_the_property_that_the_overlay_names(files: dict[str, str], lines: str) -> None:
    assert lines in files["models/catalog.py"]


def test_a_class_that_holds_a_secret_hides_it(files: dict[str, str]) -> None:
    text = files["models/rest.py"]
    assert "class TokenRequest(Hiding, frozen=True, kw_only=True):" in text
    assert '    __hidden__: ClassVar[tuple[str, ...]] = ("secret",)\n' in text
    assert "class Update(Model," in text


def test_error_bodies_and_envelopes_of_lists_get_no_class(files: dict[str, str]) -> None:
    assert not [name for name, text in files.items() if "class Error" in text or "class OfferList" in text]


def signature(text: str, method: str) -> str:
    """The signature of a method, on one line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == method:
            returns = ast.unparse(node.returns) if node.returns else ""
            return f"{ast.unparse(node.args).replace(': ', ':')} -> {returns}"
    raise AssertionError(f"no method {method}")


def docstring(text: str, method: str) -> str:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == method:
            return inspect.cleandoc(ast.get_docstring(node) or "")
    raise AssertionError(f"no method {method}")


@pytest.mark.parametrize(
    ("file", "method", "expected"),
    [
        (
            "offers.py",
            "list",
            "self, *, tags:str | None=None, modified_after:str | datetime | None=None,"
            " attributes:Mapping[str, str] | None=None, **options:Unpack[ListOptions] -> Listing[Offer]",
        ),
        (
            "objects.py",
            "get",
            "self, path_type:Literal['orders'] | str, object_id:str, *,"
            " service:Literal['limio', 'zuora'] | str='limio', **options:Unpack[CallOptions] -> Thing",
        ),
        (
            "orders.py",
            "submit",
            "self, body:OrderRequest | JsonBody, *, x_mode:Literal['test'] | str | None=None, cookie:str,"
            " **options:Unpack[CallOptions] -> Answer",
        ),
        (
            "orders.py",
            "get",
            "self, object_id:str, *, service:Literal['limio', 'zuora'] | str='limio',"
            " **options:Unpack[CallOptions] -> Order",
        ),
        (
            "objects.py",
            "update",
            "self, path_type:Literal['orders'] | str, object_id:str, body:Update | JsonBody, *,"
            " service:Literal['limio', 'zuora'] | str='limio', **options:Unpack[CallOptions]"
            " -> dict[str, Any] | None",
        ),
        ("builds.py", "list", "self, **options:Unpack[CallOptions] -> Build | builtins.list[Build]"),
        ("session.py", "log_in", "self, **options:Unpack[CallOptions] -> Redirect"),
    ],
)
def test_an_operation_becomes_a_method(files: dict[str, str], file: str, method: str, expected: str) -> None:
    assert signature(files[file], method) == expected


def test_a_docstring_says_what_the_caller_may_rely_on(files: dict[str, str]) -> None:
    assert docstring(files["offers.py"], "list") == (
        "List offers.\n\n"
        "`GET /api/offers` · walked by a scroll cursor · key or bearer · seed\n\n"
        "All of them.\n\n"
        "*tags*: Tag path.\n\n"
        "Raises `Unauthorized`.\nKnown to differ: Slow."
    )
    assert "`POST /api/order` · never sent twice · session · seed" in docstring(files["orders.py"], "submit")
    assert "`PUT /api/objects/{service}/orders/{object_id}`" in docstring(files["orders.py"], "update")


@pytest.mark.parametrize(
    ("file", "fact"),
    [
        ("offers.py", "LIST_OFFERS: ListEndpoint[Offer] = ListEndpoint("),
        ("offers.py", "paging=CATALOG"),
        ("objects.py", "GET_OBJECT: Endpoint[Thing] = Endpoint("),
        ("offers.py", 'auth=("key", "bearer")'),
        ("offers.py", 'Param(name="attributes", wire="attributes.", place="query", kind="mapping")'),
        ("objects.py", 'path="/api/objects/{service}/{path_type}/{object_id}"'),
        ("objects.py", 'source="documents"'),
        ("builds.py", 'source="observed"'),
        ("session.py", 'path="/login"'),
        ("session.py", "auth=()"),
        ("session.py", 'body_format="form"'),
        ("orders.py", 'GET_ORDER: Endpoint[Order] = view(GET_OBJECT, "orders", Order, path_type="orders")'),
        ("_cursors.py", 'always={"opt.all": "true"}'),
        ("endpoints.py", '"getObject": objects.GET_OBJECT'),
        ("endpoints.py", "VIEWS: tuple[Endpoint[Any], ...] = (\n    orders.GET_ORDER,"),
        ("builds.py", "class Builds(BuildsBehaviour, Resource):"),
        ("builds.py", "from limio_async.api.behaviour.builds import BuildsBehaviour"),
        ("builds.py", "`limio.builds`: `list`, `start`."),
        ("models/catalog.py", "class Record(RecordBehaviour, Model, frozen=True, kw_only=True"),
        ("models/catalog.py", "from limio_async.api.behaviour.record import RecordBehaviour"),
        ("__init__.py", '    "session": "Session",'),
        ("__init__.py", "    session: _session.Session"),
    ],
)
def test_an_endpoint_carries_the_facts(files: dict[str, str], file: str, fact: str) -> None:
    assert fact in files[file]


def test_what_walking_fills_in_is_not_an_argument(files: dict[str, str]) -> None:
    assert "opt." not in files["offers.py"]


def test_stale_and_left_over_files_are_named_and_what_is_written_by_hand_is_not(tmp_path: Path) -> None:
    new, changed, gone = API / "new.py", API / "changed.py", API / "models/gone.py"
    for path in (changed, gone, API / "behaviour/offer.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("old")
    assert stale({new: "new", changed: "new"}, tmp_path) == [changed, gone, new]


def test_check_says_what_is_stale_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codegen.__main__.ROOT", tmp_path)
    monkeypatch.setattr("codegen.__main__.generate", lambda root: {API / "offers.py": "x = 1\n"})
    assert main(["--check"]) == 1
    assert "limio_async/api/offers.py is stale" in capsys.readouterr().err
    assert not (tmp_path / API).exists()
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, tables in tables.PAGES.items() for name in tables]
)
def test_a_table_of_a_document_is_stale_when_it_was_edited_and_made_again(
    page: Path, name: str, tmp_path: Path
) -> None:
    made = planned(ROOT)
    text = (ROOT / page).read_text(encoding="utf-8")
    begin = f"<!-- generated: {name} -->\n"
    edited = text.replace(begin, f"{begin}edited by hand\n")
    again = tables.with_tables(page, edited, made)
    assert again == text
    (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / page).write_text(edited, encoding="utf-8")
    assert stale({page: again}, tmp_path) == [page]
    with pytest.raises(CannotGenerate, match=f"{page}: {name}: no table between"):
        tables.with_tables(page, text.replace(begin, ""), made)


def test_what_a_kind_of_cursor_promises_follows_from_its_species(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made = Path("docs/reliability.md"), planned(ROOT)
    text = (ROOT / page).read_text(encoding="utf-8")
    facts = ("advances", "held_by_server", "durable", "ends_empty", "never_repeats", "promises")
    scroll = SPECIES["scroll"]
    for fact in facts:
        other = msgspec.structs.replace(scroll, **{fact: not getattr(scroll, fact)})
        monkeypatch.setattr(tables, "SPECIES", {**SPECIES, "scroll": other})
        assert tables.with_tables(page, text, made) != text, fact


@pytest.mark.parametrize("page", tables.PAGES)
@pytest.mark.parametrize("kind", SPECIES)
def test_every_list_stands_beside_its_kind_of_cursor(page: Path, kind: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    [row] = [line for line in lines if line.startswith(f"| `{kind}` |")]
    for one in planned(ROOT).operations:
        if one.cursor_kind is not None and one.view_of is None:
            assert (f"`{one.resource}.{one.name}`" in row) is (one.cursor_kind == kind)
