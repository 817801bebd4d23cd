"""The contenders that our speed is compared with do the same work."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import acceptable

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
