"""The contenders that our speed is compared with do the same work."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import environments
from benchmarks.peers.environments import NotInHistory, acceptable, root_of_before

ROOT = Path(__file__).parents[2]
OURS = ROOT / "limio_async/api/models"


def fields(source: Path) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Of each class in *source*: its fields, what they hold, and their names on the wire where those differ."""
    return {
        one.name: {
            ast.unparse(line.target): (ast.unparse(line.annotation), wire_name(line.value))
            for line in one.body
            if isinstance(line, ast.AnnAssign)
        }
        for one in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(one, ast.ClassDef)
    }


def wire_name(default: ast.expr | None) -> str | None:
    if not isinstance(default, ast.Call):
        return None
    return next(
        str(ast.literal_eval(given.value)) for given in default.keywords if given.arg in ("alias", "name")
    )


def git(root: Path, *command: str) -> str:
    told = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com", *command]
    done = subprocess.run(told, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose first commit is what speed is held to, and whose second is what stands there."""
    for text in ("before", "now"):
        for folder in ("limio_async", "benchmarks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "one.py").write_text(text)
        if text == "before":
            git(tmp_path, "init", "--quiet")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "-m", text)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "BEFORE", git(tmp_path, "rev-parse", "HEAD~"))
    return tmp_path


def test_before_is_made_from_the_history_of_the_clone(clone: Path) -> None:
    root = root_of_before()
    assert root == clone / ".cache/peers/before"
    assert (root / "limio_async/one.py").read_text() == "before"
    (root / "limio_async/one.py").write_text("kept")
    assert (root_of_before() / "limio_async/one.py").read_text() == "kept"


@pytest.mark.parametrize("history", ["shallow", "none"])
def test_a_clone_that_does_not_reach_so_far_back_says_so(
    clone: Path, monkeypatch: pytest.MonkeyPatch, history: str
) -> None:
    if history == "none":  # what was unpacked from an archive
        shutil.rmtree(clone / ".git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(clone.parent))
    else:
        monkeypatch.setattr(environments, "BEFORE", "0" * 40)
    with pytest.raises(NotInHistory, match=r"^commit \w{7} is not in the history of this clone$"):
        root_of_before()


def test_pydantic_contenders_type_every_field_as_we_do() -> None:
    theirs = fields(ROOT / "benchmarks/peers/pydantic_models.py")
    del theirs["Models"]
    ours: dict[str, Any] = {}
    for module in ("catalog", "objects", "subscriptions"):
        ours |= fields(OURS / f"{module}.py")
    assert {"Offer", "OfferData", "Charge", "Subscription", "SubscriptionData"} < theirs.keys()
    assert theirs == {name: ours[name] for name in theirs}


def test_defaults_of_required_parameters_only_are_kept_from_the_generator() -> None:
    required = {"in": "path", "required": True, "schema": {"type": "string", "default": "limio"}}
    optional = {"in": "query", "schema": {"type": "integer", "default": 50}}
    body = {"required": ["service"], "properties": {"service": {"type": "string", "default": "limio"}}}
    spec = {"parameters": [required, optional], "schemas": {"Body": body}}
    assert acceptable(spec) == {
        "parameters": [{**required, "schema": {"type": "string"}}, optional],
        "schemas": {"Body": body},
    }
