"""Who may do what, for every route there is: a route without a row here fails.

Each row names the permissions that S3 demands.  Every route is asked by nobody, by another tenant, by another account, by a
user who may only read, by one who lacks just one of the permissions, by one who has just these, by an administrator, and by
the owner.
"""

import dataclasses
import itertools
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5

import pytest

from objstore.core.policy import Kind, parse_policy
from objstore.fronts.s3 import routes
from objstore.identity.logic import Credentials
from objstore.identity.model import Keyholder, User
from objstore.objects.context import ObjectSettings
from tests.support.s3_raw import Answer, call, send
from tests.support.s3_server import ALICE, BOB, EVE, Running, s3_serving

ROOT = User(account="root", name="root", access_key="AKROOT", secret_key="root-secret", admin=True)
PROBE = User(account="alice", name="probe", access_key="AKPROBE", secret_key="probe-secret")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Row:
    """What a route needs: permissions, and what makes a request of it that is well-formed."""

    actions: tuple[str, ...]
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""


def row(*actions: str, body: str = "", query: str = "", **headers: str) -> Row:
    return Row(tuple(f"s3:{name}" for name in actions), body, {name.replace("_", "-"): value for name, value in headers.items()}, query)


LOCK = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
DELETE = "<Delete><Object><Key>k</Key></Object></Delete>"
RULE = "<Rule><ID>a</ID><Filter/><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>"
CORS = "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>"
SSE = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"
TAGS = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
PART = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
OWNERSHIP = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"
POLICY = (
    '{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": "bob"}}, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::{bucket}"}}}}'
)
UPLOAD = "uploadId={upload}&partNumber=1"

