"""Master keys in a service that speaks the transit protocol of HashiCorp Vault (OpenBao speaks it too).

`encrypt` and `decrypt` of data keys under named keys: the master key never leaves the service, and rotation there needs nothing
here.  The encryption context goes along as associated data.  The token's policy needs `update` on `MOUNT/encrypt/NAME` and
`MOUNT/decrypt/NAME`, and must not hold `create` on the former: with it the service makes a key of any name that is asked for.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from objstore.errors import AccessDenied, DamagedBody, KeyNotFound, KeyServiceUnavailable
from objstore.identity.kms import KmsSettings
from objstore.runtime.http_client import Answer, Http

_SHOWN = 200  # characters of what the service says that an error repeats


class VaultKeys:
    """Implements `identity.kms.MasterKeys`; `token` reads the token's file."""

    def __init__(self, settings: KmsSettings, token: Callable[[], str]) -> None:
        self._http = Http(settings.vault_url, timeout_s=settings.timeout_s, ca_file=settings.vault_ca_file)
        self._mount = settings.vault_mount.strip("/")
        self._namespace = settings.vault_namespace
        self._read_token = token
        self._token = token()

    async def wrap(self, name: str, data_key: bytes, context: str) -> bytes:
        """Seal a data key under the latest version of a master key."""
        answer = await self._call("encrypt", name, {"plaintext": base64.b64encode(data_key).decode(), **_associated(context)})
        return _text_of(answer, "ciphertext").encode()

    async def unwrap(self, name: str, wrapped: bytes, context: str) -> bytes:
        """The data key.  Raises DamagedBody when the service says that it did not make it."""
        answer = await self._call("decrypt", name, {"ciphertext": wrapped.decode("ascii", "replace"), **_associated(context)})
        try:
            return base64.b64decode(_text_of(answer, "plaintext"), validate=True)
        except binascii.Error:
            raise KeyServiceUnavailable("the key service answered something that is not base64") from None

    async def _call(self, what: str, name: str, document: dict[str, str]) -> dict[str, Any]:
        answer = await self._send(what, name, document)
        if answer.status == 403:
            self._token = self._read_token()  # tokens are renewed and replaced; the file holds the one of today
            answer = await self._send(what, name, document)
        if answer.status == 200:
            try:
                found = msgspec.json.decode(answer.body, type=dict[str, Any])["data"]
            except (msgspec.DecodeError, KeyError):
                found = None
            if isinstance(found, dict):
                return found
            raise KeyServiceUnavailable("the key service answered something that is not the transit protocol")
        raise _failure(what, name, answer)

    async def _send(self, what: str, name: str, document: dict[str, str]) -> Answer:
        headers = {"X-Vault-Token": self._token, "Content-Type": "application/json"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        path = f"/v1/{self._mount}/{what}/{name}"  # key_name saw to it that a name needs no quoting
        try:
            return await self._http.request("POST", path, headers=headers, body=msgspec.json.encode(document))
        except OSError as failure:
            raise KeyServiceUnavailable(f"the key service does not answer: {failure!r}") from failure


def _associated(context: str) -> dict[str, str]:
    return {"associated_data": base64.b64encode(context.encode()).decode()} if context else {}


def _text_of(data: dict[str, Any], field: str) -> str:
    text = data.get(field)
    if not isinstance(text, str) or not text:
        raise KeyServiceUnavailable(f"the key service's answer has no {field}")
    return text


def _failure(what: str, name: str, answer: Answer) -> Exception:
    try:
        said = "; ".join(str(error) for error in msgspec.json.decode(answer.body, type=dict[str, Any]).get("errors", []))
    except (msgspec.DecodeError, TypeError):
        said = ""
    told = f"the key service refused to {what} under {name!r} (status {answer.status}): {said[:_SHOWN]}"
    if answer.status == 404 or "key not found" in said:
        return KeyNotFound(told, key_id=name)
    if answer.status == 403:
        return AccessDenied(told)
    if answer.status == 400 and what == "decrypt":
        return DamagedBody(told)
    return KeyServiceUnavailable(told)
