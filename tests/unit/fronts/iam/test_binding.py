"""What IAM says binds: in S3, and in IAM itself."""

import json
from collections.abc import Callable
from typing import Any

from objstore.identity.model import User
from tests.support.iam_server import ROOT, iam_serving, service
from tests.support.policies import identity_policy, trust_policy
from tests.support.s3_server import BOB, Running

Refused = Callable[..., tuple[str, int]]
READ = identity_policy("s3:GetObject", resource="arn:aws:s3:::alices/*")


def test_policies_open_what_they_name_and_nothing_else(
    iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    own = service(server, "s3", keys)
    assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    assert refused(own.list_buckets) == ("AccessDenied", 403)
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=READ)
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(own.put_object, Bucket="alices", Key="k", Body=b"x") == ("AccessDenied", 403)
    assert refused(own.delete_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    iam.put_user_policy(UserName=user, PolicyName="never", PolicyDocument=identity_policy("s3:GetObject", effect="Deny"))
    assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    iam.delete_user_policy(UserName=user, PolicyName="never")
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    iam.delete_user_policy(UserName=user, PolicyName="read")
    assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)


def test_managed_policies_have_versions(iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused) -> None:
    arn = iam.create_policy(PolicyName=user, PolicyDocument=identity_policy("s3:ListAllMyBuckets"))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    own = service(server, "s3", keys)
    assert own.list_buckets()
    assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=READ, SetAsDefault=True)["PolicyVersion"]["VersionId"] == "v2"
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(own.list_buckets) == ("AccessDenied", 403)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert own.list_buckets()
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]["Statement"][0]["Action"] == ["s3:GetObject"]
    assert [(found["VersionId"], found["IsDefaultVersion"]) for found in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [
        ("v1", True),
        ("v2", False),
    ]
    assert refused(iam.delete_policy_version, PolicyArn=arn, VersionId="v1") == ("DeleteConflict", 409)
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=READ)
    assert refused(iam.create_policy_version, PolicyArn=arn, PolicyDocument=READ) == ("LimitExceeded", 409)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=READ)["PolicyVersion"]["VersionId"] == "v6"
    assert refused(iam.get_policy_version, PolicyArn=arn, VersionId="v2") == ("NoSuchEntity", 404)


def test_a_boundary_bounds(iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused) -> None:
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    own = service(server, "s3", keys)
    own.put_object(Bucket="alices", Key="other", Body=b"x")
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    assert iam.get_user(UserName=user)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("/AmazonS3ReadOnlyAccess")
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(own.put_object, Bucket="alices", Key="other", Body=b"x") == ("AccessDenied", 403)
    assert refused(service(server, "iam", keys).create_user, UserName=user + "x") == ("AccessDenied", 403)
    iam.delete_user_permissions_boundary(UserName=user)
    own.put_object(Bucket="alices", Key="other", Body=b"x")


def test_a_denial_on_a_user_of_the_identities_file_binds(server: Running, s3: Any, refused: Refused) -> None:
    root = service(server, "iam", ROOT)
    root.put_user_policy(UserName="alice", PolicyName="stop", PolicyDocument=identity_policy("s3:DeleteObject", effect="Deny"))
    try:
        assert refused(s3.delete_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
        assert s3.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    finally:
        root.delete_user_policy(UserName="alice", PolicyName="stop")
    s3.delete_object(Bucket="alices", Key="no-such-key")


def test_keys_open_the_store_until_they_are_switched_off_or_deleted(
    iam: Any, server: Running, user: str, s3: Any, refused: Refused
) -> None:
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    assert keys["AccessKeyId"].startswith("AKIA")
    assert len(keys["SecretAccessKey"]) == 40
    own = service(server, "s3", keys)
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    iam.update_access_key(UserName=user, AccessKeyId=keys["AccessKeyId"], Status="Inactive")
    assert [key["Status"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]] == ["Inactive"]
    assert refused(own.get_object, Bucket="alices", Key="k") == ("InvalidAccessKeyId", 403)
    iam.update_access_key(UserName=user, AccessKeyId=keys["AccessKeyId"], Status="Active")
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(iam.delete_user, UserName=user) == ("DeleteConflict", 409)
    iam.create_access_key(UserName=user)
    assert refused(iam.create_access_key, UserName=user) == ("LimitExceeded", 409)
    iam.delete_access_key(UserName=user, AccessKeyId=keys["AccessKeyId"])
    assert refused(own.get_object, Bucket="alices", Key="k") == ("InvalidAccessKeyId", 403)
    assert refused(iam.delete_access_key, UserName=user, AccessKeyId=keys["AccessKeyId"]) == ("NoSuchEntity", 404)
    assert refused(iam.update_access_key, UserName=user, AccessKeyId="AKIANOSUCHKEYATALL", Status="Active") == ("NoSuchEntity", 404)


def test_users_own_what_their_account_owns(iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any) -> None:
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    own = service(server, "s3", keys)
    own.create_bucket(Bucket=user)
    assert user in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert own.list_buckets()["Owner"] == s3.list_buckets()["Owner"]


def test_a_group_made_again_is_another_group(iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused) -> None:
    group = f"again-{user}"
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=identity_policy("s3:*"))
    iam.add_user_to_group(GroupName=group, UserName=user)
    own = service(server, "s3", keys)
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)


