"""Classes of security bugs that Swift and its relatives had (docs/reference/security.md), through Swift's front."""

import hmac
import http.client
import itertools
import logging
import random
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, S3_USER, TESTER, Reply, Swift

KEY = "temp-url-secret"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY")


@pytest.fixture
def stranger(running: Running) -> Swift:
    return Swift(running, None)


@pytest.fixture
def keyed(swift: Swift, box: str) -> str:
    swift("POST", box, X_Container_Meta_Temp_URL_Key=KEY)
    swift("PUT", f"{box}/o", b"data")
    return box


def signed(method: str, path: str, *, expires: int | None = None, key: str = KEY, extra: str = "", start: str = "") -> str:
    when = int(time.time()) + 60 if expires is None else expires
    signature = hmac.digest(key.encode(), f"{start}{method}\n{when}\n{path}".encode(), "sha256").hex()
    return f"temp_url_sig={signature}&temp_url_expires={when}{extra}"


def alike(left: Reply, right: Reply) -> bool:
    """Whether two answers tell the same, but for their ids and dates."""
    unlike = {"x-trans-id", "x-openstack-request-id", "date"}
    shown = [{name: value for name, value in reply.headers.items() if name not in unlike} for reply in (left, right)]
    return (left.status, left.body, shown[0]) == (right.status, right.body, shown[1])


def test_a_temporary_url_is_for_what_was_signed_and_nothing_else(stranger: Swift, keyed: str) -> None:
    """S7, S8: each part of the signature counts, and what is not signed adds nothing."""
    path = f"/v1/AUTH_test/{keyed}/o"
    good = signed("GET", path)
    assert stranger("GET", f"{keyed}/o", query=good).status == 200
    assert stranger("HEAD", f"{keyed}/o", query=good).status == 200
    for method in ("PUT", "POST", "DELETE"):
        assert stranger(method, f"{keyed}/o", query=good).status == 401, method
    assert stranger("COPY", f"{keyed}/o", query=good, Destination=f"{keyed}/p").status == 405
    now = int(time.time())
    refused = [
        signed("GET", path, expires=now - 1), signed("GET", path, expires=0), signed("GET", path, expires=-1), signed("GET", path, key="x"),
        signed("GET", path, key=""), signed("GET", path + "x"), signed("get", path), signed("GET", path.replace("AUTH_test", "AUTH_test2")),
        good.replace(str(now + 60), str(now + 61)), good.replace(str(now + 60), str(now + 60) + "0" * 20), good[:-1] + "x", "temp_url_sig=" + good[13:77],
        good.replace("temp_url_sig=", "temp_url_sig=sha512:"), good.replace("temp_url_sig=", "temp_url_sig=md5:"), good + "&temp_url_prefix=o",
        good + "&temp_url_prefix=", good + "&temp_url_ip_range=0.0.0.0/0", "temp_url_sig=&temp_url_expires=", good + "&temp_url_sig=00",
    ]  # fmt: skip
    for query in refused:
        if query != good:
            assert stranger("GET", f"{keyed}/o", query=query).status == 401, query
    assert stranger("GET", keyed, query=signed("GET", f"/v1/AUTH_test/{keyed}")).status == 401
    assert stranger("GET", "", query=signed("GET", "/v1/AUTH_test")).status == 401


def test_a_temporary_url_for_writing_reaches_no_other_object(swift: Swift, stranger: Swift, keyed: str) -> None:
    """S8, S24: Swift CVE-2015-5223, CVE-2026-71191."""
    swift("PUT", f"{keyed}/secret", b"secret")
    query = signed("PUT", f"/v1/AUTH_test/{keyed}/new")
    for name, value in (
        ("X_Object_Manifest", f"{keyed}/secret"), ("X_Copy_From", f"{keyed}/secret"), ("X_Symlink_Target", f"{keyed}/secret"),
        ("X_Copy_From_Account", "AUTH_test2"), ("X_Symlink_Target_Account", "AUTH_test2"),
    ):  # fmt: skip
        assert stranger("PUT", f"{keyed}/new", b"", query, **{name: value}).status in (400, 501), name
    for more in ("multipart-manifest=put", "multipart-manifest=delete", "extract-archive=tar", "bulk-delete", "version-id=x"):
        assert stranger("PUT", f"{keyed}/new", b"[]", f"{query}&{more}").status == 400, more
    assert swift("HEAD", f"{keyed}/new").status == 404


