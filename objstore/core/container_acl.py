"""Access control of Swift containers: `X-Container-Read` and `X-Container-Write`; pure.

    .r:*                    everybody, by any referrer
    .r:.example.com         readers who come from a page of that domain; .r:-host takes hosts out again
    .rlistings              who reads by referrer may list, too
    account                 every user of an account
    account:user            one user; either may be *; account and user by id or by name

The last referrer entry that fits decides.  An entry that leaves its account or its user empty names nobody.  What was parsed is kept in its
normal form, which is also what is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from objstore.errors import InvalidArgument

MAX_ACL_CHARS = 8192
LISTINGS = ".rlistings"
_REFERRER_NAMES = (".r", ".ref", ".referer", ".referrer")


@dataclass(frozen=True, slots=True)
class ContainerAcl:
    """A parsed list.  `referrers` in the order written, hosts lower case; a leading "-" takes a host out."""

    referrers: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    listings: bool = False

    @property
    def is_public(self) -> bool:
        """Whether it lets in whom it does not name: the unknown, or, as S3 sees it too, users of all accounts."""
        return any(not referrer.startswith("-") for referrer in self.referrers) or any(map(_is_for_all, self.grants))


NOBODY = ContainerAcl()


def normal_acl(header: str, value: str) -> str:
    """The list in its normal form, as it is kept and shown.  Raises InvalidArgument."""
    if len(value) > MAX_ACL_CHARS:
        raise InvalidArgument(f"{header} has {len(value)} characters; {MAX_ACL_CHARS} are allowed")
    return ",".join(_normal_entry(header, entry.strip()) for entry in value.split(",") if entry.strip())


def _normal_entry(header: str, entry: str) -> str:
    first, colon, second = (part.strip() for part in entry.partition(":"))
    if not first.startswith("."):
        return f"{first}{colon}{second}"
    if not colon:
        if first != LISTINGS:
            raise InvalidArgument(f"Unknown designator {first!r} in ACL: {entry!r}")
        return LISTINGS
    if first not in _REFERRER_NAMES:
        raise InvalidArgument(f"Unknown designator {first!r} in ACL: {entry!r}")
    if "write" in header.lower():
        raise InvalidArgument(f"Referrers not allowed in write ACL: {entry!r}")
    negated = second.startswith("-")
    host = second[1:].strip() if negated else second
    if host != "*" and host.startswith("*"):
        host = host[1:].strip()
    if not host or host == ".":
        raise InvalidArgument(f"No host/domain value after referrer designation in ACL: {entry!r}")
    return f".r:{'-' if negated else ''}{host.lower()}"


def parse_acl(normal: str) -> ContainerAcl:
    """A list that `normal_acl` made."""
    referrers: list[str] = []
    grants: list[str] = []
    listings = False
    for entry in normal.split(",") if normal else ():
        if entry == LISTINGS:
            listings = True
        elif entry.startswith(".r:"):
            referrers.append(entry[3:])
        elif entry:  # older releases kept empty ones
            grants.append(entry)
    return ContainerAcl(tuple(referrers), tuple(grants), listings)


def lets_referrer(acl: ContainerAcl, referrer: str | None) -> bool:
    """Whether somebody who comes from this page (None: no header) may read."""
    if not acl.referrers:
        return False
    try:
        host = (urlsplit(referrer or "").hostname or "unknown").lower()
    except ValueError:
        host = "unknown"
    allowed = False
    for pattern in acl.referrers:
        takes_out = pattern.startswith("-")
        wanted = pattern[1:] if takes_out else pattern
        if wanted in ("*", host) or (wanted.startswith(".") and host.endswith(wanted)):
            allowed = not takes_out
    return allowed


def lets_user(acl: ContainerAcl, accounts: Sequence[str], users: Sequence[str], *, restricted: bool = False) -> bool:
    """Whether a list names a caller, who goes by these ids and names of his account and of himself; empty ones are no names.

    `restricted`: what is said of the users of all accounts does not count.
    """
    for grant in acl.grants:
        account, colon, user = grant.partition(":")
        if not account or (colon and not user) or (restricted and account == "*"):
            continue
        if account != "*" and account not in accounts:
            continue
        if not colon or user == "*" or user in users:
            return True
    return False


def _is_for_all(grant: str) -> bool:
    return grant.partition(":")[0] == "*"
