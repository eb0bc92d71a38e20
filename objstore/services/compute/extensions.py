"""The list of extensions, which older clients ask for: in this API all that there is belongs to it, so the list is fixed."""

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import not_found
from objstore.services.compute.views import View

_UPDATED = "2014-12-03T00:00:00Z"
_NAMES = {
    "os-aggregates": "Aggregates", "os-attach-interfaces": "AttachInterfaces", "os-availability-zone": "AvailabilityZone",
    "os-console-output": "ConsoleOutput", "os-consoles": "Consoles", "os-create-server-ext": "Createserverext", "os-flavor-access": "FlavorAccess",
    "os-flavor-extra-specs": "FlavorExtraSpecs", "os-flavor-manage": "FlavorManage", "os-floating-ips": "FloatingIps",
    "os-floating-ip-pools": "FloatingIpPools", "os-hosts": "Hosts", "os-hypervisors": "Hypervisors", "os-instance-actions": "InstanceActions",
    "os-keypairs": "Keypairs", "os-lock-server": "LockServer", "os-migrate-server": "MigrateServer", "os-migrations": "Migrations",
    "os-networks": "Networks", "os-pause-server": "PauseServer", "os-quota-class-sets": "QuotaClasses", "os-quota-sets": "Quotas",
    "os-remote-consoles": "RemoteConsoles", "os-security-groups": "SecurityGroups", "os-server-external-events": "ServerExternalEvents",
    "os-server-groups": "ServerGroups", "os-server-tags": "ServerTags", "os-services": "Services", "os-simple-tenant-usage": "SimpleTenantUsage",
    "os-tenant-networks": "OSTenantNetworks", "os-volumes": "Volumes", "OS-EXT-STS": "ExtendedStatus", "OS-SRV-USG": "ServerUsage",
}  # fmt: skip


def routes() -> dict[tuple[str, str], Handler]:
    """(method, template) -> handler."""
    return {("GET", "/v2.1/extensions"): all_extensions, ("GET", "/v2.1/extensions/{alias}"): one_extension}


async def all_extensions(call: Call) -> Answer:
    """All of them."""
    return Answer(body={"extensions": [_view(alias) for alias in sorted(_NAMES)]})


async def one_extension(call: Call) -> Answer:
    """One."""
    alias = call.parameters["alias"]
    if alias not in _NAMES:
        raise not_found("The resource could not be found.")
    return Answer(body={"extension": _view(alias)})


def _view(alias: str) -> View:
    return {
        "alias": alias, "name": _NAMES[alias], "description": f"{_NAMES[alias]}, as the API reference has it.", "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml", "updated": _UPDATED,
    }  # fmt: skip