def test_the_key_of_a_container_opens_no_other(swift: Swift, stranger: Swift, keyed: str) -> None:
    """S8."""
    swift("PUT", f"{keyed}-2")
    swift("PUT", f"{keyed}-2/o", b"other")
    for name in (f"{keyed}-2/o", f"{keyed}/../{keyed}-2/o"):
        assert stranger.raw("GET", f"/v1/AUTH_test/{name}?{signed('GET', f'/v1/AUTH_test/{name}')}").status in (401, 404), name
    prefix = signed("GET", f"prefix:/v1/AUTH_test/{keyed}/") + "&temp_url_prefix="
    assert stranger("GET", f"{keyed}/o", query=prefix).status == 200
    assert stranger("GET", f"{keyed}-2/o", query=prefix).status == 401


def test_an_address_in_a_header_is_not_believed(stranger: Swift, keyed: str) -> None:
    """S22: RustFS CVE-2026-21862."""
    path = f"/v1/AUTH_test/{keyed}/o"
    query = signed("GET", path, start="ip=10.0.0.0/8\n") + "&temp_url_ip_range=10.0.0.0/8"
    for name in ("X_Forwarded_For", "X_Real_IP", "Forwarded", "X_Cluster_Client_Ip", "True_Client_IP"):
        value = "for=10.0.0.1" if name == "Forwarded" else "10.0.0.1"
        assert stranger("GET", f"{keyed}/o", query=query, **{name: value}).status == 401, name


@pytest.mark.parametrize(
    "given",
    ["", ".r:*", ".rlistings", "test2:tester2x", "test2x", "te", "*:x", "test2:", ":", "x,:", ":tester2", ".r:-127.0.0.1", ".r:localhost"],
)
def test_a_list_lets_in_whom_it_names_and_nobody_like_him(running: Running, swift: Swift, box: str, given: str) -> None:
    """S25 and the parser of lists: what it does not understand lets in nobody."""
    swift("PUT", f"{box}/o", b"x")
    assert swift("POST", box, X_Container_Write="" if given.startswith(".r") else given).status == 204
    assert swift("POST", box, X_Container_Read=given).status == 204
    other = Swift(running, OTHER).at("test")
    assert other("PUT", f"{box}/p", b"").status == 403
    assert other("GET", f"{box}/o").status == (200 if given == ".r:*" else 403)
    assert Swift(running, None)("GET", box).status == 401


@pytest.mark.parametrize("given", ["*", "*:*", "*:tester2", "test2,*:*"])
def test_a_list_for_users_of_all_accounts_does_not_pass_the_public_access_block(running: Running, swift: Swift, given: str) -> None:
    """S25: what S3 calls public (anybody with an account) is no less so in a list of Swift's."""
    s3 = running.client(S3_USER)
    name = f"blocked-{hash(given) & 0xFFFFFF:x}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="o", Body=b"x")
    other = Swift(running, OTHER).at("test")
    for kind in ("X_Container_Read", "X_Container_Write"):
        assert swift("POST", name, **{kind: given}).status == 403
    s3.delete_public_access_block(Bucket=name)
    assert swift("POST", name, X_Container_Read=given, X_Container_Write=given).status == 204
    assert [other("GET", f"{name}/o").status, other("PUT", f"{name}/p", b"").status] == [200, 201]
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    time.sleep(0.1)
    allowed = given == "test2,*:*"  # which names the account, too
    assert other("GET", f"{name}/o").status == (200 if allowed else 403)
    assert other("PUT", f"{name}/p", b"").status == (201 if allowed else 403)


