"""One server for all tests of the Swift front; each takes containers of its own."""

from collections.abc import Iterator

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import Swift, swift_serving


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with swift_serving() as found:
        yield found


@pytest.fixture(scope="session")
def swift(running: Running) -> Swift:
    return Swift(running)


@pytest.fixture
def box(swift: Swift, request: pytest.FixtureRequest) -> str:
    name = f"box-{abs(hash(request.node.nodeid)):x}"
    assert swift("PUT", name).status == 201
    return name
