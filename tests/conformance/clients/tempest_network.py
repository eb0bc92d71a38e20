"""All of tempest's tests of networks.

What cannot pass stands in `EXPECTED` with the reason, and in docs/reference/network.md: a test that passes although it stands there
fails the run just as one that fails and does not.
"""

import os

import openstack
from scenario import CA, REGION, run, scenario
from tempest_runs import check, play

CONFIG = """
[service_available]
neutron = true
[network]
region = {region}
project_network_cidr = 10.100.0.0/16
project_network_mask_bits = 28
public_network_id = {outside}
floating_network_name = {name}
[network-feature-enabled]
ipv6 = true
ipv6_subnet_attributes = true
port_security = true
floating_ips = true
api_extensions = {extensions}
"""
NAME = "tempest-outside"

METERING = ("SKIPPED", "there is no metering")
DVR = ("SKIPPED", "a router is on one host")
HOSTS = ("SKIPPED", "these look for a host of guests by the compute service, and this cluster has none")
# Class and test -> how it ends, and why.
EXPECTED: dict[str, tuple[str, str]] = {
    "test_dhcp_agent_scheduler.DHCPAgentSchedulersTestJSON": ("SKIPPED", "every host answers its own guests: there is nothing to schedule"),
    "test_metering_extensions.MeteringIpV6TestJSON": METERING,
    "test_metering_extensions.MeteringTestJSON": METERING,
    "test_routers_dvr.RoutersTestDVR": DVR,
    "test_routers_negative.DvrRoutersNegativeTest": DVR,
    **{
        f"PortsAdminExtendedAttrs{version}TestJSON.test_{verb}_port{s}_binding_ext_attr": HOSTS
        for version in ("", "IpV6")
        for verb, s in (("create", ""), ("update", ""), ("list", "s"))
    },
}


@scenario
def all_of_networks():
    names = {"user_domain_name": "Default", "project_domain_name": "Default"}
    auth = {
        "auth_url": os.environ["OS_AUTH_URL"],
        "username": "admin",
        "password": os.environ["OS_ADMIN_PASSWORD"],
        "project_name": "admin",
        **names,
    }
    cloud = openstack.connect(auth=auth, region_name=REGION, verify=CA or True)
    outside = cloud.network.find_network(NAME)
    if outside is None:
        outside = cloud.network.create_network(name=NAME, is_router_external=True)
        cloud.network.create_subnet(network_id=outside.id, ip_version=4, cidr="203.0.113.0/24", enable_dhcp=False)
    extensions = ",".join(sorted(extension.alias for extension in cloud.network.extensions()))
    more = CONFIG.format(region=REGION, outside=outside.id, name=NAME, extensions=extensions)
    found = play(more, "--regex", "'^tempest.api.network'")
    check(found, EXPECTED)
    assert len(found) > 200, f"only {len(found)} tests were run"


run()