@pytest.mark.parametrize("given", [".r:", ".x:y", ".r:*,.unknown", ".r", "." + "r" * 9000, ".r:-", ".referrer:-"])
def test_lists_that_mean_nothing_are_refused(swift: Swift, box: str, given: str) -> None:
    """S19: and nothing of them is kept."""
    assert swift("POST", box, X_Container_Read=given).status == 400
    assert "x-container-read" not in swift("HEAD", box).headers


def test_a_fresh_container_is_its_owners_alone(running: Running, swift: Swift, stranger: Swift, box: str) -> None:
    """S25."""
    swift("PUT", f"{box}/o", b"x")
    for method, name in itertools.product(METHODS, (box, f"{box}/o", f"{box}/new")):
        if (method, name) == ("COPY", box):
            continue
        headers = {"Destination": f"{box}/copy"} if method == "COPY" else {}
        assert stranger(method, name, **headers).status == 401, (method, name)
        for user in (OTHER, MEMBER):
            assert Swift(running, user).at("test")(method, name, **headers).status == 403, (method, name, user)
    assert swift("GET", box).lines == ["o"]


def test_strangers_cannot_tell_what_is_there(running: Running, swift: Swift, stranger: Swift, box: str) -> None:
    """S21: MinIO CVE-2024-36107; the same answer with conditions, for what is there and what is not."""
    swift("PUT", f"{box}/there", b"x", X_Delete_After="1000")
    etag = swift("HEAD", f"{box}/there").headers["etag"]
    gone = box[:-1] + ("0" if box[-1] != "0" else "1")
    other = Swift(running, OTHER).at("test")
    for headers in (
        {},
        {"If_None_Match": etag},
        {"If_Match": "x"},
        {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"Range": "bytes=99-"},
    ):
        for method, caller in itertools.product(("GET", "HEAD", "DELETE", "PUT", "POST"), (stranger, other)):
            there = caller(method, f"{box}/there", **headers)
            assert alike(there, caller(method, f"{box}/gone", **headers)), (method, headers)
            assert there.status in (400, 401, 403), (method, headers)
            if caller is stranger:
                assert alike(there, caller(method, f"{gone}/there", **headers)), (method, headers)


INTERNAL = (
    "X-Container-Sysmeta-Versions-Container", "X-Object-Sysmeta-Slo-Etag", "X-Object-Transient-Sysmeta-Crypto-Meta", "X-Backend-Storage-Policy-Index",
    "X-Backend-Replication", "X-Timestamp", "X-Container-Host", "X-Container-Device", "X-Container-Partition", "X-Roles", "X-Role", "X-Project-Id",
    "X-Tenant-Id", "X-User-Id", "X-User-Name", "X-Identity-Status", "X-Is-Admin-Project", "Remote-User", "X-Service-Roles", "X-Symlink-Target-Bytes",
    "X-Static-Large-Object", "X-Object-Version-Id", "X-Newest", "X-Account-Sysmeta-Core-Access-Control", "X-Copied-From", "X-Open-Expired",
)  # fmt: skip


def test_internal_headers_from_outside_change_nothing(running: Running, swift: Swift, stranger: Swift, box: str) -> None:
    """S9: Swift CVE-2026-50221, CVE-2026-71192; Keystone CVE-2026-22797."""
    swift("PUT", f"{box}/plain", b"x")
    member = Swift(running, MEMBER)
    for name in INTERNAL:
        header = {name.replace("-", "_"): "admin"}
        assert stranger("GET", f"{box}/plain", **header).status == 401, name
        assert member("GET", f"{box}/plain", **header).status == 403, name
        assert swift("PUT", f"{box}/o", b"x", **header).status == 201, name
        told = swift("HEAD", f"{box}/o").headers
        assert told.get(name.lower(), "") != "admin", name
        assert set(told) == set(swift("HEAD", f"{box}/plain").headers), name
        swift("POST", box, **header)
        assert swift("HEAD", box).headers.get(name.lower(), "") != "admin", name


