"""One server for all tests of the front, over HTTP and over TLS, and a bucket for each test."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from objstore.objects.context import ObjectSettings
from tests.support.s3_server import Running, make_certificate, s3_serving

SMALL_PARTS = ObjectSettings(bucket_cache_s=0.02, min_part_bytes=100)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with s3_serving(store_settings=SMALL_PARTS) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with s3_serving(tls=make_certificate(tmp_path_factory.mktemp("tls")), store_settings=SMALL_PARTS) as running:
        yield running


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> Running:
    """The server over HTTP and over TLS, where clients send their bodies in another way."""
    found: Running = request.getfixturevalue("server" if request.param == "http" else "tls_server")
    return found


@pytest.fixture(scope="session")
def s3(server: Running) -> Any:
    return server.client()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name
