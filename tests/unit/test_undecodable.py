"""Bytes that are no UTF-8, no JSON or too deep end as an error of ours, wherever they are read."""

from __future__ import annotations

import ast
import sqlite3
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

import limio_async
from limio_async import errors, models
from limio_async._readback import read_back_args
from limio_async.api.endpoints import ENDPOINTS
from limio_async.auth import FileTokenStore
from limio_async.cli.failures import Failure
from limio_async.cli.kept import Kept
from limio_async.cli.output import JsonArray, JsonLines, TableOfItems, show_table, whole
from limio_async.cli.recording import Recorder
from limio_async.cli.settings import Flags, settings
from limio_async.cli.target import Target
from limio_async.core.codec import decode_as, read_response
from limio_async.core.outcome import error_for
from limio_async.core.wire import Request, Response
from limio_async.emulator import World
from limio_async.emulator.http.control import CONTROL, Control
from limio_async.emulator.http.window import act
from limio_async.emulator.messages import Refused
from limio_async.report.figures import _filled
from limio_async.sync_jobs.rows import Item, Reader, summary_of
from limio_async.sync_jobs.sinks.values import halved_pair
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.streams import stream
from limio_async.sync_jobs.walk import SavedWalk
from tests.conftest import ScriptedTransport

DEEP = b"[" * 100_000
VALUES = {
    "not UTF-8": b'"\xff\xfe"',
    "half a surrogate": b'"\\ud800"',
    "the other half": b'"\\udc00"',
    "a number beyond all": b"1e999",
    "an integer beyond all": b"-" + b"9" * 5000,
    "too deep": DEEP,
    "too deep, closed": DEEP + b"]" * 100_000,
    "not quite too deep": b"[" * 700 + b"]" * 700,
    "no JSON": b"<html>",
    "cut short": b'"abc',
    "a control character": b'"\x00"',
}
WHOLE = {"empty": b"", "a bare bracket": b"{", "bytes": bytes(range(256)), "a BOM": b"\xef\xbb\xbf{}"}
bad_values = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


def bodies(form: bytes) -> pytest.MarkDecorator:
    """*form* around each bad value, and bodies that are bad as a whole."""
    cases = {**{name: form.replace(b"@", value) for name, value in VALUES.items()}, **WHOLE}
    return pytest.mark.parametrize("body", cases.values(), ids=cases)


