"""IAM and STS on the endpoint of S3: a POST of a form to /, or a GET with Action in its query.

Every call is authenticated over its whole body, then authorised by one table, then carried out on identities that are as new as
any answer given anywhere.  One call comes unsigned on purpose: it proves itself by a web token.
"""

import logging

from objstore.errors import ConditionalConflict, ObjstoreError, Unavailable
from objstore.fronts.iam import policies, roles, sts, users
from objstore.fronts.iam.call import MAX_BODY_BYTES, Call, Row, parse_form
from objstore.fronts.s3.auth import Authenticator
from objstore.fronts.s3.body import RequestBody, read_document
from objstore.fronts.s3.context import Response
from objstore.fronts.s3.errors import Failure, failure_of
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import DECLARATION, element
from objstore.identity.changes import Changes
from objstore.identity.directory import Directory
from objstore.identity.entities import USER, IdentityRefused
from objstore.objects.api import Expected, RequestFacts
from objstore.runtime.clock import Clock

log = logging.getLogger(__name__)

IAM_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
TEXT_XML = (b"content-type", b"text/xml")
ACTIONS: dict[str, Row] = {**users.ACTIONS, **policies.ACTIONS, **roles.ACTIONS}
# Calls that change a user: what belongs to the identities file is not for everybody who may change users.
_OF_USERS = frozenset((*(name for name in ACTIONS if "User" in name or "AccessKey" in name),))
_READING = ("Get", "List")
_EMPTY_RESULTS = frozenset(("UpdateRole",))  # whose answer has a result with nothing in it
_UNSIGNED = frozenset(("AssumeRoleWithWebIdentity",))
# S3's codes of failed signatures, as the query APIs call them.
_CODES = {
    "InvalidAccessKeyId": ("InvalidClientTokenId", 403),
    "InvalidToken": ("InvalidClientTokenId", 403),
    "ExpiredToken": ("ExpiredToken", 403),
    "AuthorizationHeaderMalformed": ("IncompleteSignature", 400),
    "AuthorizationQueryParametersError": ("IncompleteSignature", 400),
    "RequestTimeTooSkewed": ("SignatureDoesNotMatch", 403),
}


class QueryCalls:
    """Answers the calls."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._changes = Changes(directory)
        self._clock = clock

    def takes(self, request: S3Request) -> bool:
        """Whether a request is a call, and not one of S3."""
        return not request.bucket and (request.method == "POST" or (request.method == "GET" and "Action" in request.query))

    async def answer(self, request: S3Request, authenticator: Authenticator, facts: RequestFacts) -> tuple[str, Response]:
        """The name of the call, and its answer; refusals are answers too."""
        action, namespace = "Unknown", IAM_NAMESPACE
        try:
            body = await _read(request)
            parameters = parse_form(body if request.method == "POST" else request.received.query.encode("latin-1"))
            action = _action(parameters.get("Action", ""))
            namespace = STS_NAMESPACE if action in sts.ACTIONS else IAM_NAMESPACE
            who = await authenticator.authenticate_call(request, body)
            if not who.anonymous or action in _UNSIGNED:
                await self._directory.catch_up()
            known = {"aws:securetransport": "true" if facts.secure else "false", "aws:sourceip": facts.source_ip}
            call = Call(action, parameters, who, self._directory, self._changes, self._clock.wall_us(), known)
            result = await _carry_out(call)
        except IdentityRefused as refusal:
            failure = Failure(refusal.status, refusal.code, refusal.message)
        except ConditionalConflict as conflict:
            failure = Failure(409, "ConcurrentModification", conflict.message)
        except Unavailable as unavailable:
            log.warning("request %s: %s: %s", request.id, action, unavailable)
            failure = Failure(503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
        except ObjstoreError as error:
            failure = failure_of(error)
            failure.code, failure.status = _CODES.get(failure.code, (failure.code, failure.status))
        else:
            wrapped = f"<{action}Result>{result}</{action}Result>" if result or action in _EMPTY_RESULTS else ""
            metadata = f"<ResponseMetadata>{element('RequestId', request.id)}</ResponseMetadata>"
            text = f'{DECLARATION}<{action}Response xmlns="{namespace}">{wrapped}{metadata}</{action}Response>'
            return action, Response(200, [TEXT_XML], text.encode())
        return action, _refusal(failure, namespace, request.id)


def _action(wanted: str) -> str:
    if wanted not in ACTIONS and wanted not in sts.ACTIONS:
        raise IdentityRefused("InvalidAction", f"Could not find operation {wanted[:64]}")
    return wanted


async def _read(request: S3Request) -> bytes:
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        return b""
    body = RequestBody(request, threads=None, thread_from_bytes=0, limit_bytes=MAX_BODY_BYTES)
    return await read_document(body, Expected(), MAX_BODY_BYTES)


async def _carry_out(call: Call) -> str:
    handler = sts.ACTIONS.get(call.action)
    if handler is not None:
        return await handler(call)
    resource, handler = ACTIONS[call.action]
    if call.who.anonymous:
        call.check("", "")
    if call.temporary and ":assumed-role/" not in call.who.arn:
        # As on AWS: an hour with a user's session token must not be worth an access key for ever.  What a role may do is up to the role.
        raise IdentityRefused("InvalidClientTokenId", "The security token included in the request is invalid", 403)
    call.check(f"iam:{call.action}", resource(call))
    if call.action in _OF_USERS and call.action != "CreateUser" and not call.action.startswith(_READING):
        _check_fixed(call)
    return await handler(call)


def _check_fixed(call: Call) -> None:
    """Who belongs to the identities file can do all in its account, so that only its equals may change it."""
    fixed = call.directory.fixed_user(call.key(USER).record)
    if fixed is None or call.who.admin or (call.who.plain and not fixed.admin):
        return
    raise IdentityRefused("AccessDenied", f"User: {call.who.arn} may not change a user of the identities file", 403)


def _refusal(failure: Failure, namespace: str, request_id: str) -> Response:
    kind = "Sender" if failure.status < 500 else "Receiver"
    text = (
        f'{DECLARATION}<ErrorResponse xmlns="{namespace}"><Error>{element("Type", kind)}{element("Code", failure.code)}'
        f"{element('Message', failure.message)}</Error>{element('RequestId', request_id)}</ErrorResponse>"
    )
    return Response(failure.status, [TEXT_XML], text.encode())
