"""What drift proposes can be applied, and is what was found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from limio_async.drift.findings import Finding, Kind
from limio_async.drift.proposal import SPEC, fragment, patch, propose

ROOT = Path(__file__).parents[2]


def finding(model: str, path: str, kind: Kind, found: str, count: int = 3) -> Finding:
    return Finding(model=model, path=path, kind=kind, found=found, count=count, example="a date")


FINDINGS = [
    finding("Offer", "$.loyaltyTier", "field", "string", 1_200),
    finding("Offer", "$.loyaltyTier", "field", "null"),
    finding("Offer", "$.onlyNull", "field", "null"),
    finding("Offer", "$.null", "field", "boolean"),
    finding("OfferData", "$.data.margins", "field", "array"),
    finding("OfferData", "$.data.margins", "field", "object"),
    finding("OfferData", "$.data.price[]", "type", "string"),
    finding("OfferData", "$.data.attributes", "type", "string"),
    finding("OfferData", "$.data.products[]", "type", "array"),
    finding("OfferData", "$.data.segments", "type", "object"),
    finding("Charge", "$.data.price[].vat", "field", "integer"),
    finding("Charge", "$.data.price[].vat", "field", "number"),
    finding("Charge", "$.data.offer.data.price[].vat", "field", "number", 4),
    finding("Charge", "$.data.price[].trigger", "type", "array"),
    finding("Charge", "$.data.price[].delay_interval", "type", "array"),
    finding("Charge", "$.data.price[].repeat_interval", "type", "number"),
    finding("Charge", "$.data.price[].currency", "type", "number"),
    finding("Campaign", "$.status", "type", "integer", 7),
    finding("Offer", "$.status", "type", "integer", 5),
    finding("Subscription", "$.status", "value", "paused", 12),
    finding("Subscription", "$.status", "value", "on-hold", 1),
    finding("Subscription", "$.data", "type", "string"),
    finding("Order", "$.status", "value", "failed"),
    finding("PromoCodeData", "$.data.applicationLevel", "value", "perItem"),
]


@pytest.fixture(scope="module")
def spec() -> str:
    return (ROOT / SPEC).read_text(encoding="utf-8")


def schemas(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["components"]["schemas"]
    return found


def test_what_was_found_is_in_the_proposal_with_its_count(spec: str) -> None:
    proposal = propose(FINDINGS, spec)
    assert proposal.left_out == []
    after = schemas(proposal.text)
    offer = after["Offer"]["allOf"][1]["properties"]
    assert offer["loyaltyTier"] == {"type": "string"}
    assert offer["onlyNull"] == {"description": "Only null was seen."}
    assert offer["null"] == {"type": "boolean"}
    data = after["OfferData"]["properties"]
    assert data["margins"] == {"type": ["array", "object"], "items": {}, "additionalProperties": True}
    assert {"type": "string"} in data["price"]["items"]["anyOf"]
    assert {"type": "array", "items": {}} in data["products"]["items"]["anyOf"]
    assert data["attributes"]["anyOf"] == [{"$ref": "#/components/schemas/Attributes"}, {"type": "string"}]
    assert data["segments"]["type"] == ["array", "object"]
    charge = after["Charge"]["properties"]
    assert charge["vat"] == {"type": "number"}
    assert charge["trigger"]["type"] == ["string", "array"]
    assert charge["trigger"]["items"] == {}
    assert set(charge["delay_interval"]["type"]) == {"string", "integer", "null", "array"}
    assert charge["delay_interval"]["items"] == {}
    assert set(charge["repeat_interval"]["type"]) == {"integer", "string", "null", "number"}
    assert after["CatalogRecord"]["properties"]["status"]["type"] == ["string", "integer"]
    assert after["Subscription"]["description"].endswith("cancelled, expired, on-hold, paused.")
    assert after["Order"]["description"].endswith("pending-payment, failed.")
    assert "perItem" in after["PromoCodeData"]["properties"]["applicationLevel"]["enum"]
    for told in (
        "loyaltyTier:  # seen 1,203 times: null 3, string 1,200; the first was a date",
        "vat:  # seen 10 times: integer 3, number 7; the first was a date",
        "- integer  # seen 12 times",
        "# status seen: on-hold once, paused 12 times",
        "- perItem  # seen 3 times",
    ):
        assert told in proposal.text


def test_nothing_else_of_the_spec_changes(spec: str) -> None:
    before, after = yaml.safe_load(spec), yaml.safe_load(propose(FINDINGS, spec).text)
    touched = {one.model for one in FINDINGS} | {"CatalogRecord"}
    for name in before["components"]["schemas"]:
        if name not in touched:
            assert after["components"]["schemas"][name] == before["components"]["schemas"][name]
    assert after["paths"] == before["paths"]
    removed = [
        line for line in patch(spec, propose(FINDINGS, spec).text).splitlines() if line.startswith("-")
    ]
    assert len(removed) < 12


@pytest.mark.parametrize("tool", [["patch", "-p1", "--fuzz=0"], ["git", "apply"]])
def test_the_patch_applies_and_code_can_be_generated_from_it(
    spec: str, tool: list[str], tmp_path: Path
) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not on this machine")
    for part in ("openapi", "codegen", "docs", "limio_async"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    after = propose(FINDINGS, spec).text
    diff = patch(spec, after)
    subprocess.run([*tool], input=diff, text=True, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / SPEC).read_text(encoding="utf-8") == after
    generated = subprocess.run(
        [sys.executable, "-m", "codegen"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert generated.returncode == 0, generated.stderr
    model = (tmp_path / "limio_async/api/models/catalog.py").read_text(encoding="utf-8")
    assert "loyalty_tier: str | None" in model


def test_what_needs_a_person_is_told_and_left_out(spec: str) -> None:
    proposal = propose(
        [
            finding("Offer", "$.{}", "field", "string", 2),
            finding("Offer", "$.recordType", "field", "string", 1),
            finding("Offer", "$.list", "field", "string"),
            finding("Offer", "$", "type", "string"),
            finding("Gone", "$.some", "field", "string"),
            finding("Subscription", "$.status", "value", "(other values)"),
            finding("Offer", "$.status", "value", "odd"),
        ],
        spec,
    )
    assert proposal.text == spec
    assert proposal.left_out == [
        "Gone has some: string 3 times; the spec has no schema Gone",
        "an item of Offer: string 3 times",
        "Offer has list: string 3 times; a field cannot be called that",
        "Offer has recordType: string once; it has nearly the name of another property",
        "Offer.status: odd 3 times",
        "Offer has fields with names that are not shown: string 2 times",
        "Subscription.status has other values, which are not shown: seen 3 times",
    ]


def test_what_the_spec_has_already_is_not_proposed(spec: str) -> None:
    after = propose(FINDINGS, spec).text
    fields = [one for one in FINDINGS if one.kind == "field"]
    assert propose(fields, after).text == after


def test_a_proposal_that_was_applied_is_not_made_again(spec: str) -> None:
    once = propose(FINDINGS, spec)
    again = propose(FINDINGS, once.text)
    assert again.text == once.text
    assert set(again.left_out) <= set(once.left_out)


def test_a_union_in_one_line_is_left_to_a_person(spec: str) -> None:
    types = "          type:\n          - string\n          - integer\n          - 'null'\n"
    begin = "        delay_interval:\n"
    odd = spec.replace(begin + types, f"{begin}          oneOf: [{{type: string}}, {{type: integer}}]\n", 1)
    assert odd != spec
    proposal = propose([finding("Charge", "$.data.price[].delay_interval", "type", "array")], odd)
    assert proposal.text == odd
    assert proposal.left_out == [
        "Charge.delay_interval: array 3 times; it is written in a way that only a person can widen"
    ]


def test_a_union_of_nothing_is_as_none(spec: str) -> None:
    odd = spec.replace("        delay_interval:\n", "        delay_interval:\n          anyOf:\n", 1)
    drifted = finding("Charge", "$.data.price[].delay_interval", "type", "array")
    added = Counter(propose([drifted], odd).text.splitlines()) - Counter(odd.splitlines())
    assert sorted(added) == ["          - array  # seen 3 times", "          items: {}"]


def test_a_file_that_is_no_spec_is_refused() -> None:
    for text in ("a: [", "a: 1", ""):
        with pytest.raises(ValueError, match="YAML|components"):
            propose(FINDINGS, text)


def test_without_a_spec_a_fragment_is_told(spec: str) -> None:
    told = fragment([*FINDINGS, finding("Offer", "$.{}", "field", "string")])
    fragments = yaml.safe_load(told)
    assert fragments["Offer"]["properties"]["loyaltyTier"] == {"type": "string"}
    assert fragments["Charge"]["properties"]["vat"] == {"type": "number"}
    assert "# - paused  # seen 12 times" in told
    assert "# - type: integer  # seen 7 times" in told


@pytest.mark.parametrize("path", ["$", "$.{}", "$.prices.{}"])
def test_a_finding_without_a_name_of_its_own_is_a_sentence_in_a_fragment(path: str) -> None:
    told = fragment([finding("Offer", path, "field", "string")])
    assert told.startswith("# ")
    assert yaml.safe_load(told) is None


@pytest.mark.parametrize("name", ["bool", "dict", "field", "float", "int", "list", "str"])
def test_a_field_that_would_hide_a_type_is_left_to_a_person(spec: str, name: str) -> None:
    proposal = propose([finding("Offer", f"$.{name}", "field", "string")], spec)
    assert proposal.text == spec
    assert proposal.left_out == [f"Offer has {name}: string 3 times; a field cannot be called that"]
