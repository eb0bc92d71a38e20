"""What can be done, by S3's names, and which of it lists decide; tables, for access.py and for whoever asks it."""

from collections.abc import Mapping
from enum import StrEnum

from objstore.core.acl import Permission


class Action(StrEnum):
    """What is being done, by S3's name for it; several operations may need the same.

    Text, and not only named by one: the tables below are asked for every request, and a plain member's hash is worked out in Python.
    """

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
    READ_ANALYTICS = "s3:GetAnalyticsConfiguration"
    WRITE_ANALYTICS = "s3:PutAnalyticsConfiguration"
    READ_TIERING = "s3:GetIntelligentTieringConfiguration"
    WRITE_TIERING = "s3:PutIntelligentTieringConfiguration"
    READ_INVENTORY = "s3:GetInventoryConfiguration"
    WRITE_INVENTORY = "s3:PutInventoryConfiguration"
    READ_METRICS = "s3:GetMetricsConfiguration"
    WRITE_METRICS = "s3:PutMetricsConfiguration"
    WRITE_METADATA = "s3:PutBucketMetadata"  # this store's own: what an account's list lets writers say of a container
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


# The action on a version that is named by its id.
OF_VERSION: Mapping[Action, Action] = {
    Action.READ_OBJECT: Action.READ_VERSION,
    Action.READ_ATTRIBUTES: Action.READ_VERSION_ATTRIBUTES,
    Action.DELETE_OBJECT: Action.DELETE_VERSION,
    Action.READ_TAGS: Action.READ_VERSION_TAGS,
    Action.TAG_OBJECT: Action.TAG_VERSION,
    Action.DELETE_TAGS: Action.DELETE_VERSION_TAGS,
    Action.READ_ACL: Action.READ_VERSION_ACL,
    Action.WRITE_ACL: Action.WRITE_VERSION_ACL,
}
# What besides must be allowed.
ALSO: Mapping[Action, Action] = {
    Action.READ_ATTRIBUTES: Action.READ_OBJECT,
    Action.READ_VERSION_ATTRIBUTES: Action.READ_VERSION,
}
# The account itself may always mend its policy, whatever that says: nobody locks himself out.
ALWAYS_THE_OWNERS = frozenset((Action.READ_POLICY, Action.WRITE_POLICY, Action.DELETE_POLICY))

# What lists decide: a permission on the bucket's list, or on the object's.
BY_BUCKET_LIST: Mapping[Action, Permission] = {
    Action.READ_BUCKET: Permission.READ,
    Action.LIST_VERSIONS: Permission.READ,
    Action.LIST_UPLOADS: Permission.READ,
    Action.WRITE_OBJECT: Permission.WRITE,
    Action.DELETE_OBJECT: Permission.WRITE,
    Action.ABORT_UPLOAD: Permission.WRITE,
    Action.LIST_PARTS: Permission.WRITE,
    Action.READ_BUCKET_ACL: Permission.READ_ACP,
    Action.WRITE_BUCKET_ACL: Permission.WRITE_ACP,
}
BY_OBJECT_LIST: Mapping[Action, Permission] = {
    Action.READ_OBJECT: Permission.READ,
    Action.READ_VERSION: Permission.READ,
    Action.READ_ATTRIBUTES: Permission.READ,
    Action.READ_VERSION_ATTRIBUTES: Permission.READ,
    Action.READ_ACL: Permission.READ_ACP,
    Action.READ_VERSION_ACL: Permission.READ_ACP,
    Action.WRITE_ACL: Permission.WRITE_ACP,
    Action.WRITE_VERSION_ACL: Permission.WRITE_ACP,
}
# What Swift's lists of a container decide.
LISTS = frozenset((Action.READ_BUCKET, Action.LIST_VERSIONS))
BY_READ_LIST = LISTS | {Action.READ_OBJECT, Action.READ_VERSION, Action.READ_ATTRIBUTES, Action.READ_VERSION_ATTRIBUTES}
BY_WRITE_LIST = frozenset((Action.WRITE_OBJECT, Action.DELETE_OBJECT, Action.DELETE_VERSION, Action.ABORT_UPLOAD, Action.LIST_PARTS))
# What Swift's list of an account gives, by level; an administrator is as good as the account.  The last line is what making a container says.
READ_BY_LEVEL = BY_READ_LIST | {Action.LIST_BUCKETS}
WRITE_BY_LEVEL = READ_BY_LEVEL | BY_WRITE_LIST | {
    Action.DELETE_BUCKET, Action.WRITE_VERSIONING, Action.WRITE_METADATA,
    Action.CREATE_BUCKET, Action.WRITE_OWNERSHIP, Action.WRITE_PUBLIC_ACCESS,
}  # fmt: skip
ACP = (Permission.READ_ACP, Permission.WRITE_ACP)
# What is done to an object that is there, so that its tags may decide.
ON_ROW = frozenset(
    (
        *BY_OBJECT_LIST, Action.READ_TAGS, Action.READ_VERSION_TAGS, Action.TAG_OBJECT, Action.TAG_VERSION, Action.DELETE_TAGS,
        Action.DELETE_VERSION_TAGS, Action.DELETE_OBJECT, Action.DELETE_VERSION, Action.READ_RETENTION, Action.WRITE_RETENTION,
        Action.READ_LEGAL_HOLD, Action.WRITE_LEGAL_HOLD, Action.BYPASS_GOVERNANCE, Action.RESTORE_OBJECT,
    )
)  # fmt: skip
# What is done to an object of a name, there or not.
ON_OBJECT = ON_ROW | {Action.WRITE_OBJECT, Action.ABORT_UPLOAD, Action.LIST_PARTS}
WITHOUT_BUCKET = frozenset((Action.CREATE_BUCKET, Action.LIST_BUCKETS))
