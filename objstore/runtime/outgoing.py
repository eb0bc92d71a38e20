"""Messages to foreign servers: webhooks over HTTP or HTTPS, NATS, and RabbitMQ (AMQP 0-9-1).

A sender belongs to one target; whatever goes wrong in it is an OSError, and the caller tries again.  Addresses, tokens and
certificates come from the operator's configuration; see runtime/dial.py for the rules of such connections.
"""

import asyncio
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from objstore.runtime.dial import place_of
from objstore.runtime.http_client import Http, basic_authorization, split_target
from objstore.runtime.nats import Nats

PORTS = {"http": 80, "https": 443, "nats": 4222, "tls": 4222, "amqp": 5672, "amqps": 5671}


class Message(NamedTuple):
    """What is to be sent where; `token` authorises, `ca_file` names certificates that the server's is checked against."""

    url: str
    body: bytes
    token: str = ""
    ca_file: str = ""


class Outgoing(Protocol):
    """Sends messages."""

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Returns when the server took it.  Raises OSError."""

    async def aclose(self) -> None:
        """End what connections are kept."""


class Sender(Protocol):
    """Sends to one target."""

    async def send(self, body: bytes) -> None:
        """Returns when the server took it; the caller has the deadline.  Raises OSError."""

    def close(self) -> None:
        """End a connection that is kept."""


class SocketOutgoing:
    """Real connections."""

    def __init__(self) -> None:
        self._senders: dict[tuple[str, str, str], Sender] = {}  # as many as the configuration has targets

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Returns when the server took it.  Raises OSError."""
        key = (message.url, message.token, message.ca_file)
        sender = self._senders.get(key)
        if sender is None:
            sender = self._senders[key] = open_sender(*key)
        async with asyncio.timeout(timeout_s):
            await sender.send(message.body)

    async def aclose(self) -> None:
        """End what connections are kept."""
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()


def open_sender(url: str, token: str = "", ca_file: str = "") -> Sender:
    """Connects when there is something to send.

    Raises ValueError for an address that nothing can be sent to, OSError for certificates that cannot be read; neither repeats
    credentials.
    """
    scheme = place_of(url, PORTS).scheme
    if scheme in ("nats", "tls"):
        return Nats(url, token, ca_file)
    if scheme in ("amqp", "amqps"):
        from objstore.runtime.amqp import Amqp  # noqa: PLC0415 its grammar is large, and most clusters have no such target

        return Amqp(url, token, ca_file)
    return Webhook(url, token, ca_file)


def secrets_of(url: str, token: str) -> list[str]:
    """What of a target must not be logged."""
    password = urlsplit(url).password or ""
    return [secret for secret in (token, password, unquote(password)) if secret]


class Webhook:
    """POSTs JSON; any 2xx is a yes."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        self._place = place_of(url, PORTS)
        base, self._target = split_target(url)
        self._http = Http(base, timeout_s=None, ca_file=ca_file)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif self._place.user:
            self._headers["Authorization"] = basic_authorization(self._place)

    async def send(self, body: bytes) -> None:
        """Returns when the server said yes; the caller has the deadline.  Raises OSError."""
        answer = await self._http.request("POST", self._target, headers=self._headers, body=body, head_only=True)
        if not 200 <= answer.status < 300:
            raise OSError(f"{self._place} answered {answer.status}")

    def close(self) -> None:
        """Nothing is kept."""
