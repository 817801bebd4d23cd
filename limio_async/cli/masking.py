"""Masking what must not leave a tenant: names, e-mails, phones, addresses, tokens. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["masked"]

_SECRET = re.compile(
    r"(token|secret|password|passwd|apikey|authorization|cookie|signature|credentials?|verifier|session|sessionid|jwt)$"
)
_PAYMENT = re.compile(r"(cardnumber|masknumber|accountnumber|iban|sortcode|bic|routingnumber|ipaddress|^ip)$")
_NAME = re.compile(
    r"^(first|last|full|middle|sur|given|family|maiden|nick|user|preferred)name$"
    r"|(holder|contact|recipient|customer|gifter|giftee|company)(first|last|full)?name$|^(initials|salutation|surname|company)$"
)
_EMAIL = re.compile(r"email(address)?$")
_PHONE = re.compile(r"(phone|mobile|telephone|fax)(number)?$")
_ADDRESS = re.compile(
    r"^(address(line)?\d?|street(name|number)?\d?|city|town|county|postalcode|postcode|zip(code)?"
    r"|(building|house|flat|apartment)(number|name)?|latitude|longitude)$"
)
_BIRTH = re.compile(r"(dateofbirth|birthdate|birthday|dob)$")
_STANDS_FOR: tuple[tuple[re.Pattern[str], str], ...] = (
    (_SECRET, "***"),
    (_PAYMENT, "***"),
    (_NAME, "Masked"),
    (_EMAIL, "masked@example.com"),
    (_PHONE, "+44 20 7946 0000"),  # reserved for fiction
    (_ADDRESS, "Masked"),
    (_BIRTH, "1970-01-01"),
)
_OF_A_PERSON = {"email", "firstname", "lastname", "fullname", "phone"}
_OF_AN_ADDRESS = {"city", "postalcode", "postcode", "address1", "street"}
_MAIL = re.compile(r"[^\s@<>\"'/:;,()]+@[^\s@<>\"'/:;,()]+\.[^\s@<>\"'/:;,()]+")
_CALL = re.compile(r"(?<![\w+])\+\d[\d ().-]{6,}\d")
_JWT = re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_SHOWN = re.compile(r"\b(Bearer|Basic) [\w.~+/=-]{8,}")


def masked(value: Any) -> Any:
    """*value*, plain data, of the same shape, in which nothing tells who somebody is or lets anybody in."""
    match value:
        case str():
            return _text(value)
        case list():
            return [masked(one) for one in cast("list[object]", value)]
        case dict():
            return _object(cast("dict[str, Any]", value))
        case _:
            return value


def _object(value: Mapping[str, Any]) -> dict[str, Any]:
    plain = {_plain(name) for name in value}
    hidden = {"name"} if plain & _OF_A_PERSON else set[str]()
    if plain & _OF_AN_ADDRESS:
        hidden |= {"name", "state"}
    return {
        _text(name): _hidden(one, "Masked") if _plain(name) in hidden else _field(_plain(name), one)
        for name, one in value.items()
    }


def _field(name: str, value: Any) -> Any:
    for pattern, stand_in in _STANDS_FOR:
        if pattern.search(name):
            return _hidden(value, stand_in)
    return masked(value)


def _hidden(value: Any, stand_in: str) -> Any:
    match value:
        case bool() | None | "":
            return value
        case int() | float():
            return 0
        case str():
            return stand_in
        case list():
            return [_hidden(one, stand_in) for one in cast("list[object]", value)]
        case _:
            return masked(value)


def _plain(name: str) -> str:
    """*name* without what spellings differ in: `first_name__limio` and `firstName` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix("__limio"))


def _text(text: str) -> str:
    text = _JWT.sub("***", _SHOWN.sub(r"\1 ***", text))
    return _CALL.sub("+44 20 7946 0000", _MAIL.sub("masked@example.com", text))
