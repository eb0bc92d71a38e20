"""Which rows of the object model are encrypted and how: the bucket's default, an upload's parts, a reader's key."""

from objstore.core.encryption import (
    CUSTOMER,
    PART_NEEDS_KEY,
    PART_NEEDS_SAME_KEY,
    PART_WANTS_NO_KEY,
    BucketEncryption,
    Description,
    Wish,
    check_customer_key,
    decode_bucket_encryption,
    encode_description,
)
from objstore.core.rows import Row
from objstore.errors import AccessDenied, InvalidRequest
from objstore.objects.api import BucketInfo
from objstore.objects.config import Parsed
from objstore.objects.context import StoreContext
from objstore.objects.encryption import Seal, description_of, new_description, part_seal, seal_of, unlock, wants_nothing

_DEFAULTS = Parsed("encryption", decode_bucket_encryption)


class Sealing(StoreContext):
    """What writers and readers of bodies share."""

    async def seal_for(self, bucket: BucketInfo, wish: Wish) -> Seal | None:
        """The seal of a new object in this bucket.  Raises what a wish, or the key service, may be refused for."""
        if wants_nothing(wish, bucket):
            return None
        described = await new_description(self.keys, self.rng, bucket, wish, _DEFAULTS.of(bucket))
        return None if described is None else seal_of(*described, self.rng)

    async def upload_encryption(self, bucket: BucketInfo, wish: Wish) -> bytes:
        """What the row of a new upload keeps as its encryption."""
        if wants_nothing(wish, bucket):
            return b""
        described = await new_description(self.keys, self.rng, bucket, wish, _DEFAULTS.of(bucket))
        return b"" if described is None else encode_description(described[0])

    async def part_seal_for(self, upload: Row, customer_key: bytes) -> Seal | None:
        """The seal of a new part.  Raises InvalidRequest when the key is missing, is not wanted, or is not the upload's."""
        description = description_of(upload)
        wanted = description is not None and description.algorithm == CUSTOMER
        if bool(customer_key) != wanted:
            raise InvalidRequest(PART_NEEDS_KEY if wanted else PART_WANTS_NO_KEY)
        if description is None:
            return None
        if wanted:
            try:
                check_customer_key(description, customer_key)
            except AccessDenied:
                raise InvalidRequest(PART_NEEDS_SAME_KEY, hint="Send the customer's key with which the upload was begun.") from None
        return part_seal(description, await unlock(self.keys, description, customer_key), self.rng)

    async def data_key_of(self, row: Row, customer_key: bytes) -> bytes:
        """The data key of an object, empty when it is not encrypted.  Raises InvalidRequest, AccessDenied, KeyNotFound..."""
        description: Description | None = description_of(row)
        return b"" if description is None else await unlock(self.keys, description, customer_key)


def bucket_encryption(bucket: BucketInfo) -> BucketEncryption | None:
    """A bucket's default, as stored."""
    return _DEFAULTS.of(bucket)


def check_key(row: Row, customer_key: bytes) -> None:
    """Hold the key of a request against the object.  Raises InvalidRequest, AccessDenied."""
    if row.encryption or customer_key:
        check_customer_key(description_of(row), customer_key)
