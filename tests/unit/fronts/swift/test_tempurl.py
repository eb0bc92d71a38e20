"""Signed addresses: what is signed works, and nothing else."""

import base64
import hmac
import time
from urllib.parse import quote

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import Swift

KEY = "mykey"


@pytest.fixture
def stranger(running: Running, swift: Swift) -> Swift:
    swift("POST", X_Account_Meta_Temp_URL_Key=KEY)
    return Swift(running, None)


def signed(method: str, path: str, *, key: str = KEY, algorithm: str = "sha256", expires: int | None = None, start: str = "") -> str:
    expires = expires or int(time.time()) + 600
    digest = hmac.new(key.encode(), f"{start}{method}\n{expires}\n{path}".encode(), algorithm).hexdigest()
    return f"temp_url_sig={digest}&temp_url_expires={expires}"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_who_has_a_signed_address_may_do_just_that(swift: Swift, stranger: Swift, box: str, algorithm: str) -> None:
    swift("PUT", f"{box}/o ö", b"data")
    path = f"/v1/AUTH_test/{box}/o ö"
    query = signed("GET", path, algorithm=algorithm)
    reply = stranger("GET", f"{box}/o ö", query=query)
    assert (reply.status, reply.body) == (200, b"data")
    assert reply.headers["content-disposition"] == "attachment; filename=\"o _\"; filename*=UTF-8''o%20%C3%B6"
    assert stranger("HEAD", f"{box}/o ö", query=query).status == 200
    assert stranger("DELETE", f"{box}/o ö", query=query).status == 401
    assert stranger("PUT", f"{box}/o ö", b"x", query=query).status == 401
    assert stranger("GET", f"{box}/other", query=query).status == 401
    assert stranger("GET", box, query=query).status == 401


def test_an_upload_may_be_signed_too(swift: Swift, stranger: Swift, box: str) -> None:
    query = signed("PUT", f"/v1/AUTH_test/{box}/new")
    assert stranger("PUT", f"{box}/new", b"up", query=query, X_Object_Manifest="c/p").status == 400
    assert stranger("PUT", f"{box}/new", b"up", query=query).status == 201
    assert swift("GET", f"{box}/new").body == b"up"


def test_a_container_has_keys_of_its_own_and_they_open_nothing_else(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"data")
    swift("POST", box, X_Container_Meta_Temp_URL_Key_2="second")
    swift("PUT", "elsewhere")
    swift("PUT", "elsewhere/o", b"data")
    assert stranger("GET", f"{box}/o", query=signed("GET", f"/v1/AUTH_test/{box}/o", key="second")).status == 200
    assert stranger("GET", "elsewhere/o", query=signed("GET", "/v1/AUTH_test/elsewhere/o", key="second")).status == 401


