"""`limio report` and `limio drift`: what a target holds, to look at and as a change of the spec."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from limio_async.cli.app import app
from tests.report import made

from .conftest import Run

SPEC = Path(__file__).parents[2] / "openapi/limio.yaml"
FEW = {"offers": 40, "subscriptions": 30, "journeys_v2": 4}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return made.sqlite(tmp_path / "limio.db", FEW)


def test_a_page_is_written_and_replaced_only_when_told_to(limio: Run, url: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = limio("report", "--from", url, "--html", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "report.html: " in done.stderr
    assert "acme.prod.limio.com" in file.read_text()
    file.write_text("mine")
    again = limio("report", "--from", url, "--html", str(file))
    assert again.exit_code == 2
    assert "--force replaces it" in again.stderr
    assert file.read_text() == "mine"
    assert limio("report", "--from", url, "--html", str(file), "--force").exit_code == 0
    assert file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("command", [["report", "--html", "report.html"], ["drift"]])
def test_what_is_no_target_is_told_in_one_line_and_not_made(
    limio: Run, tmp_path: Path, command: list[str]
) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE mine (id TEXT)")
    other.close()
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one" * 50)
    for where, said in (
        (f"sqlite:///{tmp_path}/gone.db", "there is no"),
        (f"sqlite:///{tmp_path}/other.db", "nothing was synced to it"),
        (f"sqlite:///{tmp_path}/text.db", "not a database"),
        ("sqlight:///limio.db", "sqlight"),
    ):
        done = limio(*command, "--from", where)
        assert done.exit_code in {1, 2}, where
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert not (tmp_path / "gone.db").exists()
    assert not Path("report.html").exists()


def test_a_page_that_cannot_be_written_is_told(limio: Run, url: str) -> None:
    done = limio("report", "--from", url, "--html", "no/such/directory/report.html")
    assert done.exit_code == 1
    assert done.stderr == "limio: --html no/such/directory/report.html: no such file or directory\n"
    first = limio("report", "--from", "sqlite:///gone.db", "--html", "no/such/directory/report.html")
    assert first.stderr == done.stderr  # before anything is read


def test_a_page_behind_a_link_is_replaced_there(limio: Run, url: str, tmp_path: Path) -> None:
    link, file = tmp_path / "link.html", tmp_path / "report.html"
    file.write_text("old")
    link.symlink_to(file)
    assert limio("report", "--from", url, "--html", str(link), "--force").exit_code == 0
    assert link.is_symlink()
    assert file.read_text().startswith("<!doctype html>")


def test_drift_is_proposed_as_a_patch(limio: Run, url: str) -> None:
    done = limio("drift", "--from", url, "--spec", str(SPEC))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("--- a/openapi/limio.yaml\n+++ b/openapi/limio.yaml\n@@")
    assert "+        loyaltyTier:  # seen 4,012 times" in done.stdout
    assert "expired, paused.'" in done.stdout


def test_a_patch_is_utf_8_whatever_the_encoding_of_stdout_is(url: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.read_text().replace("type: object\n", "type: object  # 日本\n"))
    done = CliRunner(charset="latin-1").invoke(app, ["drift", "--from", url, "--spec", str(spec)])
    assert done.exit_code == 0
    assert " type: object  # 日本\n".encode() in done.stdout_bytes


def test_the_spec_of_the_checkout_is_found(limio: Run, url: str) -> None:
    Path("openapi").mkdir()
    Path("openapi/limio.yaml").write_bytes(SPEC.read_bytes())
    assert limio("drift", "--from", url).stdout == limio("drift", "--from", url, "--spec", str(SPEC)).stdout


def test_drift_without_a_spec_is_a_fragment(limio: Run, url: str) -> None:
    done = limio("drift", "--from", url, "--model", "OfferData")
    assert done.exit_code == 0
    assert "a fragment instead of a patch" in done.stderr
    assert done.stdout == (
        "OfferData:\n"
        "  properties:\n"
        "    loyaltyTier:  # seen 4,012 times: string 4,012; the first was a string of 6 characters\n"
        "      type: string\n"
    )


def test_no_drift_is_said_and_is_no_failure(limio: Run, url: str) -> None:
    done = limio("drift", "--from", url, "--model", "Product")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no drift of Product" in done.stderr


def test_a_model_that_is_none_is_refused_with_a_hint(limio: Run, url: str) -> None:
    done = limio("drift", "--from", url, "--model", "OferData")
    assert done.exit_code == 2
    assert "there is no such class; did you mean OfferData" in done.stderr


def test_a_file_that_is_no_spec_is_refused(limio: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    done = limio("drift", "--from", url, "--spec", str(tmp_path / "other.yaml"))
    assert done.exit_code == 2
    assert "has no components/schemas" in done.stderr


@pytest.mark.parametrize(
    ("command", "home", "library"),
    [
        (("report", "--html", "limio.html"), "report.page", "jinja2"),
        (("report", "--html", "limio.html"), "report.charts", "vl_convert"),
        (("drift",), "drift.proposal", "yaml"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    command: tuple[str, ...], home: str, library: str, limio: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("report.page", home):
        monkeypatch.delitem(sys.modules, f"limio_async.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    result = limio(command[0], "--from", url, *command[1:])
    assert (result.exit_code, result.stderr) == (
        2,
        f"limio: limio {command[0]} needs {library}: pip install 'limio_async[report]'\n",
    )
