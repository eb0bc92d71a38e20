"""What is done to a request, before it is signed (the store then has to believe it) and after (it must not)."""

from collections.abc import Callable
from random import Random

from tests.fuzz.asked import STREAM, STREAM_TRAILER, STREAM_UNSIGNED, UNSIGNED, Asked, Rendered
from tests.fuzz.corpus import md5_text

METHODS = (b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"get", b"G", b"PROPFIND", b"A" * 30)
TEXTS = (
    b"", b"*", b"0", b"1", b"-1", b"01", b"1e3", b"0x10", b"+1", b" 1", b"2147483648", b"9" * 25, b"18446744073709551616", b"null", b"true", b"NaN", b"%00", b"%", b"%zz", b"%0d%0aX: y",
    b"%u0041", b"%ff", b"%C0%80", b"%ED%A0%80", b"+", b"%2B", b"%2F", b"..%2f", b"../..", b"a" * 300, b"a" * 5000, b"\xff\xfe", b"\xc3\xbc", b"'", b'"', b"&amp;", b"<x>", b"${jndi}",
    b"=", b"==", b"a=b", b",", b";", b"bytes=", b"[]", b"{}", b"x\ty", b"Sun, 99 Zzz 99999 99:99:99 GMT", b"20260101T000000Z",
)  # fmt: skip
RANGES = (
    b"bytes=0-", b"bytes=-0", b"bytes=5-1", b"bytes=0-0,1-1", b"bytes=0-99999999999999999999", b"bytes=-99999999999999999999", b"bytes=99999-", b"bytes=a-b", b"bytes", b"items=0-1",
    b"bytes=--1", b"bytes= 0 - 1", b"bytes=" + b"0-0," * 900, b"bytes=0-0;", b"BYTES=0-1",
)  # fmt: skip
DATES = (
    b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT", b"0",
    b"Sun, 06 Nov 0000 08:49:37 GMT", b"Sun, 31 Feb 2026 25:61:61 GMT", b"2026-01-01T00:00:00Z", b"Sun, 06 Nov 1994 08:49:37 +0100", b"x" * 100, b"Sun, 06 Nov 1994 08:49:60 GMT",
)  # fmt: skip
HEADERS = (
    b"Range", b"If-Range", b"If-Match", b"If-None-Match", b"If-Modified-Since", b"If-Unmodified-Since", b"Content-MD5", b"Content-Type", b"Content-Encoding", b"Content-Language",
    b"Content-Disposition", b"Cache-Control", b"Expires", b"Expect", b"Date", b"Origin", b"Cookie", b"Accept", b"Accept-Encoding", b"X-Forwarded-For", b"X-Forwarded-Host", b"Forwarded",
    b"X-HTTP-Method-Override", b"X-Original-URL", b"Upgrade", b"Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Content-Length", b"Host", b"User-Agent", b"x-amz-copy-source",
    b"x-amz-copy-source-range", b"x-amz-copy-source-if-match", b"x-amz-copy-source-if-modified-since", b"x-amz-metadata-directive", b"x-amz-tagging", b"x-amz-tagging-directive", b"x-amz-acl",
    b"x-amz-grant-read", b"x-amz-grant-full-control", b"x-amz-meta-a", b"x-amz-meta-", b"x-amz-meta-\xc3\xbc", b"x-amz-checksum-crc32", b"x-amz-checksum-crc64nvme", b"x-amz-checksum-sha256",
    b"x-amz-checksum-sha1", b"x-amz-checksum-mode", b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-sdk-checksum-algorithm", b"x-amz-trailer", b"x-amz-decoded-content-length",
    b"x-amz-storage-class", b"x-amz-server-side-encryption", b"x-amz-server-side-encryption-aws-kms-key-id", b"x-amz-server-side-encryption-context",
    b"x-amz-server-side-encryption-customer-algorithm", b"x-amz-server-side-encryption-customer-key", b"x-amz-server-side-encryption-customer-key-md5",
    b"x-amz-copy-source-server-side-encryption-customer-algorithm", b"x-amz-bypass-governance-retention", b"x-amz-object-lock-mode", b"x-amz-object-lock-retain-until-date",
    b"x-amz-object-lock-legal-hold", b"x-amz-bucket-object-lock-enabled", b"x-amz-object-ownership", b"x-amz-expected-bucket-owner", b"x-amz-source-expected-bucket-owner",
    b"x-amz-request-payer", b"x-amz-mp-object-size", b"x-amz-object-attributes", b"x-amz-max-parts", b"x-amz-part-number-marker", b"x-amz-optional-object-attributes", b"x-amz-mfa",
    b"x-amz-security-token", b"x-amz-website-redirect-location", b"x-amz-write-offset-bytes", b"x-amz-rename-source", b"x-amz-if-match-size", b"x-amz-transition-default-minimum-object-size",
    b"x-auth-token", b"x-roles", b"x-internal", b"x-backend-storage-policy-index", b"x-timestamp", b"x-amz-request-id", b"x-amz-unknown",
)  # fmt: skip
QUERIES = (
    b"versionId", b"partNumber", b"uploadId", b"uploads", b"versions", b"acl", b"policy", b"cors", b"lifecycle", b"tagging", b"max-keys", b"max-parts", b"max-uploads", b"max-buckets", b"prefix",
    b"delimiter", b"marker", b"key-marker", b"version-id-marker", b"upload-id-marker", b"part-number-marker", b"continuation-token", b"start-after", b"encoding-type", b"fetch-owner",
    b"response-content-type", b"response-content-encoding", b"response-expires", b"response-cache-control", b"list-type", b"delete", b"restore", b"select", b"select-type", b"torrent", b"x-id",
    b"X-Amz-Signature", b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Expires", b"X-Amz-Date", b"X-Amz-SignedHeaders", b"X-Amz-Security-Token", b"X-Amz-Content-Sha256", b"Signature",
    b"AWSAccessKeyId", b"Expires", b"Action", b"attributes", b"retention", b"legal-hold", b"object-lock", b"encryption", b"website", b"logging", b"notification", b"replication", b"unknown",
)  # fmt: skip
PATHS = (
    b"/", b"//", b"/bkt", b"/bkt/", b"/bkt//", b"/bkt/%2e%2e/%2e%2e", b"/bkt/../../etc/passwd", b"/../", b"/bkt/%00", b"/bkt/%", b"/bkt/%f", b"/bkt/\xff", b"/b%6bt/k", b"/%62kt", b"/BKT/k",
    b"/bkt/" + b"k" * 1024, b"/bkt/" + b"k" * 1025, b"/bkt/" + b"%C3%BC" * 512, b"/bkt/" + b"%C3%BC" * 513, b"/bkt/k;x=y", b"/bkt/k%3Fversions", b"/bkt%2Fk", b"/" + b"b" * 64, b"/b", b"/1.2.3.4/k",
    b"/-/health", b"/-/other", b"/-", b"/.", b"/..", b"/bkt/.", b"/bkt/..", b"/bkt/%EF%BF%BF", b"/bkt/%ED%A0%80", b"/bkt/%F0%9F%98%80", b"/bkt/a%0d%0ab", b"/bkt/+", b"/minio/admin", b"/v1/AUTH_x",
    b"/bkt/k%23", b"/bkt/<script>", b"/" + b"a/" * 400,
)  # fmt: skip


