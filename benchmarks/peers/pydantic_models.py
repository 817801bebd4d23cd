"""Our models of offers and subscriptions, field by field, upon whichever base class a contender's library wants."""

from typing import Any, NamedTuple

from pydantic import Field

Attributes = dict[str, Any] | list[Any] | None


class Models(NamedTuple):
    offer: type[Any]
    subscription: type[Any]


def models_upon(base: type[Any]) -> Models:
    """What a field does not name is kept or dropped as *base* is configured."""

    class CatalogRecord(base):
        id: str | None = None
        name: str | None = None
        path: str | None = None
        parent_path: str | None = None
        type: str | None = None
        record_type: str | None = None
        record_subtype: str | None = None
        status: str | None = None
        version: str | None = None
        version_date: str | None = None
        created: str | None = None
        modified: str | None = None
        updated: str | None = None
        service: str | None = None
        mode: str | None = None
        base_template: str | None = Field(default=None, alias="baseTemplate")
        duplicated_from: str | None = Field(default=None, alias="duplicatedFrom")
        price_reference: str | None = Field(default=None, alias="priceReference")
        user: str | None = None
        item_id: str | None = None
        segment_id: str | None = None
        path_parts: list[str | None] | None = None
        attributes: Attributes | None = None

    class Attachment(base):
        name: str | None = None
        path: str | None = None
        type: str | None = None
        url: str | None = None

    class CurrencyRef(base):
        symbol: str | None = None
        id: str | None = None
        label: str | None = None

    class PriceTier(base):
        price_format: str | None = None
        starting_unit: int | float | str | None = None
        ending_unit: int | float | str | None = None
        price: str | int | float | None = None

    class Charge(base):
        name: str | None = None
        label: str | None = None
        type: str | None = None
        value: str | int | float | None = None
        currency_code: str | None = Field(default=None, alias="currencyCode")
        currency: CurrencyRef | str | None = None
        use_external_price: bool | None = None
        trigger: str | None = None
        repeat_interval: int | str | None = None
        repeat_interval_type: str | None = None
        repeat_count: int | str | None = None
        delay_trigger: str | None = None
        delay_interval: str | int | None = None
        delay_interval_type: str | None = None
        subscription_start_day: str | int | None = None
        tiers: list[PriceTier | None] | None = None
        attributes: Attributes | None = None

    class EntitlementRef(base):
        ref: str | None = Field(default=None, alias="$ref")

    class ProductBundle(base):
        product_path: str | None = None
        revenue_split: str | int | float | None = None
        rate_plan: str | None = None

    class ProductData(base):
        id: str | None = None
        name: str | None = None
        path: str | None = None
        record_type: str | None = None
        record_subtype: str | None = None
        base_template: str | None = Field(default=None, alias="baseTemplate")
        entitlements: list[EntitlementRef | None] | None = None
        attributes: Attributes | None = None
        created: str | None = None
        modified: str | None = None
        last_synced: str | None = Field(default=None, alias="lastSynced")
        synced: bool | None = None
        synced_from: str | None = Field(default=None, alias="syncedFrom")
        family_name: str | None = Field(default=None, alias="familyName")
        user: str | None = None
        team: str | None = None
        price: Any = None
        price__limio: Any = None
        price_reference: str | None = Field(default=None, alias="priceReference")
        duplicated_from: str | None = Field(default=None, alias="duplicatedFrom")
        type: str | None = None

    class OfferData(base):
        attributes: Attributes | None = None
        price: list[Charge | None] | None = None
        price__limio: list[Charge | None] | None = None
        product_bundles: list[ProductBundle | None] | None = Field(default=None, alias="productBundles")
        products: list[ProductData | str | None] | None = None
        segments: list[str | None] | None = None
        tags: list[str | None] | None = None
        attachments: list[Attachment | None] | None = None
        record_type: str | None = None
        record_subtype: str | None = None
        base_template: str | None = Field(default=None, alias="baseTemplate")
        name: str | None = None
        path: str | None = None
        id: str | None = None
        version: str | None = None
        version_date: str | None = None
        status: str | None = None
        description: str | None = None
        valid_from: str | None = Field(default=None, alias="validFrom")
        valid_to: str | None = Field(default=None, alias="validTo")
        created: str | None = None
        modified: str | None = None
        duplicated_from: str | None = Field(default=None, alias="duplicatedFrom")
        price_reference: str | None = Field(default=None, alias="priceReference")
        user: str | None = None
        type: str | None = None
        synced: bool | None = None
        synced_from: str | None = Field(default=None, alias="syncedFrom")
        last_synced: str | None = Field(default=None, alias="lastSynced")
        cross_sell_offers__limio: list[dict[str, Any] | str | None] | None = None
        upsell_offers__limio: list[dict[str, Any] | str | None] | None = None
        team: Any = None
        associations: Any = None
        child_sorting: Any = Field(default=None, alias="childSorting")
        family_name: str | None = Field(default=None, alias="familyName")
        headline: str | None = None
        subline: str | None = None
        parent_path: str | None = None
        mobile_style: Any = Field(default=None, alias="mobileStyle")
        tablet_style: Any = Field(default=None, alias="tabletStyle")

    class Offer(CatalogRecord):
        data: OfferData | None = None

    class Authority(base):
        aut: dict[str, Any] | None = None
        permissions: list[str | None] | None = None

    class ObjectRecord(base):
        id: str | None = None
        name: str | None = None
        reference: str | None = None
        record_type: str | None = None
        record_subtype: str | None = None
        record_variant: str | None = None
        service: str | None = None
        status: str | None = None
        mode: str | None = None
        owner: str | None = None
        customer: str | None = None
        ref: str | None = None
        related: str | None = None
        relationship_id: str | None = None
        relationship_type: str | None = None
        type: str | None = None
        start: str | None = None
        created: str | None = None
        updated: str | None = None
        modified: str | None = None
        process_hash: str | None = None
        process_key: str | None = None
        sort_key: str | None = None
        hash: str | None = None
        version: str | None = None
        authority: Authority | None = None

    class SubscriptionPriceSummary(base):
        headline: str | None = None
        subline: str | None = None

    class SubscriptionPrice(base):
        amount: int | float | str | None = None
        currency: str | None = None
        summary: SubscriptionPriceSummary | None = None

    class SubscriptionAttributes(base):
        gift: bool | None = None
        external: bool | None = None
        auto_renew: bool | None = Field(default=None, alias="autoRenew")

    class TrackingData(base):
        offers: list[str | None] | None = None
        purchase_country_code: str | None = Field(default=None, alias="purchaseCountryCode")
        account_id: str | None = Field(default=None, alias="accountId")
        contact_id: str | None = Field(default=None, alias="contactId")
        user_id: str | None = Field(default=None, alias="userId")
        campaign: str | None = None
        tag: str | None = None
        lmo_offer: str | None = None
        referrer: str | None = None

    class SubscriptionData(base):
        id: str | None = None
        name: str | None = None
        offer: Offer | None = None
        quantity: int | float | str | None = None
        price: SubscriptionPrice | None = None
        start_date: str | None = Field(default=None, alias="startDate")
        term_start_date: str | None = Field(default=None, alias="termStartDate")
        term_end_date: str | None = Field(default=None, alias="termEndDate")
        attributes: SubscriptionAttributes | None = None
        purchase_country: str | None = Field(default=None, alias="purchaseCountry")
        details: str | None = None
        tracking: TrackingData | None = None
        add_ons: list[Any] | None = Field(default=None, alias="addOns")
        products: list[ProductData | str | None] | None = None

    class Subscription(ObjectRecord):
        id: str
        data: SubscriptionData | None = None

    return Models(Offer, Subscription)
