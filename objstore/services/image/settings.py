"""Settings of the image service."""

import msgspec

GIB = 1024**3


class ImageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[image]` section.  Limits of 0 are none."""

    enforce_format: bool = True  # bytes must be what disk_format says; files that name others are refused in any case
    max_bytes: int = 1024 * GIB  # of one image
    max_virtual_bytes: int = 64 * 1024 * GIB  # of the disk that an image claims to be
    quota_images: int = 1000  # of a project
    quota_bytes: int = 10 * 1024 * GIB  # of a project: images and what is staged
    quota_properties: int = 128  # of an image
    quota_tags: int = 128
    quota_members: int = 128
    quota_tasks: int = 1000  # of a project: imports whose end is still told
    quota_image_tasks: int = 100  # the same of an image
    page_limit: int = 1000
    lease_s: float = 60.0  # an upload that gives no sign of life for so long is over
    task_days: float = 2.0  # how long what became of an import is told
    web_download_hosts: tuple[str, ...] = ()  # HOST or HOST:PORT that web-download may fetch from; none: the method is off
    web_download_private: tuple[str, ...] = ()  # those of them that may have private addresses
    web_download_timeout_s: float = 3600.0
    web_download_ca_file: str = ""
