"""Recorded requests, one for each thing a client does, from which the hostile ones are bred.

What other modules of the store add to the route table joins by itself, with the documents below where one is known.
"""

from base64 import b64encode
from hashlib import md5
from json import dumps
from zlib import crc32

from objstore.fronts.s3 import routes
from tests.fuzz.asked import STREAM, STREAM_TRAILER, STREAM_UNSIGNED, UNSIGNED, Asked

BUCKET = b"bkt"
KEYS = (b"k", b"a/b", b"big", b"sp%20ace+plus", b"%C3%BC", b"..%2F..%2Fetc", b"a//b/./c/../d")
CONTENT = b"the content of k"
BIG = bytes(range(256)) * 800  # more than is kept beside a row
_NS = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

POLICY = dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "a", "Effect": "Deny", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObjectTagging"],
                "Resource": "arn:aws:s3:::bkt/never/*",
                "Condition": {"StringLike": {"aws:UserAgent": "*x*"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
            }
        ],
    }
).encode()  # fmt: skip

DOCUMENTS: dict[str, bytes] = {
    "acl": b'<AccessControlPolicy><Owner><ID>fuzz</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/'
    b'XMLSchema-instance" xsi:type="CanonicalUser"><ID>fuzz</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>'
    b"</AccessControlList></AccessControlPolicy>",
    "versioning": b"<VersioningConfiguration" + _NS + b"><Status>Enabled</Status></VersioningConfiguration>",
    "tagging": b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    "delete": b"<Delete><Quiet>false</Quiet><Object><Key>gone</Key></Object><Object><Key>a/b</Key></Object></Delete>",
    "uploadId": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;0&quot;</ETag></Part></CompleteMultipartUpload>",
    "lifecycle": b"<LifecycleConfiguration><Rule><ID>r</ID><Filter><And><Prefix>p</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>"
    b"<Status>Enabled</Status><Expiration><Days>30</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>"
    b"</NoncurrentVersionExpiration></Rule></LifecycleConfiguration>",
    "cors": b"<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    b"<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>",
    "encryption": b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
    b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    "object-lock": b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>"
    b"<Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
    "retention": b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2040-01-01T00:00:00Z</RetainUntilDate></Retention>",
    "legal-hold": b"<LegalHold><Status>ON</Status></LegalHold>",
    "publicAccessBlock": b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>"
    b"<BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
    "ownershipControls": b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
    "website": b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>",
    "notification": b"<NotificationConfiguration/>",
    "logging": b"<BucketLoggingStatus/>",
    "requestPayment": b"<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
    "policy": POLICY,
    "restore": b"<RestoreRequest><Days>1</Days></RestoreRequest>",
}
_CREATE = b"<CreateBucketConfiguration" + _NS + b"><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>"


def _form() -> tuple[bytes, bytes]:
    """A browser's upload; its policy is not signed well, which mutations do not make better."""
    policy = b64encode(
        dumps(
            {
                "expiration": "2040-01-01T00:00:00Z",
                "conditions": [{"bucket": "bkt"}, ["starts-with", "$key", ""], ["content-length-range", 0, 100]],
            }
        ).encode()
    )
    fields = [(b"key", b"form/${filename}"), (b"policy", policy), (b"x-amz-algorithm", b"AWS4-HMAC-SHA256"), (b"x-amz-credential", b"AKFUZZ/20261122/us-east-1/s3/aws4_request"),
              (b"x-amz-date", b"20261122T000000Z"), (b"x-amz-signature", b"0" * 64), (b"success_action_status", b"201")]  # fmt: skip
    parts = [b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair for pair in fields]
    parts.append(
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--edge--\r\n'
    )
    return b"multipart/form-data; boundary=edge", b"".join(parts)


def md5_text(data: bytes) -> bytes:
    return b64encode(md5(data, usedforsecurity=False).digest())


def _crc(data: bytes) -> bytes:
    return b64encode(crc32(data).to_bytes(4, "big"))


