"""Reads the file of realms, in the form of Swift's container-sync-realms.conf."""

from pathlib import Path

from objstore.core.container_sync import Realms, SyncSettings, parse_realms
from objstore.errors import InvalidArgument
from objstore.runtime import log as logs
from objstore.runtime.config import ConfigError


def read_realms(settings: SyncSettings) -> Realms:
    """The realms that the settings name; none without a file.  Their keys are kept out of logs.  Raises ConfigError."""
    if not settings.realms_file:
        return {}
    try:
        realms = parse_realms(Path(settings.realms_file).read_text())
    except (OSError, UnicodeDecodeError, InvalidArgument) as failure:
        raise ConfigError(f"container_sync.realms_file {settings.realms_file}: {failure}") from failure
    for realm in realms.values():
        for key in (realm.key, realm.key2):
            logs.hide(key)
    return realms
