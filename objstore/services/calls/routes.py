"""Finds what serves a path: templates of literal pieces and parameters in braces; a literal goes before a parameter."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from objstore.services.calls.problems import bad_request, not_found

H = TypeVar("H")
MAX_PIECES = 12
MAX_PATH_BYTES = 8192
_METHODS = ""  # under which a node of the tree keeps what is there by method; no piece of a path is empty
_PARAMETER = "{}"


class Routes(Generic[H]):
    """`table` is (method, template) -> what serves it; "GET" serves HEAD too."""

    def __init__(self, table: Mapping[tuple[str, str], H]) -> None:
        self._tree: dict[str, Any] = {}
        for (method, template), handler in table.items():
            node = self._tree
            pieces = split(template.encode())
            for piece in pieces:
                node = node.setdefault(_PARAMETER if piece[0] == "{" else piece, {})
            names = [piece[1:-1] for piece in pieces if piece[0] == "{"]
            node.setdefault(_METHODS, {})[method] = (template, names, handler)

    def find(self, pieces: list[str]) -> tuple[Mapping[str, tuple[str, list[str], H]], list[str]] | None:
        """By method (template, names of parameters, handler), and the parameters' values."""
        return self._walk(self._tree, pieces, [])

    def _walk(self, node: dict[str, Any], pieces: list[str], values: list[str]) -> tuple[Any, list[str]] | None:
        if not pieces:
            return (node[_METHODS], values) if _METHODS in node else None
        piece, rest = pieces[0], pieces[1:]
        if piece != _PARAMETER and piece in node:
            found = self._walk(node[piece], rest, values)
            if found is not None:
                return found
        return self._walk(node[_PARAMETER], rest, [*values, piece]) if _PARAMETER in node else None


def split(raw: bytes) -> list[str]:
    """The pieces of a path, decoded one by one; empty ones do not count.  Raises 400, 404."""
    if len(raw) > MAX_PATH_BYTES:
        raise bad_request("The path is too long.")
    pieces = [piece for piece in raw.partition(b"?")[0].decode("latin-1").split("/") if piece]
    if len(pieces) > MAX_PIECES:
        raise not_found()
    try:
        decoded = [unquote(piece, errors="strict") for piece in pieces]
    except UnicodeDecodeError:
        raise bad_request("The path is not UTF-8.") from None
    if any("\0" in piece or not piece for piece in decoded):
        raise bad_request("The path holds a character that no name has.")
    return decoded
