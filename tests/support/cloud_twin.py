"""As much of the services as `objstore cloud` asks: a login with a catalog, and lists of things that POST adds to."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.answers import Answer, Asked

PROJECT, USER, PASSWORD, TOKEN = "p1", "u1", "right", "t1"
SERVICES = {
    "compute": "/compute/v2.1",
    "network": "/network",
    "image": "/image",
    "block-storage": "/volume/v3/p1",
    "identity": "/identity/v3",
}


class Services:
    """One project's things, by the last word of their collection's path."""

    def __init__(self) -> None:
        self.url = ""
        self.things: dict[str, list[dict[str, Any]]] = {
            "security_groups": [{"id": "g", "name": "default", "project_id": PROJECT, "security_group_rules": []}],
            "services": [{"host": "h", "binary": "nova-compute", "state": "up", "status": "enabled"}],
        }
        self.bytes: dict[str, bytes] = {}
        self.made: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        at = urlsplit(asked.path)
        if at.path == "/identity/v3/auth/tokens":
            return self._log_in(asked)
        if asked.headers.get("X-Auth-Token") != TOKEN:
            return Answer(401, {"error": {"message": "who are you?"}})
        words = [word for word in at.path.split("/") if word]
        if asked.method == "PUT":
            return self._put(words, asked)
        kind = words[-1].removeprefix("os-").replace("-", "_")
        if kind == "detail":
            kind = words[-2]
        if asked.method == "POST":
            return self._make(kind, asked.document)
        if words[-2] == "images":
            return Answer(200, next(one for one in self.things["images"] if one["id"] == words[-1]))
        want = [(name, value) for name, value in parse_qsl(at.query) if name not in ("all_tenants",)]
        found = [one for one in self.things.get(kind, []) if all(str(one.get(name)) == value for name, value in want)]
        return Answer(200, {kind: [{"keypair": one} for one in found] if kind == "keypairs" else found})

    def _log_in(self, asked: Asked) -> Answer:
        user = asked.document["auth"]["identity"]["password"]["user"]
        if user["password"] != PASSWORD:
            return Answer(401, {"error": {"message": "wrong password", "code": 401}})
        catalog = [{"type": kind, "endpoints": [{"interface": "public", "url": self.url + path}]} for kind, path in SERVICES.items()]
        token = {"project": {"id": PROJECT}, "user": {"id": USER}, "catalog": catalog}
        return Answer(201, {"token": token}, {"X-Subject-Token": TOKEN})

    def _put(self, words: list[str], asked: Asked) -> Answer:
        if words[-1] == "file":
            self.bytes[words[-2]] = asked.body
            next(one for one in self.things["images"] if one["id"] == words[-2])["status"] = "active"
            return Answer(204)
        subnet = asked.document["subnet_id"]
        network = next(one for one in self.things["subnets"] if one["id"] == subnet)["network_id"]
        self.things.setdefault("ports", []).append({"id": "x", "device_id": words[-2], "network_id": network})
        return Answer(200, {})

    def _make(self, kind: str, document: dict[str, Any]) -> Answer:
        single = kind.removesuffix("s")
        thing = dict(document if kind == "images" else document[single])
        there = self.things.setdefault(kind, [])
        if kind == "flavors" and any(one["id"] == thing["id"] for one in there):
            return Answer(409, {"conflictingRequest": {"message": f"flavor {thing['id']} is there", "code": 409}})
        thing = {"project_id": PROJECT, **thing, "id": thing.get("id") or f"{kind}-{len(there)}"}
        if kind == "images":
            thing["status"] = "queued"
        if kind == "security_group_rules":
            self.things["security_groups"][0]["security_group_rules"].append({"remote_group_id": None, "port_range_min": None, **thing})
        there.append(thing)
        self.made.append(f"{single} {thing.get('name', '')}")
        return Answer(201, thing if kind == "images" else {single: thing})