def _billion() -> bytes:
    rows = b"".join(b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 10))
    return b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">' + rows + b"]><Delete><Object><Key>&l9;</Key></Object></Delete>"


BOMBS: tuple[bytes, ...] = (
    _billion(),
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><Tagging/>',
    b"<a>" * 5000,
    b"<Delete>" + b"<Object>" * 200 + b"</Object>" * 200 + b"</Delete>",
    b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    b"<Tagging><TagSet>" + b"<Tag><Key>k</Key><Value>v</Value></Tag>" * 2000 + b"</TagSet></Tagging>",
    b"<Delete " + b" ".join(b'a%d="x"' % i for i in range(3000)) + b"/>",
    '<?xml version="1.0" encoding="UTF-16"?><Delete><Object><Key>k</Key></Object></Delete>'.encode("utf-16"),
    b'<?xml version="1.0" encoding="UTF-7"?><Delete/>', b'<?xml version="1.0" encoding="x-unknown"?><Delete/>', b"\xef\xbb\xbf<Delete/>",
    b"<Delete><Object><Key>" + b"k" * 3000 + b"</Key></Object></Delete>", b"<Delete><Object><Key>&#0;</Key></Object></Delete>", b"<Delete><Object><Key>&#x1;</Key></Object></Delete>",
    b"<Delete><Object><Key><![CDATA[k]]></Key></Object></Delete>", b"<Delete><Object><Key>&undefined;</Key></Object></Delete>", b"<?xml version='1.0'?><!-- " + b"-" * 4000 + b"--><Delete/>",
    b"<Delete><Object/></Delete>", b"<Delete><Object><Key/></Object></Delete>", b"<Delete/>", b"<Delete xmlns='urn:other'><Object><Key>k</Key></Object></Delete>", b"\0" * 100, b"{}", b"[" * 3000,
    b'{"Version":"2012-10-17","Statement":' + b"[" * 500 + b"]" * 500 + b"}", b'{"Statement":[' + b'{"Effect":"Allow"},' * 500 + b"{}]}", b'{"a":1,"a":2}', b'{"Version":"2012-10-17","Statement":[]}',
    b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"' + b"*?" * 200 + b'","Resource":"' + b"a*" * 300 + b'"}]}', b"1" * 5000, b'"\\ud800"', b"\xff\xff",
    b"<CompleteMultipartUpload>" + b"<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>" * 10_001 + b"</CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>99999999999999999999</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber><ETag></ETag></Part><Part/></CompleteMultipartUpload>",
)  # fmt: skip


