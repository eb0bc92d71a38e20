"""Access control lists of objects: read, and replaced where the bucket lets them count."""

import msgspec

from objstore.core.acl import PRIVATE, Acl, decode_acl, encode_acl
from objstore.core.rows import Row
from objstore.errors import AclNotSupported, NoSuchKey, NoSuchVersion
from objstore.objects.access import OWNERS_ALONE, check_list
from objstore.objects.actions import Action
from objstore.objects.alter import Alterations
from objstore.objects.api import ObjectInfo, Principal
from objstore.objects.info import null_of, object_info


class Acls(Alterations):
    """Lists of objects."""

    async def get_acl(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> tuple[ObjectInfo, Acl]:
        """A version and its list.  Raises NoSuchKey, NoSuchVersion, AccessDenied."""
        home = await self.open_bucket(who, bucket, Action.READ_ACL, key, version_id, row_follows=True)
        row = await self.find_admitted(who, home, Action.READ_ACL, key, version_id)
        info = object_info(key, row, null_of(home.info))
        if home.gate is None or not home.gate.has_lists:
            return msgspec.structs.replace(info, owner=home.account), PRIVATE
        return info, decode_acl(row.acl)

    async def set_acl(self, who: Principal, bucket: str, key: str, acl: Acl, *, version_id: str = "") -> ObjectInfo:
        """Replace a version's list.  Raises NoSuchKey, NoSuchVersion, AccessDenied, AclNotSupported."""
        home = await self.open_bucket(who, bucket, Action.WRITE_ACL, key, version_id, row_follows=True)
        if home.gate is None or not home.gate.has_lists:
            if acl not in OWNERS_ALONE:
                raise AclNotSupported
            # It says what holds anyway; clients send it with everything.
            row = await self.find_admitted(who, home, Action.WRITE_ACL, key, version_id)
            return object_info(key, row, null_of(home.info))
        check_list(acl, home.gate.block)
        encoded = encode_acl(acl)

        def change(row: Row) -> Row:
            # On the very row that is changed: who could write an older one's list may not be let near its successor's.
            self.check_row(who, home, Action.WRITE_ACL, key, version_id, row)
            return msgspec.structs.replace(row, acl=encoded)

        try:
            row = await self.alter(home, key, version_id, change)
        except (NoSuchKey, NoSuchVersion):
            self.check_missing(who, home, Action.WRITE_ACL, key, version_id)
            raise
        return object_info(key, row, null_of(home.info))
