"""Accounts: HEAD, GET (its containers), POST (its metadata)."""

from objstore.core.account_acl import parse_account_acl, shown_account_acl
from objstore.core.container import OWNERS_NAMES, QUOTA_NAMES, AccountInfo
from objstore.fronts.swift import etags
from objstore.fronts.swift.answers import TEXT, Answer, Headers, empty
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import changes_of, shown_metadata
from objstore.fronts.swift.listing import Item, Wanted, container_item, rendered, wanted_of, within
from objstore.fronts.swift.policies import account_headers, quotas_given, quotas_shown
from objstore.fronts.swift.request import SwiftRequest, header_text
from objstore.fronts.swift.times import timestamp
from objstore.objects.access import owns_home
from objstore.objects.api import BucketInfo

ACCESS = "x-account-access-control"
_PAGE = 1000


async def get_account(front: SwiftFront, request: SwiftRequest) -> Answer:
    """The containers of an account, by name."""
    info = await front.store.account(request.who)
    wanted = wanted_of(request, front.settings.account_listing_limit)
    items = await _items(front, request, wanted)
    return rendered(wanted, items, root="account", name=request.account, element="container", headers=_facts(front, request, info))


async def head_account(front: SwiftFront, request: SwiftRequest) -> Answer:
    """What an account holds."""
    info = await front.store.account(request.who)
    return empty(204, [TEXT, *_facts(front, request, info)])


async def post_account(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Change metadata.  The quota is the reseller's to set."""
    changes = changes_of(request.headers, "account")
    for name in QUOTA_NAMES:  # as new Swift has them, besides X-Account-Meta-Quota-Bytes
        if f"x-account-{name}" in request.headers:
            changes[name] = request.headers[f"x-account-{name}"].strip()
        if f"x-remove-account-{name}" in request.headers:
            changes[name] = ""
    given = request.headers.get(ACCESS)
    acl = None if given is None else parse_account_acl(header_text(given))
    hidden = {**etags.change_of(front, request.headers, "account"), **quotas_given(front, request.headers)}
    await front.store.set_account(request.who, changes, acl, hidden)
    return empty(204, [TEXT])


async def _items(front: SwiftFront, request: SwiftRequest, wanted: Wanted) -> list[Item]:
    if wanted.limit == 0:
        return []
    found: list[BucketInfo] = []
    grouped: dict[str, None] = {}
    after, last = (wanted.end_marker, wanted.marker) if wanted.reverse else (wanted.marker, wanted.end_marker)
    while True:
        page = await front.store.list_buckets(request.who, prefix=wanted.prefix, after=after, limit=_PAGE)
        for info in page.buckets:
            prefix = _common_prefix(info.name, wanted)
            if prefix:
                grouped.setdefault(prefix)
            else:
                found.append(info)
        past_end = bool(page.buckets and last and page.buckets[-1].name >= last)
        enough = not wanted.reverse and len(found) + len(grouped) > wanted.limit
        if not page.truncated or past_end or enough:
            break
        after = page.next_after
    by_name = {info.name: info for info in found}
    names: list[Item] = sorted([(name, {}) for name in by_name] + [(prefix, None) for prefix in grouped])
    chosen = within(names, wanted)
    if wanted.form == "text":
        return chosen
    shown = [by_name[name] for name, facts in chosen if facts is not None]
    usages = {info.name: usage for info, usage in zip(shown, await front.store.usages(request.who, shown), strict=True)}
    return [item if item[1] is None else container_item(by_name[item[0]], usages[item[0]]) for item in chosen]


def _common_prefix(name: str, wanted: Wanted) -> str:
    if not wanted.delimiter:
        return ""
    at = name.find(wanted.delimiter, len(wanted.prefix))
    return name[: at + len(wanted.delimiter)] if at >= 0 else ""


def _facts(front: SwiftFront, request: SwiftRequest, info: AccountInfo) -> Headers:
    headers: Headers = [
        (b"x-account-container-count", b"%d" % info.containers),
        (b"x-account-object-count", b"%d" % info.usage.objects),
        (b"x-account-bytes-used", b"%d" % info.usage.bytes),
        *account_headers(front, info),
        (b"x-timestamp", timestamp(info.created_us).encode()),
        (b"accept-ranges", b"bytes"),
    ]
    headers += etags.shown(front, info.hidden, "account")
    owner = owns_home(request.who)
    if owner and info.acl:
        headers.append((ACCESS.encode(), shown_account_acl(info.acl).encode()))
    shown = {name: value for name, value in info.metadata.items() if owner or name not in OWNERS_NAMES}
    headers += [(f"x-account-{name}".encode(), shown[name].encode()) for name in sorted(QUOTA_NAMES) if name in shown]
    headers += quotas_shown(front, info)
    return headers + shown_metadata(shown, "x-account-meta-")
