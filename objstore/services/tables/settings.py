"""Settings of the services' database."""

import msgspec


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[database]` section."""

    url: str = ""  # sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; "": SQLite below the cluster's directory
