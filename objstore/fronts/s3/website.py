"""Static websites of buckets: the configuration, and the answers on the domains of `s3.website_domains`.

On `BUCKET.DOMAIN` nobody signs: a request is anonymous, GET or HEAD, and sees what the bucket lets everybody read.  Errors
are pages of HTML, the bucket's own error document where it has one.
"""

import html
from urllib.parse import quote

from objstore.core import website
from objstore.core.website import Redirect, RoutingRule, WebsiteConfig
from objstore.errors import InvalidRequest, MalformedXml, NoSuchKey, NotModified, ObjstoreError
from objstore.fronts.s3 import objects
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import MISSING, kept, needed, one, only, read_document, text, whole
from objstore.fronts.s3.errors import Failure, S3Refused, failure_of
from objstore.fronts.s3.params import REDIRECT_LOCATION
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element
from objstore.objects.config import Parsed

LIMIT_BYTES = 128 * 1024
MAX_TEXT = 1024
PARSED = Parsed("website", website.decode)
HTML_TYPE = (b"content-type", b"text/html; charset=utf-8")
_REASONS = {301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified", 305: "Use Proxy", 307: "Temporary Redirect",
            308: "Permanent Redirect", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            412: "Precondition Failed", 416: "Requested Range Not Satisfiable", 500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


async def get_bucket_website(front: Front, request: S3Request) -> Response:
    """GetBucketWebsite."""
    return xml_answer("WebsiteConfiguration", _shown(website.decode(await kept(front, request, "website"))))


async def put_bucket_website(front: Front, request: S3Request) -> Response:
    """PutBucketWebsite."""
    config = parse_config(await read_document(front, request, "website", "WebsiteConfiguration", LIMIT_BYTES))
    await front.store.set_config(request.who, request.bucket, "website", website.encode(config))
    return empty_answer(200)


async def delete_bucket_website(front: Front, request: S3Request) -> Response:
    """DeleteBucketWebsite."""
    await front.store.set_config(request.who, request.bucket, "website", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "website"): ("GetBucketWebsite", get_bucket_website),
    ("PUT", "website"): ("PutBucketWebsite", put_bucket_website),
    ("DELETE", "website"): ("DeleteBucketWebsite", delete_bucket_website),
}


# -- the document ---------------------------------------------------------------------------------------------


def _shown(config: WebsiteConfig) -> str:
    if config.redirect_host:
        protocol = "" if config.redirect_protocol is None else element("Protocol", config.redirect_protocol)
        return f"<RedirectAllRequestsTo>{element('HostName', config.redirect_host)}{protocol}</RedirectAllRequestsTo>"
    out = f"<IndexDocument>{element('Suffix', config.index_suffix)}</IndexDocument>"
    if config.error_key is not None:
        out += f"<ErrorDocument>{element('Key', config.error_key)}</ErrorDocument>"
    if config.rules:
        out += f"<RoutingRules>{''.join([_shown_rule(rule) for rule in config.rules])}</RoutingRules>"
    return out


def _shown_rule(rule: RoutingRule) -> str:
    condition = "" if rule.key_prefix is None else element("KeyPrefixEquals", rule.key_prefix)
    condition += "" if rule.error_code is None else element("HttpErrorCodeReturnedEquals", rule.error_code)
    redirect = ""
    for name, value in (
        ("Protocol", rule.protocol),
        ("HostName", rule.host),
        ("ReplaceKeyPrefixWith", rule.replace_prefix),
        ("ReplaceKeyWith", rule.replace_key),
        ("HttpRedirectCode", rule.redirect_code),
    ):
        redirect += "" if value is None else element(name, value)
    head = f"<Condition>{condition}</Condition>" if condition else ""
    return f"<RoutingRule>{head}<Redirect>{redirect}</Redirect></RoutingRule>"


def _invalid(message: str, name: str, value: str) -> S3Refused:
    return S3Refused(400, "InvalidArgument", message, elements={"ArgumentName": name, "ArgumentValue": value})


