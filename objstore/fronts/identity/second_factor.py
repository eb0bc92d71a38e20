"""More than one method for one token: the rules of a user, and the receipt for whoever has shown some of them.

A rule names methods that together suffice; a user with rules, unless they are switched off, must fulfil one.  Who does not is given a receipt,
which says what was shown, for five minutes: with it and another method the next request goes on from there.  It is sealed
and no token: nothing else takes it.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, time_text
from objstore.fronts.identity.errors import invalid, unauthorized
from objstore.fronts.identity.views import brief
from objstore.identity.tenancy import Domain, Person

ENABLED, RULES = "multi_factor_auth_enabled", "multi_factor_auth_rules"
METHODS = ("password", "token", "application_credential", "totp")
HEADER = "openstack-auth-receipt"
RECEIPT_S = 300.0
MAX_RULES, MAX_METHODS, MAX_METHOD_CHARS = 16, 8, 64
MAX_RECEIPT_CHARS = 2048
_PURPOSE = "auth receipt"  # in place of a record's id: what is sealed for a record does not open as one


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """What somebody has shown."""

    user_id: str
    methods: tuple[str, ...]
    issued_us: int
    expires_us: int
    proved_from_us: int = -1  # as in `Bearer`


def check_rules(name: str, value: Any) -> None:
    """Raises 400 for what are no rules."""
    good = isinstance(value, list) and len(value) <= MAX_RULES
    for rule in value if good else ():
        good &= isinstance(rule, list) and 1 <= len(rule) <= MAX_METHODS
        good &= good and all(isinstance(method, str) and 0 < len(method) <= MAX_METHOD_CHARS for method in rule)
    if not good:
        raise invalid(name, f"{RULES} must be at most {MAX_RULES} lists of 1 to {MAX_METHODS} names of methods")


def rules_of(user: Person) -> list[list[str]]:
    """The rules that hold for a user; methods that are not known here count for nothing, as in Keystone."""
    if user.options.get(ENABLED, True) is False:
        return []
    rules = [[method for method in rule if method in METHODS] for rule in user.options.get(RULES) or ()]
    return [rule for rule in rules if rule]


def suffices(user: Person, methods: Sequence[str]) -> bool:
    """Whether these methods give a token."""
    rules = rules_of(user)
    return not rules or any(set(rule) <= set(methods) for rule in rules)


def receipt_of(call: Call) -> Receipt | None:
    """What the caller has shown before; None where no receipt is given.  Raises 401 for one that is none, or no longer."""
    given = call.headers.get(HEADER)
    if given is None:
        return None
    receipt = _opened(call, given)
    user = call.registry.get(Person, receipt.user_id) if receipt is not None else None
    if receipt is None or user is None or call.identity.now_us() > receipt.expires_us or receipt.proved_from_us != user.valid_from_us:
        raise unauthorized()
    return receipt


def _opened(call: Call, given: str) -> Receipt | None:
    try:
        sealed = base64.b64decode(given[: MAX_RECEIPT_CHARS + 1] + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    opened = call.registry.secrets.open(sealed, _PURPOSE) if len(given) <= MAX_RECEIPT_CHARS else None
    try:
        return None if opened is None else msgspec.msgpack.decode(opened, type=Receipt)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def receipt_answer(call: Call, user: Person, methods: tuple[str, ...]) -> Answer:
    """401, with a receipt for what was shown and the rules of which one must be fulfilled."""
    now_us = call.identity.now_us()
    receipt = Receipt(user.id, methods, now_us, now_us + int(RECEIPT_S * 1e6), user.valid_from_us)
    sealed = call.registry.secrets.seal(msgspec.msgpack.encode(receipt), _PURPOSE)
    shown = {
        "methods": list(methods),
        "user": {"id": user.id, "name": user.name, "domain": brief(call.registry.get(Domain, user.domain_id))},
        "issued_at": time_text(receipt.issued_us),
        "expires_at": time_text(receipt.expires_us),
    }
    headers = [
        (HEADER.encode(), base64.urlsafe_b64encode(sealed).rstrip(b"=")),
        (b"www-authenticate", f'Keystone uri="{call.identity.public_url}"'.encode()),
    ]
    return Answer(401, {"receipt": shown, "required_auth_methods": rules_of(user)}, headers)
