"""Networks by openstacksdk and by the `openstack` command line: what people do first, and what programs ask besides."""

import json
import os

import openstack
from openstack.exceptions import BadRequestException, ConflictException, ForbiddenException, NotFoundException
from scenario import BUCKET, CA, REGION, command, raises, run, scenario

NAME = f"net-{BUCKET}"
PASSWORD = "a long password"
made = {}
LOGIN = {
    "OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_USERNAME": NAME, "OS_PASSWORD": PASSWORD, "OS_PROJECT_NAME": NAME, "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", **({"OS_CACERT": CA} if CA else {}),
}  # fmt: skip


def connection(user="admin", password=None, project="admin"):
    auth = {
        "auth_url": os.environ["OS_AUTH_URL"], "username": user, "password": password or os.environ["OS_ADMIN_PASSWORD"], "project_name": project,
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    return openstack.connect(auth=auth, region_name=REGION, verify=CA or True)


def told(*words, ok=(0,)):
    """What a command prints."""
    return command("openstack", *words, ok=ok, **LOGIN)


def cloud(*words):
    return json.loads(told(*words, "-f", "json") or "null")


@scenario
def a_project_and_an_outside():
    admin = made["admin"] = connection()
    project = admin.identity.create_project(name=NAME)
    user = admin.identity.create_user(name=NAME, password=PASSWORD, default_project_id=project.id)
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member"))
    made["me"] = connection(NAME, PASSWORD, NAME)
    outside = made["outside"] = admin.network.create_network(name=NAME + "-outside", is_router_external=True)
    admin.network.create_subnet(network_id=outside.id, ip_version=4, cidr="198.51.100.0/24", is_dhcp_enabled=False)
    made["project"] = project.id


@scenario
def networks_subnets_ports():
    net = made["me"].network
    network = made["network"] = net.create_network(name=NAME, mtu=1400)
    assert (network.status, network.mtu, network.is_router_external, network.provider_network_type) == ("ACTIVE", 1400, False, None)
    subnet = made["subnet"] = net.create_subnet(
        network_id=network.id, ip_version=4, cidr="10.60.0.0/24", dns_nameservers=["9.9.9.9"], name=NAME
    )
    assert (subnet.gateway_ip, subnet.allocation_pools) == ("10.60.0.1", [{"start": "10.60.0.2", "end": "10.60.0.254"}])
    raises(BadRequestException, lambda: net.create_subnet(network_id=network.id, ip_version=4, cidr="10.60.0.0/25"))
    port = made["port"] = net.create_port(network_id=network.id, fixed_ips=[{"ip_address": "10.60.0.77"}], name=NAME)
    raises(ConflictException, lambda: net.create_port(network_id=network.id, fixed_ips=[{"ip_address": "10.60.0.77"}]))
    assert [found.id for found in net.ports(fixed_ips="ip_address=10.60.0.77")] == [port.id]
    assert net.update_port(port, name="new", allowed_address_pairs=[{"ip_address": "10.61.0.0/16"}]).name == "new"
    net.set_tags(network, ["a", "b"])
    assert [found.id for found in net.networks(tags="a,b")] == [network.id]
    assert sorted(port.name for port in net.create_ports([{"network_id": network.id, "name": str(at)} for at in range(3)])) == [
        "0",
        "1",
        "2",
    ]
    assert len(list(net.ports(network_id=network.id, limit=2))) == 4
    raises(ConflictException, lambda: net.delete_network(network, ignore_missing=False))


@scenario
def routers_and_floating_addresses():
    net = made["me"].network
    router = made["router"] = net.create_router(name=NAME, external_gateway_info={"network_id": made["outside"].id})
    net.add_interface_to_router(router, subnet_id=made["subnet"].id)
    floating = net.create_ip(floating_network_id=made["outside"].id, port_id=made["port"].id)
    assert (floating.status, floating.fixed_ip_address, floating.router_id) == ("ACTIVE", "10.60.0.77", router.id)
    raises(ConflictException, lambda: net.remove_interface_from_router(router, subnet_id=made["subnet"].id))
    assert net.update_ip(floating, port_id=None).status == "DOWN"
    net.delete_ip(floating)
    routes = [{"destination": "10.99.0.0/16", "nexthop": "10.60.0.9"}]
    assert net.add_extra_routes_to_router(router, {"router": {"routes": routes}}).routes == routes
    assert net.remove_extra_routes_from_router(router, {"router": {"routes": routes}}).routes == []
    net.remove_interface_from_router(router, subnet_id=made["subnet"].id)
    net.delete_router(router, ignore_missing=False)


@scenario
def security_groups():
    net = made["me"].network
    assert [group.name for group in net.security_groups()] == ["default"]
    group = net.create_security_group(name=NAME)
    rule = net.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22, remote_ip_prefix="10.0.0.0/8"
    )
    raises(ConflictException, lambda: net.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22, remote_ip_prefix="10.0.0.0/8"))  # fmt: skip
    assert rule.id in [found["id"] for found in net.get_security_group(group).security_group_rules]
    net.update_port(made["port"], security_groups=[group.id])
    raises(ConflictException, lambda: net.delete_security_group(group, ignore_missing=False))
    net.update_port(made["port"], security_groups=[])
    net.delete_security_group(group, ignore_missing=False)