def parse_config(root: Element) -> WebsiteConfig:
    """The configuration of a document.  Raises MalformedXml, InvalidArgument, InvalidRequest."""
    only(root, "IndexDocument", "ErrorDocument", "RedirectAllRequestsTo", "RoutingRules")
    index, error, everything, rules = (
        one(root, name) for name in ("IndexDocument", "ErrorDocument", "RedirectAllRequestsTo", "RoutingRules")
    )
    if everything is not None:
        if index is not None or error is not None or rules is not None:
            raise _invalid("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.", "RedirectAllRequestsTo", "")
        only(everything, "HostName", "Protocol")
        host = _host(needed(everything, "HostName"))
        return WebsiteConfig(1, redirect_host=host, redirect_protocol=_protocol(text(everything, "Protocol")))
    if index is None:
        message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        raise _invalid(message, "IndexDocument", "null")
    only(index, "Suffix")
    suffix = needed(index, "Suffix")
    if not suffix or "/" in suffix or len(suffix) > MAX_TEXT:
        raise _invalid("The IndexDocument Suffix is not well formed", "IndexDocument", suffix)
    key = None
    if error is not None:
        only(error, "Key")
        key = needed(error, "Key")
        if not key or len(key) > MAX_TEXT:
            raise _invalid("The ErrorDocument Key is not well formed", "ErrorDocument", key)
    return WebsiteConfig(1, suffix, key, rules=() if rules is None else _rules(rules))


def _rules(node: Element) -> tuple[RoutingRule, ...]:
    only(node, "RoutingRule")
    if not node.children:
        raise MalformedXml
    if len(node.children) > website.MAX_RULES:
        raise InvalidRequest(
            f"{len(node.children)} routing rules provided, the number of routing rules in a website configuration is limited "
            f"to {website.MAX_RULES}."
        )
    return tuple(_rule(child) for child in node.children)


def _rule(node: Element) -> RoutingRule:
    only(node, "Condition", "Redirect")
    condition, redirect = one(node, "Condition"), one(node, "Redirect")
    if redirect is None:
        raise MalformedXml
    prefix = code = None
    if condition is not None:
        only(condition, "KeyPrefixEquals", "HttpErrorCodeReturnedEquals")
        prefix, code = text(condition, "KeyPrefixEquals"), whole(condition, "HttpErrorCodeReturnedEquals")
        if prefix is None and code is None:
            raise InvalidRequest(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present."
            )
        if code is not None and not 400 <= code <= 599:
            raise InvalidRequest(f"The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.")
    only(redirect, "Protocol", "HostName", "ReplaceKeyPrefixWith", "ReplaceKeyWith", "HttpRedirectCode")
    if not redirect.children:
        raise MalformedXml
    host, replace_prefix, replace_key = (text(redirect, name) for name in ("HostName", "ReplaceKeyPrefixWith", "ReplaceKeyWith"))
    redirect_code = whole(redirect, "HttpRedirectCode")
    if replace_prefix is not None and replace_key is not None:
        raise InvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    if redirect_code is not None and not 301 <= redirect_code <= 399:
        raise InvalidRequest(f"The provided HTTP redirect code ({redirect_code}) is not valid. Valid codes are 3XX except 300.")
    if any(value is not None and len(value) > MAX_TEXT for value in (prefix, replace_prefix, replace_key)):
        raise InvalidRequest(f"A key or prefix of a routing rule is at most {MAX_TEXT} characters.")
    protocol = _protocol(text(redirect, "Protocol"))
    return RoutingRule(prefix, code, protocol, None if host is None else _host(host), replace_prefix, replace_key, redirect_code)


def _host(name: str) -> str:
    # It becomes a part of a Location header.
    if not name or len(name) > MAX_TEXT or any(not 0x21 <= ord(char) <= 0x7E for char in name):
        raise _invalid("The HostName is not well formed", "HostName", name)
    return name


