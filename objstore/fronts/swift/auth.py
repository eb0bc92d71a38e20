"""Who calls: version 1 of Swift's authentication, tokens in headers, signed addresses."""

from objstore.core.account_acl import ADMIN
from objstore.fronts.swift import container_sync
from objstore.fronts.swift.answers import Answer, SwiftRefused, empty, page, unauthorized
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.request import NOBODY, SwiftRequest
from objstore.fronts.swift.tempurl import check_temp_url
from objstore.identity.swift_tokens import LIFE_S
from objstore.objects.access import IS_SERVICE, owns_home
from objstore.objects.api import Principal

V1_PATHS = frozenset(("/auth/v1.0", "/auth/v1.0/", "/auth/v1", "/auth/v1/"))


def log_in(front: SwiftFront, request: SwiftRequest) -> Answer:
    """GET /auth/v1.0: a token and the storage URL for `X-Auth-User` (or `X-Storage-User`) and its key."""
    if request.method not in ("GET", "HEAD"):
        return page(405, headers=[(b"allow", b"GET, HEAD")])
    headers = request.headers
    user = headers.get("x-auth-user") or headers.get("x-storage-user") or ""
    key = headers.get("x-auth-key") or headers.get("x-storage-pass") or ""
    found = front.auth.log_in(user.encode("latin-1").decode(errors="replace"), key.encode("latin-1").decode(errors="replace"))
    if found is None:
        return unauthorized(user.partition(":")[0])
    token, who = found
    answer = empty(200)
    url = front.storage_url(request.origin, who.account)
    answer.headers = [
        (b"x-storage-url", url.encode()),
        (b"x-auth-token", token.encode()),
        (b"x-storage-token", token.encode()),
        (b"x-auth-token-expires", str(LIFE_S).encode()),
        (b"content-type", b"text/plain; charset=utf-8"),
    ]
    return answer


async def authenticate(front: SwiftFront, request: SwiftRequest) -> None:
    """Set `request.who`, at home in the account that the path names.  Raises SwiftRefused for tokens and signatures that are not good."""
    account = front.account_of(request.account)
    if container_sync.AUTH in request.headers:
        request.who = (await container_sync.authenticate(front, request, account)).of_request(request.facts).at(account)
        return
    token = request.headers.get("x-auth-token") or request.headers.get("x-storage-token")
    who = NOBODY
    if "temp_url_sig" in request.query or "temp_url_expires" in request.query:
        await check_temp_url(front, request, account)
        who = Principal(account=account, user="temporary URL", arn=f"arn:aws:iam::{account}:root")
    elif token:
        who = find_token(front, token, request) or await _find_later(front, token, request) or NOBODY
        if who.anonymous:
            refused = unauthorized(request.account)
            raise SwiftRefused(401, "The token is not valid, or has expired; get a new one.", refused.headers[1:])
        if front.settings.service_prefixes:
            who = await _with_service(front, request, who)
    elif container_sync.KEY in request.headers and request.key:
        who = await container_sync.authenticate_by_key(front, request, account) or NOBODY
    request.who = await at_home(front, who.of_request(request.facts), account)
    if request.flag("x-open-expired") and token and request.temp_url is None and owns_home(request.who):
        request.who = request.who.opening_expired()


async def at_home(front: SwiftFront, who: Principal, account: str) -> Principal:
    """The caller where names mean this account's containers, with what the account's access control list gives him."""
    if who.anonymous or account in who.levels or (who.plain and (who.admin or who.account == account)):
        return who.at(account)
    return who.at(account, await front.store.account_level(who, account))


async def _with_service(front: SwiftFront, request: SwiftRequest, who: Principal) -> Principal:
    """The caller, whom a service's token besides his own makes an owner of what services keep for his account.  Raises SwiftRefused."""
    token = request.headers.get("x-service-token")
    if not token:
        return who
    service = find_token(front, token, request) or await _find_later(front, token, request)
    if service is None:
        raise SwiftRefused(401, "The service's token is not valid, or has expired.", unauthorized(request.account).headers[1:])
    if service.facts.get(IS_SERVICE) != "true" or not who.plain:
        return who
    for account in front.service_accounts(who.account):
        who = who.at(account, ADMIN)
    return who


def find_token(front: SwiftFront, token: str, request: SwiftRequest) -> Principal | None:
    """Whom a token stands for, by whoever knows it."""
    for check in (front.auth, *front.checks):
        found = check.who(token, request.method, request.scope["path"])
        if found is not None:
            return found
    return None


async def _find_later(front: SwiftFront, token: str, request: SwiftRequest) -> Principal | None:
    """The same, when whoever knows it has looked again: its user may have been made elsewhere a moment ago."""
    for check in front.checks:
        await check.refresh()
        found = check.who(token, request.method, request.scope["path"])
        if found is not None:
            return found
    return None