def test_a_prefix_opens_all_below_it(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/pre/a", b"1")
    query = signed("GET", f"prefix:/v1/AUTH_test/{box}/pre/") + "&temp_url_prefix=pre/"
    assert stranger("GET", f"{box}/pre/a", query=query).body == b"1"
    assert stranger("GET", f"{box}/other", query=query).status == 401


def test_a_range_of_addresses_keeps_others_out(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1")
    for addresses, status in (("127.0.0.0/8", 200), ("10.0.0.0/8", 401), ("nonsense", 401)):
        query = signed("GET", f"/v1/AUTH_test/{box}/o", start=f"ip={addresses}\n") + f"&temp_url_ip_range={quote(addresses)}"
        assert stranger("GET", f"{box}/o", query=query).status == status


def test_how_it_is_saved_may_be_told(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1")
    query = signed("GET", f"/v1/AUTH_test/{box}/o")
    assert 'filename="a_b_.txt"' in stranger("GET", f"{box}/o", query=query + "&filename=a%22b%0a.txt").headers["content-disposition"]
    assert stranger("GET", f"{box}/o", query=query + "&inline").headers["content-disposition"] == "inline"
    assert stranger("GET", f"{box}/o", query=query + "&inline&filename=x").headers["content-disposition"].startswith("inline; ")


def test_a_time_beyond_all_dates_is_understood(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1")
    reply = stranger("GET", f"{box}/o", query=signed("GET", f"/v1/AUTH_test/{box}/o", expires=999_999_999_999))
    assert (reply.status, reply.headers["expires"]) == (200, "Fri, 31 Dec 9999 23:59:59 GMT")


def test_metadata_is_shown_where_it_is_said_to_be_public(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1", X_Object_Meta_Owner="joe", X_Object_Meta_Public_Licence="free")
    query = signed("GET", f"/v1/AUTH_test/{box}/o")
    for method in ("GET", "HEAD"):
        headers = stranger(method, f"{box}/o", query=query).headers
        assert (headers.get("x-object-meta-owner"), headers["x-object-meta-public-licence"]) == (None, "free"), method
        assert headers["content-disposition"].startswith("attachment"), method
    assert swift("HEAD", f"{box}/o").headers["x-object-meta-owner"] == "joe"


def test_a_signed_address_opens_no_object_whose_time_has_run_out(swift: Swift, stranger: Swift, box: str) -> None:
    """Who may open such objects shows a token, and a signature is none: nobody looks at the token beside it."""
    swift("PUT", f"{box}/o", b"1", X_Delete_After="1")
    query = signed("GET", f"/v1/AUTH_test/{box}/o")
    time.sleep(2)
    assert swift("GET", f"{box}/o", X_Open_Expired="true").status == 200
    assert stranger("GET", f"{box}/o", query=query, X_Open_Expired="true", X_Auth_Token="anything").status == 404


def test_a_signed_address_is_no_way_into_a_site(swift: Swift, stranger: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Web_Listings="true", X_Container_Meta_Web_Index="i", X_Container_Meta_Web_Error="error")
    for name in ("d/secret", "e/i", "404error"):
        swift("PUT", f"{box}/{name}", b"secret")
    for name in ("d/", "e/", "none"):
        reply = stranger("GET", f"{box}/{name}", query=signed("GET", f"/v1/AUTH_test/{box}/{name}"), X_Web_Mode="true")
        assert (reply.status, b"secret" in reply.body) == (404, False), name


def test_other_forms_of_signature_and_time_are_understood(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1")
    expires = int(time.time()) + 600
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
    digest = hmac.new(KEY.encode(), f"GET\n{expires}\n/v1/AUTH_test/{box}/o".encode(), "sha512").digest()
    encoded = base64.urlsafe_b64encode(digest).decode()
    assert stranger("GET", f"{box}/o", query=f"temp_url_sig=sha512:{encoded}&temp_url_expires={text}").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "temp_url_sig=abc&temp_url_expires=9999999999", "temp_url_sig=&temp_url_expires=9999999999", "temp_url_expires=9999999999", "temp_url_sig=aa",
        "temp_url_sig=md5:AAAA&temp_url_expires=9999999999", "temp_url_sig=sha256:%25&temp_url_expires=9999999999", "temp_url_sig=aa&temp_url_expires=never",
    ],
)  # fmt: skip
def test_what_is_not_signed_opens_nothing(stranger: Swift, box: str, query: str) -> None:
    assert stranger("GET", f"{box}/o", query=query).status == 401


def test_an_address_runs_out(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"1")
    assert stranger("GET", f"{box}/o", query=signed("GET", f"/v1/AUTH_test/{box}/o", expires=1_000_000_000)).status == 401


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_a_signed_address_deletes_copies_and_gathers_nothing_else(swift: Swift, stranger: Swift, box: str, method: str) -> None:
    """What stands in the query or in headers is not signed: it must not reach any other object of the account."""
    for name in ("mine", "secret"):
        swift("PUT", f"{box}/{name}", b"secret")
    query = signed(method, f"/v1/AUTH_test/{box}/mine")
    body = f"{box}/secret".encode()
    manifest = f'[{{"path": "/{box}/secret"}}]'.encode()
    assert stranger(method, f"{box}/mine", body, query=f"{query}&bulk-delete").status == 400
    assert stranger(method, f"{box}/mine", manifest, query=f"{query}&multipart-manifest=put").status == 400
    assert stranger(method, f"{box}/mine", query=f"{query}&multipart-manifest=delete").status == 400
    assert stranger(method, f"{box}/mine", query=f"{query}&extract-archive=tar").status == 400
    assert stranger(method, f"{box}/mine", query=f"{query}&version-id=x").status == 400
    assert stranger(method, f"{box}/mine", query=query, X_Copy_From=f"{box}/secret").status == 400
    assert stranger(method, f"{box}/mine", query=query, X_Copy_From_Account="AUTH_other").status == 400
    assert swift("GET", f"{box}/secret").body == b"secret"


def test_an_older_version_is_not_what_was_signed(swift: Swift, stranger: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"data")
    query = signed("GET", f"/v1/AUTH_test/{box}/o")
    assert stranger("GET", f"{box}/o", query=f"{query}&version-id=null").status == 400
    assert stranger("GET", f"{box}/o", query=f"{query}&multipart-manifest=get").status == 200
