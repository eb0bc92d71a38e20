"""The keys that seal tokens, for administrators: which there are, and the change to the next one.  Never the keys themselves."""

from objstore.fronts.identity.call import Answer, Call, Handler, View, fields, flag, time_text
from objstore.identity.token_keys import KeySet

_BASE = "/OS-OBJSTORE/token_keys"


def _view(call: Call, keys: KeySet) -> View:
    shown = [
        {
            "number": key.number, "state": keys.state(key), "made_at": time_text(key.made_us) if key.made_us else None,
            "retired_at": time_text(key.retired_us) if key.retired_us else None,
        }
        for key in keys.keys
    ]  # fmt: skip
    return {"token_keys": shown, "links": {"self": call.link(_BASE)}}


async def show(call: Call) -> Answer:
    """GET /OS-OBJSTORE/token_keys."""
    call.check_read()
    return Answer(body=_view(call, call.registry.bearers.keys))


async def rotate(call: Call) -> Answer:
    """POST /OS-OBJSTORE/token_keys: the next key seals; with `revoke` no token from before is good any more."""
    call.check_change()
    given = fields(call.body, {"revoke": flag}, closed=True)
    return Answer(body=_view(call, await call.registry.rotate_token_keys(revoke=given.get("revoke", False))))


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("GET", _BASE): ("list_token_keys", show),
    ("POST", _BASE): ("rotate_token_keys", rotate),
}
