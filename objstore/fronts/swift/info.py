"""What needs no account: /info (what this store can do), /healthcheck, /crossdomain.xml."""

import json

from objstore.core.container import METADATA_LIMIT_BYTES, METADATA_LIMIT_COUNT
from objstore.core.names import BUCKET_NAME_LIMIT_BYTES, KEY_LIMIT_BYTES
from objstore.fronts.swift import container_sync
from objstore.fronts.swift.answers import JSON, XML, Answer
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import MAX_META_NAME, MAX_META_VALUE
from objstore.fronts.swift.links import MAX_LINKS
from objstore.fronts.swift.policies import listed
from objstore.fronts.swift.ratelimit import steps_of
from objstore.fronts.swift.reading import MAX_SEGMENTS
from objstore.fronts.swift.static import MAX_MANIFEST_BYTES, MAX_MANIFEST_SEGMENTS
from objstore.fronts.swift.tempurl import DIGESTS, METHODS

SWIFT_VERSION = "2.34.0"  # whose API this is; clients judge by it what they may use
_CROSS_DOMAIN = """<?xml version="1.0"?>
<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >
<cross-domain-policy>
{policy}
</cross-domain-policy>"""


def cross_domain(front: SwiftFront) -> Answer:
    """Flash's and Silverlight's policy file: what the operator lets in, by default nothing."""
    return Answer(200, [XML], _CROSS_DOMAIN.format(policy=front.settings.cross_domain_policy).encode())


def info(front: SwiftFront) -> Answer:
    """Just what works; what is not here is not built."""
    settings = front.settings
    features = {
        "swift": {
            "version": SWIFT_VERSION,
            "max_file_size": settings.max_file_bytes,
            "max_object_name_length": KEY_LIMIT_BYTES,
            "max_container_name_length": BUCKET_NAME_LIMIT_BYTES,
            "max_account_name_length": 256,
            "max_meta_name_length": MAX_META_NAME,
            "max_meta_value_length": MAX_META_VALUE,
            "max_meta_count": METADATA_LIMIT_COUNT,
            "max_meta_overall_size": METADATA_LIMIT_BYTES,
            "account_listing_limit": settings.account_listing_limit,
            "container_listing_limit": settings.container_listing_limit,
            "account_autocreate": True,
            "allow_account_management": False,
            "policies": listed(front),
            "extra_header_count": 0,
            "strict_cors_mode": True,
        },
        "tempauth": {"account_acls": True},
        "tempurl": {"methods": list(METHODS), "allowed_digests": list(DIGESTS)},
        "formpost": {"allowed_digests": list(DIGESTS)},
        "bulk_delete": {"max_deletes_per_request": settings.max_bulk_deletes, "max_failed_deletes": settings.max_bulk_deletes},
        "bulk_upload": {
            "max_containers_per_extraction": settings.max_containers_per_extraction,
            "max_failed_extractions": settings.max_failed_extractions,
        },
        "symlink": {"symloop_max": MAX_LINKS, "static_links": True},
        "dlo": {"max_segments": MAX_SEGMENTS},
        "slo": {
            "max_manifest_segments": MAX_MANIFEST_SEGMENTS,
            "max_manifest_size": MAX_MANIFEST_BYTES,
            "min_segment_size": 1,
            "allow_async_delete": True,
            "yield_frequency": settings.yield_frequency_s,
        },
        "container_quotas": {},
        "account_quotas": {},
        "crossdomain": {},
        "staticweb": {},
    }
    if settings.etag_quoter:
        features["etag_quoter"] = {"enable_by_default": settings.etag_quoter_by_default}
    if settings.account_ratelimit > 0 or settings.container_ratelimit or settings.container_listing_ratelimit:
        features["ratelimit"] = {
            "account_ratelimit": settings.account_ratelimit,
            "max_sleep_time_seconds": settings.max_sleep_s,
            "container_ratelimits": steps_of(settings.container_ratelimit),
            "container_listing_ratelimits": steps_of(settings.container_listing_ratelimit),
        }
    if front.realms or front.sync.hosts:
        features["container_sync"] = {"realms": container_sync.realms_shown(front)}
    if settings.storage_domains:
        features["domain_remap"] = {"default_reseller_prefix": None}
    return Answer(200, [JSON], json.dumps(features).encode())