@pytest.mark.parametrize(
    "target",
    ["/v1/AUTH_test2/../AUTH_test/{box}/o", "/v1/AUTH_test2%2F..%2FAUTH_test/{box}/o", "/v1/AUTH_test2/%2e%2e/AUTH_test/{box}/o",
     "/v1/AUTH_test2//AUTH_test/{box}/o", "/v1//AUTH_test/{box}/o", "/v1/AUTH_test2/{box}/o", "/v1/AUTH_test2/..%2f{box}/o", "/v1/auth_test/{box}/o",
     "/v1/AUTH_test%00/{box}/o", "/v1/AUTH_test%c0%af/{box}/o", "/v1/AUTH_test2/{box}%2Fo", "/v1/AUTH_test;x/{box}/o", "/v1/AUTH_test%20/{box}/o",
     "/v1/.test/{box}/o", "/v1/AUTH_/{box}/o", "/v1/{box}/o"],
)  # fmt: skip
def test_no_spelling_of_a_path_leads_into_another_account(running: Running, swift: Swift, box: str, target: str) -> None:
    """S14: whoever has a token of his own account reaches no other's object by a path."""
    swift("PUT", f"{box}/o", b"secret")
    token = {"X-Auth-Token": Swift(running, OTHER).token, "Content-Length": "0"}
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        reply = swift.raw(method, target.format(box=box), headers=token)
        assert reply.status in (400, 403, 404, 405, 412), (method, reply)
        assert b"secret" not in reply.body
    assert swift("GET", f"{box}/o").body == b"secret"


def test_names_that_look_like_paths_are_names(swift: Swift, box: str) -> None:
    """S14."""
    names = ["../x", "..", ".", "/", "//", "a//b", "a/../b", "%2e%2e%2fx", "x\\..\\y", "a?b", "a#b", "\u202e", "a\nb"]
    for name in names:
        target = f"{swift.path(box)}/{quote(name, safe='')}"
        headers = {"X-Auth-Token": swift.token}
        assert swift.raw("PUT", target, name.encode(), headers).status == 201, name
        assert swift.raw("GET", target, None, headers).body == name.encode(), name
    assert [row["name"] for row in swift("GET", box, query="format=json").json] == sorted(names, key=str.encode)


def test_a_token_that_was_touched_is_none(running: Running, box: str) -> None:
    """S23: every character of it, and what is cut off or put behind."""
    swift = Swift(running, TESTER)
    token = swift.token
    changed = [token[:at] + ("B" if token[at] != "B" else "C") + token[at + 1 :] for at in range(len(token) - 4)]
    for bad in [*changed, token[:-5], token + "A", token.lower(), "AUTH_tk", token[7:], " ", "A" * 5000]:
        swift.token = bad
        assert swift("HEAD", box).status in (401, 431), bad
    assert swift.raw("GET", swift.path(box), headers={"X-Storage-Token": token}).status in (200, 204)
    assert swift.raw("GET", f"{swift.path(box)}?x-auth-token={token}").status == 401


def test_tokens_are_for_those_who_know_the_key(stranger: Swift) -> None:
    """S10: no answer tells whether there is such a user."""
    answers = [
        stranger.raw("GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": key})
        for user, key in (
            ("test:tester", "wrong"),
            ("test:nobody", "testing"),
            ("test:", ""),
            (":", ""),
            ("test", "testing"),
            ("test:tester", ""),
        )
    ]
    assert {reply.status for reply in answers} == {401}
    assert len({reply.body for reply in answers}) == 1
    assert all("x-auth-token" not in reply.headers for reply in answers)


