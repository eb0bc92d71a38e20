"""Cross-origin requests: the configuration of a bucket, preflight answers, headers of actual answers.

A preflight carries no signature, since browsers send none; it says nothing but what the rules say.  A request without an
Origin header pays one look into a dictionary.
"""

from objstore.core import cors
from objstore.core.cors import Allowed, CorsConfig, CorsRule
from objstore.errors import InvalidRequest, MalformedXml, ObjstoreError
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, only, read_document, text, texts, whole
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element
from objstore.objects.config import Parsed

LIMIT_BYTES = 64 * 1024
MAX_NAMES = 100  # of one kind in one rule
PARSED = Parsed("cors", cors.decode)
VARY = (b"vary", b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
MAX_REQUESTED_HEADERS = 100
_NOT_ENABLED = "CORSResponse: CORS is not enabled for this bucket."
_NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)


async def get_bucket_cors(front: Front, request: S3Request) -> Response:
    """GetBucketCors."""
    config = cors.decode(await kept(front, request, "cors"))
    return xml_answer("CORSConfiguration", "".join([_shown(rule) for rule in config.rules]))


async def put_bucket_cors(front: Front, request: S3Request) -> Response:
    """PutBucketCors."""
    config = parse_config(await read_document(front, request, "cors", "CORSConfiguration", LIMIT_BYTES))
    await front.store.set_config(request.who, request.bucket, "cors", cors.encode(config))
    return empty_answer(200)


async def delete_bucket_cors(front: Front, request: S3Request) -> Response:
    """DeleteBucketCors."""
    await front.store.set_config(request.who, request.bucket, "cors", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "cors"): ("GetBucketCors", get_bucket_cors),
    ("PUT", "cors"): ("PutBucketCors", put_bucket_cors),
    ("DELETE", "cors"): ("DeleteBucketCors", delete_bucket_cors),
}


def _shown(rule: CorsRule) -> str:
    parts = [element("ID", rule.id)] if rule.id is not None else []
    parts += [element("AllowedMethod", method) for method in rule.methods]
    parts += [element("AllowedOrigin", origin) for origin in rule.origins]
    parts += [element("AllowedHeader", name) for name in rule.headers]
    if rule.max_age_s is not None:
        parts.append(element("MaxAgeSeconds", rule.max_age_s))
    parts += [element("ExposeHeader", name) for name in rule.expose]
    return f"<CORSRule>{''.join(parts)}</CORSRule>"


def parse_config(root: Element) -> CorsConfig:
    """The configuration of a document.  Raises MalformedXml, InvalidRequest."""
    only(root, "CORSRule")
    if not 1 <= len(root.children) <= cors.MAX_RULES:
        raise MalformedXml
    return CorsConfig(1, tuple(_rule(node) for node in root.children))


def _rule(node: Element) -> CorsRule:
    only(node, "ID", "AllowedMethod", "AllowedOrigin", "AllowedHeader", "MaxAgeSeconds", "ExposeHeader")
    methods, origins = texts(node, "AllowedMethod"), texts(node, "AllowedOrigin")
    headers, expose = texts(node, "AllowedHeader"), texts(node, "ExposeHeader")
    max_age_s, rule_id = whole(node, "MaxAgeSeconds"), text(node, "ID")
    if not methods or not origins or max(len(methods), len(origins), len(headers), len(expose)) > MAX_NAMES:
        raise MalformedXml
    if rule_id is not None and len(rule_id) > cors.MAX_ID:
        raise MalformedXml
    if max_age_s is not None and not 0 <= max_age_s < 1 << 31:
        raise MalformedXml
    for method in methods:
        if method not in cors.METHODS:
            raise InvalidRequest(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for origin in origins:
        _check_pattern("AllowedOrigin", origin)
    for name in headers:
        _check_pattern("AllowedHeader", name)
    for name in expose:
        if "*" in name:
            raise InvalidRequest(f'ExposeHeader "{name}" contains wildcard. We currently do not support wildcard for ExposeHeader.')
        _check_pattern("ExposeHeader", name)
    return CorsRule(origins, methods, headers, expose, max_age_s, rule_id)


def _check_pattern(name: str, pattern: str) -> None:
    if pattern.count("*") > 1:
        raise InvalidRequest(f'{name} "{pattern}" can not have more than one wildcard.')
    # They come back as values of headers, where anything else could end one and begin another.
    if not pattern or any(not 0x21 <= ord(char) <= 0x7E for char in pattern):
        raise InvalidRequest(f'{name} "{pattern}" holds characters that are not allowed there.')


# -- preflight and actual requests ----------------------------------------------------------------------------


async def preflight(front: Front, request: S3Request) -> Response:
    """OPTIONS: what a browser asks before it sends what the page wants."""
    headers = request.headers
    origin, method = headers.get("origin"), headers.get("access-control-request-method")
    if not origin:
        raise S3Refused(400, "BadRequest", "Insufficient information. Origin request header needed.")
    if method is None or method not in cors.METHODS:
        shown = "null" if method is None else method
        raise S3Refused(400, "BadRequest", f"Invalid Access-Control-Request-Method: {shown}")
    names = tuple(name.strip() for name in headers.get("access-control-request-headers", "").split(",") if name.strip())
    elements = {"Method": "OPTIONS", "ResourceType": "OBJECT" if request.key else "BUCKET"}
    if not request.bucket:
        raise S3Refused(403, "AccessForbidden", _NOT_ENABLED, elements=elements)
    config = PARSED.of(await front.store.find_bucket(request.who, request.bucket))
    if config is None:
        raise S3Refused(403, "AccessForbidden", _NOT_ENABLED, elements=elements)
    found = cors.allowed(config, origin, method, names) if len(names) <= MAX_REQUESTED_HEADERS else None
    if found is None:
        raise S3Refused(403, "AccessForbidden", _NOT_ALLOWED, elements=elements)
    answer = _headers(found)
    if names:
        answer.append((b"access-control-allow-headers", ", ".join(name.lower() for name in names).encode("latin-1")))
    if found.rule.max_age_s is not None:
        answer.append((b"access-control-max-age", b"%d" % found.rule.max_age_s))
    return Response(200, answer)


async def actual_headers(front: Front, request: S3Request) -> Headers:
    """Headers to add to whatever a request with an Origin is answered, refusals too; none when no rule allows it."""
    try:
        config = PARSED.of(await front.store.find_bucket(request.who, request.bucket))
    except ObjstoreError:  # the answer says what is wrong; it is not for a browser's page to see
        return []
    if config is None:
        return []
    # Without Vary a cache could hand the answer for one origin to another, also where the first was not allowed.
    method = request.headers.get("access-control-request-method", request.method)
    found = cors.allowed(config, request.headers["origin"], method)
    return [VARY] if found is None else _headers(found)


def _headers(found: Allowed) -> Headers:
    rule = found.rule
    headers: Headers = [
        (b"access-control-allow-origin", found.origin.encode("latin-1")),
        (b"access-control-allow-methods", ", ".join(rule.methods).encode()),
    ]
    if rule.expose:
        headers.append((b"access-control-expose-headers", ", ".join(rule.expose).encode()))
    if found.origin != "*":
        headers.append((b"access-control-allow-credentials", b"true"))
    headers.append(VARY)
    return headers
