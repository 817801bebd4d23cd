"""Whose requests are let in: of this machine, under a name of its own, and of no other site's page."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from limio_async.emulator.messages import Refused

__all__ = ["is_loopback", "names_this_machine", "only_from_here"]


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address, is this machine and never another."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(headers: Mapping[str, str]) -> bool:
    """Whether the `Host` of a request is this machine's, not a name that only leads here (DNS rebinding)."""
    try:
        return is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname or "")
    except ValueError:  # such as an unclosed bracket
        return False


def only_from_here(headers: Mapping[str, str]) -> None:
    """Refuse names that only pretend to be this machine, and pages of other sites."""
    if not names_this_machine(headers):
        raise Refused(403, "This is for this machine only: its Host is localhost, 127.0.0.1 or [::1]")
    own = f"http://{headers.get('host', '')}"
    if headers.get("origin", own) != own or headers.get("sec-fetch-site", "none") not in {
        "none",
        "same-origin",
    }:
        raise Refused(403, "This is not for pages of other sites")
