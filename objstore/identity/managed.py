"""The managed policies that every account has, under Amazon's names: as much of them as there are services here."""

import json

from objstore.identity.entities import AWS_POLICY, RECORD_VERSION, ManagedPolicy, PolicyVersion


def _policy(name: str, *actions: str, description: str) -> ManagedPolicy:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return ManagedPolicy(
        RECORD_VERSION, "aws", name, AWS_POLICY + name, 0, 0, versions=(PolicyVersion("v1", document, 0),), description=description
    )  # fmt: skip


BUILT_IN: dict[str, ManagedPolicy] = {
    policy.id: policy
    for policy in (
        _policy("AdministratorAccess", "*", description="Everything."),
        _policy("AmazonS3FullAccess", "s3:*", "s3-object-lambda:*", description="All of S3."),
        _policy("AmazonS3ReadOnlyAccess", "s3:Get*", "s3:List*", "s3:Describe*", description="Reading S3."),
        _policy("IAMFullAccess", "iam:*", description="All of IAM."),
        _policy("IAMReadOnlyAccess", "iam:Get*", "iam:List*", "iam:Simulate*", description="Reading IAM."),
        _policy("ReadOnlyAccess", "s3:Get*", "s3:List*", "iam:Get*", "iam:List*", "sts:Get*", description="Reading everything."),
    )
}
EVERYTHING = BUILT_IN[AWS_POLICY + "AdministratorAccess"].document
NOTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
