"""Credentials: keys of S3 (type "ec2") and other secrets of users; and the two calls that check signatures for services."""

import re
from hashlib import sha256
from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, fields, filtered, identifier, listed, nullable, table
from objstore.fronts.identity.errors import IdentityProblem, forbidden, invalid, not_found, unauthorized
from objstore.fronts.identity.keeping import alter, check_may_make, remove, store
from objstore.fronts.identity.tokens import new_bearer, token_answer, token_body
from objstore.fronts.identity.views import credential_view, ec2_view
from objstore.identity.entities import new_secret
from objstore.identity.rules import may_change
from objstore.identity.signatures import decoded, ec2_request_is_signed, s3_string_is_signed
from objstore.identity.tenancy import RECORD_VERSION, Credential, Person, Project, new_id

EC2 = "ec2"
MAX_BLOB_CHARS = 32_768
MAX_KEYS_OF_USER = 500
_ACCESS = re.compile(r"[A-Za-z0-9_.~-]{3,128}")


def _kind(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise invalid(name, "it must be text of 1 to 255 characters")
    return value


def _blob(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str) or len(value) > MAX_BLOB_CHARS:
        raise invalid(name, f"it must be text of at most {MAX_BLOB_CHARS} characters")
    return value


_SPEC = {"type": _kind, "blob": _blob, "user_id": nullable(identifier), "project_id": nullable(identifier), "options": table}


# -- what may be made with what -------------------------------------------------------------------------------------


def _check_project(call: Call, user: Person, project_id: str, app_id: str) -> Project:
    """The project of a new key: its user has a role on it, and an application credential makes keys of its own project alone.

    Administrators may make a key before its user has a role: until then it is worth nothing.
    """
    project = call.registry.get(Project, project_id)
    if project is None:
        raise not_found("project", project_id)
    if app_id and (call.who.project is None or call.who.project.id != project.id or call.who.user.id != user.id):
        raise forbidden(f"identity:{call.action}")
    if not call.who.is_admin and not call.registry.roles_on(user, f"p:{project.id}"):
        raise IdentityProblem(403, f"User {user.id} has no access to project {project.id}.")
    return project


def _owner(call: Call, user_id: str) -> Person:
    """The user whose keys a call is about: oneself, or anybody for administrators.  Raises 403, 404."""
    if not (call.who.is_admin or call.who.user.id == user_id):
        raise forbidden(f"identity:{call.action}")
    return call.find(Person, user_id, "user")


def _check_count(call: Call, user: Person) -> None:
    if sum(credential.user_id == user.id for credential in call.registry.owned(Credential, user.id)) >= MAX_KEYS_OF_USER:
        raise IdentityProblem(403, f"A user may have {MAX_KEYS_OF_USER} credentials.")


async def _new_key(call: Call, user: Person, project_id: str, *, access: str = "", secret: str = "") -> Credential:
    app_id = check_may_make(call)
    project = _check_project(call, user, project_id, app_id)
    _check_count(call, user)
    access = access or new_id(call.registry.rng)
    secret = secret or new_secret(call.registry.rng)
    id_ = sha256(access.encode()).hexdigest()
    sealed = call.registry.secrets.seal(secret.encode(), id_)
    made = Credential(
        RECORD_VERSION, id_, user_id=user.id, project_id=project.id, type=EC2, access=access, sealed=sealed, app_credential_id=app_id
    )
    return await store(call, "credential", made)


# -- /users/{user_id}/credentials/OS-EC2 ----------------------------------------------------------------------------


async def create_key(call: Call) -> Answer:
    """POST /users/{user_id}/credentials/OS-EC2."""
    user = _owner(call, call.parameters["user_id"])
    project_id = call.body.get("tenant_id") or call.body.get("project_id")
    if not isinstance(project_id, str):
        raise IdentityProblem(400, "'tenant_id' is a required property")
    return Answer(201, {"credential": ec2_view(call, await _new_key(call, user, project_id))})


def _keys(call: Call, user_id: str) -> list[Credential]:
    owned = call.registry.owned(Credential, user_id)
    found = [credential for credential in owned if credential.user_id == user_id and credential.type == EC2]
    return [credential for credential in found if _within_reach(call, credential)]


def _within_reach(call: Call, credential: Credential) -> bool:
    """Whether the caller's own credential lets it see this secret: what was lent sees none, a key of S3 itself at most."""
    who = call.who
    if who.trust is not None or (who.bearer.credential_id and who.bearer.credential_id != credential.id):
        return False
    app_id = who.bearer.app_credential_id
    return not app_id or credential.app_credential_id == app_id


async def list_keys(call: Call) -> Answer:
    """GET /users/{user_id}/credentials/OS-EC2.  With an application credential: the keys that were made with it."""
    user = _owner(call, call.parameters["user_id"])
    links = {"self": call.link(f"/users/{user.id}/credentials/OS-EC2"), "next": None, "previous": None}
    return Answer(body={"credentials": [ec2_view(call, key) for key in _keys(call, user.id)], "links": links})


def _key(call: Call) -> Credential:
    user = _owner(call, call.parameters["user_id"])
    for key in _keys(call, user.id):
        if key.access == call.parameters["access"]:
            return key
    raise not_found("credential", call.parameters["access"])


async def show_key(call: Call) -> Answer:
    """GET /users/{user_id}/credentials/OS-EC2/{access}."""
    return Answer(body={"credential": ec2_view(call, _key(call))})


async def delete_key(call: Call) -> Answer:
    """DELETE /users/{user_id}/credentials/OS-EC2/{access}."""
    key = _key(call)
    check_may_make(call)
    await remove(call, "credential", key)
    return Answer(204)


# -- /credentials ---------------------------------------------------------------------------------------------------


def _ec2_parts(blob: str) -> tuple[str, str]:
    """Access key and secret of a blob.  It may say nothing else: by other words Keystone's keys got rights that were not theirs."""
    try:
        found = msgspec.json.decode(blob)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        found = None
    if not isinstance(found, dict) or set(found) != {"access", "secret"} or not all(isinstance(value, str) for value in found.values()):
        raise invalid("blob", 'of type ec2 it must be {"access": ..., "secret": ...}')
    if _ACCESS.fullmatch(found["access"]) is None or not 8 <= len(found["secret"]) <= 128 or not found["secret"].isprintable():
        raise invalid("blob", "an access key has 3 to 128 letters, digits and _.~-, a secret 8 to 128 characters")
    return found["access"], found["secret"]


async def create(call: Call) -> Answer:
    """POST /credentials."""
    given = fields(call.document("credential"), _SPEC, required=("type", "blob"))
    user = _owner(call, given.get("user_id") or call.who.user.id)
    project_id = given.get("project_id") or ""
    if given["type"] == EC2:
        if not project_id:
            raise IdentityProblem(400, "A credential of type ec2 needs a project_id.")
        access, secret = _ec2_parts(given["blob"])
        return Answer(201, {"credential": credential_view(call, await _new_key(call, user, project_id, access=access, secret=secret))})
    app_id = check_may_make(call)
    _check_count(call, user)
    id_ = new_id(call.registry.rng)
    sealed = call.registry.secrets.seal(given["blob"].encode(), id_)
    made = Credential(
        RECORD_VERSION, id_, user_id=user.id, project_id=project_id, type=given["type"], sealed=sealed, app_credential_id=app_id
    )
    await store(call, "credential", made)
    return Answer(201, {"credential": credential_view(call, made)})


def _visible(call: Call, credential: Credential) -> bool:
    """Owners and administrators: whoever sees a secret has it, so it is not enough to be a reader of the system."""
    return may_change(call.who, user_id=credential.user_id) and _within_reach(call, credential)


async def listing(call: Call) -> Answer:
    """GET /credentials: one's own; all for administrators."""
    pool = call.registry.all(Credential) if call.who.is_admin else call.registry.owned(Credential, call.who.user.id)
    views = [credential_view(call, credential) for credential in pool if _visible(call, credential)]
    return listed(call, "credentials", filtered(call, views, ("user_id", "type")), "/credentials")


def _credential(call: Call) -> Credential:
    found = call.registry.get(Credential, call.parameters["credential_id"])
    if found is None and call.who.is_admin:
        raise not_found("credential", call.parameters["credential_id"])
    if found is None or not _visible(call, found):
        raise forbidden(f"identity:{call.action}")
    return found


async def show(call: Call) -> Answer:
    """GET /credentials/{credential_id}."""
    return Answer(body={"credential": credential_view(call, _credential(call))})


async def update(call: Call) -> Answer:
    """PATCH /credentials/{credential_id}: what is in it; whose it is and for what never changes."""
    credential = _credential(call)
    call.check(right=may_change(call.who, user_id=credential.user_id))
    check_may_make(call)
    given = fields(call.document("credential"), _SPEC)
    for name, value in (("user_id", credential.user_id), ("project_id", credential.project_id), ("type", credential.type)):
        if (given.get(name) or value) != value:
            raise IdentityProblem(403, f"The {name} of a credential cannot be changed; make another one.")
    blob = given.get("blob")
    if blob is None:
        return Answer(body={"credential": credential_view(call, credential)})
    if credential.type == EC2:
        access, blob = _ec2_parts(blob)
        if access != credential.access:
            raise IdentityProblem(403, "The access key of a credential cannot be changed; make another one.")
    sealed = call.registry.secrets.seal(blob.encode(), credential.id)
    changed = await alter(call, "credential", credential, lambda found: msgspec.structs.replace(found, sealed=sealed))
    return Answer(body={"credential": credential_view(call, changed)})


async def delete(call: Call) -> Answer:
    """DELETE /credentials/{credential_id}."""
    credential = _credential(call)
    call.check(right=may_change(call.who, user_id=credential.user_id))
    check_may_make(call)
    await remove(call, "credential", credential)
    return Answer(204)


# -- signatures -----------------------------------------------------------------------------------------------------


def _asked(call: Call) -> dict[str, Any]:
    """The request that a service asks about.  Services alone may ask: whoever saw a signature once would get a token for it."""
    call.check(right=call.who.is_service)
    found = call.body.get("credentials", call.body.get("ec2Credentials"))
    if not isinstance(found, dict) or not isinstance(found.get("access"), str) or not isinstance(found.get("signature"), str):
        raise IdentityProblem(400, "'credentials' with 'access' and 'signature' is a required property")
    return found


async def check_ec2(call: Call) -> Answer:
    """POST /ec2tokens: a token of the key's user, for its project alone, which cannot be exchanged for another."""
    asked = _asked(call)
    settings, now_us = call.identity.settings, call.identity.now_us()
    key = call.registry.key(asked["access"])
    secret = call.registry.secret_of(key) if key is not None else ""
    if key is None or not ec2_request_is_signed(secret, asked, now_us / 1e6, settings.signature_age_s):
        raise unauthorized()
    access = call.registry.key_access(key)
    if access is None:
        raise unauthorized()
    app = access.app_credential
    ends = app.expires_us if app is not None else 0
    bearer = new_bearer(call, access.user, ("ec2credential",), f"p:{key.project_id}", expires_us=ends, credential=app, credential_id=key.id)
    return token_answer(call, bearer, 200)


async def check_s3(call: Call) -> Answer:
    """POST /s3tokens: who signed it, and what that user may do; no token, since nothing binds the signature to who passes it on."""
    asked = _asked(call)
    string = decoded(asked.get("token", "")) if isinstance(asked.get("token", ""), str) else None
    settings, now_us = call.identity.settings, call.identity.now_us()
    key = call.registry.key(asked["access"])
    secret = call.registry.secret_of(key) if key is not None else ""
    if key is None or string is None or not s3_string_is_signed(secret, string, asked["signature"], now_us / 1e6, settings.signature_age_s):
        raise unauthorized()
    access = call.registry.key_access(key)
    if access is None:
        raise unauthorized()
    bearer = new_bearer(
        call, access.user, ("ec2credential",), f"p:{key.project_id}", credential=access.app_credential, credential_id=key.id
    )
    judged = call.registry.judge(bearer)
    if judged is None:
        raise unauthorized()
    return Answer(200, token_body(call, judged))


_EC2 = "/users/{user_id}/credentials/OS-EC2"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", _EC2): ("ec2_create_credential", create_key),
    ("GET", _EC2): ("ec2_list_credentials", list_keys),
    ("GET", f"{_EC2}/{{access}}"): ("ec2_get_credential", show_key),
    ("DELETE", f"{_EC2}/{{access}}"): ("ec2_delete_credential", delete_key),
    ("POST", "/credentials"): ("create_credential", create),
    ("GET", "/credentials"): ("list_credentials", listing),
    ("GET", "/credentials/{credential_id}"): ("get_credential", show),
    ("PATCH", "/credentials/{credential_id}"): ("update_credential", update),
    ("DELETE", "/credentials/{credential_id}"): ("delete_credential", delete),
    ("POST", "/ec2tokens"): ("ec2_validate", check_ec2),
    ("POST", "/s3tokens"): ("s3_validate", check_s3),
}
