"""The items of the catalog. None is stored: each is made from the seed, its kind and its position."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec

from limio_async.emulator.data.indexed import facts_of
from limio_async.emulator.data.templates import (
    ADD_ON,
    ASSET,
    CAMPAIGN,
    OFFER_FOLDERS,
    OFFERS,
    PAGE,
    PRODUCT,
    SEGMENT,
    live,
)
from limio_async.emulator.ids import fingerprint, hex_id, number_in
from limio_async.emulator.settings import Settings

__all__ = ["Shelf", "shelves"]

_DAYS = [(date(2023, 1, 1) + timedelta(days=day)).isoformat() for day in range(730)]
_MARKETS = (("GB", "GBP", "uk"), ("US", "USD", "us"), ("DE", "EUR", "de"), ("AX", "EUR", "ax"))
_TAGS = [
    ",".join(f'"/tags/{place}/{tag}"' for tag in tags)
    for tags in (("default",), ("default", "spring"), ("students",), ("default", "checkout"), ())
    for _, _, place in _MARKETS
]


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


_TIMES = _Anything(
    created="2001-01-01T00:00:00Z", version_date="2002-01-01T00:00:00Z", modified="2003-01-01T00:00:00Z"
)


class _Form:
    """A compiled template, of JSON."""

    def __init__(self, template: str) -> None:
        self.text = _compiled(template)
        changed = facts_of(msgspec.json.decode(self.text % _TIMES))["changed_at"]
        self.changed = {"2002": "version_date", "2003": "modified"}.get(changed[:4], "")
        """The mark of the time that its items say they changed at; empty where they say none."""


@lru_cache(maxsize=1024)  # without it, compiling is most of what a world takes
def _made(template: str) -> _Form:
    return _Form(template)


class Shelf:
    """All items of one kind. An item's position, id and path lead to each other without a search.

    In *names* a `#` stands for a price; the position follows each name. Names, folders and templates take
    turns. Where an item names a product, it is one of *products*: folders and names.
    """

    def __init__(
        self,
        kind: str,
        *,
        seed: int,
        size: int,
        folders: Sequence[str],
        names: Sequence[str],
        templates: Sequence[Mapping[str, Any]],
        products: Sequence[tuple[str, str]] = (("/products", "Digital"),),
        envelope: Literal["live", "documented"],
    ) -> None:
        self._salt = f"{seed}/{kind}"
        self._size = size
        self._folders = folders
        self._names = names
        shapes = [live(kind, one) if envelope == "live" else [one] for one in templates]
        self._forms = [[_made(msgspec.json.encode(shape).decode()) for shape in turns] for turns in shapes]
        self._products = products

    def __len__(self) -> int:
        return self._size

    def grow(self, count: int) -> None:
        """Let *count* more items follow, or fewer if it is negative."""
        self._size += count

    def item(self, number: int) -> bytes:
        """The item at *number* as JSON."""
        return (self._form(number).text % self.facts(number)).encode()

    def facts(self, number: int) -> Mapping[str, str]:
        """What the marks of a template stand for in the item at *number*, ready to stand in JSON.

        With what searches look at: `changed_at` and `modified_at`, as `facts_of` says.
        """
        digest = fingerprint(f"{self._salt}/{number}")
        whole, cents = _price(number)
        country, currency, _ = _MARKETS[number % 4]
        folder, name = self.place(number)
        product_folder, product = self._products[number % len(self._products)]
        minutes = f"{number % 60:02d}:{number * 127 % 60:02d}"
        day = _DAYS[365 + number * 11 % 365]
        modified, version_date = f"{day}T10:{minutes}", f"{day}T15:{minutes}.072"
        form = self._form(number)
        indexed = {"modified": f"{modified}.000000+00:00", "version_date": f"{version_date}000+00:00"}
        return {
            "id": hex_id(digest, number, length=40),
            "version": digest[40:80],
            "hash": digest[80:112],
            "name": name,
            "folder": folder,
            "path": f"{folder}/{name}",
            "country": country,
            "currency": currency,
            "tags": _TAGS[number % 20],
            "amount": f"{whole}.{cents:02d}",
            "whole": str(whole),
            "later": f"{whole // 2 + 1}.{cents:02d}",
            "product": product,
            "product_path": f"{product_folder}/{product}",
            "created": f"{_DAYS[number % 365]}T{number % 24:02d}:{minutes}+00:00",
            "modified": f"{modified}+00:00",
            "version_date": f"{version_date}Z",
            "changed_at": indexed.get(form.changed, ""),
            "modified_at": indexed["modified"] if form.changed == "modified" else "",
            "status": "draft" if number % 9 == 8 else "active",
        }

    def _form(self, number: int) -> _Form:
        forms = self._forms[number % len(self._forms)]
        return forms[number % len(forms)]

    def place(self, number: int) -> tuple[str, str]:
        """Folder and name of the item at *number*: together, its path."""
        name = self._names[number % len(self._names)].replace("#", str(_price(number)[0]))
        return self._folders[number % len(self._folders)], f"{name} {number:06d}"

    def with_id(self, wanted: str) -> Sequence[int]:
        """The position of the item with this id, if there is one."""
        first = wanted.partition(".")[0]
        number = number_in(first)
        if number is None or not 0 <= number < self._size:
            return ()
        return (number,) if hex_id(fingerprint(f"{self._salt}/{number}"), number, length=40) == first else ()

    def with_path(self, wanted: str) -> Sequence[int]:
        """The position of the item with this path, if there is one."""
        last = wanted.rpartition(" ")[2]
        if not re.fullmatch(r"[0-9]{6,9}", last) or int(last) >= self._size:
            return ()
        return (int(last),) if "/".join(self.place(int(last))) == wanted else ()


def shelves(settings: Settings) -> Mapping[str, Shelf]:
    """The whole catalog of a world."""
    seed = settings.seed
    products = Shelf(
        "product",
        seed=seed,
        size=settings.products,
        folders=["/products"],
        names=["Digital", "Print & Digital", "Weekend", "Entertainment Pass", "Archive"],
        templates=[PRODUCT],
        envelope=settings.envelope,
    )
    sold = [products.place(number) for number in range(min(len(products), 40) or 1)]

    def shelf(
        kind: str, size: int, folder: str, names: Sequence[str], template: Mapping[str, object]
    ) -> Shelf:
        return Shelf(
            kind,
            seed=seed,
            size=size,
            folders=[folder],
            names=names,
            templates=[template],
            products=sold,
            envelope=settings.envelope,
        )

    return {
        "products": products,
        "offers": Shelf(
            "offer",
            seed=seed,
            size=settings.offers,
            folders=OFFER_FOLDERS,
            names=[
                "Digital Monthly",
                "$# for 52 weeks then $31.96 every 4 weeks autorenew",
                "Regular Subscription",
                "50% off Print & Digital (#/quarter)",
                "Été à #",
                "Student offer",
                "100%_Digital+Archive",
            ],
            templates=OFFERS,
            products=sold,
            envelope=settings.envelope,
        ),
        "campaigns": shelf(
            "campaign", settings.campaigns, "/offers", ["Winter Campaign", "50% Spring Campaign"], CAMPAIGN
        ),
        "add_ons": shelf("add_on", settings.add_ons, "/add_ons", ["Crossword", "Extra seat at $#"], ADD_ON),
        "segments": shelf("segment", settings.segments, "/segments/Interest", ["Finance", "Sport"], SEGMENT),
        "assets": shelf("asset", settings.assets, "/assets/image", ["MyImage", "Banner 100%"], ASSET),
        "pages": shelf("page", settings.pages, "/pages2", ["Landing", "Checkout"], PAGE),
        "discounts": shelf("discount", 0, "/discounts", ["Discount"], ADD_ON),
    }


def _price(number: int) -> tuple[int, int]:
    """Whole and hundredths."""
    return divmod(199 + number * 7_919 % 19_800, 100)


def _compiled(template: str) -> str:
    """*template* where `<<name>>` became a place of a %-format; `["<<tags>>"]` loses its quotes."""
    text = template.replace("%", "%%").replace('"<<tags>>"', "<<tags>>")
    return re.sub(r"<<(\w+)>>", r"%(\1)s", text)
