"""What an S3 request says of itself, for the conditions of policies."""

from collections.abc import Mapping

from objstore.fronts.s3.request import Scope
from objstore.objects.api import RequestFacts
from objstore.runtime.clock import Clock

_ANYWHERE = ("user-agent", "referer")  # of a form's request these come from the request's own headers


class S3Facts(RequestFacts):
    """Looks into the request when it is asked; one is made for every request, so it only takes hold of what there is.

    The source address is the socket's: what a client says of it in a header is not believed.
    """

    __slots__ = ("_clock", "_headers", "_query", "_scope")

    def __init__(self, scope: Scope, headers: Mapping[str, str], query: Mapping[str, str], clock: Clock) -> None:
        self._scope = scope
        self._headers = headers
        self._query = query
        self._clock = clock

    def of_form(self, fields: Mapping[str, str]) -> "S3Facts":
        """The same of a browser's form, whose fields stand for headers."""
        own = {name: self._headers[name] for name in _ANYWHERE if name in self._headers}
        return S3Facts(self._scope, {**own, **fields}, self._query, self._clock)

    @property
    def source_ip(self) -> str:
        """The other end of the connection; empty on a Unix socket."""
        client = self._scope.get("client")
        return str(client[0]) if client else ""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return bool(self._scope.get("scheme") == "https")

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