def test_segments_are_read_with_the_readers_own_rights(running: Running, swift: Swift, stranger: Swift, box: str) -> None:
    """S24: a manifest in a public container opens no private one."""
    swift("PUT", f"{box}-private")
    swift("PUT", f"{box}-private/segment", b"secret")
    swift("PUT", f"{box}/dlo", b"", X_Object_Manifest=f"{box}-private/seg")
    swift("POST", box, X_Container_Read=".r:*", X_Container_Write="test2")
    assert swift("GET", f"{box}/dlo").body == b"secret"
    reply = stranger("GET", f"{box}/dlo")
    assert (reply.status, b"secret" in reply.body) == (401, False)
    writer = Swift(running, OTHER).at("test")
    made = writer("PUT", f"{box}/slo", f'[{{"path": "{box}-private/segment"}}]'.encode(), "multipart-manifest=put")
    assert (made.status, b"403 Forbidden" in made.body) == (400, True)
    assert writer("PUT", f"{box}/copy", b"", X_Copy_From=f"{box}-private/segment").status == 403
    loop = swift("PUT", f"{box}/loop", b"", X_Object_Manifest=f"{box}/loop")
    assert loop.status == 201
    assert swift("GET", f"{box}/loop").status in (200, 409)  # a manifest's bytes are its own: no recursion


def test_nothing_echoed_becomes_a_header_of_its_own(stranger: Swift, keyed: str) -> None:
    """S18."""
    query = signed("GET", f"/v1/AUTH_test/{keyed}/o") + "&filename=a%0d%0aX-Evil:%201"
    reply = stranger("GET", f"{keyed}/o", query=query)
    assert (reply.status, "x-evil" in reply.headers) == (200, False)
    reply = stranger.raw("GET", "/v1/AUTH_%0d%0aX-Evil=1/c")
    assert (reply.status, "x-evil" in reply.headers) == (401, False)


