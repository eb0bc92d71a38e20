"""Keeps up with the keys of issuers that publish them at an address.

Only addresses from the identities file are asked, which the operator wrote; an address that a user could choose would let users
send requests from inside the cluster's network.  What was fetched last stays when an issuer does not answer.
"""

import logging
from collections.abc import Mapping

from objstore.errors import InvalidArgument
from objstore.identity.directory import Directory
from objstore.identity.web_tokens import KeySet
from objstore.runtime.http_client import Http, split_target
from objstore.runtime.tasks import TaskOwner

log = logging.getLogger(__name__)

FETCH_S = 600.0  # issuers announce new keys well before they use them
RETRY_S = 30.0
TIMEOUT_S = 10.0


class WebKeys:
    """Fetches key sets: provider's ARN -> address."""

    def __init__(self, directory: Directory, addresses: Mapping[str, str]) -> None:
        self._directory = directory
        self._addresses = dict(addresses)
        self._tasks = TaskOwner("keys of web identities")

    async def start(self) -> None:
        """Begin to fetch."""
        for arn, url in self._addresses.items():
            self._tasks.spawn(self._keep_up(arn, url), name=arn)

    async def aclose(self) -> None:
        """Stop fetching."""
        await self._tasks.aclose()

    async def _keep_up(self, arn: str, url: str) -> None:
        while True:
            try:
                keys = await fetch_keys(url)
            except Exception as failure:  # whatever it was: without this loop a key that the issuer withdrew stays good here
                expected = isinstance(failure, OSError | InvalidArgument)
                log.warning("the keys of %s cannot be fetched from %s: %r", arn, url, failure, exc_info=None if expected else failure)
                await self._directory.clock.sleep(RETRY_S)
                continue
            self._directory.set_provider_keys(arn, keys)
            await self._directory.clock.sleep(FETCH_S)


async def fetch_keys(url: str) -> str:
    """A JSON Web Key Set from its address.  Raises OSError, InvalidArgument."""
    base, target = split_target(url)
    answer = await Http(base, timeout_s=TIMEOUT_S).request("GET", target, headers={"Accept": "application/json"})
    if answer.status != 200:
        raise OSError(f"the answer is {answer.status}")
    try:
        text = answer.body.decode()
    except UnicodeDecodeError as failure:
        raise InvalidArgument(f"not a JSON Web Key Set: {failure}") from None
    KeySet(text)
    return text


def check_address(url: str) -> None:
    """Raises InvalidArgument for an address that no keys can be fetched from."""
    try:
        Http(url.partition("?")[0], timeout_s=TIMEOUT_S)
    except ValueError as failure:
        raise InvalidArgument(f"identities: {failure}") from None
