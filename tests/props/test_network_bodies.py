"""Bodies of every resource of the network API, hostile ones: read, or refused with 400 or 403, whatever they hold; and nothing stays behind."""

import asyncio
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from objstore.services.calls.problems import CallRefused
from objstore.services.network import floating, groups, networks, ports, rbac, routers, rules, subnet_pools, subnets
from objstore.services.network.kinds import Kind, bodies, parse_change, parse_new
from objstore.services.network.records import Tx, Who, count
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import ADDRESSES, PORTS
from tests.support.network_rig import NetworkApi, on_network_api

SETTINGS = NetworkSettings()
KINDS: list[Kind] = [
    networks.KIND, subnets.kind(SETTINGS), ports.kind(SETTINGS), routers.kind(SETTINGS), floating.KIND, groups.KIND, rules.KIND, subnet_pools.POOL_KIND,
    subnet_pools.SCOPE_KIND, rbac.KIND,
]  # fmt: skip
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=40),
    st.sampled_from(("10.0.0.0/24", "10.0.0.9", "2001:db8::/64", "fe80::1%x", "::ffff:1.2.3.4", "fa:16:3e:00:00:01", "a" * 300, "\ud7ff", "*", "tcp", "4")),
    st.uuids().map(str),
)  # fmt: skip
KEYS = ("ip_address", "subnet_id", "start", "end", "destination", "nexthop", "opt_name", "opt_value", "network_id", "mac_address")
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4), max_leaves=12
)


def names(kind: Kind) -> st.SearchStrategy[str]:
    return st.sampled_from((*kind.named, *kind.read_only, "tenant_id", "unknown"))


BODY = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), st.dictionaries(names(kind), VALUE, max_size=6)))


@settings(max_examples=300, deadline=None)
@given(BODY, st.booleans())
def test_attributes_are_read_or_refused(body: tuple[Kind, dict[str, Any]], admin: bool) -> None:
    kind, fields = body
    for parse in (parse_new, parse_change):
        try:
            parse(kind, fields, Who("a" * 32, admin=admin))
        except CallRefused as refused:
            assert refused.status in (400, 403)  # noqa: PT017 what is read without a refusal is fine too
            assert len(refused.message) < 2000  # noqa: PT017 as above


@settings(max_examples=100, deadline=None)
@given(VALUE)
def test_documents_hold_things_or_are_refused(document: Any) -> None:
    for kind in KINDS:
        for given_one in (document, {kind.name: document}, {kind.plural: document}):
            try:
                bodies(kind, given_one, 10)
            except CallRefused as refused:
                assert refused.status == 400  # noqa: PT017 a document that is read is fine too


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(BODY, min_size=1, max_size=12))
def test_whole_requests_are_answered_and_leave_no_address_without_a_port(asked: list[tuple[Kind, dict[str, Any]]]) -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        known = {
            "network_id": network["id"],
            "subnet_id": subnet["id"],
            "security_group_id": network["id"],
            "floating_network_id": network["id"],
        }
        for kind, fields in asked:
            more = {name: value for name, value in known.items() if name in kind.named}
            for who in ("alice", "admin"):
                data = msgspec.json.encode({kind.name: {**more, **fields}})
                reply = await api.ask("POST", f"/{kind.path}", data, who=who)
                assert reply.status in (201, 400, 403, 404, 409), reply.raw
                await api.ask("PUT", f"/{kind.path}/{network['id']}", data, who=who)
        replies = await asyncio.gather(*(api.ask("GET", f"/{kind.path}", who="admin") for kind, _ in asked))
        assert {reply.status for reply in replies} == {200}

        def check(tx: Tx) -> None:
            assert count(tx, ADDRESSES, ADDRESSES.c.port.not_in(select(PORTS.c.id))) == 0

        await api.write(check)

    on_network_api(test)
