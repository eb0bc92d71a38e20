"""Authorisation: who may do what, by one table.

A bucket's account and admins may do everything; nobody else may do anything yet.  Grants (ACLs, policies, public access)
join in here and nowhere else: `authorize` is called once at the head of each operation on a bucket.
"""

from enum import Enum
from typing import assert_never

from objstore.errors import AccessDenied
from objstore.objects.api import Principal


class Action(Enum):
    """What is being done; one row of the table each."""

    CREATE_BUCKET = "create a bucket"
    LIST_BUCKETS = "list buckets"
    READ_BUCKET = "see the bucket"
    DELETE_BUCKET = "delete the bucket"
    LIST_OBJECTS = "list the bucket"
    READ_OBJECT = "read an object"
    WRITE_OBJECT = "write an object"
    DELETE_OBJECT = "delete an object"
    TAG_OBJECT = "tag an object"
    LIST_UPLOADS = "list multipart uploads"
    READ_CONFIG = "see the bucket's configuration"
    WRITE_CONFIG = "change the bucket's configuration"


class Need(Enum):
    """What an action needs of its caller."""

    AN_ACCOUNT = "an account"
    OWNER = "the bucket's account"


TABLE: dict[Action, Need] = {
    Action.CREATE_BUCKET: Need.AN_ACCOUNT,
    Action.LIST_BUCKETS: Need.AN_ACCOUNT,
    Action.READ_BUCKET: Need.OWNER,
    Action.DELETE_BUCKET: Need.OWNER,
    Action.LIST_OBJECTS: Need.OWNER,
    Action.READ_OBJECT: Need.OWNER,
    Action.WRITE_OBJECT: Need.OWNER,
    Action.DELETE_OBJECT: Need.OWNER,
    Action.TAG_OBJECT: Need.OWNER,
    Action.LIST_UPLOADS: Need.OWNER,
    Action.READ_CONFIG: Need.OWNER,
    Action.WRITE_CONFIG: Need.OWNER,
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
