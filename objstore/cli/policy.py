"""`objstore policy explain`: what a bucket's policy, lists and settings decide of a request, and which statement does.

Nothing is asked of a cluster: the documents come from files, or from standard input, as `aws s3api get-bucket-policy` prints
them.  The decision is the proxies' own code.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from objstore.cli.errors import complain
from objstore.core.acl import PRIVATE, Ownership, PublicAccessBlock, canned_acl, encode_acl, encode_block
from objstore.core.policy import Ask, Kind, Policy, parse_policy
from objstore.core.rows import BucketId, Row
from objstore.core.rows import Kind as RowKind
from objstore.core.timestamp import ZERO
from objstore.errors import ObjstoreError
from objstore.objects.access import Found, Question, caller_of, decide, gate_of, resource_of
from objstore.objects.actions import OF_VERSION, ON_OBJECT, Action
from objstore.objects.api import BucketInfo, Principal, RequestFacts
from objstore.objects.asked import Asked

DENIED = 3  # exit code: understood, and denied
_BLOCKS = ("acls", "ignore-acls", "policy", "restrict")


class _Described(RequestFacts):
    """A request as the command line describes it."""

    def __init__(self, headers: Mapping[str, str], parameters: Mapping[str, str], source_ip: str, *, secure: bool) -> None:
        self._headers = headers
        self._parameters = parameters
        self._source_ip = source_ip
        self._secure = secure

    @property
    def source_ip(self) -> str:
        return self._source_ip

    @property
    def secure(self) -> bool:
        return self._secure

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def parameter(self, name: str) -> str | None:
        return self._parameters.get(name)


@click.group()
def policy() -> None:
    """Look into policies."""


@policy.command()
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), required=False)
@click.option("--bucket", required=True, help="The bucket's name.")
@click.option("--owner", default="owner", show_default=True, help="The account that owns the bucket.")
@click.option("--action", required=True, help="What is to be done: s3:GetObject, s3:ListBucket...")
@click.option("--key", default="", help="The object's name, where the action is about one.")
@click.option("--version-id", default="", help="A version that is named.")
@click.option("--account", default="", help="The caller's account; without it the caller is anonymous.")
@click.option("--user", default="", help="The caller's user name.")
@click.option("--arn", default="", help="The caller's ARN, where it is not that of the user: of a session of a role.")
@click.option("--canonical-id", default="", help="The caller's canonical id.")
@click.option("--identity", multiple=True, type=click.Path(path_type=Path), help="A policy of the caller's; none: the account itself.")
@click.option("--session", multiple=True, type=click.Path(path_type=Path), help="A policy of the caller's session.")
@click.option("--boundary", type=click.Path(path_type=Path), help="The caller's permissions boundary.")
@click.option("--header", multiple=True, help="NAME=VALUE of the request.")
@click.option("--parameter", multiple=True, help="NAME=VALUE of the request's query.")
@click.option("--condition", multiple=True, help="KEY=VALUE: any condition key.")
@click.option("--source-ip", default="", help="Where the request comes from.")
@click.option("--tls/--no-tls", "secure", default=False, help="Whether it comes over TLS.")
@click.option("--tag", multiple=True, help="KEY=VALUE: a tag of the object that is there.")
@click.option("--request-tag", multiple=True, help="KEY=VALUE: a tag that the request sets.")
@click.option("--object-owner", default="", help="The account whose the object is, if not the bucket's.")
@click.option("--object-acl", default="", help="The object's canned list.")
@click.option("--bucket-acl", default="", help="The bucket's canned list.")
@click.option("--ownership", type=click.Choice([o.value for o in Ownership]), default=Ownership.ENFORCED.value, show_default=True)
@click.option("--block", multiple=True, type=click.Choice(_BLOCKS), help="A part of the public access block that is on.")
def explain(file: Path | None, bucket: str, action: str, key: str, version_id: str, **given: object) -> int:
    """Say what the bucket policy in FILE (- for standard input) decides of a request, and why.

    Exits with 0 when the request is allowed, with 3 when it is denied.  For a bucket of a running cluster:

    aws s3api get-bucket-policy --bucket B --query Policy --output text | objstore policy explain - --bucket B ...
    """
    try:
        wanted = _action(action, version_id)
        who = _caller(given)
        info = _bucket(file, bucket, given)
        question = Question(
            wanted,
            key,
            version_id,
            _found(given, info.account),
            _pairs(given["request_tag"]),
            {k.lower(): (v,) for k, v in _pairs(given["condition"]).items()},
        )
        if wanted in ON_OBJECT and not key:
            return complain(f"{wanted.value} is about an object", hint="--key NAME")
        gate = gate_of(bucket, info.config)
        decision = decide(who, info, gate, question)
    except (OSError, ObjstoreError, ValueError) as failure:
        return complain(str(failure))
    print(f"{'allowed' if decision.allowed else 'DENIED'}: {decision.reason}")
    row = question.found if isinstance(question.found, Row) else None
    lookup = Asked(who, info, version_id=version_id, row=row, tags=question.tags, given=question.given)
    ask = Ask(caller_of(who), wanted.value, resource_of(bucket, key), lookup)
    for title, policies in _policies(who, gate.policy if gate is not None else None):
        for document in policies:
            print(f"{title}:")
            print("\n".join([f"  {line}" for line in document.explain(ask)]))
    return 0 if decision.allowed else DENIED


def _policies(who: Principal, of_bucket: Policy | None) -> Iterable[tuple[str, Sequence[Policy]]]:
    yield "bucket policy", () if of_bucket is None else (of_bucket,)
    yield "identity policy", who.policies or ()
    yield "permissions boundary", () if who.boundary is None else (who.boundary,)
    yield "session policy", who.session_policies or ()


def _action(name: str, version_id: str) -> Action:
    for action in Action:
        if action.value.lower() == name.lower():
            return OF_VERSION.get(action, action) if version_id else action
    from objstore.runtime.config import nearest

    raise ValueError(f"there is no action {name!r}; {nearest(name, [action.value for action in Action])}")


def _caller(given: Mapping[str, object]) -> Principal:
    headers = {name.lower(): value for name, value in _pairs(given["header"]).items()}
    facts = _Described(headers, _pairs(given["parameter"]), str(given["source_ip"]), secure=bool(given["secure"]))
    account = str(given["account"])
    if not account:
        return Principal(account="", anonymous=True).of_request(facts)
    identity, session, boundary = _documents(given["identity"]), _documents(given["session"]), given["boundary"]
    who = Principal(
        account=account, user=str(given["user"]), arn=str(given["arn"]), canonical_id=str(given["canonical_id"]),
        policies=identity or None, session_policies=session or None,
        boundary=parse_policy(boundary.read_bytes(), Kind.IDENTITY) if isinstance(boundary, Path) else None,
    )  # fmt: skip
    return who.of_request(facts)


def _documents(paths: object) -> tuple[Policy, ...]:
    assert isinstance(paths, tuple)
    return tuple(parse_policy(path.read_bytes(), Kind.IDENTITY) for path in paths)


def _bucket(file: Path | None, name: str, given: Mapping[str, object]) -> BucketInfo:
    config = {"ownershipControls": str(given["ownership"]).encode()}
    if file is not None:
        config["policy"] = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        parse_policy(config["policy"], Kind.BUCKET, bucket=name)
    if given["bucket_acl"]:
        config["acl"] = encode_acl(canned_acl(str(given["bucket_acl"])))
    blocks = given["block"]
    assert isinstance(blocks, tuple)
    config["publicAccessBlock"] = encode_block(PublicAccessBlock(*[name in blocks for name in _BLOCKS]))
    return BucketInfo(id=BucketId(bytes(8)), name=name, account=str(given["owner"]), created_us=0, config=config)


def _found(given: Mapping[str, object], owner: str) -> Found:
    acl = canned_acl(str(given["object_acl"])) if given["object_acl"] else PRIVATE
    return Row(
        kind=RowKind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=str(given["object_owner"]) or owner,
        acl=encode_acl(acl), tags=_pairs(given["tag"]),
    )  # fmt: skip


def _pairs(texts: object) -> dict[str, str]:
    """NAME=VALUE options as a table.  Raises ValueError."""
    assert isinstance(texts, tuple)
    table = {}
    for text in texts:
        name, separator, value = str(text).partition("=")
        if not separator or not name:
            raise ValueError(f"write NAME=VALUE, not {text!r}")
        table[name] = value
    return table
