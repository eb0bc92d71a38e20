"""Texts of policies that other services keep here.  Nothing in the store reads them."""

from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, View, called, fields, filtered, listed, with_extra
from objstore.fronts.identity.errors import invalid
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.identity.tenancy import RECORD_VERSION, PolicyText, new_id

MAX_BLOB_CHARS = 65_536


def _blob(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str) or len(value) > MAX_BLOB_CHARS:
        raise invalid(name, f"it must be text of at most {MAX_BLOB_CHARS} characters")
    return value


_SPEC = {"type": called, "blob": _blob}


def _view(call: Call, policy: PolicyText) -> View:
    links = {"self": call.link(f"/policies/{policy.id}")}
    return {**policy.extra, "id": policy.id, "type": policy.type, "blob": policy.blob, "links": links}


async def create(call: Call) -> Answer:
    """POST /policies."""
    call.check_change()
    given = fields(call.document("policy"), _SPEC, required=("type", "blob"))
    policy = await store(call, "policy", PolicyText(RECORD_VERSION, new_id(call.registry.rng), **given))
    return Answer(201, {"policy": _view(call, policy)})


async def listing(call: Call) -> Answer:
    """GET /policies."""
    call.check_read()
    views = [_view(call, policy) for policy in call.registry.all(PolicyText)]
    return listed(call, "policies", filtered(call, views, ("type",)), "/policies")


async def show(call: Call) -> Answer:
    """GET /policies/{policy_id}."""
    call.check_read()
    return Answer(body={"policy": _view(call, call.find(PolicyText, call.parameters["policy_id"], "policy"))})


async def update(call: Call) -> Answer:
    """PATCH /policies/{policy_id}."""
    call.check_change()
    policy = call.find(PolicyText, call.parameters["policy_id"], "policy")
    given = fields(call.document("policy"), _SPEC)
    extra = given.pop("extra")

    def edit(found: PolicyText) -> PolicyText:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"policy": _view(call, await alter(call, "policy", policy, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /policies/{policy_id}."""
    call.check_change()
    await remove(call, "policy", call.find(PolicyText, call.parameters["policy_id"], "policy"))
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/policies"): ("create_policy", create),
    ("GET", "/policies"): ("list_policies", listing),
    ("GET", "/policies/{policy_id}"): ("get_policy", show),
    ("PATCH", "/policies/{policy_id}"): ("update_policy", update),
    ("DELETE", "/policies/{policy_id}"): ("delete_policy", delete),
}
