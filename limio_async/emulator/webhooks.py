"""The webhooks of a world: what is sent, to whom and when. It sends nothing itself: somebody takes what is due and says what came of it.

By default the worst that no document rules out: each once, never again, and an answer has 2 seconds.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
from msgspec.structs import replace

from limio_async.emulator.agenda import Agenda
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.settings import Settings

__all__ = ["MOST_SENT", "TIME_LIMIT", "Sending", "Sent", "WebhookManner", "Webhooks"]

TIME_LIMIT = 2.0
"""Seconds that a receiver has to answer."""
MOST_SENT = 10_000
"""Of what was sent, so many are remembered."""
_YEAR = 366 * 86_400
_NO_URL = "webhooks need a URL such as http://127.0.0.1:9000/hooks/{type}"
_JSON = {"content-type": "application/json"}


class WebhookManner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How webhooks are sent; what is not given is as it is by default."""

    retries: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    """How often one is sent again that was not answered with 2xx."""
    wait: Annotated[float, msgspec.Meta(ge=0, le=_YEAR)] = 30.0
    """Seconds until it is sent again."""
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    """How often each is sent besides, whatever was answered."""
    late: Annotated[float, msgspec.Meta(ge=0, le=_YEAR)] = 0.0
    """Seconds after its change that one is sent."""
    uneven: bool = False
    """Whether each is late by a time of its own, from 0 to *late*: they overtake each other."""
    mixed: bool = False
    """Whether those that are due at one moment are sent in no order."""
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """The share that is never sent."""


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A POST to be made."""

    number: int
    type: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    receiver: str
    attempt: int = 1

    def __repr__(self) -> str:  # the headers have the password
        return f"<Sending {self.number} {self.type} attempt {self.attempt}>"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was sent, or lost."""

    number: int
    type: str
    url: str
    body: bytes
    at: float
    """On the world's clock."""
    attempt: int
    status: int | None
    """What the receiver answered; None where it did not."""
    said: str
    """What came of it, in words."""

    @property
    def taken(self) -> bool:
        """Whether it was answered with 2xx."""
        return self.status is not None and 200 <= self.status < 300


