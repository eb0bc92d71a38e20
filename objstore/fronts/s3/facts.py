"""What an S3 request says of itself, for the conditions of policies."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

from objstore.fronts.s3.request import Scope
from objstore.objects.api import RequestFacts
from objstore.runtime.clock import Clock

_HOPS = 16  # of X-Forwarded-For that are looked at
_ANYWHERE = (
    "user-agent",
    "referer",
    "x-forwarded-for",
    "x-forwarded-proto",
)  # of a form's request these come from the request's own headers


class TrustedProxies:
    """Load balancers in front, whose word on where a request came from is taken.  Raises ValueError for what is no range of addresses."""

    def __init__(self, ranges: Sequence[str]) -> None:
        self._networks = [ip_network(text) for text in ranges]

    def trusts(self, address: str) -> bool:
        """Whether an address is one of theirs."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def source(self, peer: str, forwarded: str) -> str:
        """Where a request came from: the peer, or, told by proxies, the last address that is not one of theirs.

        Each proxy appends who spoke to it, so what stands before the first stranger from the right is that stranger's own word.
        """
        if not self.trusts(peer):
            return peer
        found = peer
        for text in reversed(forwarded.split(",")[-_HOPS:]):
            found = text.strip()
            if not self.trusts(found):
                break
        return found


class S3Facts(RequestFacts):
    """Looks into the request when it is asked; one is made for every request, so it only takes hold of what there is.

    The source address is the socket's: what a client says of it in a header is not believed.  Where the socket's is that of a trusted
    proxy, it is the last one in X-Forwarded-For that is not.
    """

    __slots__ = ("_clock", "_headers", "_proxies", "_query", "_scope", "_signature")

    def __init__(
        self, scope: Scope, headers: Mapping[str, str], query: Mapping[str, str], clock: Clock, proxies: "TrustedProxies | None" = None
    ) -> None:
        self._proxies = proxies
        self._signature = ""
        self._scope = scope
        self._headers = headers
        self._query = query
        self._clock = clock

    def of_form(self, fields: Mapping[str, str], signature: str) -> "S3Facts":
        """The same of a browser's form, whose fields stand for headers; `signature` is the version by which it is signed, if it is."""
        own = {name: self._headers[name] for name in _ANYWHERE if name in self._headers}
        made = S3Facts(self._scope, {**own, **fields}, self._query, self._clock, self._proxies)
        made._signature = signature
        return made

    @property
    def form_signature(self) -> str:
        """The version of the signature of a browser's form; empty when there is none."""
        return self._signature

    @property
    def source_ip(self) -> str:
        """The other end of the connection; empty on a Unix socket."""
        client = self._scope.get("client")
        peer = str(client[0]) if client else ""
        return peer if self._proxies is None else self._proxies.source(peer, self._headers.get("x-forwarded-for", ""))

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        if self._scope.get("scheme") == "https":
            return True
        client = self._scope.get("client")
        behind = self._proxies is not None and client is not None and self._proxies.trusts(str(client[0]))
        return behind and self._headers.get("x-forwarded-proto", "") == "https"

    @property
    def now_us(self) -> int:
        """The time."""
        return self._clock.wall_us()

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self._headers.get(name)

    def parameter(self, name: str) -> str | None:
        """A query parameter."""
        return self._query.get(name)
