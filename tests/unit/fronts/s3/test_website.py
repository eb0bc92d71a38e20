"""Websites: the document through boto3, and pages as a browser gets them."""

from collections.abc import Iterator
from typing import Any

import pytest

from objstore.fronts.s3 import website
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.settings import S3Settings
from objstore.objects.api import Principal
from tests.support.s3_raw import call, send
from tests.support.s3_server import Running, s3_serving

FULL: dict[str, Any] = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/", "Protocol": "https"}},
        {"Condition": {"KeyPrefixEquals": "gone/", "HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"ReplaceKeyWith": "sorry.html", "HttpRedirectCode": "302"}},
        {"Condition": {"KeyPrefixEquals": "moved/"}, "Redirect": {"HostName": "other.example", "HttpRedirectCode": "307"}},
    ],
}  # fmt: skip
ALL = {"RedirectAllRequestsTo": {"HostName": "other.example", "Protocol": "https"}}


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    with s3_serving(settings=S3Settings(website_domains=("web.test",), domains=("test",))) as running:
        s3 = running.client()
        s3.create_bucket(Bucket="site")
        s3.put_bucket_website(Bucket="site", WebsiteConfiguration=FULL)
        for key in ("index.html", "a/index.html", "page", "error.html"):
            s3.put_object(Bucket="site", Key=key, Body=key.encode(), ContentType="text/html")
        s3.put_object(Bucket="site", Key="away", Body=b"x" * 300_000, WebsiteRedirectLocation="https://else.example/x")
        yield running


def body(inner: str) -> bytes:
    return f"<WebsiteConfiguration>{inner}</WebsiteConfiguration>".encode()


def routing(inner: str) -> bytes:
    index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>"
    return body(f"{index}<RoutingRules><RoutingRule>{inner}</RoutingRule></RoutingRules>")


