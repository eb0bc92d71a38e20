"""Consumers of OAuth 1: kept and shown, as clients administer them.  Their secret is shown once; no token is given for one."""

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, View, fields, filtered, listed, nullable, text, with_extra
from objstore.fronts.identity.errors import IdentityProblem
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.identity.tenancy import RECORD_VERSION, Consumer, new_id

_BASE = "/OS-OAUTH1/consumers"
_SPEC = {"description": nullable(text)}


def _view(call: Call, consumer: Consumer) -> View:
    links = {"self": call.link(f"{_BASE}/{consumer.id}")}
    return {**consumer.extra, "id": consumer.id, "description": consumer.description, "links": links}


async def create(call: Call) -> Answer:
    """POST /OS-OAUTH1/consumers."""
    call.check_change()
    given = fields(call.document("consumer"), _SPEC)
    given["extra"].pop("secret", None)
    id_, secret = new_id(call.registry.rng), call.registry.rng.token(32).hex()
    sealed = call.registry.secrets.seal(secret.encode(), id_)
    consumer = await store(call, "consumer", Consumer(RECORD_VERSION, id_, sealed=sealed, **given))
    return Answer(201, {"consumer": {**_view(call, consumer), "secret": secret}})


async def listing(call: Call) -> Answer:
    """GET /OS-OAUTH1/consumers."""
    call.check_read()
    return listed(call, "consumers", filtered(call, [_view(call, consumer) for consumer in call.registry.all(Consumer)], ()), _BASE)


async def show(call: Call) -> Answer:
    """GET /OS-OAUTH1/consumers/{consumer_id}."""
    call.check_read()
    return Answer(body={"consumer": _view(call, call.find(Consumer, call.parameters["consumer_id"], "consumer"))})


async def update(call: Call) -> Answer:
    """PATCH /OS-OAUTH1/consumers/{consumer_id}: all but its secret."""
    call.check_change()
    consumer = call.find(Consumer, call.parameters["consumer_id"], "consumer")
    given = fields(call.document("consumer"), _SPEC)
    extra = given.pop("extra")
    if "secret" in extra:
        raise IdentityProblem(400, "The secret of a consumer cannot be changed; make another one.")

    def edit(found: Consumer) -> Consumer:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"consumer": _view(call, await alter(call, "consumer", consumer, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /OS-OAUTH1/consumers/{consumer_id}."""
    call.check_change()
    await remove(call, "consumer", call.find(Consumer, call.parameters["consumer_id"], "consumer"))
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", _BASE): ("create_consumer", create),
    ("GET", _BASE): ("list_consumers", listing),
    ("GET", f"{_BASE}/{{consumer_id}}"): ("get_consumer", show),
    ("PATCH", f"{_BASE}/{{consumer_id}}"): ("update_consumer", update),
    ("DELETE", f"{_BASE}/{{consumer_id}}"): ("delete_consumer", delete),
}