def test_logs_tell_no_token_and_no_key(
    swift: Swift, stranger: Swift, keyed: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S20: Swift CVE-2017-8761; not even when something breaks."""
    caplog.set_level(logging.DEBUG)
    query = signed("GET", f"/v1/AUTH_test/{keyed}/o")
    broken: Callable[..., None] = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("broken"))  # noqa: E731 it is one expression
    stranger("GET", f"{keyed}/missing", query=query)
    stranger.raw("GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "marker-key"})
    monkeypatch.setattr(swift.running.store, "get", broken)
    assert stranger("GET", f"{keyed}/o", query=query).status == 500
    assert swift("GET", f"{keyed}/o").status == 500
    assert "broken" in caplog.text
    for secret in (swift.token, KEY, query[13:77], "marker-key"):
        assert secret not in caplog.text


HOSTILE = (
    "", " ", "a" * 4000, "\xff\xfe", "-1", "99999999999999999999", "1e999", "NaN", '"', "[" * 2000, '{"a":' * 500, "%", "%00", "%ff", "../..", "*", ":",
    ",", ",,,,", "=", ";;", "0x10", "true", "//", "//r/c/a/b", "http://[::1", ".r:*,.r:", "bytes=", "bytes=0-0,9-1,-0", "\t", "\x7f", "١٢٣",
)  # fmt: skip
ASKED = (
    "X-Container-Read", "X-Container-Write", "X-Account-Access-Control", "X-Account-Quota-Bytes", "X-Account-Quota-Count", "X-Versions-Location",
    "X-Container-Meta-Quota-Bytes", "X-Container-Meta-Quota-Count", "X-Container-Meta-Web-Index", "X-Container-Meta-Web-Listings-CSS",
    "X-Container-Meta-Access-Control-Allow-Origin", "X-Container-Meta-Access-Control-Max-Age", "X-Container-Meta-Access-Control-Expose-Headers",
    "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers", "X-Web-Mode", "X-Service-Token", "X-Auth-Token", "X-Storage-Token",
    "X-Storage-Policy", "X-Delete-At", "X-Delete-After", "X-Object-Manifest", "X-Copy-From", "X-Copy-From-Account", "Destination",
    "Destination-Account", "Range", "If-Match", "If-None-Match", "If-Modified-Since", "ETag", "Accept", "Content-Type", "X-Object-Meta-A",
    "X-Container-Meta-A", "X-Symlink-Target", "X-Container-Sync-To", "X-Trans-Id-Extra", "Host", "Referer", "X-Timestamp", "X-Open-Expired",
)  # fmt: skip


def test_no_header_breaks_the_server(running: Running, swift: Swift) -> None:
    """S19: whatever a header holds is answered, and not by 500."""
    swift("PUT", "hostile", X_Container_Meta_Web_Listings="true", X_Container_Meta_Access_Control_Allow_Origin="*")
    swift("PUT", "hostile/o", b"data")
    rng = random.Random(19)
    line = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    for name, value in itertools.product(ASKED, HOSTILE):
        method = rng.choice(("GET", "HEAD", "PUT", "POST", "COPY", "OPTIONS"))
        target = swift.path(rng.choice(("", "hostile", "hostile/o", "hostile/p", "hostile/o/")))
        line.putrequest(method, target, skip_host=name == "Host")
        line.putheader(name, value.encode("utf-8" if any(ord(char) > 255 for char in value) else "latin-1"))
        if name != "X-Auth-Token" and rng.random() < 0.8:
            line.putheader("X-Auth-Token", swift.token)
        line.putheader("Content-Length", "0")
        line.endheaders()
        reply = line.getresponse()
        reply.read()
        assert reply.status != 500, (name, value, method, target)
        if reply.will_close:
            line.close()
    line.close()


def test_no_query_breaks_the_server(swift: Swift, stranger: Swift) -> None:
    """S19."""
    swift("PUT", "hostile")
    swift("PUT", "hostile/o", b"data")
    names = (
        "format", "prefix", "delimiter", "marker", "end_marker", "limit", "reverse", "path", "versions", "version-id", "version_marker", "states",
        "multipart-manifest", "part-number", "temp_url_sig", "temp_url_expires", "temp_url_prefix", "temp_url_ip_range", "filename", "inline", "symlink",
        "bulk-delete", "extract-archive",
    )  # fmt: skip
    rng = random.Random(19)
    for name, value in itertools.product(
        names, ("", "%00", "%ff", "-1", "9" * 30, "%2F" * 300, "get", "put", "*", "tar", "%0d%0a", "&" * 50, "=")
    ):
        method = rng.choice(("GET", "HEAD", "PUT", "POST", "DELETE"))
        caller, target = rng.choice((swift, stranger)), rng.choice(("", "hostile", "hostile/p"))
        if (method, target) == ("DELETE", "hostile"):
            continue
        reply = caller(method, target, b"" if method in ("PUT", "POST") else None, f"{name}={value}")
        assert reply.status != 500, (name, value, method, target)


def test_a_link_opens_nothing_that_its_reader_could_not_open(running: Running, swift: Swift, stranger: Swift, box: str) -> None:
    """S24: Swift's symlinks."""
    swift("PUT", f"{box}-closed")
    swift("PUT", f"{box}-closed/o", b"secret")
    other = Swift(running, OTHER)
    other("PUT", "links", X_Container_Read=".r:*")
    swift("POST", box, X_Container_Read=".r:*")
    assert swift("PUT", f"{box}/link", b"", X_Symlink_Target=f"{box}-closed/o").status == 201
    assert swift("GET", f"{box}/link").body == b"secret"
    other("PUT", "links/link", b"", X_Symlink_Target=f"{box}-closed/o", X_Symlink_Target_Account="AUTH_test")
    for caller, name in (
        (stranger, f"{box}/link"),
        (other.at("test"), f"{box}/link"),
        (other, "links/link"),
        (stranger.at("test2"), "links/link"),
    ):
        for method in ("GET", "HEAD", "POST"):
            reply = caller(method, name)
            assert (reply.status in (401, 403, 307), b"secret" in reply.body) == (True, False), (method, name, reply)
    copied = other("COPY", "links/link", Destination="links/copy")
    assert copied.status == 403
