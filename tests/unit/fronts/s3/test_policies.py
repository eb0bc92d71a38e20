"""Bucket policies through boto3."""

import json
from typing import Any

import pytest

from objstore.core.policy import MAX_POLICY_BYTES
from tests.support.s3_raw import call, send
from tests.support.s3_server import BOB, EVE, Running
from tests.unit.fronts.s3.test_buckets import code_of
from tests.unit.fronts.s3.test_post import made, post, signed_v2


def policy(bucket: str, action: Any, **more: Any) -> str:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resources, **more}]}
    )


@pytest.fixture
def open_bucket(s3: Any, bucket: str) -> str:
    s3.delete_public_access_block(Bucket=bucket)
    return bucket


def test_a_policy_is_set_shown_and_taken_away(server: Running, s3: Any, open_bucket: str) -> None:
    assert code_of(s3.get_bucket_policy, Bucket=open_bucket) == (404, "NoSuchBucketPolicy")
    text = policy(open_bucket, "s3:GetObject")
    s3.put_bucket_policy(Bucket=open_bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=open_bucket)["Policy"] == text
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"] == {"IsPublic": True}
    s3.put_object(Bucket=open_bucket, Key="k", Body=b"data")
    assert send(server, "GET", f"/{open_bucket}/k").body == b"data"
    assert call(server, "GET", f"/{open_bucket}/k", user=BOB).body == b"data"
    assert send(server, "PUT", f"/{open_bucket}/k", b"x").status == 403
    assert call(server, "GET", f"/{open_bucket}/k", user=EVE).code == "NoSuchBucket"  # of another tenant
    s3.delete_bucket_policy(Bucket=open_bucket)
    s3.delete_bucket_policy(Bucket=open_bucket)
    assert send(server, "GET", f"/{open_bucket}/k").status == 403
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"] == {"IsPublic": False}


def test_bad_policies_are_refused_with_amazons_code(server: Running, s3: Any, open_bucket: str) -> None:
    for text in ("{}", "[]", "x", policy("other", "s3:GetObject"), policy(open_bucket, "s3:GetObject", Effect="Maybe")):
        assert code_of(s3.put_bucket_policy, Bucket=open_bucket, Policy=text) == (400, "MalformedPolicy")
    assert call(server, "PUT", f"/{open_bucket}?policy", b" " * MAX_POLICY_BYTES + b"{}").code == "MalformedPolicy"
    assert call(server, "PUT", f"/{open_bucket}?policy").code == "MissingRequestBodyError"
    assert code_of(s3.get_bucket_policy, Bucket=open_bucket) == (404, "NoSuchBucketPolicy")


@pytest.mark.parametrize(
    ("action", "resource", "taken"),
    [
        ("s3:ListBucket", "BUCKET/*", False),
        ("s3:GetObject", "BUCKET", False),
        (["s3:GetObject", "s3:listbucket"], "BUCKET/*", False),
        (["s3:GetObject", "s3:ListBucket"], ["BUCKET", "BUCKET/a"], True),
        (["s3:GetObject", "s3:ListBucket"], "BUCKET*", True),
        ("s3:GetObject", "${aws:username}", True),
        ("s3:List*", "BUCKET/*", True),
        ("s3:NewOnAmazon", "BUCKET/*", True),
    ],
)
def test_an_action_needs_a_resource_that_it_is_done_to(
    server: Running, open_bucket: str, action: Any, resource: Any, *, taken: bool
) -> None:
    """Amazon's refusal: such a statement would never do anything, least of all deny."""
    names = [f"arn:aws:s3:::{name.replace('BUCKET', open_bucket)}" for name in ([resource] if isinstance(resource, str) else resource)]
    answer = call(server, "PUT", f"/{open_bucket}?policy", policy(open_bucket, action, Effect="Deny", Resource=names).encode())
    if taken:
        assert answer.status == 204
    else:
        assert (answer.code, answer.status) == ("MalformedPolicy", 400)
        assert b"<Message>Action does not apply to any resource(s) in statement</Message>" in answer.body
        assert b"name it in Resource" in answer.body


