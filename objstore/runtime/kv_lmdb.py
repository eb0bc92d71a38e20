"""The ordered key-value store on LMDB."""

import lmdb  # noqa: F401 the import contract names it