def test_documents_come_back_as_they_were_set(s3: Any, bucket: str) -> None:
    for document in (FULL, ALL, {"IndexDocument": {"Suffix": "i"}}):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=document)
        found = s3.get_bucket_website(Bucket=bucket)
        del found["ResponseMetadata"]
        assert found == document
    s3.delete_bucket_website(Bucket=bucket)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (body(""), "InvalidArgument"),
        (body("<IndexDocument/>"), "MalformedXML"),
        (body("<IndexDocument><Suffix/></IndexDocument>"), "InvalidArgument"),
        (body("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument"),
        (body("<IndexDocument><Suffix>a</Suffix></IndexDocument><ErrorDocument><Key/></ErrorDocument>"), "InvalidArgument"),
        (body("<IndexDocument><Suffix>a</Suffix></IndexDocument><RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"), "InvalidArgument"),
        (body("<RedirectAllRequestsTo/>"), "MalformedXML"),
        (body("<RedirectAllRequestsTo><HostName>a\r\nb</HostName></RedirectAllRequestsTo>"), "InvalidArgument"),
        (body("<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>"), "InvalidRequest"),
        (routing(""), "MalformedXML"),
        (routing("<Redirect/>"), "MalformedXML"),
        (routing("<Condition/><Redirect><HostName>h</HostName></Redirect>"), "InvalidRequest"),
        (routing("<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>"), "InvalidRequest"),
        (routing("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (routing("<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"), "InvalidRequest"),
        (routing(f"<Redirect><ReplaceKeyWith>{'a' * 1025}</ReplaceKeyWith></Redirect>"), "InvalidRequest"),
        (routing("</RoutingRule><RoutingRule>".join(["<Redirect><HostName>h</HostName></Redirect>"] * 51)), "InvalidRequest"),
        (body("<Other/>"), "MalformedXML"),
    ],
)  # fmt: skip
def test_documents_that_cannot_be_are_refused(server: Running, bucket: str, document: bytes, code: str) -> None:
    assert call(server, "PUT", f"/{bucket}?website", document).code == code
    assert call(server, "GET", f"/{bucket}?website").code == "NoSuchWebsiteConfiguration"


async def _serve(site: Running, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """As on a bucket that everybody may read: the answer of the endpoint for a caller who may."""
    request = S3Request({"method": method}, None, "id")  # type: ignore[arg-type] # a GET has no body to receive
    request.bucket, request.key, request.who = "site", path, Principal(account="alice")
    request.headers = {"host": "site.web.test", **(headers or {})}
    response = await website.serve(site.app._front, request)
    data = bytes(response.body)
    if response.rest is not None:
        data += b"".join([bytes(piece) async for piece in response.rest])
    return response.status, {name.decode(): value.decode() for name, value in response.headers}, data


def serve(site: Running, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    import asyncio

    found = asyncio.run_coroutine_threadsafe(_serve(site, path, method, headers), site.loop)
    return found.result(10)


def test_pages_folders_and_redirects(site: Running) -> None:
    assert serve(site, "")[::2] == (200, b"index.html")
    assert serve(site, "a/")[::2] == (200, b"a/index.html")
    assert serve(site, "page")[::2] == (200, b"page")
    assert serve(site, "page", "HEAD")[::2] == (200, b"")
    assert serve(site, "page", headers={"range": "bytes=0-1"})[::2] == (206, b"pa")
    status, headers, _ = serve(site, "a")
    assert (status, headers["location"]) == (302, "http://site.web.test/a/")
    status, headers, _ = serve(site, "docs/x y")
    assert (status, headers["location"]) == (301, "https://site.web.test/documents/x%20y")
    status, headers, _ = serve(site, "gone/x")
    assert (status, headers["location"]) == (302, "http://site.web.test/sorry.html")
    status, headers, _ = serve(site, "moved/x")
    assert (status, headers["location"]) == (307, "http://other.example/moved/x")
    status, headers, data = serve(site, "away")
    assert (status, headers["location"], data) == (301, "https://else.example/x", b"")


def test_what_is_missing_is_the_buckets_own_page(site: Running) -> None:
    status, headers, data = serve(site, "missing", headers={"range": "bytes=0-1", "if-none-match": "*"})
    assert (status, data, headers["x-amz-error-code"]) == (404, b"error.html", "NoSuchKey")
    assert headers["content-type"] == "text/html"


def test_nobody_who_may_not_read_sees_anything(site: Running) -> None:
    host = {"Host": "site.web.test:9000"}
    refused = send(site, "GET", "/page", headers=host)
    assert refused.status == 403
    assert b"<h1>403 Forbidden</h1>" in refused.body
    assert b"Code: AccessDenied" in refused.body
    assert call(site, "GET", "/page", headers=host).status == 403  # a signature means nothing there
    assert send(site, "HEAD", "/page", headers=host).body == b""
    assert send(site, "PUT", "/page", b"x", host).status == 405
    assert send(site, "DELETE", "/page?versionId=null", headers=host).status == 405
    other = send(site, "GET", "/<b>", headers={"Host": "no-such.web.test"})
    assert other.status == 404
    assert b"Code: NoSuchBucket" in other.body
    assert b"<b>" not in other.body
    assert send(site, "GET", "/docs/x", headers=host).headers["location"] == "https://site.web.test:9000/documents/x"
    site.client().create_bucket(Bucket="plain")
    assert b"NoSuchWebsiteConfiguration" in send(site, "GET", "/", headers={"Host": "plain.web.test"}).body


def test_redirects_of_objects_are_shown_and_not_copied(site: Running) -> None:
    s3 = site.client()
    assert s3.head_object(Bucket="site", Key="away")["WebsiteRedirectLocation"] == "https://else.example/x"
    s3.copy_object(Bucket="site", Key="copy", CopySource="site/away")
    assert "WebsiteRedirectLocation" not in s3.head_object(Bucket="site", Key="copy")
    for directive in ("COPY", "REPLACE"):
        s3.copy_object(Bucket="site", Key="sent", CopySource="site/away", WebsiteRedirectLocation="/there", MetadataDirective=directive)
        assert s3.head_object(Bucket="site", Key="sent")["WebsiteRedirectLocation"] == "/there"
    s3.copy_object(Bucket="site", Key="sent", CopySource="site/sent", WebsiteRedirectLocation="/elsewhere")  # which changes something
    assert s3.head_object(Bucket="site", Key="sent")["WebsiteRedirectLocation"] == "/elsewhere"
    for odd in ("ftp://x", "x", "/" + "x" * 2048):
        answer = call(site, "PUT", "/site/odd", b"", {"x-amz-website-redirect-location": odd})
        assert answer.code == "InvalidRedirectLocation"


def test_everybody_sees_what_a_policy_lets_everybody_read(site: Running) -> None:
    s3 = site.client()
    s3.create_bucket(Bucket="open")
    s3.put_bucket_website(Bucket="open", WebsiteConfiguration=FULL)
    s3.put_object(Bucket="open", Key="index.html", Body=b"welcome", ContentType="text/html")
    s3.delete_public_access_block(Bucket="open")
    public = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}}'
    s3.put_bucket_policy(Bucket="open", Policy=public)
    found = send(site, "GET", "/", headers={"Host": "open.web.test"})
    assert (found.status, found.body, found.headers["content-type"]) == (200, b"welcome", "text/html")


def test_a_query_means_nothing_on_a_website(site: Running) -> None:
    """No version, no part, no headers of the answer can be asked for by a link."""
    plain = send(site, "GET", "/page", b"", {"Host": "site.web.test"})
    for query in ("versionId=junk", "partNumber=junk", "response-content-type=text/plain", "acl"):
        asked = send(site, "GET", f"/page?{query}", b"", {"Host": "site.web.test"})
        assert (asked.status, asked.headers["content-type"]) == (plain.status, plain.headers["content-type"]), query