def test_a_role_may_what_it_may_within_its_session_policies(iam: Any, server: Running, name: str, s3: Any, refused: Refused) -> None:
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust_policy({"AWS": "arn:aws:iam::alice:root"}))["Role"]["Arn"]
    sts = service(server, "sts")

    def assume(**more: Any) -> Any:
        return service(server, "s3", sts.assume_role(RoleArn=role, RoleSessionName="work", **more)["Credentials"])

    nothing = assume()
    assert refused(nothing.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=identity_policy("s3:GetObject", "s3:PutObject"))
    assert nothing.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"  # what a role may is looked up at each use
    limited = assume(Policy=READ)
    assert limited.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(limited.put_object, Bucket="alices", Key="new", Body=b"x") == ("AccessDenied", 403)
    wider = assume(Policy=identity_policy("s3:*"))
    wider.put_object(Bucket="alices", Key="new", Body=b"x")
    assert refused(wider.delete_object, Bucket="alices", Key="new") == ("AccessDenied", 403)
    managed = assume(PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}])
    assert refused(managed.put_object, Bucket="alices", Key="new", Body=b"x") == ("AccessDenied", 403)


def test_a_bucket_policy_may_name_a_user_of_another_account(iam: Any, server: Running, user: str, s3: Any, refused: Refused) -> None:
    bob = service(server, "iam", BOB)
    bob.create_user(UserName=user)
    keys = bob.create_access_key(UserName=user)["AccessKey"]
    own = service(server, "s3", keys)
    bucket = f"shared-{user}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    bucket_policy = json.loads(identity_policy("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*"))
    bucket_policy["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::bob:user/{user}"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(bucket_policy))
    assert refused(own.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)  # both accounts must agree
    bob.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=identity_policy("s3:GetObject"))
    assert own.get_object(Bucket=bucket, Key="k")["Body"].read() == b"data"
    assert refused(own.put_object, Bucket=bucket, Key="k", Body=b"x") == ("AccessDenied", 403)


def test_variables_of_policies_stand_for_the_user(
    iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    iam.put_user_policy(
        UserName=user, PolicyName="home", PolicyDocument=identity_policy("s3:*Object", resource="arn:aws:s3:::alices/${aws:username}/*")
    )
    own = service(server, "s3", keys)
    own.put_object(Bucket="alices", Key=f"{user}/x", Body=b"x")
    assert refused(own.put_object, Bucket="alices", Key="other/x", Body=b"x") == ("AccessDenied", 403)


def test_iam_knows_where_a_call_came_from(iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused) -> None:
    own = service(server, "iam", keys)
    for address, allowed in (("127.0.0.0/8", True), ("10.0.0.0/8", False)):
        condition = {"IpAddress": {"aws:SourceIp": address}, "Bool": {"aws:SecureTransport": "false"}}
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=identity_policy("iam:GetUser", Condition=condition))
        if allowed:
            assert own.get_user()["User"]["UserName"] == user
        else:
            assert refused(own.get_user) == ("AccessDenied", 403)


def test_a_policy_may_demand_credentials_of_sts(
    iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    condition = {"BoolIfExists": {"sts:authentication": "false"}}
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=identity_policy("s3:*", effect="Deny", Condition=condition))
    assert refused(service(server, "s3", keys).get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
    session = service(server, "sts", keys).get_session_token()["Credentials"]
    assert service(server, "s3", session).get_object(Bucket="alices", Key="k")["Body"].read() == b"data"


def test_a_root_goes_by_the_name_of_its_account(refused: Refused) -> None:
    chief = User("acme", "chief", "AKCHIEF", "chief-secret", canonical_id="acme", root=True)
    with iam_serving(users=(chief, BOB)) as server:
        iam = service(server, "iam", chief)
        assert iam.get_user()["User"]["Arn"] == "arn:aws:iam::acme:root"
        assert service(server, "sts", chief).get_caller_identity()["Arn"] == "arn:aws:iam::acme:root"
        bob = service(server, "s3", BOB)
        bob.create_bucket(Bucket="bobs")
        statement = json.loads(identity_policy("s3:ListBucket", resource="arn:aws:s3:::bobs"))
        statement["Statement"][0]["Principal"] = {"AWS": "arn:aws:iam::acme:root"}
        bob.put_bucket_policy(Bucket="bobs", Policy=json.dumps(statement))
        service(server, "s3", chief).list_objects_v2(Bucket="bobs")
        keys = iam.create_access_key()["AccessKey"]
        service(server, "s3", keys).list_objects_v2(Bucket="bobs")
        assert refused(service(server, "s3", keys).put_object, Bucket="bobs", Key="k", Body=b"") == ("AccessDenied", 403)


def test_a_log_goes_only_where_whoever_turns_it_on_may_write(
    iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    own_bucket, other = f"{user}-own", f"{user}-other"
    for bucket in (own_bucket, other):
        s3.create_bucket(Bucket=bucket)
    mine = [f"arn:aws:s3:::{own_bucket}", f"arn:aws:s3:::{own_bucket}/*"]
    own = service(server, "s3", keys)

    def allow(*resources: str) -> None:
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=identity_policy("s3:*", resource=[*mine, *resources]))

    def log_to(target: str, prefix: str) -> dict[str, Any]:
        return {"Bucket": own_bucket, "BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix}}}

    allow()
    assert refused(own.put_bucket_logging, **log_to(other, "p/")) == ("AccessDenied", 403)
    allow(f"arn:aws:s3:::{other}", f"arn:aws:s3:::{other}/q/*")
    assert refused(own.put_bucket_logging, **log_to(other, "p/")) == ("AccessDenied", 403)
    assert refused(own.put_bucket_logging, **log_to(other, "")) == ("AccessDenied", 403)
    own.put_bucket_logging(**log_to(other, "q/"))
    own.put_bucket_logging(**log_to(own_bucket, "p/"))
    own.put_bucket_logging(Bucket=own_bucket, BucketLoggingStatus={})
    s3.put_bucket_logging(**log_to(other, "p/"))