def is_readable(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except Exception:
        return False
    return True


def test_nobody_lists_these_errors_by_hand() -> None:
    package = Path(limio_async.__file__).parent
    by_hand = [
        f"{file.relative_to(package)}:{node.lineno}"
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and "msgspec.DecodeError" in ast.unparse(node.type)
    ]
    assert by_hand == []


# ------------------------------------------------------------------ answers


@bodies(b'{"id":@}')
@pytest.mark.parametrize("operation", ["getObject", "submitOrder", "createToken", "listJourneys"])
def test_an_answer_is_read_or_unreadable(operation: str, body: bytes) -> None:
    said = ""
    try:
        read_response(ENDPOINTS[operation], Response(status=200, headers={}, body=body))
    except errors.Unreadable as error:
        said = str(error)
    assert said.isprintable()


@bodies(b'{"message":@}')
def test_a_refusal_is_read_whatever_its_body(body: bytes) -> None:
    error = error_for("getObject", Response(status=400, headers={}, body=body))
    assert isinstance(error, errors.BadRequest)
    assert str(error).isprintable()


@bodies(b'{"id":@}')
def test_what_reads_back_a_write_survives_its_answer(body: bytes) -> None:
    how = {"id": "answer:id"}
    found = read_back_args(how, {}, msgspec.Raw(body), body)
    assert found is None or is_readable(body)


@bodies(b'{"id":@}')
def test_a_body_that_holds_it_is_sent_or_refused(body: bytes) -> None:
    with pytest.raises(errors.Unreadable):
        decode_as("x", body + b"]", models.OrderResponse)


# ------------------------------------------------------------------ files of ours


@pytest.mark.parametrize(
    "form",
    [
        b'{"version":1,"token":{"access_token":@,"expires_at":1,"origin":"x"}}',
        b'{"version":1,"token":{"access_token":"a","expires_at":@,"origin":"x"}}',
        b'{"version":1,"token":{"access_token":"a","expires_at":1,"origin":@}}',
        b'{"version":@}',
        b"@",
    ],
)
@bad_values
async def test_a_token_file(tmp_path: Path, form: bytes, value: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(form.replace(b"@", value))
    file.chmod(0o600)
    with pytest.raises(errors.ConfigurationError, match="is not a token file"):
        await FileTokenStore(file).load()


@bodies(b'{"output":"ndjson","bytes":1,"checkpoint":@}')
def test_the_checkpoint_of_a_file(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "offers.ndjson"
    Path(f"{file}.partial").write_bytes(b"{}\n")
    Path(f"{file}.partial.checkpoint").write_bytes(body)
    with pytest.raises(Failure, match="cannot resume: .*; --force starts over"):
        Target(file, output="ndjson", force=False, resume=True)


@bodies(b'{"sizes":{},"clock":@}')
def test_the_state_of_an_emulator(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "state"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE world (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL)")
        db.execute("INSERT INTO world VALUES (1, ?)", (body,))
    db.close()
    with pytest.raises(Failure, match="--state .*use the same sizes and seed, or another file"):
        Kept(World(offers=1, subscriptions=1), file)


@bodies(b'{"run":"r","started":@}')
def test_the_state_of_a_job(tmp_path: Path, body: bytes) -> None:
    spool = Spool(tmp_path / "state")
    spool.open(target="t", origin="o")
    fresh = SavedWalk(run="r", started=datetime.now(UTC))
    spool.begin("offers", "full", fresh)
    with sqlite3.connect(tmp_path / "state") as db:
        db.execute("UPDATE walks SET walk = ?", (body,))
    db.close()
    with pytest.raises(errors.SinkError, match="the state of the job"):
        spool.begin("offers", "full", fresh)
    spool.close()


@pytest.mark.parametrize(
    "text", [b"\xff", b"[default", b"x = " + DEEP, b"x = " + DEEP + b"]" * 100_000, b"\x00", b'x = "\\ud800"']
)
def test_a_profile_file_and_a_file_of_faults(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "file.toml"
    file.write_bytes(text)
    with pytest.raises(Failure, match=r"file\.toml"):
        settings(Flags(), {"LIMIO_CONFIG": str(file)})
    with pytest.raises(errors.ConfigurationError, match=r"file\.toml"):
        World(offers=1, subscriptions=1).faults.read(file)


# ------------------------------------------------------------------ what the command line shows and keeps


@bodies(b'{"id":"odd","name":@}')
@pytest.mark.parametrize("alone", [True, False])
def test_a_table_shows_the_bytes_of_what_it_cannot_read(capsys: Any, body: bytes, alone: bool) -> None:
    table = TableOfItems()
    table.add([body] if alone else [b'{"id":"before","name":"a"}', body, b'{"id":"after","name":"b"}'])
    table.add([body])
    shown = capsys.readouterr().out
    assert alone or ("before" in shown and "after" in shown)
    if b"odd" in body:
        assert shown.count("odd") == 2
    show_table(body)


@bodies(b'{"id":"odd",\n"name":@}')
def test_json_that_cannot_be_laid_out_is_written_as_it_came(body: bytes) -> None:
    written: list[bytes] = []
    for layout in (JsonLines(written.append), JsonArray(written.append, begun=False)):
        layout.add([body])
        layout.end()
    assert written[0].count(b"\n") == 1
    assert whole(body, "json").endswith(b"\n")
    assert whole(body, "ndjson").count(b"\n") == 1


@bodies(b'{"items":[{"id":@}]}')
@pytest.mark.parametrize("target", ["/api/offers", "/api/objects/limio/orders/1"])
async def test_a_recording_passes_on_what_it_cannot_keep(
    tmp_path: Path, capsys: Any, body: bytes, target: str
) -> None:
    tenant = ScriptedTransport(Response(status=200, headers={}, body=body))
    recorder = Recorder(tenant, tmp_path / "recorded")
    asked = Request(operation="", method="GET", target=target, headers={"host": "localhost"})
    assert (await recorder.answer(asked)).body == body
    told = "was passed on and not kept" in capsys.readouterr().err
    assert told != bool(list((tmp_path / "recorded").iterdir()))


# ------------------------------------------------------------------ the emulator


@pytest.fixture(scope="module")
def world() -> World:
    return World(offers=3, subscriptions=3)


@bodies(b'{"action":"advance","seconds":@}')
def test_a_button_of_the_window(world: World, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        act(world, body)
    assert refused.value.status == 400


FORMS = [
    b'{"action":"advance","seconds":@}',
    b'{"action":@}',
    b'{"action":"arm","fault":{"on":"listOffers","do":@}}',
    b'{"action":"arm","fault":@}',
    b'{"action":"restore","snapshot":{"sizes":@,"clock":1}}',
    b"[@]",
]


@pytest.mark.parametrize("form", FORMS)
@bad_values
def test_the_control_endpoint(world: World, form: bytes, value: bytes) -> None:
    headers = {"host": "localhost", "content-type": "application/json"}
    body = form.replace(b"@", value)
    asked = Request(operation="", method="POST", target=CONTROL, headers=headers, body=body)
    assert Control(world).answer(asked).status == 400


def asked_of(world: World, method: str, target: str, body: bytes | None = None) -> Response:
    headers = {"authorization": f"Bearer {token(world)}", "content-type": "application/json"}
    return world.answer(Request(operation="", method=method, target=target, headers=headers, body=body))


def token(world: World) -> str:
    form = f"grant_type=client_credentials&client_id={world.client_id}&client_secret={world.client_secret}"
    request = Request(
        operation="createToken", method="POST", target="/oauth2/token", headers={}, body=form.encode()
    )
    issued: Mapping[str, Any] = msgspec.json.decode(world.answer(request).body)
    return str(issued["access_token"])


WRITES = [
    ("POST", "/api/order"),
    ("POST", "/api/order/preview"),
    ("POST", "/api/checkout/initiate"),
    ("PUT", "/api/objects/limio/subscriptions/sub-1"),
    ("POST", "/api/objects/limio/promo_codes_v2"),
    ("POST", "/api/v2/journey"),
    ("POST", "/api/jobs"),
]


@pytest.mark.parametrize(("method", "target"), WRITES)
@bodies(b'{"data":@,"order_type":@,"order":{"orderItems":@},"name":@}')
def test_what_is_posted_to_an_emulated_tenant(world: World, method: str, target: str, body: bytes) -> None:
    assert 200 <= asked_of(world, method, target, body).status < 600


@pytest.mark.parametrize(
    "target",
    [
        "/api/objects/limio/subscriptions?queryMore=",
        "/api/offers?opt.all=true&opt.queryMoreAlias=x&opt.queryMoreFrom=",
        "/api/partner/customers?queryMore=",
        "/api/baskets/abandoned?queryMore=",
    ],
)
@bodies(b"[@]")
def test_a_cursor_that_an_emulated_tenant_did_not_give_out(world: World, target: str, body: bytes) -> None:
    for cursor in (b64encode(body).decode(), body.decode("latin-1"), "é" + b64encode(body).decode()):
        answer = asked_of(world, "GET", target + quote(cursor))
        assert 200 <= answer.status < 600


@pytest.mark.parametrize("header", ["Basic é", "Basic 1", f"Basic {b64encode(bytes([255])).decode()}", ""])
def test_a_client_whose_header_is_no_text(world: World, header: str) -> None:
    asked = Request(
        operation="createToken",
        method="POST",
        target="/oauth2/token",
        headers={"authorization": header},
        body=b"grant_type=client_credentials",
    )
    assert world.answer(asked).status == 401


@bodies(b'{"id":"odd","path":"/offers/odd","data":{"attributes":{"x":@}}}')
@pytest.mark.parametrize("name", ["offers", "orders", "listOffersV2"])
def test_data_of_ones_own_is_served_or_refused_by_its_line(tmp_path: Path, body: bytes, name: str) -> None:
    (tmp_path / f"{name}.ndjson").write_bytes(b'{"id":"good"}\n' + body.replace(b"\n", b" ") + b"\n")
    world = World(offers=1, subscriptions=1)
    said = ""
    try:
        world.read_data(tmp_path)
    except errors.ConfigurationError as error:
        said = str(error)
    assert not said or f"{name}.ndjson:2: not a JSON object" in said
    for target in ("/api/offers", "/api/offers?tags=/tags/uk", "/api/offers?attributes.x=1"):
        assert asked_of(world, "GET", target).status == 200


# ------------------------------------------------------------------ sync jobs and reports


@bodies(b'{"id":"odd","name":@}')
def test_an_item_of_a_job_is_a_row_or_has_a_reason(body: bytes) -> None:
    summary = summary_of(body)
    assert isinstance(summary.id, str)
    row = Reader(stream("offers"), "full").row(Item(body, summary.id))
    assert isinstance(row, str) or is_readable(body)
    assert halved_pair(b'"\\ud800"' + body)


@bodies(b'{"id":"odd","name":@}')
def test_a_report_counts_what_it_cannot_read(body: bytes) -> None:
    rows: list[dict[str, Any]] = [{"raw": body, "name": None}]
    spots = [spot for spot in stream("offers").spots if spot.name == "name"]
    assert len(list(_filled(rows, spots))) == 1
