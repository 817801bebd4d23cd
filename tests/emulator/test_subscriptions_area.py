from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from limio_async.emulator import World

from .shopper import Shopper, new
from .visitor import Visitor

CONTACT = "0037x00000F58M9AAJ"
TOKEN = {"id_token": {"iss": "https://accounts.example.com", "sub": "123456789012345680000"}}
VISIT = {"Cookie": "lmo_uid=id-visitor", "xLimioHost": "shop.example.com"}


@pytest.fixture
def shopper(world: World) -> Shopper:
    return Shopper(world)


def salesforce(shopper: Shopper, contact: str, **query: str) -> dict[str, Any]:
    path = f"/objects/salesforce/identities/{contact}/subscriptions"
    target = f"{path}?{urlencode(query)}" if query else path
    found: dict[str, Any] = shopper.do("getSubscriptionsBySalesforceId", "GET", target)
    return found


def test_a_salesforce_contact_has_the_subscriptions_that_were_tracked_to_it(shopper: Shopper) -> None:
    made = [shopper.subscribe(tracking={"contactId": CONTACT, "accountId": "001-1"}) for _ in range(2)]
    shopper.subscribe(tracking={"contactId": "003-other"})
    for contact in (CONTACT, "001-1"):
        page = salesforce(shopper, contact)
        assert page["subscriptions"] == made
        assert [one["id"] for one in page["customers"]] == [one["customer"] for one in made]
        assert "queryMore" not in page


def test_a_contact_of_generated_subscriptions_and_an_identity_are_known(
    shopper: Shopper, visitor: Visitor
) -> None:
    [summary] = visitor.objects("subscriptions", limit=1)["items"]
    whole = shopper.get("subscriptions", summary["id"])
    page = salesforce(shopper, whole["data"]["tracking"]["contactId"])
    assert page["subscriptions"][0] == whole
    assert {one["customer"] for one in page["subscriptions"]} == {whole["customer"]}
    assert salesforce(shopper, whole["owner"]) == page
    assert salesforce(shopper, "0037x00000NOBODYAA") == {"subscriptions": [], "customers": []}


