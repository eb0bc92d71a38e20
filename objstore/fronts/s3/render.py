"""The error document."""

from objstore.fronts.s3.errors import Failure
from objstore.fronts.s3.xml import DECLARATION, element


def error_document(failure: Failure, resource: str, request_id: str, host_id: str) -> bytes:
    """What a refusal says: Amazon's elements, those of this error, and what to do next."""
    own = "".join([element(name, value) for name, value in failure.elements.items()])
    hint = element("Hint", failure.hint) if failure.hint else ""
    return (
        f"{DECLARATION}<Error>{element('Code', failure.code)}{element('Message', failure.message)}{own}"
        f"{element('Resource', resource)}{element('RequestId', request_id)}{element('HostId', host_id)}{hint}</Error>"
    ).encode()
