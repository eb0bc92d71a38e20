"""Requests that a service passes on to ec2tokens and s3tokens, signed with a key of S3."""

import base64
import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from tests.support.identity_rig import Rig


def signed(rig: Rig, key: dict[str, Any], *, late_s: float = 0.0) -> dict[str, Any]:
    """A request of version 2, signed at the service's time."""
    at = datetime.fromtimestamp(rig.clock.wall_us() / 1e6 - late_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    params = {"SignatureMethod": "HmacSHA256", "SignatureVersion": "2", "Timestamp": at}
    query = f"SignatureMethod=HmacSHA256&SignatureVersion=2&Timestamp={at.replace(':', '%3A')}"
    made = base64.b64encode(hmac.new(key["secret"].encode(), f"GET\nh\n/\n{query}".encode(), sha256).digest()).decode()
    return {"access": key["access"], "verb": "GET", "host": "h", "path": "/", "params": params, "signature": made}


def signed_s3(rig: Rig, key: dict[str, Any]) -> dict[str, Any]:
    """A string to sign of version 4, signed at the service's time."""
    at = datetime.fromtimestamp(rig.clock.wall_us() / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
    string = f"AWS4-HMAC-SHA256\n{at}\n{at[:8]}/r/s3/aws4_request\n{'0' * 64}"
    secret = ("AWS4" + key["secret"]).encode()
    for text in (at[:8], "r", "s3", "aws4_request"):
        secret = hmac.digest(secret, text.encode(), "sha256")
    signature = hmac.new(secret, string.encode(), sha256).hexdigest()
    return {"access": key["access"], "signature": signature, "token": base64.b64encode(string.encode()).decode()}