class _Receiver(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    types: frozenset[str]
    headers: Mapping[str, str]


class Webhooks:
    """What a world tells of its changes. What a method says counts at once."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        self._settings = settings
        self._agenda = agenda
        self.manner = WebhookManner()
        self._receivers: dict[str, _Receiver] = {}
        self._due: deque[Sending] = deque()
        self._sent: deque[Sent] = deque(maxlen=MOST_SENT)
        self._number = 0
        self._notes = 0
        agenda.on("webhooks.send", self._send)

    def to(
        self, url: str, *, types: Iterable[str] | None = None, auth: tuple[str, str] | None = None
    ) -> None:
        """Send the webhooks of *types*, by default all, to *url*, in which `{type}` stands for the type.

        *auth* is a name and a password, which may stand in *url* as well. Raises `ValueError` for what is no such
        URL, and for a type that is not documented.
        """
        wanted = _types(types)
        try:
            parts = urlsplit(url)
            named, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_NO_URL) from None
        if parts.scheme not in {"http", "https"} or not named:
            raise ValueError(_NO_URL)
        if len(wanted) > 1 and "{type}" not in parts.path + parts.query:
            raise ValueError("a body does not tell its type: the URL needs {type}, or there is one type only")
        if auth is None and parts.username is not None:
            auth = unquote(parts.username), unquote(parts.password or "")
        host = f"[{named}]" if ":" in named else named
        bare = parts._replace(netloc=f"{host}:{port}" if port is not None else host, fragment="").geturl()
        self._receivers[bare] = _Receiver(url=bare, types=wanted, headers=_JSON | _basic(auth))

    def retry(self, times: int = 3, *, wait: float = 30.0) -> None:
        """Send what is not answered with 2xx up to *times* again, *wait* seconds later."""
        self._be(retries=times, wait=wait)

    def duplicate(self, times: int = 1) -> None:
        """Send each *times* more often, whatever was answered."""
        self._be(duplicates=times)

    def late(self, seconds: float, *, uneven: bool = False) -> None:
        """Send each *seconds* after its change; with *uneven* after a time of its own, up to that."""
        self._be(late=seconds, uneven=uneven)

    def mixed(self) -> None:
        """Send what is due at one moment in no order."""
        self._be(mixed=True)

    def lose(self, share: float) -> None:
        """Never send this *share* of them, from 0 to 1; the same ones on every run."""
        self._be(loss=share)

    def clear(self) -> None:
        """Send as by default again, to the same receivers."""
        self.manner = WebhookManner()

    @property
    def receivers(self) -> Mapping[str, frozenset[str]]:
        """The types that each URL is sent; without credentials."""
        return {url: one.types for url, one in self._receivers.items()}

    def ring(self, type: str, body: Mapping[str, Any]) -> None:
        """Let those know of a change whom it concerns; *body* is told as it is now."""
        text = msgspec.json.encode(body).decode() if self._receivers else ""
        for url, receiver in self._receivers.items():
            if type not in receiver.types:
                continue
            self._number += 1
            if self._chance("lost") < self.manner.loss:
                self._note(self._sending(self._number, type, text, url, 1), None, "lost on the way")
                continue
            for copy in range(1 + self.manner.duplicates):
                waiting = self.manner.late * (self._chance("late", copy) if self.manner.uneven else 1)
                self._later(waiting, self._number, type, text, url, 1)

    def take(self) -> list[Sending]:
        """Return what is to be sent now, and leave nothing."""
        found = list(self._due)
        self._due.clear()
        if self.manner.mixed:
            found.sort(key=lambda one: fingerprint(self._settings.seed, "mixed", one.number, one.attempt))
        return found

    def answered(self, sending: Sending, status: int | None, said: str = "") -> Sent:
        """Note what came of a POST, have it made again where that is so arranged, and return the note."""
        sent = self._note(sending, status, said or f"answered {status}")
        if not sent.taken and sending.attempt <= self.manner.retries:
            text, again = sending.body.decode(), sending.attempt + 1
            self._later(self.manner.wait, sending.number, sending.type, text, sending.receiver, again)
        return sent

    def sent(self, type: str | None = None) -> list[Sent]:
        """Return the last 10,000 that were sent or lost, oldest first; of one *type* if it is named."""
        return [one for one in self._sent if type is None or one.type == type]

    def latest(self, most: int) -> list[Sent]:
        """Return the last *most* of them, newest first."""
        return [one for one, _ in zip(reversed(self._sent), range(most), strict=False)]

    def count(self) -> int:
        """Return how many there ever were, each counted once however often it was sent."""
        return self._number

    @property
    def attempts(self) -> int:
        """How many were ever sent or lost, each time counted."""
        return self._notes

    def _later(self, seconds: float, number: int, type: str, body: str, url: str, attempt: int) -> None:
        facts: dict[str, Any] = {
            "number": number,
            "type": type,
            "body": body,
            "receiver": url,
            "attempt": attempt,
        }
        if seconds > 0:
            self._agenda.later(seconds, "webhooks.send", **facts)
        else:
            self._send(**facts)

    def _send(self, number: int, type: str, body: str, receiver: str, attempt: int) -> None:
        if receiver in self._receivers:  # not after a snapshot of a world with others
            self._due.append(self._sending(number, type, body, receiver, attempt))

    def _sending(self, number: int, type: str, body: str, receiver: str, attempt: int) -> Sending:
        return Sending(
            number=number,
            type=type,
            url=receiver.replace("{type}", quote(type)),
            headers=self._receivers[receiver].headers,
            body=body.encode(),
            receiver=receiver,
            attempt=attempt,
        )

    def _note(self, sending: Sending, status: int | None, said: str) -> Sent:
        sent = Sent(
            number=sending.number,
            type=sending.type,
            url=sending.url,
            body=sending.body,
            at=self._settings.now(),
            attempt=sending.attempt,
            status=status,
            said=said,
        )
        self._notes += 1
        self._sent.append(sent)
        return sent

    def _chance(self, *what: object) -> float:
        return int(fingerprint(self._settings.seed, self._number, *what, length=8), 16) / 0x1_0000_0000

    def _be(self, **manner: Any) -> None:
        wanted = msgspec.to_builtins(replace(self.manner, **manner))
        try:
            self.manner = msgspec.convert(wanted, WebhookManner)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None


def _types(given: Iterable[str] | None) -> frozenset[str]:
    from limio_async.api.webhooks import WEBHOOKS  # only a world that sends some needs their names

    wanted = frozenset(WEBHOOKS if given is None else [given] if isinstance(given, str) else given)
    if unknown := sorted(wanted - WEBHOOKS.keys()):
        raise ValueError(
            f"no webhook is called {', '.join(unknown)}; there are {', '.join(sorted(WEBHOOKS))}"
        )
    if not wanted:
        raise ValueError("no type is named")
    return wanted


def _basic(auth: tuple[str, str] | None) -> dict[str, str]:
    if auth is None:
        return {}
    name, password = auth
    if ":" in name:
        raise ValueError("a name for Basic authentication has no colon")
    return {"authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}
