"""Authorisation: who may do what, by one table.

A bucket's account and admins may do everything; nobody else may do anything yet.  Grants (ACLs, policies, public access)
join in here and nowhere else: `authorize` is called once at the head of each operation on a bucket.
"""

from enum import Enum
from typing import assert_never

from objstore.errors import AccessDenied
from objstore.objects.api import Principal


class Action(Enum):
    """What is being done, by S3's name for it; several operations may need the same."""

    CREATE_BUCKET = "s3:CreateBucket"
    LIST_BUCKETS = "s3:ListAllMyBuckets"
    READ_BUCKET = "s3:ListBucket"
    LIST_OBJECTS = "s3:ListBucket"  # an alias of the one above, as on Amazon
    LIST_VERSIONS = "s3:ListBucketVersions"
    LIST_UPLOADS = "s3:ListBucketMultipartUploads"
    DELETE_BUCKET = "s3:DeleteBucket"
    READ_LOCATION = "s3:GetBucketLocation"
    READ_VERSIONING = "s3:GetBucketVersioning"
    WRITE_VERSIONING = "s3:PutBucketVersioning"
    READ_BUCKET_ACL = "s3:GetBucketAcl"
    WRITE_BUCKET_ACL = "s3:PutBucketAcl"
    READ_CORS = "s3:GetBucketCORS"
    WRITE_CORS = "s3:PutBucketCORS"
    READ_ENCRYPTION = "s3:GetEncryptionConfiguration"
    WRITE_ENCRYPTION = "s3:PutEncryptionConfiguration"
    READ_LIFECYCLE = "s3:GetLifecycleConfiguration"
    WRITE_LIFECYCLE = "s3:PutLifecycleConfiguration"
    READ_LOGGING = "s3:GetBucketLogging"
    WRITE_LOGGING = "s3:PutBucketLogging"
    READ_NOTIFICATION = "s3:GetBucketNotification"
    WRITE_NOTIFICATION = "s3:PutBucketNotification"
    READ_BUCKET_LOCK = "s3:GetBucketObjectLockConfiguration"
    WRITE_BUCKET_LOCK = "s3:PutBucketObjectLockConfiguration"
    READ_OWNERSHIP = "s3:GetBucketOwnershipControls"
    WRITE_OWNERSHIP = "s3:PutBucketOwnershipControls"
    READ_POLICY = "s3:GetBucketPolicy"
    WRITE_POLICY = "s3:PutBucketPolicy"
    DELETE_POLICY = "s3:DeleteBucketPolicy"
    READ_POLICY_STATUS = "s3:GetBucketPolicyStatus"
    READ_PUBLIC_ACCESS = "s3:GetBucketPublicAccessBlock"
    WRITE_PUBLIC_ACCESS = "s3:PutBucketPublicAccessBlock"
    READ_REQUEST_PAYMENT = "s3:GetBucketRequestPayment"
    WRITE_REQUEST_PAYMENT = "s3:PutBucketRequestPayment"
    READ_BUCKET_TAGS = "s3:GetBucketTagging"
    WRITE_BUCKET_TAGS = "s3:PutBucketTagging"
    READ_WEBSITE = "s3:GetBucketWebsite"
    WRITE_WEBSITE = "s3:PutBucketWebsite"
    DELETE_WEBSITE = "s3:DeleteBucketWebsite"
    READ_REPLICATION = "s3:GetReplicationConfiguration"
    WRITE_REPLICATION = "s3:PutReplicationConfiguration"
    READ_ACCELERATE = "s3:GetAccelerateConfiguration"
    WRITE_ACCELERATE = "s3:PutAccelerateConfiguration"
    READ_QUOTA = "s3:GetBucketQuota"  # this store's own
    WRITE_QUOTA = "s3:PutBucketQuota"

    READ_OBJECT = "s3:GetObject"
    READ_VERSION = "s3:GetObjectVersion"
    READ_ATTRIBUTES = "s3:GetObjectAttributes"
    READ_VERSION_ATTRIBUTES = "s3:GetObjectVersionAttributes"
    WRITE_OBJECT = "s3:PutObject"
    DELETE_OBJECT = "s3:DeleteObject"
    DELETE_VERSION = "s3:DeleteObjectVersion"
    READ_TAGS = "s3:GetObjectTagging"
    READ_VERSION_TAGS = "s3:GetObjectVersionTagging"
    TAG_OBJECT = "s3:PutObjectTagging"
    TAG_VERSION = "s3:PutObjectVersionTagging"
    DELETE_TAGS = "s3:DeleteObjectTagging"
    DELETE_VERSION_TAGS = "s3:DeleteObjectVersionTagging"
    READ_ACL = "s3:GetObjectAcl"
    READ_VERSION_ACL = "s3:GetObjectVersionAcl"
    WRITE_ACL = "s3:PutObjectAcl"
    WRITE_VERSION_ACL = "s3:PutObjectVersionAcl"
    READ_RETENTION = "s3:GetObjectRetention"
    WRITE_RETENTION = "s3:PutObjectRetention"
    READ_LEGAL_HOLD = "s3:GetObjectLegalHold"
    WRITE_LEGAL_HOLD = "s3:PutObjectLegalHold"
    BYPASS_GOVERNANCE = "s3:BypassGovernanceRetention"
    ABORT_UPLOAD = "s3:AbortMultipartUpload"
    LIST_PARTS = "s3:ListMultipartUploadParts"
    RESTORE_OBJECT = "s3:RestoreObject"

    READ_CONFIG = "objstore:GetBucketConfiguration"
    WRITE_CONFIG = "objstore:PutBucketConfiguration"


class Need(Enum):
    """What an action needs of its caller."""

    AN_ACCOUNT = "an account"
    OWNER = "the bucket's account"


TABLE: dict[Action, Need] = {
    **dict.fromkeys(Action, Need.OWNER),
    Action.CREATE_BUCKET: Need.AN_ACCOUNT,
    Action.LIST_BUCKETS: Need.AN_ACCOUNT,
}


def authorize(who: Principal, action: Action, owner: str = "") -> None:
    """Let `who` go on with `action` on a bucket of account `owner` ("" where there is no bucket yet), or raise AccessDenied."""
    if not who.anonymous and who.account:
        need = TABLE[action]
        if need is Need.OWNER:
            allowed = who.account == owner or who.admin
        elif need is Need.AN_ACCOUNT:
            allowed = True
        else:
            assert_never(need)
        if allowed:
            return
    raise AccessDenied(f"{who.user or who.account or 'an anonymous caller'} may not {action.value}")
