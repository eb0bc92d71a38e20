"""PostObject: an upload from a browser's form.

The fields come first: they are authenticated (a signed policy, or nothing for an anonymous upload), held against the policy,
and then stand for the headers of a PutObject, which this becomes.  So whatever PutObject honours or refuses is honoured or refused here.
"""

import re
from urllib.parse import quote, urlencode, urlsplit

from objstore.core import post_policy
from objstore.errors import InvalidArgument, InvalidRequest, MalformedXml, PreconditionFailed
from objstore.fronts.s3 import objects
from objstore.fronts.s3.body import RequestBody
from objstore.fronts.s3.context import XML_TYPE, Front, Headers, Response
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.facts import S3Facts
from objstore.fronts.s3.forms import MAX_AFTER_FILE_BYTES, MAX_BEFORE_FILE_BYTES, Form, boundary_of
from objstore.fronts.s3.params import STORED_HEADERS, check_tags
from objstore.fronts.s3.request import NOBODY, S3Request
from objstore.fronts.s3.xml import DECLARATION, element, parse
from objstore.objects.api import Principal

FILENAME = "${filename}"
MAX_REDIRECT_CHARS = 2048
_HINT_POLICY = (
    "Every field but the file must be as a condition of the policy says, and named by one; sign another policy, or change the form."
)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")  # in lower case
_HEADERS = frozenset((*STORED_HEADERS, "content-type", "content-md5"))
# x-amz-* fields that belong to the signature, and such as would speak of a body that a form does not have.
_SIGNATURE = frozenset(("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"))
_NOT_IN_FORMS = ("x-amz-content-sha256", "x-amz-copy-source", "x-amz-decoded-content-length", "x-amz-trailer")


async def post_object(front: Front, request: S3Request) -> Response:
    """PostObject."""
    boundary = boundary_of(request.headers.get("content-type", ""))
    if boundary is None:
        raise PreconditionFailed(
            condition="Bucket POST must be of the enclosure-type multipart/form-data", hint="Send the form as multipart/form-data."
        )
    if not request.who.anonymous:
        raise InvalidRequest("A form is signed by its policy field, not by its headers or its query.")
    assert front.authenticator is not None
    limit_bytes = front.settings.max_put_bytes + MAX_BEFORE_FILE_BYTES + MAX_AFTER_FILE_BYTES
    form = Form(RequestBody(request, threads=None, thread_from_bytes=0, limit_bytes=limit_bytes), boundary)
    await form.read_fields()
    fields = form.fields
    if not fields.get("key"):
        raise InvalidArgument("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
    fields["key"] = fields["key"].replace(FILENAME, form.filename)
    if not fields["key"]:
        raise InvalidArgument("User key must have a length greater than 0.")
    signed = await front.authenticator.authenticate_form(fields)
    form.limit(0, front.settings.max_put_bytes)
    if signed is not None:
        _check_policy(front, request, form)
    elif fields.get("bucket", request.bucket) != request.bucket:
        raise InvalidArgument("The form's field 'bucket' is not the bucket that it was sent to.")
    answer = await objects.put_object(front, _as_put(request, form, *(signed or (NOBODY, ""))))
    return _answer(request, fields, answer)


def _check_policy(front: Front, request: S3Request, form: Form) -> None:
    """Hold the form against its policy.  Raises S3Refused."""
    try:
        policy = post_policy.parse_policy(form.fields["policy"])
        # The bucket is where the form was sent, whatever the form says: both must be what was signed.
        for bucket in {request.bucket, form.fields.get("bucket", request.bucket)}:
            post_policy.check_form(policy, {**form.fields, "bucket": bucket}, front.clock.wall_us() // 1_000_000)
    except post_policy.PolicyMalformed as failure:
        raise S3Refused(400, "InvalidPolicyDocument", failure.message) from None
    except post_policy.PolicyViolated as failure:
        raise S3Refused(403, "AccessDenied", failure.message, hint=_HINT_POLICY) from None
    most = front.settings.max_put_bytes
    form.limit(policy.least_bytes, most if policy.most_bytes is None else min(most, policy.most_bytes))


def _as_put(request: S3Request, form: Form, who: Principal, signature: str) -> S3Request:
    """The request with the form's fields in place of its headers, and the file in place of its body."""
    headers: dict[str, str] = {"host": request.headers.get("host", "")}
    for name, text in form.fields.items():
        value = text.encode().decode("latin-1")  # headers are text of one character a byte
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _SIGNATURE):
            if _HEADER_NAME.fullmatch(name) is None:
                raise InvalidArgument("A field's name holds characters that the name of a header cannot have.")
            if name.startswith(_NOT_IN_FORMS):
                raise InvalidArgument(f"The field {name} has no place in a form.")
            if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
                raise InvalidArgument(f"The field {name[:64]} holds control characters.")
            headers[name] = value
        elif name == "acl":
            headers["x-amz-acl"] = value
        elif name == "tagging":
            headers["x-amz-tagging"] = _tagging(text)
    request.headers = headers
    request.amz = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    request.key = form.fields["key"]
    facts = request.who.request
    request.who = who.of_request(facts.of_form(headers, signature) if isinstance(facts, S3Facts) else facts)
    request.form = form
    return request


def _tagging(text: str) -> str:
    tag_set = parse(text.encode(), "Tagging").find("TagSet")
    if tag_set is None:
        raise MalformedXml
    tags = check_tags([(tag.value("Key"), tag.value("Value")) for tag in tag_set.all("Tag")])
    return urlencode(tags)


def _answer(request: S3Request, fields: dict[str, str], answer: Response) -> Response:
    """What the form asked to be told: a redirection, 200, 201 with a document, or 204."""
    headers: Headers = list(answer.headers)
    etag = next(value for name, value in answer.headers if name == b"etag").decode()
    redirect = fields.get("success_action_redirect") or fields.get("redirect", "")
    if _is_address(redirect):
        query = urlencode({"bucket": request.bucket, "key": request.key, "etag": etag}, quote_via=quote, safe="/")
        url = f"{redirect}{'&' if urlsplit(redirect).query else '?'}{query}"
        return Response(303, [*headers, (b"location", url.encode())])
    prefix = "" if request.virtual_bucket else f"/{request.bucket}"
    location = f"{request.scheme}://{request.headers['host']}{prefix}/{quote(request.key, safe='/-_.~')}"
    headers.append((b"location", location.encode("latin-1")))
    status = fields.get("success_action_status", "")
    if status == "201":
        content = element("Location", location) + element("Bucket", request.bucket) + element("Key", request.key) + element("ETag", etag)
        return Response(201, [XML_TYPE, *headers], f"{DECLARATION}<PostResponse>{content}</PostResponse>".encode())
    return Response(200 if status == "200" else 204, headers)


def _is_address(text: str) -> bool:
    """Whether a browser may be sent there; anything else is passed over, as on Amazon."""
    if not text or len(text) > MAX_REDIRECT_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


BUCKET_ROUTES = {("POST", ""): ("PostObject", post_object)}
