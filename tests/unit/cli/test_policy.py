import json
from pathlib import Path

import pytest

from objstore.cli.main import main
from objstore.cli.policy import DENIED

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
        {
            "Sid": "inside", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*",
            "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        },
    ],
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY))
    return str(path)


def explain(*words: str) -> int:
    return main(["policy", "explain", "--bucket", "b", *words])


def test_the_statement_that_decides_is_named(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(file, "--action", "s3:GetObject", "--key", "k", "--source-ip", "10.1.1.1") == 0
    out = capsys.readouterr().out
    assert out.startswith('allowed: the bucket policy allows it: Allow "open" (statement 1)\n')
    assert "condition NotIpAddress aws:sourceip fails: it is 10.1.1.1" in out
    assert explain(file, "--action", "s3:getobject", "--key", "k", "--source-ip", "11.1.1.1", "--account", "owner") == DENIED
    assert capsys.readouterr().out.startswith('DENIED: the bucket policy denies it: Deny "inside" (statement 2)\n')


def test_callers_have_policies_of_their_own(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"Statement": {"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}}))
    caller = ("--account", "owner", "--user", "u", "--identity", str(own), "--source-ip", "10.0.0.1")
    assert explain(file, "--action", "s3:ListBucket", *caller) == 0
    assert explain(file, "--action", "s3:PutObject", "--key", "k", *caller) == DENIED
    out = capsys.readouterr().out
    assert "no identity-based policy allows it" in out
    assert "identity policy:\n  Allow (statement 1): action s3:PutObject is not among s3:List*" in out
    assert explain("--action", "s3:ListBucket", *caller, "--session", str(own), "--boundary", str(own)) == 0


def test_lists_tags_and_the_block_count_too() -> None:
    lists = ("--ownership", "ObjectWriter", "--object-acl", "public-read")
    assert explain("--action", "s3:GetObject", "--key", "k", *lists) == 0
    assert explain("--action", "s3:GetObject", "--key", "k", *lists, "--block", "ignore-acls") == DENIED
    assert explain("--action", "s3:ListBucket", "--ownership", "ObjectWriter", "--bucket-acl", "public-read") == 0
    assert (
        explain("--action", "s3:GetObject", "--key", "k", "--account", "owner", "--ownership", "ObjectWriter", "--object-owner", "bob")
        == DENIED
    )


def test_conditions_are_described(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    conditions = {
        "StringEquals": {"s3:x-amz-acl": "private", "s3:ExistingObjectTag/a": "b", "s3:RequestObjectTag/c": "d", "aws:PrincipalTag/e": "f"}
    }
    statement = {**POLICY["Statement"][0], "Action": "s3:*", "Condition": conditions}  # type: ignore[dict-item, index] # as it stands above
    path.write_text(json.dumps({"Statement": statement}))
    words = ("--action", "s3:PutObjectTagging", "--key", "k", "--account", "bob")
    told = ("--header", "X-Amz-Acl=private", "--tag", "a=b", "--request-tag", "c=d", "--condition", "aws:PrincipalTag/e=f")
    assert explain(str(path), *words) == DENIED
    assert explain(str(path), *words, *told) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--action", "s3:GetObjct", "--key", "k"),
        ("--action", "s3:GetObject"),
        ("--action", "s3:ListBucket", "--tag", "novalue"),
        ("/no/such/file", "--action", "s3:ListBucket"),
        ("--action", "s3:ListBucket", "--bucket-acl", "open"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(*words) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_malformed_policy_is_told_from_a_denial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.json"
    path.write_text("{}")
    assert explain(str(path), "--action", "s3:ListBucket") == 1
    assert "Missing required field Statement" in capsys.readouterr().err