def test_public_policies_are_refused_while_they_are_blocked(server: Running, s3: Any, bucket: str) -> None:
    refused = call(server, "PUT", f"/{bucket}?policy", policy(bucket, "s3:GetObject").encode())
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert "public access block" in refused.value("Hint")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, "s3:GetObject", Principal={"AWS": "bob"}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert call(server, "GET", f"/{bucket}/k", user=BOB).status == 200


def test_conditions_see_headers_parameters_and_address(server: Running, s3: Any, open_bucket: str) -> None:
    s3.put_object(Bucket=open_bucket, Key="a/k", Body=b"x")
    listing = {"StringEquals": {"s3:prefix": "a/"}, "NumericLessThanEquals": {"s3:max-keys": "5"}}
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:ListBucket", Condition=listing))
    assert send(server, "GET", f"/{open_bucket}?prefix=a/&max-keys=5").status == 200
    assert send(server, "GET", f"/{open_bucket}?prefix=a/&max-keys=6").status == 403
    assert send(server, "GET", f"/{open_bucket}").status == 403
    for condition, allowed in (
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringLike": {"aws:Referer": "http://good/*"}}, True),
        ({"StringLike": {"aws:UserAgent": "else*"}}, False),
    ):
        s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:GetObject", Condition=condition))
        answer = send(server, "GET", f"/{open_bucket}/a/k", headers={"Referer": "http://good/x", "X-Forwarded-For": "10.0.0.1"})
        assert (answer.status == 200) is allowed, condition


