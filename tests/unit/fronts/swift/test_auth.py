"""Version 1 of authentication, and whom tokens stand for."""

from collections.abc import Iterator

import pytest

from objstore.fronts.swift.auth import find_token
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.fronts.swift.request import SwiftRequest
from objstore.objects.api import Principal
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, RESELLER, S3_USER, SERVICE, TESTER, Swift, swift_serving


class Knows:
    def __init__(self, token: str, account: str) -> None:
        self._token, self._who = token, Principal(account=account)

    def who(self, token: str, method: str, path: str) -> Principal | None:
        return self._who if token == self._token else None

    def log_in(self, user: str, key: str) -> tuple[str, Principal] | None:
        return None


def test_a_log_in_tells_where_the_containers_are(swift: Swift) -> None:
    for names in (("X-Auth-User", "X-Auth-Key"), ("X-Storage-User", "X-Storage-Pass")):
        reply = swift.raw("GET", "/auth/v1.0", headers={names[0]: "test:tester", names[1]: "testing", "Host": "store.example:8080"})
        assert (reply.status, reply.headers["x-storage-url"]) == (200, "http://store.example:8080/v1/AUTH_test")
        assert reply.headers["x-auth-token"] == reply.headers["x-storage-token"]
        assert int(reply.headers["x-auth-token-expires"]) > 3600
    assert swift.raw("POST", "/auth/v1.0", b"", headers={"X-Auth-User": "test:tester"}).status == 405


def test_users_with_s3_keys_log_in_with_their_secret(running: Running, swift: Swift) -> None:
    reply = swift.raw("GET", "/auth/v1.0", headers={"X-Auth-User": f"{S3_USER.account}:{S3_USER.name}", "X-Auth-Key": S3_USER.secret_key})
    assert reply.status == 200


def test_every_issuer_of_tokens_is_asked() -> None:
    front = SwiftFront(None, Knows("a", "one"), SwiftSettings(), None, None, (Knows("b", "two"),))  # type: ignore[arg-type]
    request = SwiftRequest({"method": "GET", "path": "/v1/a", "raw_path": b"/v1/a"}, None, "tx", None)  # type: ignore[arg-type]
    found = [find_token(front, token, request) for token in ("a", "b", "c")]
    assert [who and who.account for who in found] == ["one", "two", None]


@pytest.fixture(scope="module")
def serviced() -> Iterator[Running]:
    with swift_serving(settings=SwiftSettings(service_prefixes=("SERVICE_",))) as found:
        yield found


def test_what_services_keep_opens_with_both_tokens_alone(serviced: Running) -> None:
    user, service, other, reseller = (Swift(serviced, who) for who in (TESTER, SERVICE, OTHER, RESELLER))

    def ask(token: str, service_token: str = "", method: str = "PUT", name: str = "images") -> int:
        headers = {"X-Auth-Token": token, "Content-Length": "0"} | ({"X-Service-Token": service_token} if service_token else {})
        return user.raw(method, f"/v1/SERVICE_test/{name}", headers=headers).status

    assert ask(user.token) == 403
    assert ask(service.token) == 403
    assert ask(service.token, service.token) == 403
    assert ask(user.token, other.token) == 403  # whose owner is no service
    assert ask(user.token, "AUTH_tknonsense") == 401
    assert ask(other.token, service.token) == 403  # not of this account
    assert ask(Swift(serviced, MEMBER).token, service.token) == 403  # who may do nothing in his own
    assert ask(user.token, service.token) == 201
    assert ask(user.token, service.token, "HEAD") == 204
    assert ask(user.token, "", "HEAD") == 403
    assert ask(user.token, service.token, "GET", "") == 200
    assert ask(reseller.token, "", "HEAD") == 204
    assert user("HEAD", "images").status == 404  # the user's own account is another
    assert user.raw("HEAD", "/v1/AUTH_SERVICE_test/images", headers={"X-Auth-Token": user.token}).status == 403