def recorded(upload: bytes) -> list[Asked]:
    """All of them; `upload` is the id of an upload to key `m` that is under way."""
    at, key = b"/" + BUCKET, b"/" + BUCKET + b"/k"
    with_md5 = [(b"Content-MD5", md5_text(DOCUMENTS["delete"]))]
    kind, form = _form()
    found = [
        Asked(), Asked(query=[(b"max-buckets", b"1"), (b"prefix", b"b")]),
        Asked(b"PUT", b"/new-bucket"), Asked(b"PUT", at), Asked(b"PUT", b"/eu-bucket", body=_CREATE), Asked(b"HEAD", at), Asked(b"DELETE", b"/new-bucket"),
        Asked(path=at), Asked(path=at, query=[(b"prefix", b"a"), (b"delimiter", b"%2F"), (b"marker", b"a"), (b"max-keys", b"2"), (b"encoding-type", b"url")]),
        Asked(path=at, query=[(b"list-type", b"2"), (b"prefix", b""), (b"delimiter", b"/"), (b"start-after", b"a"), (b"max-keys", b"1"), (b"fetch-owner", b"true")]),
        Asked(path=at, query=[(b"list-type", b"2"), (b"continuation-token", b"YQ%3D%3D")]),
        Asked(path=at, query=[(b"versions", None), (b"key-marker", b"a"), (b"version-id-marker", b"null"), (b"max-keys", b"3")]),
        Asked(path=at, query=[(b"uploads", None), (b"key-marker", b"a"), (b"upload-id-marker", upload), (b"max-uploads", b"1"), (b"delimiter", b"/")]),
        Asked(path=key), Asked(b"HEAD", key), Asked(path=b"/bkt/big"), Asked(path=key, auth="presigned"), Asked(b"HEAD", b"/bkt/big", auth="presigned"),
        Asked(path=key, headers=[(b"Range", b"bytes=0-3"), (b"If-Range", b'"x"')]), Asked(path=b"/bkt/big", headers=[(b"Range", b"bytes=-2000")]),
        Asked(path=key, query=[(b"partNumber", b"1"), (b"versionId", b"null")]),
        Asked(path=key, query=[(b"response-content-type", b"text/plain"), (b"response-content-disposition", b"attachment%3B%20filename%3Da"), (b"response-expires", b"x")]),
        Asked(path=key, headers=[(b"If-Match", b'"0"'), (b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT")]),
        Asked(path=key, headers=[(b"If-None-Match", b"*"), (b"If-Unmodified-Since", b"Sun, 06 Nov 2044 08:49:37 GMT"), (b"x-amz-checksum-mode", b"ENABLED")]),
        Asked(path=b"/bkt/missing"), Asked(path=b"/missing-bucket/k"), Asked(b"DELETE", b"/bkt/gone"), Asked(b"DELETE", b"/bkt/gone", query=[(b"versionId", b"null")]),
        Asked(b"DELETE", b"/bkt/gone", headers=[(b"If-Match", b'"0"')]),
        Asked(b"PUT", key, body=CONTENT), Asked(b"PUT", key, body=CONTENT, payload=UNSIGNED), Asked(b"PUT", key, body=CONTENT, payload=UNSIGNED, chunked=True),
        Asked(b"PUT", key, body=b""), Asked(b"PUT", b"/bkt/big", body=BIG), Asked(b"PUT", b"/bkt/folder/"),
        *(Asked(b"PUT", b"/bkt/" + name, body=CONTENT) for name in KEYS),
        Asked(b"PUT", key, headers=[(b"Content-MD5", md5_text(CONTENT)), (b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-cache"), (b"x-amz-meta-a", b"b")], body=CONTENT),
        Asked(b"PUT", key, headers=[(b"x-amz-checksum-crc32", _crc(CONTENT)), (b"x-amz-sdk-checksum-algorithm", b"CRC32")], body=CONTENT),
        Asked(b"PUT", key, headers=[(b"x-amz-tagging", b"a=1&b=2"), (b"x-amz-storage-class", b"STANDARD"), (b"x-amz-acl", b"private")], body=CONTENT),
        Asked(b"PUT", b"/bkt/new", headers=[(b"If-None-Match", b"*")], body=CONTENT), Asked(b"PUT", key, headers=[(b"If-Match", b'"0"')], body=CONTENT),
        Asked(b"PUT", key, headers=[(b"Expect", b"100-continue")], body=CONTENT), Asked(b"PUT", key, auth="presigned", body=CONTENT),
        Asked(b"PUT", key, headers=[(b"x-amz-server-side-encryption", b"AES256")], body=CONTENT),
        Asked(b"PUT", key, headers=[(b"x-amz-server-side-encryption-customer-algorithm", b"AES256"), (b"x-amz-server-side-encryption-customer-key", b64encode(b"k" * 32)),
                                    (b"x-amz-server-side-encryption-customer-key-md5", md5_text(b"k" * 32))], body=CONTENT),
        Asked(b"PUT", key, headers=[(b"x-amz-object-lock-mode", b"GOVERNANCE"), (b"x-amz-object-lock-retain-until-date", b"2040-01-01T00:00:00Z")], body=CONTENT),
        Asked(b"PUT", b"/bkt/copy", headers=[(b"x-amz-copy-source", b"/bkt/k")]),
        Asked(b"PUT", b"/bkt/copy", headers=[(b"x-amz-copy-source", b"bkt/a%2Fb?versionId=null"), (b"x-amz-metadata-directive", b"REPLACE"), (b"x-amz-copy-source-if-match", b'"0"')]),
        Asked(b"POST", b"/bkt/m", query=[(b"uploads", None)], headers=[(b"x-amz-checksum-algorithm", b"CRC32"), (b"x-amz-checksum-type", b"COMPOSITE")]),
        Asked(b"PUT", b"/bkt/m", query=[(b"partNumber", b"1"), (b"uploadId", upload)], body=CONTENT),
        Asked(b"PUT", b"/bkt/m", query=[(b"partNumber", b"2"), (b"uploadId", upload)], headers=[(b"x-amz-copy-source", b"/bkt/big"), (b"x-amz-copy-source-range", b"bytes=0-99")]),
        Asked(b"POST", b"/bkt/m", query=[(b"uploadId", upload)], body=DOCUMENTS["uploadId"]), Asked(path=b"/bkt/m", query=[(b"uploadId", upload), (b"max-parts", b"1")]),
        Asked(b"DELETE", b"/bkt/m", query=[(b"uploadId", b"none")]),
        Asked(b"POST", at, query=[(b"delete", None)], headers=with_md5, body=DOCUMENTS["delete"]),
        Asked(b"POST", at, query=[(b"delete", None)], headers=[(b"x-amz-checksum-crc32", _crc(DOCUMENTS["delete"]))], body=DOCUMENTS["delete"]),
        Asked(path=key, query=[(b"attributes", None)], headers=[(b"x-amz-object-attributes", b"ETag,ObjectParts,ObjectSize")]),
        Asked(b"POST", at, headers=[(b"Content-Type", kind)], body=form, auth="none"), Asked(auth="none"), Asked(path=key, auth="none"), Asked(b"PUT", key, body=b"x", auth="none"),
        Asked(b"OPTIONS", key, headers=[(b"Origin", b"http://x"), (b"Access-Control-Request-Method", b"PUT"), (b"Access-Control-Request-Headers", b"x-amz-date")], auth="none"),
        Asked(b"OPTIONS", b"*", auth="none"), Asked(path=b"/-/health", auth="none"),
        Asked(b"POST", b"/", headers=[(b"Content-Type", b"application/x-www-form-urlencoded")], body=b"Action=ListUsers&Version=2010-05-08"),
    ]  # fmt: skip
    for payload in (STREAM, STREAM_TRAILER, STREAM_UNSIGNED):
        headers = [(b"x-amz-decoded-content-length", b"%d" % len(CONTENT)), (b"Content-Encoding", b"aws-chunked")]
        if payload != STREAM:
            headers.append((b"x-amz-trailer", b"x-amz-checksum-crc32"))
        found += [Asked(b"PUT", key, headers=headers, body=CONTENT, payload=payload, chunked=chunked) for chunked in (False, True)]
        found.append(
            Asked(b"PUT", b"/bkt/m", query=[(b"partNumber", b"3"), (b"uploadId", upload)], headers=headers, body=CONTENT, payload=payload)
        )
    return found + _of_the_route_table(upload)


def _of_the_route_table(upload: bytes) -> list[Asked]:
    found = []
    for table, path in ((routes.BUCKET, b"/bkt"), (routes.OBJECT, b"/bkt/k")):
        for method, name in sorted(table):
            if name and name != "uploadId" and (method, name) != ("PUT", "policy"):
                body = DOCUMENTS.get(name, b"<x/>") if method in ("PUT", "POST") else b""
                headers = [(b"Content-MD5", md5_text(body))] if body else []
                found.append(Asked(method.encode(), path, [(name.encode(), None)], headers, body))
    found.append(Asked(b"PUT", b"/bkt", [(b"policy", None)], [(b"Content-MD5", md5_text(POLICY))], POLICY))
    return found