def some_text(rng: Random) -> bytes:
    """A value that nobody expects."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(TEXTS)
    if kind < 0.75:
        return rng.choice(RANGES)
    if kind < 0.85:
        return rng.choice(DATES)
    return rng.randbytes(rng.randrange(1, 24))


def clean(text: bytes) -> bytes:
    """A header's value that is at least no second line: the other kind comes after signing."""
    return bytes(byte for byte in text if byte >= 32 and byte != 127) or b"x"


def damage(rng: Random, data: bytes) -> bytes:
    """Bytes with something done to them."""
    if not data:
        return rng.choice((b"", b"x", b"\0", some_text(rng)))
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.randrange(1, 20))
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at] + bytes((data[at] ^ (1 << rng.randrange(8)),)) + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + data[at:end] * rng.randrange(2, 5) + data[end:]
    if kind == 3:
        return data[:at] + some_text(rng) + data[at:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + rng.choice((b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"<", b"&", b"%", b"\x80", b"0", b"9")) + data[at:]
    other = rng.randrange(len(data))
    return data[:at] + data[other : other + 16] + data[end:]


# -- before signing ----------------------------------------------------------------------------------------------


def _method(rng: Random, asked: Asked) -> None:
    asked.method = rng.choice(METHODS)


def _path(rng: Random, asked: Asked) -> None:
    asked.path = rng.choice(PATHS)


def _bent_path(rng: Random, asked: Asked) -> None:
    bent = damage(rng, asked.path)
    asked.path = b"/" + bytes(byte for byte in bent.lstrip(b"/") if byte > 32 and byte not in b"?#\x7f")


def _query(rng: Random, asked: Asked) -> None:
    text = bytes(byte for byte in some_text(rng) if byte > 32 and byte not in b"&#\x7f")
    asked.query.insert(rng.randrange(len(asked.query) + 1), (rng.choice(QUERIES), text if rng.random() < 0.8 else None))


def _bent_query(rng: Random, asked: Asked) -> None:
    if not asked.query:
        return _query(rng, asked)
    at = rng.randrange(len(asked.query))
    name, _ = asked.query[at]
    kind = rng.random()
    if kind < 0.6:
        asked.query[at] = (name, bytes(byte for byte in some_text(rng) if byte > 32 and byte not in b"&#\x7f"))
    elif kind < 0.8:
        asked.query.append(asked.query[at])
    else:
        del asked.query[at]
    return None


def _header(rng: Random, asked: Asked) -> None:
    asked.headers.insert(rng.randrange(len(asked.headers) + 1), (rng.choice(HEADERS), clean(some_text(rng))))


def _bent_header(rng: Random, asked: Asked) -> None:
    if not asked.headers:
        return _header(rng, asked)
    at = rng.randrange(len(asked.headers))
    name, value = asked.headers[at]
    kind = rng.random()
    if kind < 0.5:
        asked.headers[at] = (name, clean(some_text(rng)))
    elif kind < 0.7:
        asked.headers[at] = (name, clean(damage(rng, value)))
    elif kind < 0.85:
        asked.headers.append((name, clean(some_text(rng)) if rng.random() < 0.5 else value))
    else:
        del asked.headers[at]
    return None


def _range(rng: Random, asked: Asked) -> None:
    asked.headers.append((rng.choice((b"Range", b"x-amz-copy-source-range")), rng.choice(RANGES)))


def _date(rng: Random, asked: Asked) -> None:
    names = (b"If-Modified-Since", b"If-Unmodified-Since", b"x-amz-copy-source-if-unmodified-since", b"If-Range", b"Expires", b"Date")
    asked.headers.append((rng.choice(names), rng.choice(DATES)))


def _body(rng: Random, asked: Asked) -> None:
    asked.body = damage(rng, asked.body)
    if rng.random() < 0.8:  # else a wrong Content-MD5 or checksum refuses it before anybody reads it
        asked.headers = [pair for pair in asked.headers if pair[0] not in (b"Content-MD5", b"x-amz-checksum-crc32")]


def _bomb(rng: Random, asked: Asked) -> None:
    asked.body = rng.choice(BOMBS)
    asked.headers = [pair for pair in asked.headers if pair[0] not in (b"Content-MD5", b"x-amz-checksum-crc32")]
    if rng.random() < 0.7:
        asked.headers.append((b"Content-MD5", md5_text(asked.body)))


def _payload(rng: Random, asked: Asked) -> None:
    asked.payload = rng.choice(
        (
            UNSIGNED,
            STREAM,
            STREAM_TRAILER,
            STREAM_UNSIGNED,
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
            b"unsigned-payload",
            b"0" * 64,
            b"F" * 64,
            b"x",
        )
    )
    if rng.random() < 0.5:
        asked.headers.append((b"x-amz-decoded-content-length", rng.choice((b"%d" % len(asked.body), b"0", b"-1", b"5", b"9" * 20, b"x"))))
    if rng.random() < 0.3:
        asked.headers.append(
            (
                b"x-amz-trailer",
                rng.choice(
                    (b"x-amz-checksum-crc32", b"x-amz-checksum-md5", b"x-amz-meta-a", b"", b"x-amz-checksum-sha256,x-amz-checksum-crc32")
                ),
            )
        )


def _framing(rng: Random, asked: Asked) -> None:
    asked.chunked, asked.bare = rng.choice(((True, False), (False, True), (False, False)))


def _auth(rng: Random, asked: Asked) -> None:
    asked.auth = rng.choice(("header", "presigned", "none"))


def _expiry(rng: Random, asked: Asked) -> None:
    asked.auth = "presigned"
    asked.expires = rng.choice((b"0", b"-1", b"604801", b"1", b"x", b"", b"9" * 30, b"1.5", b"%31"))


def _stamp(rng: Random, asked: Asked) -> None:
    asked.stamp = rng.choice(
        (
            b"20200101T000000Z",
            b"20990101T000000Z",
            b"20261322T256199Z",
            b"x",
            b"00000000T000000Z",
            b"20261122",
            b"2026-11-22T00:00:00Z",
            b"9" * 16,
        )
    )


def _version(rng: Random, asked: Asked) -> None:
    asked.version = rng.choice((b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1x", b""))


BEFORE: tuple[Callable[[Random, Asked], None], ...] = (
    _method, _path, _bent_path, _bent_path, _query, _query, _bent_query, _bent_query, _header, _header, _header, _bent_header, _bent_header, _range, _date, _body, _body, _bomb, _payload,
    _framing, _auth, _expiry, _stamp, _version,
)  # fmt: skip


# -- after signing -----------------------------------------------------------------------------------------------


def _line(rng: Random, out: Rendered) -> bytes:
    return damage(rng, out.line) + out.head()[len(out.line) :] + out.body


def _one_header(rng: Random, out: Rendered) -> bytes:
    at = rng.randrange(len(out.headers))
    name, value = out.headers[at]
    out.headers[at] = (damage(rng, name), value) if rng.random() < 0.3 else (name, damage(rng, value))
    return out.head() + out.body


def _drop_header(rng: Random, out: Rendered) -> bytes:
    del out.headers[rng.randrange(len(out.headers))]
    return out.head() + out.body


def _repeat_header(rng: Random, out: Rendered) -> bytes:
    name, value = rng.choice(out.headers)
    out.headers.insert(rng.randrange(len(out.headers) + 1), (name, rng.choice((value, some_text(rng)))))
    return out.head() + out.body


def _add_header(rng: Random, out: Rendered) -> bytes:
    out.headers.insert(rng.randrange(len(out.headers) + 1), (rng.choice(HEADERS), some_text(rng)))
    return out.head() + out.body


def _blanks(rng: Random, out: Rendered) -> bytes:
    head = out.head()
    name = rng.choice(out.headers)[0]
    shape = rng.choice(
        (b"%s : ", b" %s: ", b"%s:", b"%s:\t ", b"%s\t: ", b"%s:  ", b"%s:\x0b", b"%s:\r\n ", b"%s:\n ", b"\r\n%s: ", b"%s:\x85")
    )
    return head.replace(name + b": ", shape % name, 1) + out.body


def _line_ends(rng: Random, out: Rendered) -> bytes:
    head = out.head()
    spots = [at for at in range(len(head)) if head.startswith(b"\r\n", at)]
    at = rng.choice(spots)
    return (
        head[:at] + rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n ", b"\0\r\n", b"\r\n\t")) + head[at + 2 :] + out.body
    )


def _signature(rng: Random, out: Rendered) -> bytes:
    data = out.head()
    for mark in (b"Signature=", b"X-Amz-Signature="):
        at = data.find(mark)
        if at >= 0:
            at += len(mark) + rng.randrange(64)
            old = data[at : at + 1]
            return (
                data[:at]
                + rng.choice([b"%x" % i for i in range(16) if b"%x" % i != old] + [old.upper(), b"g", b""])
                + data[at + 1 :]
                + out.body
            )
    return data + out.body


def _smuggle(rng: Random, out: Rendered) -> bytes:
    """Framing that two parsers could read differently, with a request hidden in the body."""
    hidden = b"GET /bkt/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    length = b"%d" % len(hidden)
    variants: tuple[tuple[list[tuple[bytes, bytes]], bytes], ...] = (
        ([(b"Content-Length", length), (b"Transfer-Encoding", b"chunked")], b"0\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"4")], chunk),
        ([(b"Content-Length", b"0"), (b"Content-Length", length)], hidden),
        ([(b"Content-Length", b"0, " + length)], hidden),
        ([(b"Content-Length", b"+" + length)], hidden), ([(b"Content-Length", b"-1")], hidden), ([(b"Content-Length", b"0x" + b"%x" % len(hidden))], hidden),
        ([(b"Content-Length", b"1_0")], hidden), ([(b"Content-Length", b"\xc2\xb9")], hidden), ([(b"Content-Length", b"")], hidden), ([(b"Content-Length ", length)], hidden),
        ([(b"Transfer-Encoding", b"xchunked")], b"0\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked, identity")], b"0\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"identity"), (b"Transfer-Encoding", b"chunked")], b"0\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"\x0bchunked")], b"0\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"gzip, chunked")], b"0\r\n\r\n" + hidden), ([(b"Transfer_Encoding", b"chunked")], b"0\r\n\r\n" + hidden), ([(b"Transfer-Encoding\t", b"chunked")], b"0\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"chunked")], b"0;\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked")], b"0\r\nX: \n\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked")], b"0\n\n" + hidden),
        ([(b"Transfer-Encoding", b"chunked")], b"1;a=\n\r\nx\r\n0\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked")], b"-1\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"chunked")], b"0x1\r\nx\r\n0\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked")], b"10000000000000000\r\nx\r\n0\r\n\r\n"),
        ([(b"Transfer-Encoding", b"chunked")], b"1\r\nxy0\r\n\r\n" + hidden), ([(b"Transfer-Encoding", b"chunked")], b" 1\r\nx\r\n0\r\n\r\n" + hidden),
        ([(b"Transfer-Encoding", b"chunked")], b"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n" + hidden), ([(b"Host", b"other"), (b"Content-Length", b"0")], hidden),
        ([(b"Connection", b"Content-Length, close"), (b"Content-Length", b"0")], b""), ([(b"Expect", b"100-continue"), (b"Content-Length", length)], hidden),
    )  # fmt: skip
    extra, body = rng.choice(variants)
    out.headers = [pair for pair in out.headers if pair[0] not in (b"Content-Length", b"Transfer-Encoding")] + extra
    return out.head() + body


