"""What a new password must be, how long it is good, and which users are excepted by their options, as Keystone has it."""

import re
from typing import Any

from objstore.fronts.identity.call import Call, table
from objstore.fronts.identity.errors import IdentityProblem, invalid
from objstore.fronts.identity.second_factor import ENABLED, RULES, check_rules
from objstore.identity.passwords import MAX_PASSWORD_BYTES
from objstore.identity.tenancy import Person

DAY_US = 86_400_000_000
NO_EXPIRY = "ignore_password_expiry"
NO_FIRST_CHANGE = "ignore_change_password_upon_first_use"
NO_LOCKOUT = "ignore_lockout_failure_attempts"
LOCKED = "lock_password"
_FLAGS = (NO_EXPIRY, NO_FIRST_CHANGE, NO_LOCKOUT, LOCKED, "ignore_user_inactivity", ENABLED)


def password(name: str, value: Any) -> Any:
    """A password that may be set."""
    if not isinstance(value, str) or not value or len(value.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise invalid(name, f"it must be text of 1 to {MAX_PASSWORD_BYTES} bytes")
    return value


def user_options(name: str, value: Any) -> Any:
    """Options of a user: flags, and rules of methods; null takes one away."""
    for option, given in table(name, value).items():
        if option == RULES:
            if given is not None:
                check_rules(name, given)
            continue
        if option not in _FLAGS:
            raise invalid(name, f"it knows {', '.join((*_FLAGS, RULES))}")
        if not isinstance(given, bool | None):
            raise invalid(name, f"{option} must be true, false or null")
    return value


def merged(held: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A user's options after a change."""
    return {option: value for option, value in {**held, **given}.items() if value is not None}


def is_expired(user: Person, now_us: int) -> bool:
    """Whether its password must be changed before it is good again."""
    return 0 < user.password_expires_us <= now_us and not user.options.get(NO_EXPIRY)


async def with_password(call: Call, user: Person, new: str, *, own: bool) -> dict[str, Any]:
    """The fields of a user that has another password from now on; `own` when the user itself sets it.  Raises 400."""
    settings, now_us = call.identity.settings, call.identity.now_us()
    _check_strength(call, new)
    used = ((user.password, *user.earlier_passwords) if user.password else ())[: max(0, settings.password_history)]
    if own:
        _check_self_service(call, user, now_us)
        for earlier in used:
            if await call.identity.passwords.check(f"history/{user.id}", new, earlier, locks=False):
                raise IdentityProblem(
                    400, f"The new password cannot be identical to a previous password; {settings.password_history} are remembered."
                )
    hashed = await call.identity.passwords.hash(new)
    call.identity.passwords.forget(user.id)
    expires_us = 0
    if settings.password_days and not user.options.get(NO_EXPIRY):
        expires_us = now_us + int(settings.password_days * DAY_US)
    if not own and settings.password_first_change and not user.options.get(NO_FIRST_CHANGE):
        expires_us = now_us
    return {
        "password": hashed, "password_created_us": now_us, "password_expires_us": expires_us, "earlier_passwords": used, "password_own": own,
    }  # fmt: skip


def _check_strength(call: Call, new: str) -> None:
    settings = call.identity.settings
    if len(new) < settings.password_min_chars:
        raise IdentityProblem(400, f"The password must have at least {settings.password_min_chars} characters.")
    if settings.password_regex and re.match(settings.password_regex, new) is None:
        told = settings.password_regex_description or "ask an administrator what they are"
        raise IdentityProblem(400, f"The password does not match the requirements: {told}.")


def _check_self_service(call: Call, user: Person, now_us: int) -> None:
    """That the user may set a password itself now.  Raises 400."""
    if user.options.get(LOCKED):
        raise IdentityProblem(
            400, "You cannot change your password at this time due to password policy disallowing password changes; ask an administrator."
        )
    least_s = call.identity.settings.password_min_age_s
    # What an administrator has set may be changed at once.
    if user.password_own and now_us - user.password_created_us < least_s * 1e6 and not is_expired(user, now_us):
        raise IdentityProblem(400, f"The password was changed less than {least_s:g} seconds ago; wait, or ask an administrator.")