def test_writes_are_judged_by_their_headers(server: Running, s3: Any, open_bucket: str) -> None:
    for condition, headers in (
        ({"StringEquals": {"s3:RequestObjectTag/level": "public"}}, {"x-amz-tagging": "level=public"}),
        ({"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}, {"x-amz-acl": "bucket-owner-full-control"}),
        ({"StringEquals": {"s3:if-none-match": "*"}}, {"If-None-Match": "*"}),
    ):
        s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:PutObject", Condition=condition))
        key = f"/{open_bucket}/{next(iter(headers)).lower()}"
        assert call(server, "PUT", key, b"x", user=BOB).code == "AccessDenied"
        assert call(server, "PUT", key, b"x", headers, user=BOB).status == 200


def test_copies_are_judged_by_their_source(server: Running, s3: Any, open_bucket: str) -> None:
    for key in ("public/a", "private/a"):
        s3.put_object(Bucket=open_bucket, Key=key, Body=b"x")
    condition = {"StringLike": {"s3:x-amz-copy-source": f"{open_bucket}/public/*"}}
    statements = [
        json.loads(policy(open_bucket, action, **more))["Statement"][0]
        for action, more in (("s3:GetObject", {}), ("s3:PutObject", {"Condition": condition}))
    ]
    s3.put_bucket_policy(Bucket=open_bucket, Policy=json.dumps({"Statement": statements}))
    bob = server.client(BOB)
    bob.copy_object(Bucket=open_bucket, Key="new", CopySource=f"{open_bucket}/public/a")
    assert code_of(bob.copy_object, Bucket=open_bucket, Key="new", CopySource=f"{open_bucket}/private/a") == (403, "AccessDenied")
    assert code_of(bob.put_object, Bucket=open_bucket, Key="new", Body=b"") == (403, "AccessDenied")


def test_the_owner_is_told_which_statement_denies(server: Running, s3: Any, open_bucket: str) -> None:
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:PutObject", Effect="Deny", Sid="frozen"))
    refused = call(server, "PUT", f"/{open_bucket}/k", b"x")
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert "Deny &quot;frozen&quot; (statement 1)" in refused.value("Hint")
    assert "frozen" not in call(server, "PUT", f"/{open_bucket}/k", b"x", user=BOB).value("Hint")


def test_the_status_knows_lists_too(server: Running, s3: Any, open_bucket: str) -> None:
    s3.put_bucket_ownership_controls(Bucket=open_bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    s3.put_bucket_acl(Bucket=open_bucket, ACL="public-read")
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"] == {"IsPublic": True}
    assert call(server, "GET", f"/{open_bucket}?policyStatus", user=BOB).code == "AccessDenied"


def test_strangers_cannot_tell_whether_an_object_is_there(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="there", Body=b"x", Metadata={"a": "b"})
    for ownership in ("BucketOwnerEnforced", "ObjectWriter"):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})
        for headers in (
            {}, {"If-Modified-Since": "Sun, 01 Jan 2040 00:00:00 GMT"}, {"If-None-Match": "*"}, {"If-Match": "x"}, {"Range": "bytes=0-0"},
        ):  # fmt: skip
            for method, query in (
                ("GET", ""),
                ("HEAD", ""),
                ("GET", "?tagging"),
                ("GET", "?acl"),
                ("GET", "?partNumber=9"),
                ("DELETE", ""),
            ):
                for ask in (send, lambda *words: call(*words, user=BOB)):
                    found, missing = (ask(server, method, f"/{bucket}/{key}{query}", b"", headers) for key in ("there", "none_"))
                    if "partNumber" in query and "Range" in headers:
                        assert found.status == missing.status == 400  # no such request, whoever sends it
                        continue
                    assert found.status == missing.status == 403, (method, query, headers)
                    assert len(found.body) == len(missing.body)
                    assert set(found.headers) == set(missing.headers)


def test_policies_know_tls(tls_server: Running) -> None:
    s3 = tls_server.client()
    s3.create_bucket(Bucket="over-tls")
    s3.put_object(Bucket="over-tls", Key="k", Body=b"x")
    for wanted, allowed in (("true", True), ("false", False)):
        condition = {"Bool": {"aws:SecureTransport": wanted}}
        s3.put_bucket_policy(Bucket="over-tls", Policy=policy("over-tls", "s3:GetObject", Principal={"AWS": "bob"}, Condition=condition))
        if allowed:
            assert tls_server.client(BOB).get_object(Bucket="over-tls", Key="k")["Body"].read() == b"x"
        else:
            assert code_of(tls_server.client(BOB).get_object, Bucket="over-tls", Key="k") == (403, "AccessDenied")


def test_forms_are_judged_by_their_fields(server: Running, s3: Any, open_bucket: str) -> None:
    condition = {"StringEquals": {"s3:RequestObjectTag/level": "public"}}
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:PutObject", Condition=condition))
    tags = "<Tagging><TagSet><Tag><Key>level</Key><Value>public</Value></Tag></TagSet></Tagging>"

    def post(*fields: tuple[str, str], **headers: str) -> int:
        parts = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields)
        form = f'{parts}--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ndata\r\n--x--\r\n'.encode()
        return send(server, "POST", f"/{open_bucket}", form, {"Content-Type": "multipart/form-data; boundary=x", **headers}).status

    assert post(("key", "k")) == 403
    assert post(("key", "k"), **{"x-amz-tagging": "level=public"}) == 403  # of the request, not of the form
    assert post(("key", "k"), ("tagging", tags)) == 204
    assert s3.get_object_tagging(Bucket=open_bucket, Key="k")["TagSet"] == [{"Key": "level", "Value": "public"}]


RETENTION = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}


@pytest.mark.parametrize("until", ["2099-01-01T00:00:00Z", "2099-01-01T00:00:99Z", "2099-01-01T00:00:00.1234567+01:00"])
def test_a_limit_of_retention_holds_in_every_form_of_its_end(server: Running, s3: Any, bucket: str, until: str) -> None:
    locked = f"{bucket}-locked"
    s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    s3.put_bucket_policy(
        Bucket=locked, Policy=policy(locked, ["s3:PutObject", "s3:PutObjectRetention"], Effect="Deny", Condition=RETENTION)
    )
    lock = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": until}
    for method, path, body in (("PUT", "k", b"x"), ("POST", "k?uploads", b"")):
        assert call(server, method, f"/{locked}/{path}", body, lock).code == "AccessDenied"
        http = {**lock, "x-amz-object-lock-retain-until-date": "Thu, 01 Jan 2099 00:00:00 GMT"}
        refused = call(server, method, f"/{locked}/{path}", body, http)
        assert (refused.code, refused.value("Message")) == (
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
        )
    assert call(server, "PUT", f"/{locked}/k", b"x").status == 200
    assert call(server, "PUT", f"/{locked}/k2", b"", {**lock, "x-amz-copy-source": f"/{locked}/k"}).code == "AccessDenied"
    document = f"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>".encode()
    assert call(server, "PUT", f"/{locked}/k?retention", document).code == "AccessDenied"
    http_dated = document.replace(until.encode(), b"Thu, 01 Jan 2099 00:00:00 GMT")
    assert call(server, "PUT", f"/{locked}/k?retention", http_dated).code == "AccessDenied"