def _target_form(rng: Random, out: Rendered) -> bytes:
    method, _, rest = out.line.partition(b" ")
    target = rest.rpartition(b" ")[0]
    new = rng.choice(
        (
            b"http://127.0.0.1" + target,
            b"http://other" + target,
            target + b"#x",
            target.lstrip(b"/"),
            b"*",
            b"//other" + target,
            b"\\" + target,
            target + b" x",
            b"",
            target + b"\x01",
        )
    )
    out.line = method + b" " + new + b" HTTP/1.1"
    return out.head() + out.body


def _many(rng: Random, out: Rendered) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        out.headers += [(b"x-amz-meta-%d" % i, b"v") for i in range(rng.choice((150, 250, 3000)))]
    elif kind == 1:
        out.headers.append((b"x-long", b"v" * rng.choice((8_000, 40_000, 70_000))))
    elif kind == 2:
        out.line = out.line.replace(b" HTTP", b"?" + b"a=b&" * rng.choice((500, 5000, 20_000)) + b" HTTP")
    else:
        out.headers.append((b"Cookie", b"a=b; " * 6000))
    return out.head() + out.body


def _cut(rng: Random, out: Rendered) -> bytes:
    data = out.head() + out.body
    return data[: rng.randrange(1, len(data))]


def _bent_body(rng: Random, out: Rendered) -> bytes:
    """The body changes under its signature; its announced length stays, or follows."""
    before = len(out.body)
    out.body = damage(rng, out.body)
    if rng.random() < 0.7:
        out.headers = [(n, b"%d" % len(out.body)) if n == b"Content-Length" and v == b"%d" % before else (n, v) for n, v in out.headers]
    return out.head() + out.body


def _anywhere(rng: Random, out: Rendered) -> bytes:
    data = out.head() + out.body
    for _ in range(rng.randrange(1, 4)):
        data = damage(rng, data)
    return data


def _noise(rng: Random, out: Rendered) -> bytes:
    return (
        rng.choice(
            (
                rng.randbytes(rng.randrange(1, 200)),
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(60),
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\r\n" * 50,
                b"GET /\r\n\r\n",
            )
        )
        + out.head()[: rng.randrange(30)]
    )


AFTER: tuple[Callable[[Random, Rendered], bytes], ...] = (
    _line, _one_header, _one_header, _drop_header, _repeat_header, _add_header, _add_header, _blanks, _line_ends, _signature, _signature, _smuggle, _smuggle, _smuggle, _target_form, _many, _cut,
    _bent_body, _bent_body, _bent_body, _anywhere, _anywhere, _noise,
)  # fmt: skip