def _protocol(name: str | None) -> str | None:
    if name not in (None, "http", "https"):
        raise InvalidRequest("Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
    return name


# -- the endpoint ---------------------------------------------------------------------------------------------


async def serve(front: Front, request: S3Request) -> Response:
    """Answer a request to a website domain; refusals too, as pages."""
    try:
        return await _serve(front, request)
    except ObjstoreError as error:
        if isinstance(error, NotModified):
            raise
        return _page(front, request, failure_of(error, bucket=request.bucket, key=request.key))


async def _serve(front: Front, request: S3Request) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise S3Refused(
            405, "MethodNotAllowed", "The specified method is not allowed against this resource.", headers=[(b"allow", b"GET, HEAD")]
        )
    # A query means nothing here, and least of all a version or headers of the answer.
    request.query = {}
    config = PARSED.of(await front.store.find_bucket(request.who, request.bucket))
    if config is None:
        raise S3Refused(404, *MISSING["website"], elements={"BucketName": request.bucket})
    path = request.key
    redirect = website.redirect_before(config, path)
    if redirect is not None:
        return _redirected(request, redirect)
    request.key = website.index_key(config, path)
    try:
        return await _obeying_redirect(await _object(front, request))
    except ObjstoreError as error:
        if isinstance(error, NotModified):
            raise
        if isinstance(error, NoSuchKey) and path and not path.endswith("/") and await _is_folder(front, request, config, path):
            return _redirected(request, Redirect(path + "/", 302))
        request.key = path
        failure = failure_of(error, bucket=request.bucket, key=path)
        redirect = website.redirect_after(config, path, failure.status)
        if redirect is not None:
            return _redirected(request, redirect)
        if config.error_key is not None and 400 <= failure.status < 500:
            return await _error_document(front, request, config.error_key, failure)
        raise


async def _object(front: Front, request: S3Request) -> Response:
    return await (objects.get_object if request.method == "GET" else objects.head_object)(front, request)


async def _obeying_redirect(response: Response) -> Response:
    name = REDIRECT_LOCATION.encode()
    target = next((value for header, value in response.headers if header == name), None)
    if target is None:
        return response
    closing = getattr(response.rest, "aclose", None)  # the object itself is not sent
    if closing is not None:
        await closing()
    return Response(301, [(b"location", target)])


async def _is_folder(front: Front, request: S3Request, config: WebsiteConfig, path: str) -> bool:
    try:
        await front.store.head(request.who, request.bucket, f"{path}/{config.index_suffix}")
    except ObjstoreError:
        return False
    return True


async def _error_document(front: Front, request: S3Request, key: str, failure: Failure) -> Response:
    for name in ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"):
        request.headers.pop(name, None)
    path, request.key = request.key, key
    try:
        response = await _object(front, request)
    except ObjstoreError:
        request.key = path
        return _page(front, request, failure)
    response.status = failure.status
    response.headers += _error_headers(failure)
    return response


def _redirected(request: S3Request, redirect: Redirect) -> Response:
    host = redirect.host or request.headers.get("host", "")
    target = f"{redirect.protocol or request.scheme}://{host}/{quote(redirect.key, safe='/-_.~!$&()*+,;=:@')}"
    return Response(redirect.code, [(b"location", target.encode("latin-1", "replace"))])


def _error_headers(failure: Failure) -> Headers:
    message = failure.message.encode("ascii", "replace").replace(b"\n", b" ")
    return [(b"x-amz-error-code", failure.code.encode()), (b"x-amz-error-message", message)]


def _page(front: Front, request: S3Request, failure: Failure) -> Response:
    title = f"{failure.status} {_REASONS.get(failure.status, failure.code)}"
    facts = {
        "Code": failure.code,
        "Message": failure.message,
        **failure.elements,
        "RequestId": request.id,
        "HostId": front.settings.host_id,
    }
    lines = "".join([f"<li>{html.escape(name)}: {html.escape(value)}</li>\n" for name, value in facts.items()])
    text_ = f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{lines}</ul>\n<hr/>\n</body>\n</html>\n"
    headers = [HTML_TYPE, *_error_headers(failure), *failure.headers]
    page = text_.encode()
    return Response(failure.status, headers, b"" if request.method == "HEAD" else page, length=len(page))
