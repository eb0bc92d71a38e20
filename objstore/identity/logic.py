"""Looking users up by access key, and reading them from an identities file.  No I/O: the caller reads the file."""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from hashlib import sha256

import msgspec

from objstore.errors import InvalidArgument
from objstore.identity.model import Identities, Keyholder, KmsKey, OidcProvider, Owner, SwiftUser, User
from objstore.identity.tokens import Session
from objstore.objects.api import Principal

_TABLES: dict[str, type[msgspec.Struct]] = {"user": User, "swift_user": SwiftUser, "kms_key": KmsKey, "oidc_provider": OidcProvider}


def canonical_id_of(account: str) -> str:
    """The canonical user id of an account that was given none: 64 hexadecimal digits, always the same."""
    return sha256(b"objstore account " + account.encode()).hexdigest()


def completed(user: User) -> User:
    """The user with its empty fields filled in from the account."""
    return msgspec.structs.replace(
        user,
        canonical_id=user.canonical_id or canonical_id_of(user.account),
        display_name=user.display_name or user.account,
        email=user.email or f"{user.account}@localhost",
    )


class Credentials:
    """Access keys and the accounts behind them, held in memory."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._keyholders: dict[str, Keyholder] = {}
        self._owners: dict[str, Owner] = {}
        self._names: dict[str, str] = {}  # canonical id -> display name
        self._emails: dict[str, str] = {}  # address, lower case -> canonical id
        for user in users:
            self.add(user)

    def add(self, user: User) -> None:
        """Add a user.  Raises InvalidArgument when its access key is taken, or empty."""
        if not user.access_key or not user.secret_key:
            raise InvalidArgument(f"user {user.name!r} has an empty access key or secret key")
        if user.access_key in self._keyholders:
            raise InvalidArgument(f"the access key {user.access_key!r} is given to two users")
        user = completed(user)
        self._keyholders[user.access_key] = Keyholder(
            user.secret_key,
            Principal(
                account=user.account,
                user=user.name,
                display_name=user.display_name,
                canonical_id=user.canonical_id,
                tenant=user.tenant,
                admin=user.admin,
                arn=user.arn,
                facts={"aws:username": user.name, "aws:userid": user.canonical_id, "aws:principaltype": "User"},
            ),
        )
        self._owners.setdefault(user.account, Owner(user.canonical_id, user.display_name))
        self._names.setdefault(user.canonical_id, user.display_name)
        self._emails.setdefault(user.email.lower(), user.canonical_id)

    def lookup(self, access_key: str) -> tuple[str, Principal] | None:
        """Secret and principal behind an access key."""
        holder = self._keyholders.get(access_key)
        return None if holder is None else (holder.secret_key, holder.principal)

    def session(self, token: str) -> tuple[Session, Principal] | None:
        """The session behind a token and who it stands for, expired or not; None when there is none."""
        return None

    async def refresh(self) -> None:
        """Look whether there are new credentials; returns soon, also when nothing can be found out."""

    def owner_of(self, account: str) -> Owner:
        """How an account is shown; one that holds no keys here has an id all the same."""
        return self._owners.get(account) or Owner(canonical_id_of(account), account)

    def display_name_of(self, canonical_id: str) -> str | None:
        """How whoever has this canonical id is shown; None when nobody has it."""
        return self._names.get(canonical_id)

    def id_of_email(self, email: str) -> str | None:
        """The canonical id behind an e-mail address."""
        return self._emails.get(email.lower())


def parse_identities(text: str) -> Identities:
    """Read an identities file (TOML).  Raises InvalidArgument; an unknown name is answered with the nearest known one."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise InvalidArgument(f"the identities file is not TOML: {failure}") from None
    _refuse_unknown(tables, _TABLES, "table")
    for table, struct in _TABLES.items():
        entries = tables.get(table, [])
        if not isinstance(entries, list):
            raise InvalidArgument(f"identities: write [[{table}]], one for each")
        for entry in entries:
            if not isinstance(entry, dict):
                raise InvalidArgument(f"identities: write [[{table}]], one for each")
            _refuse_unknown(entry, struct.__struct_fields__, f"name in [[{table}]]")
    try:
        return msgspec.convert(tables, Identities)
    except msgspec.ValidationError as failure:
        raise InvalidArgument(f"identities: {failure}") from None


def _refuse_unknown(found: Iterable[str], known: Iterable[str], what: str) -> None:
    names = list(known)
    for name in found:
        if name not in names:
            nearest = get_close_matches(name, names, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(names)}"
            raise InvalidArgument(f"identities: unknown {what}: {name!r}{hint}")