def test_who_must_not_replace_anything_says_so(server: Running, s3: Any, open_bucket: str) -> None:
    for key in ("if-none-match", "if-match"):
        once = policy(open_bucket, "s3:PutObject", Effect="Deny", Condition={"Null": {f"s3:{key}": "true"}})
        s3.put_bucket_policy(Bucket=open_bucket, Policy=once)
        s3.delete_object(Bucket=open_bucket, Key="k")
        assert call(server, "PUT", f"/{open_bucket}/k", b"1").code == "AccessDenied"
        for text in ('"nothing"', "", '""', "W/*"):
            assert call(server, "PUT", f"/{open_bucket}/k", b"1", {key: text}).code != "", text
            assert call(server, "GET", f"/{open_bucket}/k").code == "NoSuchKey"
        if key == "if-none-match":
            assert call(server, "PUT", f"/{open_bucket}/k", b"1", {key: "*"}).status == 200
            assert call(server, "PUT", f"/{open_bucket}/k", b"2", {key: "*"}).code == "PreconditionFailed"
            assert call(server, "PUT", f"/{open_bucket}/k", b"2", {key: '"nothing"'}).code == "AccessDenied"


def test_policies_know_by_which_version_a_form_is_signed(server: Running, s3: Any, open_bucket: str) -> None:
    only_v4 = {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:PutObject", Effect="Deny", Condition=only_v4))
    new = made(server.client(signature_version="s3v4"), open_bucket, "k")
    assert post(server, open_bucket, new).status == 204
    old = {"key": "k", **signed_v2(open_bucket, [["starts-with", "$key", ""]])}
    assert post(server, open_bucket, old).code == "AccessDenied"
    only_forms = {"StringNotEquals": {"s3:authType": "POST"}}
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(open_bucket, "s3:PutObject", Effect="Deny", Condition=only_forms))
    assert post(server, open_bucket, old).status == 204
    assert call(server, "PUT", f"/{open_bucket}/k", b"").code == "AccessDenied"


def test_a_copys_source_is_judged_by_what_it_means(server: Running, s3: Any, open_bucket: str) -> None:
    """Percent-encoded in another way, or with a second version id behind it, it is still the source that the policy speaks of."""
    for key in ("secret/k", "public/k", "public/k?versionId=x"):
        s3.put_object(Bucket=open_bucket, Key=key, Body=b"x")
    secret = {"StringLike": {"s3:x-amz-copy-source": f"{open_bucket}/secret/*"}}
    statements = [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{open_bucket}/*", "Condition": secret}
    ]
    exact = {"StringEquals": {"s3:x-amz-copy-source": f"{open_bucket}/public/k"}}
    statements.append({**statements[0], "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{open_bucket}/exact", "Condition": exact})
    s3.put_bucket_policy(Bucket=open_bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def copy(source: str, key: str = "copy") -> int:
        return call(server, "PUT", f"/{open_bucket}/{key}", b"", {"x-amz-copy-source": source}).status

    for source in ("secret/k", "%73ecret/k", "secret%2Fk", "secret/k?versionId=null"):
        assert copy(f"/{open_bucket}/{source}") == 403, source
        assert copy(f"%2F{open_bucket}%2F{source}") == 403, source
    assert copy(f"{open_bucket}/public/k") == 200
    assert copy(f"{open_bucket}/public/k", "exact") == 403
    assert copy(f"{open_bucket}/public/k?versionId=x?versionId=null", "exact") == 200  # another key


def test_halves_of_characters_in_a_policy_are_no_crash(server: Running, bucket: str) -> None:
    for text in ('{"\\ud800": 1}', '{"Statement": {"Sid": "\\udfff"}}', '{"Id": "\\ud800\\ud800", "Statement": []}'):
        refused = call(server, "PUT", f"/{bucket}?policy", text.encode())
        assert (refused.status, refused.code) == (400, "MalformedPolicy")
