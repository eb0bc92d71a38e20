"""What a host has: what its reports say of it, and what command lines depend on."""

import os
import platform
from pathlib import Path

FIRMWARES = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd")
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """What tells this run of the machine from others."""
    return Path(BOOT_ID).read_text().strip()


def firmware() -> str:
    """The code of UEFI for guests; "" where it is not installed."""
    return next((path for path in FIRMWARES if Path(path).exists()), "")


def memory_mb() -> int:
    """Of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)


def vcpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_model(cpuinfo: str) -> str:
    """The processors' name, of /proc/cpuinfo's text."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def traits(accelerator: str, driver: str) -> tuple[str, ...]:
    """What guests can be promised here, in Placement's words where there are some."""
    return tuple(
        sorted((
            "COMPUTE_VOLUME_EXTEND", "COMPUTE_VOLUME_MULTI_ATTACH", f"CUSTOM_ACCELERATOR_{accelerator.upper()}", f"CUSTOM_NETWORK_{driver.upper()}",
        ))
    )  # fmt: skip
