"""Who calls, and what the request says of itself: what `objects/access.py` decides by.

Fronts make these values, from signatures and headers that they have verified; nothing below a front makes up a caller but for its
own account.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from objstore.core.policy import Caller


class RequestFacts:
    """What a request says of itself, for the conditions of policies; this base says nothing.

    A front derives its own.  Nothing is worked out before a policy asks, so that making one costs next to nothing.
    """

    __slots__ = ()

    @property
    def source_ip(self) -> str:
        """The address the request came from; empty when there is none."""
        return ""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return False

    @property
    def now_us(self) -> int:
        """The time of the request."""
        return 0

    @property
    def form_signature(self) -> str:
        """The version of the signature of a browser's form; empty when there is none."""
        return ""

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return None

    def parameter(self, name: str) -> str | None:
        """A query parameter."""
        return None


NO_FACTS = RequestFacts()


class Derived:
    """What follows from who a caller is, worked out when it is first asked for; the caller of each request has that of all."""

    __slots__ = ("named", "reads_tags")

    def __init__(self) -> None:
        self.named: Caller | None = None  # as policies of buckets name it
        self.reads_tags: bool | None = None  # whether a policy of its own asks for the tags of objects


@dataclass(frozen=True)
class Principal:
    """Who calls: the account that pays, the user in it; `anonymous` has neither.

    Without `policies` a user may do in the own account whatever the account may; with them, what they allow.  With
    `session_policies` no more than those allow as well.
    """

    account: str
    user: str = ""
    display_name: str = ""
    canonical_id: str = ""
    tenant: str = "default"
    admin: bool = False
    anonymous: bool = False
    arn: str = ""  # arn:aws:iam::ACCOUNT:user/NAME, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION; empty: the account's user `user`
    policies: tuple[Any, ...] | None = None  # identity policies, parsed by core/policy.py; None: all of the own account, as its root
    session_policies: tuple[Any, ...] | None = None  # of temporary credentials: nothing goes beyond them; None: there are none
    boundary: Any = None  # permissions boundary: nothing goes beyond it either
    facts: Mapping[str, str] = field(default_factory=dict)  # for conditions of policies: "aws:username", "aws:userid"...
    request: RequestFacts = field(default=NO_FACTS, compare=False, repr=False)
    home: str = ""  # the account whose containers names mean, and no others (Swift's paths name it); empty: the own ones, then the tenant's
    opens_expired: str = ""  # the account, while it is `home`, whose expired objects this caller may read as long as they are there (Swift)
    levels: Mapping[str, str] = field(
        default_factory=dict
    )  # account -> what its access control list gives the caller, see core/account_acl.py
    plain: bool = field(init=False, default=False, compare=False, repr=False)  # an account, and nothing narrows its rights
    derived: Derived = field(init=False, default_factory=Derived, compare=False, repr=False)

    def __post_init__(self) -> None:
        narrowed = self.anonymous or self.policies is not None or self.session_policies is not None or self.boundary is not None
        object.__setattr__(self, "plain", bool(self.account) and not narrowed)

    def of_request(self, request: RequestFacts) -> "Principal":
        """The same caller of one request; made for every request, so it copies as cheaply as can be."""
        made = object.__new__(Principal)
        made.__dict__.update(self.__dict__)
        made.__dict__["request"] = request
        return made

    def opening_expired(self) -> "Principal":
        """The same caller, who reads expired objects of his present home, too."""
        made = object.__new__(Principal)
        made.__dict__.update(self.__dict__)
        made.__dict__["opens_expired"] = self.home
        return made

    def at(self, home: str, level: str = "") -> "Principal":
        """The same caller, for whom names mean containers of this account, whose access control list gives him `level`."""
        made = object.__new__(Principal)
        made.__dict__.update(self.__dict__)
        made.__dict__["home"] = home
        if level:
            made.__dict__["levels"] = {**self.levels, home: level}
        return made