# Route by Amazon's name -> what it needs.  {bucket}, {upload}, {etag} are filled in.
ROWS: dict[str, Row] = {
    "ListBuckets": row("ListAllMyBuckets"),
    "ListObjects": row("ListBucket"),
    "ListObjectsV2": row("ListBucket", query="list-type=2"),
    "ListObjectVersions": row("ListBucketVersions"),
    "ListMultipartUploads": row("ListBucketMultipartUploads"),
    "GetBucketLocation": row("GetBucketLocation"),
    "CreateBucket": row("CreateBucket"),
    "HeadBucket": row("ListBucket"),
    "DeleteBucket": row("DeleteBucket"),
    "DeleteObjects": row("DeleteObject", body=DELETE),
    "GetBucket:replication": row("GetReplicationConfiguration"),
    "DeleteBucket:replication": row("PutReplicationConfiguration"),
    "GetBucket:accelerate": row("GetAccelerateConfiguration"),
    "GetBucketLogging": row("GetBucketLogging"),
    "PutBucketLogging": row("PutBucketLogging", body="<BucketLoggingStatus/>"),
    "GetBucketNotificationConfiguration": row("GetBucketNotification"),
    "PutBucketNotificationConfiguration": row("PutBucketNotification", body="<NotificationConfiguration/>"),
    "GetBucketRequestPayment": row("GetBucketRequestPayment"),
    "PutBucketRequestPayment": row(
        "PutBucketRequestPayment", body="<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
    ),
    "GetBucketAnalyticsConfiguration": row("GetAnalyticsConfiguration"),
    "DeleteBucketAnalyticsConfiguration": row("PutAnalyticsConfiguration"),
    "GetBucketIntelligentTieringConfiguration": row("GetIntelligentTieringConfiguration"),
    "DeleteBucketIntelligentTieringConfiguration": row("PutIntelligentTieringConfiguration"),
    "GetBucketInventoryConfiguration": row("GetInventoryConfiguration"),
    "DeleteBucketInventoryConfiguration": row("PutInventoryConfiguration"),
    "GetBucketMetricsConfiguration": row("GetMetricsConfiguration"),
    "DeleteBucketMetricsConfiguration": row("PutMetricsConfiguration"),
    "GetBucketAcl": row("GetBucketAcl"),
    "PutBucketAcl": row("PutBucketAcl", x_amz_acl="private"),
    "GetBucketCors": row("GetBucketCORS"),
    "PutBucketCors": row("PutBucketCORS", body=f"<CORSConfiguration>{CORS}</CORSConfiguration>"),
    "DeleteBucketCors": row("PutBucketCORS"),
    "GetBucketEncryption": row("GetEncryptionConfiguration"),
    "PutBucketEncryption": row(
        "PutEncryptionConfiguration", body=f"<ServerSideEncryptionConfiguration>{SSE}</ServerSideEncryptionConfiguration>"
    ),
    "DeleteBucketEncryption": row("PutEncryptionConfiguration"),
    "GetBucketLifecycleConfiguration": row("GetLifecycleConfiguration"),
    "PutBucketLifecycleConfiguration": row("PutLifecycleConfiguration", body=f"<LifecycleConfiguration>{RULE}</LifecycleConfiguration>"),
    "DeleteBucketLifecycle": row("PutLifecycleConfiguration"),
    "GetObjectLockConfiguration": row("GetBucketObjectLockConfiguration"),
    "PutObjectLockConfiguration": row("PutBucketObjectLockConfiguration", body=LOCK),
    "GetBucketOwnershipControls": row("GetBucketOwnershipControls"),
    "PutBucketOwnershipControls": row("PutBucketOwnershipControls", body=OWNERSHIP),
    "DeleteBucketOwnershipControls": row("PutBucketOwnershipControls"),
    "GetPublicAccessBlock": row("GetBucketPublicAccessBlock"),
    "PutPublicAccessBlock": row("PutBucketPublicAccessBlock", body="<PublicAccessBlockConfiguration/>"),
    "DeletePublicAccessBlock": row("PutBucketPublicAccessBlock"),
    "GetBucketPolicy": row("GetBucketPolicy"),
    "PutBucketPolicy": row("PutBucketPolicy", body=POLICY),
    "DeleteBucketPolicy": row("DeleteBucketPolicy"),
    "GetBucketPolicyStatus": row("GetBucketPolicyStatus"),
    "GetBucketTagging": row("GetBucketTagging"),
    "PutBucketTagging": row("PutBucketTagging", body=TAGS),
    "DeleteBucketTagging": row("PutBucketTagging"),
    "GetBucketVersioning": row("GetBucketVersioning"),
    "PutBucketVersioning": row("PutBucketVersioning", body="<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
    "GetBucketQuota": row("GetBucketQuota"),
    "PutBucketQuota": row("PutBucketQuota", body="<QuotaConfiguration><MaxObjects>9</MaxObjects></QuotaConfiguration>"),
    "DeleteBucketQuota": row("PutBucketQuota"),
    "GetBucketWebsite": row("GetBucketWebsite"),
    "PutBucketWebsite": row(
        "PutBucketWebsite", body="<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"
    ),
    "DeleteBucketWebsite": row("DeleteBucketWebsite"),
    "GetObject": row("GetObject"),
    "PutObject": row("PutObject", body="x"),
    "CopyObject": row("PutObject", "GetObject", x_amz_copy_source="/{bucket}/source"),
    "RenameObject": row("PutObject", "GetObject", "DeleteObject", x_amz_rename_source="source"),
    "AppendObject": row("PutObject", body="x", x_amz_write_offset_bytes="0"),
    "HeadObject": row("GetObject"),
    "DeleteObject": row("DeleteObject"),
    "GetObjectTagging": row("GetObjectTagging"),
    "PutObjectTagging": row("PutObjectTagging", body=TAGS),
    "DeleteObjectTagging": row("DeleteObjectTagging"),
    "GetObjectAttributes": row("GetObjectAttributes", "GetObject", x_amz_object_attributes="ETag"),
    "CreateMultipartUpload": row("PutObject"),
    "UploadPart": row("PutObject", body="x", query=UPLOAD),
    "UploadPartCopy": row("PutObject", "GetObject", query=UPLOAD, x_amz_copy_source="/{bucket}/source"),
    "CompleteMultipartUpload": row("PutObject", body=PART, query=UPLOAD),
    "AbortMultipartUpload": row("AbortMultipartUpload", query=UPLOAD),
    "ListParts": row("ListMultipartUploadParts", query=UPLOAD),
    "GetObjectAcl": row("GetObjectAcl"),
    "PutObjectAcl": row("PutObjectAcl", x_amz_acl="private"),
    "GetObjectRetention": row("GetObjectRetention"),
    "PutObjectRetention": row("PutObjectRetention", body="<Retention/>"),
    "GetObjectLegalHold": row("GetObjectLegalHold"),
    "PutObjectLegalHold": row("PutObjectLegalHold", body="<LegalHold><Status>OFF</Status></LegalHold>"),
}
VERSIONED = {
    name: dataclasses.replace(ROWS[name], actions=tuple(action.replace("Object", "ObjectVersion", 1) for action in ROWS[name].actions))
    for name in (
        "GetObject", "HeadObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging", "GetObjectAttributes",
        "GetObjectAcl", "PutObjectAcl",
    )
}  # fmt: skip
# Others than by the table: forms are signed by themselves (test_post.py); websites and preflights are for everybody.
OTHERWISE = {"PostObject"}
ROUTES = {
    **{route.api: (method, "", "") for method, route in routes.SERVICE.items()},
    **{route.api: (method, "/{bucket}", name) for (method, name), route in routes.BUCKET.items()},
    **{route.api: (method, "/{bucket}/k", name) for (method, name), route in routes.OBJECT.items()},
    "CopyObject": ("PUT", "/{bucket}/k", ""),
    "AppendObject": ("PUT", "/{bucket}/fresh", ""),
    "UploadPartCopy": ("PUT", "/{bucket}/k", "uploadId"),
}
OWN_ACCOUNT = {"ListBuckets", "CreateBucket"}  # about the caller's own account, whoever he is


def test_every_route_has_a_row() -> None:
    known = {route.api for table in (routes.SERVICE, routes.BUCKET, routes.OBJECT) for route in table.values()}
    known |= {
        value.api for value in vars(routes).values() if isinstance(value, routes.Route) and not value.handler.__module__.endswith("buckets")
    }
    assert known - set(ROWS) - OTHERWISE == {"OPTIONS", "Website", "MethodNotAllowed", "Misplaced"}
    assert set(ROWS) == set(ROUTES) - OTHERWISE


class Changing(Credentials):
    """Credentials of which one user's policies change."""

    def limit(self, *statements: tuple[str, list[str]]) -> None:
        made = [{"Effect": effect, "Action": actions, "Resource": "*"} for effect, actions in statements]
        policy = parse_policy(json.dumps({"Statement": made}).encode(), Kind.IDENTITY)
        holder = self._keyholders[PROBE.access_key]
        principal = dataclasses.replace(holder.principal, policies=(policy,))
        self._keyholders[PROBE.access_key] = Keyholder(holder.secret_key, principal)


@pytest.fixture(scope="module")
def credentials() -> Changing:
    return Changing((ALICE, BOB, EVE, ROOT, PROBE))


@pytest.fixture(scope="module")
def matrix(credentials: Changing) -> Iterator[Running]:
    with s3_serving(store_settings=ObjectSettings(bucket_cache_s=0.001, min_part_bytes=1), credentials=credentials) as running:
        yield running


class Place:
    """A bucket with an object, one to copy, and an upload with a part; requests of one route to it."""

    def __init__(self, server: Running, name: str, wanted: Row) -> None:
        self.server, self.bucket = server, f"matrix-{next(_numbers)}"
        s3 = server.clients[0] if server.clients else server.client(ALICE)
        s3.create_bucket(Bucket=self.bucket, ObjectLockEnabledForBucket=True)
        self.version = s3.put_object(Bucket=self.bucket, Key="k", Body=b"secret")["VersionId"]
        s3.put_object(Bucket=self.bucket, Key="source", Body=b"secret")
        upload = s3.create_multipart_upload(Bucket=self.bucket, Key="k")["UploadId"]
        etag = s3.upload_part(Bucket=self.bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
        filled = {"bucket": self.bucket, "upload": upload, "etag": etag}
        self.method, path, sub = ROUTES[name]
        query = wanted.query.format(**filled) or sub
        self.path = (path.format(**filled) or "/") + (f"?{query}" if query else "")
        self.body = wanted.body.format(**filled).encode()
        self.headers = {key: value.format(**filled) for key, value in wanted.headers.items()}
        if name == "DeleteObjects":
            self.headers["Content-MD5"] = b64encode(md5(self.body).digest()).decode()

    def ask(self, user: User | None) -> Answer:
        if user is None:
            return send(self.server, self.method, self.path, self.body, self.headers)
        return call(self.server, self.method, self.path, self.body, self.headers, user=user)


def refused(answer: Answer) -> bool:
    assert b"secret" not in answer.body or answer.status == 200
    return answer.status == 403 or (answer.status == 200 and b"<Code>AccessDenied</Code>" in answer.body)


@pytest.mark.parametrize("name", ROWS)
def test_a_route_serves_who_has_the_right_and_nobody_else(matrix: Running, credentials: Changing, name: str) -> None:
    check(matrix, credentials, name, ROWS[name])


@pytest.mark.parametrize("name", VERSIONED)
def test_a_version_that_is_named_needs_the_right_to_versions(matrix: Running, credentials: Changing, name: str) -> None:
    check(matrix, credentials, name, VERSIONED[name], versioned=True)


def check(matrix: Running, credentials: Changing, name: str, wanted: Row, *, versioned: bool = False) -> None:
    place = Place(matrix, name, wanted)
    if versioned:
        place.path += ("&" if "?" in place.path else "?") + f"versionId={place.version}"
    anonymous = place.ask(None)
    assert refused(anonymous), ("anonymous", anonymous)
    if name not in OWN_ACCOUNT:
        assert refused(place.ask(BOB)), "another account"
        assert place.ask(EVE).status == 404, "another tenant"
    for action in wanted.actions:
        credentials.limit(("Allow", ["*"]), ("Deny", [action]))
        assert refused(place.ask(PROBE)), f"all but {action}"
    credentials.limit(("Allow", ["s3:Get*", "s3:List*"]))
    reads = all(action.startswith(("s3:Get", "s3:List")) for action in wanted.actions)
    assert refused(place.ask(PROBE)) is not reads, "read only"
    credentials.limit(("Allow", list(wanted.actions)))
    answer = place.ask(PROBE)
    assert not refused(answer), ("just the permissions", answer)
    assert answer.status != 501
    assert not refused(place.ask(ROOT)), "an administrator"
    assert not refused(place.ask(ALICE)), "the owner"


def test_retention_is_bypassed_only_with_the_right_to(matrix: Running, credentials: Changing) -> None:
    place = Place(matrix, "DeleteObject", ROWS["DeleteObject"])
    until = "2099-01-01T00:00:00Z"
    matrix.clients[0].put_object_retention(
        Bucket=place.bucket, Key="k", VersionId=place.version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    )
    place.path += f"?versionId={place.version}"
    place.headers["x-amz-bypass-governance-retention"] = "true"
    credentials.limit(("Allow", ["s3:DeleteObjectVersion"]))
    assert refused(place.ask(PROBE))
    credentials.limit(("Allow", ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]))
    assert place.ask(PROBE).status == 204


def test_tags_lists_and_locks_of_a_new_object_need_their_own_right(matrix: Running, credentials: Changing) -> None:
    for header, value, action in (
        ("x-amz-tagging", "a=b", "s3:PutObjectTagging"),
        ("x-amz-acl", "bucket-owner-full-control", "s3:PutObjectAcl"),
        ("x-amz-object-lock-legal-hold", "ON", "s3:PutObjectLegalHold"),
    ):
        for name in ("PutObject", "CreateMultipartUpload", "CopyObject"):
            place = Place(matrix, name, ROWS[name])
            place.headers |= {header: value, "x-amz-tagging-directive": "REPLACE"} if name == "CopyObject" else {header: value}
            credentials.limit(("Allow", ["s3:PutObject", "s3:GetObject"]))
            assert refused(place.ask(PROBE)), (header, name)
            credentials.limit(("Allow", ["s3:PutObject", "s3:GetObject", action]))
            assert not refused(place.ask(PROBE)), (header, name)