def test_an_identity_that_was_related_has_the_subscription(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    path = f"/objects/limio/subscriptions/{subscription['id']}/related/identity"
    shopper.do("addRelatedObject", "POST", path, {"id": CONTACT, "service": "salesforce"})
    assert salesforce(shopper, CONTACT)["subscriptions"] == [subscription]


def test_many_subscriptions_come_in_pages_and_none_is_lost_when_more_are_made(shopper: Shopper) -> None:
    made = [shopper.subscribe(tracking={"contactId": CONTACT})["id"] for _ in range(41)]
    page = salesforce(shopper, CONTACT)
    found = [one["id"] for one in page["subscriptions"]]
    made.append(shopper.subscribe(tracking={"contactId": CONTACT})["id"])
    while "queryMore" in page:
        page = salesforce(shopper, CONTACT, queryMore=page["queryMore"])
        found += [one["id"] for one in page["subscriptions"]]
    assert found == made
    path = f"/objects/salesforce/identities/{CONTACT}/subscriptions?queryMore=x"
    assert shopper.send("getSubscriptionsBySalesforceId", "GET", path).status == 502


def test_what_is_told_to_a_timeline_is_on_it_newest_first(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    told = {
        "forSubscription": {"name": subscription["name"]},
        "name": "Called",
        "type": "call",
        "source": "webhook",
        "fields": [{"label": "Amount", "type": "currency", "value": 9.99, "additionalInfo": "GBP"}],
    }
    answer = shopper.do("createTimelineEvent", "POST", "/timeline/subscription", told)
    assert answer["status"] == "submitted"
    for path in (f"subscriptions/{subscription['id']}", f"customers/{subscription['customer']}"):
        items = shopper.do("getTimeline", "GET", f"/timeline/{path}")["items"]
        assert [one["data"]["type"] for one in items] == ["call", "order.new"]
        assert items[0]["id"] == answer["id"]
        assert items[0]["data"] == {
            "message": "Called",
            "type": "call",
            "source": "webhook",
            "fields": told["fields"],
        }


def test_timelines_refuse_what_is_not_whole_or_not_there(shopper: Shopper) -> None:
    whole: dict[str, Any] = {
        "forSubscription": {"id": shopper.subscribe()["id"]},
        "name": "Called",
        "type": "call",
    }
    cases: list[tuple[dict[str, Any], int]] = [
        ({"name": None}, 400),
        ({"forSubscription": {}}, 400),
        ({"fields": [{"label": "Amount"}]}, 400),
        ({"fields": "all"}, 400),
        ({"forSubscription": {"name": "NOBODY"}}, 404),
        ({"forSubscription": {"id": "sub-1"}}, 404),
    ]
    for wrong, status in cases:
        body = whole | wrong
        answer = shopper.send("createTimelineEvent", "POST", "/timeline/subscription", body)
        assert answer.status == status
    for path in ("subscriptions/sub-1", "orders/order-1", f"customers/{whole['forSubscription']}"):
        assert shopper.send("getTimeline", "GET", f"/timeline/{path}").status == 404


def test_a_subscription_of_zuora_is_made_once_and_then_refreshed(shopper: Shopper, world: World) -> None:
    path = "/plugins/zuora/sync/subscription/A-S00000271"
    first = shopper.do("syncZuoraSubscription", "POST", path)
    made = shopper.get("subscriptions", first["id"])
    assert (first["success"], first["owner"], made["name"]) == (True, made["owner"], "A-S00000271")
    assert shopper.children(made["id"], "schedule")
    world.advance(60)
    assert shopper.do("syncZuoraSubscription", "POST", path) == first
    assert shopper.get("subscriptions", first["id"])["updated"] > made["updated"]
    unknown = "/plugins/zuora/sync/subscription/nothing"
    assert shopper.send("syncZuoraSubscription", "POST", unknown).status == 502


def hear(shopper: Shopper, number: str, type: str, **data: object) -> dict[str, Any]:
    shopper.bearer, kept = "", shopper.bearer  # the operation takes no credential
    body = {"subscriptionID": number, "type": type, "data": data}
    answer: dict[str, Any] = shopper.do("handleZuoraEvent", "POST", "/events/zuora", body)
    shopper.bearer = kept
    return answer


def test_news_from_zuora_change_the_subscription(shopper: Shopper) -> None:
    made = hear(shopper, "A-S00012345", "CreateSubscription")
    before = shopper.get("subscriptions", made["id"])
    other = shopper.subscribe()

    def now() -> dict[str, Any]:
        return shopper.get("subscriptions", made["id"])

    hear(shopper, "A-S00012345", "RenewSubscription", renewalTerm=12, renewalTermPeriodType="Month")
    assert now()["data"]["termStartDate"] == before["data"].get("termEndDate", "2025-01-15")
    hear(shopper, "A-S00012345", "SuspendSubscription")
    assert now()["status"] == "suspended"
    hear(shopper, "A-S00012345", "ResumeSubscription")
    assert now()["status"] == "active"
    hear(shopper, "A-S00012345", "OwnerTransfer", owner=other["owner"])
    assert now()["owner"] == other["owner"]
    [offer] = shopper.children(made["id"], "subscription_offer")
    hear(shopper, "A-S00012345", "RemoveProduct", id=offer["id"])
    assert shopper.children(made["id"], "subscription_offer")[0]["status"] == "cancelled"
    hear(shopper, made["id"], "TermsAndConditions")
    hear(shopper, "A-S00012345", "CancelSubscription")
    assert now()["status"] == "cancelled"
    assert shopper.events(made["id"])[-2:] == ["zuora.CancelSubscription", "subscription_cancelled"]


def test_news_about_nobody_are_taken_without_effect(shopper: Shopper, world: World) -> None:
    before = world.store.snapshot()
    assert hear(shopper, "A-S1", "CancelSubscription")["success"] is False
    assert shopper.do("handleZuoraEvent", "POST", "/events/zuora", [1])["success"] is False
    assert world.store.snapshot() == before


def test_an_external_identity_is_the_visitors_until_it_is_removed(shopper: Shopper) -> None:
    path = "/objects/externalidentity"
    answer = shopper.do("addExternalIdentity", "POST", path, TOKEN, **VISIT)
    assert (answer["record_variant"], answer["owner"]) == ("@limio/external-id", "id-visitor")
    assert answer["id"].isdigit()
    assert shopper.get("identities", answer["id"])["name"] == TOKEN["id_token"]["sub"]
    again = shopper.do("addExternalIdentity", "POST", path, TOKEN, **VISIT)
    assert again["id"] == answer["id"]
    assert shopper.do("removeExternalIdentity", "DELETE", path, TOKEN) == {}
    assert shopper.send("removeExternalIdentity", "DELETE", path, TOKEN).status == 404
    assert shopper.ask_object("identities", answer["id"]).status == 404


@pytest.mark.parametrize("missing", ["Cookie", "xLimioHost"])
def test_a_visitor_needs_cookie_and_host(shopper: Shopper, missing: str) -> None:
    headers = {name: value for name, value in VISIT.items() if name != missing}
    answer = shopper.send("addExternalIdentity", "POST", "/objects/externalidentity", TOKEN, headers)
    assert answer.status == 401


@pytest.mark.parametrize("body", [{}, {"id_token": {"iss": "x"}}, {"id_token": "x"}, []])
def test_identities_need_issuer_and_subject(shopper: Shopper, body: object) -> None:
    path = "/objects/externalidentity"
    owner = shopper.subscribe()["owner"]
    assert shopper.send("addExternalIdentity", "POST", path, body, VISIT).status == 404
    assert shopper.send("removeExternalIdentity", "DELETE", path, body).status == 404
    assert shopper.send("addExternalIdentityAsAdmin", "POST", f"{path}/{owner}", body).status == 502


def test_admins_name_the_owner_of_an_external_identity(shopper: Shopper) -> None:
    owner = shopper.subscribe()["owner"]
    path = "/objects/externalidentity"
    answer = shopper.do("addExternalIdentityAsAdmin", "POST", f"{path}/{owner}", TOKEN)
    assert answer["owner"] == owner
    unknown = shopper.send("addExternalIdentityAsAdmin", "POST", f"{path}/id-1", TOKEN)
    assert unknown.status == 502


def test_everything_of_one_owner_becomes_that_of_another(shopper: Shopper) -> None:
    subscription, other = shopper.subscribe(), shopper.subscribe()
    body = {"sourceId": subscription["owner"], "destinationId": other["owner"], "message": "Moved house"}
    answer = shopper.do("transferOwnership", "POST", "/objects/owner_change", body)
    assert answer["success"] is True
    assert answer["result"]["subscription"] == 1
    assert shopper.get("subscriptions", subscription["id"])["owner"] == other["owner"]
    assert [one["id"] for one in shopper.related(subscription["id"], "identity")] == [other["owner"]]
    assert salesforce(shopper, subscription["owner"])["subscriptions"] == []
    assert len(salesforce(shopper, other["owner"])["subscriptions"]) == 2
    for wrong in ({}, body | {"sourceId": "id-1"}, body | {"destinationId": subscription["id"]}):
        assert shopper.send("transferOwnership", "POST", "/objects/owner_change", wrong).status == 502


def organisation(shopper: Shopper, name: str) -> dict[str, Any]:
    body = {"name": name, "zuoraAccountId": "2c92c0f978", "isZuoraInvoiceOwner": True}
    made: dict[str, Any] = shopper.do("createPartnerOrganisation", "POST", "/partner-organisation", body)
    return made


def test_partner_organisations_are_listed_in_pages(shopper: Shopper) -> None:
    made = [organisation(shopper, f"Reseller {number}") for number in range(23)]
    page = shopper.do("listPartnerOrganisations", "GET", "/partner-organisations")
    assert len(page["items"]) == 20
    target = f"/partner-organisations?{urlencode({'queryMore': page['queryMore']})}"
    last = shopper.do("listPartnerOrganisations", "GET", target)
    assert page["items"] + last["items"] == made
    assert "queryMore" not in last


def test_a_partner_has_users_and_orders(shopper: Shopper) -> None:
    partner = organisation(shopper, "Reseller")
    path = f"/partner-organisation/{partner['id']}"
    user = shopper.do("createPartnerUser", "POST", path, {"email": "user@example.com"})
    assert (user["name"], user["partner_org"]) == ("user@example.com", partner["id"])
    body = new(shopper.offers[0]) | {"forPartner": {"id": partner["id"]}, "process_immediately": True}
    order = shopper.do("submitPartnerOrder", "POST", "/partner/order", body)
    assert shopper.get("orders", order["id"])["data"]["forPartner"] == {"id": partner["id"]}
    preview = shopper.do("previewPartnerOrder", "POST", "/partner/order/preview", body)
    assert preview["schedule"]


def customers(shopper: Shopper, **query: object) -> dict[str, Any]:
    found: dict[str, Any] = shopper.do(
        "searchPartnerCustomers", "GET", f"/partner/customer?{urlencode(query)}"
    )
    return found


@pytest.mark.parametrize(("form", "hits"), [("total", {"value": 91, "relation": "eq"}), ("number", 91)])
def test_customers_are_found_by_what_their_details_hold(
    shopper: Shopper, world: World, form: Any, hits: object
) -> None:
    world.hits_form = form
    shopper.subscribe()
    page = customers(shopper)
    assert (page["hits"], len(page["items"])) == (hits, 40)
    found = list(page["items"])
    while "queryMore" in page:
        page = customers(shopper, queryMore=page["queryMore"])
        found += page["items"]
    assert len({one["id"] for one in found}) == len(found) == 91
    one = customers(shopper, filter="FIRST.LAST17@")
    assert [item["data"]["email"] for item in one["items"]] == ["first.last17@example.com"]
    many = customers(shopper, filter="last1", limit=5)
    seen = list(many["items"])
    while "queryMore" in many:
        many = customers(shopper, filter="last1", limit=5, queryMore=many["queryMore"])
        seen += many["items"]
    assert len(seen) == len({item["id"] for item in seen}) == 11
    assert customers(shopper, filter="nobody")["items"] == []
    for wrong in ("limit=0", "queryMore=x"):
        assert shopper.send("searchPartnerCustomers", "GET", f"/partner/customer?{wrong}").status == 502