@scenario
def what_is_others():
    admin, me = made["admin"], made["me"]
    hidden = admin.network.create_network(name=NAME + "-hidden")
    raises(NotFoundException, lambda: me.network.get_network(hidden.id))
    policy = admin.network.create_rbac_policy(
        object_type="network", object_id=hidden.id, action="access_as_shared", target_project_id=made["project"]
    )
    assert me.network.get_network(hidden.id).is_shared
    raises(ForbiddenException, lambda: me.network.update_network(hidden.id, name="mine"))
    admin.network.delete_rbac_policy(policy)
    admin.network.delete_network(hidden)
    raises(ForbiddenException, lambda: me.network.create_network(name="x", is_shared=True))


@scenario
def quotas_zones_and_free_addresses():
    admin, me = made["admin"], made["me"]
    assert me.network.get_quota(made["project"]).networks == 100
    admin.network.update_quota(made["project"], networks=1)
    raises(ConflictException, lambda: me.network.create_network(name="one too many"))
    assert me.network.get_quota(made["project"], details=True).networks["used"] == 1
    admin.network.delete_quota(made["project"])
    assert {zone.name for zone in me.network.availability_zones()} == {"nova"}
    assert admin.network.get_network_ip_availability(made["network"].id).used_ips == 4
    assert me.network.find_extension("security-group").alias == "security-group"
    assert me.network.find_extension("trunk") is None


@scenario
def pools_and_scopes():
    net = made["me"].network
    scope = net.create_address_scope(name=NAME, ip_version=4)
    pool = net.create_subnet_pool(name=NAME, prefixes=["10.70.0.0/16"], default_prefix_length=24, address_scope_id=scope.id)
    network = net.create_network(name=NAME + "-pool")
    subnet = net.create_subnet(network_id=network.id, ip_version=4, subnet_pool_id=pool.id)
    assert subnet.cidr == "10.70.0.0/24"
    raises(BadRequestException, lambda: net.delete_subnet_pool(pool, ignore_missing=False))
    net.delete_network(network)
    net.delete_subnet_pool(pool, ignore_missing=False)
    net.delete_address_scope(scope, ignore_missing=False)


@scenario
def the_command_line():
    name = NAME + "-cli"
    network = cloud("network", "create", name)
    subnet = cloud("subnet", "create", "--network", name, "--subnet-range", "10.80.0.0/24", name)
    assert subnet["gateway_ip"] == "10.80.0.1"
    cloud("router", "create", name)
    told("router", "add", "subnet", name, name)
    told("router", "set", "--external-gateway", NAME + "-outside", name)
    port = cloud("port", "create", "--network", name, "--fixed-ip", "ip-address=10.80.0.9", name)
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.80.0.9"}]
    floating = cloud("floating", "ip", "create", "--port", name, NAME + "-outside")
    assert floating["fixed_ip_address"] == "10.80.0.9"
    cloud("security", "group", "create", name)
    cloud("security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "80:81", name)
    assert len(cloud("security", "group", "rule", "list", name)) == 3
    told("network", "set", "--tag", "a", "--description", "d", name)
    assert cloud("network", "show", name)["tags"] == ["a"]
    assert network["id"] in [entry["ID"] for entry in cloud("network", "list", "--tags", "a")]
    assert [entry["ID"] for entry in cloud("port", "list", "--network", name, "--fixed-ip", "ip-address=10.80.0.9")] == [port["id"]]
    told("floating", "ip", "delete", floating["id"])
    told("port", "delete", name)
    told("router", "remove", "subnet", name, name)
    told("router", "delete", name)
    told("network", "delete", name)
    told("security", "group", "delete", name)
    told("network", "show", name, ok=(1,))


@scenario
def all_goes_again():
    net, admin = made["me"].network, made["admin"]
    for port in net.ports():
        net.delete_port(port)
    net.delete_network(made["network"], ignore_missing=False)
    admin.network.delete_network(made["outside"], ignore_missing=False)
    assert list(net.ports()) == []


run()
