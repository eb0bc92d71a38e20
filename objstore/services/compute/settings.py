"""Settings of the compute service."""

import msgspec


class ComputeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[compute]` section.  Quotas of -1 are none."""

    zone: str = "nova"  # of hosts that no aggregate puts into another availability zone
    cpu_ratio: float = 16.0  # processors of guests for each one of a host
    memory_ratio: float = 1.0
    reserved_memory_mb: int = 512  # of each host, for itself
    guest_overhead_mb: int = 0  # what a guest takes on its host besides its own memory; with TCG some 150
    host_down_s: float = 30.0  # a host that did not report for so long is down
    agent_timeout_s: float = 60.0  # of a call to an agent, besides the time that the call itself gives the guest
    agent_ca_file: str = ""  # certificates of agents that are called by https; "": the system's
    stop_timeout_s: float = 60.0  # what a guest is given to switch itself off before its plug is pulled
    console_token_s: float = 600.0
    page_limit: int = 1000
    quota_instances: int = 10
    quota_cores: int = 20
    quota_ram_mb: int = 51_200
    quota_key_pairs: int = 100  # of a user
    quota_metadata_items: int = 128  # of a server
    quota_server_groups: int = 10
    quota_server_group_members: int = 10
    quota_injected_files: int = 5
    quota_injected_file_bytes: int = 10_240
    quota_injected_path_bytes: int = 255
