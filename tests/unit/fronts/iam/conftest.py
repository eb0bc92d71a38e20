"""One endpoint of S3, IAM and STS for all tests, a user, a role and names of one's own for each."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.iam_server import iam_serving, service
from tests.support.s3_server import ALICE, Running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with iam_serving() as running:
        yield running


@pytest.fixture(scope="session")
def iam(server: Running) -> Any:
    """IAM as the root of alice's account."""
    return service(server, "iam", parameter_validation=False)


@pytest.fixture
def name() -> str:
    return f"name-{next(_numbers)}"


@pytest.fixture
def user(iam: Any, name: str) -> str:
    iam.create_user(UserName=name)
    return name


@pytest.fixture
def keys(iam: Any, user: str) -> dict[str, str]:
    """An access key of `user`."""
    found: dict[str, str] = iam.create_access_key(UserName=user)["AccessKey"]
    return found


@pytest.fixture(scope="session")
def s3(server: Running) -> Any:
    client = service(server, "s3", ALICE)
    client.create_bucket(Bucket="alices")
    client.put_object(Bucket="alices", Key="k", Body=b"data")
    return client


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """Code and status of a refused call."""
    try:  # not pytest.raises, which keeps the exception, its frames and their connections
        call(**parameters)
    except ClientError as failure:
        return failure.response["Error"]["Code"], failure.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("the call was not refused")


@pytest.fixture
def refused() -> Callable[..., tuple[str, int]]:
    return refusal
